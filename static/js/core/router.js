// The address is the view: #/page/parts?query.
import { queryText } from './net.js';
import { signal } from './signal.js';

const TABS = {
	models: ['overview', 'requests', 'logs', 'config'],
	play: ['chat', 'compare', 'images', 'speech', 'transcribe', 'rerank', 'embed', 'load'],
	system: ['live', 'hardware', 'config'],
};
const MOVED = { activity: 'requests', performance: 'system/live', hardware: 'system/hardware', playground: 'play' };
const PAGES = ['', 'models', 'requests', 'play', 'logs', 'system', 'settings'];

/** {page, id, tab, query, hash}; query: URLSearchParams, not to be changed. */
export const route = signal(parseHash(''), (a, b) => a.hash === b.hash);

export function startRouter() {
	const take = () => go(location.hash, { replace: true });
	addEventListener('hashchange', take);
	take();
}

function parseHash(hash) {
	const [, asked, query] = hash.match(/^#?\/*([^?]*)(.*)$/s);
	const path = asked.replace(/^\w+/, (name) => MOVED[name] || name);
	const [first, ...rest] = path.split('/').filter((part, i) => part || !i);
	const tabs = TABS[first];
	let page = PAGES.includes(first) ? first || 'overview' : 'missing';
	let tab = null;
	if (first === 'models') {
		// The slashes of an id need not be escaped.
		if (rest.length > 1 && tabs.includes(rest.at(-1))) tab = rest.pop();
		if (rest.length) page = 'model';
		tab ||= rest.length ? tabs[0] : null;
	} else if (tabs) {
		tab = tabs.includes(rest[0]) ? rest.shift() : tabs[0];
	}
	return { page, tab, id: rest.length ? rest.map(decode).join('/') : null, query: new URLSearchParams(query),
		hash: `#/${path}${query}` };
}

/** href('models', 'a/b', {q: 1}) → '#/models/a%2Fb?q=1' */
export function href(...parts) {
	const query = parts.at(-1) instanceof Object ? parts.pop() : {};
	return `#/${parts.filter((each) => (each ?? '') !== '').map(encodeURIComponent).join('/')}${queryText(query)}`;
}

export function go(target, { replace = false } = {}) {
	const to = parseHash(target);
	if (replace) history.replaceState(history.state, '', to.hash);
	else history.pushState(null, '', to.hash);
	route.set(to);
}

/** null and '' remove. push: a history entry. */
export function setQuery(changes, { push = false } = {}) {
	const now = route.peek();
	const query = new URLSearchParams(now.query);
	for (const [name, value] of Object.entries(changes)) {
		query.delete(name);
		for (const one of [value].flat()) if ((one ?? '') !== '') query.append(name, one);
	}
	go(now.hash.split('?')[0] + queryText(query), { replace: !push });
}

function decode(part) {
	try {
		return decodeURIComponent(part);
	} catch {
		return part;            // a lone %
	}
}
