// Requests under way, and those that ended during this visit.
import { subscribe } from '../core/feed.js';
import { signal } from '../core/signal.js';
import { foldEvent } from '../core/topics.js';

const MAX_DONE = 200;

/** In the order of arrival. */
export const live = signal([]);
/** Rows, newest first. */
export const done = signal([]);

export const isWaiting = ({ phase }) => phase === 'queued' || phase === 'loading';

/** run(row) for each that ends, as long as the current scope. */
export const onDone = (run) => subscribe('requests', ({ op, request }) => { if (op === 'done') run(request); });

export function startRequests() {
	let held = new Map();
	subscribe('requests', (data) => {
		held = foldEvent('requests', held, data);
		live.set([...held.values()]);
	});
	onDone((row) => done.update((all) => [row, ...all.filter(({ id }) => id !== row.id)].slice(0, MAX_DONE)));
}
