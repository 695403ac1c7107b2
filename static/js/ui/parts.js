// The small parts that pages are made of. Each is a function from values to an element.
import { h, icon, newId, setAttribute } from '../core/dom.js';
import { effect, onCleanup, signal } from '../core/signal.js';
import { singleKeys, shortcut } from '../core/keys.js';
import { detailOf } from './toast.js';
import { tooltip } from './tooltip.js';

const reader = (value) => (typeof value === 'function' ? value : () => value);
const joined = (...classes) => (typeof classes.at(-1) === 'function'
	? () => [...classes.slice(0, -1), classes.at(-1)()].join(' ') : classes.filter(Boolean).join(' '));

/** kind: 'primary', 'plain', 'danger' or 'quiet'. */
export const button = (label, { kind = 'plain', icon: name, ...props } = {}) =>
	h('button', { type: 'button', ...props, class: joined('btn', kind, props.class) }, name && icon(name), label);

export function iconButton(name, label, { kind = 'quiet', ...props } = {}) {
	const element = button(typeof name === 'function' ? () => icon(name()) : icon(name), { 'aria-label': label, ...props,
		kind, class: joined('icon-only', props.class) });
	tooltip(element, reader(label));
	return element;
}

export const linkButton = (label, href, { kind = 'plain', icon: name, ...props } = {}) =>
	h('a', { href, ...props, class: joined('btn', kind, props.class) }, name && icon(name), label);

export const tag = (text, kind = '') => h('span', { class: `tag ${kind}` }, text);

export const chip = (label, { pressed, count = null, ...props } = {}) => h('button', { type: 'button', class: 'chip',
	'aria-pressed': () => String(Boolean(pressed())), ...props },
	label, count && h('span', { class: 'num muted' }, count));

export const card = (title, { actions = null, id = newId('card'), ...props } = {}, ...children) =>
	h('section', { 'aria-labelledby': id, ...props, class: joined('card', props.class) },
		h('div', { class: 'card-head' }, h('h2', { id }, title), actions && h('div', { class: 'row end' }, actions)),
		children);

/** facts([['Kernel', '6.1'], …]); null pairs are left out. */
export const facts = (pairs, props = {}) => h('dl', { ...props, class: joined('facts', props.class) },
	pairs.filter(Boolean).map(([term, value]) => h('div', null, h('dt', null, term), h('dd', null, value))));

export function field(label, control, { hint = '', error = null, ...props } = {}) {
	control.id ||= newId('field');
	const id = (part) => `${control.id}-${part}`;
	setAttribute(control, 'aria-describedby', [hint && id('hint'), error && id('error')].filter(Boolean).join(' '));
	if (error) effect(() => setAttribute(control, 'aria-invalid', error() ? 'true' : null));
	return h('div', { ...props, class: joined('field', props.class) }, h('label', { for: control.id }, label), control,
		hint && h('p', { id: id('hint'), class: 'muted small' }, hint),
		error && h('p', { id: id('error'), class: 'error-text', role: 'alert', hidden: () => !error() }, error));
}

/** options: [['a', 'Option A']]; label: the name when there is no field(). */
export const select = (options, { value = null, onchange, label, ...props } = {}) => h('select', { 'aria-label': label,
	...props, onchange: ({ currentTarget }) => onchange?.(currentTarget.value) }, () => {
	const chosen = reader(value)() ?? '';       // read here, so that new options find their choice
	return reader(options)().map(([key, text, more]) => h('option', { value: key,
		selected: String(key) === String(chosen), ...more }, text));
});

export const switchBox = (label, value, { hint = '', ...props } = {}) => h('label', { class: 'switch' },
	h('input', { type: 'checkbox', role: 'switch', checked: value, ...props,
		onchange: ({ currentTarget }) => value.set(currentTarget.checked) }),
	h('span', { class: 'grow' }, label, hint && h('span', { class: 'muted small block' }, hint)));

export function segmented(label, options, { value, onchange }) {
	const name = newId('choice');
	return h('div', { class: 'segmented', role: 'radiogroup', 'aria-label': label }, options.map(([key, text]) =>
		h('label', null, h('input', { type: 'radio', name, value: key, checked: () => value() === key,
			onchange: () => onchange(key) }), h('span', null, text))));
}

export function searchBox({ label, oninput, shortcut: keys = '', ...props }) {
	const element = h('input', { type: 'search', class: 'search', placeholder: label, 'aria-label': label,
		autocomplete: 'off', spellcheck: 'false', 'aria-keyshortcuts': () => singleKeys() && keys || null, ...props,
		oninput: () => oninput(element.value) });
	if (keys) shortcut(keys, label, () => element.select());
	return h('div', { class: 'searchbox' }, icon('search'), element);
}

export const emptyState = ({ icon: name = 'info', title, text = '', actions = [] }, ...children) =>
	h('div', { class: 'empty' }, icon(name), h('h2', null, title), text && h('p', null, text), children,
		actions.length > 0 && h('div', { class: 'row' }, actions));

/** Grey bars in the place of what is coming, when it takes noticeable time. */
export function skeleton(rows = 3) {
	const stage = signal(0);
	const timers = [300, 5000].map((ms, i) => setTimeout(stage.set, ms, i + 1));
	onCleanup(() => timers.forEach(clearTimeout));
	return h('div', { class: 'skeleton', 'aria-busy': 'true' }, () => stage() > 0 && [
		h('span', { class: 'vh' }, 'Loading'), Array.from({ length: rows }, () => h('div', { class: 'bone' })),
		stage() > 1 && h('p', { class: 'muted', role: 'status' }, 'Still working …')]);
}

export const inlineError = (error, retry = null) => h('div', { class: 'notice error', role: 'alert' }, icon('failed'),
	h('div', { class: 'grow' }, error.message, h('div', { class: 'muted small' }, detailOf(error))),
	retry && button('Try again', { onclick: retry }));

export function copyButton(text, label = 'Copy', props = {}) {
	const state = signal('');
	let timer = null;
	onCleanup(() => clearTimeout(timer));
	return button(() => state() || label, { icon: 'copy', kind: 'quiet', ...props, onclick: async () => {
		const { copyText } = await import('../core/clipboard.js');
		state.set((await copyText(reader(text)())) ? 'Copied' : 'Not copied');
		clearTimeout(timer);
		timer = setTimeout(state.set, 2000, '');
	} });
}

export const codeBlock = (text, { label = 'Text', copy = true } = {}) => h('div', { class: 'codeblock' },
	copy && copyButton(text), h('pre', { class: 'well mono', tabindex: '0', role: 'region', 'aria-label': label }, text));
