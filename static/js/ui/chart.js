// Line charts and histograms as one SVG each: a path per series, a sentence, a table, a crosshair for pointer and keys.
import { h, newId, s } from '../core/dom.js';
import { isNumber, num, timeOfDay } from '../core/format.js';
import { computed, effect, onCleanup, signal } from '../core/signal.js';
import { nearest, niceTicks, thin, timeTicks } from './scale.js';
import { extent, linePath } from './spark.js';
export { spark } from './spark.js';

const PAD = { left: 52, right: 8, top: 8, bottom: 20 };
const DASHES = ['', '6 3', '2 3', '8 3 2 3', '1 4', '10 4', '4 2', '12 3 3 3'];
const MAX_ROWS = 200;
const plain = (value) => value.toLocaleString(undefined, { maximumSignificantDigits: 4 });

/**
 * series: () => [{label, x: epoch seconds, y: values or null, series?: 1-8}]; format: value → text; max: fixed top;
 * limits: () => [{label, value}]; stacked: areas on top of each other (the series then share their x). Charts that are
 * given the same `cross` (a signal of null) share their crosshair.
 */
export function lineChart({ label, series, format = plain, height = 170, from = null, to = null, stacked = false,
  max = null, limits = () => [], cross = signal(null) }) {
  const off = signal(new Set());
  const width = signal(600);
  const all = computed(() => series().map((each, i) => ({ tone: (i % 8) + 1, ...each })));
  const shown = computed(() => layers(all().filter((each) => !off().has(each.label)), stacked));
  const scale = computed(() => scaleOf(shown(), { width: width(), height, from, to, max, limits: limits() }));
  const figure = h('figure', { class: 'chart', 'aria-label': label },
    h('figcaption', { class: 'row' }, h('strong', null, label), h('span', { class: 'small muted' },
      () => summary(all(), format))),
    svg({ label, shown, scale, height, width, cross, format, limits, stacked }),
    h('div', { class: 'readout small num', 'aria-live': 'off' }, () => readout(shown(), cross(), format)),
    () => all().length > 1 && h('ul', { class: 'legend-list' }, all().map((each) => h('li', null, h('button', {
      type: 'button', 'aria-pressed': () => String(!off().has(each.label)),
        onclick: () => off.update((set) => toggled(set, each.label)),
    }, swatch(each), each.label)))),
    dataTable(label, all, format));
  return figure;
}

function svg({ label, shown, scale, height, width, cross, format, limits, stacked }) {
  const move = (x) => {
    const longest = shown().reduce((most, each) => (each.x.length > most.length ? each.x : most), []);
    cross.set(longest.length ? longest[nearest(longest, x)] : null);
  };
  const step = (event) => {
    const longest = shown().reduce((most, each) => (each.x.length > most.length ? each.x : most), []);
    const by = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity }[event.key];
    if (by === undefined || !longest.length) return;
    event.preventDefault();
    const at = cross.peek() === null ? longest.length - 1 : nearest(longest, cross.peek()) + by;
    cross.set(longest[Math.min(longest.length - 1, Math.max(0, at))]);
  };
  const element = s('svg', { height, role: 'img', tabindex: '0',
    'aria-label': `${label}. Arrow keys read single values.`, onkeydown: step,
    onblur: () => cross.set(null), onpointerleave: () => cross.set(null),
    onpointermove: (event) => {
      const box = element.getBoundingClientRect();
      move(scale().time((event.clientX - box.left) * (width.peek() / box.width)));
    } },
  () => axes(scale(), width(), height, format),
  s('g', null, () => shown().map((each) => paths(each, scale(), width(), stacked))),
  () => limits().filter((each) => isNumber(each.value)).map(({ label: text, value }) => s('g', null,
    s('path', { class: 'limit', d: `M${PAD.left} ${scale().y(value)}H${width() - PAD.right}` }),
    s('text', { x: width() - PAD.right, y: scale().y(value) - 3, 'text-anchor': 'end' }, text))),
  s('path', { class: 'cross', d: () => (cross() === null ? 'M0 0'
    : `M${scale().x(cross()).toFixed(1)} ${PAD.top}V${height - PAD.bottom}`) }));
  const observer = new ResizeObserver(([entry]) => width.set(Math.max(160, Math.round(entry.contentRect.width))));
  observer.observe(element);
  onCleanup(() => observer.disconnect());
  effect(() => element.setAttribute('viewBox', `0 0 ${width()} ${height}`));
  return element;
}

function layers(list, stacked) {
  if (!stacked) return list.map((each) => ({ ...each, top: each.y, base: null }));
  let below = [];
  return list.map((each) => {
    const base = each.y.map((_, i) => below[i] || 0);
    below = each.y.map((value, i) => base[i] + (isNumber(value) ? value : 0));
    return { ...each, top: each.y.map((value, i) => (isNumber(value) ? below[i] : NaN)), base };
  });
}

function scaleOf(shown, { width, height, from, to, max, limits }) {
  const times = extent(shown.map((each) => each.x)) || [0, 1];
  const isEmpty = !extent(shown.map((each) => each.top));
  const [begin, end] = [from ? from() : times[0], to ? to() : times[1]];
  const values = extent([...shown.map((each) => each.top), limits.map((each) => each.value)]) || [0, 1];
  const ticks = niceTicks(Math.min(0, values[0]), max ?? values[1]);
  const [low, high] = [ticks[0], max ?? ticks[ticks.length - 1]];
  const [w, hgt] = [width - PAD.left - PAD.right, height - PAD.top - PAD.bottom];
  const span = end - begin || 1;
  return {
    begin, end, ticks: isEmpty ? [] : ticks.filter((tick) => tick <= high),
    x: (at) => PAD.left + ((at - begin) / span) * w,
    time: (x) => begin + ((x - PAD.left) / w) * span,
    y: (value) => PAD.top + hgt - ((value - low) / (high - low || 1)) * hgt,
  };
}

function axes(scale, width, height, format) {
  if (!scale.ticks.length) return s('text', { x: width / 2, y: height / 2, 'text-anchor': 'middle' }, 'no data');
  return s('g', { 'aria-hidden': 'true' }, scale.ticks.map((tick) => [
    s('path', { class: 'grid-line', d: `M${PAD.left} ${scale.y(tick).toFixed(1)}H${width - PAD.right}` }),
    s('text', { x: PAD.left - 6, y: scale.y(tick) + 4, 'text-anchor': 'end' }, format(tick))]),
  scale.end > scale.begin && scale.begin > 0 ? timeTicks(scale.begin, scale.end,
    Math.min(8, Math.floor(width / 90))).map((at) =>
    s('text', { x: scale.x(at), y: height - 4, 'text-anchor': 'middle' },
      new Date(at * 1000).toLocaleTimeString(undefined, { hour: '2-digit', minute: '2-digit' }))) : null);
}

function paths(each, scale, width, stacked) {
  const tone = `var(--s${each.tone})`;
  const [x, top] = thin(each.x, each.top, width);
  const line = s('path', { class: 'series', d: linePath(x, top, scale.x, scale.y), stroke: tone,
    'stroke-dasharray': DASHES[each.tone - 1] });
  if (!stacked) return line;
  // Areas are not thinned apart from their base: the two edges must keep the same points.
  return [s('path', { class: 'area', d: linePath(each.x, each.top, scale.x, scale.y, each.base), fill: tone }), line];
}

const swatch = (each) => s('svg', { class: 'swatch', viewBox: '0 0 20 8', 'aria-hidden': 'true' },
  s('path', { d: 'M0 4H20', 'stroke-width': '3',
  stroke: `var(--s${each.tone})`, 'stroke-dasharray': DASHES[each.tone - 1] }));

function summary(all, format) {
  const parts = all.slice(0, 4).map((each) => {
    const range = extent([each.y]);
    const last = [...each.y].reverse().find(isNumber);
    return range ? `${all.length > 1 ? each.label + ' '
      : ''}now ${format(last)}, ${format(range[0])} to ${format(range[1])}` : `${each.label}: no data`;
  });
  return parts.length ? parts.join('; ') + (all.length > 4 ? `; and ${all.length - 4} more` : '') : 'no data';
}

function readout(shown, at, format) {
  if (at === null) return '\u00a0';
  return `${timeOfDay(at)}  ` + shown.filter((each) => each.x.length).map((each) => {
    const value = each.y[nearest(each.x, at)];
    return `${each.label} ${isNumber(value) ? format(value) : 'no data'}`;
  }).join('  ·  ');
}

/** Built only when it is opened: it would be most of the elements of the page. */
function dataTable(label, all, format) {
  const isOpen = signal(false);
  return h('details', { ontoggle: (event) => isOpen.set(event.currentTarget.open) }, h('summary', { class: 'small' },
    'Show data'), () => {
    if (!isOpen() || !all().length) return null;
    const x = all()[0].x;
    const step = Math.max(1, Math.ceil(x.length / MAX_ROWS));
    const rows = [];
    for (let i = x.length - 1; i >= 0; i -= step) rows.push(i);
    return h('div', { class: 'table-box data', tabindex: '0', role: 'region', 'aria-label': `Data of ${label}` },
      h('table', { class: 'table' },
      h('thead', null, h('tr', null, h('th', { scope: 'col' }, 'Time'), all().map((each) => h('th', { scope: 'col',
        class: 'to-end' }, each.label)))),
      h('tbody', null, rows.map((i) => h('tr', null, h('td', null, timeOfDay(x[i])),
        all().map((each) => h('td', { class: 'to-end' }, isNumber(each.y[i]) ? format(each.y[i]) : 'no data')))))));
  });
}

/** data: () => {bins, min, max, binSize, p50, p95, p99} or null. */
export function histogram({ label, data, format = plain, height = 110 }) {
  const id = newId('histogram');
  const W = 400;
  const bars = () => {
    const { bins } = data();
    const most = Math.max(...bins, 1);
    const each = W / bins.length;
    return bins.map((count, i) => s('rect', { class: 'bar', x: (i * each + 1).toFixed(1), width: Math.max(1,
      each - 2).toFixed(1),
      y: (height - (count / most) * (height - 4)).toFixed(1), height: ((count / most) * (height - 4)).toFixed(1) }));
  };
  const edge = (i) => data().min + i * data().binSize;
  const marks = () => ['p50', 'p95', 'p99'].filter((key) => isNumber(data()[key])).map((key) =>
    `${key} ${format(data()[key])}`).join(' · ');
  return h('figure', { class: 'chart', 'aria-labelledby': id }, h('figcaption', { class: 'row', id }, h('strong', null,
    label),
    h('span', { class: 'small muted num' }, () => (data() ? marks() : 'no data'))),
  () => data() && [
    s('svg', { viewBox: `0 0 ${W} ${height}`, height, preserveAspectRatio: 'none', 'aria-hidden': 'true' }, bars()),
    h('div', { class: 'row small muted num' }, h('span', null, format(data().min)), h('span', { class: 'end' },
      format(data().max))),
    h('details', null, h('summary', { class: 'small' }, 'Show data'), h('table', { class: 'legend' }, h('tbody', null,
      data().bins.map((count, i) =>
      h('tr', null, h('th', { scope: 'row' }, `${format(edge(i))} to ${format(edge(i + 1))}`),
        h('td', { class: 'num' }, num(count))))))),
  ]);
}

function toggled(set, value) {
  const next = new Set(set);
  if (!next.delete(value)) next.add(value);
  return next;
}
