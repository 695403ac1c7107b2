// One model in the list: state, name, what can be done, what it is, what it costs; and what happens to it right now.
import { h } from '../core/dom.js';
import { ago, tick } from '../core/format.js';
import { href } from '../core/router.js';
import { computed } from '../core/signal.js';
import { alike, displayName, faceOf, pins, stateOf } from '../state/models.js';
import { capabilityTags } from '../state/modelview.js';
import { copyId, modelMenu } from '../ui/modelmenu.js';
import { costs, happening, modelAction, stateBadge } from '../ui/modelparts.js';
import { tag } from '../ui/parts.js';

const CONFIGURED = ['id', 'name', 'aliases', 'description', 'capabilities', 'unlisted', 'peer'];
const MAX_TAGS = 4;
const LONG = 90;        // characters of a description that may not fit into a line

/** isShown(id), today(model) → text: both live. Returns item => element for each(). */
export const modelRow = ({ isShown, today }) => (model) => {
  const { id } = model.peek();
  // Made anew when the configuration changes, not with each new number, so that what is unfolded stays so.
  const configured = computed(() => Object.fromEntries(CONFIGURED.map((name) => [name, model()[name]])), alike);
  return h('li', { class: 'model', 'data-model': id, 'data-state': () => stateOf(model()), hidden: () => !isShown(id) },
    h('div', { class: 'model-line' }, stateBadge(() => faceOf(model())),
      h('div', { class: 'model-name' },
        h('a', { class: 'clip', href: href('models', id), title: id }, () => displayName(model()),
          () => pins().includes(id) && h('span', { class: 'muted small' }, ' pinned')), () => names(configured())),
      h('div', { class: 'model-do' }, modelAction(model), modelMenu(model)),
      h('div', { class: 'model-text' }, () => texts(configured())),
      h('div', { class: 'model-facts num muted small' }, costs(model),
        h('span', null, () => [today(model()), model().last_used_at && (tick(), `used ${ago(model().last_used_at)}`)]
          .filter(Boolean).join(', ')))),
    happening(model));
};

export const idButton = (id) => h('button', { type: 'button', class: 'copy-id mono', title: 'Copy this id',
  onclick: () => copyId(id) }, id);

function names({ id, name, aliases }) {
  const parts = [name && name !== id && idButton(id), aliases.length > 0 && ` also ${aliases.join(', ')}`];
  return parts.some(Boolean) && h('span', { class: 'muted small clip', title: aliases.join(', ') }, parts);
}

export function tagsOf(model) {
  const all = capabilityTags(model);
  const rest = all.splice(MAX_TAGS);
  const context = model.capabilities?.context;
  return [...all.map((text) => tag(text)), rest.length > 0 && h('span', { class: 'tag', title: rest.join(', ') },
    `+${rest.length}`), context && tag(`${context < 1024 ? context : `${Math.round(context / 1024)}k`} context`),
  model.unlisted && tag('unlisted'), model.peer && tag(`peer ${model.peer}`)].filter(Boolean);
}

function texts(model) {
  const { description: text } = model;
  const tags = tagsOf(model);
  return [tags.length > 0 && h('div', { class: 'row tags' }, tags), text.length > LONG
    ? h('details', { class: 'muted small' }, h('summary', null, text))
    : h('div', { class: 'muted small wrap' }, text)];
}
