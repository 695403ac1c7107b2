// One model: what it is and does, its requests, its logs, its configuration. The tab is in the address.
import { h } from '../core/dom.js';
import { href, route } from '../core/router.js';
import { computed, signal, untracked } from '../core/signal.js';
import { displayName, faceOf, isLoaded, modelById, models, pins, togglePin } from '../state/models.js';
import { copyId, modelMenu } from '../ui/modelmenu.js';
import { failure, loadProgress, modelAction, stateBadge } from '../ui/modelparts.js';
import { button, emptyState, inlineError, linkButton, skeleton } from '../ui/parts.js';
import { tabs } from '../ui/tabs.js';
import { configTab } from './modelconfig.js';
import { overviewTab } from './modelfacts.js';
import { tagsOf, waitingText } from './modelrow.js';

const TABS = [['overview', 'Overview'], ['requests', 'Requests'], ['logs', 'Logs'], ['config', 'Configuration']];

export const key = (to) => to.id;

export function mount(ctx) {
  const { id } = ctx.route.peek();
  let last = null;
  // Parts that are about to go may ask once more after the model is gone from the configuration.
  const model = computed(() => (last = modelById(id) || last));
  ctx.title(() => (model() ? displayName(model()) : id));
  const has = computed(() => (isLoaded() ? (modelById(id) ? 'it' : 'none') : ''));
  return h('div', null, () => {
    const now = has();
    return untracked(() => (now === 'it' ? page(ctx, model) : now ? missing(id) : skeleton(5)));
  });
}

function missing(id) {
  const owner = models().find((model) => model.aliases.includes(id));
  return emptyState({ icon: 'models', title: owner ? `${id} is another name of ${displayName(owner)}`
    : `There is no model ${id}`, actions: [owner && linkButton(displayName(owner), href('models', owner.id)),
    linkButton('All models', href('models'))] });
}

function page(ctx, model) {
  const { id, kind } = model.peek();
  const face = computed(() => faceOf(model()), (a, b) => a.state === b.state && a.word === b.word);
  const isPinned = () => pins().includes(id);
  const list = TABS.filter(([tab]) => kind !== 'peer' || tab !== 'logs')
    .map(([tab, label]) => ({ id: tab, label, href: href('models', id, tab) }));
  const panels = { overview: overviewTab, requests: requestsTab, logs: logsTab, config: configTab };
  return h('div', { class: 'stack model-page', 'data-model': id, 'data-state': () => face().state },
    h('div', { class: 'row' }, stateBadge(face), modelAction(model),
      button(() => (isPinned() ? 'Unpin' : 'Pin'), { icon: 'pin', kind: 'quiet', onclick: () => togglePin(id) }),
      modelMenu(model), h('button', { type: 'button', class: 'copy-id mono', title: 'Copy this id',
        onclick: () => copyId(id) }, id), () => tagsOf(model())),
    () => model().aliases.length > 0 && h('p', { class: 'muted wrap' }, 'Also called ', model().aliases.join(', ')),
    () => model().description && h('p', { class: 'wrap' }, model().description),
    () => face().state === 'starting' && loadProgress(model),
    () => waitingText(model()) && h('p', { class: 'muted' }, waitingText(model())),
    failure(model, { open: true }),
    tabs(`About ${displayName(model.peek())}`, list, () => route().tab || 'overview', () => {
      const tab = route().tab || 'overview';
      return untracked(() => panels[tab](ctx, model));
    }));
}

/** Content that comes with a module of its own. */
function lazy(load, show) {
  const state = signal(null);
  const start = () => load().then((module) => state.set({ module }), (error) => state.set({ error }));
  start();
  return h('div', null, () => {
    const now = state();
    if (!now) return skeleton(4);
    return untracked(() => (now.error ? inlineError(now.error, start) : show(now.module)));
  });
}

function requestsTab(ctx, model) {
  const { id } = model.peek();
  return h('div', { class: 'stack' }, h('p', null, h('a', { href: href('requests', { model: id }) },
    'Search among these requests')), lazy(() => import('../ui/requesttable.js'),
    (ui) => ui.requestsTable({ model: id })));
}

function logsTab(ctx, model) {
  const { id } = model.peek();
  return h('div', { class: 'stack' }, h('p', null, h('a', { href: href('logs', { src: id }) }, 'Search in this log')),
    lazy(() => import('./logs.js'), (logs) => logs.logPane(() => id)));
}
