// Amounts as bars and small lines, always with their number.
import { h, inRow, newId, s } from '../core/dom.js';
import { isNumber, sum } from '../core/format.js';

/** One amount of a whole. value, max and text are functions; bare: without words. */
export function meter({ label, value, max, text, bare }) {
	const amount = () => value() || 0;
	const share = () => (max() > 0 ? Math.max(0, amount() / max()) : 0);
	const bar = h('div', { class: 'meter', role: 'meter', 'aria-label': label, 'aria-valuemax': max,
		'aria-valuenow': amount, 'aria-valuetext': text },
	h('div', { class: 'fill', css: { '--part': () => `${share() * 100}%` } }));
	return bare ? bar : h('div', { class: 'metered' }, inRow(h('span', null, label),
		h('span', { class: 'num end' }, text)), bar);
}

/** segments: () => [{label, value, series: 1-8 | 'free', href?}] */
export function stackedBar({ label, segments, format,
	total = () => sum(segments().map(({ value }) => value)) }) {
	const id = newId('bar');
	const colour = (series) => `var(--s${series})`;
	const part = ({ label: name, value, series, kind, text = `${name} ${format(value)}` }) => value > 0 && h('div', {
		class: `seg ${kind}`, title: text, css: { '--part': `${(value / total()) * 100}%`, '--seg': colour(series) } },
	h('span', { class: 'clip' }, text));
	const row = ({ label: name, value, series, kind, href }) => h('tr', null, h('th', { scope: 'row' },
		h('span', { class: `key ${kind}`, css: { '--seg': colour(series) } }), href ? h('a', { href }, name) : name),
	h('td', { class: 'num' }, format(value)));
	const all = () => segments().map((one) => ({ kind: one.series === 'free' && 'seg-free', ...one }));
	return h('div', { class: 'stacked' },
		inRow(h('span', { id }, label), h('span', { class: 'num end muted' }, () => format(total()))),
		h('div', { class: 'stack-bar', 'aria-hidden': 'true' }, () => all().map(part)),
		h('table', { class: 'legend', 'aria-labelledby': id }, () => all().map(row)));
}

/** What happened one after the other: parts: () => [{label, ms, kind}]. */
export function timelineBar({ label, parts, format }) {
	const segments = () => parts().filter(({ ms }) => ms > 0)
		.map(({ label: name, ms, kind }) => ({ label: name, value: ms, kind: `is-${kind}` }));
	return h('div', { class: 'timeline' }, stackedBar({ label, segments, format }));
}

/** values: () => numbers, null where nothing is known; text: () => what they say. */
export function spark({ label, values, text }) {
	const path = () => {
		const [low, high] = extent([0, ...values()]);
		return linePath(values(), (i) => (i / (values().length - 1)) * 200,
			(value) => 30 - ((value - low) / (high - low || 1)) * 28);
	};
	return h('div', null, s('svg', { class: 'spark', viewBox: '0 0 200 32', preserveAspectRatio: 'none', role: 'img',
		'aria-label': () => `${label}: ${text()}` }, s('path', { d: path })));
}

/** Least and greatest, null when nothing is known. */
export function extent(values) {
	const known = values.filter(isNumber);
	return known.length ? [Math.min(...known), Math.max(...known)] : null;
}

/** toX: of an index; toY: of a value. A gap stays one, a lone point is a short dash. */
export const linePath = (values, toX, toY) => values.map((value, i) => {
	if (!isNumber(value)) return '';
	const isFirst = !isNumber(values[i - 1]);
	const isAlone = isFirst && !isNumber(values[i + 1]);
	return `${isFirst ? 'M' : 'L'}${toX(i).toFixed(1)} ${toY(value).toFixed(1)}${isAlone ? 'm-2 0h4' : ''}`;
}).join('') || 'M0 0';
