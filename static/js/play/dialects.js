// The three ways to ask for a chat: how a request is written, and what the events of its answer mean. Pure.
import { ApiError } from '../core/net.js';

/** [name, label, path] */
export const ENDPOINTS = [['chat', 'OpenAI chat', 'v1/chat/completions'],
  ['messages', 'Anthropic messages', 'v1/messages'],
  ['responses', 'OpenAI Responses', 'v1/responses']];
const NAMES = {
  chat: {},
  messages: { stop: 'stop_sequences' },
  responses: { max_tokens: 'max_output_tokens' },
};

/**
 * `messages`: [{role, text, images: [data URL], audio: [{data, format}]}]. `params`: what is not in it is not sent.
 */
export function requestOf(endpoint, { model, system, messages, params = {} }) {
  const body = { model, stream: true, ...WRITE[endpoint](messages, system) };
  for (const [name, value] of Object.entries(params)) {
    if (value === null || value === undefined || value === '') continue;
    if (name === 'schema') Object.assign(body, formatOf(endpoint, JSON.parse(value)));
    else body[NAMES[endpoint][name] || name] = value;
  }
  return body;
}

const isMixed = ({ images = [], audio = [] }) => images.length || audio.length;
const withText = (text, part, rest) => [...rest, ...(text ? [part] : [])];

const WRITE = {
  chat: (messages, system) => ({
    stream_options: { include_usage: true },
    messages: [...(system ? [{ role: 'system', content: system }] : []), ...messages.map((each) => ({ role: each.role,
      content: !isMixed(each) ? each.text : withText(each.text, { type: 'text', text: each.text }, [
        ...each.images.map((url) => ({ type: 'image_url', image_url: { url } })),
        ...each.audio.map((input_audio) => ({ type: 'input_audio', input_audio }))]) }))],
  }),
  messages: (messages, system) => ({
    ...(system ? { system } : {}),
    messages: messages.map((each) => {
      if (each.audio?.length) throw new ApiError('Anthropic messages take no audio: choose another endpoint.');
      return { role: each.role, content: !isMixed(each) ? each.text
        : withText(each.text, { type: 'text', text: each.text },
        each.images.map((url) => {
          const [, media_type, data] = /^data:([^;,]+);base64,(.*)$/s.exec(url) || [];
          return { type: 'image', source: data ? { type: 'base64', media_type, data } : { type: 'url', url } };
        })) };
    }),
  }),
  responses: (messages, system) => ({
    ...(system ? { instructions: system } : {}),
    input: messages.map((each) => ({ role: each.role, content: withText(each.text,
      { type: each.role === 'assistant' ? 'output_text' : 'input_text', text: each.text }, [
        ...(each.images || []).map((image_url) => ({ type: 'input_image', image_url })),
        ...(each.audio || []).map((input_audio) => ({ type: 'input_audio', input_audio }))]) })),
  }),
};

function formatOf(endpoint, schema) {
  const isAny = !Object.keys(schema).length;
  const named = isAny ? { type: 'json_object' } : { type: 'json_schema', name: 'answer', schema };
  if (endpoint === 'responses') return { text: { format: named } };
  if (endpoint === 'messages') return { output_config: { format: { type: 'json_schema', schema } } };
  return { response_format: isAny ? named : { type: 'json_schema', json_schema: { name: 'answer', schema } } };
}

export const newAnswer = () => ({ text: '', reasoning: '', calls: [], finish: '', model: '', usage: null, timings: null,
  pieces: 0,
  loading: '' });

/** Takes one event into the answer; true when there is more to show. An error event is thrown. */
export function absorb(answer, event) {
  if (event.error || event.type === 'error') throw errorOf(event.error || event);
  const whole = event.response || event.message || {};
  const before = answer.pieces;
  answer.model = event.model || whole.model || answer.model;
  if (event.usage || whole.usage) answer.usage = { ...answer.usage, ...whole.usage, ...event.usage };
  if (event.timings) answer.timings = event.timings;
  for (const choice of event.choices || []) {
    const { delta = {} } = choice;
    if (choice.index) continue;           // one answer is shown; nobody here asks for several
    think(answer, delta.reasoning_content ?? delta.reasoning);
    say(answer, delta.content);
    for (const call of delta.tool_calls || []) {
      addCall(answer, call.index ?? call.id, call.function?.arguments, call.function?.name);
    }
    answer.finish = choice.finish_reason || answer.finish;
  }
  if (typeof event.type === 'string') absorbTyped(answer, event, whole);
  return answer.pieces !== before;
}

function absorbTyped(answer, event, whole) {
  const { type, delta, item } = event;
  if (type === 'content_block_start' && event.content_block?.type === 'tool_use') {
    addCall(answer, event.index, '', event.content_block.name);
  } else if (type === 'content_block_delta') {
    think(answer, delta.thinking);
    say(answer, delta.text);
    if (delta.partial_json) addCall(answer, event.index, delta.partial_json);
  } else if (type === 'message_delta') {
    answer.finish = delta.stop_reason || answer.finish;
  } else if (type === 'response.output_item.added' && item?.type === 'function_call') {
    addCall(answer, event.output_index, '', item.name);
  } else if (type === 'response.failed') {
    throw errorOf(whole.error);
  } else if (type === 'response.completed' || type === 'response.incomplete') {
    answer.finish = whole.incomplete_details?.reason || whole.status || 'completed';
  } else if (type.startsWith('response.') && type.endsWith('.delta') && typeof delta === 'string') {
    if (/reasoning/.test(type)) think(answer, delta);
    else if (/arguments/.test(type)) addCall(answer, event.output_index, delta);
    else if (/text|refusal/.test(type)) say(answer, delta);
  }
}

const errorOf = (error) => new ApiError(error?.message || (typeof error === 'string' ? error
  : 'The model server reported an error.'),
  { status: Number(error?.status) || 0, code: String(error?.code || error?.type || '') });

// A server that tells about loading does it as reasoning between two heavy lines: that is not the model speaking.
function think(answer, text) {
  if (typeof text !== 'string' || !text) return;
  if (answer.loading || (!answer.reasoning && text.startsWith('\u2501'))) {
    answer.loading += text;
    if (/\n\u2501{3,}\s*$/.test(answer.loading)) answer.loading = '';
    return;
  }
  answer.reasoning += text;
  answer.pieces += 1;
}

const OPEN = '<think>';
const CLOSE = '</think>';

// Engines that do not take reasoning apart leave it in the text, between tags.
function say(answer, text) {
  if (typeof text !== 'string' || !text) return;
  answer.pieces += 1;
  if (answer.isThinking) {
    const from = Math.max(0, answer.reasoning.length - CLOSE.length);
    answer.reasoning += text;
    const at = answer.reasoning.indexOf(CLOSE, from);
    if (at < 0) return;
    answer.text = answer.reasoning.slice(at + CLOSE.length).trimStart();
    answer.reasoning = answer.reasoning.slice(0, at).trim();
    answer.isThinking = false;
    return;
  }
  answer.text += text;
  if (answer.text.length > OPEN.length + 40 || answer.reasoning) return;
  const start = answer.text.trimStart();
  if (!start.startsWith(OPEN)) return;
  [answer.reasoning, answer.text, answer.isThinking] = [start.slice(OPEN.length), '', true];
}

function addCall(answer, key, args, name) {
  let call = answer.calls.find((each) => each.key === key);
  if (!call) answer.calls.push(call = { key, name: '', args: '' });
  call.name = name || call.name;
  call.args += args || '';
  answer.pieces += 1;
}

/** {prompt, cached, output, promptSpeed, speed} as far as the server told; null where it did not. */
export function toldBy({ usage, timings }) {
  const from = usage || {};
  const know = (...values) => values.find((each) => typeof each === 'number' && Number.isFinite(each)) ?? null;
  const cached = know(from.prompt_tokens_details?.cached_tokens, from.input_tokens_details?.cached_tokens,
    from.cache_read_input_tokens, timings?.cache_n);
  // Anthropic counts cached tokens apart, everybody else among the prompt's.
  const input = know(from.input_tokens);
  return { cached,
    prompt: know(from.prompt_tokens, input === null ? null : input + (from.cache_read_input_tokens || 0),
      timings ? (timings.prompt_n || 0) + (timings.cache_n || 0) : null),
    output: know(from.completion_tokens, from.output_tokens, timings?.predicted_n),
    promptSpeed: know(timings?.prompt_per_second), speed: know(timings?.predicted_per_second) };
}
