// Requests: filter, speeds, the table, and the inspector when the address names a request.
import { h } from '../core/dom.js';
import { short, speed } from '../core/format.js';
import { api } from '../core/net.js';
import { setting } from '../core/persist.js';
import { go, href, route } from '../core/router.js';
import { effect, onCleanup, signal, untracked } from '../core/signal.js';
import { apiQuery } from '../state/requestquery.js';
import { histogram } from '../ui/chart.js';
import { inlineError } from '../ui/parts.js';
import { requestsTable } from '../ui/requesttable.js';
import { filterBar } from './filterbar.js';

const STATS_MS = 5000;       // between two sums while requests end all the time

export function mount(ctx) {
  ctx.title('Requests');
  const list = requestsTable();
  openFromAddress(list);
  return h('div', { class: 'stack' }, filterBar(), speeds(list, ctx.signal), list);
}

/** The drawer is open as long as the address says so. Its code comes when it is first wanted. */
function openFromAddress(list) {
  const id = () => (route().page === 'requests' && /^\d{1,15}$/.test(route().id || '') ? Number(route().id) : null);
  let drawer = null;
  let isLeaving = false;
  const close = (last) => {
    drawer = null;
    if (isLeaving) return;
    if (id() !== null) {
      const query = new URLSearchParams(route.peek().query);
      query.delete('part');
      go(href('requests') + (query.size ? `?${query}` : ''), { replace: true });
    }
    list.focusRow(last());
  };
  effect(() => {
    const isWanted = id() !== null;
    untracked(async () => {
      if (!isWanted && drawer) drawer.close();
      if (!isWanted || drawer) return;
      const { openInspector } = await import('./inspector.js');
      if (isLeaving || drawer || id() === null) return;
      drawer = openInspector({ id, list, onClose: close });
    });
  });
  onCleanup(() => {
    isLeaving = true;
    if (drawer) drawer.close(true);
  });
}

/** Speeds of what the filter lets through, folded away when not wanted, and then not asked for either. */
function speeds(list, ended) {
  const isOpen = setting('requests.speeds', innerWidth > 1100);
  const stats = signal(null);
  const error = signal(null);
  let last = 0;
  let timer = null;
  const load = () => {
    last = performance.now();
    timer = null;
    api('api/metrics/stats', { query: apiQuery(list.filters.peek()), signal: ended }).then((found) => {
      stats.set(found);
      error.set(null);
    }, (failed) => { if (failed.name !== 'AbortError') error.set(failed); });
  };
  effect(() => {
    list.filters();
    if (isOpen()) untracked(load);
  });
  effect(() => {
    if (!list.finished() || !isOpen() || timer) return;
    timer = setTimeout(load, Math.max(0, STATS_MS - (performance.now() - last)));
  });
  onCleanup(() => clearTimeout(timer));
  return h('details', { class: 'card', open: isOpen.peek(), ontoggle: (event) => isOpen.set(event.currentTarget.open) },
    h('summary', null, h('h2', null, 'Speeds'),
      h('span', { class: 'muted small' }, () => (stats() ? sums(stats()) : ''))),
    () => error() && inlineError(error(), load),
    h('div', { class: 'speeds' }, [['Prefill', 'prompt_histogram'], ['Decode', 'gen_histogram']].map(([label, name]) =>
      histogram({ label, data: () => stats() && stats()[name], format: speed, height: 64 }))));
}

const sums = (all) => `${short(all.total_requests)} requests, ${short(all.total_input_tokens)} tokens read `
  + `(${short(all.total_cache_tokens)} from the cache), ${short(all.total_output_tokens)} written`;
