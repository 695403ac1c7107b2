// One turn: how it is written, what was said, what can be done.
import { h, icon, inRow } from '../core/dom.js';
import { bytes, clock, duration, num, speed, tick } from '../core/format.js';
import { setting } from '../core/persist.js';
import { effect, onCleanup, signal } from '../core/signal.js';
import { modelById } from '../state/models.js';
import { live } from '../state/requests.js';
import { growing } from '../text/render.js';
import { menuButton } from '../ui/menu.js';
import { button, copyButton, facts, iconButton, inlineError, slim } from '../ui/parts.js';
import { runOf } from './api.js';

const small = (...inside) => h('p', { class: 'muted small' }, inside);
const verbatim = (text) => h('pre', { class: 'well said', tabindex: '0' }, text);

/** todo: {retry, retryWith, edit, proceed, branch, remove} of the message, and isBusy. */
export function messageView(item, todo) {
	const { id, role } = item.peek();
	const isUser = role === 'user';
	const run = () => runOf(id);
	const body = isUser ? { element: [() => fileChips(item().files), h('div', { class: 'said' }, () => item().text)] }
		: answerBody(item, run);
	return h('article', { class: 'stack turn', 'data-role': role,
		'data-state': () => (run() ? 'running' : stateOf(item())) },
	h('header', { class: 'row' }, h('strong', null, () => (isUser ? 'You' : item().model || 'Answer')),
		() => item().served && item().served !== item().model && small(`answered by ${item().served}`)),
	body.element, () => !run() && actions(item, body, todo));
}

const stateOf = ({ state = 'done' }) => (state === 'running' ? 'stopped' : state);

const fileChips = (files, onRemove) => files?.length > 0 && h('ul', { class: 'row chips' },
	files.map((file) => h('li', { class: 'row file' }, thumb(file), h('span', { class: 'clip' }, file.name),
		onRemove && iconButton('close', `Remove ${file.name}`, { onclick: () => onRemove(file) }))));

function thumb({ kind, name, url, blob }) {
	const src = url || (kind === 'image' && URL.createObjectURL(blob));
	// Later: another picture may still be reading from it.
	if (src && !url) onCleanup(() => setTimeout(() => URL.revokeObjectURL(src), 1000));
	// An address would tell its owner who reads this.
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
		if (isEnd && item().state === 'running' && shown) return;     // its end is on the way
		if (now().text !== shown) view.update(shown = now().text);
		if (isEnd) view.finish();
	});
	const thought = () => now().reasoning || '';
	const element = h('div', { class: 'stack answer' },
		h('details', { class: 'thought', hidden: () => !thought() }, h('summary', null,
			() => `${run() && !now().text ? 'Thinking' : 'Thought'}, ${num(thought().length)} characters`),
		h('div', { class: 'said muted' }, thought)),
		h('div', { hidden: isRaw }, text), () => isRaw() && verbatim(item().text),
		() => (run() ? small(waiting(run())) : ending(item())));
	return { element, isRaw, shown: () => text.innerText };
}

function waiting({ answer, changed, session, sentAt }) {
	changed();
	tick();
	if (answer.pieces) return `Writing, ${num(answer.pieces)} tokens est.`;
	const { phase = 'sent', position = '' } = live().find((each) => each.session === session) || {};
	return `Waiting ${clock(performance.now() - sentAt)}, ${phase} ${position}`;
}

const ending = (message) => [
	message.calls?.map(({ name, args }) => h('details', { class: 'call' }, h('summary', null, `Calls ${name || 'a tool'}`),
		verbatim(args))),
	stateOf(message) === 'stopped' && small(icon('stop'), ' Stopped: this is what came in.'),
	message.error && inlineError(message.error), message.stats?.ttft && statsLine(message)];

function statsLine({ model, served, stats }) {
	const { ttft, prompt, output, cached, promptSpeed, guessed = [] } = stats;
	const est = (name) => (guessed.includes(name) ? ' est.' : '');
	const max = (modelById(model) || modelById(served))?.capabilities?.context;
	return facts([['First token', duration(ttft)], ['Speed', speed(stats.speed) + est('speed')],
		['Tokens', num(output) + est('output')], ['Prompt', num(prompt) + (cached ? `, ${num(cached)} cached` : '')
			+ (promptSpeed ? ` at ${speed(promptSpeed)}` : '')], ['Finish', stats.finish || 'unknown'],
		max && prompt && ['Context', [h('meter', { max, value: prompt + output, 'aria-label': 'Context' }),
			` ${num(prompt + output)} of ${num(max)}`]]], { class: 'stats small num' });
}

function actions(item, body, todo) {
	const { role, text } = item();
	const to = (label, name, more) => ({ label, run: () => todo[name](item.peek()), ...more });
	const isUser = role === 'user';
	const edit = to('Edit', 'edit');
	const first = isUser ? edit : to('Retry', 'retry');
	return h('footer', { class: 'row' }, button(first.label, { ...slim, disabled: todo.isBusy, onclick: first.run }),
		text && copyButton(body.shown || text, 'Copy', slim), text && !isUser && copyButton(text, 'Copy Markdown', slim),
		menuButton('More', () => [...(isUser ? [] : [to('Retry with another model', 'retryWith'),
			to('Continue', 'proceed', { disabled: !text }), edit, { label: 'Show as it was written',
				checked: body.isRaw.peek(), run: () => body.isRaw.update((is) => !is) }]), to('Branch from here', 'branch'),
		to('Delete', 'remove', { danger: true })], slim));
}

// --- writing: text, and files by paste, drop or choice

const MAX_IMAGES = 5;
const MAX_BYTES = 20 * 1024 * 1024;
const MAX_TEXT = 200 * 1024;
export const enterSends = setting('play.enterSends', !matchMedia('(pointer: coarse)').matches);

/** onSend({text, files}); `busy`: () => an answer is coming in, which onStop ends. */
export function composer({ onSend, onStop, busy = () => false, text: first = '', files: present = [],
	label = 'Message', sendLabel = 'Send', more, onInput = () => {} }) {
	const files = signal(present);
	const trouble = signal('');
	const text = h('textarea', { rows: '2', 'aria-label': label, placeholder: label, value: first, onkeydown: onKey,
		onpaste: (event) => take(event, event.clipboardData), oninput: () => onInput(text.value) });
	const chooser = h('input', { type: 'file', multiple: true, class: 'vh', tabindex: '-1',
		'aria-label': 'Files to attach', onchange: () => { add([...chooser.files]); chooser.value = ''; } });
	const drops = { ondragover: (event) => event.preventDefault(), ondrop: (event) => take(event, event.dataTransfer) };
	const element = h('form', { class: 'stack composer', onsubmit: submit, ...drops },
	() => fileChips(files(), (file) => files.update((all) => all.filter((one) => one !== file))),
	h('p', { class: 'error-text', role: 'alert', hidden: () => !trouble() }, trouble), text,
	inRow(button('Attach', { icon: 'attach', kind: 'quiet', onclick: () => chooser.click() }),
		chooser, more, h('div', { class: 'row end' }, () => (busy()
			? button('Stop', { icon: 'stop', kind: 'danger', onclick: onStop })
			: button(sendLabel, { icon: 'send', kind: 'primary', type: 'submit' })))));
	return { element, focus: () => text.focus(), fill, drops };

	function fill(words) {
		text.value = words;
		onInput(words);
	}

	function onKey(event) {
		// What ends a composition is no Enter; some browsers only say so by the old code.
		if (event.key !== 'Enter' || event.isComposing || event.keyCode === 229 || event.shiftKey) return;
		if (event.ctrlKey || event.metaKey || enterSends.peek()) submit(event);
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
		if (!list.length || event.defaultPrevented) return;
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
