// Requests to our server: the base address, the key, and errors that say what the server said.
import { signal } from './signal.js';

// This is <prefix>/ui/<build>/js/core/net.js: the root of the server, whatever the prefix is.
export const BASE = new URL('../../../../', import.meta.url).href;
const KEY = 'lsw-key';
const stores = [() => sessionStorage, () => localStorage];

/** {message} when the server refused for want of a key; {} when the user wants to set one. */
export const keyNeeded = signal(null);
export const apiKey = signal(stores.map(keyIn).find(Boolean) || '');

export class ApiError extends Error {
	/** status 0: no answer came at all. */
	constructor(message, { status = 0, code = '', id = '' } = {}) {
		super(message);
		Object.assign(this, { name: 'ApiError', status, code, id });
	}
}

/** What is known of an ApiError besides its message. */
export const detailOf = ({ status, id }) =>
	[status && `status ${status}`, id && `request ${id}`].filter(Boolean).join(', ');

/** Escapes each part; a single string is taken as a path. */
export const apiUrl = (...parts) => BASE + (parts.length === 1 ? parts[0] : parts.map(encodeURIComponent).join('/'));

/** JSON, or text when the answer is none. Throws ApiError. */
export async function api(path, options) {
	const reply = await apiFetch(path, options);
	const text = await reply.text();
	if (!reply.headers.get('content-type')?.includes('json')) return text;
	try {
		return JSON.parse(text);
	} catch {
		throw new ApiError('the answer is not valid JSON', { status: reply.status, id: idOf(reply) });
	}
}

/** The Response itself. A plain object as body is sent as JSON. anonymous: without our key and the key form. */
export async function apiFetch(path, { body, headers, query, anonymous = false, ...rest } = {}) {
	// Without the first, the browser would answer a 401 with a password window of its own.
	const sent = new Headers({ 'X-Requested-With': 'llamaswap', Accept: 'application/json, */*;q=0.5', ...headers });
	if (apiKey.peek() && !anonymous) sent.set('Authorization', `Bearer ${apiKey.peek()}`);
	if (body && [Object, Array].includes(body.constructor)) {
		sent.set('Content-Type', 'application/json');
		body = JSON.stringify(body);
	}
	const url = (path.startsWith(BASE) ? path : apiUrl(path)) + queryText(query);
	let reply;
	try {
		reply = await fetch(url, { ...rest, headers: sent, body, cache: 'no-store' });
	} catch (error) {
		if (error.name === 'AbortError') throw error;
		throw new ApiError('The server did not answer.', { code: 'unreachable' });
	}
	if (reply.ok) return reply;
	const error = await errorOf(reply);
	if (reply.status === 401 && !anonymous) keyNeeded.set({ message: error.message });
	throw error;
}

async function errorOf(reply) {
	const text = await reply.text().catch(() => '');
	let said = {};
	try {
		said = JSON.parse(text).error || {};
	} catch { /* not every error is ours: a proxy on the way may answer with a page */ }
	const plain = /^\s*</.test(text) ? '' : text.trim().slice(0, 500);
	const message = said.message || (typeof said === 'string' && said) || plain || reply.statusText || 'request failed';
	return new ApiError(message, { status: reply.status, code: said.code, id: idOf(reply) });
}

const idOf = (reply) => reply.headers.get('x-request-id') || '';

/** '?a=b', without what is null or ''. */
export function queryText(query) {
	const pairs = query instanceof URLSearchParams ? query
		: Object.entries(query || {}).filter(([, value]) => (value ?? '') !== '');
	const text = new URLSearchParams(pairs).toString();
	return text && `?${text}`;
}

/** Without `remember` the key goes with the tab. '' forgets it. */
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
		return null;          // storage may be blocked
	}
}
