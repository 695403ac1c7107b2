// The small parts of pages.
import { h, icon, inRow, newId, setAttribute } from '../core/dom.js';
import { shortcut } from '../core/keys.js';
import { effect, onCleanup, signal } from '../core/signal.js';
import { detailOf, message } from './toast.js';

const TOOLTIP_MS = 350;
let tip = null;
let timer = 0;

const read = (value) => (typeof value === 'function' ? value() : value);
const classes = (...names) => names.filter(Boolean).join(' ');

const pressable = (tag, label, { kind = 'plain', icon: name, ...props }) =>
	h(tag, { ...props, class: classes('btn', kind, props.class) }, name && icon(name), label);

/** kind: 'primary', 'plain', 'danger' or 'quiet'. */
export const button = (label, props) => pressable('button', label, { type: 'button', ...props });
export const linkButton = (label, href, props) => pressable('a', label, { href, ...props });
export const iconButton = (name, label, props) => button('', { kind: 'quiet', 'aria-label': label, ...props, icon: name,
	class: classes('icon-only', props.class) });

export const slim = { kind: 'quiet', class: 'slim' };

export const tag = (text, kind) => h('span', { class: classes('tag', kind) }, text);

export const chip = (label, { pressed, count, ...props }) => h('button', { type: 'button', class: 'chip',
	'aria-pressed': () => String(Boolean(pressed())), ...props },
	label, count && h('span', { class: 'num muted' }, count));

export const card = (title, { actions, id = newId('card') }, ...children) =>
	h('section', { class: 'card', 'aria-labelledby': id },
		h('div', { class: 'card-head' }, h('h2', { id }, title), actions && h('div', { class: 'row end' }, actions)),
		children);

/** facts([['Kernel', '6.1'], …]); null pairs are left out. */
export const facts = (pairs, props) => h('dl', { class: classes('facts', props?.class) },
	pairs.filter(Boolean).map(([term, value]) => h('div', null, h('dt', null, term), h('dd', null, value))));

export function field(label, control, { hint, error, class: more } = {}) {
	control.id ||= newId('field');
	const id = (part) => `${control.id}-${part}`;
	setAttribute(control, 'aria-describedby', classes(hint && id('hint'), error && id('error')) || null);
	if (error) effect(() => setAttribute(control, 'aria-invalid', error() ? 'true' : null));
	return h('div', { class: classes('field', more) }, h('label', { for: control.id }, label), control,
		hint && h('p', { id: id('hint'), class: 'muted small' }, hint),
		error && h('p', { id: id('error'), class: 'error-text', role: 'alert', hidden: () => !error() }, error));
}

/** options: [['a', 'Option A']]; these and `value` may be functions; label: the name when there is no field(). */
export const select = (options, { value, onchange, label, ...props } = {}) => h('select', { 'aria-label': label,
	...props, onchange: ({ currentTarget }) => onchange?.(currentTarget.value) }, () => {
	const chosen = String(read(value));       // read here, so that new options find their choice
	return read(options).map(([key, text]) => h('option', { value: key, selected: String(key) === chosen }, text));
});

export const switchBox = (label, value, { hint } = {}) => h('label', { class: 'switch' },
	h('input', { type: 'checkbox', role: 'switch', checked: value,
		onchange: ({ currentTarget }) => value.set(currentTarget.checked) }), message(label, hint));

export function segmented(label, options, { value, onchange }) {
	const name = newId('choice');
	return h('div', { class: 'segmented', role: 'radiogroup', 'aria-label': label }, options.map(([key, text]) =>
		h('label', null, h('input', { type: 'radio', name, value: key, checked: () => value() === key,
			onchange: () => onchange(key) }), h('span', null, text))));
}

export function searchBox({ label, oninput, shortcut: key, ...props }) {
	const element = h('input', { type: 'search', placeholder: label, 'aria-label': label, autocomplete: 'off',
		spellcheck: 'false', ...props, oninput: () => oninput(element.value) });
	if (key) shortcut(key, label, () => element.select());
	return h('div', { class: 'searchbox' }, icon('search'), element);
}

export const emptyState = ({ icon: name = 'info', title, text, actions }, ...children) => h('div', { class: 'empty' },
	icon(name), h('h2', null, title), text && h('p', null, text), children,
	actions && inRow(actions));

/** In the place of what is coming, when it takes noticeable time. */
export function skeleton() {
	const stage = signal(0);
	const timers = [300, 5000].map((ms, i) => setTimeout(stage.set, ms, i + 1));
	onCleanup(() => timers.forEach(clearTimeout));
	return h('div', { class: 'skeleton', 'aria-busy': 'true' }, () => stage() > 0 && h('div', { class: 'bones' }),
		() => stage() > 1 && h('p', { class: 'muted', role: 'status' }, 'Still working …'));
}

export const inlineError = (error, retry) => h('div', { class: 'notice error', role: 'alert' }, icon('failed'),
	message(error.message, detailOf(error)), retry && button('Try again', { onclick: retry }));

export function copyButton(text, label = 'Copy', props = {}) {
	const done = signal('');
	return button(() => done() || label, { icon: 'copy', kind: 'quiet', ...props, onclick: async () => {
		const { copyText } = await import('../core/clipboard.js');
		done.set((await copyText(read(text))) ? 'Copied' : 'Not copied');
		setTimeout(done.set, 2000, '');
	} });
}

export const codeBlock = (text, { label = 'Text' } = {}) => h('div', { class: 'codeblock' },
	copyButton(text), h('pre', { class: 'well mono', tabindex: '0', role: 'region', 'aria-label': label }, text));

/** The names of picture buttons, until a key is pressed (WCAG 1.4.13). */
export function startTooltips() {
	const on = (run, ...types) => types.forEach((type) => addEventListener(type, run));
	on(awaitTip, 'pointerover', 'focusin');
	on(hideTip, 'pointerout', 'focusout', 'click', 'keydown');
}

function awaitTip({ target, pointerType }) {
	const button = target.closest('.icon-only');
	if (pointerType === 'touch' || !button?.matches(':hover, :focus-visible')) return;
	clearTimeout(timer);
	timer = setTimeout(showTip, TOOLTIP_MS, button);
}

function showTip(button) {
	if (!button.isConnected) return;
	// Read out as the button's label already: this is for the eyes.
	tip ||= document.body.appendChild(h('div', { class: 'tooltip', 'aria-hidden': 'true', popover: 'manual' }));
	tip.textContent = button.getAttribute('aria-label');
	tip.showPopover();
	place(tip, button);
}

function hideTip() {
	clearTimeout(timer);
	tip?.hidePopover();
}

/** Puts a popover where there is room at `anchor`; at: 0 joins left edges, 1 right ones. */
export function place(box, anchor, at = 0.5) {
	const { left, width, top, bottom } = anchor.getBoundingClientRect();
	const own = box.getBoundingClientRect();
	const below = innerHeight - bottom;
	const isBelow = below > own.height + 8 || below > top;
	// The text size zooms the document, and rectangles with it, but not what styles say.
	const px = (length) => `${length / (box.currentCSSZoom || 1)}px`;
	Object.assign(box.style, { top: isBelow ? px(bottom + 4) : 'auto',
		bottom: isBelow ? 'auto' : px(innerHeight - top + 4),
		left: px(Math.max(4, Math.min(left + (width - own.width) * at, innerWidth - own.width - 4))),
		maxHeight: px((isBelow ? below : top) - 8) });
}
