// Puts the page of the current route into the document: loads its module, gives it a scope, takes it away again.
import { h } from '../core/dom.js';
import { apiKey } from '../core/net.js';
import { route } from '../core/router.js';
import { computed, effect, scope, signal, untracked, watch } from '../core/signal.js';
import { connection, hello } from '../core/feed.js';
import { live } from '../state/requests.js';
import { instanceName } from '../state/prefs.js';
import { inlineError, skeleton } from './parts.js';
import { askFirst } from './toast.js';

const LOADERS = {
  overview: () => import('../pages/overview.js'),
  models: () => import('../pages/models.js'),
  model: () => import('../pages/model.js'),
  requests: () => import('../pages/requests.js'),
  play: () => import('../play/play.js'),
  logs: () => import('../pages/logs.js'),
  system: () => import('../pages/system.js'),
  settings: () => import('../pages/settings.js'),
  missing: () => import('../pages/missing.js'),
};
const SHEET_FILES = {
  views: new URL('../../css/views.css', import.meta.url).href,
  pages: new URL('../../css/pages.css', import.meta.url).href,
  play: new URL('../../css/play.css', import.meta.url).href,
};
const SHEETS = { overview: [], settings: ['views'], missing: [], play: ['views', 'pages', 'play'] };

const title = signal(() => 'llamaswap');
const readTitle = computed(() => {
  const text = title();
  return typeof text === 'function' ? text() : text;
});
/** What this server is called: the user's name for it, else its host name. */
export const instance = () => instanceName() || (hello() && hello().instance) || 'llamaswap';

let current = null;         // {page, key, module, end, abort, guard}
let isFirst = true;
let shownHash = '';
const sheets = new Map();

export function startPages() {
  effect(() => { document.getElementById('title').textContent = readTitle(); });
  watch(() => { document.title = documentTitle(); });
  addEventListener('beforeunload', (event) => { if (current && current.guard
    && current.guard()) event.preventDefault(); });
  let lastKey = apiKey.peek();
  watch(() => {
    const now = route();
    // A new key may show what the old one could not: the page begins anew.
    const isNewKey = apiKey() !== lastKey;
    lastKey = apiKey.peek();
    untracked(() => open(now, isNewKey));
  });
}

function documentTitle() {
  const running = live().length;
  const { state } = connection();
  const mark = state === 'down' || state === 'empty' ? 'disconnected · ' : running ? `(${running}) ` : '';
  return `${mark}${readTitle()} · ${instance()}`;
}

async function open(to, isForced) {
  const key = current && current.page === to.page && current.module && current.module.key ? current.module.key(to)
    : null;
  if (current && !isForced && current.page === to.page && current.key === key) {
    shownHash = to.hash;
    return;
  }
  if (!(await mayLeave(to))) return;
  leave();
  const visit = current = { page: to.page, key: null, module: null, end: () => {}, abort: new AbortController(),
    guard: null };
  shownHash = to.hash;
  const view = document.getElementById('view');
  const main = document.getElementById('main');
  document.getElementById('actions').replaceChildren();
  const [waiting, endWaiting] = scope(() => skeleton(4));
  view.replaceChildren(waiting);
  try {
    const [module] = await Promise.all([LOADERS[to.page](), ...(SHEETS[to.page] || ['views', 'pages']).map(sheet)]);
    if (current !== visit) return;
    const now = route.peek();
    visit.module = module;
    visit.key = module.key ? module.key(now) : null;
    const [body, end] = scope(() => module.mount(contextOf(visit)));
    visit.end = end;
    view.replaceChildren(body);
  } catch (error) {
    if (current !== visit) return;
    title.set('This page could not be shown');
    view.replaceChildren(inlineError(error, () => open(route.peek(), true)));
    reportError(error);
  } finally {
    endWaiting();
  }
  main.dataset.page = to.page;
  main.scrollTop = 0;
  scrollTo(0, 0);
  // On a navigation the focus goes where the news is; on the first load it stays with the browser.
  if (!isFirst) document.getElementById('title').focus({ preventScroll: true });
  isFirst = false;
}

function contextOf(visit) {
  return {
    route,
    signal: visit.abort.signal,
    title: (text) => title.set(text),
    actions: (...nodes) => document.getElementById('actions').replaceChildren(...nodes),
    leaveGuard: (guard) => { visit.guard = guard; },
  };
}

function leave() {
  if (!current) return;
  current.abort.abort();
  current.end();
  current = null;
}

async function mayLeave(to) {
  const text = current && current.guard && current.guard();
  if (!text) return true;
  const back = shownHash;
  if (await askFirst({ title: 'Leave this page?', body: text, yes: 'Leave', no: 'Stay' })) return true;
  if (route.peek().hash === to.hash) {
    history.replaceState(history.state, '', back);
    dispatchEvent(new Event('hashchange'));
  }
  return false;
}

/** Styles of a page come with the page. A sheet that does not load must not keep the page away. */
export function sheet(name) {
  if (!sheets.has(name)) {
    sheets.set(name, new Promise((resolve) => {
      document.head.append(h('link', { rel: 'stylesheet', href: SHEET_FILES[name], onload: resolve,
        onerror: resolve }));
    }));
  }
  return sheets.get(name);
}
