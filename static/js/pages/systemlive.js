// The machine over time, from the history of the server; and the energy its GPUs have used.
import { h } from '../core/dom.js';
import { dateTime, isNumber, num, short, units } from '../core/format.js';
import { api } from '../core/net.js';
import { href, setQuery } from '../core/router.js';
import { computed, effect, signal, untracked } from '../core/signal.js';
import { perf, watts } from '../state/perf.js';
import { currency, pricePerKwh } from '../state/prefs.js';
import { lineChart } from '../ui/chart.js';
import { card, chip, emptyState, facts, inlineError, segmented, skeleton } from '../ui/parts.js';
import { memory } from './overview.js';

const RANGES = [['5m', '5 min'], ['15m', '15 min'], ['1h', '1 h'], ['6h', '6 h'], ['24h', '24 h']];
const MAX_ROWS = 400;           // of one source; the server gives 300 averages of a range
const MAX_WAIT = 15;            // seconds: the energy goes on while an average of a long range is still open
const VIRTUAL = /^(lo|veth|docker|br-|virbr|ifb|tap|cni|flannel)/;       // counted where it came from
const COUNTERS = new Set(['disk_read_bytes', 'disk_written_bytes', 'received', 'sent']);

const percents = (value) => `${num(value)} %`;
const rate = (value) => `${short(value)}${value < 1000 ? ' ' : ''}B/s`;
const gib = [(value) => `${num(value, 1)} ${units() === 'binary' ? 'GiB' : 'GB'}`,
  (mib) => (mib * 2 ** 20) / (units() === 'binary' ? 2 ** 30 : 1e9)];

// What is drawn: [title, {field: word}, [format, scale], field of the limit, fixed top]
const MACHINE = [
  ['Processors', { cpu: 'all cores' }, [percents], '', 100],
  ['Memory', { mem_used_mb: 'used', swap_used_mb: 'swap used' }, gib, 'mem_total_mb'],
  ['Disks', { disk_read_bytes: 'read', disk_written_bytes: 'written' }, [rate]],
  ['Network', { received: 'received', sent: 'sent' }, [rate]],
];
const GPUS = [
  ['GPU utilisation', { gpu_util_pct: '' }, [percents], '', 100],
  ['GPU memory', { mem_used_mb: '' }, gib, 'mem_total_mb'],
  ['GPU temperature', { temp_c: '', vram_temp_c: 'memory' }, [(value) => `${num(value)} °C`], 'temp_limit_c'],
  ['GPU power', { power_draw_w: '' }, [(value) => `${num(value)} W`], 'power_limit_w'],
  ['GPU fans', { fan_speed_pct: '' }, [percents], '', 100],
];

export function liveTab(ctx) {
  const range = computed(() => (RANGES.find(([key]) => key === ctx.route().query.get('range')) || RANGES[1])[0]);
  const book = signal(null);          // what was measured: replaced, never changed
  const isPaused = signal(false);
  const error = signal(null);
  let asked = 0;
  const load = (query = { range: range.peek() }) => {
    const wanted = range.peek();
    asked = perf.peek() ? perf.peek().at : 0;
    return api('api/performance', { query, signal: ctx.signal }).then((answer) => {
      if (wanted !== range.peek() || (query.step && query.step !== book.peek().step)) return;
      book.set(bookOf(answer, query.step ? book.peek() : null));
      error.set(null);
    }, (failed) => { if (failed.name !== 'AbortError') error.set(failed); });
  };
  effect(() => { range(); untracked(load); });
  effect(() => {
    const [sample, now] = [perf(), book.peek()];
    if (!sample || !now || isPaused()) return;
    const { step } = now;
    // A hidden page misses samples: then all is asked for again.
    if (sample.at - asked > 3 * step) load();
    else if (sample.at - asked >= Math.min(step, MAX_WAIT)) load({ range: 4 * step, step });
  });
  const isThere = computed(() => Boolean(book()));
  return h('div', { class: 'stack' }, () => error() && (error().message.includes('"enabled"')
    ? emptyState({ title: 'Nothing is measured', text: 'The configuration switches it off: performance.disabled.' })
    : inlineError(error(), () => load())),
  () => (isThere() ? untracked(() => sections(book, range, isPaused)) : !error() && skeleton(6)));
}

/** Rows by source. With `old`, only the newest averages are new, and the first of those may lack its beginning. */
function bookOf({ sys_stats: sys, gpu_stats: gpus, step, every, range, energy }, old) {
  const rows = new Map([['', []], ...gpus.map((gpu) => [gpu.id, []])]);
  sys.forEach((row) => rows.get('').push(machineRow(row)));
  // A card without a sensor for its power may say 0.
  gpus.forEach((row) => rows.get(row.id).push({ ...row, at: timeOf(row), power_draw_w: row.power_draw_w || null }));
  const to = Math.max(...[...rows.values()].flatMap((all) => all.slice(-1).map((row) => row.at)));
  const span = old ? old.range : range;
  for (const [id, before] of old ? old.rows : []) {
    const found = rows.get(id) || [];
    const first = found.length ? found[0].at : Infinity;
    rows.set(id, [...before.filter((row) => row.at <= first && row.at > to - span),
      ...found.filter((row) => row.at > first)].slice(-MAX_ROWS));
  }
  return { rows, step, every, to, range: span, energy };
}

const timeOf = (row) => Date.parse(row.timestamp) / 1000;

function machineRow({ cpu_util_per_core: cores, net_io: all, ...row }) {
  const real = all.filter((each) => !VIRTUAL.test(each.name));
  const sum = (of) => (all.length ? (real.length ? real : all).reduce((total, each) => total + each[of], 0) : null);
  return { ...row, at: timeOf(row), received: sum('bytes_recv'), sent: sum('bytes_sent'),
    cpu: cores.length ? cores.reduce((a, b) => a + b) / cores.length : null,
    swap_used_mb: row.swap_total_mb ? row.swap_used_mb : null };
}

function sections(book, range, isPaused) {
  const cross = signal(null);
  const of = (isGpu) => () => [...book().rows].filter(([id, rows]) => rows.length && (id !== '') === isGpu);
  const hasGpus = computed(() => of(true)().length > 0);
  const group = (charts, sources) => {
    const shown = computed(() => charts.filter(([, lines]) => sources().some(([, rows]) =>
      Object.keys(lines).some((field) => knows(rows, field)))),
    (a, b) => a.length === b.length && a.every((each, i) => each === b[i]));
    return h('div', { class: 'grid' }, () => shown().map((chart) =>
      untracked(() => chartOf(chart, book, sources, cross))));
  };
  return h('div', { class: 'stack' },
    h('div', { class: 'row' },
      segmented('Range', RANGES, { value: range, onchange: (key) => setQuery({ range: key }) }),
      chip('Pause', { pressed: isPaused, onclick: () => isPaused.update((paused) => !paused) })),
    () => (hasGpus() ? untracked(() => [card('GPUs', {}, group(GPUS, of(true))),
      h('div', { class: 'grid' }, memory(), energyCard(() => book().energy))])
      : card('GPUs', {}, h('p', null, 'No GPU is measured. NVIDIA cards are asked through their driver or nvidia-smi, '
        + 'AMD cards through the kernel or rocm-smi; a container has to be given the card and its driver.'))),
    card('Machine', {}, group(MACHINE, of(false)), cores()));
}

const knows = (rows, field) => rows.some((row) => isNumber(row[field]));

function chartOf([label, lines, [format, scale = (value) => value], limit, max = null], book, sources, cross) {
  const last = (rows) => rows[rows.length - 1] || {};
  const name = ([id, rows]) => (id === '' ? '' : `GPU ${id} ${last(rows).name || ''} `);
  const series = () => sources().flatMap((source) => Object.keys(lines).filter((field) => knows(source[1], field))
    .map((field) => ({ label: (name(source) + lines[field]).trim(), ...lineOf(source[1], field, book(), scale) })));
  const limits = () => {
    const all = new Map();
    for (const [id, rows] of sources()) {
      const value = last(rows)[limit];
      if (value > 0) all.set(value, [...(all.get(value) || []), id]);
    }
    return [...all].map(([value, ids]) => ({ value: scale(value),
      label: `${ids[0] === '' ? '' : `GPU ${ids.join(', ')} `}limit ${format(scale(value))}` }));
  };
  return lineChart({ label, format, series, limits, max, cross, to: () => book().to,
    from: () => book().to - book().range });
}

/** What only counts up is drawn as its rate; where nobody measured, there is a gap. */
function lineOf(rows, field, { step, every }, scale) {
  const [x, y] = [[], []];
  rows.forEach((row, i) => {
    const before = rows[i - 1];
    let value = row[field];
    if (COUNTERS.has(field)) {
      // The last average is still open, its counters are not as of its end.
      const isOpen = i === rows.length - 1 && step > every;
      const isKnown = before && !isOpen && isNumber(before[field]) && value >= before[field];
      value = isKnown ? (value - before[field]) / (row.at - before.at) : null;
    }
    if (before && row.at - before.at > 3 * step) {
      x.push(before.at + step);
      y.push(null);
    }
    x.push(row.at);
    y.push(isNumber(value) ? scale(value) : null);
  });
  return { x, y };
}

/** A field per core, as strong as its load; the sentence says what matters of it. */
function cores() {
  const now = () => (perf() && perf().sys) || {};
  const all = () => now().cpu_util_per_core || [];
  const load = () => [now().load_avg_1, now().load_avg_5, now().load_avg_15].filter(isNumber);
  return [h('div', { class: 'cores', 'aria-hidden': 'true' }, () => all().map((each, i) =>
    h('span', { title: `Core ${i}: ${percents(each)}`, css: { '--part': each / 100 } }))),
  h('p', { class: 'small muted num' }, () => [
    all().length && `Busiest of ${all().length} cores: ${percents(Math.max(...all()))}`,
    load().length && `load ${load().map((each) => num(each, 2)).join(', ')}`].filter(Boolean).join('; '))];
}

function energyCard(energy) {
  const used = (name) => () => {
    const wh = energy() && energy()[name];
    if (!isNumber(wh)) return 'unknown';
    const text = wh < 1000 ? `${num(wh, 1)} Wh` : `${num(wh / 1000, 2)} kWh`;
    const cost = (wh / 1000) * pricePerKwh();
    return pricePerKwh() === null ? text : `${text}, costs ${num(cost, cost < 1 ? 4 : 2)} ${currency()}`;
  };
  const now = () => watts() ?? (energy() || {}).now_w;
  const isKnown = computed(() => Boolean(energy()));
  return () => isKnown() && untracked(() => card('GPU energy', {}, facts([
    ['Now', () => (isNumber(now()) ? `${num(now())} W` : 'unknown')], ['Today', used('today_wh')],
    [`Since ${dateTime(energy().since_epoch)}`, used('total_wh')]]),
  h('p', { class: 'small muted' }, 'Power as the drivers report it, added up. What was not measured counts for nothing, '
    + 'the rest of the machine is not in it. ', () => pricePerKwh() === null && h('a', { href: href('settings') },
    'Set a price per kWh'))));
}
