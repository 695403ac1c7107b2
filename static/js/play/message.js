// One turn: how it is written, what was said, and what can be done with it. While an answer comes in only its end is
// touched.
import { h, icon } from '../core/dom.js';
import { bytes, clock, duration, num, since, speed } from '../core/format.js';
import { setting } from '../core/persist.js';
import { effect, onCleanup, signal } from '../core/signal.js';
import { modelById } from '../state/models.js';
import { live } from '../state/requests.js';
import { growing } from '../text/render.js';
import { meter } from '../ui/bars.js';
import { menuButton } from '../ui/menu.js';
import { button, copyButton, iconButton, inlineError } from '../ui/parts.js';
import { runOf, statsOf } from './api.js';

const small = (...inside) => h('p', { class: 'muted small' }, inside);

/** `item`: signal of the message; `todo`: {retry, retryWith, edit, proceed, branch, remove} taking it, and isBusy. */
export function messageView(item, todo) {
	const { id, role } = item.peek();
	const isUser = role === 'user';
	const run = () => runOf(id);
	const body = isUser ? { element: h('div', { class: 'stack' }, () => fileChips(item().files),
		h('div', { class: 'said' }, () => item().text)) } : answerBody(item, run);
	return h('article', { class: 'stack turn', 'data-role': role, 'data-message': id,
		'aria-label': isUser ? 'You' : 'Answer', 'data-state': () => (run() ? 'running' : stateOf(item())) },
	h('header', { class: 'row' }, h('strong', null, () => (isUser ? 'You' : item().model)),
		() => item().served && item().served !== item().model && small(`answered by ${item().served}`)),
	body.element, () => !run() && actions(item, body, todo));
}

const stateOf = ({ state = 'done' }) => (state === 'running' ? 'stopped' : state);

/** Files with their pictures; `extra(file)`: what stands behind the name. */
const fileChips = (files, extra = () => null) => files?.length > 0 && h('ul', { class: 'row chips' },
	files.map((file) => h('li', { class: 'row file' }, thumb(file), h('span', { class: 'clip' }, file.name),
		extra(file))));

function thumb({ kind, name, url, blob }) {
	const src = url || (kind === 'image' && URL.createObjectURL(blob));
	// Later: a picture that is shown anew at this moment may still be reading from it.
	if (src && !url) onCleanup(() => setTimeout(() => URL.revokeObjectURL(src), 1000));
	// Only what we hold ourselves is shown: an address would tell its owner who reads this.
	return /^(blob|data):/.test(src) ? h('img', { src, alt: name, class: 'thumb' })
		: icon(kind === 'audio' ? 'sound' : 'attach');
}

/** `run`: () => the run that fills this answer now, if any. */
export function answerBody(item, run) {
	const text = h('div', { class: 'md', 'aria-busy': () => String(Boolean(run())) });
	const view = growing(text);
	const isRaw = signal(false);
	let shown = '';
	const now = () => {
		run()?.changed();
		return run()?.answer || item();
	};
	effect(() => {
		const isEnd = !run();
		if (isEnd && item().state === 'running' && shown) return;        // the list brings what it ended as in a moment
		if (now().text !== shown) view.update(shown = now().text);
		if (isEnd) view.finish();
	});
	const thinking = () => {
		const { reasoning = '', text: said, stats = run() && statsOf(run()) } = now();
		return `${run() && !said ? 'Thinking' : 'Thought'}${stats?.thoughtMs ? ` for ${duration(stats.thoughtMs)}` : ''}, ${
			num(reasoning.length)} characters`;
	};
	const element = h('div', { class: 'stack answer' },
		h('details', { class: 'thought', hidden: () => !now().reasoning }, h('summary', null, thinking),
			h('div', { class: 'said muted' }, () => now().reasoning)),
		h('div', { hidden: isRaw }, text),
		() => isRaw() && h('pre', { class: 'well wrap raw', tabindex: '0' }, item().text),
		() => (run() ? waiting(run()) : ending(item())));
	return { element, isRaw, shown: () => text.innerText };
}

// Before the first word there is something to tell: the place in the queue, the loading.
const waiting = (run) => h('p', { class: 'muted small', role: 'status' }, () => {
	run.changed();
	const { text, calls, pieces } = run.answer;
	if (pieces) return `${text || calls.length ? 'Writing' : 'Thinking'}, ${num(pieces)} tokens est.`;
	const { phase, position } = live().find((each) => each.session === run.session) || {};
	const where = { prompt: 'Reading the prompt', queued: `Queued${position ? `, place ${position}` : ''}`,
		loading: 'Loading the model' }[phase] || 'Sent';
	return `${where}, ${clock(since(run.startedAt))}`;
});

function ending(message) {
	const { calls = [], error, stats } = message;
	return [calls.map(({ name, args }) => h('details', { class: 'call' }, h('summary', null, `Calls ${name || 'a tool'}`),
		h('pre', { class: 'well wrap', tabindex: '0' }, args))),
	stateOf(message) === 'stopped' && small(icon('stop'), ' Stopped: this is what came in.'),
	error && inlineError(error), stats?.ttft && statsLine(stats, message)];
}

function statsLine({ ttft, prompt, output, cached, promptSpeed, guessed = [], ...stats }, { model, served }) {
	const est = (name) => (guessed.includes(name) ? ' est.' : '');
	const context = (modelById(model) || modelById(served))?.capabilities?.context;
	const used = prompt + output;
	const pairs = [['First token', duration(ttft)], ['Speed', speed(stats.speed) + est('speed')],
		['Tokens', num(output) + est('output')], ['Prompt', num(prompt) + (cached ? `, ${num(cached)} cached` : '')
			+ (promptSpeed ? ` at ${speed(promptSpeed)}` : '')], ['Finish', stats.finish || 'unknown']];
	return h('div', { class: 'row stats' }, h('ul', { class: 'row small num' },
		pairs.map(([term, value]) => h('li', null, h('span', { class: 'muted' }, `${term} `), value))),
	context && prompt && meter({ value: () => used, max: () => context, label: 'Context',
		text: () => `${num(used)} of ${num(context)}` }));
}

function actions(item, body, todo) {
	const { role, text, state } = item();
	const slim = { kind: 'quiet', class: 'slim' };
	const to = (name) => () => todo[name](item.peek());
	const main = (label, name, kind = 'quiet') => button(label, { ...slim, kind, disabled: todo.isBusy,
		onclick: to(name) });
	const common = [{ label: 'Branch from here', run: to('branch') },
		{ label: 'Delete', danger: true, run: to('remove') }];
	if (role === 'user') {
		return h('footer', { class: 'row' }, main('Edit', 'edit'), copyButton(text, 'Copy', slim),
			menuButton('More', () => common, slim));
	}
	return h('footer', { class: 'row' }, main('Retry', 'retry', state === 'error' ? 'plain' : 'quiet'),
		text && [copyButton(body.shown, 'Copy', slim), copyButton(text, 'Copy Markdown', slim)],
		menuButton('More', () => [{ label: 'Retry with another model', run: to('retryWith') },
			{ label: 'Continue', disabled: !text, run: to('proceed') },
			{ label: 'Show as it was written', checked: body.isRaw.peek(), run: () => body.isRaw.update((is) => !is) },
			{ label: 'Edit', run: to('edit') }, ...common], slim));
}

// --- writing: text, and files by paste, drop or choice

const MAX_IMAGES = 5;
const MAX_BYTES = 20 * 1024 * 1024;
const MAX_TEXT = 200 * 1024;
/** '' leaves it to the pointer: on a touch screen Enter breaks the line. */
export const enterSends = setting('play.enter', '', (value) => ['', 'send', 'break'].includes(value));
const sends = () => (enterSends.peek() || (matchMedia('(pointer: coarse)').matches ? 'break' : 'send')) === 'send';

/** onSend({text, files}). `busy`: () => an answer is coming in; onStop ends it. `fill(text)` replaces the text. */
export function composer({ onSend, onStop, busy = () => false, text: first = '', files: present = [],
	label = 'Message', sendLabel = 'Send', more, onInput = () => {} }) {
	const files = signal(present);
	const trouble = signal('');
	const text = h('textarea', { rows: '2', 'aria-label': label, placeholder: label, value: first, onkeydown: onKey,
		onpaste: (event) => take(event, event.clipboardData), oninput: () => onInput(text.value) });
	const chooser = h('input', { type: 'file', multiple: true, class: 'vh', tabindex: '-1',
		'aria-label': 'Files to attach', onchange: () => { add([...chooser.files]); chooser.value = ''; } });
	const element = h('form', { class: 'stack composer', onsubmit: submit,
		ondragover: (event) => event.preventDefault(), ondrop: (event) => take(event, event.dataTransfer) },
	() => fileChips(files(), (file) => iconButton('close', `Remove ${file.name}`,
		{ onclick: () => files.update((all) => all.filter((one) => one !== file)) })),
	h('p', { class: 'error-text', role: 'alert', hidden: () => !trouble() }, trouble), text,
	h('div', { class: 'row' }, button('Attach', { icon: 'attach', kind: 'quiet', onclick: () => chooser.click() }),
		chooser, more, h('div', { class: 'row end' }, () => (busy()
			? button('Stop', { icon: 'stop', kind: 'danger', onclick: onStop })
			: button(sendLabel, { icon: 'send', kind: 'primary', type: 'submit' })))));
	return { element, focus: () => text.focus(), fill };

	function fill(words) {
		text.value = words;
		onInput(words);
	}

	function onKey(event) {
		// A key that ends a composition is no Enter of ours; some browsers only say so by its old code.
		if (event.key !== 'Enter' || event.isComposing || event.keyCode === 229 || event.shiftKey) return;
		if (event.ctrlKey || event.metaKey || sends()) submit(event);
	}

	function submit(event) {
		event.preventDefault();
		const value = { text: text.value.trim(), files: files.peek() };
		if (busy() || !(value.text || value.files.length)) return;
		onSend(value);
		fill('');
		files.set([]);
		trouble.set('');
	}

	function take(event, { files: list }) {
		if (!list.length) return;
		event.preventDefault();
		add([...list]);
	}

	async function add(list) {
		const refused = [];
		for (const file of list) {
			try {
				const made = await asFile(file, files.peek());
				files.update((all) => [...all, made]);
			} catch (error) {
				refused.push(`${file.name}: ${error.message}`);
			}
		}
		trouble.set(refused.join(' '));
	}
}

async function asFile(blob, present) {
	const kind = /^image\/(png|jpeg|gif|webp)$/.test(blob.type) ? 'image'
		: /^audio\/(x-)?(wav|wave|mp3|mpeg)$/.test(blob.type) ? 'audio' : 'text';
	const most = kind === 'text' ? MAX_TEXT : MAX_BYTES;
	if (blob.size > most) throw new RangeError(`larger than ${bytes(most)}.`);
	if (kind === 'image' && present.filter((one) => one.kind === kind).length >= MAX_IMAGES) {
		throw new RangeError(`at most ${MAX_IMAGES} pictures.`);
	}
	const made = { kind, name: blob.name || 'pasted' };
	if (kind !== 'text') return { ...made, blob };
	const text = await blob.text();
	if (/[\0\ufffd]/.test(text)) throw new TypeError('neither text nor PNG, JPEG, GIF, WebP, WAV or MP3.');
	return { ...made, text };
}
