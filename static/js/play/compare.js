// Compare: the same words for two to four models. One after the other unless they are known to fit side by side.
import { each, h } from '../core/dom.js';
import { duration, num, speed } from '../core/format.js';
import { route, setQuery } from '../core/router.js';
import { computed, onCleanup, signal } from '../core/signal.js';
import { displayName, modelById } from '../state/models.js';
import { watts } from '../state/perf.js';
import { button, card, emptyState, field, segmented, switchBox } from '../ui/parts.js';
import { newSession, rowOf, startChat, statsOf } from './api.js';
import { answerBody } from './message.js';
import { paramsForm } from './params.js';
import { modelPicker, planOf } from './picker.js';
import { side } from './side.js';

const MOST = 4;
const DIFF_WORDS = 3000;

export function panel(ctx) {
  const models = computed(() => route().query.getAll('model').slice(0, MOST), (a, b) => a.join('\n') === b.join('\n'));
  const params = signal({});
  const order = signal('auto');
  const isBlind = signal(false);
  const isRevealed = signal(false);
  const lanes = signal([]);            // of the last comparison, as shown
  const now = signal('');              // what is going on
  const isRunning = computed(() => now() !== '');
  const fit = signal(null);            // may they run side by side? null: asking
  const system = h('textarea', { rows: '2' });
  const text = h('textarea', { rows: '4' });
  let isOver = false;
  const stop = () => {
    isOver = true;
    for (const lane of lanes.peek()) for (const turn of lane.turns.peek()) turn.run.peek()?.stop();
  };
  onCleanup(stop);
  ctx.leaveGuard(() => (isRunning.peek() ? 'The comparison is still running and would be stopped.' : ''));

  async function start() {
    const prompts = text.value.split(/^---$/m).map((each) => each.trim()).filter(Boolean);
    if (isRunning.peek() || models.peek().length < 2 || !prompts.length) return;
    isOver = false;
    isRevealed.set(false);
    now.set('Asking which of them fit side by side');
    const together = order.peek() === 'together' || (order.peek() === 'auto' && await fitTogether(models.peek()));
    fit.set(together);
    const made = models.peek().map((model) => ({ model, turns: signal([]) }));
    lanes.set(isBlind.peek() ? shuffled(made) : made);
    const asked = { system: system.value.trim(), params: params.peek() };
    const all = (lane) => prompts.reduce((before, prompt) => before.then(() => !isOver && ask(lane, prompt, asked)),
      Promise.resolve());
    if (together) {
      now.set('Running side by side');
      await Promise.all(made.map(all));
    } else {
      for (const lane of made) {
        if (isOver) break;
        now.set(isBlind.peek() ? 'Running one after another' : `Running ${lane.model}, one after another`);
        await all(lane);
      }
    }
    now.set('');
  }

  const go = button(() => (isRunning() ? 'Stop' : 'Compare'),
    { kind: 'primary', onclick: () => (isRunning.peek() ? stop() : start()),
    disabled: () => models().length < 2 });
  const hidden = () => isBlind() && !isRevealed();
  const name = (lane, at) => (hidden() ? `Model ${'ABCD'[at]}` : modelById(lane.model)
    ? displayName(modelById(lane.model)) : lane.model);
  return h('div', { class: 'play' }, side('Models and settings',
    h('ul', { class: 'plain-list', 'aria-label': 'Models' },
      () => models().map((model, at) => h('li', { class: 'row' }, h('span', { class: 'grow' }, model),
      button('Remove', { kind: 'quiet', class: 'slim', 'aria-label': `Remove ${model}`,
        onclick: () => setQuery({ model: models().filter((_, i) => i !== at) }) })))),
    () => models().length < MOST && modelPicker({ label: 'Add a model', value: () => '',
      onchange: (id) => setQuery({ model: [...models(), id] }) }),
    field('Order', segmented('Order', [['auto', 'As they fit'], ['one', 'One by one'], ['together', 'Together']],
      { value: order, onchange: order.set })),
    switchBox('Blind', isBlind, { hint: 'Names are hidden until you reveal them.' }),
    h('details', null, h('summary', null, 'Parameters and system prompt'), field('System prompt', system),
      paramsForm(params, params.set))),
  h('div', { class: 'play-main' },
    field('Prompt', text, { hint: 'Several, with a line of --- between them, are asked one by one.' }),
    h('div', { class: 'row' }, go, h('span', { class: 'muted', role: 'status' }, () => now()
      || (fit() === false && lanes().length ? 'They ran one after another.' : fit() ? 'They ran side by side.' : '')),
      () => isBlind() && lanes().length > 0 && !isRunning() && !isRevealed() && button('Reveal the names',
        { onclick: () => isRevealed.set(true) })),
    () => !lanes().length && emptyState({ title: 'Nothing has been compared yet', text: models().length < 2
      ? 'Choose two to four models. The address keeps them; nothing is sent by opening it.'
      : 'Write a prompt and press Compare.' }),
    () => lanes().length > 0 && table(lanes(), name),
    () => h('div', { class: 'lanes' }, lanes().map((lane, at) => h('section',
      { class: 'card', 'aria-label': () => name(lane, at) }, h('h2', null, () => name(lane, at)),
      laneBody(lane)))), () => lanes().length > 1 && !isRunning() && difference(lanes(), name)));
}

/** Only what is certain: all of them are loaded now or elsewhere, and none would have to go for another. */
async function fitTogether(models) {
  const plans = await Promise.all(models.map(planOf));
  return plans.every((plan) => plan && plan.action === 'serve');
}

function ask(lane, prompt, asked) {
  const item = signal({ id: newSession(), role: 'assistant', text: '', state: 'running', model: lane.model });
  const run = startChat({ session: item.peek().id, model: lane.model, messages: [{ role: 'user', text: prompt }],
    ...asked });
  Object.assign(run, { prefix: '', former: '' });
  const turn = { prompt, item, run: signal(run), wait: signal(null), energy: signal(null) };
  lane.turns.update((all) => [...all, turn]);
  const power = measure();
  return run.done.then(async () => {
    turn.energy.set(power());
    item.set({ ...item.peek(), state: run.state, text: run.answer.text, reasoning: run.answer.reasoning,
      calls: run.answer.calls, stats: statsOf(run),
      served: run.answer.model, error: run.error });
    turn.run.set(null);
    const row = run.state === 'done' ? await rowOf(run.session) : null;
    if (row) turn.wait.set((row.queue_ms || 0) + (row.load_ms || 0));
  });
}

/** Watt-hours of the whole machine from now until it is called; null when nobody measures. */
function measure() {
  const start = performance.now();
  const seen = [];
  const look = () => { if (typeof watts.peek() === 'number') seen.push(watts.peek()); };
  look();
  const timer = setInterval(look, 1000);
  return () => {
    clearInterval(timer);
    look();
    return seen.length ? (seen.reduce((sum, one) => sum + one, 0) / seen.length) * ((performance.now() - start) / 3.6e6)
      : null;
  };
}

const laneBody = (lane) => each(h('div', { class: 'stack' }), lane.turns, (turn) => turn.item.peek().id,
  (turn) => h('div', { class: 'stack tight' },
  h('p', { class: 'muted small clip', title: turn.peek().prompt }, turn.peek().prompt),
    answerBody(turn.peek().item, turn.peek().run).element));

function table(lanes, name) {
  // Of all prompts: sums for what adds up, means for what does not.
  const of = (lane, read) => lane.turns().map((turn) => read(turn)).filter((value) => typeof value === 'number');
  const sum = (lane, read) => { const all = of(lane, read); return all.length ? all.reduce((a, b) => a + b, 0) : null;
    };
  const mean = (lane, read) => { const all = of(lane, read); return all.length
    ? all.reduce((a, b) => a + b, 0) / all.length : null; };
  const stat = (key) => (turn) => turn.item().stats?.[key];
  const less = (key) => (turn) => (turn.item().stats ? Math.max(0, turn.item().stats[key] - (turn.wait() || 0)) : null);
  const guess = (lane, key) => (lane.turns().some((turn) => turn.item().stats?.guessed.includes(key)) ? ' est.' : '');
  const columns = [['Swap', (lane) => duration(sum(lane, (turn) => turn.wait()))],
    ['First token', (lane) => duration(mean(lane, less('ttft')))],
    ['Speed', (lane) => speed(mean(lane, stat('speed'))) + guess(lane, 'speed')],
      ['Tokens', (lane) => num(sum(lane, stat('output'))) + guess(lane, 'output')],
    ['Model time', (lane) => duration(sum(lane, less('ms')))],
      ['Energy est.', (lane) => { const found = sum(lane, (turn) => turn.energy()); return found === null ? 'unknown'
      : `${num(found, 3)} Wh`; }]];
  return h('div', { class: 'table-box', tabindex: '0', role: 'region', 'aria-label': 'Results by model' },
    h('table', { class: 'table' },
    h('thead', null, h('tr', null, ['Model', ...columns.map(([label]) => label)].map((label) => h('th',
    { scope: 'col' }, label)))),
    h('tbody', null, lanes.map((lane, at) => h('tr', null, h('th', { scope: 'row' }, () => name(lane, at)),
      columns.map(([label, read]) => h('td', { class: 'num', 'data-column': label },
        () => (lane.turns().some((turn) => turn.item().stats) ? read(lane) : 'not yet'))))))));
}

function difference(lanes, name) {
  const shown = signal(false);
  const all = (lane) => lane.turns.peek().map((turn) => turn.item.peek().text).join('\n\n');
  return card('Differences', { actions: [button(() => (shown() ? 'Hide' : 'Show the differences'),
    { onclick: () => shown.update((is) => !is) })] },
    () => shown() && lanes.slice(1).map((lane, at) => h('div', null,
      h('h3', null, () => `${name(lane, at + 1)} against ${name(lanes[0], 0)}`),
      h('p', { class: 'said diff' }, diff(all(lanes[0]),
        all(lane)).map(([kind, words]) => (kind ? h(kind, null, words) : words))))));
}

/** [['' | 'ins' | 'del', text], …]: the longest common words stay. */
export function diff(before, after) {
  const [a, b] = [before, after].map((text) => (text.match(/\s*\S+/g) || []).slice(0, DIFF_WORDS));
  const wide = b.length + 1;
  const best = new Uint16Array((a.length + 1) * wide);
  for (let i = a.length - 1; i >= 0; i -= 1) {
    for (let j = b.length - 1; j >= 0; j -= 1) {
      best[i * wide + j] = a[i] === b[j] ? best[(i + 1) * wide + j + 1] + 1
        : Math.max(best[(i + 1) * wide + j], best[i * wide + j + 1]);
    }
  }
  const found = [];
  const put = (kind, word) => {
    const last = found[found.length - 1];
    if (last && last[0] === kind) last[1] += word;
    else found.push([kind, word]);
  };
  let [i, j] = [0, 0];
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) { put('', a[i]); i += 1; j += 1; }
    else if (j >= b.length || (i < a.length && best[(i + 1) * wide + j] >= best[i * wide + j + 1])) { put('del', a[i]);
      i += 1; }
    else { put('ins', b[j]); j += 1; }
  }
  return found;
}

function shuffled(list) {
  const found = [...list];
  for (let i = found.length - 1; i > 0; i -= 1) {
    const j = crypto.getRandomValues(new Uint32Array(1))[0] % (i + 1);
    [found[i], found[j]] = [found[j], found[i]];
  }
  return found;
}
