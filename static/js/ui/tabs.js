// Tabs whose choice is the address: links for the pointer, one tab stop with arrows for the keyboard.
import { h, newId } from '../core/dom.js';
import { arrowKeys } from '../core/keys.js';

/** list: [{id, label, href}] or a function giving them; current: () => id; panel: () => content. */
export function tabs(label, list, current, panel) {
  const id = newId('tab');
  const read = typeof list === 'function' ? list : () => list;
  const strip = h('div', { class: 'tabs', role: 'tablist', 'aria-label': label,
    onkeydown: arrowKeys(() => [...strip.children], { vertical: false }) },
    () => read().map((tab) => h('a', { role: 'tab', id: `${id}-${tab.id}`, href: tab.href,
      'aria-controls': `${id}-panel`,
      'aria-selected': () => String(current() === tab.id), tabindex: () => (current() === tab.id ? '0' : '-1'),
      onkeydown: (event) => {
        if (event.key !== ' ') return;
        event.preventDefault();
        event.currentTarget.click();
      } }, tab.label)));
  return h('div', { class: 'stack' }, strip,
    h('div', { role: 'tabpanel', id: `${id}-panel`, 'aria-labelledby': () => `${id}-${current()}` }, panel));
}
