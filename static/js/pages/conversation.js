// A capture: its bodies as text, as messages by role with tools, calls and thoughts, and as a command for a shell.
import { h } from '../core/dom.js';
import { bytes, num } from '../core/format.js';
import { BASE, apiKey } from '../core/net.js';
import { codeBlock, facts } from '../ui/parts.js';
import { parseJson, readAnswer, readRequest } from './transcript.js';

const MAX_SHOWN = 200000;

/** {sent: body and readRequest(), got: body and readAnswer()}; see bodyOf() and transcript.js. */
export const readCapture = (capture, row) => {
	const read = (side, understand) => {
		const body = bodyOf(capture, side, row);
		try {
			return { ...body, ...understand(body.text) };
		} catch {
			return { ...body, messages: [], tools: [] };        // of no shape that is known: shown as it is
		}
	};
	return { sent: read('req', readRequest), got: read('resp', readAnswer) };
};

/** {text, pretty, note, size, type, headers} of one body. text is '' when there is none that can be read. */
function bodyOf(capture, side, row) {
	const raw = Uint8Array.from(atob(capture[`${side}_body`] || ''), (c) => c.charCodeAt(0));
	const size = capture[`${side}_bytes`] || row[`${side}_bytes`] || 0;
	const headers = Object.entries(capture[`${side}_headers`] || {}).sort();
	const type = headers.find(([name]) => /^content-type$/i.test(name))?.[1].split(';')[0] || '';
	const decoded = new TextDecoder().decode(raw);
	const isText = !decoded.includes('\0') && decoded.split('\ufffd').length < 9;
	const text = isText ? decoded : '';
	const json = parseJson(text);
	const note = !size ? 'Empty.' : !raw.length ? `Not kept: ${type || 'data'} of ${bytes(size)}, binary or too large.`
		: !isText ? `Binary, ${bytes(size)}.`
			: capture[`${side}_truncated`] && `Cut off: the first ${bytes(raw.length)} of ${bytes(size)} were kept.`;
	return { text, note, size, type, headers, pretty: cut(json === undefined ? text : JSON.stringify(json, null, 2)) };
}

const cut = (text) => (text.length <= MAX_SHOWN ? text
	: `${text.slice(0, MAX_SHOWN)}\n… of ${num(text.length)} characters. A download has all of it.`);

/** With the name of the model that the client wrote: the body is kept as it was sent on. */
export function curlOf(row, { text, type, body }) {
	const quoted = (value) => `'${value.replaceAll("'", `'\\''`)}'`;
	const sent = body?.model ? JSON.stringify({ ...body, model: row.requested || body.model }) : text;
	return ['curl', row.method !== 'POST' && `-X ${row.method}`, quoted(BASE + row.req_path.slice(1)),
		type && `-H ${quoted(`Content-Type: ${type}`)}`, apiKey.peek() && '-H "Authorization: Bearer $LLAMASWAP_KEY"',
		sent && `--data-raw ${quoted(sent)}`].filter(Boolean).join(' \\\n  ');
}

export const conversation = ({ sent, got }) => [
	sent.tools.length > 0 && fold(`Tools offered (${sent.tools.length})`, sent.tools.map(tool)),
	side('Request', sent), side('Answer', got),
	got.finish && h('p', { class: 'muted' }, `Ended by: ${got.finish}`),
	got.usage && [h('h3', null, 'Usage'), facts(flat(got.usage), { class: 'narrow' })]];

const side = (title, { messages, note, error, text, pretty }) => [h('h3', null, title),
	note && h('p', { class: 'notice warning' }, note), error && h('p', { class: 'notice error wrap' }, error),
	messages.map(message), !messages.length && !error && text && codeBlock(pretty, { label: `${title} body` })];

const fold = (title, content) => h('details', null, h('summary', null, title), content);
const long = (text) => h('div', { class: 'wrap said' }, cut(text));
const json = (value, label) => codeBlock(cut(typeof value === 'string' ? value : JSON.stringify(value, null, 2)),
	{ label });
const named = (name, detail) => h('div', null, h('strong', null, name), h('span', { class: 'muted small' }, ` ${detail
	|| ''}`));

const tool = ({ name, about, schema }) => h('div', { class: 'stack message' }, named(name), about && long(about),
	schema && json(schema, `Parameters of ${name}`));

const message = ({ role, parts }) => h('article', { class: 'stack message', 'data-role': role },
	h('h4', { class: 'tag' }, role), parts.map(view), !parts.length && h('p', { class: 'muted' }, 'empty'));

const view = (part) => VIEWS[part.kind](part);
const VIEWS = {
	text: ({ text }) => long(text),
	reasoning: ({ text }) => fold(`Reasoning (${num(text.length)} characters)`, long(text)),
	// Only what came with the request is drawn: nothing is fetched from elsewhere.
	image: ({ url }) => (url.startsWith('data:') ? h('img', { class: 'attached', src: url, alt: 'Image in the message' })
		: h('p', { class: 'wrap' }, `Image at ${url.slice(0, 500)}`)),
	result: ({ name, id, parts }) => [named('Result', name || id), parts.map(view)],
	call: ({ name, id, args }) => [named(`Calls ${name}`, id), json(parseJson(args) ?? args, `Arguments of ${name}`)],
	other: ({ name, text }) => codeBlock(text, { label: name }),
};

const flat = (value, prefix = '') => Object.entries(value).flatMap(([key, each]) => {
	const name = prefix + key.replaceAll('_', ' ');
	if (each && typeof each === 'object') return flat(each, `${name}: `);
	return [[name, typeof each === 'number' ? num(each, Number.isInteger(each) ? 0 : 1) : String(each ?? 'unknown')]];
});
