// Requests to our own server: the base address, the key, and errors that say what the server said.
import { signal } from './signal.js';

// The document is <prefix>/ui/ or <prefix>/ui/<view>: one up is the root of the server, whatever the prefix is.
export const BASE = globalThis.document ? new URL('..', document.baseURI).href : '';
const KEY = 'lsw-key';

/** null, or what the server said when it refused for want of a key: the frame shows the key form. */
export const keyNeeded = signal(null);
/** The key of this browser, '' for none. */
export const apiKey = signal(readKey());

export class ApiError extends Error {
  /** status 0: no answer came at all. `code` and `id` are the server's, '' when it gave none. */
  constructor(message, { status = 0, code = '', id = '' } = {}) {
    super(message);
    Object.assign(this, { name: 'ApiError', status, code, id });
  }
}

/** apiUrl('api', 'models', 'load', 'a/b') escapes each part; a single string is taken as a path under the base. */
export function apiUrl(...parts) {
  return BASE + (parts.length === 1 ? parts[0] : parts.map((each) => encodeURIComponent(each)).join('/'));
}

/** Parsed JSON, or text when the answer is none. Throws ApiError. A body that is a plain object is sent as JSON. */
export async function api(path, options = {}) {
  const reply = await apiFetch(path, options);
  const type = reply.headers.get('content-type') || '';
  const text = await reply.text();
  if (!type.includes('json')) return text;
  try {
    return JSON.parse(text);
  } catch {
    throw new ApiError('the answer is not valid JSON', { status: reply.status, id: reply.headers.get('x-request-id')
      || '' });
  }
}

/** The Response itself, for streams and blobs; not-ok statuses throw as with api(). anonymous: without our key, and a
 *  401 does not open the key form. */
export async function apiFetch(path, { body, headers, query, anonymous = false, ...rest } = {}) {
  const sent = new Headers(headers);
  // So that a missing key is answered to us: without it the browser would open a window of its own for a password.
  sent.set('X-Requested-With', 'llamaswap');
  if (apiKey.peek() && !anonymous) sent.set('Authorization', `Bearer ${apiKey.peek()}`);
  if (!sent.has('Accept')) sent.set('Accept', 'application/json, */*;q=0.5');
  if (isPlain(body)) {
    sent.set('Content-Type', 'application/json');
    body = JSON.stringify(body);
  }
  let reply;
  try {
    reply = await fetch(withQuery(path.startsWith(BASE) ? path : apiUrl(path), query), { ...rest, headers: sent, body,
      cache: 'no-store' });
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new ApiError('The server did not answer.', { code: 'unreachable' });
  }
  if (reply.ok) return reply;
  const error = await errorOf(reply);
  if (reply.status === 401 && !anonymous) keyNeeded.set({ message: error.message });
  throw error;
}

export async function errorOf(reply) {
  const text = await reply.text().catch(() => '');
  let said = null;
  try {
    said = JSON.parse(text).error;
  } catch { /* not every error is ours: a proxy on the way may answer with a page */ }
  const message = (said && (said.message || (typeof said === 'string' && said))) || plainText(text) ||
    reply.statusText || 'request failed';
  return new ApiError(message, { status: reply.status, code: (said && said.code) || '',
    id: reply.headers.get('x-request-id') || '' });
}

/** `remember` keeps the key in this browser; otherwise it goes with the tab. '' forgets it everywhere. */
export function setKey(key, remember = false) {
  for (const store of [() => localStorage, () => sessionStorage]) attempt(() => store().removeItem(KEY));
  if (key) attempt(() => (remember ? localStorage : sessionStorage).setItem(KEY, key));
  apiKey.set(key);
  keyNeeded.set(null);
}

export const isKeyRemembered = () => attempt(() => localStorage.getItem(KEY)) !== null;

function readKey() {
  return attempt(() => sessionStorage.getItem(KEY) || localStorage.getItem(KEY)) || '';
}

function attempt(run) {
  try {
    return run();
  } catch {
    return null;          // storage may be blocked
  }
}

function isPlain(body) {
  return body !== null && typeof body === 'object' && (Array.isArray(body)
    || Object.getPrototypeOf(body) === Object.prototype);
}

function withQuery(url, query) {
  if (!query) return url;
  const text = (query instanceof URLSearchParams ? query : new URLSearchParams(
    Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== ''))).toString();
  return text ? `${url}${url.includes('?') ? '&' : '?'}${text}` : url;
}

const plainText = (text) => (/^\s*</.test(text) ? '' : text.trim().slice(0, 500));
