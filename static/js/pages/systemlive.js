// The machine over time, from the history of the server; and the energy its GPUs have used.
import { each, h } from '../core/dom.js';
import { dateTime, isNumber, num, serverNow, short, units } from '../core/format.js';
import { api } from '../core/net.js';
import { href, setQuery } from '../core/router.js';
import { computed, effect, signal, untracked } from '../core/signal.js';
import { perf, watts } from '../state/perf.js';
import { currency, pricePerKwh } from '../state/prefs.js';
import { asked } from '../ui/asked.js';
import { lineChart } from '../ui/chart.js';
import { card, chip, facts, segmented } from '../ui/parts.js';
import { memory } from './overview.js';

const RANGES = ['5m', '15m', '1h', '6h', '24h'];
const VIRTUAL = /^(lo|veth|docker|br-|virbr|ifb|tap|cni|flannel)/;       // counted where it came from

const [percents, degrees, power] = ['%', '°C', 'W'].map((unit) => (value) => `${num(value)} ${unit}`);
const rate = (value) => `${short(value)}${value < 1000 ? ' ' : ''}B/s`;
const gib = (value) => `${num(value, 1)} ${units() === 'binary' ? 'GiB' : 'GB'}`;

// [title, {field: word}, format, field of the limit, fixed top]
const MACHINE = [
	['Processors', { cpu: '' }, percents, '', 100],
	['Memory', { mem_used_mb: 'used', swap_used_mb: 'swap used' }, gib, 'mem_total_mb'],
	['Disks', { disk_read_bytes: 'read', disk_written_bytes: 'written' }, rate],
	['Network', { received: 'received', sent: 'sent' }, rate],
];
const GPUS = [
	['GPU utilisation', { gpu_util_pct: '' }, percents, '', 100],
	['GPU memory', { mem_used_mb: '' }, gib, 'mem_total_mb'],
	['GPU temperature', { temp_c: '', vram_temp_c: 'memory' }, degrees, 'temp_limit_c'],
	['GPU power', { power_draw_w: '' }, power, 'power_limit_w'],
	['GPU fans', { fan_speed_pct: '' }, percents, '', 100],
];

export function liveTab({ route }) {
	const range = computed(() => RANGES.find((one) => one === route().query.get('range')) || '15m');
	const isPaused = signal(false);
	const book = signal(null);
	let askedAt = 0;
	const { again, view } = asked(async (abort) => {
		const wanted = range.peek();
		askedAt = perf.peek()?.at || serverNow();
		try {
			const answer = await api('api/performance', { query: { range: wanted }, signal: abort });
			if (wanted === range.peek() || !book.peek()) book.set(bookOf(answer));
			return book;
		} catch (error) {
			if (error.message.includes('"enabled"')) return {};
			throw error;
		}
	}, range);
	effect(() => {
		const { range: span, every } = book() || {};
		// A hundredth of what is drawn is not seen; but the energy is told along with it.
		if (!isPaused() && perf()?.at - askedAt >= Math.max(every, Math.min(span / 100, 30))) again();
	});
	return view((found) => (found === book ? sections(book, range, isPaused)
		: h('p', null, 'Nothing is measured: the configuration says performance.disabled.')));
}

/** rows: source → its measurements; '' is the machine, the others are GPUs. */
function bookOf({ sys_stats: sys, gpu_stats: gpus, ...rest }) {
	const rows = new Map([['', sys.map(machineRow)]]);
	for (const gpu of gpus) {
		if (!rows.has(gpu.id)) rows.set(gpu.id, []);
		// A card without a sensor for its power may say 0.
		rows.get(gpu.id).push({ ...gpu, at: timeOf(gpu), power_draw_w: gpu.power_draw_w || null });
	}
	return { ...rest, rows, to: rows.get('').at(-1)?.at };
}

const timeOf = (row) => Date.parse(row.timestamp) / 1000;

function machineRow({ cpu_util_per_core: cores, net_io: cards, ...row }) {
	const real = cards.filter(({ name }) => !VIRTUAL.test(name));
	const counted = real.length ? real : cards;
	const sum = (field) => counted.reduce((total, one) => total + one[field], counted.length ? 0 : NaN);
	return { ...row, at: timeOf(row), received: sum('bytes_recv'), sent: sum('bytes_sent'),
		cpu: cores.reduce((a, b) => a + b, 0) / cores.length, swap_used_mb: row.swap_total_mb ? row.swap_used_mb : null };
}

function sections(book, range, isPaused) {
	const cross = signal(null);
	const gpus = () => [...book().rows].filter(([id]) => id !== '');
	const hasGpus = computed(() => gpus().length > 0);
	const group = (charts, sources) => each(h('div', { class: 'grid' }), () => charts.filter(([, lines]) =>
		sources().some(([, rows]) => known(lines, rows).length)), ([label]) => label,
	(chart) => chartOf(chart.peek(), book, sources, cross));
	return h('div', { class: 'stack' },
		h('div', { class: 'row' },
			segmented('Range', RANGES.map((one) => [one, one]), { value: range, onchange: (to) => setQuery({ range: to }) }),
			chip('Pause', { pressed: isPaused, onclick: () => isPaused.update((paused) => !paused) })),
		() => (hasGpus() ? untracked(() => [card('GPUs', {}, group(GPUS, gpus)),
			h('div', { class: 'grid' }, memory(), energyCard(() => book().energy || {}))])
			: card('GPUs', {}, h('p', null, 'No GPU is measured. NVIDIA cards are asked through their driver or nvidia-smi, '
				+ 'AMD cards through the kernel or rocm-smi. A container needs the card and its driver.'))),
		card('Machine', {}, group(MACHINE, () => [['', book().rows.get('')]]), cores()));
}

const known = (lines, rows) => Object.keys(lines).filter((field) => rows.some((row) => isNumber(row[field])));

function chartOf([label, lines, format, limit, max], book, sources, cross) {
	const scale = () => (format !== gib ? 1 : units() === 'binary' ? 2 ** -10 : 2 ** 20 / 1e9);
	const series = () => sources().flatMap(([id, rows]) => known(lines, rows).map((field) => ({
		label: `${id === '' ? '' : `GPU ${id} ${rows.at(-1).name}`} ${lines[field]}`.trim(),
		...lineOf(rows, field, scale(), { ...book(), isCounter: format === rate }) })));
	// Equal cards share one line.
	const limits = () => [...new Set(sources().map(([, rows]) => rows.at(-1)?.[limit] * scale()))]
		.filter((value) => value > 0).map((value) => ({ value, label: `limit ${format(value)}` }));
	return lineChart({ label, format, series, limits, max, cross, to: () => book().to,
		from: () => book().to - book().range });
}

/** What only counts up is drawn as its rate; where nobody measured, there is a gap. */
function lineOf(rows, field, scale, { step, every, isCounter }) {
	const [x, y] = [[], []];
	rows.forEach((row, i) => {
		const before = rows[i - 1];
		const seconds = row.at - before?.at;
		let value = row[field] ?? NaN;
		if (isCounter) {
			// The last average is still open: its counters are not as of its end.
			const isOpen = i === rows.length - 1 && step > every;
			value = isOpen ? NaN : (value - (before?.[field] ?? NaN)) / seconds;
			if (value < 0) value = NaN;
		}
		if (seconds > 3 * step) {
			x.push(before.at + step);
			y.push(NaN);
		}
		x.push(row.at);
		y.push(value * scale);
	});
	return { x, y };
}

/** A field per core, as strong as its load; the sentence says what matters of it. */
function cores() {
	const sys = () => perf()?.sys || {};
	const all = () => sys().cpu_util_per_core || [];
	return [h('div', { class: 'cores', 'aria-hidden': 'true' }, () => all().map((part, i) =>
		h('span', { title: `Core ${i}: ${percents(part)}`, css: { '--part': part / 100 } }))),
	h('p', { class: 'small muted num' }, () => all().length > 0 && `Busiest of ${all().length} cores: ${
		percents(Math.max(...all()))}`, () => isNumber(sys().load_avg_1) && `; load ${[1, 5, 15].map((minutes) =>
		num(sys()[`load_avg_${minutes}`], 2)).join(', ')}`)];
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
	h('p', { class: 'small muted' }, 'Power as the drivers tell it, added up; what was not measured counts for nothing. ',
		() => pricePerKwh() === null && h('a', { href: href('settings') }, 'Set a price per kWh')));
}
