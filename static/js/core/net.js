// Requests to our server.
import { signal } from './signal.js';

// This is <prefix>/ui/<build>/js/core/net.js.
export const BASE = new URL('../../../../', import.meta.url).href;
const KEY = 'lsw-key';
const stores = [() => sessionStorage, () => localStorage];

/** {message} while the key form is needed; '' when the user wants it. */
export const keyNeeded = signal(null, (a, b) => Boolean(a) === Boolean(b));
export const apiKey = signal(stores.map(keyIn).find(Boolean) || '');

export class ApiError extends Error {
	/** status 0: no answer came at all. */
	constructor(message, status = 0, id = '') {
		super(message);
		Object.assign(this, { status, id });
	}
}

export const apiUrl = (...parts) => BASE + parts.map(encodeURIComponent).join('/');

/** JSON, or text when the answer is none. */
export async function api(path, options) {
	const reply = await apiFetch(path, options);
	return reply.headers.get('content-type')?.includes('json') ? reply.json() : reply.text();
}

/** The Response itself, or ApiError. A plain object as body is sent as JSON. */
export async function apiFetch(path, { body, headers, query, ...rest } = {}) {
	// Without the first a 401 would open the browser's own password window.
	const sent = new Headers({ 'X-Requested-With': 'llamaswap', ...headers });
	if (apiKey.peek() && !sent.has('Authorization')) sent.set('Authorization', `Bearer ${apiKey.peek()}`);
	if (body && body.constructor === Object) {
		sent.set('Content-Type', 'application/json');
		body = JSON.stringify(body);
	}
	let reply;
	try {
		reply = await fetch(new URL(path, BASE) + queryText(query), { ...rest, headers: sent, body, cache: 'no-store' });
	} catch (error) {
		throw error.name === 'AbortError' ? error : new ApiError('The server did not answer.');
	}
	if (reply.ok) return reply;
	const message = await messageOf(reply);
	if (reply.status === 401) keyNeeded.set({ message });
	throw new ApiError(message, reply.status, reply.headers.get('x-request-id') || '');
}

async function messageOf(reply) {
	const text = await reply.text().catch(() => '');
	try {
		const { error } = JSON.parse(text);
		const said = error.message || error;
		if (typeof said === 'string') return said;
	} catch { /* a proxy on the way may answer with a page */ }
	return (!/^\s*</.test(text) && text.trim().slice(0, 500)) || reply.statusText || 'request failed';
}

/** '?a=b', without what is null or ''. */
export function queryText(query) {
	const pairs = query instanceof URLSearchParams ? query
		: Object.entries(query || {}).filter(([, value]) => (value ?? '') !== '');
	const text = new URLSearchParams(pairs).toString();
	return text && `?${text}`;
}

/** '' forgets it. Without `remember` it goes with the tab. */
export function setKey(key, remember = false) {
	for (const store of stores) attempt(() => store().removeItem(KEY));
	if (key) attempt(() => stores[Number(remember)]().setItem(KEY, key));
	apiKey.set(key);
}

export const isKeyRemembered = () => Boolean(keyIn(stores[1]));

function keyIn(store) {
	return attempt(() => store().getItem(KEY));
}

function attempt(run) {
	try {
		return run();
	} catch {
		return null;          // blocked
	}
}
