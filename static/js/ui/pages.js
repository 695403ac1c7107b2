// The page of the route, in a scope of its own.
import { at, h } from '../core/dom.js';
import { connection, hello } from '../core/feed.js';
import { apiKey } from '../core/net.js';
import { go, route } from '../core/router.js';
import { computed, effect, scope, signal, watch } from '../core/signal.js';
import { instanceName } from '../state/prefs.js';
import { live } from '../state/requests.js';
import { emptyState, inlineError, skeleton } from './parts.js';
import { askFirst } from './toast.js';

const MODULES = {
	overview: '../pages/overview.js',
	models: '../pages/models.js',
	model: '../pages/model.js',
	requests: '../pages/requests.js',
	play: '../play/play.js',
	logs: '../pages/logs.js',
	system: '../pages/system.js',
	settings: '../pages/settings.js',
};
/** The first two are for all but the Overview, the others for the page of their name. */
const SHEETS = {
	views: '../../css/views.css',
	pages: '../../css/pages.css',
	play: '../../css/play.css',
	logs: '../../css/logs.css',
};

const title = signal('llamaswap');
const readTitle = computed(() => (typeof title() === 'function' ? title()() : title()));
export const instance = () => instanceName() || hello()?.instance || 'llamaswap';

let current = null;         // {page, hash, fits, end, abort, guard}
let isFirst = true;
const sheets = {};
const setActions = (...nodes) => at('actions').replaceChildren(...nodes);

export function startPages() {
	effect(() => { at('title').textContent = readTitle(); });
	watch(() => {
		const mark = ['down', 'empty'].includes(connection().state) ? 'disconnected · '
			: live().length ? `(${live().length}) ` : '';
		document.title = `${mark}${readTitle()} · ${instance()}`;
	});
	addEventListener('beforeunload', (event) => { if (current.guard()) event.preventDefault(); });
	let lastKey = apiKey.peek();
	watch(() => {
		const isNewKey = apiKey() !== lastKey;
		lastKey = apiKey();
		open(route(), isNewKey);
	});
}

async function open(to, isForced) {
	const isReturn = history.state;
	history.replaceState(1, '');
	const from = current?.hash;
	if (!isForced && current?.page === to.page && current.fits(to)) {
		current.hash = to.hash;
		return;
	}
	if (!(await mayLeave(to))) return;
	current?.abort.abort();
	current?.end();
	let [body, end] = scope(skeleton);
	const visit = current = { page: to.page, hash: to.hash, fits: () => true, end, abort: new AbortController(),
		guard: () => '' };
	setActions();
	at('view').replaceChildren(body);
	try {
		const names = to.page === 'overview' ? [] : ['views', 'pages', to.page].filter((name) => SHEETS[name]);
		const [module] = await Promise.all([MODULES[to.page] ? import(MODULES[to.page]) : missing, ...names.map(sheet)]);
		if (current !== visit) return;
		end();
		const key = module.key?.(route.peek());
		visit.fits = (next) => module.key?.(next) === key;
		[body, visit.end] = scope(() => module.mount({ route, signal: visit.abort.signal, title: title.set,
			actions: setActions, leaveGuard: (guard) => { visit.guard = guard; } }));
	} catch (error) {
		if (current !== visit) return;
		title.set('This page could not be shown');
		body = inlineError(error, () => open(route.peek(), true));
		reportError(error);
	}
	at('view').replaceChildren(body);
	at('main').dataset.page = to.page;
	at('main').scrollTop = 0;
	// Back leads to the place that was left.
	if (isReturn) at('view').querySelector(`[href=${CSS.escape(from)}]`)?.scrollIntoView({ block: 'center',
		behavior: 'instant' });
	if (!isFirst) at('title').focus({ preventScroll: true });
	isFirst = false;
}

async function mayLeave(to) {
	const text = current?.guard();
	if (!text) return true;
	if (await askFirst({ title: 'Leave this page?', body: text, yes: 'Leave', no: 'Stay' })) return true;
	if (route.peek().hash === to.hash) go(current.hash, { replace: true });
	return false;
}

/** One that does not load must not keep the page away. */
export function sheet(name) {
	return sheets[name] ||= new Promise((resolve) => {
		const { href } = new URL(SHEETS[name], import.meta.url);
		document.head.append(h('link', { rel: 'stylesheet', href, onload: resolve, onerror: resolve }));
	});
}

const missing = {
	mount(ctx) {
		ctx.title('Not found');
		return emptyState({ title: 'There is no page at this address' });
	},
};
