// The three ways to ask for a chat: how a request is written, and what the events of its answer mean. Pure.
import { ApiError } from '../core/net.js';

const asText = (text) => ({ type: 'text', text });
const asAudio = (input_audio) => ({ type: 'input_audio', input_audio });
const type = 'json_schema';
// `format` gets the schema, and what asks for JSON of any kind when the schema is empty.
const DIALECTS = {
	chat: { label: 'OpenAI chat', path: 'v1/chat/completions', text: asText, audio: asAudio,
		image: (url) => ({ type: 'image_url', image_url: { url } }),
		body: (system, messages) => ({ stream_options: { include_usage: true },
			messages: system ? [{ role: 'system', content: system }, ...messages] : messages }),
		format: (schema, any) => ({ response_format: any || { type, json_schema: { name: 'answer', schema } } }) },
	messages: { label: 'Anthropic messages', path: 'v1/messages', names: { stop: 'stop_sequences' }, text: asText,
		audio: () => { throw new ApiError('Anthropic messages take no audio: choose another endpoint.'); },
		image: (url) => {
			const [, media_type, , data] = url.split(/[:;,]/);
			return { type: 'image', source: data ? { type: 'base64', media_type, data } : { type: 'url', url } };
		},
		body: (system, messages) => ({ system: system || undefined, messages }),
		format: (schema) => ({ output_config: { format: { type, schema } } }) },
	responses: { label: 'OpenAI Responses', path: 'v1/responses', names: { max_tokens: 'max_output_tokens' },
		text: (text, role) => ({ type: role === 'assistant' ? 'output_text' : 'input_text', text }), audio: asAudio,
		image: (image_url) => ({ type: 'input_image', image_url }),
		body: (system, input) => ({ instructions: system || undefined, input }),
		format: (schema, any) => ({ text: { format: any || { type, name: 'answer', schema } } }) },
};
/** [name, label] */
export const ENDPOINTS = Object.entries(DIALECTS).map(([name, { label }]) => [name, label]);

/**
 * [path, body]. `messages`: [{role, text, images: [data URL], audio: [{data, format}]}]. What is not in `params` is not
 * sent.
 */
export function requestOf({ endpoint = 'chat', model, system, messages, params: { schema, ...params } = {} }) {
	const { path, names = {}, body, format, ...as } = DIALECTS[endpoint];
	const said = messages.map(({ role, text, images = [], audio = [] }) => {
		const parts = [...images.map(as.image), ...audio.map(as.audio), ...(text ? [as.text(text, role)] : [])];
		return { role, content: endpoint !== 'responses' && parts.length === 1 && text ? text : parts };
	});
	const shape = schema && JSON.parse(schema);
	return [path, { model, stream: true, ...body(system, said),
		...Object.fromEntries(Object.entries(params).map(([name, value]) => [names[name] || name, value])),
		...(shape && format(shape, Object.keys(shape).length ? null : { type: 'json_object' })) }];
}

export const newAnswer = () => ({ text: '', reasoning: '', calls: [], finish: '', model: '', pieces: 0,
	loading: '' });

/** Takes one event into the answer; true when there is more to show. An error event is thrown. */
export function absorb(answer, event) {
	const whole = event.response || event.message || {};
	const error = event.error || whole.error || (event.type === 'error' && event);
	if (error) throw new ApiError(error.message || JSON.stringify(error));
	const before = answer.pieces;
	answer.model = event.model || whole.model || answer.model;
	answer.timings = event.timings || answer.timings;
	if (event.usage || whole.usage) answer.usage = { ...answer.usage, ...whole.usage, ...event.usage };
	for (const { index, message, delta = message || {}, finish_reason: finish } of event.choices || []) {
		if (index) continue;           // nobody here asks for several
		think(answer, delta.reasoning_content ?? delta.reasoning);
		say(answer, delta.content);
		for (const call of delta.tool_calls || []) {
			addCall(answer, call.index ?? call.id, call.function?.arguments, call.function?.name);
		}
		answer.finish = finish || answer.finish;
	}
	if (typeof event.type === 'string') absorbTyped(answer, event);
	answer.finish = event.delta?.stop_reason || whole.incomplete_details?.reason
		|| (/complete/.test(event.type) && whole.status) || answer.finish;
	return answer.pieces !== before;
}

// What streams of Anthropic messages and of Responses are made of.
function absorbTyped(answer, { type, delta, item, output_index, index = output_index, content_block: block = item }) {
	if (/(start|added)$/.test(type) && block?.name) {
		addCall(answer, index, '', block.name);
	} else if (type === 'content_block_delta') {
		think(answer, delta.thinking);
		say(answer, delta.text);
		if (delta.partial_json) addCall(answer, index, delta.partial_json);
	} else if (/^response.*delta$/.test(type)) {
		if (type.includes('reasoning')) think(answer, delta);
		else if (type.includes('arguments')) addCall(answer, index, delta);
		else if (/text|refusal/.test(type)) say(answer, delta);
	}
}

function say(answer, text, field = 'text') {
	if (typeof text !== 'string' || !text) return;
	answer[field] += text;
	answer.pieces += 1;
}

// A server that tells about loading does it as reasoning between two heavy lines: that is not the model speaking.
function think(answer, text) {
	if (!answer.loading && (answer.pieces || !/^\u2501/.test(text))) {
		say(answer, text, 'reasoning');
		return;
	}
	answer.loading += text || '';
	if (/\n\u2501{3,}\s*$/.test(answer.loading)) answer.loading = '';
}

function addCall(answer, key, args, name) {
	let call = answer.calls.find((each) => each.key === key);
	if (!call) answer.calls.push(call = { key, name: '', args: '' });
	call.name = name || call.name;
	call.args += args || '';
	answer.pieces += 1;
}

/** {prompt, cached, output, promptSpeed, speed} as far as the server told; null where it did not. */
export function toldBy({ usage: from = {}, timings: times = {} }) {
	const know = (...values) => values.find(Number.isFinite) ?? null;
	const cached = from.cache_read_input_tokens;
	return {
		cached: know(from.prompt_tokens_details?.cached_tokens, from.input_tokens_details?.cached_tokens, cached,
			times.cache_n),
		// Anthropic counts cached tokens apart, everybody else among the prompt's.
		prompt: know(from.prompt_tokens, from.input_tokens + (cached || 0), times.prompt_n + (times.cache_n || 0)),
		output: know(from.completion_tokens, from.output_tokens, times.predicted_n),
		promptSpeed: know(times.prompt_per_second), speed: know(times.predicted_per_second) };
}
