// The list behind a table of requests: which part of the history the address asks for, with what is under way on top.
import { subscribe } from '../core/feed.js';
import { api } from '../core/net.js';
import { route } from '../core/router.js';
import { computed, effect, onCleanup, signal, untracked } from '../core/signal.js';
import { done, live } from './requests.js';
import { apiQuery, passes, readFilters, viewOf } from './requestquery.js';

export const API = 'api/metrics/activity';
const REFETCH_MS = 1500;
const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);

/** Until the current scope ends. `model`: of this one alone. What is returned are functions, most of them live. */
export function requestHistory(model) {
	const filters = computed(() => (model ? [['model', model]] : readFilters(route().query)), same);
	const view = computed(() => viewOf(route().query), same);
	const isNewestFirst = computed(() => view().sort === 'time' && view().order === 'desc');
	const got = signal(null);            // a page of the API
	const error = signal(null);
	const fresh = signal([]);            // rows that ended since, newest first
	const held = signal(null);           // the rows at the time of the pause
	let [abort, timer] = [null, null];

	const load = async () => {
		stop();
		abort = new AbortController();
		const before = fresh.peek();
		try {
			got.set(await api(API, { query: apiQuery(filters.peek(), view.peek()), signal: abort.signal }));
			// What ended before we asked is in the answer.
			fresh.update((all) => all.filter((row) => !before.includes(row)));
			error.set(null);
		} catch (failed) {
			if (failed.name !== 'AbortError') error.set(failed);
		}
	};
	const loadSoon = () => { timer ||= setTimeout(load, REFETCH_MS); };
	const stop = () => {
		abort?.abort();
		timer = clearTimeout(timer);
	};
	onCleanup(stop);
	effect(() => {
		filters();
		view();
		held.set(null);
		fresh.set([]);
		untracked(load);
	});
	subscribe('requests', ({ op, request }) => {
		if (op === 'done' && passes(filters.peek(), request)) {
			fresh.update((all) => [request, ...all]);
			if (!isNewestFirst.peek() || fresh.peek().length > view.peek().limit) loadSoon();
		} else if (got.peek() && (op === 'gone' || op === 'snapshot')) {
			loadSoon();       // some ended without our being told how
		}
	});

	const running = computed(() => live().filter((row) => passes(filters(), row)).reverse());
	const byId = (...lists) => new Map(lists.flat().map((row) => [row.id, row]));
	const current = computed(() => {
		const stored = got()?.data || [];
		if (view().page > 1) return stored;
		const ended = [...byId(stored, fresh()).values()];
		ended.sort((a, b) => (isNewestFirst() ? b.id - a.id : fresh().includes(b) - fresh().includes(a)));
		return [...running(), ...ended.slice(0, view().limit)];
	});
	const rows = computed(() => {
		const now = held() && byId(done(), current());
		return held() ? held().map((row) => now.get(row.id) || row) : current();
	});
	return { filters, view, isNewestFirst, error, load, running, rows, got,
		total: () => got() && got().total + fresh().length,
		isHeld: () => held() !== null,
		hold: (isOn) => held.set(isOn ? current.peek() : null),
		unseen: () => current().filter((row) => !held().some((each) => each.id === row.id)).length };
}
