// Which models a list shows, in which order and groups, and which target a route leads to: from values to values.
import { displayName, faceOf, memoryOf } from './models.js';

export const GROUPS = [['', 'Nothing'], ['group', 'Group'], ['capability', 'Capability'], ['engine', 'Engine'],
  ['peer', 'Machine']];
export const SORTS = [['', 'Name'], ['state', 'State'], ['used', 'Last used'], ['count', 'Most used'],
  ['memory', 'Memory']];
const STATES = ['ready', 'starting', 'queued', 'stopping', 'failed', 'stopped', 'peer'];
const names = new Intl.Collator(undefined, { numeric: true, sensitivity: 'base' });
const haystacks = new WeakMap();          // models are replaced, never changed, so a text stays right

/** What is asked of the list by the address. */
export function viewOf(query) {
  const oneOf = (name, list) => (list.some(([key]) => key === query.get(name)) ? query.get(name) : '');
  return { words: (query.get('q') || '').toLowerCase().split(/\s+/).filter(Boolean), group: oneOf('group', GROUPS),
    states: query.getAll('state').filter((state) => STATES.includes(state)), sort: oneOf('sort', SORTS),
    unlisted: query.get('unlisted') === '1', compact: query.get('compact') === '1' };
}

/** What it can do beyond text, in words. */
export function capabilityTags(model) {
  const has = model.capabilities;
  if (!has) return [];
  const turns = (from, to) => has.in.includes(from) && has.out.includes(to);
  const tags = [has.in.includes('image') && 'vision', turns('audio', 'text') && 'transcription',
    turns('text', 'audio') && 'speech', turns('text', 'image') && 'images', turns('image', 'image') && 'image editing',
    has.reranker && 'reranker', has.tools && 'tools'].filter(Boolean);
  return tags.length || !has.in.length ? tags : ['text'];
}

export function matches(model, words) {
  if (!words.length) return true;
  let text = haystacks.get(model);
  if (text === undefined) {
    text = [model.id, model.name, ...model.aliases, model.description, model.group || '', model.peer,
      ...capabilityTags(model)].join('\n').toLowerCase();
    haystacks.set(model, text);
  }
  return words.every((word) => text.includes(word));
}

/** [{name, models}], pinned ones first in each. `count` and `engine` are functions of a model. */
export function arrange(models, { group, sort }, { pins, count, engine }) {
  const weight = {
    state: (model) => -STATES.indexOf(faceOf(model).state), used: (model) => model.last_used_at || 0, count,
    memory: (model) => memoryOf(model) || 0, '': () => 0,
  }[sort];
  const place = {
    '': () => '', group: (model) => model.group || (model.kind === 'peer' ? 'Peers' : 'No group'), engine,
    capability: (model) => capabilityTags(model)[0] || 'not declared',
    peer: (model) => (model.peer ? `Peer ${model.peer}` : 'This machine'),
  }[group];
  const rows = models.map((model) => ({ model, pinned: pins.includes(model.id), weight: weight(model),
    name: displayName(model) }));
  rows.sort((a, b) => b.pinned - a.pinned || b.weight - a.weight || names.compare(a.name, b.name));
  const groups = new Map();
  for (const { model } of rows) {
    const name = place(model);
    if (!groups.has(name)) groups.set(name, { name, models: [] });
    groups.get(name).models.push(model);
  }
  return [...groups.values()].sort((a, b) => names.compare(a.name, b.name));
}

/** The program that serves it, from its command line: llama-server, vllm, docker, … */
export function engineOf(argv) {
  const base = (path = '') => path.split(/[\\/]/).pop().replace(/\.exe$/i, '');
  const module = argv.indexOf('-m');
  return /^python[\d.]*$/.test(base(argv[0])) && module > 0 && argv[module + 1] ? argv[module + 1] : base(argv[0]);
}

/**
 * What a name of the configuration leads to: a Model or null. Of a peer's models the bare name serves when only one
 * peer has it.
 */
export function findTarget(models, name) {
  const own = models.find((model) => model.id === name) || models.find((model) => model.aliases.includes(name));
  if (own) return own;
  const offers = models.filter((model) => model.kind === 'peer' && model.id === `${model.peer}/${name}`);
  return offers.length === 1 ? offers[0] : null;
}

/**
 * Where a request for a selector would go now, by the rules of its strategy: an index or -1. With spillover the
 * server also knows whom it chose last, so of equals this is a guess: `isSure` is false then.
 */
export function nextTarget({ strategy, spillover = 1 }, targets) {
  const state = (model) => (model ? model.state : '');
  if (strategy === 'warm') {
    const found = ['ready', 'starting'].map((wanted) => targets.findIndex((model) => state(model) === wanted))
      .find((index) => index >= 0);
    return { index: found ?? (targets.length ? 0 : -1), isSure: true };
  }
  if (strategy !== 'spillover') return { index: targets.length ? 0 : -1, isSure: true };
  const load = (index) => (targets[index] ? targets[index].in_flight + targets[index].queued : 0);
  const usable = targets.map((_, index) => index).filter((index) => state(targets[index]) !== 'stopping');
  const isActive = (index) => load(index) > 0 || ['ready', 'starting'].includes(state(targets[index]));
  const active = usable.filter(isActive);
  const cold = usable.find((index) => !isActive(index));
  const least = active.length ? Math.min(...active.map(load)) : spillover;
  if (least >= spillover && cold !== undefined) return { index: cold, isSure: true };
  const ties = active.filter((index) => load(index) === least);
  return { index: ties.length ? ties[0] : -1, isSure: ties.length < 2 };
}
