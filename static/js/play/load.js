// Load test: the same request many times at once, in steps. It says what it is and stops all of it when told.
import { h } from '../core/dom.js';
import { duration, num, speed } from '../core/format.js';
import { download } from '../core/clipboard.js';
import { computed, onCleanup, signal } from '../core/signal.js';
import { button, card, field, segmented } from '../ui/parts.js';
import { meter } from '../ui/bars.js';
import { newSession, rowOf, startChat, statsOf } from './api.js';
import { chosenModel, modelPicker } from './picker.js';
import { side } from './side.js';

const MOST = 5;      // a browser opens six connections to one server, and our event stream has one of them
const COLUMNS = ['level', 'number', 'state', 'wait_ms', 'load_ms', 'ttft_ms', 'total_ms', 'prompt_tokens',
  'output_tokens', 'tokens_per_second', 'error'];

/** The value below which a share of them lies, by nearest rank; null of none. */
export function percentile(values, share) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted.length ? sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] : null;
}

export function panel(ctx) {
  const [model, choose] = chosenModel('load');
  const until = signal('count');
  const results = signal([]);        // one object of COLUMNS per request that has ended
  const spans = signal(new Map());   // level → milliseconds it took
  const level = signal(0);           // how many at once now, 0: not running
  const trouble = signal('');
  const running = new Set();
  let isOver = false;
  const entry = (value, props = {}) => h('input', { type: 'text', value, ...props });
  const [levels, count, seconds, limit] = [entry('1, 2, 4'), entry('8', { inputmode: 'numeric' }),
    entry('10', { inputmode: 'numeric' }), entry('64', { inputmode: 'numeric' })];
  const prompt = h('textarea', { rows: '3', value: 'Tell a short story about a lighthouse.' });
  const stop = () => { isOver = true; for (const run of running) run.stop(); };
  onCleanup(stop);
  ctx.leaveGuard(() => (level.peek() ? 'The load test is still running and would be stopped.' : ''));

  async function start() {
    const steps = levels.value.split(/[\s,]+/).filter(Boolean).map(Number);
    const amount = Number(until.peek() === 'count' ? count.value : seconds.value);
    if (!steps.length || !steps.every((one) => Number.isInteger(one) && one > 0 && one <= MOST) || !(amount > 0)
      || !(Number(limit.value) > 0)) {
      trouble.set(`Steps are whole numbers from 1 to ${MOST}, the others numbers above 0.`);
      return;
    }
    trouble.set('');
    isOver = false;
    results.set([]);
    spans.set(new Map());
    for (const step of steps) {
      if (isOver) break;
      level.set(step);
      const begun = performance.now();
      const due = () => !isOver && (until.peek() === 'count' ? left-- > 0 : performance.now() - begun < amount * 1000);
      let left = until.peek() === 'count' ? amount : 0;
      await Promise.all(Array.from({ length: step }, async () => { while (due()) await one(step); }));
      spans.update((all) => new Map(all).set(step, performance.now() - begun));
    }
    level.set(0);
  }

  async function one(step) {
    const run = startChat({ session: newSession(), model: model.peek(),
      messages: [{ role: 'user', text: prompt.value }], params: { max_tokens: Number(limit.value) } });
    running.add(run);
    await run.done;
    running.delete(run);
    // No storm of refusals.
    if (run.state === 'error') await new Promise((resolve) => { setTimeout(resolve, 250); });
    const stats = statsOf(run);
    const result = { level: step, number: results.peek().length + 1, state: run.state, wait_ms: null, load_ms: null,
      ttft_ms: stats.ttft, total_ms: stats.ms, prompt_tokens: stats.prompt,
      output_tokens: stats.output, tokens_per_second: stats.speed, error: run.error ? run.error.message : '' };
    results.update((all) => [...all, result]);
    // Asked apart, so that the next request does not wait for the answer.
    if (run.state === 'done') rowOf(run.session).then((row) => row
      && results.update((all) => all.map((each) => (each === result
      ? { ...each, wait_ms: row.queue_ms ?? null, load_ms: row.load_ms ?? null } : each))));
  }

  const done = computed(() => results().length);
  const failed = computed(() => results().filter((each) => each.state === 'error').length);
  return h('div', { class: 'play' }, side(() => `${model() || 'No model'}: settings`,
    modelPicker({ value: model, onchange: choose }), field('At once, in steps', levels,
    { error: trouble, hint: `At most ${MOST}: a browser opens no more connections to one server.` }),
    segmented('How long is a step', [['count', 'Requests'], ['time', 'Seconds']],
      { value: until, onchange: until.set }), h('div', { hidden: () => until() !== 'count' },
      field('Requests per step', count)),
    h('div', { hidden: () => until() !== 'time' }, field('Seconds per step', seconds)),
      field('Most tokens per answer', limit)),
  h('div', { class: 'play-main' }, h('p', { class: 'notice warning' },
    'This is a load test: it keeps the model busy and others waiting, and may unload what is loaded.'),
    field('Prompt', prompt),
    h('div', { class: 'row' }, button(() => (level() ? 'Stop' : 'Start the load test'),
      { kind: 'primary', onclick: () => (level.peek() ? stop() : start()) }),
      h('span', { role: 'status', class: 'muted' }, () => (level() ? `${level()} at once, ` : '') + (done()
        ? `${done()} ended, ${failed()} failed` : '')),
      () => done() > 0 && !level() && button('Download CSV',
        { icon: 'download', onclick: () => download('load-test.csv', [csv(results.peek())], 'text/csv') })),
    () => done() > 0 && summary(results(), spans()), () => failed() > 0 && h('p', { class: 'error-text' },
      `First error: ${results().find((each) => each.error).error}`)));
}

// A cell that a spreadsheet would take for a formula is made text.
const cell = (value) => { const text = value === null || value === undefined ? '' : typeof value === 'number'
  ? String(Math.round(value * 100) / 100)
  : String(value); return /[",\n\r]|^[=+\-@\t]/.test(text) ? `"${text.replace(/^([=+\-@\t])/, "'$1").replaceAll('"',
  '""')}"` : text; };
export const csv = (rows) => [COLUMNS.join(','),
  ...rows.map((row) => COLUMNS.map((name) => cell(row[name])).join(','))].join('\r\n') + '\r\n';

function summary(rows, spans) {
  const levels = [...new Set(rows.map((row) => row.level))];
  const of = (step, name) => rows.filter((row) => row.level === step && row.state === 'done'
    && row[name] !== null).map((row) => row[name]);
  const three = (step, name, format = duration) => [0.5, 0.95,
    0.99].map((share) => h('td', { class: 'num' }, format(percentile(of(step, name), share))));
  const mean = (list) => (list.length ? list.reduce((a, b) => a + b, 0) / list.length : null);
  const most = Math.max(...levels.map((step) => percentile(of(step, 'total_ms'), 0.95) || 0));
  const heads = ['At once', 'Ended', 'Failed', 'Wait', 'Load', 'First token p50', 'p95', 'p99', 'Total p50', 'p95',
    'p99', 'Speed each', 'Speed together'];
  return h('div', { class: 'stack' }, card('Results by step', {},
    h('div', { class: 'table-box', tabindex: '0', role: 'region', 'aria-label': 'Results by step' },
      h('table', { class: 'table', 'aria-label': 'Results by step' },
    h('thead', null, h('tr', null, heads.map((text) => h('th', { scope: 'col' }, text)))),
    h('tbody', null, levels.map((step) => h('tr', { 'data-level': step }, h('th', { scope: 'row' }, step),
      h('td', null, num(of(step, 'total_ms').length)), h('td', null,
      num(rows.filter((row) => row.level === step && row.state === 'error').length)),
      ['wait_ms', 'load_ms'].map((name) => h('td', { class: 'num' }, duration(mean(of(step, name))))),
        three(step, 'ttft_ms'), three(step, 'total_ms'),
        h('td', { class: 'num' }, speed(mean(of(step, 'tokens_per_second')))),
      h('td', { class: 'num' }, speed(spans.has(step) ? (of(step, 'output_tokens').reduce((a, b) => a + b,
        0) * 1000) / spans.get(step) : null))))))),
  h('p', { class: 'muted small' },
    'Percentiles by nearest rank, of what was answered. Wait and load are means of what the server says.')),
  levels.length > 1 && card('Total time, p95', {}, levels.map((step) => meter({ label: `${step} at once`,
    value: () => percentile(of(step, 'total_ms'), 0.95), max: () => most,
    text: () => duration(percentile(of(step, 'total_ms'), 0.95)) }))));
}
