// Transcribe: speech to text, from a file or the microphone.
import { h } from '../core/dom.js';
import { download } from '../core/clipboard.js';
import { clock } from '../core/format.js';
import { onCleanup, signal } from '../core/signal.js';
import { button, copyButton, field } from '../ui/parts.js';
import { toastError } from '../ui/toast.js';
import { choice, entry, tool, words } from './tool.js';

const RATE = 16000;

export function panel(ctx) {
	const chooser = h('input', { type: 'file', accept: 'audio/*,video/*', required: true });
	const put = (file) => {
		const to = new DataTransfer();
		to.items.add(file);
		chooser.files = to.files;
	};
	return tool(ctx, { name: 'transcribe', suits: (has) => has.in?.includes('audio'), verb: 'Transcribe', show: shown,
		settings: [entry('Language', 'language', { placeholder: 'automatic, or such as en' }),
			words('Words to expect', 'prompt', 2),
			choice('Answer', 'response_format', [['verbose_json', 'with times'], ['json', 'text alone']])],
		form: [field('Sound file', chooser, { hint: 'Or drop one on it.' }), microphone(put)],
		ask: (body, { send }) => send('v1/audio/transcriptions', { ...body, file: chooser.files[0] }) });
}

function microphone(put) {
	if (!globalThis.isSecureContext || !navigator.mediaDevices) {
		return h('p', { class: 'muted small' },
			'The microphone is not available here: browsers want https, or the machine itself. A file works.');
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
			asWav(data).then(put, toastError);
		};
		made.start();
		recorder.set(made);
	};
	return h('div', { class: 'row' }, button(() => (recorder() ? 'Stop recording' : 'Record'), { icon: 'sound',
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

const shown = ({ text = '', segments = [] }) => h('div', { class: 'card stack tight' },
	h('div', { class: 'row' }, copyButton(text, 'Copy text'), segments.length > 0 && button('Download SRT',
		{ icon: 'download', kind: 'quiet', onclick: () => download('transcript.srt', asSrt(segments)) })),
	segments.length ? h('ol', { class: 'plain-list' }, segments.map((each) => h('li', { class: 'row' },
		h('span', { class: 'num muted' }, clock(each.start * 1000)), h('span', { class: 'grow' }, each.text))))
		: h('p', { class: 'said' }, text));
