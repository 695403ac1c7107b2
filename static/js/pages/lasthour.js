// The last hour in four tiles and a list of what went wrong, from the history and kept up by the stream.
import { each, h } from '../core/dom.js';
import { isNumber, num, percent, serverNow, short, speed, tick, timeElement } from '../core/format.js';
import { api } from '../core/net.js';
import { href } from '../core/router.js';
import { computed, signal } from '../core/signal.js';
import { onDone } from '../state/requests.js';
import { card, inlineError } from '../ui/parts.js';
import { modelLink } from '../ui/modelparts.js';
import { spark } from '../ui/spark.js';

const HOUR = 3600;
const BUCKETS = 60;
const MAX_ROWS = 999;          // the most the server gives at once: of a busy hour the newest part
const MAX_PROBLEMS = 5;

export function lastHour(ctx) {
  const rows = signal([]);
  const energy = signal(null);           // Wh per minute
  const error = signal(null);
  const isPartial = signal(false);
  onDone((row) => rows.update((all) => [row, ...all.filter((each) => each.id !== row.id)].slice(0, 2 * MAX_ROWS)));
  const load = () => {
    error.set(null);
    api('api/metrics/activity', { query: { from: Math.floor(serverNow() - HOUR), limit: MAX_ROWS },
      signal: ctx.signal }).then((page) => {
      rows.set(page.data);
      isPartial.set(page.total > page.data.length);
    }, (failed) => { if (failed.name !== 'AbortError') error.set(failed); });
    api('api/performance', { query: { range: HOUR, step: 60 }, signal: ctx.signal })
      .then((perf) => energy.set(energyPerMinute(perf.gpu_stats || [])), () => energy.set(null));
  };
  load();

  const minute = computed(() => (tick(), Math.floor(serverNow() / 60)));
  const buckets = computed(() => bucketsOf(rows(), minute()));
  const sum = (of) => buckets().reduce((total, each) => total + of(each), 0);
  const tile = (label, text, values, target) => h('a', { class: 'tile', href: target },
    h('div', { class: 'muted small' }, label),
    h('div', { class: 'big num' }, text), spark({ label, values, text }));
  const rates = computed(() => buckets().map((each) => (each.speeds ? each.speed / each.speeds : null)));
  const wattHours = () => (energy() ? energy().reduce((total, each) => total + (each || 0), 0) : null);
  const problems = computed(() => rows().filter(isProblem).sort((a, b) => b.at - a.at).slice(0, MAX_PROBLEMS));
  return {
    tiles: card('Last hour', {}, () => error() && inlineError(error(), load), h('div', { class: 'tiles' },
      tile('Requests', () => short(sum((each) => each.count)) + (isPartial() ? '+' : ''),
        () => buckets().map((each) => each.count), href('requests', { since: '1h' })),
      tile('Errors', () => errorText(sum((each) => each.errors), sum((each) => each.count)),
        () => buckets().map((each) => each.errors), href('requests', { status: 'error', since: '1h' })),
      tile('Generation', () => { const known = rates().filter(isNumber); return speed(known.length
        ? known.reduce((a, b) => a + b, 0) / known.length : null, 'none'); }, rates, href('requests')),
      () => wattHours() !== null && tile('GPU energy', () => `${num(wattHours(), 0)} Wh`, () => energy(),
        href('system', 'live')))),
    problems: card('Recent problems', {}, problemList(problems), () => !problems().length && h('p', { class: 'muted' },
      'None in the last hour.')),
  };
}

const isProblem = (row) => row.resp_status_code >= 400 || (row.outcome !== 'ok' && row.outcome !== 'cancelled'
  && row.outcome !== 'client_gone');

const errorText = (errors, count) => (errors ? `${num(errors)} (${percent(errors / count, 1)})` : '0');

function problemList(problems) {
  const box = h('ul', { class: 'plain-list' });
  return each(box, problems, (row) => row.id, (row) => h('li', { class: 'problem' }, timeElement(() => row().at),
    modelLink(row.peek().model),
    h('span', { class: 'badge is-failed num' }, () => row().resp_status_code || row().outcome),
    h('span', { class: 'grow clip', title: () => row().error_msg || '' }, () => (row().error_msg || row().outcome
      || '').split('\n')[0]),
    h('a', { href: () => href('requests', String(row().id)), 'aria-label': () => `Open request ${row().id}` },
      'Open')));
}

function bucketsOf(rows, minute) {
  const buckets = Array.from({ length: BUCKETS }, () => ({ count: 0, errors: 0, speed: 0, speeds: 0 }));
  for (const row of rows) {
    const bucket = buckets[BUCKETS - 1 - (minute - Math.floor(row.at / 60))];
    if (!bucket) continue;
    bucket.count++;
    if (isProblem(row)) bucket.errors++;
    const rate = row.tokens && row.tokens.tokens_per_second;
    if (rate > 0) {
      bucket.speed += rate;
      bucket.speeds++;
    }
  }
  return buckets;
}

/** Power over time, summed over the cards; a gap of more than five minutes counts for nothing. */
export function energyPerMinute(samples) {
  const minutes = new Array(BUCKETS).fill(null);
  const now = serverNow();
  const last = new Map();
  for (const sample of samples) {
    const at = Date.parse(sample.timestamp) / 1000;
    const before = last.get(sample.id);
    last.set(sample.id, at);
    const slot = BUCKETS - 1 - Math.floor((now - at) / 60);
    if (before === undefined || !(at > before) || at - before > 300 || !(sample.power_draw_w > 0) || slot < 0
      || slot >= BUCKETS) continue;
    minutes[slot] = (minutes[slot] || 0) + (sample.power_draw_w * (at - before)) / 3600;
  }
  return minutes.some(isNumber) ? minutes : null;
}
