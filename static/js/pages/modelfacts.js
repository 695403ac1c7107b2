// A model's overview: what it is doing, what it holds, how it loads and what that would cost others, how fast it was.
import { h } from '../core/dom.js';
import { bytes, clock, dateTime, duration, num, percent, serverNow, short, since, timeElement, until } from
  '../core/format.js';
import { api } from '../core/net.js';
import { href } from '../core/router.js';
import { computed, effect, onCleanup, signal, untracked } from '../core/signal.js';
import { faceOf, models } from '../state/models.js';
import { perf } from '../state/perf.js';
import { onDone } from '../state/requests.js';
import { meter } from '../ui/bars.js';
import { lineChart } from '../ui/chart.js';
import { card, facts, inlineError } from '../ui/parts.js';

const DAY = 86400;
const STEP = 1800;
const MAX_ROWS = 999;         // the most the server gives at once: of a busy day the newest part
const PLAN_MS = 400;
const WOULD = { serve: 'It would be served at once.', join: 'It would wait for the load under way.',
  start: 'It would load the model.', swap: 'It would load the model in the place of others.',
  wait: 'It would have to wait.', refuse: 'It would be refused now.', never: 'It would always be refused.' };
const MIB = 1024 * 1024;

export function overviewTab(ctx, model) {
  if (model.peek().kind === 'peer') {
    return h('div', { class: 'stack' }, card('Where it runs', {}, facts([['Peer', model.peek().peer],
      ['Address', () => model().proxy]])), lastDay(ctx, model.peek().id));
  }
  return h('div', { class: 'cols-2' }, h('div', { class: 'stack' }, now(model), lastDay(ctx, model.peek().id)),
    h('div', { class: 'stack' }, memory(model), loads(model), plan(ctx, model)));
}

function now(model) {
  const live = (value, word = 'none') => () => value(model()) ?? word;
  const isRunning = () => ['ready', 'starting', 'stopping'].includes(model().state);
  return card('Now', {}, facts([
    ['State', () => [faceOf(model()).word, model().since ? ` for ${clock(since(model().since))}` : '']],
    ['Requests', () => `${num(model().in_flight)} in flight, ${num(model().queued)} waiting`],
    ['At once', () => (model().concurrency ? `${num(model().concurrency)} requests` : 'any number of requests')],
    ['Unloads', () => idleEnd(model())],
    ['Last used', () => (model().last_used_at ? timeElement(() => model().last_used_at)
      : 'not since the server started')],
    ['Ready since', () => (model().ready_at && isRunning() ? dateTime(model().ready_at) : 'not ready')],
    ['Group', live((one) => one.group)],
    ['Process', () => (model().pid ? `pid ${model().pid}` : isRunning() ? 'unknown' : 'none')],
    ['Address', live((one) => one.proxy || null, 'unknown')],
    ['Starts', () => `${num(model().generation)} since the server started`],
  ]));
}

function idleEnd({ ttl, unload_at: at, state }) {
  if (!ttl) return 'stays loaded';
  if (state !== 'ready') return `after ${duration(ttl * 1000)} without requests`;
  return at === null ? `${duration(ttl * 1000)} after the last request` : `in ${clock(until(at))}`;
}

function memory(model) {
  const gpus = computed(() => (model().memory.gpus || []).map((each) => each.gpu), (a, b) => String(a) === String(b));
  const on = (gpu) => (model().memory.gpus || []).find((each) => each.gpu === gpu)?.bytes ?? null;
  const whole = (gpu) => {
    const found = perf() && perf().gpus.find((each) => each.id === gpu);
    return found && found.mem_total_mb ? found.mem_total_mb * MIB : null;
  };
  const title = (gpu) => {
    const found = perf() && perf().gpus.find((each) => each.id === gpu);
    return `GPU ${gpu}${found && found.name ? ` ${found.name}` : ''}`;
  };
  const isRunning = computed(() => ['ready', 'starting', 'stopping'].includes(model().state));
  return card('Memory', {}, () => (isRunning() ? h('div', { class: 'stack' },
    () => (gpus().length ? gpus().map((gpu) => untracked(() => meter({ label: title(gpu), value: () => on(gpu),
      max: () => whole(gpu) ?? on(gpu), text: () => `${bytes(on(gpu))} of ${bytes(whole(gpu))}` })))
      : h('p', null, 'GPU memory: unknown')),
    h('p', null, 'Main memory: ', () => bytes(model().memory.rss_bytes)))
    : h('p', { class: 'muted' }, 'It is not running, so it holds none.')));
}

function loads(model) {
  const all = computed(() => model().load_ms, (a, b) => String(a) === String(b));
  const name = (back) => (back ? `${back} before` : 'Newest');
  return card('Load times', {}, () => {
    const list = [...all()].reverse();
    if (!list.length) return h('p', { class: 'muted' }, 'It has not been loaded since its times are recorded.');
    const most = Math.max(...list);
    return h('div', { class: 'stack' }, list.map((ms, back) => meter({ label: name(back), value: () => ms,
      max: () => most, text: () => duration(ms) })));
  }, () => model().load_estimate_ms !== null && h('p', { class: 'muted' },
    `Usually ${duration(model().load_estimate_ms)} (est. for the next one)`));
}

/** What loading it now would mean for the others: asked again when any of them changes its state. */
function plan(ctx, model) {
  const { id } = model.peek();
  const found = signal(null);
  const error = signal(null);
  let timer = null;
  const load = () => api('api/plan', { query: { model: id }, signal: ctx.signal }).then((answer) => {
    found.set(answer);
    error.set(null);
  }, (failed) => { if (failed.name !== 'AbortError') error.set(failed); });
  const states = computed(() => models().map((each) => `${each.id} ${each.state} ${each.leaving} ${each.in_flight > 0}`)
    .join('\n'));
  effect(() => {
    states();
    clearTimeout(timer);
    timer = setTimeout(load, untracked(found) ? PLAN_MS : 0);
  });
  onCleanup(() => clearTimeout(timer));
  const list = (label, ids) => ids.length > 0 && h('p', null, `${label} `, ids.map((other, i) => [i ? ', ' : '',
    h('a', { href: href('models', other) }, other)]));
  return card('A request now', {}, () => error() && inlineError(error(), load), () => found() && h('div', {
    class: 'stack', 'data-plan': found().action }, h('p', null, h('strong', null, WOULD[found().action] || ''),
    ` (${found().reason})`),
  list('It would unload', found().evict), list('It would wait for', found().waits_for)));
}

function lastDay(ctx, id) {
  const rows = signal(null);
  const error = signal(null);
  const isPartial = signal(false);
  const load = () => api('api/metrics/activity', { query: { model: id, from: Math.floor(serverNow() - DAY),
    limit: MAX_ROWS }, signal: ctx.signal }).then((page) => {
    isPartial.set(page.total > page.data.length);
    rows.set(page.data);
    error.set(null);
  }, (failed) => { if (failed.name !== 'AbortError') error.set(failed); });
  load();
  onDone((row) => {
    if (row.model === id) rows.update((all) => all && [row, ...all.filter((each) => each.id !== row.id)]);
  });
  const sum = (of) => (rows() ? rows().reduce((total, row) => total + (of(row) || 0), 0) : null);
  const more = () => (isPartial() ? '+' : '');
  const failed = () => sum((row) => row.resp_status_code >= 400 || row.outcome === 'error' || row.outcome === 'broken');
  const share = () => (rows() && rows().length ? ` (${percent(failed() / rows().length, 1)})` : '');
  const series = computed(() => buckets(rows() || []));
  return card('Last 24 hours', { class: 'last-day' }, () => error() && inlineError(error(), load), facts([
    ['Requests', () => (rows() ? h('a', { href: href('requests', { model: id, since: '1d' }) },
      num(rows().length) + more()) : 'unknown')],
    ['Failed', () => num(failed()) + share()],
    ['Tokens read', () => num(sum((row) => row.tokens?.input_tokens)) + more()],
    ['Tokens written', () => num(sum((row) => row.tokens?.output_tokens)) + more()],
  ]), () => series().x.length > 0 && untracked(() => lineChart({ label: 'Generation speed', height: 140,
    format: (rate) => `${short(rate)} t/s`, series: () => [{ label: 'Mean of half an hour', ...series() }] })));
}

/** Mean speed per half hour; nothing where nobody asked. */
function buckets(rows) {
  const end = Math.ceil(serverNow() / STEP) * STEP;
  const all = Array.from({ length: DAY / STEP }, () => []);
  for (const row of rows) {
    const rate = row.tokens?.tokens_per_second;
    const slot = Math.floor((row.at - (end - DAY)) / STEP);
    if (rate > 0 && all[slot]) all[slot].push(rate);
  }
  if (!all.some((each) => each.length)) return { x: [], y: [] };
  return { x: all.map((_, i) => end - DAY + (i + 0.5) * STEP),
    y: all.map((each) => (each.length ? each.reduce((a, b) => a + b, 0) / each.length : null)) };
}
