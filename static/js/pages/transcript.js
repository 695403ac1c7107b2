// A capture as text, as messages of any dialect, as a command.
import { h } from '../core/dom.js';
import { bytes, num } from '../core/format.js';
import { BASE, apiKey } from '../core/net.js';
import { EventParser } from '../core/sse.js';
import { absorb, newAnswer } from '../play/dialects.js';
import { codeBlock, facts } from '../ui/parts.js';

const MAX_SHOWN = 200000;

const isObject = (value) => value !== null && typeof value === 'object' && !Array.isArray(value);
const list = (value) => [value ?? []].flat();

function parseJson(text) {
	try {
		return JSON.parse(text);
	} catch {
		return undefined;
	}
}

const cut = (text) => (text.length <= MAX_SHOWN ? text
	: `${text.slice(0, MAX_SHOWN)}\n… of ${num(text.length)} characters. A download has all of it.`);

function pretty(value) {
	const known = typeof value === 'string' ? parseJson(value) : value;
	return cut(known === undefined ? value : JSON.stringify(known, null, 2));
}

/** {sent, got}: {text, pretty, note, size, type, headers} and what was understood. text is '' for what is none. */
export const readCapture = (capture, row) => ({ sent: read(capture, row, 'req', readRequest),
	got: read(capture, row, 'resp', readAnswer) });

function read(capture, row, side, understand) {
	const of = (what) => capture[`${side}_${what}`];
	const raw = Uint8Array.from(atob(of('body') || ''), (c) => c.charCodeAt(0));
	const size = of('bytes') || row[`${side}_bytes`] || 0;
	const headers = Object.entries(of('headers') || {}).sort();
	const type = headers.find(([name]) => /^content-type$/i.test(name))?.[1].split(';')[0] || '';
	const decoded = new TextDecoder().decode(raw);
	const isText = !decoded.includes('\0') && decoded.split('\ufffd').length < 9;
	const text = isText ? decoded : '';
	const note = !size ? 'Empty.' : !raw.length ? `Not kept: ${type || 'data'} of ${bytes(size)}, binary or too large.`
		: !isText ? `Binary, ${bytes(size)}.`
			: of('truncated') && `Cut off: the first ${bytes(raw.length)} of ${bytes(size)} were kept.`;
	let said = { messages: [], tools: [] };
	try {
		said = understand(text);
	} catch { /* of no shape that is known: shown as it is */ }
	return { text, note, size, type, headers, pretty: pretty(text), ...said };
}

/** With the model that the client named: the body is kept as it was sent on. */
export function curlOf(row, { text, type, body }) {
	const quoted = (value) => `'${value.replaceAll("'", `'\\''`)}'`;
	const sent = body?.model ? JSON.stringify({ ...body, model: row.requested || body.model }) : text;
	return ['curl', row.method !== 'POST' && `-X ${row.method}`, quoted(BASE + row.req_path.slice(1)),
		type && `-H ${quoted(`Content-Type: ${type}`)}`, apiKey.peek() && '-H "Authorization: Bearer $LLAMASWAP_KEY"',
		sent && `--data-raw ${quoted(sent)}`].filter(Boolean).join(' \\\n  ');
}

// --- {messages: [{role, parts}], …}; none when nothing was said, or is understood

export function readRequest(text) {
	const body = parseJson(text);
	if (!isObject(body)) return { messages: [], tools: [] };
	const first = list(body.system ?? body.instructions);
	const said = list(body.messages ?? body.input ?? body.prompt);
	return { body, messages: [...(first.length ? [{ role: 'system', content: first }] : []),
		...said.filter((one) => isObject(one) || typeof one === 'string')].map(messageOf),
		tools: list(body.tools).map((tool) => ({ ...tool, ...tool.function })) };
}

export function readAnswer(text) {
	const body = parseJson(text);
	if (!isObject(body)) return readStream(text);
	const { choices, output, content, usage = body.timings } = body;
	const said = choices?.map(({ message, text: words }) => message || { content: words }) || output
		|| (content === undefined ? [] : [body]);
	return { usage, messages: said.map((each) => messageOf({ role: each.type ? '' : 'assistant', ...each })) };
}

function readStream(text) {
	const answer = newAnswer();
	let error = '';
	const parser = new EventParser(({ data }) => {
		const event = parseJson(data);
		if (!isObject(event)) return;       // [DONE], or where the capture was cut
		try {
			absorb(answer, event);
		} catch (failure) {
			error = failure.message;
		}
	});
	parser.push(`${text}\n\n`);
	const { usage = answer.timings, reasoning, calls } = answer;
	const parts = [...textPart('reasoning', reasoning), ...textPart('text', answer.text),
		...calls.map((call) => ({ kind: 'call', ...call }))];
	return { usage, error, messages: parts.length ? [{ role: 'assistant', parts }] : [] };
}

const textPart = (kind, text) => (text && typeof text === 'string' ? [{ kind, text }] : []);

/** Of chats, Responses and Anthropic; a string is what a user said. */
function messageOf(message) {
	if (!isObject(message)) return { role: 'user', parts: partsOf(message) };
	const { role, type, name, content, tool_call_id: id, tool_calls: calls } = message;
	if (!role) return { role: /_output$/.test(type) ? 'tool' : 'assistant', parts: partsOf(message) };
	const parts = partsOf(content);
	return { role, parts: [...textPart('reasoning', message.reasoning_content ?? message.reasoning),
		...(role === 'tool' ? [{ kind: 'result', id, name, parts }] : parts), ...partsOf(calls)] };
}

const partsOf = (content) => list(content).map(partOf).filter((part) => part.kind !== 'text' || part.text);

const KINDS = [[/tool_result|_output$/, 'result'], [/thinking|reasoning|summary/, 'reasoning'], [/image/, 'image'],
	[/tool_use|_call$|^function$/, 'call']];

function partOf(part) {
	if (!isObject(part)) return { kind: 'text', text: String(part) };
	const { type = part.function ? 'function' : '', function: called = part, source, image_url: url } = part;
	const text = part.thinking ?? part.text ?? part.refusal;
	const inner = [part.content, part.output, part.summary].flat().filter(Boolean);
	const [, kind = typeof text === 'string' ? 'text' : 'other'] = KINDS.find(([pattern]) => pattern.test(type)) || [];
	return { kind, name: called.name || type, id: part.call_id || part.tool_use_id || part.id,
		args: called.arguments ?? part.input ?? '', parts: kind === 'result' && partsOf(inner),
		text: text ?? (kind === 'reasoning' ? partsOf(inner).map((each) => each.text).join('\n') : pretty(part)),
		url: source?.data ? `data:${source.media_type};base64,${source.data}` : `${source?.url || url?.url || url || ''}` };
}

// --- shown

export const conversation = ({ sent, got }) => [
	sent.tools.length > 0 && fold(`Tools offered (${sent.tools.length})`, sent.tools.map(tool)),
	side('Request', sent), side('Answer', got),
	got.usage && [h('h3', null, 'Usage'), facts(flat(got.usage), { class: 'narrow' })]];

const side = (title, { messages, note, error, text, pretty: body }) => [h('h3', null, title),
	note && h('p', { class: 'notice warning' }, note), error && h('p', { class: 'notice error' }, error),
	messages.map(message), !messages.length && !error && text && codeBlock(body, { label: `${title} body` })];

const fold = (title, content) => h('details', null, h('summary', null, title), content);
const long = (text) => h('div', { class: 'said' }, cut(`${text}`));
const json = (value, label) => codeBlock(pretty(value), { label });
const named = (name, detail = '') => h('div', null, h('strong', null, name),
	h('span', { class: 'muted small' }, ` ${detail}`));

function tool({ name, type, description, parameters, input_schema: schema = parameters }) {
	return h('div', { class: 'stack message' }, named(name || type || 'tool'), description && long(description),
		schema && json(schema, `Parameters of ${name}`));
}

const message = ({ role, parts }) => h('article', { class: 'stack message', 'data-role': role },
	h('h4', { class: 'tag' }, role), parts.map(view), !parts.length && h('p', { class: 'muted' }, 'empty'));

const view = (part) => VIEWS[part.kind](part);
const VIEWS = {
	text: ({ text }) => long(text),
	reasoning: ({ text }) => fold(`Reasoning (${num(text.length)} characters)`, long(text)),
	// Only what came with the request is drawn: nothing is fetched from elsewhere.
	image: ({ url }) => (url.startsWith('data:') ? h('img', { class: 'attached', src: url, alt: 'Image in the message' })
		: h('p', null, `Image at ${url.slice(0, 500)}`)),
	result: ({ name, id, parts }) => [named('Result', name || id), parts.map(view)],
	call: ({ name, id, args }) => [named(`Calls ${name}`, id), json(args, `Arguments of ${name}`)],
	other: ({ name, text }) => codeBlock(text, { label: name }),
};

const flat = (value, prefix = '') => Object.entries(value).flatMap(([key, each]) => {
	const name = prefix + key.replaceAll('_', ' ');
	if (each && typeof each === 'object') return flat(each, `${name}: `);
	return [[name, typeof each === 'string' ? each : num(each, Number.isInteger(each) ? 0 : 1)]];
});

// --- handed over

const PARAMS = /^(temperature|top_[pk]|min_p|(presence|frequency|repeat)_penalty|seed|stop|max_tokens)$/;
const OTHER_NAMES = { max_completion_tokens: 'max_tokens', max_output_tokens: 'max_tokens', n_predict: 'max_tokens',
	stop_sequences: 'stop' };

/** What was said, as a chat; the last words of the user are {text, files}. Null when nothing was. */
export function draftOf({ messages, body = {} }, model) {
	const turns = messages.map(({ role, parts }) => ({ role,
		text: parts.filter(({ kind }) => kind === 'text').map((part) => part.text).join('\n'),
		files: parts.filter(({ kind }) => kind === 'image').map(({ url }) => ({ kind: 'image', name: 'picture', url })) }));
	const by = (...roles) => turns.filter(({ role }) => roles.includes(role));
	const said = by('user', 'assistant');
	const { text, files } = said.at(-1)?.role === 'user' ? said.pop() : {};
	const params = Object.entries(body).map(([name, value]) => [OTHER_NAMES[name] || name, value])
		.filter(([name, value]) => PARAMS.test(name) && value !== null);
	const schema = body.response_format?.json_schema?.schema;
	return turns.length ? { model, messages: said, text, files,
		system: by('system', 'developer').map((turn) => turn.text).join('\n\n'),
		params: Object.fromEntries([...params, ...(schema ? [['schema', JSON.stringify(schema)]] : [])]) } : null;
}
