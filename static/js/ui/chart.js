// Charts: one SVG, a sentence, a table, and a crosshair.
import { each, h, s } from '../core/dom.js';
import { isNumber, num, timeOfDay, timeText } from '../core/format.js';
import { computed, onCleanup, signal } from '../core/signal.js';
import { extent, linePath } from './bars.js';

const HEIGHT = 170;
const PAD = { left: 52, right: 8, top: 8, bottom: 20 };
const DASHES = ['', '6 3', '2 3', '8 3 2 3', '1 4', '10 4', '4 2', '12 3 3 3'];
const TIME_STEPS = [60, 300, 600, 900, 1800, 3600, 10800, 21600, 43200, 86400];

/** series: () => [{label, x: epoch seconds, y: values, none below 0}]; span: () => [begin, end]; max: fixed top;
 *  limits: () => [{label, value}]. Charts with the same `cross` (a signal of null) share their crosshair. */
export function lineChart({ label, series, format, span = () => null, max, limits = () => [], cross = signal(null) }) {
	const off = signal([]);
	const width = signal(600);
	const all = computed(() => series().map((line, i) => ({ ...line,
		look: { stroke: `var(--s${(i % 8) + 1})`, 'stroke-dasharray': DASHES[i % 8] } })));
	const shown = computed(() => all().filter((line) => !off().includes(line.label)));
	const times = () => shown()[0]?.x || [];
	const scale = computed(() => scaleOf(shown(), width(), { span: span(), max, limits: limits() }));
	const jump = (i) => cross.set(times().at(Math.max(0, i)) ?? times().at(-1) ?? null);

	const plot = s('svg', { height: HEIGHT, viewBox: () => `0 0 ${width()} ${HEIGHT}`, role: 'img', tabindex: '0',
		'aria-label': `${label}. Arrow keys read single values.`,
		onkeydown: (event) => {
			const by = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity }[event.key];
			if (!by) return;
			event.preventDefault();
			jump(nearest(times(), cross.peek() ?? Infinity) + by);
		},
		onpointermove: (event) => jump(nearest(times(), scale().time(event.offsetX))),
		onblur: () => cross.set(null), onpointerleave: () => cross.set(null) },
	() => axes(scale(), width(), format),
	() => shown().map(({ x, y, look }) => {
		const kept = thin(y, width());
		return s('path', { class: 'series', ...look,
			d: linePath(kept.map((i) => y[i]), (i) => scale().x(x[kept[i]]), scale().y) });
	}),
	() => limits().map((limit) => [s('path', { class: 'limit', d: scale().across(limit.value) }),
		s('text', { x: width() - PAD.right, y: scale().y(limit.value) - 3, 'text-anchor': 'end' }, limit.label)]),
	() => cross() !== null && s('path', { class: 'cross',
		d: `M${scale().x(cross()).toFixed(1)} ${PAD.top}V${HEIGHT - PAD.bottom}` }));

	const observer = new ResizeObserver(([entry]) => width.set(Math.max(160, Math.round(entry.contentRect.width))));
	observer.observe(plot);
	onCleanup(() => observer.disconnect());
	const legend = each(h('ul', { class: 'legend-list' }), () => (all().length > 1 ? all() : []), (line) => line.label,
		(line) => {
			const name = line.peek().label;
			const isOff = () => off().includes(name);
			return h('li', null, h('button', { type: 'button', 'aria-pressed': () => String(!isOff()),
				onclick: () => off.update((names) => (isOff() ? names.filter((one) => one !== name) : [...names, name])) },
			s('svg', { class: 'swatch', viewBox: '0 0 20 8', 'aria-hidden': 'true' },
				() => s('path', { d: 'M0 4H20', 'stroke-width': '3', ...line().look })), name),
			h('div', { class: 'muted num', css: { 'margin-left': '32px' } }, () => sentence(line(), cross(), format)));
		});
	return figure(label, [() => cross() && `${timeOfDay(cross())} `,
		() => all().length === 1 && sentence(all()[0], cross(), format)],
	plot, legend, dataTable(label, () => tableRows(label, all(), format)));
}

const figure = (label, text, ...children) => h('figure', { class: 'chart', 'aria-label': label },
	h('figcaption', { class: 'row' }, h('strong', null, label), h('span', { class: 'small muted num' }, text)), children);

function scaleOf(shown, width, { span, max, limits }) {
	const values = extent(shown.flatMap(({ y }) => y));
	const ticks = ticksTo(max || Math.max(0, ...(values || []), ...limits.map(({ value }) => value)) || 1);
	const [begin, end] = span || extent(shown.flatMap(({ x }) => x)) || [0, 1];
	const [wide, tall] = [width - PAD.left - PAD.right, HEIGHT - PAD.top - PAD.bottom];
	const seconds = end - begin || 1;
	const y = (value) => PAD.top + tall * (1 - value / ticks.at(-1));
	return {
		begin, end, y, ticks: values ? ticks : [],
		x: (at) => PAD.left + ((at - begin) / seconds) * wide,
		time: (x) => begin + ((x - PAD.left) / wide) * seconds,
		across: (value) => `M${PAD.left} ${y(value).toFixed(1)}h${wide}`,
	};
}

/** About four steps. */
function ticksTo(high) {
	const least = high / 4.004;
	const power = 10 ** Math.floor(Math.log10(least));
	const step = power * [1, 2, 2.5, 5, 10].find((each) => each * power >= least);
	return Array.from({ length: Math.ceil(high / step - 0.001) + 1 }, (_, i) => i * step);
}

function axes({ begin, end, ticks, x, y, across }, width, format) {
	if (!ticks.length) return s('text', { x: width / 2, y: HEIGHT / 2, 'text-anchor': 'middle' }, 'no data');
	const step = TIME_STEPS.find((each) => (end - begin) / each <= Math.min(8, width / 90));
	const times = [];
	for (let at = Math.ceil(begin / step) * step; x(at) < width - 30; at += step) times.push(at);
	return s('g', { 'aria-hidden': 'true' }, ticks.map((tick) => [s('path', { class: 'grid-line', d: across(tick) }),
		s('text', { x: PAD.left - 6, y: y(tick) + 4, 'text-anchor': 'end' }, format(tick))]),
	times.map((at) => s('text', { x: x(at), y: HEIGHT - 4, 'text-anchor': 'middle' }, timeText(at, undefined, 'short'))));
}

/** The indices to draw: of a pixel column the least and the greatest. */
function thin(values, columns) {
	const per = values.length / columns;
	if (per <= 2) return [...values.keys()];
	return Array.from({ length: columns }, (_, column) => {
		const begin = Math.floor(column * per);
		const part = values.slice(begin, Math.floor((column + 1) * per));
		return [...new Set(extent(part)?.map((value) => begin + part.indexOf(value)) || [begin])].sort((a, b) => a - b);
	}).flat();
}

const nearest = (times, wanted) => Math.max(0, times.findLastIndex((at, i) => !i || at + times[i - 1] <= 2 * wanted));

/** What a line says as a whole, or at one time. */
function sentence({ x, y }, at, format) {
	if (at !== null) return textOf(y[nearest(x, at)], format);
	const range = extent(y);
	return range ? `now ${format(y.findLast(isNumber))}, ${range.map(format).join(' to ')}` : 'no data';
}

const textOf = (value, format) => (isNumber(value) ? format(value) : 'no data');

/** rows() → the heads, then the rest. Built when opened: it would be most of the page. */
function dataTable(label, rows) {
	const isOpen = signal(false);
	const row = (tag, cells) => h('tr', null, cells.map((cell, i) => h(tag, { class: i ? 'to-end' : null }, cell)));
	return h('details', { ontoggle: (event) => isOpen.set(event.target.open) }, h('summary', { class: 'small' },
		'Show data'), h('div', { class: 'table-box data', tabindex: '0', role: 'region', 'aria-label': `Data of ${label}` },
		() => isOpen() && h('table', { class: 'table' }, rows().map((cells, i) => row(i ? 'td' : 'th', cells)))));
}

/** Newest first. */
function tableRows(label, all, format) {
	const rows = all[0]?.x.map((at, i) => [timeOfDay(at), ...all.map(({ y }) => textOf(y[i], format))]) || [];
	return [['Time', ...all.map((line) => line.label || label)], ...rows.reverse()];
}

/** data: () => {bins, min, max, binSize, p50, p95, p99} or null. */
export function histogram({ label, data, format }) {
	const marks = () => ['p50', 'p95', 'p99'].map((key) => isNumber(data()[key]) && `${key} ${format(data()[key])}`);
	const bars = ({ bins }) => bins.map((count, i) => {
		const [wide, high] = [400 / bins.length, (60 * count) / Math.max(...bins, 1)];
		return `M${i * wide + 1} 64v${-high}h${wide - 2}V64`;
	}).join('');
	const rows = ({ bins, min, binSize }) => bins.map((count, i) =>
		[`${format(min + i * binSize)} to ${format(min + (i + 1) * binSize)}`, num(count)]);
	return figure(label, () => (data() ? marks().filter(Boolean).join(' · ') : 'no data'), () => data() && [
		s('svg', { viewBox: '0 0 400 64', height: 64, preserveAspectRatio: 'none', 'aria-hidden': 'true' },
			s('path', { class: 'bar', d: bars(data()) })),
		h('div', { class: 'row small muted num' }, format(data().min), h('span', { class: 'end' }, format(data().max))),
	], dataTable(label, () => [[label, 'Requests'], ...(data() ? rows(data()) : [])]));
}
