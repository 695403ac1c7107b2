// Amounts as bars: always with their number as text, never colour alone.
import { h } from '../core/dom.js';
import { isNumber } from '../core/format.js';
import { newId } from '../core/dom.js';

/** One amount of a whole. All of value, max, text and kind are functions; kind: '', 'busy' or 'fail'. */
export function meter({ label, value, max, text, kind = () => '', bare = false }) {
  const share = () => (isNumber(value()) && max() > 0 ? Math.min(1, Math.max(0, value() / max())) : 0);
  const bar = h('div', { class: () => `meter ${kind()}`, role: 'meter', 'aria-label': label, 'aria-valuemin': '0',
    'aria-valuemax': () => String(max() ?? 0),
    'aria-valuenow': () => String(isNumber(value()) ? value() : 0), 'aria-valuetext': text },
  h('div', { class: 'fill', css: { '--part': () => `${share() * 100}%` } }));
  return bare ? bar : h('div', { class: 'metered' }, h('div', { class: 'row' }, h('span', null, label),
    h('span', { class: 'num end' }, text)), bar);
}

/**
 * Parts of a whole. segments: () => [{id, label, value, series: 1-8 | 'free', est?}]; total: () => number; format: value → text.
 * The legend is a table, so it is the alternative for those who do not see the bar.
 */
export function stackedBar({ label, segments, total, format }) {
  const id = newId('bar');
  const width = (segment) => `${total() > 0 && isNumber(segment.value) ? (segment.value / total()) * 100 : 0}%`;
  return h('div', { class: 'stacked' }, h('div', { class: 'row' }, h('span', { id }, label),
    h('span', { class: 'num end muted' }, () => format(total()))),
  h('div', { class: 'stack-bar', 'aria-hidden': 'true' },
    () => segments().filter((each) => each.value > 0).map((segment) => h('div', {
    class: `seg seg-${segment.series}`, title: `${segment.label}: ${format(segment.value)}`,
      css: { '--part': width(segment) } },
  h('span', { class: 'clip' }, `${segment.label} ${format(segment.value)}`)))),
  h('table', { class: 'legend', 'aria-labelledby': id }, h('tbody', null, () => segments().map((segment) => h('tr',
    null,
    h('th', { scope: 'row' }, h('span', { class: `key seg-${segment.series}` }), segment.href ? h('a',
      { href: segment.href }, segment.label) : segment.label),
    h('td', { class: 'num' }, format(segment.value), segment.est ? ' est.' : ''))))));
}

/** What happened one after the other: parts: () => [{label, ms, kind}]. */
export function timelineBar({ label, parts, format }) {
  const all = () => parts().filter((part) => part.ms > 0);
  const total = () => all().reduce((sum, part) => sum + part.ms, 0);
  return h('div', { class: 'stacked timeline' },
    h('div', { class: 'stack-bar', role: 'img', 'aria-label': () => `${label}: ${all().map((part) =>
      `${part.label} ${format(part.ms)}`).join(', ')}` },
      () => all().map((part) => h('div', { class: `seg is-${part.kind}`, title: `${part.label}: ${format(part.ms)}`,
        css: { '--part': `${(part.ms / total()) * 100}%` } }))),
    h('ul', { class: 'row legend' }, () => all().map((part) => h('li', null,
      h('span', { class: `key is-${part.kind}` }), `${part.label} `,
      h('span', { class: 'num' }, format(part.ms))))));
}
