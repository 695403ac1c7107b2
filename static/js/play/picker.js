// Which model: everything that can be asked for, with its state, and what asking would do to the others.
import { h } from '../core/dom.js';
import { duration } from '../core/format.js';
import { api } from '../core/net.js';
import { setting } from '../core/persist.js';
import { route, setQuery } from '../core/router.js';
import { computed, effect, onCleanup, signal, untracked } from '../core/signal.js';
import { displayName, faceOf, modelById, models, profile } from '../state/models.js';
import { combobox } from '../ui/combobox.js';
import { stateGlyph } from '../ui/modelparts.js';

const routes = signal([]);          // selectors: names that lead to one of several models
let asked = false;

/** Options for the combobox; those for which `suits(capabilities)` is true come first. */
function options(suits) {
  const known = models().map((model) => ({ value: model.id, label: displayName(model), words: model.aliases.join(' '),
    isFit: Boolean(suits && model.capabilities && suits(model.capabilities)),
      before: () => stateGlyph(() => faceOf(model)),
    hint: [faceOf(model).word, model.peer].filter(Boolean).join(' · ') }));
  const { active, profiles } = profile();
  const pins = Object.keys(profiles.find((each) => each.id === active)?.pins || {});
  const names = [...pins.map((id) => [id, 'profile']), ...routes().map((id) => [id, 'route'])]
    .filter(([id], at, all) => !modelById(id) && all.findIndex(([other]) => other === id) === at);
  return [...known.filter((each) => each.isFit), ...names.map(([id, hint]) => ({ value: id, label: id, hint })),
    ...known.filter((each) => !each.isFit)];
}

export function modelPicker({ value, onchange, suits = null, label = 'Model' }) {
  if (!asked) {
    asked = true;
    const isRoute = (row) => row.meta?.llamaswap?.type === 'selector';
    api('v1/models').then(({ data }) => routes.set(data.filter(isRoute).map((row) => row.id)),
      () => { asked = false; });
  }
  return h('div', { class: 'field' }, h('span', { class: 'label', 'aria-hidden': 'true' }, label),
    combobox({ label, options: computed(() => options(suits)), value, onchange, placeholder: 'Choose a model' }),
      planNote(value));
}

/** The model of a tab: in the address, else the one used last, else one that is ready. */
export function chosenModel(tool) {
  const last = setting(`play.${tool}`, '');
  const value = computed(() => route().query.get('model') || last()
    || (models().find((model) => model.state === 'ready') || models()[0] || { id: '' }).id);
  const choose = (id) => {
    last.set(id);
    setQuery({ model: id });
  };
  return [value, choose];
}

/** "Will unload x": asked again whenever a model changes its state. */
export function planNote(model) {
  const plan = signal(null);
  const states = computed(() => `${model()}\n${models().map((each) => each.id + each.state + each.in_flight).join()}`);
  let timer = null;
  effect(() => {
    states();
    const id = untracked(model);
    clearTimeout(timer);
    timer = setTimeout(async () => {
      const found = id ? await planOf(id) : null;
      if (id === untracked(model)) plan.set(found);
    }, 150);
  });
  onCleanup(() => clearTimeout(timer));
  return h('p', { class: 'small plan', role: 'status', 'data-action': () => plan()?.action },
    () => (plan() ? sentence(plan()) : ''));
}

/** {action, evict, waits_for, reason, load_estimate_ms, …} of the server; null when it does not say. */
export const planOf = (id) => api('api/plan', { query: { model: id } }).catch(() => null);

function sentence({ action, evict = [], reason = '', load_estimate_ms: ms, targets }) {
  const takes = ms ? `, about ${duration(ms)} est.` : '';
  if (action === 'choose') return `Leads to one of ${targets.map((each) => each.model).join(', ')}`;
  if (action === 'serve') return 'Ready';
  if (action === 'start') return `Will be loaded${takes}`;
  if (action === 'join') return `Is loading${takes}`;
  const what = evict.length ? `Will unload ${evict.join(', ')}` : 'Has to wait';
  return `${what}${takes}${action === 'wait' && reason ? `: ${reason}` : ''}`;
}
