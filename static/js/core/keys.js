// Keyboard shortcuts. Single keys are off while typing and can be switched off (WCAG 2.1.4); those with Ctrl or Cmd
// stay. A shortcut ends with the scope that made it; of two for the same keys the younger one counts.
import { setting } from './persist.js';
import { onCleanup, signal } from './signal.js';

export const singleKeys = setting('singleKeys', true);
/** [{keys, label}] of what works now, for the help dialog. */
export const shortcuts = signal([]);
const SEQUENCE_MS = 1200;
let first = '';
let firstAt = 0;

/** shortcut('g m', 'Go to Models', run): keys are 'x', '/', '?', 'g m' or 'mod+k' (Ctrl, on a Mac also Cmd). */
export function shortcut(keys, label, run) {
  const entry = { keys, label, run };
  shortcuts.update((all) => [entry, ...all]);
  onCleanup(() => shortcuts.update((all) => all.filter((each) => each !== entry)));
}

export function startKeys() {
  addEventListener('keydown', onKey);
}

function onKey(event) {
  if (event.defaultPrevented || event.isComposing || event.altKey) return;
  const isCommand = event.ctrlKey || event.metaKey;
  if (!isCommand && (!singleKeys.peek() || isTyping(event) || document.querySelector('dialog:modal'))) return;
  const name = (isCommand ? 'mod+' : '') + (event.key.length === 1 ? event.key.toLowerCase() : event.key);
  const now = performance.now();
  const pair = !isCommand && now - firstAt < SEQUENCE_MS ? `${first} ${name}` : '';
  const all = shortcuts.peek();
  const found = (pair && all.find((each) => each.keys === pair)) || all.find((each) => each.keys === name);
  [first, firstAt] = found ? ['', 0] : [name, now];
  // A run that returns false had nothing to do here, so the key keeps its meaning in the browser.
  if (found && found.run(event) !== false) event.preventDefault();
}

function isTyping(event) {
  const target = event.composedPath()[0];
  return target instanceof Element && Boolean(target.closest('input:not([type=checkbox]):not([type=radio]):not([type=button]), ' +
    'textarea, select, [contenteditable], [role=textbox], [role=combobox], [role=menu], [role=listbox]'));
}

/** Roving focus for a row of items: arrows, Home and End. Returns a keydown listener. */
export function arrowKeys(items, { vertical = true, wrap = true } = {}) {
  const [back, on] = vertical ? ['ArrowUp', 'ArrowDown'] : ['ArrowLeft', 'ArrowRight'];
  return (event) => {
    const all = items();
    const at = all.indexOf(document.activeElement);
    const to = { [back]: at - 1, [on]: at + 1, Home: 0, End: all.length - 1 }[event.key];
    if (to === undefined || !all.length) return;
    event.preventDefault();
    const next = wrap ? (to + all.length) % all.length : Math.min(all.length - 1, Math.max(0, to));
    all[next].focus();
  };
}
