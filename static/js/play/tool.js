// What the tools share: model and settings at the side, a form, Run or Stop, and what came of it.
import { h } from '../core/dom.js';
import { clock, duration, serverNow, since } from '../core/format.js';
import { api } from '../core/net.js';
import { onCleanup, signal } from '../core/signal.js';
import { button, field, inlineError, select } from '../ui/parts.js';
import { toastError } from '../ui/toast.js';
import { newSession, post, rowOf, startChat } from './api.js';
import { chosenModel, modelPicker } from './picker.js';
import { side } from './side.js';

/**
 * name: the tab's, whose model is remembered; without it the settings choose. `ask(values, {send, model, signal})`
 * makes what `show` shows: values are the named fields that are filled in, `send(path, body)` asks the model.
 */
export function tool(ctx, { name, suits, settings, form, verb, ask, show, status, isLong, after }) {
	const [model, choose] = name ? chosenModel(name) : [signal('')];
	const task = signal(null);         // {abort, at} while it runs
	const result = signal(null);
	const error = signal(null);
	const note = signal('');
	const stop = () => task.peek()?.abort.abort();
	onCleanup(stop);
	if (isLong) ctx.leaveGuard(() => (task.peek() ? 'This is still running and would be stopped.' : ''));

	function read() {
		const found = {};
		for (const control of element.querySelectorAll(':is(input, select, textarea):not([type=radio], [hidden] *)')) {
			const text = control.value.trim();
			if (!control.validity.valid || (control.required && !text)) {
				control.focus();
				throw new Error(`${control.labels[0].textContent}: ${control.validationMessage || 'fill this in'}`);
			}
			if (control.name && text) found[control.name] = control.type === 'number' ? Number(text) : text;
		}
		return found;
	}

	async function run() {
		const abort = new AbortController();
		const { signal: ended } = abort;
		const at = serverNow();
		const send = (path, body, call = post) =>
			call(path, asForm({ model: model.peek(), ...body }), { session: newSession(), signal: ended });
		error.set(null);
		try {
			const values = read();
			task.set({ abort, at });
			result.set(await ask(values, { send, model: model.peek(), signal: ended }));
		} catch (failure) {
			const isStrange = failure instanceof TypeError;
			if (!ended.aborted) error.set(isStrange ? new Error('The answer is of an unknown kind.') : failure);
		}
		note.set(ended.aborted ? 'Stopped' : error.peek() ? '' : `Done in ${duration((serverNow() - at) * 1000)}`);
		task.set(null);
	}

	const element = h('div', { class: 'play' },
		side(() => (name ? `${model() || 'No model'}: settings` : 'Models and settings'),
			name && modelPicker({ value: model, onchange: choose, suits }), settings),
		h('div', { class: 'play-main' }, form,
			h('div', { class: 'row' },
				button(() => (task() ? 'Stop' : verb), { kind: 'primary', onclick: () => (task.peek() ? stop() : run()) }),
				h('span', { class: 'muted', role: 'status' }, status || (() => (task() ? 'Working' : note()))),
				h('span', { class: 'muted num' }, () => task() && clock(since(task().at)))),
			() => (error() ? inlineError(error(), run) : !task() && result() && show?.(result())), after));
	return element;
}

/** A form where there are files in it. The model comes first: what reads only the beginning finds it. */
function asForm(body) {
	if (!Object.values(body).flat().some((value) => value instanceof File)) return body;
	const form = new FormData();
	for (const [name, value] of Object.entries(body)) for (const one of [value].flat()) form.append(name, one);
	return form;
}

/** A field that is sent under `name`, if it is filled in. */
export const entry = (label, name, { tag = 'input', hint, ...props } = {}) =>
	field(label, h(tag, { name, placeholder: 'server default', autocomplete: 'off', ...props }), { hint });

export const amount = (label, name, props) => entry(label, name, { type: 'number', min: 0, step: 'any', ...props });

export const words = (label, name, rows, props) =>
	entry(label, name, { tag: 'textarea', rows, placeholder: '', ...props });

export const choice = (label, name, options) => field(label, select(options, { name }));

/** Asks for what the model of a tab knows; that may load it. */
export const listButton = (ctx, name, label, path, take) => button(label, { class: 'slim', onclick: () =>
	api(path, { query: { model: chosenModel(name)[0].peek() }, signal: ctx.signal }).then(take).catch(toastError) });

/** A run of api.js; its `told()`: {wait, load} as the server tells a moment after the end, or null. */
export function chatWith({ prompt, ...request }, ended) {
	const run = startChat({ session: newSession(), messages: [{ role: 'user', text: prompt }], ...request });
	ended.addEventListener('abort', run.stop);
	run.told = () => rowOf(run.session).then((row) => row && { wait: row.queue_ms || 0, load: row.load_ms || 0 });
	return run;
}

export const linesOf = (text) => text.split('\n').map((line) => line.trim()).filter(Boolean);

export const sum = (list) => list.reduce((total, value) => total + value, 0);
/** NaN, shown as unknown, of none. */
export const mean = (list) => sum(list) / list.length;

/** A table whose rows are lists of cells: the first heads the row; others are td elements, or what is in them. */
export const grid = (label, heads, rows) => h('div',
	{ class: 'table-box', tabindex: '0', role: 'region', 'aria-label': label },
	h('table', { class: 'table', 'aria-label': label },
		h('thead', null, h('tr', null, heads.map((text) => h('th', { scope: 'col' }, text)))),
		h('tbody', null, rows.map(([first, ...cells]) => h('tr', null, h('th', { scope: 'row' }, first),
			cells.map((cell) => (cell instanceof Element ? cell : h('td', { class: 'num' }, cell))))))));
