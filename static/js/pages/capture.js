// A capture as the server gives it: its bodies as text, and as a command for a shell.
import { bytes } from '../core/format.js';
import { BASE, apiKey } from '../core/net.js';
import { parseJson, readAnswer, readRequest } from './transcript.js';

const MAX_SHOWN = 200000;

/** {req_headers, resp_headers, sent: body and {asked}, got: body and {answer}}; see bodyOf() and transcript.js. */
export function readCapture(capture, row) {
  const { req_headers, resp_headers } = capture;
  const [sent, got] = ['req', 'resp'].map((side) => bodyOf(capture, side, row));
  return { req_headers, resp_headers, sent: { ...sent, asked: readRequest(sent.text) },
    got: { ...got, answer: readAnswer(got.text) } };
}

/** {raw, text, pretty, note, size, type} of one body. text is '' when there is none, or none that can be read. */
function bodyOf(capture, side, row) {
  const raw = Uint8Array.from(atob(capture[`${side}_body`] || ''), (c) => c.charCodeAt(0));
  const size = capture[`${side}_bytes`] || row[`${side}_bytes`] || 0;
  const fields = Object.entries(capture[`${side}_headers`] || {});
  const [, type = ''] = fields.find(([name]) => name.toLowerCase() === 'content-type') || [];
  const found = { raw: raw.length ? raw : null, text: '', pretty: '', note: '', size, type: type.split(';')[0] };
  const noting = (note) => ({ ...found, note });
  const why = `Not kept: ${found.type || 'data'} of ${bytes(size)}, binary or too large.`;
  if (!raw.length) return noting(size ? why : 'Empty.');
  const text = new TextDecoder().decode(raw);
  const isBinary = text.includes('\0') || text.split('\ufffd').length > 8;
  if (isBinary) return noting(`Binary, ${bytes(size)}: only for download.`);
  const notes = [];
  if (capture[`${side}_truncated`]) notes.push(`Cut off: the first ${bytes(raw.length)} of ${bytes(size)} were kept.`);
  const json = parseJson(text);
  const pretty = json === undefined ? text : JSON.stringify(json, null, 2);
  if (pretty.length > MAX_SHOWN) notes.push(`The first ${bytes(MAX_SHOWN)} are shown; a download has all of it.`);
  return { ...found, text, pretty: pretty.slice(0, MAX_SHOWN), note: notes.join(' ') };
}

/** With the name of the model that the client wrote: the body is kept as it was sent on. */
export function curlOf(row, { text, type, asked: { body } }) {
  const quoted = (value) => `'${value.replaceAll("'", `'\\''`)}'`;
  const sent = body && row.requested && body.model ? JSON.stringify({ ...body, model: row.requested }) : text;
  return ['curl', row.method !== 'POST' && `-X ${row.method}`, quoted(BASE + row.req_path.replace(/^\//, '')),
    type && `-H ${quoted(`Content-Type: ${type}`)}`, apiKey.peek() && '-H "Authorization: Bearer $LLAMASWAP_KEY"',
    sent && `--data-raw ${quoted(sent)}`].filter(Boolean).join(' \\\n  ');
}
