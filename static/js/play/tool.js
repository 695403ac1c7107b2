// What the tools share.
import { h, inRow } from '../core/dom.js';
import { clock, duration, serverNow, since } from '../core/format.js';
import { onCleanup, signal } from '../core/signal.js';
import { button, field, inlineError, select } from '../ui/parts.js';
import { newSession, post } from './api.js';
import { chosenModel, modelPicker, side } from './side.js';

/**
 * `ask(values, {send, model, signal})`: values of the named fields that are filled in, `send(path, body)` asks the
 * model; what it returns is shown as a child, then `after`. `models`: instead of a picker for one.
 */
export function tool(ctx, { name, suits, models, settings, form, verb, ask, after }) {
	const [model, choose] = chosenModel(name);
	const begun = signal(null);        // when, while it runs
	const shown = signal(null);
	const note = signal('');
	let abort;
	const stop = () => abort?.abort();
	onCleanup(stop);
	ctx.leaveGuard(() => (begun.peek() ? 'It is still running.' : ''));

	const read = () => Object.fromEntries([...new FormData(element)].filter(([, value]) => value !== '')
		.map(([key, value]) => [key, element.elements[key].type === 'number' ? Number(value) : value]));

	async function run(event) {
		event.preventDefault();
		if (begun.peek()) return;
		const at = serverNow();
		abort = new AbortController();
		const { signal: ended } = abort;
		const send = (path, body, call = post) =>
			call(path, asForm({ model: model.peek(), ...body }), { session: newSession(), signal: ended });
		shown.set(null);
		begun.set(at);
		note.set('Working');
		try {
			shown.set(await ask(read(), { send, model: model.peek(), signal: ended }));
			note.set(`Done in ${duration((serverNow() - at) * 1000)}`);
		} catch (failure) {
			const error = failure instanceof TypeError ? new Error('The answer is of an unknown kind.') : failure;
			if (!ended.aborted) shown.set(inlineError(error, run));
			note.set('');
		}
		if (ended.aborted) note.set('Stopped');
		begun.set(null);
	}

	const element = h('form', { class: 'play', onsubmit: run },
		side('Model and settings', !models && model,
			models || modelPicker({ value: model, onchange: choose, suits }), settings),
		h('div', { class: 'stack play-main' }, form,
			inRow(button(() => (begun() ? 'Stop' : verb), { kind: 'primary',
				type: () => (begun() ? 'button' : 'submit'), onclick: stop }),
			h('span', { class: 'muted', role: 'status' }, note),
			h('span', { class: 'muted num' }, () => begun() && clock(since(begun())))),
			shown, after));
	return element;
}

// The model comes first: what reads only the beginning finds it.
function asForm(body) {
	if (!Object.values(body).flat().some((value) => value instanceof File)) return body;
	const form = new FormData();
	for (const [name, value] of Object.entries(body)) for (const one of [value].flat()) form.append(name, one);
	return form;
}

export const entry = (label, name, { tag = 'input', hint, ...props } = {}) =>
	field(label, h(tag, { name, placeholder: 'server default', autocomplete: 'off', ...props,
		oninvalid: ({ target }) => target.closest('details')?.setAttribute('open', '') }), { hint });

export const amount = (label, name, props) => entry(label, name, { type: 'number', min: 0, step: 'any', ...props });

export const words = (label, name, rows, props) =>
	entry(label, name, { tag: 'textarea', rows, placeholder: '', ...props });

export const choice = (label, name, options, props) => field(label, select(options, { name, ...props }));

export const partsOf = (text, between) => text.split(between).map((part) => part.trim()).filter(Boolean);

/** rows: lists of cells; the first heads the row, others are td elements, or what is in them. */
export const grid = (label, heads, rows) => h('div',
	{ class: 'table-box', tabindex: '0', role: 'region', 'aria-label': label },
	h('table', { class: 'table', 'aria-label': label },
		h('thead', null, h('tr', null, heads.map((text) => h('th', { scope: 'col' }, text)))),
		h('tbody', null, rows.map(([first, ...cells]) => h('tr', null, h('th', { scope: 'row' }, first),
			cells.map((cell) => (cell instanceof Element ? cell : h('td', { class: 'num' }, cell))))))));
