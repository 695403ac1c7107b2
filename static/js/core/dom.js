// Elements from values. Strings become text, never markup.
import { effect, onCleanup, scope, signal, untracked } from './signal.js';

const SPRITE = new URL('../../img/icons.svg', import.meta.url).href;
const SVG = 'http://www.w3.org/2000/svg';
const AS_PROPERTY = new Set(['checked', 'selected', 'indeterminate', 'muted']);
const HAS_VALUE = new Set(['input', 'textarea', 'select']);     // of others (option, progress, li) it is an attribute
const BAD_LINK = /^[\s\u0000-\u0020]*(?:javascript|data(?!:image\/(?:png|jpeg|gif|webp);))\s*:/i;

/**
 * h('button', {class: 'primary', disabled: () => busy(), onclick: save}, 'Save')
 * Functions as properties or children are live; `on…` are listeners; `css: {'--w': …}` sets styles; null and false
 * leave out.
 */
export const h = (tag, props, ...children) => build(document.createElement(tag), props, children);

/** The same for SVG. */
export const s = (tag, props, ...children) => build(document.createElementNS(SVG, tag), props, children);

function build(element, props, children) {
	append(element, children);        // first: a select takes its value only once its options are there
	for (const name in props) setProp(element, name, props[name]);
	return element;
}

function setProp(element, name, value) {
	if (name.startsWith('on')) {
		if (value) element.addEventListener(name.slice(2), value);
	} else if (name === 'css') {
		for (const key in value) bind(value[key], (now) => element.style.setProperty(key, now ?? ''));
	} else {
		bind(value, (now) => setAttribute(element, name, now));
	}
}

function bind(value, set) {
	if (typeof value === 'function') effect(() => set(value()));
	else set(value);
}

const isNothing = (value) => value === null || value === undefined || value === false;

export function setAttribute(element, name, value) {
	if (AS_PROPERTY.has(name) || (name === 'value' && HAS_VALUE.has(element.localName))) {
		if (element[name] !== value) element[name] = value ?? '';
	} else if (isNothing(value)) {
		element.removeAttribute(name);
	} else {
		const text = value === true ? '' : String(value);
		if ((name === 'href' || name === 'src') && BAD_LINK.test(text)) return;
		if (element.getAttribute(name) !== text) element.setAttribute(name, text);
	}
}

export function append(parent, children) {
	for (const child of children) {
		if (Array.isArray(child)) append(parent, child);
		else if (typeof child === 'function') bindChild(parent, child);
		else if (!isNothing(child) && child !== true) parent.append(child);        // makes text nodes of strings
	}
}

function bindChild(parent, read) {
	const end = document.createTextNode('');      // itself the text when there is only text
	parent.append(end);
	let shown = [];
	effect(() => {
		const value = read();
		const isText = typeof value === 'string' || typeof value === 'number';
		for (const node of shown) node.remove();
		const text = isText ? String(value) : '';
		if (end.data !== text) end.data = text;
		const box = document.createDocumentFragment();
		if (!isText) append(box, [value]);
		shown = [...box.childNodes];
		if (shown.length) end.before(box);
	});
}

/**
 * The children of `box` follow a list: each(tbody, rows, row => row.id, item => h('tr', …)).
 * `render` runs once per key and gets a signal of the newest item: focus and scroll places survive.
 */
export function each(box, items, key, render) {
	let rows = new Map();
	effect(() => {
		const old = rows;
		rows = new Map();
		for (const item of items()) {
			const id = key(item);
			if (rows.has(id)) continue;
			const row = old.get(id) || untracked(() => newRow(item, render));
			row.item.set(item);
			rows.set(id, row);
		}
		for (const [id, { end, element }] of old) {
			if (rows.has(id)) continue;
			end();
			element.remove();
		}
		place(box, rows.values());
	});
	onCleanup(() => { for (const row of rows.values()) row.end(); });
	return box;
}

function newRow(first, render) {
	const item = signal(first);
	const [element, end] = scope(() => render(item));
	return { item, element, end };
}

function place(box, rows) {
	const focused = box.contains(document.activeElement) ? document.activeElement : null;
	let at = box.firstChild;
	for (const { element } of rows) {
		// Where one row went away, moving it is cheaper than moving all that follow.
		if (at && at !== element && at.nextSibling === element) box.append(at);
		else if (element !== at) box.insertBefore(element, at);
		at = element.nextSibling;
	}
	if (focused && document.activeElement !== focused && focused.isConnected) focused.focus({ preventScroll: true });
}

let count = 0;
export const newId = (prefix = 'n') => `${prefix}-${++count}`;

/** Rests while the page is hidden. */
export function every(ms, run) {
	const timer = setInterval(() => { if (!document.hidden) run(); }, ms);
	onCleanup(() => clearInterval(timer));
}

export const icon = (name, label) => s('svg', { class: `icon icon-${name}`, 'aria-hidden': !label && 'true',
	role: label && 'img', 'aria-label': label, focusable: 'false' }, s('use', { href: `${SPRITE}#${name}` }));
