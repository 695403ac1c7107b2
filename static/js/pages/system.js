// The machine: what it does, what it is made of, what it was told.
import { each, h, inRow, inStack } from '../core/dom.js';
import { subscribe } from '../core/feed.js';
import { bytes, dateTime, isNumber, num, serverNow, short, sum, units } from '../core/format.js';
import { api } from '../core/net.js';
import { href, route, setQuery } from '../core/router.js';
import { computed, effect, signal, untracked } from '../core/signal.js';
import { perf, watts } from '../state/perf.js';
import { currency, pricePerKwh } from '../state/prefs.js';
import { asked } from '../ui/asked.js';
import { lineChart } from '../ui/chart.js';
import { stateBadge } from '../ui/modelparts.js';
import { card, chip, codeBlock, copyButton, facts, segmented, tag } from '../ui/parts.js';
import { tabs } from '../ui/tabs.js';
import { memory } from './overview.js';

const TABS = { live: ['Live', liveTab], hardware: ['Hardware', hardwareTab], config: ['Configuration', configTab] };
const RANGES = ['5m', '15m', '1h', '6h', '24h'];
const PARTS = ['operating_system', 'environment', 'architecture', 'cpu', 'memory', 'accelerators'];
const VIRTUAL = /^(lo|veth|docker|br-|virbr|ifb|tap|cni|flannel)/;     // counted where it came from

const [percents, degrees, power] = ['%', '°C', 'W'].map((unit) => (value) => `${num(value)} ${unit}`);
const rate = (value) => `${short(value)}${value < 1000 ? ' ' : ''}B/s`;
const gib = (value) => `${num(value, 1)} ${units() === 'binary' ? 'GiB' : 'GB'}`;

// [title, {field: word}, format, field of the limit, fixed top]
const MACHINE = [
	['Processors', { cpu: '' }, percents, '', 100],
	['Memory', { mem_used_mb: 'used', swap_used_mb: 'swap' }, gib, 'mem_total_mb'],
	['Load average', { load_avg_1: '1 min', load_avg_15: '15 min' }, (value) => num(value, 2)],
	['Disks', { read: 'read', written: 'written' }, rate],
	['Network', { received: 'received', sent: 'sent' }, rate],
];
const GPUS = [
	['GPU utilisation', { gpu_util_pct: '' }, percents, '', 100],
	['GPU memory', { mem_used_mb: '' }, gib, 'mem_total_mb'],
	['GPU temperature', { temp_c: '', vram_temp_c: 'memory' }, degrees, 'temp_limit_c'],
	['GPU power', { power_draw_w: '' }, power, 'power_limit_w'],
	['GPU fans', { fan_speed_pct: '' }, percents, '', 100],
];

export function mount(ctx) {
	ctx.title('System');
	const current = computed(() => route().tab);
	return h('div', { class: 'system' }, tabs('System', Object.entries(TABS).map(([id, [label]]) =>
		({ id, label, href: href('system', id) })), current,
	() => inStack(untracked(TABS[current()][1]))));
}

function liveTab() {
	const range = computed(() => RANGES.find((one) => one === route().query.get('range')) || '15m');
	const isPaused = signal(false);
	const book = signal(null);
	let askedAt = 0;
	const { again, view } = asked(async (abort) => {
		const wanted = range.peek();
		askedAt = perf.peek()?.at || serverNow();
		const answer = await api('api/performance', { query: { range: wanted }, signal: abort }).catch((error) => {
			throw error.message.includes('"enabled"') ? Error('Nothing is measured: performance.disabled is set.') : error;
		});
		if (wanted === range.peek() || !book.peek()) book.set(bookOf(answer));
		return book;
	}, range);
	effect(() => {
		const { range: span, every } = book() || {};
		// A hundredth of what is drawn is not seen.
		if (!isPaused() && perf()?.at - askedAt >= Math.max(every, Math.min(span / 100, 30))) again();
	});
	const cross = signal(null);
	const group = (charts, sources) => each(h('div', { class: 'grid' }), () => charts.filter(([, lines]) =>
		sources().some(([, rows]) => known(lines, rows).length)), ([label]) => label,
	(chart) => chartOf(chart.peek(), book, sources, cross));
	const gpus = () => book().gpus;
	return view(() => inStack(
		inRow(
			segmented('Range', RANGES.map((one) => [one, one]), { value: range, onchange: (to) => setQuery({ range: to }) }),
			chip('Pause', { pressed: isPaused, onclick: () => isPaused.update((paused) => !paused) })),
		card('GPUs', {}, group(GPUS, gpus), () => !gpus().length && h('p', null, 'No GPU is measured. NVIDIA cards are '
			+ 'asked through nvidia-smi, AMD cards through the kernel or rocm-smi; a container needs both card and driver.')),
		h('div', { class: 'grid' }, memory(), energyCard(() => book().energy || {})),
		card('Machine', {}, group(MACHINE, () => [['', book().machine]]), cores())));
}

/** gpus: [[name, rows]]; machine: rows. */
function bookOf({ sys_stats: sys, gpu_stats: cards, ...rest }) {
	const machine = rowsOf(sys, rest, counted);
	// A card without a sensor for its power may say 0.
	const gpus = [...Map.groupBy(cards, ({ id, name }) => `GPU ${id} ${name}`)].map(([name, rows]) =>
		[name, rowsOf(rows, rest, (row) => ({ power_draw_w: row.power_draw_w || null }))]);
	return { ...rest, gpus, machine, to: machine.at(-1)?.at };
}

/** With a row of nothing where nobody measured. */
function rowsOf(found, { step, every }, more) {
	const at = ({ timestamp }) => Date.parse(timestamp) / 1000;
	return found.flatMap((row, i) => {
		const before = found[i - 1] || row;
		const seconds = at(row) - at(before);
		// The last average is still open: its counters are not as of its end.
		const isOpen = i === found.length - 1 && step > every;
		const full = { ...row, at: at(row), ...more(row, before, isOpen ? NaN : seconds) };
		return seconds > 3 * step ? [{ at: at(before) + step }, full] : [full];
	});
}

/** What only counts up becomes a rate. */
function counted(row, before, seconds) {
	const perSecond = (count) => {
		const value = (count(row) - count(before)) / seconds;
		return value >= 0 ? value : null;
	};
	const moved = (field) => perSecond(({ net_io: cards }) => cards.filter(({ name }) => !VIRTUAL.test(name))
		.reduce((total, one) => (total || 0) + one[field], NaN));
	const { cpu_util_per_core: all } = row;
	return { cpu: sum(all) / all.length,
		read: perSecond((one) => one.disk_read_bytes ?? NaN), written: perSecond((one) => one.disk_written_bytes ?? NaN),
		received: moved('bytes_recv'), sent: moved('bytes_sent'),
		swap_used_mb: row.swap_total_mb ? row.swap_used_mb : null };
}

const known = (lines, rows) => Object.keys(lines).filter((field) => rows.some((row) => isNumber(row[field])));

function chartOf([label, lines, format, limit, max], book, sources, cross) {
	const scale = () => (format !== gib ? 1 : units() === 'binary' ? 2 ** -10 : 2 ** 20 / 1e9);
	const series = () => sources().flatMap(([name, rows]) => known(lines, rows).map((field) => ({
		label: `${name} ${lines[field]}`.trim(),
		x: rows.map(({ at }) => at), y: rows.map((row) => (row[field] ?? NaN) * scale()) })));
	// Equal cards share one line.
	const limits = () => [...new Set(sources().map(([, rows]) => rows.at(-1)?.[limit] * scale()))]
		.filter((value) => value > 0).map((value) => ({ value, label: `limit ${format(value)}` }));
	return lineChart({ label, format, series, limits, max, cross, span: () => [book().to - book().range, book().to] });
}

function cores() {
	const all = () => perf()?.sys?.cpu_util_per_core || [];
	return [h('div', { class: 'cores', 'aria-hidden': 'true' }, () => all().map((part) =>
		h('span', { css: { '--part': part / 100 } }))),
	h('p', { class: 'small muted num' }, () => all().length > 0
		&& `Busiest of ${all().length} cores: ${percents(Math.max(...all()))}`)];
}

function energyCard(energy) {
	const used = (field) => () => {
		const wh = energy()[field];
		const cost = (wh / 1000) * pricePerKwh();
		return (wh < 1000 ? `${num(wh, 1)} Wh` : `${num(wh / 1000, 2)} kWh`)
			+ (pricePerKwh() === null ? '' : `, costs ${num(cost, cost < 1 ? 4 : 2)} ${currency()}`);
	};
	const since = computed(() => energy().since_epoch);
	return () => since() && card('GPU energy', {}, facts([
		['Now', () => (watts() === null ? 'unknown' : power(watts()))], ['Today', used('today_wh')],
		[`Since ${dateTime(since())}`, used('total_wh')]]),
	h('p', { class: 'small muted' }, 'Power as the drivers tell it, added up. ',
		() => pricePerKwh() === null && h('a', { href: href('settings') }, 'Set a price per kWh')));
}

function hardwareTab() {
	return asked('api/hardware').view((found) => {
		const pairs = PARTS.flatMap((part) => factsOf(found[part], part));
		return card('Hardware', { actions: copyButton(pairs.map((pair) => pair.join(': ')).join('\n'), 'Copy summary') },
			facts(pairs));
	});
}

/** [['cpu model', 'AMD EPYC'], …] */
function factsOf(value, path) {
	const parts = Object.entries(value instanceof Object ? value : {});
	if (parts.length) return parts.flatMap(([key, part]) => factsOf(part, `${path} ${key}`));
	const [label, isSize] = path.replaceAll('_', ' ').split(' bytes');
	return [[label, isSize === '' ? bytes(value) : value === null ? 'unknown' : `${value}` || 'none']];
}

function configTab() {
	const { again, view } = asked('api/config');
	subscribe('notice', again);      // tells of every reading of the files
	return view(({ config, paths, valid, problems, loaded_at: loadedAt }) => [
		card('Files', {}, facts([
			['State', [stateBadge(() => (valid ? { state: 'ready', word: 'valid' } : { state: 'failed', word: 'not valid' })),
				!valid && ' The one before stays in force.']],
			['Read from', paths.length ? paths.map((path) => h('div', { class: 'mono' }, path)) : 'no file'],
			['In force since', dateTime(loadedAt)]]),
		h('ul', { class: 'plain-list problems' }, problems.map(({ severity, file, line, column, key, message }) =>
			h('li', null, tag(severity), ' ', h('code', null, [file, line, column].filter(Boolean).join(':')), ' ',
				h('strong', null, key), ' ', message)))),
		card('In force, with macros expanded and secrets hidden', {},
			codeBlock(JSON.stringify(config, null, 2), { label: 'Configuration' }))]);
}
