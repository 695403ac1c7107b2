// Elements from values. Strings become text, never markup.
import { effect, onCleanup, scope, signal, untracked } from './signal.js';

const SPRITE = new URL('../../img/icons.svg', import.meta.url).href;
const SVG = 'http://www.w3.org/2000/svg';
const MATH = 'http://www.w3.org/1998/Math/MathML';
const HAS_VALUE = ['input', 'textarea', 'select'];     // of others it is an attribute

/** Properties and children that are functions are live, null and false are left out; `css: {'--w': …}` sets styles. */
export const h = (tag, props, ...children) => build(document.createElement(tag), props, children);

export const inRow = (...children) => h('div', { class: 'row' }, ...children);
export const inStack = (...children) => h('div', { class: 'stack' }, ...children);
export const s = (tag, props, ...children) => build(document.createElementNS(SVG, tag), props, children);
export const m = (tag, props, ...children) => build(document.createElementNS(MATH, tag), props, children);

function build(element, props, children) {
	append(element, children);        // first: a select takes no value without its options
	for (const name in props) setProp(element, name, props[name]);
	return element;
}

function setProp(element, name, value) {
	if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
	else if (name !== 'css') bind(value, (now) => setAttribute(element, name, now));
	else for (const key in value) bind(value[key], (now) => element.style.setProperty(key, now ?? ''));
}

function bind(value, set) {
	if (typeof value === 'function') effect(() => set(value()));
	else set(value);
}

export function setAttribute(element, name, value) {
	if (['checked', 'selected'].includes(name) || (name === 'value' && HAS_VALUE.includes(element.localName))) {
		if (element[name] !== value) element[name] = value ?? '';
	} else if ((value ?? false) === false) {
		element.removeAttribute(name);
	} else {
		const text = value === true ? '' : String(value);
		if (element.getAttribute(name) !== text) element.setAttribute(name, text);
		if (element.protocol === 'javascript:') element.removeAttribute(name);        // as the browser reads it
	}
}

export function append(parent, children) {
	for (const child of children) {
		if (Array.isArray(child)) append(parent, child);
		else if (typeof child === 'function') bindChild(parent, child);
		else if (typeof (child ?? false) !== 'boolean') parent.append(child);
	}
}

function bindChild(parent, read) {
	const start = document.createTextNode('');
	const end = document.createTextNode('');      // itself the text when there is only text
	parent.append(start, end);
	effect(() => {
		const value = read();
		const isText = typeof value === 'string' || typeof value === 'number';
		// Also what live children within have put there.
		while (start.nextSibling && start.nextSibling !== end) start.nextSibling.remove();
		const text = isText ? String(value) : '';
		if (end.data !== text) end.data = text;
		if (isText) return;
		const box = document.createDocumentFragment();
		append(box, [value]);
		end.before(box);
	});
}

/** The children of `box` follow a list. `render` runs once per key and gets a signal of the newest item. */
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
		// One row moved down: cheaper than to move all that follow.
		if (at && at !== element && at.nextSibling === element) box.append(at);
		else if (element !== at) box.insertBefore(element, at);
		at = element.nextSibling;
	}
	if (focused && document.activeElement !== focused && focused.isConnected) focused.focus({ preventScroll: true });
}

export const at = (id) => document.getElementById(id);

let count = 0;
export const newId = (prefix = 'n') => `${prefix}-${++count}`;

/** Rests while the page is hidden. */
export function every(ms, run) {
	const timer = setInterval(() => { if (!document.hidden) run(); }, ms);
	onCleanup(() => clearInterval(timer));
}

export const icon = (name, label) => s('svg', { class: 'icon', 'aria-hidden': !label && 'true',
	role: label && 'img', 'aria-label': label, focusable: 'false' }, s('use', { href: `${SPRITE}#${name}` }));
