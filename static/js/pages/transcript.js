// What was said, from bodies in any of the dialects (OpenAI chat, completions and Responses, Anthropic, llama.cpp),
// whole or as a stream. Pure. A message is {role, parts}; a part is {kind, text, name, id, args, url, parts}, kind one
// of text, reasoning, call, result, image, other.
import { EventParser } from '../core/sse.js';

const isObject = (value) => value !== null && typeof value === 'object' && !Array.isArray(value);
const list = (value) => (Array.isArray(value) ? value : value === null || value === undefined ? [] : [value]);
const words = (value) => (typeof value === 'string' ? value : list(value).map((each) => each.text ?? each).join('\n'));

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
  if (!isObject(body)) return { messages: [], tools: [], body: null };
  const said = body.messages ?? body.input ?? body.prompt;
  const first = body.system ?? body.instructions;
  return {
    body,
    messages: [...(first ? [{ role: 'system', parts: partsOf(first) }] : []), ...list(said).map(messageOf)],
    tools: list(body.tools).map((tool) => ({ ...tool, ...tool.function })).map((tool) => ({ name: tool.name
      || tool.type || 'tool',
      about: tool.description || '', schema: tool.parameters || tool.input_schema || null })),
  };
}

/** {messages, usage, finish, error, isRead} of an answer. isRead false: it is of no kind that is known here. */
export function readAnswer(text) {
  const body = parseJson(text);
  if (isObject(body)) return readWhole(body);
  return /^(?:event|data|id|:)/m.test(text.slice(0, 2000)) ? readStream(text) : { messages: [], isRead: false };
}

function readWhole(body) {
  const messages = body.choices ? list(body.choices).map((choice) => (choice.message ? messageOf(choice.message)
    : bare(choice.text)))
    : body.output ? list(body.output).map(messageOf) : body.content !== undefined
      ? [messageOf({ role: 'assistant', ...body })] : [];
  return { messages, isRead: Boolean(messages.length || body.error), usage: body.usage || body.timings || null,
    error: errorOf(body.error),
    finish: finishOf(list(body.choices)[0] || body) };
}

const bare = (text) => ({ role: 'assistant', parts: partsOf(text) });
const finishOf = (from) => from.finish_reason || from.stop_reason || from.stop_type
  || (from.output ? from.status : '') || '';
const errorOf = (error) => (error ? error.message || words(error) || JSON.stringify(error) : '');

/** Of chats, Responses and Anthropic; a string is what a user said. */
function messageOf(message) {
  if (!isObject(message)) return { role: 'user', parts: partsOf(message) };
  if (!message.role) {
    return { role: /_output$/.test(message.type) ? 'tool' : message.type === 'message' ? 'user' : 'assistant',
      parts: partsOf(message) };
  }
  const parts = partsOf(message.content);
  const thought = message.reasoning_content || message.reasoning;
  return { role: message.role, parts: [
    ...(typeof thought === 'string' && thought ? [{ kind: 'reasoning', text: thought }] : []),
    ...(message.role === 'tool' ? [{ kind: 'result', id: message.tool_call_id, name: message.name, parts }] : parts),
    ...list(message.tool_calls || (message.function_call && { function: message.function_call })).map(partOf)] };
}

const partsOf = (content) => list(content).map(partOf).filter((part) => part.kind !== 'text' || part.text);

function partOf(part) {
  if (!isObject(part)) return { kind: 'text', text: String(part) };
  const { type = '' } = part;
  if (part.function) return { kind: 'call', name: part.function.name, id: part.id, args: part.function.arguments };
  if (type === 'tool_use' || type.endsWith('_call')) {
    const args = part.arguments ?? part.input ?? '';
    return { kind: 'call', name: part.name || type, id: part.call_id || part.id, args };
  }
  if (type === 'tool_result' || type.endsWith('_output')) {
    return { kind: 'result', id: part.tool_use_id || part.call_id, parts: partsOf(part.content ?? part.output) };
  }
  if (/thinking|reasoning|summary/.test(type)) {
    const both = [words(part.summary), words(part.content)].filter(Boolean).join('\n');
    return { kind: 'reasoning', text: part.thinking ?? part.text ?? both };
  }
  if (type.includes('image')) {
    const { source, image_url: url } = part;
    const inline = () => source.url || `data:${source.media_type};base64,${source.data}`;
    return { kind: 'image', url: source ? inline() : url?.url || url || '' };
  }
  const text = part.text ?? part.refusal;
  if (typeof text === 'string') return { kind: 'text', text };
  return { kind: 'other', name: type, text: JSON.stringify(part, null, 2) };
}

/** All dialects at once: each event says by its fields which one it is. */
function readStream(text) {
  const answer = { messages: [], isRead: false, usage: null, finish: '', error: '' };
  const found = new Map();
  const add = (kind, more, key, { index = 0, ...start } = {}) => {
    const field = kind === 'call' ? 'args' : 'text';
    if (!found.has(index)) found.set(index, new Map());
    const parts = found.get(index);
    if (!parts.has(key)) parts.set(key, { kind, [field]: '' });
    const part = parts.get(key);
    for (const [name, value] of Object.entries(start)) part[name] ||= value;
    part[field] += more || '';
  };
  const parser = new EventParser(({ data }) => {
    const event = parseJson(data);
    if (!isObject(event)) return;       // [DONE], or the place where the capture was cut
    answer.isRead = true;
    if (event.error) answer.error = errorOf(event.error);
    const whole = event.response || event.message || {};
    if (event.usage || whole.usage) answer.usage = { ...answer.usage, ...whole.usage, ...event.usage };
    else answer.usage ||= event.timings || null;
    const isOver = whole.output && whole.status !== 'in_progress';
    const finish = finishOf(list(event.choices)[0] || event.delta || event) || (isOver && whole.status);
    if (finish) answer.finish = finish;
    list(event.choices).forEach((choice) => takeChoice(choice, add));
    takeBlock(event, add);
  });
  parser.push(`${text}\n\n`);
  answer.messages = [...found.values()].map((parts) => ({ role: 'assistant', parts: [...parts.values()] }));
  return answer;
}

function takeChoice({ delta = {}, index = 0, text }, add) {
  const thought = delta.reasoning_content || delta.reasoning;
  if (typeof thought === 'string') add('reasoning', thought, 'reasoning', { index });
  if (delta.content || text) add('text', delta.content || text, 'text', { index });
  for (const { index: at, id, function: called = {} } of list(delta.tool_calls)) {
    add('call', called.arguments, `call ${at ?? id}`, { index, id, name: called.name });
  }
}

/** Of Anthropic, of Responses, of llama.cpp. */
function takeBlock({ type = '', delta, ...event }, add) {
  const begun = { content_block_start: event.content_block, 'response.output_item.added': event.item }[type];
  const key = event.index ?? event.output_index;
  if (begun && begun.type !== 'message') {
    // Its arguments follow piece by piece, whatever the empty block says.
    const { kind, text, args, ...start } = partOf({ ...begun, content: begun.content || '' });
    add(kind, text, key, start);
  } else if (type === 'content_block_delta') {
    const kind = { thinking_delta: 'reasoning', text_delta: 'text', input_json_delta: 'call' }[delta.type];
    if (kind) add(kind, delta.thinking ?? delta.text ?? delta.partial_json, key);
  } else if (type.endsWith('.delta') && typeof delta === 'string') {
    add(/reasoning/.test(type) ? 'reasoning' : /arguments|input/.test(type) ? 'call' : 'text', delta, key);
  } else if (!type && typeof event.content === 'string') {
    add('text', event.content, 'text');
  }
}

const PARAMS = ['temperature', 'top_p', 'top_k', 'min_p', 'presence_penalty', 'frequency_penalty', 'repeat_penalty',
  'seed', 'stop', 'max_tokens', 'response_format'];
const OTHER_NAMES = { max_completion_tokens: 'max_tokens', max_output_tokens: 'max_tokens', n_predict: 'max_tokens',
  stop_sequences: 'stop' };

/** For the playground: {model, messages, params} as OpenAI's chat has them. Null when nothing was said. */
export function draftOf({ messages, body }, model) {
  if (!messages.length) return null;
  const params = {};
  for (const [name, value] of Object.entries(body)) {
    const to = OTHER_NAMES[name] || name;
    if (PARAMS.includes(to) && value !== null) params[to] = value;
  }
  return { model, params, messages: messages.map(({ role, parts }) => ({ role: role === 'developer' ? 'system' : role,
    content: contentOf(parts) })) };
}

function contentOf(parts) {
  const plain = parts.flatMap((part) => (part.kind === 'result' ? part.parts
    : [part])).filter(({ kind }) => kind === 'text' || kind === 'image');
  if (plain.every((part) => part.kind === 'text')) return plain.map((part) => part.text).join('\n');
  return plain.map((part) => (part.kind === 'text' ? { type: 'text', text: part.text }
    : { type: 'image_url', image_url: { url: part.url } }));
}
