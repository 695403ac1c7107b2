// Elements from values. Strings always become text nodes; there is no way here to make markup from a string.
import { effect, onCleanup, scope, signal, untracked } from './signal.js';

// Asked for where this module came from: there it may be kept for ever.
const SPRITE = new URL('../../img/icons.svg', import.meta.url).href;
const SVG = 'http://www.w3.org/2000/svg';
const AS_PROPERTY = new Set(['checked', 'selected', 'indeterminate', 'muted']);
const HAS_VALUE = new Set(['input', 'textarea', 'select']);     // of others (option, progress, li) it is an attribute
const REFUSED = new Set(['style', 'srcdoc', 'innerhtml', 'outerhtml']);
const BAD_LINK = /^[\s\u0000-\u0020]*(?:javascript|vbscript|data)\s*:/i;

/**
 * h('button', {class: 'primary', disabled: () => busy(), onclick: save}, 'Save')
 * A function as a property or child is read again when a signal in it changes; `on…` functions are listeners;
 * `css: {'--w': …}` sets custom properties or styles; `ref: el => …` gets the element; null and false leave things out.
 */
export function h(tag, props, ...children) {
  return build(document.createElement(tag), props, children);
}

/** The same for SVG. */
export function s(tag, props, ...children) {
  return build(document.createElementNS(SVG, tag), props, children);
}

function build(element, props, children) {
  for (const name in props) setProp(element, name, props[name]);
  append(element, children);
  if (props && props.ref) props.ref(element);
  // A select takes its value only once its options are there.
  if (props && element.localName === 'select' && 'value' in props) bindOrSet(props.value,
    (v) => { element.value = v; });
  return element;
}

function setProp(element, name, value) {
  if (name === 'ref' || value === undefined) return;
  if (name.startsWith('on')) {
    element.addEventListener(name.slice(2), value);
  } else if (name === 'css') {
    for (const key in value) bindOrSet(value[key], (v) => setStyle(element, key, v));
  } else if (REFUSED.has(name.toLowerCase())) {
    throw new TypeError(`no property "${name}" here`);
  } else {
    bindOrSet(value, (v) => setAttribute(element, name, v));
  }
}

function bindOrSet(value, set) {
  if (typeof value === 'function') effect(() => set(value()));
  else set(value);
}

function setStyle(element, key, value) {
  if (value === null || value === undefined) element.style.removeProperty(key);
  else element.style.setProperty(key, value);
}

export function setAttribute(element, name, value) {
  if (AS_PROPERTY.has(name) || (name === 'value' && HAS_VALUE.has(element.localName))) {
    if (element[name] !== value) element[name] = value ?? '';
  } else if (value === null || value === undefined || value === false) {
    element.removeAttribute(name);
  } else {
    const text = value === true ? '' : String(value);
    if ((name === 'href' || name === 'src') && BAD_LINK.test(text)
      && !/^data:image\/(png|jpeg|gif|webp);/.test(text)) return;
    if (element.getAttribute(name) !== text) element.setAttribute(name, text);
  }
}

/** Appends strings, numbers, nodes, functions (live) and arrays of them. */
export function append(parent, children) {
  for (const child of children) {
    if (child === null || child === undefined || child === false || child === true) continue;
    if (Array.isArray(child)) append(parent, child);
    else if (typeof child === 'function') bindChild(parent, child);
    else parent.append(child);            // append() makes text nodes of strings
  }
}

function bindChild(parent, read) {
  const end = document.createTextNode('');      // is itself the text when there is no more than text
  parent.append(end);
  let shown = [];
  effect(() => {
    const value = read();
    const isPlain = typeof value === 'string' || typeof value === 'number';
    for (const node of shown) node.remove();
    const text = isPlain ? String(value) : '';
    if (end.data !== text) end.data = text;
    if (isPlain || !value) {
      shown = [];
      return;
    }
    const box = document.createDocumentFragment();
    append(box, [value]);
    shown = [...box.childNodes];
    end.before(box);
  });
}

/**
 * Keeps the children of `box` in step with a list: each(tbody, rows, row => row.id, item => h('tr', null, () => item().name)).
 * One element per key for as long as the key is there: `render` runs once and gets a signal of the newest item, so
 * focus, selection and scroll places survive. The box must hold nothing else.
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
    for (const [id, row] of old) if (!rows.has(id)) removeRow(row);
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

function removeRow(row) {
  row.end();
  row.element.remove();
}

function place(box, rows) {
  const focused = box.contains(document.activeElement) ? document.activeElement : null;
  let at = box.firstChild;
  for (const { element } of rows) {
    if (element === at) {
      at = at.nextSibling;
    } else if (at && at.nextSibling === element) {
      // One row went away from here: moving it is one move, moving all that follow it would be many.
      const moved = at;
      at = element.nextSibling;
      box.append(moved);
    } else {
      box.insertBefore(element, at);
    }
  }
  if (focused && document.activeElement !== focused && focused.isConnected) focused.focus({ preventScroll: true });
}

/** A new id for label/for and aria-…: unique in this page, no crypto needed. */
let count = 0;
export const newId = (prefix = 'n') => `${prefix}-${++count}`;

/** A listener that ends with the current scope. */
export function listen(target, type, handler, options) {
  target.addEventListener(type, handler, options);
  onCleanup(() => target.removeEventListener(type, handler, options));
}

/** A repeated call that ends with the current scope and rests while the page is hidden. */
export function every(ms, run) {
  const timer = setInterval(() => { if (!document.hidden) run(); }, ms);
  onCleanup(() => clearInterval(timer));
}

export function icon(name, label) {
  const svg = s('svg', { class: `icon icon-${name}`, 'aria-hidden': label ? null : 'true', role: label ? 'img' : null,
    'aria-label': label, focusable: 'false' }, s('use', { href: `${SPRITE}#${name}` }));
  return svg;
}
