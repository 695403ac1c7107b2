// How a model looks wherever it appears: its state, its one button, its progress, its failure.
import { every, h, icon } from '../core/dom.js';
import { ago, bytes, clock, since, tick, until } from '../core/format.js';
import { api, apiUrl } from '../core/net.js';
import { href } from '../core/router.js';
import { computed, onCleanup, signal } from '../core/signal.js';
import { dismissFailure, displayName, hasFailure, isOnGpu, memoryOf } from '../state/models.js';
import { cancelLoad, loadModel, pendingOf, unloadModel } from './actions.js';
import { button, codeBlock, linkButton } from './parts.js';

const GLYPHS = { ready: 'ready', starting: 'busy', stopping: 'busy', failed: 'failed', queued: 'queued',
  stopped: 'stopped', peer: 'peer' };
const LINE_MS = 1000;
const PHASES = { queued: ['queued', 'queued'], loading: ['starting', 'loading'], prompt: ['starting', 'prompt'],
  generating: ['ready', 'generating'] };

export const stateGlyph = (face) => h('span', { class: () => `glyph is-${face().state}` },
  () => icon(GLYPHS[face().state]));

/** Glyph and word; the word is what counts, colour is the third signal. */
export const stateBadge = (face) => h('span', { class: () => `badge is-${face().state}` },
  () => icon(GLYPHS[face().state]), () => face().word);

export const phaseBadge = (request) => stateBadge(() => {
  const { phase, position } = request();
  const [state, word] = PHASES[phase] || ['queued', phase || 'unknown'];
  return { state, word: phase === 'queued' && position ? `queued ${position}` : word };
});

export const modelLink = (id, text = id) => h('a', { class: 'clip', href: href('models', id), title: id }, text);

/** Load, Cancel or Unload, whatever can be done now. `model` is a signal. It changes in the moment it is clicked. */
export function modelAction(model, props = {}) {
  const todo = computed(() => {
    const { id, kind, state } = model();
    const asked = pendingOf(id);
    if (kind === 'peer') return '';
    if (asked === 'load' || state === 'starting') return asked === 'cancel' ? 'Cancelling' : 'Cancel';
    if (asked === 'unload' || state === 'stopping') return 'Unloading';
    return state === 'ready' ? 'Unload' : hasFailure(model()) ? 'Retry' : 'Load';
  });
  const run = () => {
    const now = model.peek();
    ({ Load: () => loadModel(now.id), Retry: () => loadModel(now.id), Cancel: () => cancelLoad(now.id),
      Unload: () => unloadModel(now) }[todo.peek()] || (() => {}))();
  };
  return button(todo, { ...props, kind: 'plain', class: 'model-action', hidden: () => !todo(),
    disabled: () => todo().endsWith('ing'),
    'aria-label': () => `${todo()} ${displayName(model())}`, onclick: run });
}

export function memoryText(model) {
  const amount = memoryOf(model);
  return amount === null ? 'memory unknown' : `${bytes(amount)}${isOnGpu(model) ? '' : ' RAM'}`;
}

export function idleText(model) {
  if (model.in_flight) return `${model.in_flight} in flight`;
  if (!model.ttl) return 'stays loaded';
  return model.unload_at === null ? 'idle' : `idle, ${clock(until(model.unload_at))} left`;
}

/** While starting: how long, how long it took before, and the last thing the engine said. */
export function loadProgress(model) {
  const elapsed = () => since(model().since);
  const share = () => (model().load_estimate_ms ? Math.min(0.98, elapsed() / model().load_estimate_ms) : null);
  // What it writes is no change of its state, so nobody tells; and this is not worth a log stream of its own.
  const asked = signal('');
  const gone = new AbortController();
  onCleanup(() => gone.abort());
  every(LINE_MS, () => api(apiUrl('api', 'models', model.peek().id), { signal: gone.signal })
    .then((now) => asked.set(now.last_line), () => {}));
  const line = () => asked() || model().last_line;
  return h('div', { class: 'load-progress' },
    h('div', { class: 'row' }, h('span', { class: 'num' }, () => clock(elapsed()),
      () => (model().load_estimate_ms ? ` / ~${clock(model().load_estimate_ms)} est.` : '')),
    h('progress', { max: '1', value: () => (tick(), share()), 'aria-label': () => `Loading ${displayName(model())}` })),
    h('div', { class: 'mono small clip muted', title: line }, line));
}

/** Why it failed, with the last lines it wrote and what to do next; null when there is no failure to show. */
export function failure(model, { open = false } = {}) {
  return () => {
    if (!hasFailure(model())) return null;
    const error = model().last_error;
    const cause = error.signal ? `ended by ${error.signal}` : error.code !== null && error.code !== undefined
      ? `exit code ${error.code}` : '';
    const when = error.kind === 'exited' ? 'while it was running' : 'at start';
    return h('div', { class: 'failure stack' },
      h('div', { class: 'row' }, icon('failed', 'Failed'), h('span', { class: 'grow' }, h('strong', null,
        `Failed ${when}`), cause && `, ${cause}`, ', ',
        h('span', { title: new Date(error.at * 1000).toLocaleString() }, () => (tick(), ago(error.at))), error.message
          && `: ${error.message}`)),
      error.tail && error.tail.length ? h('details', { open }, h('summary', null,
        `Last output (${error.tail.length} ${error.tail.length === 1 ? 'line' : 'lines'})`),
        codeBlock(error.tail.join('\n'), { label: `Last output of ${displayName(model())}` })) : null,
      h('div', { class: 'row' }, linkButton('Open logs', href('models', model().id, 'logs'), { icon: 'logs' }),
        button('Dismiss', { kind: 'quiet', onclick: () => dismissFailure(model.peek()) })));
  };
}
