// Speech: text read aloud.
import { h } from '../core/dom.js';
import { bytes } from '../core/format.js';
import { onCleanup, signal } from '../core/signal.js';
import { linkButton } from '../ui/parts.js';
import { postRaw } from './api.js';
import { amount, choice, entry, listButton, tool, words } from './tool.js';

const FORMATS = [['', 'server default'], ...['mp3', 'wav', 'opus', 'flac', 'aac'].map((name) => [name, name])];

export function panel(ctx) {
	const voices = signal([]);
	return tool(ctx, { name: 'speech', suits: (has) => has.out?.includes('audio'), verb: 'Speak', show: player,
		settings: [entry('Voice', 'voice', { list: 'voices' }),
			h('datalist', { id: 'voices' }, () => voices().map((value) => h('option', { value }))),
			listButton(ctx, 'speech', () => (voices().length ? `${voices().length} voices known` : 'List the voices'),
				'v1/audio/voices', (found) => voices.set(namesIn(found))),
			choice('Format', 'response_format', FORMATS), amount('Speed', 'speed')],
		form: words('Text', 'input', 5, { required: true }),
		ask: async (values, { send }) => (await send('v1/audio/speech', values, postRaw)).blob() });
}

/** Servers give a list or {voices: list}, of strings or of objects. */
export const namesIn = (found) => (found.voices || found.data || found)
	.map((each) => each.id || each.voice_id || each.name || each);

function player(blob) {
	const url = URL.createObjectURL(blob);
	onCleanup(() => URL.revokeObjectURL(url));
	const [type] = blob.type.split(';');
	const ending = type.replace(/^audio\/(x-)?/, '').replace('mpeg', 'mp3');
	return h('div', { class: 'card stack tight' },
		h('audio', { controls: true, src: url, 'aria-label': 'What was said' }),
		h('div', { class: 'row' }, linkButton('Download', url, { icon: 'download', download: `speech.${ending}` }),
			h('span', { class: 'muted small' }, `${type}, ${bytes(blob.size)}`)));
}
