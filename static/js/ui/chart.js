// Charts as one SVG each: a path per series, a sentence, a table, and a crosshair for pointer and keys.
import { each, h, s } from '../core/dom.js';
import { isNumber, num, timeOfDay } from '../core/format.js';
import { computed, onCleanup, signal } from '../core/signal.js';
import { nearest, niceTicks, thin, timeTicks } from './scale.js';
import { extent, linePath } from './spark.js';

const PAD = { left: 52, right: 8, top: 8, bottom: 20 };
const DASHES = ['', '6 3', '2 3', '8 3 2 3', '1 4', '10 4', '4 2', '12 3 3 3'];

/**
 * series: () => [{label, x: epoch seconds, y: values, NaN where unknown}]; format: value → text; max: fixed top;
 * limits: () => [{label, value}]. Charts that are given the same `cross` (a signal of null) share their crosshair.
 */
export function lineChart({ label, series, format, height = 170, from, to, max, limits = () => [],
	cross = signal(null) }) {
	const off = signal([]);
	const width = signal(600);
	const all = computed(() => series().map((line, i) => ({ ...line, look: { stroke: `var(--s${(i % 8) + 1})`,
		'stroke-dasharray': DASHES[i % 8] } })));
	const shown = computed(() => all().filter((line) => !off().includes(line.label)));
	const times = () => shown()[0]?.x || [];
	const scale = computed(() => scaleOf(shown(), { width: width(), height, from, to, max, limits: limits() }));
	const jump = (i) => cross.set(times()[Math.max(0, Math.min(i, times().length - 1))] ?? null);

	const plot = s('svg', { height, viewBox: () => `0 0 ${width()} ${height}`, role: 'img', tabindex: '0',
		'aria-label': `${label}. Arrow keys read single values.`,
		onkeydown: (event) => {
			const by = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity }[event.key];
			if (!by) return;
			event.preventDefault();
			jump(cross.peek() === null ? Infinity : nearest(times(), cross.peek()) + by);
		},
		onpointermove: (event) => jump(nearest(times(), scale().time(event.clientX - plot.getBoundingClientRect().left))),
		onblur: () => cross.set(null), onpointerleave: () => cross.set(null) },
	() => axes(scale(), width(), height, format),
	() => shown().map(({ x, y, look }) => s('path', { class: 'series', ...look,
		d: linePath(...thin(x, y, width()), scale().x, scale().y) })),
	() => limits().map((limit) => [s('path', { class: 'limit', d: scale().across(limit.value) }),
		s('text', { x: width() - PAD.right, y: scale().y(limit.value) - 3, 'text-anchor': 'end' }, limit.label)]),
	() => cross() !== null && s('path', { class: 'cross',
		d: `M${scale().x(cross()).toFixed(1)} ${PAD.top}V${height - PAD.bottom}` }));

	const observer = new ResizeObserver(([entry]) => width.set(Math.max(160, Math.round(entry.contentRect.width))));
	observer.observe(plot);
	onCleanup(() => observer.disconnect());
	const many = () => (all().length > 1 ? all() : []);
	const legend = each(h('ul', { class: 'legend-list' }), many, (line) => line.label, (line) => {
		const name = line.peek().label;
		const isOff = () => off().includes(name);
		return h('li', null, h('button', { type: 'button', 'aria-pressed': () => String(!isOff()),
			onclick: () => off.update((names) => (isOff() ? names.filter((one) => one !== name) : [...names, name])) },
		s('svg', { class: 'swatch', viewBox: '0 0 20 8', 'aria-hidden': 'true' },
			() => s('path', { d: 'M0 4H20', 'stroke-width': '3', ...line().look })), name),
		h('div', { class: 'muted num', css: { 'margin-left': '32px' } }, () => sentence(line(), cross(), format)));
	});
	const caption = () => [cross() && timeOfDay(cross()), !many().length && sentence(all()[0], cross(), format)];
	return figure(label, () => caption().filter(Boolean).join('  '), plot, legend,
		dataTable(label, () => tableRows(label, all(), format)));
}

function figure(label, text, ...children) {
	return h('figure', { class: 'chart', 'aria-label': label }, h('figcaption', { class: 'row' },
		h('strong', null, label), h('span', { class: 'small muted num' }, text)), children);
}

function scaleOf(shown, { width, height, from, to, max, limits }) {
	const times = extent(shown.map(({ x }) => x)) || [0, 1];
	const values = extent(shown.map(({ y }) => y));
	const [low, high] = extent([[0], values || [1], limits.map(({ value }) => value)]);
	const ticks = niceTicks(low, max ?? high);
	const [bottom, top] = [ticks[0], max ?? ticks.at(-1)];
	const [begin, end] = [from?.() ?? times[0], to?.() ?? times[1]];
	const [wide, tall] = [width - PAD.left - PAD.right, height - PAD.top - PAD.bottom];
	const span = end - begin || 1;
	const y = (value) => PAD.top + tall - ((value - bottom) / (top - bottom || 1)) * tall;
	return {
		begin, end, y, ticks: values ? ticks.filter((tick) => tick <= top) : [],
		x: (at) => PAD.left + ((at - begin) / span) * wide,
		time: (x) => begin + ((x - PAD.left) / wide) * span,
		across: (value) => `M${PAD.left} ${y(value).toFixed(1)}h${wide}`,
	};
}

function axes({ begin, end, ticks, x, y, across }, width, height, format) {
	if (!ticks.length) return s('text', { x: width / 2, y: height / 2, 'text-anchor': 'middle' }, 'no data');
	const times = end > begin ? timeTicks(begin, end, Math.min(8, Math.floor(width / 90))) : [];
	return s('g', { 'aria-hidden': 'true' }, ticks.map((tick) => [s('path', { class: 'grid-line', d: across(tick) }),
		s('text', { x: PAD.left - 6, y: y(tick) + 4, 'text-anchor': 'end' }, format(tick))]),
	times.filter((at) => x(at) < width - 30).map((at) => s('text', { x: x(at), y: height - 4, 'text-anchor': 'middle' },
		new Date(at * 1000).toLocaleTimeString(undefined, { hour: '2-digit', minute: '2-digit' }))));
}

/** What a line says as a whole, or at one time. */
function sentence({ x, y } = { x: [], y: [] }, at, format) {
	if (at !== null) return textOf(y[nearest(x, at)], format);
	const range = extent([y]);
	return range ? `now ${format(y.findLast(isNumber))}, ${range.map(format).join(' to ')}` : 'no data';
}

const textOf = (value, format) => (isNumber(value) ? format(value) : 'no data');

/** rows() → the heads, then the rest. Built only when it is opened: it would be most of the elements of the page. */
function dataTable(label, rows) {
	const isOpen = signal(false);
	const row = (tag, cells) => h('tr', null, cells.map((cell, i) => h(tag, { class: i ? 'to-end' : null }, cell)));
	return h('details', { ontoggle: (event) => isOpen.set(event.target.open) }, h('summary', { class: 'small' },
		'Show data'), h('div', { class: 'table-box data', tabindex: '0', role: 'region', 'aria-label': `Data of ${label}` },
		() => isOpen() && h('table', { class: 'table' }, h('thead', null, row('th', rows()[0])),
			h('tbody', null, rows().slice(1).map((cells) => row('td', cells))))));
}

/** Newest first. */
function tableRows(label, all, format) {
	const rows = all[0]?.x.map((at, i) => [timeOfDay(at), ...all.map(({ y }) => textOf(y[i], format))]) || [];
	return [['Time', ...all.map((line) => line.label || label)], ...rows.reverse()];
}

/** data: () => {bins, min, max, binSize, p50, p95, p99} or null. */
export function histogram({ label, data, format, height = 110 }) {
	const marks = () => ['p50', 'p95', 'p99'].filter((key) => isNumber(data()[key])).map((key) =>
		`${key} ${format(data()[key])}`).join(' · ');
	const bars = ({ bins }) => {
		const scale = (height - 4) / Math.max(...bins, 1);
		const wide = 400 / bins.length;
		return bins.map((count, i) => s('rect', { class: 'bar', x: i * wide + 1, width: wide - 2,
			y: height - count * scale, height: count * scale }));
	};
	const rows = ({ bins, min, binSize }) => bins.map((count, i) =>
		[`${format(min + i * binSize)} to ${format(min + (i + 1) * binSize)}`, num(count)]);
	return figure(label, () => (data() ? marks() : 'no data'), () => data() && [
		s('svg', { viewBox: `0 0 400 ${height}`, height, preserveAspectRatio: 'none', 'aria-hidden': 'true' },
			bars(data())),
		h('div', { class: 'row small muted num' }, format(data().min), h('span', { class: 'end' }, format(data().max))),
	], dataTable(label, () => [[label, 'Requests'], ...(data() ? rows(data()) : [])]));
}
