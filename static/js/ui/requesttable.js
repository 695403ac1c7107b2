// Requests: those under way on top, the history below. A row keeps its element when its request ends, and moves no
// further than to its place in the order. The address says which part is shown.
import { h } from '../core/dom.js';
import { num } from '../core/format.js';
import { shortcut } from '../core/keys.js';
import { api, apiFetch } from '../core/net.js';
import { go, href, route, setQuery } from '../core/router.js';
import { untracked } from '../core/signal.js';
import { live } from '../state/requests.js';
import { API, requestHistory } from '../state/requesthistory.js';
import { apiQuery, filterChanges } from '../state/requestquery.js';
import { menuButton } from './menu.js';
import { pager } from './pager.js';
import { button, emptyState, inlineError, skeleton } from './parts.js';
import { cancel, columns, isLive, text } from './requestcells.js';
import { table } from './table.js';
import { toastError } from './toast.js';

const FORMS = [['csv', 'CSV'], ['jsonl', 'JSON lines'], ['md', 'Markdown']];

/**
 * `model`: the rows of this one alone. The element has `.filters()`, `.focusRow(id)`, `.link(id)` and `.step(id, ±1)`,
 * which resolves to the number of the neighbour or undefined.
 */
export function requestsTable({ model = '' } = {}) {
	const list = requestHistory(model);
	const { view, total } = list;
	const shownId = () => (route().page === 'requests' && Number(route().id)) || null;
	const link = (id) => {
		const query = new URLSearchParams(model ? { model } : route().query);
		query.delete('part');
		return href('requests', id) + (query.size ? `?${query}` : '');
	};
	const change = (changes) => setQuery({ page: null, ...changes }, { push: true });
	const element = table({
		name: 'requests', label: 'Requests', rows: list.rows, key: (row) => row.id,
		columns: columns((id) => () => link(id)), selected: shownId, onOpen: (row) => go(link(row.id)),
		sort: () => ({ key: view().sort, dir: view().order }),
		onSort: ({ key, dir }) => change({ sort: (dir === 'desc' ? '-' : '') + key }),
		empty: h('div', null, () => nothing(list, model)),
		rowProps: (item) => ({ 'data-request': item.peek().id, 'data-phase': text((row) => row.phase || 'done')(item) }),
	});

	shortcut('x', 'Cancel request', () => {
		const id = Number(document.activeElement.closest('[data-request]')?.dataset.request) || untracked(shownId);
		return live.peek().some((each) => each.id === id) && void cancel(id);
	});

	const body = h('div', { class: 'stack requests' },
		h('div', { class: 'row' },
			h('span', { class: 'muted num' }, () => `${num(list.running().length)} under way, ${num(total())} finished`),
			h('div', { class: 'row end' }, button(() => (list.isHeld() ? `Resume (${num(list.unseen())} new)` : 'Pause'),
				{ icon: 'pause', 'aria-pressed': () => String(list.isHeld()), onclick: () => list.hold(!list.isHeld()) }),
			element.columnMenu, menuButton('Export', () => exports(list, model), { icon: 'download' }))),
		() => list.error() && inlineError(list.error(), list.load), element,
		pager({ page: () => view().page, pages: () => list.got()?.total_pages, total,
			size: () => view().limit, onPage: (page) => change({ page }), onSize: (size) => change({ size }) }));
	return Object.assign(body, { filters: list.filters, link, focusRow: element.focusRow,
		step: (id, by) => untracked(() => neighbour(list, id, by)) });
}

/** In the order shown; beyond its ends, and from an old link, by number among what the filter lets through. */
async function neighbour({ rows, filters, isNewestFirst }, id, by) {
	const at = rows().findIndex((row) => row.id === id);
	if (at >= 0 && rows()[at + by]) return rows()[at + by].id;
	if ((at >= 0 && !isNewestFirst()) || id <= by) return undefined;
	const [bound, order] = by > 0 ? ['max_id', 'desc'] : ['min_id', 'asc'];
	const query = apiQuery(filters(), { [bound]: id - by, order, limit: 1 });
	return (await api(API, { query })).data[0]?.id;
}

function nothing({ got, error, filters }, model) {
	if (!got()) return !error() && skeleton(6);
	if (model || !filters().length) {
		return emptyState({ icon: 'requests', title: 'No requests yet', text: 'They appear here as they arrive.' });
	}
	return emptyState({ title: 'No request matches the filter', actions: [button('Clear the filter',
		{ onclick: () => setQuery(filterChanges([]), { push: true }) })] });
}

/** Three forms of three amounts. The server writes them in the order of the numbers. */
function exports({ filters, rows, isNewestFirst }, model) {
	const ids = rows().filter((row) => !isLive(row)).map((row) => row.id);
	const page = { min_id: Math.min(...ids), max_id: Math.max(...ids) };
	// A page in another order than that of the numbers is no range of them.
	const isRange = ids.length > 0 && isNewestFirst();
	return [['This page', filters(), page, !isRange], ['All that match', filters()],
		['Everything', model ? filters() : []]].flatMap(([name, asked, more, disabled]) => FORMS.map(([format, label]) => (
		{ label: `${name} as ${label}`, disabled, hint: disabled && 'only when sorted by time',
			run: () => save(apiQuery(asked, { ...more, format }), format) })));
}

async function save(query, format) {
	try {
		const reply = await apiFetch(API, { query });
		const { download } = await import('../core/clipboard.js');
		download(`requests.${format}`, [await reply.blob()], reply.headers.get('content-type'));
	} catch (error) {
		toastError(error, 'Could not export');
	}
}
