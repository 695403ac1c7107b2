// Models: search, states, groups and order, all of it in the address; below it where the names of routes lead.
import { each, h } from '../core/dom.js';
import { shortcut } from '../core/keys.js';
import { announce } from '../core/live.js';
import { api } from '../core/net.js';
import { route, setQuery } from '../core/router.js';
import { computed, effect, signal } from '../core/signal.js';
import { alike, countBy, faceOf, modelById, models, pins, profile, stateOf } from '../state/models.js';
import { GROUPS, SORTS, STATES, arrange, engineOf, findTarget, matches, nextTarget, viewOf } from
  '../state/modelview.js';
import { asked, recentRows } from '../ui/asked.js';
import { modelLink, modelsPage, stateGlyph } from '../ui/modelparts.js';
import { button, card, chip, emptyState, searchBox, select, tag } from '../ui/parts.js';
import { toastError } from '../ui/toast.js';
import { modelRow } from './modelrow.js';

export const mount = (ctx) => modelsPage(ctx, 'Models', () => page(ctx));

function page(ctx) {
  const view = computed(() => viewOf(route().query), alike);
  const found = computed(() => models().filter((model) => matches(model, view().words)
    && (view().unlisted || !model.unlisted)));
  const ids = computed(() => found().filter((model) => !view().states.length
    || view().states.includes(stateOf(model))).map((model) => model.id), alike);
  const shown = computed(() => new Set(ids()));
  const today = countToday();
  const engine = engines(ctx, computed(() => view().group === 'engine'));
  const groups = computed(() => arrange(models(), view(), { pins: pins(), engine, count: today.of }));
  const row = modelRow({ isShown: (id) => shown().has(id), today: today.text });
  const list = each(h('div', { class: () => `stack models${view().compact ? ' compact' : ''}` }), groups,
    (group) => group.name, (group) => section(group, shown, row));

  const move = (by) => {
    const links = [...list.querySelectorAll('.model:not([hidden]) .model-name > a')];
    const at = links.findIndex((link) => link.closest('.model').contains(document.activeElement));
    links[at < 0 ? 0 : at + by]?.focus();
  };
  shortcut('j', 'Next model', () => move(1));
  shortcut('k', 'Previous model', () => move(-1));
  const result = computed(() => `${ids().length} of ${models().length}`);
  effect(() => announce(`${result()} models`));
  return h('div', { class: 'stack' }, toolbar(view, found, result), list,
    () => !ids().length && emptyState({ icon: 'search', title: 'No model matches', actions: [button('Show all',
      { onclick: () => setQuery({ q: null, state: null, unlisted: '1' }, { push: true }) })] }),
    routes());
}

function section(group, shown, row) {
  const { name } = group.peek();
  const count = () => group().models.filter((model) => shown().has(model.id)).length;
  return h('section', { class: 'stack', hidden: () => !count(), 'aria-label': name ? null : 'Models' },
    name && h('h2', null, `${name} `, h('span', { class: 'muted num' }, count)),
    each(h('ul', { class: 'plain-list card' }), () => group().models, (model) => model.id, row));
}

function toolbar(view, found, result) {
  const counts = computed(() => countBy(found(), stateOf), alike);
  const put = (change) => setQuery(change, { push: true });
  const isOn = (state) => view().states.includes(state);
  const toggle = (state) => put({ state: isOn(state) ? view().states.filter((each) => each !== state)
    : [...view().states, state] });
  const flag = (name, label, props) => chip(label, { pressed: () => view()[name],
    onclick: () => put({ [name]: view()[name] ? null : '1' }), ...props });
  const choice = (label, options, name) => h('label', { class: 'row' }, h('span', { class: 'muted' }, label),
    select(options, { value: () => view()[name], onchange: (value) => put({ [name]: value }) }));
  return h('div', { class: 'stack toolbar' },
    h('div', { class: 'row' },
      searchBox({ label: 'Search models', shortcut: '/', value: () => route().query.get('q') || '',
        oninput: (q) => setQuery({ q }) }),
      choice('Group by', GROUPS, 'group'), choice('Sort by', SORTS, 'sort'),
      h('span', { class: 'muted num' }, result)),
    h('div', { class: 'row', role: 'group', 'aria-label': 'Which models' },
      // The first four are always there, so that a chip does not move while one reaches for it.
      STATES.map(([state, label], i) => chip(label, { pressed: () => isOn(state), onclick: () => toggle(state),
        count: () => counts()[state] || 0, hidden: () => i > 3 && !counts()[state] && !isOn(state) })),
      flag('unlisted', 'Unlisted', { hidden: () => !models().some((model) => model.unlisted) }),
      flag('compact', 'Compact rows')));
}

/** Requests of each model since midnight, as a number and in words. */
function countToday() {
  const { rows, isPartial } = recentRows({ from: Math.floor(new Date().setHours(0, 0, 0, 0) / 1000) });
  const counts = computed(() => countBy(rows() || [], (row) => row.model));
  const of = ({ id }) => counts()[id];
  return { of, text: (model) => (of(model) ? `${of(model)}${isPartial() ? '+' : ''} today` : '') };
}

/** Model → the program that serves it. The command lines are asked for when somebody groups by them. */
function engines(ctx, isWanted) {
  const entries = signal({});
  effect(() => {
    if (isWanted()) api('api/config', { signal: ctx.signal }).then(({ config }) => entries.set(config.models),
      (error) => toastError(error, 'Could not read the command lines'));
  });
  return (model) => (model.peer ? 'peer' : engineOf(entries()[model.id]?.argv || []) || 'unknown');
}

/** Where names lead that are no model of their own: selectors with the target of now, and profiles. */
function routes() {
  const profiles = computed(() => profile().profiles, alike);
  // A new configuration shows in the names it has.
  const names = computed(() => [models().map((model) => model.id), profiles()], alike);
  const { value, complaint } = asked((abort) => api('v1/models', { signal: abort }), names);
  const selectors = computed(() => (value()?.data || []).filter((row) => row.meta?.llamaswap?.type === 'selector')
    .map((row) => ({ ...row, ...row.meta.llamaswap })), alike);
  return h('div', null, complaint, () => {
    const rows = [...selectors().map(selectorRow), ...profiles().map(profileRow)];
    return rows.length > 0 && card('Routes', { class: 'routes' }, h('ul', { class: 'plain-list' }, rows));
  });
}

const routeName = (id, about) => h('div', { class: 'grow' }, h('strong', { class: 'mono' }, id), ' ',
  h('span', { class: 'muted small' }, about));

function selectorRow({ id, description, strategy, spillover, targets }) {
  const next = computed(() => {
    const { active, profiles } = profile();
    const pinned = profiles.find((one) => one.id === active)?.pins?.[id];
    if (pinned !== undefined) return { name: pinned, label: 'Now, by the profile' };
    const { index, isSure } = nextTarget({ strategy, spillover }, targets.map((name) => findTarget(models(), name)));
    return { name: targets[index] || '', label: isSure ? 'Now' : 'Now (est.)' };
  }, alike);
  return h('li', { class: 'route', 'data-route': id }, routeName(id, description),
    h('div', { class: 'row' }, tag('selector'), tag(strategy)),
    h('div', { class: 'row', 'data-now': () => next().name }, h('strong', null, () => next().label),
      () => (next().name ? target(next().name) : 'nobody')),
    h('div', { class: 'row small' }, h('span', { class: 'muted' }, 'of'), targets.map((name) => target(name))));
}

/** A name with the state of the model it leads to, as a link to that. */
function target(name) {
  const id = computed(() => findTarget(models(), name)?.id);
  const face = () => faceOf(modelById(id()) || {});
  return h('span', { class: 'row target' }, () => (id() ? [stateGlyph(face), modelLink(id(), name),
    h('span', { class: 'muted small' }, () => face().word)] : name));
}

const profileRow = ({ id, description, pins: leads = {} }) => h('li', { class: 'route', 'data-profile': id },
  routeName(id, description),
  h('div', { class: 'row' }, tag('profile'), () => profile().active === id && tag('active', 'is-ready')),
  h('div', { class: 'stack pins' }, Object.entries(leads).map(([name, to]) => h('div', { class: 'row small' },
    h('code', null, name), to ? ['leads to ', target(to)] : 'is switched off'))));
