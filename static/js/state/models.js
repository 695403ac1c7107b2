// The models as the server last told them, and what may be said about each.
import { subscribe } from '../core/feed.js';
import { setting } from '../core/persist.js';
import { computed, signal } from '../core/signal.js';
import { foldEvent } from '../core/topics.js';
import { announce } from '../core/live.js';
export { pins, togglePin } from './prefs.js';

const MAX_DISMISSED = 50;

/** Model[] in the order of the server; objects are replaced, never changed. */
export const models = signal([]);
/** False until the first snapshot: nothing may be said about an empty list before. */
export const isLoaded = signal(false);
/** {active: id|null, profiles: [{id, description, pins}]} */
export const profile = signal({ active: null, profiles: [] });
const dismissed = setting('dismissed', [], Array.isArray);

const byId = computed(() => new Map(models().map((model) => [model.id, model])));
export const modelById = (id) => byId().get(id) || null;

/** {ready, starting, stopping, failed, stopped, peer, queued (requests), running (requests)} */
export const counts = computed(() => {
  const all = { ready: 0, starting: 0, stopping: 0, failed: 0, stopped: 0, queued: 0, peer: 0, waiting: 0, running: 0 };
  for (const model of models()) {
    all[faceOf(model).state]++;
    all.waiting += model.queued || 0;
    all.running += model.in_flight || 0;
  }
  return all;
}, (a, b) => JSON.stringify(a) === JSON.stringify(b));

const WORDS = { ready: 'ready', starting: 'loading', stopping: 'stopping', stopped: 'stopped' };

/** What to show for a model: {state, word}. A failure is shown until it is dismissed or a start succeeds. */
export function faceOf(model) {
  if (model.kind === 'peer') return { state: 'peer', word: 'peer' };
  if (model.state === 'stopped' && hasFailure(model)) return { state: 'failed', word: 'failed' };
  if (model.state === 'stopped' && model.queued > 0) return { state: 'queued', word: 'waiting' };
  if (model.state === 'ready' && model.leaving) return { state: 'stopping', word: 'leaving' };
  return { state: WORDS[model.state] ? model.state : 'stopped', word: WORDS[model.state] || model.state || 'unknown' };
}

export const displayName = (model) => model.name || model.id;
export const hasFailure = (model) => Boolean(model.last_error) && !isDismissed(model);
export const isDismissed = (model) => dismissed().includes(failureKey(model));

export function dismissFailure(model) {
  dismissed.update((all) => [...all, failureKey(model)].slice(-MAX_DISMISSED));
}

/** Bytes on all GPUs, or of the processes where no GPU is measured; null when nobody knows. */
export function memoryOf(model) {
  const { gpus, rss_bytes: resident = null } = model.memory || {};
  return gpus && gpus.length ? gpus.reduce((sum, each) => sum + each.bytes, 0) : resident;
}

export const isOnGpu = (model) => Boolean(model.memory && model.memory.gpus && model.memory.gpus.length);

export function startModels() {
  let held = new Map();
  subscribe('models', (data) => {
    const before = held;
    held = new Map(foldEvent('models', new Map(held), data));
    if (data.op === 'upsert') announceChange(before.get(data.model.id), data.model);
    models.set([...held.values()]);
    if (data.op === 'snapshot') isLoaded.set(true);
  });
  subscribe('profile', (data) => profile.set({ active: data.active ?? null, profiles: data.profiles || [] }));
}

function announceChange(before, model) {
  if (!before || before.state === model.state) return;
  const face = faceOf(model);
  announce(`${displayName(model)} ${face.word}`, { urgent: face.state === 'failed' });
}

// Model ids can be long; which failure it was is all that must be told apart.
const failureKey = (model) => `${model.id.slice(-40)}@${Math.round(model.last_error ? model.last_error.at : 0)}`;
