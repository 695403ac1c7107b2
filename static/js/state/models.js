import { subscribe } from '../core/feed.js';
import { announce } from '../core/live.js';
import { setting } from '../core/persist.js';
import { computed, signal } from '../core/signal.js';
import { foldEvent } from '../core/topics.js';
export { pins } from './prefs.js';

const MAX_DISMISSED = 50;

export const alike = (a, b) => JSON.stringify(a) === JSON.stringify(b);

/** Model[] in the server's order; objects are replaced, never changed. */
export const models = signal([]);
export const isLoaded = signal(false);        // an empty list says nothing before the first snapshot
/** {active: id|null, profiles: [{id, description, pins}]} */
export const profile = signal({ active: null, profiles: [] });
const dismissed = setting('dismissed', [], Array.isArray);

const byId = computed(() => new Map(models().map((model) => [model.id, model])));
export const modelById = (id) => byId().get(id) || null;

/** {ready: 2, …} */
export function countBy(list, nameOf) {
	const all = Object.create(null);        // an id may be any word
	for (const item of list) all[nameOf(item)] = (all[nameOf(item)] || 0) + 1;
	return all;
}
export const stateOf = (model) => faceOf(model).state;
export const counts = computed(() => countBy(models(), stateOf), alike);

/** {state, word} */
export function faceOf(model) {
	if (model.peer) return { state: 'peer', word: 'peer' };
	if (model.state === 'stopped' && hasFailure(model)) return { state: 'failed', word: 'failed' };
	if (model.state === 'stopped' && model.queued > 0) return { state: 'queued', word: 'waiting' };
	if (model.state === 'ready' && model.leaving) return { state: 'stopping', word: 'leaving' };
	return { state: model.state, word: model.state === 'starting' ? 'loading' : model.state };
}

export const displayName = (model) => model.name || model.id;
export const hasFailure = (model) => Boolean(model.last_error) && !dismissed().includes(failureKey(model));
export const dismissFailure = (model) => dismissed.update((all) => [...all, failureKey(model)].slice(-MAX_DISMISSED));

// Short: all settings must fit into 8 KB.
const failureKey = (model) => `${model.id.slice(-40)}@${Math.round(model.last_error.at)}`;

export const isOnGpu = (model) => model.memory.gpus?.length > 0;

/** Bytes on all GPUs, of the processes where no GPU is measured, or null. */
export const memoryOf = (model) => (isOnGpu(model) ? model.memory.gpus.reduce((sum, each) => sum + each.bytes, 0)
	: model.memory.rss_bytes);

export function startModels() {
	let held = new Map();
	subscribe('models', (data) => {
		const before = held;
		held = foldEvent('models', held, data);
		if (data.op === 'upsert') announceChange(before.get(data.model.id), data.model);
		models.set([...held.values()]);
		if (data.op === 'snapshot') isLoaded.set(true);
	});
	subscribe('profile', profile.set);
}

function announceChange(before, model) {
	if (!before || before.state === model.state) return;
	const { state, word } = faceOf(model);
	announce(`${displayName(model)} ${word}`, { urgent: state === 'failed' });
}
