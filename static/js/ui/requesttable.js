// Requests: those under way on top, the history below. A row keeps its element when its request ends, and moves no
// further than to its place in the order. The address says which part is shown.
import { h } from '../core/dom.js';
import { num } from '../core/format.js';
import { shortcut } from '../core/keys.js';
import { apiFetch } from '../core/net.js';
import { go, href, route, setQuery } from '../core/router.js';
import { computed, effect } from '../core/signal.js';
import { live } from '../state/requests.js';
import { API, neighbour, requestHistory } from '../state/requesthistory.js';
import { SIZES, filterChanges } from '../state/requestquery.js';
import { menuButton } from './menu.js';
import { pager } from './pager.js';
import { button, emptyState, inlineError, skeleton } from './parts.js';
import { cancel, columns, text } from './requestcells.js';
import { table } from './table.js';
import { toastError } from './toast.js';

const pageParam = (page) => (page > 1 ? page : null);
const FORMS = [['csv', 'CSV'], ['jsonl', 'JSON lines'], ['md', 'Markdown']];

/**
 * `model`: the rows of this one alone. The element has `.filters()`, `.finished()` (grows with every request that
 * ends), `.focusRow(id)` and `.step(id, ±1)`, which resolves to the neighbour's address or null.
 */
export function requestsTable({ model = '' } = {}) {
  const list = requestHistory(model);
  const { rows, view } = list;
  const search = computed(() => {
    const query = model ? new URLSearchParams({ model }) : new URLSearchParams(route().query);
    query.delete('part');
    return query.size ? `?${query}` : '';
  });
  const link = (id) => href('requests', String(id)) + search();
  const onSort = ({ key, dir }) => setQuery({ page: null,
    sort: key === 'time' && dir === 'desc' ? null : (dir === 'desc' ? '-' : '') + key }, { push: true });
  const element = table({
    name: 'requests', label: 'Requests', rows, key: (row) => row.id, columns: columns((id) => () => link(id)),
    sort: () => view().sort, onSort, onOpen: (row) => go(link(row.id)),
    empty: h('div', null, () => nothing(list, model)),
    selected: () => (route().page === 'requests' && route().id ? Number(route().id) : null),
    rowProps: (item) => ({ 'data-request': String(item.peek().id),
      'data-phase': text((row) => row.phase || 'done')(item) }),
  });
  effect(() => element.setAttribute('aria-busy', String(list.isBusy())));

  shortcut('x', 'Cancel request', () => {
    const row = document.activeElement.closest('[data-request]');
    const id = Number(row ? row.dataset.request : route.peek().page === 'requests' && route.peek().id);
    const found = live.peek().find((each) => each.id === id);
    return found ? void cancel(found) : false;
  });

  const pause = button(() => (list.isHeld() ? `Resume (${num(list.unseen())} new)` : 'Pause'), { icon: 'pause',
    'aria-pressed': () => String(list.isHeld()), onclick: () => list.hold(!list.isHeld()) });
  const body = h('div', { class: 'stack requests' },
    h('div', { class: 'row' },
      h('span', { class: 'muted num' }, () => `${num(list.running().length)} under way, ${num(list.total())} finished`),
      h('div', { class: 'row end' }, pause, element.columnMenu,
        menuButton('Export', () => exports(list, model), { icon: 'download' }))),
    () => list.error() && inlineError(list.error(), list.load), element,
    pager({ page: () => view().page, pages: list.pages, total: list.total, sizes: SIZES, size: () => view().size,
      onPage: (page) => setQuery({ page: pageParam(page) }, { push: true }),
      onSize: (size) => setQuery({ size: size === SIZES[0] ? null : size, page: null }, { push: true }) }));
  const step = async (id, by) => {
    const found = await neighbour(list, id, by);
    if (found) setQuery({ page: pageParam(found.page) });
    return found && link(found.id);
  };
  return Object.assign(body, { filters: list.filters, finished: list.finished, step, focusRow: element.focusRow });
}

function nothing({ isLoaded, error, filters }, model) {
  if (!isLoaded()) return !error() && skeleton(6);
  if (filters().length <= (model ? 1 : 0)) {
    return emptyState({ icon: 'requests', title: 'No requests yet',
      text: 'They appear here in the moment they arrive, and stay when they have ended.' });
  }
  const clear = () => setQuery(filterChanges([]), { push: true });
  return emptyState({ title: 'No request matches the filter',
    actions: [button('Clear the filter', { onclick: clear })] });
}

/** Three forms of three amounts. The server writes them in the order of the numbers. */
function exports({ query, stored, isNewestFirst }, model) {
  const whole = new URLSearchParams(model ? { model } : {});
  const filtered = query();
  ['page', 'limit', 'sort', 'order'].forEach((name) => filtered.delete(name));
  const page = new URLSearchParams(filtered);
  const ids = stored().map((row) => row.id);
  page.set('min_id', String(Math.min(...ids)));
  page.set('max_id', String(Math.max(...ids)));
  const group = (name, asked, more = {}) => FORMS.map(([format, label]) => (
    { label: `${name} as ${label}`, ...more, run: () => save(asked, format) }));
  // A page in another order than that of the numbers is no range of them.
  const isRange = ids.length && isNewestFirst();
  const noPage = isRange ? {} : { disabled: true, hint: ids.length ? 'only when sorted by time' : 'empty' };
  return [...group('This page', page, noPage), '-', ...group('All that match', filtered), '-',
    ...group('Everything', whole)];
}

async function save(asked, format) {
  try {
    const reply = await apiFetch(API, { query: new URLSearchParams([...asked, ['format', format]]) });
    const { download } = await import('../core/clipboard.js');
    download(`requests.${format}`, [await reply.blob()], reply.headers.get('content-type') || 'text/plain');
  } catch (error) {
    toastError(error, 'Could not export');
  }
}
