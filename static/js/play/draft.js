// A conversation handed over by another page: it is shown, never sent.
import { newId } from '../state/chats.js';

const KEY = 'lsw-play-draft';

/** {chat, last}: `last` is what the user said last, {text, files}, for the composer. Null when there is none. */
export function readDraft() {
  try {
    const { model = '', messages, params = {} } = JSON.parse(sessionStorage.getItem(KEY));
    const all = messages.map(({ role, content }) => ({ role, ...split(content) }));
    const system = all.filter((each) => each.role === 'system').map((each) => each.text).join('\n\n');
    const turns = all.filter((each) => each.role !== 'system').map((each) => ({ ...each, id: newId(),
      role: each.role === 'assistant' ? 'assistant' : 'user' }));
    const last = turns.length && turns[turns.length - 1].role === 'user' ? turns.pop() : { text: '', files: [] };
    return { chat: { model: String(model), system, params: paramsOf(params), messages: turns }, last };
  } catch {
    return null;
  }
}

export function forgetDraft() {
  try {
    sessionStorage.removeItem(KEY);
  } catch { /* then there was none */ }
}

function split(content) {
  if (typeof content === 'string') return { text: content, files: [] };
  const parts = Array.isArray(content) ? content : [];
  return { text: parts.filter((part) => part.type === 'text').map((part) => String(part.text)).join('\n'),
    files: parts.filter((part) => part.image_url).map((part,
      at) => ({ kind: 'image', name: `picture ${at + 1}`, type: 'image', size: 0, key: `draft-${at}`,
      url: String(part.image_url.url || '') })) };
}

function paramsOf({ response_format: format, ...params }) {
  if (format?.type === 'json_object') params.schema = '{}';
  if (format?.json_schema?.schema) params.schema = JSON.stringify(format.json_schema.schema, null, 1);
  return params;
}
