// The address is the view: #/page/parts?query.
import { queryText } from './net.js';
import { signal } from './signal.js';

const TABS = {
	models: ['overview', 'requests', 'logs', 'config'],
	play: ['chat', 'compare', 'images', 'speech', 'transcribe', 'rerank', 'embed', 'load'],
	system: ['live', 'hardware', 'config'],
};
const MOVED = { activity: ['requests'], performance: ['system', 'live'], hardware: ['system', 'hardware'],
	playground: ['play'] };
const PAGES = ['', 'models', 'requests', 'play', 'logs', 'system', 'settings'];

/** {page, id, tab, query, hash}; query is a URLSearchParams that must not be changed. */
export const route = signal(parseHash(''), (a, b) => a.hash === b.hash);

export function startRouter() {
	const take = () => {
		const found = parseHash(location.hash);
		if (found.isMoved) history.replaceState(history.state, '', found.hash);
		route.set(found);
	};
	addEventListener('hashchange', take);
	take();
}

function parseHash(hash) {
	const [, path, query] = hash.match(/^#?\/?([^?]*)\??(.*)$/s);
	const asked = path.split('/').filter(Boolean);
	const moved = MOVED[asked[0]];
	const parts = moved ? [...moved, ...asked.slice(1)] : asked;
	const [first = '', ...rest] = parts;
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
		hash: `#/${parts.join('/')}${query && `?${query}`}`, isMoved: Boolean(moved) };
}

/** href('models', 'a/b', {q: 1}) → '#/models/a%2Fb?q=1' */
export function href(...parts) {
	const query = parts.at(-1) instanceof Object ? parts.pop() : {};
	return `#/${parts.filter((each) => (each ?? '') !== '').map(encodeURIComponent).join('/')}${queryText(query)}`;
}

export function go(target, { replace = false } = {}) {
	if (replace) history.replaceState(history.state, '', target);
	else history.pushState(null, '', target);
	route.set(parseHash(target));
}

/** null or '' removes. push: makes a history entry. */
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
		return part;            // typed by hand: a lone % is itself
	}
}
