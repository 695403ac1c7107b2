// A row keeps its element when its request ends.
import { each, h, icon, inRow } from '../core/dom.js';
import { download } from '../core/clipboard.js';
import { subscribe } from '../core/feed.js';
import { num } from '../core/format.js';
import { shortcut } from '../core/keys.js';
import { api, apiFetch } from '../core/net.js';
import { go, href, route, setQuery } from '../core/router.js';
import { computed, effect, onCleanup, signal, untracked } from '../core/signal.js';
import { alike } from '../state/models.js';
import { API, apiQuery, complaint, filterChanges, passes, readTokens, viewOf } from '../state/requestquery.js';
import { done, live } from '../state/requests.js';
import { asked } from './asked.js';
import { menuButton } from './menu.js';
import { button, emptyState, iconButton, select, skeleton } from './parts.js';
import { cancel, isLive, tableColumns, text } from './requestcells.js';
import { toastError } from './toast.js';

const REFETCH_MS = 1500;
const FORMS = [['csv', 'CSV'], ['jsonl', 'JSON lines'], ['md', 'Markdown']];
const SIZES = [25, 50, 100, 250, 500];
const change = (changes) => setQuery({ page: null, ...changes }, { push: true });
/** Of the request that the address names, or null. */
export const shownId = () => (route().page === 'requests' && Number(route().id)) || null;

/** `model`: of this one alone. Element with `.filters()`, `.focusRow(id)`, `.link(id)`, `.step(id, ±1)` → id of the
 *  neighbour or undefined. */
export function requestsTable({ model = '' } = {}) {
	const list = historyOf(model);
	const link = (id) => href('requests', id, model ? { model } : route().query);
	const { shown, chooser } = tableColumns(link);
	const body = rowsOf(list.rows, shown, link);
	const element = h('div', { class: 'stack requests' },
		inRow(
			h('span', { class: 'muted num' }, () => `${num(list.running().length)} under way, ${num(list.total())} finished`),
			h('div', { class: 'row end' }, button(() => (list.held() ? `Resume (${num(list.unseen())} new)` : 'Pause'),
				{ icon: 'pause', onclick: list.pause }), chooser,
			menuButton('Export', () => exports(list, model), { icon: 'download' }))),
		list.failure,
		h('div', { class: 'table-box' }, h('table', { class: 'table' }, h('caption', { class: 'vh' }, 'Requests'),
			h('thead', null, h('tr', null, () => shown().map((column) => head(column, list.view)))), body),
		() => !list.rows().length && nothing(list, model)),
		pager(list));
	return Object.assign(element, { filters: list.filters, link,
		focusRow(id) {
			const row = body.querySelector(`[data-request="${id}"]`);
			row?.focus();
			return Boolean(row);
		},
		step: (id, by) => untracked(() => neighbour(list, id, by)) });
}

const byId = (rows) => new Map(rows.map((row) => [row.id, row]));

/** The part of the history that the address asks for, below what is under way. */
function historyOf(model) {
	const filters = computed(() => (model ? [['model', model]]
		: readTokens(route().query).filter((token) => !complaint(token))), alike);
	const view = computed(() => viewOf(route().query), alike);
	const isNewestFirst = computed(() => view().sort === 'time' && view().order === 'desc');
	const fresh = signal([]);            // ended since, newest first
	const held = signal(null);           // the rows at the time of the pause
	let timer = 0;
	effect(() => {
		filters();
		view();
		held.set(null);
		fresh.set([]);
	});
	const { value: got, complaint: failure, again } = asked(async (abort) => {
		timer = clearTimeout(timer);
		const before = fresh.peek();
		const page = await api(API, { query: apiQuery(filters.peek(), view.peek()), signal: abort });
		// What ended before we asked is in it.
		fresh.update((all) => all.filter((row) => !before.includes(row)));
		// An old link may name a page that is no more.
		const last = page.total_pages || 1;
		if (view.peek().page > last) setQuery({ page: last });
		return page;
	}, () => [filters(), view()]);
	const askSoon = () => { timer ||= setTimeout(again, REFETCH_MS); };
	onCleanup(() => clearTimeout(timer));
	subscribe('requests', ({ op, request }) => {
		if (op === 'done' && passes(filters.peek(), request)) {
			fresh.update((all) => [request, ...all]);
			if (!isNewestFirst.peek() || fresh.peek().length > view.peek().limit) askSoon();
		} else if (got.peek() && (op === 'gone' || op === 'snapshot')) {
			askSoon();       // some ended without our being told how
		}
	});

	const running = computed(() => live().filter((row) => passes(filters(), row)).reverse());
	const current = computed(() => {
		const stored = got()?.data || [];
		if (view().page > 1) return stored;
		const ended = [...byId([...fresh(), ...stored]).values()];
		if (isNewestFirst()) ended.sort((a, b) => b.id - a.id);
		return [...running(), ...ended.slice(0, view().limit)];
	});
	const rows = computed(() => {
		if (!held()) return current();
		const now = byId([...done(), ...current()]);
		return held().map((row) => now.get(row.id) || row);
	});
	return { filters, view, isNewestFirst, got, failure, running, rows, held,
		total: () => got() && got().total + fresh().length,
		pause: () => held.update((all) => (all ? null : current.peek())),
		unseen: () => current().filter((row) => !held().some(({ id }) => id === row.id)).length };
}

/** One row is a tab stop: j, k or arrows move it. */
function rowsOf(rows, shown, link) {
	const current = signal(null);
	const stop = computed(() => (rows().find(({ id }) => id === current()) || rows()[0])?.id);
	const move = (by) => {
		const all = [...body.children];
		const at = all.findIndex((row) => row.contains(document.activeElement)) + by;
		all[Math.max(0, Math.min(at, all.length - 1))]?.focus();
	};
	const body = each(h('tbody'), rows, ({ id }) => id, (item) => {
		const { id } = item.peek();
		return h('tr', { 'data-request': id, 'data-phase': text((row) => row.phase || 'done')(item),
			tabindex: () => (stop() === id ? '0' : '-1'), 'aria-selected': () => String(shownId() === id),
			onfocus: () => current.set(id),
			onclick: ({ target }) => { if (!target.closest('a, button') && !String(getSelection())) go(link(id)); },
			onkeydown: (event) => {
				const act = event.target === event.currentTarget && { ArrowDown: () => move(1), ArrowUp: () => move(-1),
					Enter: () => go(link(id)) }[event.key];
				if (!act) return;
				event.preventDefault();
				act();
			} },
		() => shown().map(({ class: look, cell }) => h('td', { class: look }, cell(item))));
	});
	shortcut('j', 'Next row', () => move(1));
	shortcut('k', 'Previous row', () => move(-1));
	shortcut('x', 'Cancel request', () => {
		const id = Number(document.activeElement.closest('[data-request]')?.dataset.request) || untracked(shownId);
		return live.peek().some((row) => row.id === id) && void cancel(id);
	});
	return body;
}

function head({ key, label, title, class: look, unsorted }, view) {
	const order = () => view().sort === key && view().order;
	return h('th', { scope: 'col', class: look, title, 'aria-sort': () => order() && `${order()}ending` },
		unsorted ? label : h('button', { type: 'button',
			onclick: () => change({ sort: (order() === 'desc' ? '' : '-') + key }) }, label,
		() => order() && icon(order() === 'asc' ? 'sort-up' : 'sort-down')));
}

function pager({ view, got }) {
	const last = () => got()?.total_pages || 1;
	const turn = (name, label, by) => iconButton(name, label, { onclick: () => change({ page: view().page + by }),
		disabled: () => view().page + by < 1 || view().page + by > last() });
	return h('nav', { class: 'pager', 'aria-label': 'Pages of the list' }, turn('left', 'Previous page', -1),
		h('span', { class: 'num' }, () => `Page ${num(view().page)} of ${num(last())}`), turn('right', 'Next page', 1),
		h('label', { class: 'row end' }, 'Rows', select(SIZES.map((n) => [n, n]), { value: () => view().limit,
			onchange: (size) => change({ size }) })));
}

/** In the order shown; beyond its ends, and from an old link, by number. */
async function neighbour({ rows, filters, isNewestFirst }, id, by) {
	const at = rows().findIndex((row) => row.id === id);
	if (at >= 0 && rows()[at + by]) return rows()[at + by].id;
	if ((at >= 0 && !isNewestFirst()) || id <= by) return undefined;
	const [bound, order] = by > 0 ? ['max_id', 'desc'] : ['min_id', 'asc'];
	const query = apiQuery(filters(), { [bound]: id - by, order, limit: 1 });
	return (await api(API, { query })).data[0]?.id;
}

function nothing({ got, failure, filters }, model) {
	if (!got()) return !failure() && skeleton();
	if (model || !filters().length) {
		return emptyState({ icon: 'requests', title: 'No requests yet', text: 'They appear here as they arrive.' });
	}
	return emptyState({ title: 'No request matches the filter',
		actions: [button('Clear the filter', { onclick: () => change(filterChanges([])) })] });
}

function exports({ filters, rows, isNewestFirst }, model) {
	const ids = rows().filter((row) => !isLive(row)).map((row) => row.id);
	// The server writes a range of numbers, which only the newest first are.
	const isRange = ids.length > 0 && isNewestFirst();
	return [isRange && ['This page', filters(), { min_id: Math.min(...ids), max_id: Math.max(...ids) }],
		['All that match', filters()], !model && ['Everything', []]].filter(Boolean).flatMap(([name, asked, more]) =>
		FORMS.map(([format, label]) => ({ label: `${name} as ${label}`,
			run: () => save(apiQuery(asked, { ...more, format }), format) })));
}

async function save(query, format) {
	try {
		const reply = await apiFetch(API, { query });
		download(`requests.${format}`, [await reply.blob()], reply.headers.get('content-type'));
	} catch (error) {
		toastError(error, 'Could not export');
	}
}
