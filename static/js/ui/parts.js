// The small parts that pages are made of. Each is a function from values to an element.
import { h, icon, newId, setAttribute } from '../core/dom.js';
import { effect, onCleanup, signal } from '../core/signal.js';
import { singleKeys, shortcut } from '../core/keys.js';
import { tooltip } from './tooltip.js';

/** kind: 'primary', 'plain', 'danger' or 'quiet'. */
export function button(label, { kind = 'plain', icon: name, ...props } = {}) {
  return h('button', { type: 'button', ...props, class: joined('btn', kind, props.class) }, name && icon(name), label);
}

/** A button of one picture: its name is read out, and shown in a tooltip on hover and focus. */
export function iconButton(name, label, { kind = 'quiet', ...props } = {}) {
  const text = typeof label === 'function' ? label : () => label;
  const glyph = typeof name === 'function' ? () => icon(name()) : icon(name);
  const element = h('button', { type: 'button', 'aria-label': text, ...props, class: joined('btn icon-only', kind,
    props.class) }, glyph);
  tooltip(element, text);
  return element;
}

export function linkButton(label, href, { kind = 'plain', icon: name, ...props } = {}) {
  return h('a', { href, ...props, class: joined('btn', kind, props.class) }, name && icon(name), label);
}

export const tag = (text, kind = '') => h('span', { class: `tag ${kind}` }, text);

/** A filter that is on or off, with the number it would show. */
export function chip(label, { pressed, count = null, onclick, ...props } = {}) {
  return h('button', { type: 'button', class: 'chip', 'aria-pressed': () => String(Boolean(pressed())), onclick,
    ...props },
    label, count && h('span', { class: 'num muted' }, count));
}

export function card(title, { actions = null, id = newId('card'), ...props } = {}, ...children) {
  return h('section', { 'aria-labelledby': id, ...props, class: joined('card', props.class) },
    h('div', { class: 'card-head' }, h('h2', { id }, title), actions && h('div', { class: 'row end' }, actions)),
      children);
}

/** Pairs of a word and what is known about it: facts([['Kernel', '6.1'], …]); null pairs are left out. */
export function facts(pairs, props = {}) {
  return h('dl', { ...props, class: joined('facts', props.class) },
    pairs.filter(Boolean).map(([term, value]) => h('div', null, h('dt', null, term), h('dd', null, value))));
}

/** Label, control, hint and error, tied together for those who cannot see the layout. */
export function field(label, control, { hint = '', error = null, ...props } = {}) {
  const id = control.id || (control.id = newId('field'));
  const [hintId, errorId] = [newId('hint'), newId('error')];
  const message = error && h('p', { id: errorId, class: 'error-text', role: 'alert', hidden: () => !error() },
    () => error() || '');
  control.setAttribute('aria-describedby', [hint && hintId, error && errorId].filter(Boolean).join(' '));
  if (error) effect(() => setAttribute(control, 'aria-invalid', error() ? 'true' : null));
  return h('div', { ...props, class: joined('field', props.class) }, h('label', { for: id }, label), control,
    hint && h('p', { id: hintId, class: 'muted small' }, hint), message);
}

/** select([['a', 'Option A']], {value: () => 'a', onchange: v => …, label: 'name when there is no field()'}) */
export function select(options, { value = null, onchange, label, ...props } = {}) {
  const list = typeof options === 'function' ? options : () => options;
  const element = h('select', { 'aria-label': label, ...props, onchange: () => onchange && onchange(element.value) },
    () => {
    // Read here, so that new options find their choice.
    const chosen = typeof value === 'function' ? value() : value;
    return list().map(([key, text, more]) => h('option', { value: key, selected: String(key) === String(chosen ?? ''),
      ...more }, text));
  });
  return element;
}

export function switchBox(label, value, { hint = '', ...props } = {}) {
  const element = h('input', { type: 'checkbox', role: 'switch', checked: value, ...props,
    onchange: () => value.set(element.checked) });
  return h('label', { class: 'switch' }, element, h('span', { class: 'grow' }, label, hint && h('span',
    { class: 'muted small block' }, hint)));
}

/** A choice of few, all visible: radio buttons that look like one control. */
export function segmented(label, options, { value, onchange }) {
  const name = newId('choice');
  return h('div', { class: 'segmented', role: 'radiogroup', 'aria-label': label },
    options.map(([key, text]) => h('label', null,
    h('input', { type: 'radio', name, value: key, checked: () => value() === key, onchange: () => onchange(key) }),
      h('span', null, text))));
}

export function searchBox({ label, value, oninput, shortcut: keys = '', ...props }) {
  const element = h('input', { type: 'search', class: 'search', placeholder: label, 'aria-label': label,
    autocomplete: 'off', spellcheck: 'false',
    value, 'aria-keyshortcuts': () => (keys && singleKeys() ? keys : null), ...props,
      oninput: () => oninput(element.value) });
  if (keys) shortcut(keys, label, () => { element.focus(); element.select(); });
  return h('div', { class: 'searchbox' }, icon('search'), element);
}

export function emptyState({ icon: name = 'info', title, text = '', actions = [] }, ...children) {
  return h('div', { class: 'empty' }, icon(name), h('h2', null, title), text && h('p', null, text), children,
    actions.length ? h('div', { class: 'row' }, actions) : null);
}

/** Grey bars in the place of what is coming; only when it takes noticeable time, or they would only flicker. */
export function skeleton(rows = 3) {
  const isShown = signal(false);
  const isLong = signal(false);
  const timers = [setTimeout(() => isShown.set(true), 300), setTimeout(() => isLong.set(true), 5000)];
  onCleanup(() => timers.forEach(clearTimeout));
  return h('div', { class: 'skeleton', 'aria-busy': 'true' }, () => isShown() && [
    h('span', { class: 'vh' }, 'Loading'), Array.from({ length: rows }, () => h('div', { class: 'bone' })),
  ], () => isLong() && h('p', { class: 'muted', role: 'status' }, 'Still working …'));
}

/** What went wrong in the place where the result would have been. */
export function inlineError(error, retry = null) {
  const detail = [error.status ? `status ${error.status}` : '', error.id ? `request ${error.id}`
    : ''].filter(Boolean).join(', ');
  return h('div', { class: 'notice error', role: 'alert' }, icon('failed'), h('div', { class: 'grow' }, error.message,
    detail && h('div', { class: 'muted small' }, detail)), retry && button('Try again', { onclick: retry }));
}

export function copyButton(text, label = 'Copy', props = {}) {
  const state = signal('');
  let timer = null;
  onCleanup(() => clearTimeout(timer));
  return button(() => state() || label, { icon: 'copy', kind: 'quiet', ...props, onclick: async () => {
    const { copyText } = await import('../core/clipboard.js');
    state.set((await copyText(typeof text === 'function' ? text() : text)) ? 'Copied' : 'Not copied');
    clearTimeout(timer);
    timer = setTimeout(() => state.set(''), 2000);
  } });
}

export function codeBlock(text, { label = 'Text', copy = true } = {}) {
  return h('div', { class: 'codeblock' }, copy && copyButton(text), h('pre', { class: 'well mono', tabindex: '0',
    role: 'region', 'aria-label': label },
    typeof text === 'function' ? text : String(text)));
}

const joined = (...classes) => {
  const live = classes.find((each) => typeof each === 'function');
  return live ? () => [...classes.filter((each) => each && each !== live), live()].join(' ')
    : classes.filter(Boolean).join(' ');
};
