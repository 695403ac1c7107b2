// The three ways to ask for a chat, and what its events mean. Pure.
import { ApiError } from '../core/net.js';

const text = (words) => ({ type: 'text', text: words });
const audio = (url) => ({ type: 'input_audio', input_audio: { data: url.split(',')[1],
	format: /^data:audio.(mp3|mpeg)/.test(url) ? 'mp3' : 'wav' } });
const type = 'json_schema';
const DIALECTS = {
	chat: { label: 'OpenAI chat', path: 'chat/completions', text, audio,
		image: (url) => ({ type: 'image_url', image_url: { url } }),
		body: (system, messages) => ({ stream_options: { include_usage: true },
			messages: system ? [{ role: 'system', content: system }, ...messages] : messages }),
		format: (schema) => ({ response_format: { type, json_schema: { name: 'answer', schema } } }) },
	messages: { label: 'Anthropic messages', path: 'messages', names: { stop: 'stop_sequences' }, text,
		audio: () => { throw new ApiError('Anthropic messages take no audio: choose another endpoint.'); },
		image: (url) => {
			const [, media_type, , data] = url.split(/[:;,]/);
			return { type: 'image', source: data ? { type: 'base64', media_type, data } : { type: 'url', url } };
		},
		body: (system, messages) => ({ system: system || undefined, messages }),
		format: (schema) => ({ output_config: { format: { type, schema } } }) },
	responses: { label: 'OpenAI Responses', path: 'responses', names: { max_tokens: 'max_output_tokens' }, audio,
		text: (words) => ({ type: 'input_text', text: words }), image: (image_url) => ({ type: 'input_image', image_url }),
		body: (system, input) => ({ instructions: system || undefined, input }),
		format: (schema) => ({ text: { format: { type, name: 'answer', schema } } }) },
};
/** [name, label] */
export const ENDPOINTS = Object.entries(DIALECTS).map(([name, { label }]) => [name, label]);

/** [path, body]. `messages`: [{role, text, files: [{kind, url}]}]; `params.schema` is text. */
export function requestOf({ endpoint = 'chat', model, system, messages, params: { schema, ...params } = {} }) {
	const { path, names = {}, body, format, ...as } = DIALECTS[endpoint];
	const said = messages.map(({ role, text: words, files = [] }) => ({ role, content: files.length
		? [...files.map(({ kind, url }) => as[kind](url)), ...(words ? [as.text(words)] : [])] : words }));
	return [`v1/${path}`, { model, stream: true, ...body(system, said),
		...Object.fromEntries(Object.entries(params).map(([name, value]) => [names[name] || name, value])),
		...(schema && format(JSON.parse(schema))) }];
}

export const newAnswer = () => ({ text: '', reasoning: '', calls: [], finish: '', model: '', pieces: 0, loading: '' });

/** Takes one event into the answer; true when there is more to show. An error event is thrown. */
export function absorb(answer, event) {
	const whole = event.response || event.message || {};
	const error = event.error || whole.error || (event.type === 'error' && event);
	if (error) throw new ApiError(error.message || JSON.stringify(error));
	const before = answer.pieces;
	answer.model = event.model || whole.model || answer.model;
	answer.timings = event.timings || answer.timings;
	if (event.usage || whole.usage) answer.usage = { ...answer.usage, ...whole.usage, ...event.usage };
	// Of several choices the first; what has none is llama.cpp's own completion.
	const choice = (event.choices || (event.type ? [] : [event])).find(({ index }) => !index) || {};
	const { message, text: words = choice.content, delta = message || { content: words } } = choice;
	think(answer, delta.reasoning_content ?? delta.reasoning);
	say(answer, delta.content);
	for (const { index, id, function: called = {} } of delta.tool_calls || []) {
		addCall(answer, index ?? id, called.arguments, called.name);
	}
	if (typeof event.type === 'string') absorbTyped(answer, event);
	answer.finish = choice.finish_reason || event.delta?.stop_reason || whole.incomplete_details?.reason
		|| (/complete/.test(event.type) && whole.status) || answer.finish;
	return answer.pieces !== before;
}

// What streams of Anthropic messages and of Responses are made of.
function absorbTyped(answer, { type: kind, delta, item, output_index, index = output_index, content_block = item }) {
	if (/(start|added)$/.test(kind) && content_block?.name) {
		addCall(answer, index, '', content_block.name);
	} else if (kind === 'content_block_delta') {
		think(answer, delta.thinking);
		say(answer, delta.text);
		if (delta.partial_json) addCall(answer, index, delta.partial_json);
	} else if (/^response.*delta$/.test(kind)) {
		if (kind.includes('reasoning')) think(answer, delta);
		else if (kind.includes('arguments')) addCall(answer, index, delta);
		else if (/text|refusal/.test(kind)) say(answer, delta);
	}
}

function say(answer, words, field = 'text') {
	if (typeof words !== 'string' || !words) return;
	answer[field] += words;
	answer.pieces += 1;
}

// Reasoning between two heavy lines is the server's word about loading.
function think(answer, words) {
	if (!answer.loading && (answer.pieces || !/^\u2501/.test(words))) {
		say(answer, words, 'reasoning');
		return;
	}
	answer.loading += words || '';
	if (/\n\u2501{3,}\s*$/.test(answer.loading)) answer.loading = '';
}

function addCall(answer, key, args, name) {
	let call = answer.calls.find((each) => each.key === key);
	if (!call) answer.calls.push(call = { key, name: '', args: '' });
	call.name = name || call.name;
	call.args += args || '';
	answer.pieces += 1;
}

/** As far as the server told; null where it did not. */
export function toldBy({ usage = {}, timings = {} }) {
	const know = (...values) => values.find(Number.isFinite) ?? null;
	const cached = usage.cache_read_input_tokens;
	const details = usage.prompt_tokens_details || usage.input_tokens_details;
	return { cached: know(details?.cached_tokens, cached, timings.cache_n),
		// Anthropic counts cached tokens apart, everybody else among the prompt's.
		prompt: know(usage.prompt_tokens, usage.input_tokens + (cached || 0), timings.prompt_n + (timings.cache_n || 0)),
		output: know(usage.completion_tokens, usage.output_tokens, timings.predicted_n),
		promptSpeed: know(timings.prompt_per_second), speed: know(timings.predicted_per_second) };
}
