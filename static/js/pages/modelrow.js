// One model in the list: state, name, what can be done, what it is, what it costs; and what happens to it right now.
import { h } from '../core/dom.js';
import { ago, tick } from '../core/format.js';
import { href } from '../core/router.js';
import { computed, untracked } from '../core/signal.js';
import { displayName, faceOf, pins } from '../state/models.js';
import { capabilityTags } from '../state/modelview.js';
import { copyId, modelMenu } from '../ui/modelmenu.js';
import { failure, idleText, loadProgress, memoryText, modelAction, stateBadge } from '../ui/modelparts.js';
import { tag } from '../ui/parts.js';

const MAX_TAGS = 4;
const LONG = 90;        // characters of a description that may not fit into a line

/** isShown(id), today(id) → text: both live. Returns item => element for each(). */
export const modelRow = ({ isShown, today }) => (model) => {
  const { id } = model.peek();
  const face = computed(() => faceOf(model()), (a, b) => a.state === b.state && a.word === b.word);
  // What the configuration says: rebuilt when that changes, not with each new number, so that what is unfolded stays.
  const info = computed(() => JSON.stringify([model().name, model().aliases, model().description,
    model().capabilities, model().unlisted]));
  const isReady = () => face().state === 'ready' || model().state === 'ready';
  return h('li', { class: 'model', 'data-model': id, 'data-state': () => face().state, hidden: () => !isShown(id) },
    h('div', { class: 'model-line' },
      stateBadge(face),
      h('div', { class: 'model-name' },
        h('a', { class: 'clip', href: href('models', id), title: id }, () => displayName(model()),
          () => pins().includes(id) && h('span', { class: 'muted small' }, ' pinned')),
        () => info() && untracked(() => names(model.peek()))),
      h('div', { class: 'model-do' }, modelAction(model), modelMenu(model)),
      h('div', { class: 'model-text' }, () => info() && untracked(() => about(model.peek()))),
      h('div', { class: 'model-facts num muted small' },
        h('span', null, () => (isReady() ? memoryText(model()) : '')),
        h('span', null, () => (isReady() ? idleText(model()) : '')),
        h('span', null, () => usedText(model(), today(id))))),
    () => face().state === 'starting' && loadProgress(model),
    () => waitingText(model()) && h('p', { class: 'muted small' }, () => waitingText(model())),
    failure(model));
};

/** Why it is not serving although somebody wants it to. */
export function waitingText({ state, queued, waiting_for: cause }) {
  if (!queued || state === 'ready') return '';
  return `${queued} ${queued === 1 ? 'request waits' : 'requests wait'}${cause ? `: ${cause}` : ''}`;
}

function names({ id, name, aliases }) {
  if (!aliases.length && (!name || name === id)) return null;
  return h('span', { class: 'muted small clip' }, name && name !== id && h('button', { type: 'button',
    class: 'copy-id mono', title: 'Copy this id', onclick: () => copyId(id) }, id),
  aliases.length > 0 && h('span', { title: aliases.join(', ') }, ` also ${aliases.join(', ')}`));
}

export function tagsOf(model) {
  const all = capabilityTags(model);
  const { context } = model.capabilities || {};
  const size = context && (context < 1024 ? context : `${Math.round(context / 1024)}k`);
  return [...all.slice(0, MAX_TAGS).map((text) => tag(text)), all.length > MAX_TAGS && h('span', { class: 'tag',
    title: all.slice(MAX_TAGS).join(', ') }, `+${all.length - MAX_TAGS}`), size && tag(`${size} context`),
  model.unlisted && tag('unlisted'), model.peer && tag(`peer ${model.peer}`)];
}

function about(model) {
  const text = model.description;
  const tags = tagsOf(model).filter(Boolean);
  return [tags.length > 0 && h('div', { class: 'row tags' }, tags), text.length > LONG
    ? h('details', { class: 'muted small' }, h('summary', null, text))
    : text && h('div', { class: 'muted small wrap' }, text)];
}

function usedText(model, today) {
  const parts = [today, model.last_used_at ? (tick(), `used ${ago(model.last_used_at)}`) : ''];
  return parts.filter(Boolean).join(', ');
}
