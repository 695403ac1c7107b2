// Back and forth through pages of a list, with their number and how many rows there are.
import { h } from '../core/dom.js';
import { isNumber, num } from '../core/format.js';
import { iconButton, select } from './parts.js';

/** page, pages, total, size: functions; onPage(n), onSize(n). pages or total null = not known yet. */
export function pager({ page, pages, total, onPage, size, sizes = [25, 50, 100, 250, 500], onSize }) {
	const last = () => Math.max(1, pages() || 1);
	const step = (name, label, by) => iconButton(name, label, { kind: 'plain', onclick: () => onPage(page() + by),
		disabled: () => page() + by < 1 || page() + by > last() });
	return h('nav', { class: 'pager', 'aria-label': 'Pages of the list' }, step('left', 'Previous page', -1),
		h('span', { class: 'num', role: 'status' }, () => `Page ${num(page())} of ${num(last())}`),
		step('right', 'Next page', 1),
		h('span', { class: 'muted num' }, () => isNumber(total()) && `${num(total())} rows`),
		h('label', { class: 'row end' }, h('span', { class: 'muted' }, 'Rows'),
			select(sizes.map((n) => [n, n]), { value: size, onchange: (value) => onSize(Number(value)) })));
}
