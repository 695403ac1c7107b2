// Amounts as bars: always with their number as text, never colour alone.
import { h, newId } from '../core/dom.js';
import { isNumber } from '../core/format.js';

/** One amount of a whole. value, max and text are functions; bare: without label. */
export function meter({ label, value, max, text, bare = false }) {
	const amount = () => (isNumber(value()) ? value() : 0);
	const share = () => (max() > 0 ? Math.min(1, Math.max(0, amount() / max())) : 0);
	const bar = h('div', { class: 'meter', role: 'meter', 'aria-label': label, 'aria-valuemin': '0',
		'aria-valuemax': () => max() ?? 0, 'aria-valuenow': amount, 'aria-valuetext': text },
	h('div', { class: 'fill', css: { '--part': () => `${share() * 100}%` } }));
	return bare ? bar : h('div', { class: 'metered' }, h('div', { class: 'row' }, h('span', null, label),
		h('span', { class: 'num end' }, text)), bar);
}

/** segments: () => [{label, value, series: 1-8 | 'free', href?}]. The table says in words what the bar shows. */
export function stackedBar({ label, segments, total, format }) {
	const id = newId('bar');
	const row = ({ label: name, value, series, href }) => h('tr', null, h('th', { scope: 'row' },
		h('span', { class: `key seg-${series}` }), href ? h('a', { href }, name) : name),
	h('td', { class: 'num' }, format(value)));
	return h('div', { class: 'stacked' },
		h('div', { class: 'row' }, h('span', { id }, label), h('span', { class: 'num end muted' }, () => format(total()))),
		strip({ 'aria-hidden': 'true' }, () => segments().map((each) => ({ ...each, kind: `seg-${each.series}`,
			text: format(each.value), inside: h('span', { class: 'clip' }, `${each.label} ${format(each.value)}`) })), total),
		h('table', { class: 'legend', 'aria-labelledby': id }, h('tbody', null, () => segments().map(row))));
}

/** What happened one after the other: parts: () => [{label, ms, kind}]. */
export function timelineBar({ label, parts, format }) {
	const all = () => parts().filter((part) => part.ms > 0)
		.map((part) => ({ label: part.label, value: part.ms, kind: `is-${part.kind}`, text: format(part.ms) }));
	return h('div', { class: 'stacked timeline' },
		strip({ role: 'img', 'aria-label': () => `${label}: ${all().map((each) => `${each.label} ${each.text}`)
			.join(', ')}` }, all, () => all().reduce((sum, each) => sum + each.value, 0)),
		h('ul', { class: 'row legend' }, () => all().map((each) => h('li', null, h('span', { class: `key ${each.kind}` }),
			`${each.label} `, h('span', { class: 'num' }, each.text)))));
}

const strip = (props, parts, total) => h('div', { class: 'stack-bar', ...props },
	() => parts().filter((each) => each.value > 0).map((each) => h('div', { class: `seg ${each.kind}`,
		title: `${each.label}: ${each.text}`, css: { '--part': `${(each.value / total()) * 100}%` } }, each.inside)));
