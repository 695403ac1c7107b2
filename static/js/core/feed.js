// The tab's side of the event stream: which topics are wanted, and what the connection is worth.
import { apiKey, keyNeeded } from './net.js';
import { clockOffset, tick } from './format.js';
import { attempt, computed, onCleanup, signal, watch } from './signal.js';

const HIDE_MS = 2500;             // a hidden tab lets go of its topics; long enough for a glance at another tab
const STALE_MS = 3000;
const EMPTY_MS = 10000;
const DEAD_HUB_MS = 15000;

/** The first event of the stream: {run, build, version, now, perf, instance, config_path, session_headers}, or null. */
export const hello = signal(null);
export const status = signal({ phase: 'idle', counts: {} });
/** 'SharedWorker' or 'this tab': for the diagnostics. */
export const transport = signal('');
/** The server's build when it is not this page's, or ''. */
export const newBuild = signal('');

/** state: 'connecting', 'live', 'stale', 'empty' (connected, no data), 'down' or 'auth' */
export const connection = computed(() => {
	tick();
	const { phase, attemptAt, lastAt, hasBytes, message } = status();
	const silentMs = lastAt ? Date.now() - lastAt : null;
	const isStale = silentMs > STALE_MS;
	const state = phase === 'auth' || phase === 'down' ? phase : phase === 'idle' ? 'connecting'
		: hasBytes ? (isStale ? 'stale' : 'live')
			: Date.now() - attemptAt > EMPTY_MS ? 'empty' : isStale ? 'stale' : 'connecting';
	return { state, message, silentMs };
}, (a, b) => a.state === b.state && a.message === b.message && (a.state === 'live' || a.silentMs === b.silentMs));

const wanted = new Map();         // topic → Set of listeners
const revision = signal(0);
let port = null;
let isAway = false;
let hideTimer = null;
let heardAt = Date.now();

/** subscribe('models', data => …), until the current scope ends. */
export function subscribe(topic, listener) {
	if (!wanted.has(topic)) wanted.set(topic, new Set());
	const listeners = wanted.get(topic).add(listener);
	const tell = () => revision.update((n) => n + 1);
	tell();
	onCleanup(() => {
		listeners.delete(listener);
		if (listeners.size) return;
		wanted.delete(topic);
		tell();
	});
}

export function startFeed() {
	usePort(openPort());
	let lastKey = apiKey.peek();
	watch(() => {
		if (apiKey() !== lastKey) send({ key: lastKey = apiKey() });
		else if (revision()) send();
	});
	document.addEventListener('visibilitychange', onVisibility);
	addEventListener('pagehide', () => send({ topics: [], bye: true }));
	addEventListener('pageshow', (event) => { if (event.persisted) send(); });
	addEventListener('online', retryNow);
	setInterval(checkHub, 5000);
}

export const retryNow = () => send({ retry: true });

function send(more) {
	port?.postMessage({ topics: isAway ? [] : [...wanted.keys()], ...more });
}

function onVisibility() {
	clearTimeout(hideTimer);
	if (document.hidden === isAway) return;
	hideTimer = setTimeout(() => {
		isAway = document.hidden;
		send();
	}, isAway ? 0 : HIDE_MS);
}

function onMessage({ data: { events = [], status: news, ping } }) {
	heardAt = Date.now();
	for (const [topic, data] of events) deliver(topic, data);
	if (news?.phase === 'auth' && status.peek().phase !== 'auth') keyNeeded.set({ message: news.message });
	if (news) status.set(news);
	if (ping) send();
}

function deliver(topic, data) {
	if (topic === 'hello') {
		const build = hello.peek()?.build || data.build;
		if (build !== data.build) newBuild.set(data.build);
		clockOffset.set(data.now - Date.now() / 1000);
		hello.set({ ...data, build });
	}
	for (const listener of wanted.get(topic) || []) attempt(() => listener(data));
}

// The worker may have forgotten us while this machine slept.
function checkHub() {
	if (isAway || document.hidden || Date.now() - heardAt < DEAD_HUB_MS) return;
	heardAt = Date.now();
	send({ topics: [] });
	send();
}

function usePort(next) {
	port = next;
	port.onmessage = onMessage;
	send({ key: apiKey.peek() || undefined });
}

function openPort() {
	try {
		const worker = new SharedWorker(workerUrl(), { type: 'module', name: 'lsw-3' });
		worker.onerror = () => { if (!status.peek().attemptAt) usePort(ownPort()); };
		transport.set('SharedWorker');
		return worker.port;
	} catch {
		return ownPort();       // there is none, or it is blocked: the page reads its own stream
	}
}

function ownPort() {
	transport.set('this tab');
	const { port1, port2 } = new MessageChannel();
	import('./hub.js').then(({ Hub }) => new Hub().attach(port2));
	return port1;
}

/** Under a Trusted Types policy that knows no other URL. */
function workerUrl() {
	const url = new URL('./hubworker.js', import.meta.url).href;
	return globalThis.trustedTypes?.createPolicy('llamaswap-worker', { createScriptURL: () => url })
		.createScriptURL('') || url;
}
