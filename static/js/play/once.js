// The tools that ask once.
import { each, h, inRow } from '../core/dom.js';
import { download } from '../core/clipboard.js';
import { bytes, num, sum } from '../core/format.js';
import { api } from '../core/net.js';
import { onCleanup, signal } from '../core/signal.js';
import { meter } from '../ui/bars.js';
import { openDialog } from '../ui/dialog.js';
import { button, codeBlock, copyButton, field, linkButton, slim } from '../ui/parts.js';
import { toastError } from '../ui/toast.js';
import { postRaw } from './api.js';
import { chosenModel } from './side.js';
import { amount, choice, entry, grid, partsOf, tool, words } from './tool.js';

const listButton = (ctx, name, label, path, take) => button(label, { class: 'slim', onclick: () =>
	api(path, { query: { model: chosenModel(name)[0].peek() }, signal: ctx.signal }).then(take).catch(toastError) });

// --- images

const MOST = 24; // pictures kept
const MODES = [['generations', 'Generate'], ['edits', 'Edit'], ['sdapi', 'SD API']];

export function images(ctx) {
	const mode = signal('generations');
	const pictures = signal([]);       // [{src, seed, prompt}]
	const loras = signal([]);          // [{name, path, weight: its input}]
	const source = h('input', { type: 'file', accept: 'image/*', multiple: true, required: true });
	const take = (found) => loras.set(found.map((one) => ({ ...one,
		weight: h('input', { type: 'number', step: 'any', placeholder: 'not used' }) })));

	async function ask({ n = 1, size, ...values }, { send }) {
		const [width, height] = size.split('x').map(Number);
		const files = [...source.files];
		const lora = loras.peek().filter(({ weight }) => weight.value)
			.map(({ path, weight }) => ({ path, multiplier: weight.valueAsNumber }));
		const requests = { generations: ['v1/images/generations', { ...values, n, size }],
			edits: ['v1/images/edits', { ...values, n, size, [files[1] ? 'image[]' : 'image']: files }],
			sdapi: ['sdapi/v1/txt2img', { ...values, width, height, batch_size: n, ...(lora.length && { lora }) }] };
		const made = picturesIn(await send(...requests[mode.peek()]), values.prompt);
		pictures.update((all) => [...made, ...all].slice(0, MOST));
	}
	function reuse({ prompt, seed }) {
		view.elements.prompt.value = prompt;
		if (seed === null) return;
		mode.set('sdapi');
		view.elements.seed.value = seed;
	}
	// What is disabled is neither checked nor sent.
	const only = (name, ...children) => h('fieldset', { class: 'stack', hidden: () => mode() !== name,
		disabled: () => mode() !== name }, children);
	const view = tool(ctx, { name: 'images', suits: (has) => has.out?.includes('image'), verb: 'Make', ask,
		settings: [choice('What to do', '', MODES, { value: mode, onchange: mode.set }),
			entry('Size', 'size', { value: '1024x1024', pattern: '\\d+x\\d+', required: true }),
			amount('How many', 'n', { min: 1, max: 8, step: 1, placeholder: '1' }),
			only('sdapi', words('Without', 'negative_prompt', 2), h('div', { class: 'params' }, amount('Steps', 'steps'),
				amount('CFG scale', 'cfg_scale'), amount('Seed', 'seed', { min: -1 })),
			entry('Sampler', 'sampler_name', { placeholder: 'such as Euler a' }),
			listButton(ctx, 'images', 'List the LoRAs', 'sdapi/v1/loras', take),
			() => loras().map((one) => field(`Weight of ${one.name}`, one.weight)))],
		form: [words('Prompt', 'prompt', 3, { required: true }), only('edits', field('Pictures to edit', source))],
		after: each(h('div', { class: 'gallery' }), pictures, (one) => one, (one) => picture(one.peek(), reuse)) });
	return view;
}

// Without a type: by how the formats begin.
const typeOf = (text) => ({ '/': 'jpeg', U: 'webp', R: 'gif' })[text[0]] || 'png';

function picturesIn({ images: found, data, info }, prompt) {
	const { seed = null, all_seeds: seeds } = JSON.parse(info || '{}');
	return (found || data.map((one) => one.b64_json || one.url)).map((text, at) => ({ prompt, seed: seeds?.[at] ?? seed,
		src: /^(data|https?):/i.test(text) ? text : `data:image/${typeOf(text)};base64,${text}` }));
}

function picture({ src, seed, prompt }, reuse) {
	const image = () => h('img', { src, alt: prompt, class: 'whole' });
	return h('figure', { class: 'card' },
		src.startsWith('data:') ? h('button', { type: 'button', class: 'show', 'aria-label': 'Show in full',
			onclick: () => openDialog({ title: prompt, wide: true, body: image() }) }, image())
			: h('a', { href: src, rel: 'noopener noreferrer', target: '_blank' }, `On another server: ${src}`),
		h('figcaption', { class: 'small' }, h('p', { class: 'clip', title: prompt },
			`Seed ${seed ?? 'unknown'}: ${prompt}`),
			inRow(linkButton('Download', src, { ...slim, download: 'image' }),
				button('Reuse', { ...slim, onclick: () => reuse({ prompt, seed }) }))));
}

// --- speech

export function speech(ctx) {
	const voices = signal([]);
	return tool(ctx, { name: 'speech', suits: (has) => has.out?.includes('audio'), verb: 'Speak',
		settings: [entry('Voice', 'voice', { list: 'voices' }),
			h('datalist', { id: 'voices' }, () => voices().map((value) => h('option', { value }))),
			listButton(ctx, 'speech', () => (voices().length ? `${voices().length} voices known` : 'List the voices'),
				'v1/audio/voices', (found) => voices.set(namesIn(found))),
			entry('Format', 'response_format', { placeholder: 'such as mp3 or wav' }), amount('Speed', 'speed')],
		form: words('Text', 'input', 5, { required: true }),
		ask: async (values, { send }) => {
			const blob = await (await send('v1/audio/speech', values, postRaw)).blob();
			return () => player(blob);
		} });
}

/** Servers give lists or {voices: list}, of strings or of objects. */
export const namesIn = (found) => (found.voices || found.data || found)
	.map((one) => one.id || one.voice_id || one.name || one);

function player(blob) {
	const url = URL.createObjectURL(blob);
	onCleanup(() => URL.revokeObjectURL(url));
	return h('div', { class: 'card stack tight' },
		h('audio', { controls: true, src: url, 'aria-label': 'What was said' }),
		inRow(linkButton('Download', url, { icon: 'download', download: 'speech' }),
			h('span', { class: 'muted small' }, `${blob.type}, ${bytes(blob.size)}`)));
}

// --- transcribe

const RATE = 16000;

export function transcribe(ctx) {
	const file = h('input', { name: 'file', type: 'file', accept: 'audio/*,video/*', required: true });
	return tool(ctx, { name: 'transcribe', suits: (has) => has.in?.includes('audio'), verb: 'Transcribe',
		settings: [entry('Language', 'language', { placeholder: 'automatic, or such as en' }),
			words('Words to expect', 'prompt', 2),
			choice('Answer', 'response_format', [['verbose_json', 'with times'], ['json', 'text alone']])],
		form: [field('Sound file', file), microphone(file)],
		ask: async (values, { send }) => {
			const { text = '', segments = [] } = await send('v1/audio/transcriptions', values);
			const srt = asSrt(segments);
			return h('div', { class: 'card stack tight' },
				inRow(copyButton(text, 'Copy text'), srt && button('Download SRT',
					{ icon: 'download', kind: 'quiet', onclick: () => download('transcript.srt', srt) })),
				h('p', { class: 'said' }, srt || text));
		} });
}

function microphone(file) {
	if (!isSecureContext || !navigator.mediaDevices) {
		return h('p', { class: 'muted small' }, 'The microphone is not available here: browsers want https.');
	}
	const recorder = signal(null);
	const end = () => recorder.peek()?.stop();
	onCleanup(end);
	const start = async () => {
		const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
		const made = new MediaRecorder(stream);
		made.ondataavailable = ({ data }) => {        // all of it, at the end
			stream.getTracks().forEach((track) => track.stop());
			recorder.set(null);
			asWav(data).then((sound) => {
				const to = new DataTransfer();
				to.items.add(sound);
				file.files = to.files;
			}, toastError);
		};
		made.start();
		recorder.set(made);
	};
	return inRow(button(() => (recorder() ? 'Stop recording' : 'Record'), { icon: 'sound',
		onclick: () => (recorder.peek() ? end() : start().catch((error) => toastError(error, 'No recording'))) }));
}

// Engines read WAV; what browsers record they often do not.
async function asWav(blob) {
	const sound = await new OfflineAudioContext(1, 1, RATE).decodeAudioData(await blob.arrayBuffer());
	const samples = Int16Array.from(sound.getChannelData(0), (value) => Math.max(-1, Math.min(1, value)) * 32767);
	const size = samples.byteLength;
	const [short, long] = [Uint16Array, Uint32Array].map((kind) => (...values) => new kind(values));
	return new File(['RIFF', long(36 + size), 'WAVEfmt ', long(16), short(1, 1), long(RATE, RATE * 2), short(2, 16),
		'data', long(size), samples], 'recording.wav', { type: 'audio/wav' });
}

const stamp = (seconds) => new Date(Math.round(seconds * 1000)).toISOString().slice(11, 23).replace('.', ',');
export const asSrt = (segments) => segments.map(({ start, end, text }, at) =>
	`${at + 1}\n${stamp(start)} --> ${stamp(end)}\n${text.trim()}\n`).join('\n');

// --- rerank

export const rerank = (ctx) => tool(ctx, { name: 'rerank', suits: (has) => has.reranker, verb: 'Rerank',
	settings: amount('Best only', 'top_n', { min: 1, step: 1, placeholder: 'all' }),
	form: [entry('Query', 'query', { required: true, placeholder: '' }),
		words('Documents', 'documents', 8, { required: true, hint: 'One per line, or with lines of --- between them.' })],
	ask: async (values, { send }) => {
		const documents = partsOf(values.documents, /^---$/m.test(values.documents) ? /^---$/m : '\n');
		const reply = await send('v1/rerank', { ...values, documents });
		const results = (reply.results || reply.data || reply).map(({ index, relevance_score: score, ...rest }) =>
			({ index, score: score ?? rest.score })).sort((a, b) => b.score - a.score);
		return () => [h('ol', { class: 'plain-list card', 'aria-label': 'Ranked documents' },
			results.map(({ index, score }) => h('li', null, meter({ label: `${index + 1}. ${documents[index]}`,
				value: () => score, max: () => results[0].score, text: num(score, 4) })))),
		h('p', { class: 'muted' }, `${num(reply.usage?.total_tokens)} tokens`)];
	} });

// --- embed

const dot = (a, b) => sum(a.map((value, at) => value * b[at]));
const norm = (a) => Math.sqrt(dot(a, a));
/** NaN when a vector has no direction. */
export const cosine = (a, b) => dot(a, b) / (norm(a) * norm(b));

export const embed = (ctx) => tool(ctx, { name: 'embed', verb: 'Embed',
	settings: amount('Dimensions', 'dimensions', { min: 1, step: 1 }),
	form: words('Texts, one per line', 'input', 6, { required: true }),
	ask: async (values, { send }) => {
		const texts = partsOf(values.input, '\n');
		const { data, usage } = await send('v1/embeddings', { ...values, input: texts });
		const rows = data.sort((a, b) => a.index - b.index).map((row) => row.embedding);
		const name = (text) => h('span', { title: text }, text.length > 24 ? `${text.slice(0, 23)}…` : text);
		const cell = (likeness) => h('td', { class: 'num', css: { '--w': `${likeness * 45}%` } }, num(likeness, 3));
		return [h('p', null, `Dimension ${num(rows[0].length)}, ${num(usage?.total_tokens)} tokens`),
			h('div', { class: 'heat' }, grid('Cosine similarity', ['Text', ...texts.map(name)],
				rows.map((row, at) => [name(texts[at]), ...rows.map((other) => cell(cosine(row, other)))]))),
			rows.map((row, at) => h('details', null, h('summary', null, name(texts[at]), `: norm ${num(norm(row), 3)}`),
				codeBlock(row.join(', '))))];
	} });
