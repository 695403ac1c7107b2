// Where names lead that are no model of their own: selectors with the target that would be used now, and profiles.
import { each, h } from '../core/dom.js';
import { api } from '../core/net.js';
import { href } from '../core/router.js';
import { computed, effect, signal, untracked } from '../core/signal.js';
import { displayName, faceOf, models, profile } from '../state/models.js';
import { findTarget, nextTarget } from '../state/modelview.js';
import { selectProfile } from '../ui/actions.js';
import { stateGlyph } from '../ui/modelparts.js';
import { button, card, inlineError, tag } from '../ui/parts.js';

const RULES = { pin: 'always the first', warm: 'the first that is loaded',
  spillover: (most) => `the next one from ${most} ${most === 1 ? 'request' : 'requests'} on` };

export function routes(ctx) {
  const selectors = signal([]);
  const error = signal(null);
  const load = () => api('v1/models', { signal: ctx.signal }).then(({ data }) => {
    error.set(null);
    selectors.set(data.filter((row) => row.meta?.llamaswap?.type === 'selector')
      .map(({ id, name, description, meta }) => ({ ...meta.llamaswap, id, name, description })));
  }, (failed) => { if (failed.name !== 'AbortError') error.set(failed); });
  // A new configuration shows in the names it has.
  const names = computed(() => JSON.stringify([models().map((model) => model.id), profile().profiles]));
  effect(() => {
    names();
    untracked(load);
  });
  const hasAny = computed(() => selectors().length > 0 || profile().profiles.length > 0);
  return h('div', null, () => error() && inlineError(error(), load), () => hasAny() && untracked(() => card('Routes',
    { class: 'routes' }, each(h('ul', { class: 'plain-list' }), selectors, (route) => route.id, selectorRow),
    each(h('ul', { class: 'plain-list' }), () => profile().profiles, (one) => one.id,
      (one) => profileRow(one, (name) => selectors().some((each) => each.id === name))))));
}

function selectorRow(route) {
  const { id } = route.peek();
  const targets = computed(() => route().targets.map((name) => findTarget(models(), name)));
  const next = computed(() => nextTarget(route(), targets()), (a, b) => a.index === b.index && a.isSure === b.isSure);
  const pinned = () => {
    const { active, profiles } = profile();
    const now = profiles.find((each) => each.id === active);
    return now && Object.hasOwn(now.pins || {}, id) ? now.pins[id] || 'nobody' : '';
  };
  const rule = () => (typeof RULES[route().strategy] === 'function' ? RULES[route().strategy](route().spillover || 1)
    : RULES[route().strategy] || '');
  return h('li', { class: 'route', 'data-route': id },
    h('div', { class: 'grow' }, h('strong', { class: 'mono' }, id), ' ', h('span', { class: 'muted small' },
      () => [route().name !== id && route().name, route().description].filter(Boolean).join(': '))),
    h('div', { class: 'row' }, tag('selector'), () => tag(route().strategy), h('span', { class: 'muted small' }, rule)),
    h('div', { class: 'row', 'data-now': () => (next().index < 0 ? '' : route().targets[next().index]) },
      h('strong', null, () => (next().isSure ? 'Now' : 'Now (est.)')),
      () => (next().index < 0 ? 'no target is usable' : target(route().targets[next().index])),
      () => pinned() && h('span', { class: 'muted' }, `but the active profile sends it to ${pinned()}`)),
    h('div', { class: 'row small' }, h('span', { class: 'muted' }, 'of'), () => route().targets.map(target)));
}

/** A name with the state of what it leads to, as a link to that. */
function target(name) {
  const model = computed(() => findTarget(models(), name));
  const face = () => (model() ? faceOf(model()) : { state: 'stopped', word: 'no such model' });
  return h('span', { class: 'row target' }, stateGlyph(face), () => (model() ? h('a', { href: href('models',
    model().id), title: displayName(model()) }, name) : name), h('span', { class: 'muted small' }, () => face().word));
}

function profileRow(one, isSelector) {
  const { id } = one.peek();
  const isActive = () => profile().active === id;
  return h('li', { class: 'route', 'data-profile': id },
    h('div', { class: 'grow' }, h('strong', { class: 'mono' }, id), ' ', h('span', { class: 'muted small' },
      () => one().description)),
    h('div', { class: 'row' }, tag('profile'), () => isActive() && tag('active', 'is-ready'),
      button(() => (isActive() ? 'Deactivate' : 'Activate'), { 'aria-label': () => `${isActive() ? 'Deactivate'
        : 'Activate'} profile ${id}`, onclick: () => selectProfile(isActive() ? null : id) })),
    h('div', { class: 'stack pins' }, () => Object.entries(one().pins || {}).map(([name, to]) => h('div', {
      class: 'row small' }, h('code', null, name), to ? ['leads to ', isSelector(to)
        ? [h('code', null, to), tag('selector')] : target(to)] : 'is switched off'))));
}
