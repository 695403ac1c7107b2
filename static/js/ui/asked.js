// An answer of the server, or what went wrong in its place.
import { subscribe } from '../core/feed.js';
import { serverNow, sum, tick } from '../core/format.js';
import { api, queryText } from '../core/net.js';
import { computed, effect, onCleanup, signal, untracked } from '../core/signal.js';
import { inlineError, skeleton } from './parts.js';

const MOST_ROWS = 999;        // the server gives no more at once

/** what: an address or (abort signal) → promise; asked again when `when()` changes, not at all while that is null.
 *  value() is null until it answers; complaint: a child; view(show): children, what `show` makes of the value. */
export function asked(what, when = () => {}) {
	const value = signal(null);
	const error = signal(null);
	const gone = new AbortController();
	onCleanup(() => gone.abort());
	const read = typeof what === 'function' ? what : (abort) => api(what, { signal: abort });
	let turns = 0;
	let newest = 0;
	const again = () => {
		const turn = ++turns;
		// An older answer may come after a newer one.
		const take = (found, failure = null) => {
			if (turn < newest) return;
			newest = turn;
			if (!failure) value.set(found);
			error.set(failure);
		};
		return read(gone.signal).then(take, (failure) => take(null, failure));
	};
	effect(() => { if (when() !== null) untracked(again); });
	const complaint = () => error() && inlineError(error(), again);
	const view = (show) => [complaint, () => (value() ? untracked(() => show(value())) : !error() && skeleton())];
	return { value, again, complaint, view };
}

export const minute = computed(() => (tick(), Math.floor(serverNow() / 60)));

/** The requests that ended since `from()`, kept up by the stream; rows() is null while nobody knows, more() is '+' when
 *  there were more. */
export function recentRows(from, model) {
	const { value, again, complaint } = asked(`api/metrics/activity${queryText({ model, from: Math.floor(from()),
		limit: MOST_ROWS })}`);
	const newer = signal([]);
	subscribe('requests', ({ op, request }) => {
		// Some ended without our being told; of another run of the server all numbers are void.
		if (op === 'snapshot') again(newer.set([]));
		else if (op === 'done' && request.model === (model || request.model)) {
			newer.update((all) => [request, ...all].slice(0, MOST_ROWS));
		}
	});
	const rows = computed(() => (minute(), value() && [...new Map([...newer(), ...value().data].map((row) => [row.id, row]))
		.values()].filter(({ at }) => at >= from())));
	const more = () => (rows()?.length >= MOST_ROWS ? '+' : '');
	return { rows, more, complaint };
}

/** [{at, items}] for each of the last `count` spans of `seconds`, oldest first. */
export function spansOf(list, seconds, count) {
	const first = Math.floor(serverNow() / seconds) - count + 1;
	const spans = Array.from({ length: count }, (_, i) => ({ at: (first + i) * seconds, items: [] }));
	for (const item of list) spans[Math.floor(item.at / seconds) - first]?.items.push(item);
	return spans;
}

export function meanSpeed(rows) {
	const known = rows.map((row) => row.tokens?.tokens_per_second).filter((speed) => speed > 0);
	return known.length ? sum(known) / known.length : null;
}
