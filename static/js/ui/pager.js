// Back and forth through pages of a list, with their number and how many rows there are.
import { h } from '../core/dom.js';
import { num } from '../core/format.js';
import { iconButton, select } from './parts.js';

/** page, pages, total, size: functions; onPage(n), onSize(n). pages or total null = not known yet. */
export function pager({ page, pages, total = () => null, onPage, size = null, sizes = [25, 50, 100, 250, 500],
  onSize = () => {} }) {
  const go = (n) => () => onPage(Math.min(Math.max(1, n()), Math.max(1, pages() || 1)));
  const isFirst = () => page() <= 1;
  const isLast = () => page() >= (pages() || 1);
  return h('nav', { class: 'pager', 'aria-label': 'Pages of the list' },
    iconButton('left', 'Previous page', { kind: 'plain', disabled: isFirst, onclick: go(() => page() - 1) }),
    h('span', { class: 'num', role: 'status' }, () => `Page ${num(page())} of ${num(Math.max(1, pages() || 1))}`),
    iconButton('right', 'Next page', { kind: 'plain', disabled: isLast, onclick: go(() => page() + 1) }),
    h('span', { class: 'muted num' }, () => (total() === null ? '' : `${num(total())} rows`)),
    size && h('label', { class: 'row end' }, h('span', { class: 'muted' }, 'Rows'),
      select(sizes.map((n) => [n, String(n)]), { value: size, onchange: (value) => onSize(Number(value)) })));
}
