// What is loaded, what it costs, who waits, what broke.
import { each, h } from '../core/dom.js';
import { hello } from '../core/feed.js';
import { bytes, clock, since } from '../core/format.js';
import { href } from '../core/router.js';
import { computed } from '../core/signal.js';
import { displayName, faceOf, hasFailure, isLoaded, models } from '../state/models.js';
import { perf } from '../state/perf.js';
import { live } from '../state/requests.js';
import { unloadAll, unloadable } from '../ui/actions.js';
import { stackedBar } from '../ui/bars.js';
import { failure, idleText, loadProgress, memoryText, modelAction, modelLink, stateBadge } from '../ui/modelparts.js';
import { button, card, codeBlock, emptyState, linkButton, skeleton } from '../ui/parts.js';
import { lastHour } from './lasthour.js';

const MIB = 1024 * 1024;
const MAX_WAITING = 20;

export function mount(ctx) {
  ctx.title('Overview');
  ctx.actions(button('Unload all', { disabled: () => !unloadable().length, onclick: unloadAll }));
  const isEmpty = computed(() => isLoaded() && models().length === 0);
  const hour = lastHour(ctx);
  return h('div', null, () => {
    if (!isLoaded()) return skeleton(5);
    if (isEmpty()) return welcome();
    return h('div', { class: 'stack' },
      h('div', { class: 'cols-2' }, h('div', { class: 'stack' }, loaded(), waiting()), h('div', { class: 'stack' },
        memory(), hour.tiles)),
      hour.problems);
  });
}

const isShown = (model) => model.kind !== 'peer' && (model.state !== 'stopped' || hasFailure(model));

function loaded() {
  const shown = computed(() => models().filter(isShown));
  const box = h('ul', { class: 'plain-list' });
  each(box, shown, (model) => model.id, loadedRow);
  return card('Loaded now', {}, box, () => !shown().length && h('p', { class: 'muted' },
    'Nothing is loaded. A request for a model loads it; so does ',
    h('a', { href: href('models') }, 'Load on the Models page'), '.'));
}

function loadedRow(model) {
  const state = computed(() => faceOf(model()).state);
  return h('li', { class: 'loaded', 'data-model': () => model().id, 'data-state': state },
    h('div', { class: 'loaded-line' },
      h('div', { class: 'grow row' }, stateBadge(() => faceOf(model())), modelLink(model.peek().id,
        () => displayName(model()))),
      h('span', { class: 'num muted' }, () => (state() === 'ready' ? memoryText(model()) : '')),
      h('span', { class: 'num muted' }, () => (state() === 'ready' ? idleText(model()) : '')),
      modelAction(model)),
    () => state() === 'starting' && loadProgress(model),
    failure(model));
}

function waiting() {
  const all = computed(() => live().filter((request) => request.phase === 'queued' || request.phase === 'loading'));
  const box = h('ol', { class: 'plain-list' });
  each(box, () => all().slice(0, MAX_WAITING), (request) => request.id, (request) => h('li', { class: 'waiting',
    'data-request': () => request().id, 'data-phase': () => request().phase },
    h('span', { class: 'num muted' }, () => request().position ?? '·'),
    h('a', { class: 'clip', href: () => href('requests', String(request().id)) }, () => request().model),
    h('span', { class: 'clip muted' }, () => [request().session, request().client].filter(Boolean).join(' ')),
    h('span', { class: 'num' }, () => clock(since(request().at))),
    h('span', { class: 'grow wrap muted' }, () => request().reason || (request().phase === 'loading'
      ? 'waits for the model to load' : ''))));
  return card(() => `Waiting (${all().length})`, {}, box, () => (all().length > MAX_WAITING
    ? h('p', null, h('a', { href: href('requests') }, `and ${all().length - MAX_WAITING} more`))
    : !all().length && h('p', { class: 'muted' }, 'Nobody is waiting.')));
}

/** What holds the memory of each GPU now. */
export function memory() {
  const gpus = computed(() => (perf() && perf().gpus) || []);
  const ids = computed(() => gpus().map((gpu) => gpu.id), (a, b) => String(a) === String(b));
  return () => ids().length > 0 && card('GPU memory', {}, h('div', { class: 'stack' }, ids().map((id, i) => {
    const gpu = () => gpus().find((each) => each.id === id) || {};
    return stackedBar({ label: `GPU ${id} ${gpus()[i].name || ''}`, total: () => (gpu().mem_total_mb || 0) * MIB,
      format: bytes, segments: () => segments(gpu()) });
  })));
}

/** Models in a fixed order, so that their colours stay; what no model explains is "other". */
function segments(gpu) {
  const used = (gpu.mem_used_mb || 0) * MIB;
  const parts = [];
  models().forEach((model) => {
    const here = ((model.memory && model.memory.gpus) || []).find((each) => each.gpu === gpu.id);
    if (here && here.bytes) parts.push({ id: model.id, label: displayName(model), value: here.bytes,
      series: (parts.length % 7) + 1, href: href('models', model.id) });
  });
  const known = parts.reduce((sum, part) => sum + part.value, 0);
  if (used > known) parts.push({ id: '', label: known ? 'other' : 'used (by model: unknown)', value: used - known,
    series: 8 });
  return [...parts, { id: '', label: 'free', value: Math.max(0, (gpu.mem_total_mb || 0) * MIB - Math.max(used, known)),
    series: 'free' }];
}

function welcome() {
  const path = () => (hello() && hello().config_path) || '';
  return emptyState({ icon: 'models', title: 'No models are configured yet',
    text: 'Models are written into the configuration file, which is read again when it changes.' },
  h('p', null, () => (path() ? ['The file is ', h('code', null, path()), '.']
    : 'The server was started without a file of its own: see its -config option.')),
  h('p', null, 'The least that makes a model:'),
  codeBlock('models:\n  my-model:\n    cmd: llama-server --port ${PORT} -m /path/to/model.gguf\n',
    { label: 'Example' }),
  linkButton('System: configuration', href('system', 'config')));
}
