// What was said, from bodies in any of the dialects (OpenAI chat, completions and Responses, Anthropic, llama.cpp),
// whole or as a stream. Pure. A message is {role, parts}; what a part has depends on its kind, see partOf().
import { EventParser } from '../core/sse.js';
import { absorb, newAnswer } from '../play/dialects.js';

const isObject = (value) => value !== null && typeof value === 'object' && !Array.isArray(value);
const list = (value) => (Array.isArray(value) ? value : [value ?? []].flat());

export function parseJson(text) {
	try {
		return JSON.parse(text);
	} catch {
		return undefined;
	}
}

/** {messages, tools, body} of a request; messages is empty when it is none that people talk in. */
export function readRequest(text) {
	const body = parseJson(text);
	if (!isObject(body)) return { messages: [], tools: [] };
	const first = list(body.system ?? body.instructions);
	const said = list(body.messages ?? body.input ?? body.prompt);
	return { body, messages: [...(first.length ? [{ role: 'system', content: first }] : []), ...said].map(messageOf),
		tools: list(body.tools).map((tool) => ({ ...tool, ...tool.function })).map((tool) => ({ about: tool.description,
			name: tool.name || tool.type || 'tool', schema: tool.parameters || tool.input_schema })) };
}

/** {messages, usage, finish, error} of an answer; messages is empty when nothing was said, or nothing is understood. */
export function readAnswer(text) {
	const body = parseJson(text);
	return isObject(body) ? readWhole(body) : readStream(text);
}

function readWhole(body) {
	const { error, choices, output, content, usage = body.timings } = body;
	const said = choices?.map(({ message, text }) => message || { content: text }) || output
		|| (content === undefined ? [] : [body]);
	const { finish_reason, stop_reason, stop_type, status } = choices?.[0] || body;
	return { messages: said.map((each) => messageOf({ role: each.type ? '' : 'assistant', ...each })), usage,
		error: error && (error.message || JSON.stringify(error)),
		finish: finish_reason || stop_reason || stop_type || (output && status) };
}

function readStream(text) {
	const answers = [];           // one for each choice
	let failure = '';
	const parser = new EventParser(({ data }) => {
		const event = parseJson(data);
		if (!isObject(event)) return;       // [DONE], or the place where the capture was cut
		for (const choice of choicesOf(event)) {
			try {
				absorb(answers[choice.index || 0] ||= newAnswer(), { ...event, choices: [{ ...choice, index: 0 }] });
			} catch (error) {
				failure = error.message;
			}
		}
	});
	parser.push(`${text}\n\n`);
	const said = answers.filter((each) => each.text || each.reasoning || each.calls.length);
	const { usage, timings, finish } = answers[0] || {};
	return { usage: usage || timings, finish, error: failure, messages: said.map((each) => messageOf({ role: 'assistant',
		reasoning: each.reasoning, content: each.text,
		tool_calls: each.calls.map(({ name, args }) => ({ function: { name, arguments: args } })) })) };
}

/** Those of completions and of llama.cpp as a chat has them. */
function choicesOf({ choices, content, type, stop_type: finish_reason }) {
	if (choices?.length) return choices.map((each) => (each.text ? { ...each, delta: { content: each.text } } : each));
	return [!type && typeof content === 'string' ? { delta: { content }, finish_reason } : {}];
}

/** Of chats, Responses and Anthropic; a string is what a user said. */
function messageOf(message) {
	if (!isObject(message)) return { role: 'user', parts: partsOf(message) };
	const { role, type, content, tool_call_id: id, reasoning_content: text = message.reasoning } = message;
	if (!role) return { role: /_output$/.test(type) ? 'tool' : 'assistant', parts: partsOf(message) };
	return { role, parts: [...(text && typeof text === 'string' ? [{ kind: 'reasoning', text }] : []),
		...(role === 'tool' ? [{ kind: 'result', id, name: message.name, parts: partsOf(content) }] : partsOf(content)),
		...partsOf(message.tool_calls)] };
}

const partsOf = (content) => list(content).map(partOf).filter((part) => part.kind !== 'text' || part.text);

const KINDS = [[/tool_result|_output$/, 'result'], [/thinking|reasoning|summary/, 'reasoning'], [/image/, 'image'],
	[/tool_use|_call$|^function$/, 'call']];

/** {kind: 'text', 'reasoning' or 'other', text}, {kind: 'call', name, id, args}, {kind: 'result', id, parts},
 *  {kind: 'image', url}. */
function partOf(part) {
	if (!isObject(part)) return { kind: 'text', text: String(part) };
	const { type = part.function ? 'function' : '', function: called = part, source, image_url: url } = part;
	const text = part.thinking ?? part.text ?? part.refusal;
	const inner = [part.content, part.output, part.summary].flat().filter(Boolean);
	const [, kind = typeof text === 'string' ? 'text' : 'other'] = KINDS.find(([pattern]) => pattern.test(type)) || [];
	return { kind, name: called.name || type, id: part.call_id || part.tool_use_id || part.id,
		args: called.arguments ?? part.input ?? '', parts: kind === 'result' && partsOf(inner),
		text: text ?? (kind === 'reasoning' ? partsOf(inner).map((each) => each.text).join('\n')
			: JSON.stringify(part, null, 2)),
		url: source?.data ? `data:${source.media_type};base64,${source.data}` : source?.url || url?.url || url || '' };
}

const PARAMS = 'temperature top_p top_k min_p presence_penalty frequency_penalty repeat_penalty seed stop max_tokens '
	+ 'response_format';
const OTHER_NAMES = { max_completion_tokens: 'max_tokens', max_output_tokens: 'max_tokens', n_predict: 'max_tokens',
	stop_sequences: 'stop' };

/** For the playground: {model, messages, params} as OpenAI's chat has them. Null when nothing was said. */
export function draftOf({ messages, body }, model) {
	const params = Object.entries(body || {}).map(([name, value]) => [OTHER_NAMES[name] || name, value])
		.filter(([name, value]) => PARAMS.split(' ').includes(name) && value !== null);
	return messages.length ? { model, params: Object.fromEntries(params), messages: messages.map(({ role, parts }) => (
		{ role: role === 'developer' ? 'system' : role, content: parts.flatMap(contentOf) })) } : null;
}

const contentOf = ({ kind, text, url, parts }) => (kind === 'result' ? parts.flatMap(contentOf)
	: kind === 'text' ? [{ type: 'text', text }] : kind === 'image' ? [{ type: 'image_url', image_url: { url } }] : []);
