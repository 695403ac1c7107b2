// Requests under way, and those that ended while this page was open.
import { subscribe } from '../core/feed.js';
import { onCleanup, signal } from '../core/signal.js';
import { foldEvent } from '../core/topics.js';

const MAX_DONE = 200;

/** Live[] in the order of arrival. */
export const live = signal([]);
/** Finished rows of this visit, newest first, at most 200. */
export const done = signal([]);
const listeners = new Set();

/** Calls `run(row)` for each request that ends, until the current scope ends. */
export function onDone(run) {
	listeners.add(run);
	onCleanup(() => listeners.delete(run));
}

export function startRequests() {
	let held = new Map();
	subscribe('requests', (data) => {
		held = foldEvent('requests', new Map(held), data);
		live.set([...held.values()]);
		if (data.op !== 'done') return;
		done.update((all) => [data.request, ...all.filter((row) => row.id !== data.request.id)].slice(0, MAX_DONE));
		for (const each of listeners) each(data.request);
	});
}
