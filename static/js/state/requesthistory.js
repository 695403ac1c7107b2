// The list behind a table of requests: which part of the history the address asks for, with what is under way on top.
import { subscribe } from '../core/feed.js';
import { api } from '../core/net.js';
import { route } from '../core/router.js';
import { computed, effect, onCleanup, signal, untracked } from '../core/signal.js';
import { done, live } from './requests.js';
import { SIZES, addFilters, apiQuery, passes, readFilters, viewOf } from './requestquery.js';

export const API = 'api/metrics/activity';
const REFETCH_MS = 1500;
const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);

/** Until the current scope ends. `model`: of this one alone. What is returned are functions, most of them live. */
export function requestHistory(model) {
  const filters = computed(() => {
    const { valid } = readFilters(route().query);
    return model ? addFilters(valid.filter(([name]) => name !== 'model'), [['model', model]]) : valid;
  }, same);
  const view = computed(() => viewOf(route().query), same);
  const isNewestFirst = () => view().sort.key === 'time' && view().sort.dir === 'desc';
  const got = signal(null);            // {rows, total, pages, before: what `finished` was then}
  const error = signal(null);
  const isBusy = signal(false);
  const fresh = signal([]);            // rows that ended since
  const finished = signal(0);
  const held = signal(null);           // the rows at the time of the pause
  let [abort, timer] = [null, null];

  /** What to send for `page`, by default the one shown; what the server takes for granted is left out. */
  const query = (page = view.peek().page) => {
    const asked = apiQuery(filters.peek());
    const { size, sort } = view.peek();
    if (page > 1) asked.set('page', page);
    if (size !== SIZES[0]) asked.set('limit', size);
    if (sort.key !== 'time' || sort.dir !== 'desc') asked.set('sort', sort.key);
    if (sort.dir !== 'desc') asked.set('order', sort.dir);
    return asked;
  };
  const load = async () => {
    abort?.abort();
    abort = new AbortController();
    const before = finished.peek();
    isBusy.set(true);
    try {
      const page = await api(API, { query: query(), signal: abort.signal });
      got.set({ rows: page.data, total: page.total, pages: page.total_pages, before });
      // What ended before we asked is in the answer.
      fresh.update((all) => all.filter((each) => each.at > before));
      error.set(null);
    } catch (failed) {
      if (failed.name === 'AbortError') return;
      error.set(failed);
    }
    isBusy.set(false);
  };
  const loadSoon = () => {
    timer ||= setTimeout(() => { timer = null; load(); }, REFETCH_MS);
  };
  onCleanup(() => { abort?.abort(); clearTimeout(timer); });
  effect(() => {
    filters();
    view();
    held.set(null);
    untracked(load);
  });
  subscribe('requests', ({ op, request }) => {
    if (op === 'done' && passes(filters.peek(), request)) {
      finished.update((n) => n + 1);
      fresh.update((all) => [{ row: request, at: finished.peek() }, ...all].slice(0, view.peek().size));
      if (view.peek().page === 1 && !untracked(isNewestFirst)) loadSoon();
    } else if (got.peek() && (op === 'gone' || op === 'snapshot')) {
      loadSoon();       // some ended without our being told how
    }
  });

  const running = computed(() => (view().page > 1 ? [] : live().filter((row) => passes(filters(), row)).reverse()));
  const current = computed(() => {
    const seen = new Set(running().map((row) => row.id));
    const add = (list) => list.filter((row) => !seen.has(row.id) && seen.add(row.id));
    const stored = got() ? got().rows : [];
    if (view().page > 1) return stored;
    const ended = [...add(fresh().map((each) => each.row)), ...add(stored)];
    if (isNewestFirst()) ended.sort((a, b) => b.id - a.id);
    return [...running(), ...ended.slice(0, view().size)];
  });
  const rows = computed(() => {
    if (!held()) return current();
    const now = new Map([...done(), ...current()].map((row) => [row.id, row]));
    return held().map((row) => now.get(row.id) || row);
  });
  return {
    filters, view, isNewestFirst, isBusy, error, load, query, running, rows, finished,
    isLoaded: () => got() !== null,
    stored: () => (got() ? got().rows : []),
    total: () => (got() ? got().total + finished() - got().before : null),
    pages: () => got() && got().pages,
    isHeld: () => held() !== null,
    hold: (isOn) => held.set(isOn ? current.peek() : null),
    unseen: () => current().filter((row) => !held().some((each) => each.id === row.id)).length,
  };
}

/** The row after (by = 1) or before `id` in the order shown: {id, page} or null. It may be on another page. */
export async function neighbour({ rows, view, query, pages }, id, by) {
  const list = untracked(rows);
  const { page } = view.peek();
  const at = list.findIndex((row) => row.id === id);
  if (at >= 0 && list[at + by]) return { id: list[at + by].id, page };
  const to = at < 0 ? page : page + by;
  if (to < 1 || to > (untracked(pages) || 1)) return null;
  const asked = query(to);
  if (at < 0) {
    // Not among the rows shown, for instance from an old link: its neighbours by number.
    const [bound, nearer] = by > 0 ? ['max_id', Math.min] : ['min_id', Math.max];
    const own = Math.max(1, id - by);
    asked.set(bound, String(asked.has(bound) ? nearer(own, Number(asked.get(bound))) : own));
    ['page', 'sort'].forEach((name) => asked.delete(name));
    asked.set('order', by > 0 ? 'desc' : 'asc');
    asked.set('limit', '1');
  }
  const { data } = await api(API, { query: asked });
  const found = data[by > 0 || at < 0 ? 0 : data.length - 1];
  return found && found.id !== id ? { id: found.id, page: to } : null;
}
