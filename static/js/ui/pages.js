// Puts the page of the current route into the document, in a scope of its own.
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
	logs: new URL('../../css/logs.css', import.meta.url).href,
};
const SHEETS = { overview: [], settings: ['views'], missing: [], play: ['views', 'pages', 'play'],
	logs: ['views', 'logs'] };

const title = signal('llamaswap');
const readTitle = computed(() => (typeof title() === 'function' ? title()() : title()));
/** What this server is called: the user's name for it, else its host name. */
export const instance = () => instanceName() || hello()?.instance || 'llamaswap';

let current = null;         // {page, key, module, end, abort, guard}
let isFirst = true;
let shownHash = '';
const sheets = new Map();
const at = (id) => document.getElementById(id);
const setActions = (...nodes) => at('actions').replaceChildren(...nodes);

export function startPages() {
	effect(() => { at('title').textContent = readTitle(); });
	watch(() => {
		const mark = ['down', 'empty'].includes(connection().state) ? 'disconnected · '
			: live().length ? `(${live().length}) ` : '';
		document.title = `${mark}${readTitle()} · ${instance()}`;
	});
	addEventListener('beforeunload', (event) => { if (current?.guard?.()) event.preventDefault(); });
	let lastKey = apiKey.peek();
	watch(() => {
		const now = route();
		const isNewKey = apiKey() !== lastKey;
		lastKey = apiKey.peek();
		untracked(() => open(now, isNewKey));
	});
}

async function open(to, isForced) {
	if (current && !isForced && current.page === to.page && current.key === (current.module?.key?.(to) ?? null)) {
		shownHash = to.hash;
		return;
	}
	if (!(await mayLeave(to))) return;
	current?.abort.abort();
	current?.end();
	const visit = current = { page: to.page, key: null, end() {}, abort: new AbortController(), guard: null };
	shownHash = to.hash;
	setActions();
	const [waiting, endWaiting] = scope(() => skeleton(4));
	at('view').replaceChildren(waiting);
	try {
		const [module] = await Promise.all([LOADERS[to.page](), ...(SHEETS[to.page] || ['views', 'pages']).map(sheet)]);
		if (current !== visit) return;
		Object.assign(visit, { module, key: module.key?.(route.peek()) ?? null });
		const [body, end] = scope(() => module.mount({ route, signal: visit.abort.signal, title: title.set,
			actions: setActions, leaveGuard: (guard) => { visit.guard = guard; } }));
		visit.end = end;
		at('view').replaceChildren(body);
	} catch (error) {
		if (current !== visit) return;
		title.set('This page could not be shown');
		at('view').replaceChildren(inlineError(error, () => open(route.peek(), true)));
		reportError(error);
	} finally {
		endWaiting();
	}
	at('main').dataset.page = to.page;
	at('main').scrollTop = 0;
	if (!isFirst) at('title').focus({ preventScroll: true });
	isFirst = false;
}

async function mayLeave(to) {
	const text = current?.guard?.();
	if (!text) return true;
	const back = shownHash;
	if (await askFirst({ title: 'Leave this page?', body: text, yes: 'Leave', no: 'Stay' })) return true;
	if (route.peek().hash === to.hash) {
		history.replaceState(history.state, '', back);
		dispatchEvent(new Event('hashchange'));
	}
	return false;
}

/** A sheet that does not load must not keep the page away. */
export function sheet(name) {
	if (!sheets.has(name)) {
		sheets.set(name, new Promise((resolve) => {
			const props = { rel: 'stylesheet', href: SHEET_FILES[name], onload: resolve, onerror: resolve };
			document.head.append(h('link', props));
		}));
	}
	return sheets.get(name);
}
