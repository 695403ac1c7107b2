// Models: search, states, groups and order, all of it in the address; below it where the names of routes lead.
import { each, h } from '../core/dom.js';
import { hello } from '../core/feed.js';
import { shortcut } from '../core/keys.js';
import { announce } from '../core/live.js';
import { api } from '../core/net.js';
import { href, route, setQuery } from '../core/router.js';
import { computed, effect, onCleanup, signal, untracked } from '../core/signal.js';
import { faceOf, isLoaded, models, pins } from '../state/models.js';
import { GROUPS, SORTS, arrange, engineOf, matches, viewOf } from '../state/modelview.js';
import { onDone } from '../state/requests.js';
import { unloadAll, unloadable } from '../ui/actions.js';
import { button, chip, emptyState, linkButton, searchBox, select, skeleton } from '../ui/parts.js';
import { toastError } from '../ui/toast.js';
import { modelRow } from './modelrow.js';
import { routes } from './routes.js';

const CHUNK = 40;               // rows built in one frame: the first screen is there at once, however many there are
const MAX_ROWS = 999;           // the most the server gives at once: of a busy day the newest part
// The first four are always there, so that a chip does not move while one reaches for it.
const CHIPS = [['ready', 'Ready'], ['starting', 'Loading'], ['failed', 'Failed'], ['stopped', 'Stopped'],
  ['queued', 'Waiting'], ['stopping', 'Stopping'], ['peer', 'Peers']];

export function mount(ctx) {
  ctx.title('Models');
  ctx.actions(button('Unload all', { disabled: () => !unloadable().length, onclick: unloadAll }));
  const has = computed(() => (isLoaded() ? (models().length ? 'some' : 'none') : ''));
  return h('div', null, () => {
    const now = has();
    return untracked(() => (now === 'some' ? page(ctx) : now ? nothing() : skeleton(6)));
  });
}

function nothing() {
  const path = () => (hello() && hello().config_path) || '';
  return emptyState({ icon: 'models', title: 'No models are configured yet' },
    h('p', null, () => (path() ? ['They are written into ', h('code', null, path()), '.']
      : 'The server was started without a configuration file: see its -config option.')),
    linkButton('System: configuration', href('system', 'config')));
}

function page(ctx) {
  const view = computed(() => viewOf(route().query), same);
  const order = computed(() => ({ group: view().group, sort: view().sort }), same);
  const today = countToday(ctx);
  const engine = engines(ctx, () => view().group === 'engine');
  const limit = signal(CHUNK);
  effect(() => {
    if (limit() >= models().length) return;
    const frame = requestAnimationFrame(() => limit.update((count) => count + CHUNK));
    onCleanup(() => cancelAnimationFrame(frame));
  });
  const all = computed(() => arrange(models(), order(), { pins: pins(), engine,
    count: (model) => today(model.id).count }));
  const groups = computed(() => cut(all(), limit()));
  const found = computed(() => models().filter((model) => matches(model, view().words)
    && (view().unlisted || !model.unlisted)));
  const shown = computed(() => new Set(found().filter((model) => !view().states.length
    || view().states.includes(faceOf(model).state)).map((model) => model.id)), sameSet);
  const row = modelRow({ isShown: (id) => shown().has(id), today: (id) => countText(today(id)) });
  const list = h('div', { class: () => `stack models${view().compact ? ' compact' : ''}` });
  each(list, groups, (group) => group.name, (group) => section(group, shown, row));

  const visible = () => [...list.querySelectorAll('.model:not([hidden]) .model-name > a')];
  const move = (by) => {
    const links = visible();
    const at = links.findIndex((link) => link.closest('.model').contains(document.activeElement));
    const next = links[at < 0 ? 0 : at + by];
    if (next) next.focus();
    return Boolean(next);
  };
  shortcut('j', 'Next model', () => move(1));
  shortcut('k', 'Previous model', () => move(-1));

  const result = computed(() => `${shown().size} of ${models().length}`);
  let isFirst = true;
  effect(() => {
    const text = `${result()} models`;
    if (!isFirst) announce(text);
    isFirst = false;
  });
  return h('div', { class: 'stack' }, toolbar(view, found, result, () => visible()[0]), list,
    () => !shown().size && emptyState({ icon: 'search', title: 'No model matches', actions: [button('Show all',
      { onclick: () => setQuery({ q: null, state: null, unlisted: '1' }, { push: true }) })] }),
    routes(ctx));
}

function section(group, shown, row) {
  const list = h('ul', { class: 'plain-list card' });
  each(list, () => group().models, (model) => model.id, row);
  const count = () => group().models.reduce((sum, model) => sum + shown().has(model.id), 0);
  const { name } = group.peek();
  return h('section', { class: 'stack', hidden: () => !count(), 'aria-label': name ? null : 'Models' },
    name && h('h2', null, `${name} `, h('span', { class: 'muted num' }, count)), list);
}

function toolbar(view, found, result, first) {
  const counts = computed(() => {
    const all = new Map();
    for (const model of found()) {
      const { state } = faceOf(model);
      all.set(state, (all.get(state) || 0) + 1);
    }
    return all;
  });
  const toggle = (state) => {
    const { states } = view.peek();
    setQuery({ state: states.includes(state) ? states.filter((each) => each !== state) : [...states, state] },
      { push: true });
  };
  const unlisted = computed(() => models().reduce((sum, model) => sum + Boolean(model.unlisted), 0));
  const flag = (name) => () => setQuery({ [name]: view.peek()[name] ? null : '1' }, { push: true });
  const choice = (label, options, name) => h('label', { class: 'row' }, h('span', { class: 'muted' }, label),
    select(options, { value: () => view()[name], onchange: (value) => setQuery({ [name]: value }, { push: true }) }));
  return h('div', { class: 'stack toolbar' },
    h('div', { class: 'row' },
      searchBox({ label: 'Search models', shortcut: '/', value: () => route().query.get('q') || '',
        oninput: (q) => setQuery({ q }), onkeydown: (event) => {
          if (event.key !== 'ArrowDown' || !first()) return;
          event.preventDefault();
          first().focus();
        } }),
      choice('Group by', GROUPS, 'group'), choice('Sort by', SORTS, 'sort'),
      h('span', { class: 'muted num' }, result)),
    h('div', { class: 'row', role: 'group', 'aria-label': 'Which models' },
      CHIPS.map(([state, label], i) => chip(label, { pressed: () => view().states.includes(state),
        count: () => counts().get(state) || 0, onclick: () => toggle(state),
        hidden: () => i > 3 && !counts().get(state) && !view().states.includes(state) })),
      chip('Unlisted', { pressed: () => view().unlisted, count: unlisted, onclick: flag('unlisted'),
        hidden: () => !unlisted() && !view().unlisted }),
      chip('Compact rows', { pressed: () => view().compact, onclick: flag('compact') })));
}

/** The first `limit` models of all groups together. */
function cut(groups, limit) {
  const some = [];
  for (const { name, models: list } of groups) {
    if (limit > 0) some.push({ name, models: list.slice(0, limit) });
    limit -= list.length;
  }
  return some;
}

const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);
const sameSet = (a, b) => a.size === b.size && [...a].every((each) => b.has(each));

/** id → {count, isPartial}: requests since midnight; count is null while nobody knows. */
function countToday(ctx) {
  const counts = signal(null);
  const isPartial = signal(false);
  const add = (all, row) => all.set(row.model, (all.get(row.model) || 0) + 1);
  const seen = [];
  const midnight = Math.floor(new Date().setHours(0, 0, 0, 0) / 1000);
  api('api/metrics/activity', { query: { from: midnight, limit: MAX_ROWS }, signal: ctx.signal }).then((page) => {
    const ids = new Set(page.data.map((row) => row.id));
    isPartial.set(page.total > page.data.length);
    counts.set([...page.data, ...seen.filter((row) => !ids.has(row.id))].reduce(add, new Map()));
  }, () => {});             // a number less; the page is whole without it
  onDone((row) => {
    if (counts.peek()) counts.update((all) => add(new Map(all), row));
    else seen.push(row);
  });
  return (id) => ({ count: counts() && (counts().get(id) || 0), isPartial: isPartial() });
}

/** Model → the program that serves it. The command lines are asked for when somebody groups by them. */
function engines(ctx, isWanted) {
  const known = signal(null);
  let isAsked = false;
  effect(() => {
    if (!isWanted() || isAsked) return;
    isAsked = true;
    api('api/config', { signal: ctx.signal }).then(({ config }) => known.set(config.models), (error) => {
      isAsked = false;
      toastError(error, 'Could not read the command lines');
    });
  });
  return (model) => {
    const entry = known() && known()[model.id];
    return model.kind === 'peer' ? 'peer' : (entry && entry.argv.length && engineOf(entry.argv)) || 'unknown';
  };
}

const countText = ({ count, isPartial }) => (count ? `${count}${isPartial ? '+' : ''} today` : '');
