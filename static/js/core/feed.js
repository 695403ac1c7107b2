// The tab's side of the event stream.
import { apiKey, keyNeeded } from './net.js';
import { clockOffset, tick } from './format.js';
import { attempt, computed, onCleanup, signal, watch } from './signal.js';

const HIDE_MS = 2500;             // long enough for a glance at another tab
const BEAT_MS = 5000;
const STALE_MS = 3000;
const EMPTY_MS = 10000;

/** null, or {run, build, version, now, perf, instance, config_path, session_headers} */
export const hello = signal(null);
/** As hub.js tells it. */
export const status = signal({ phase: 'idle', counts: {} });
export const transport = signal('');

/** {state: 'connecting', 'live', 'stale', 'empty' (connected, no data), 'down' or 'auth'} */
export const connection = computed(() => {
	tick();
	const { phase, attemptAt, lastAt } = status();
	const now = Date.now();
	return { state: phase === 'down' || phase === 'auth' ? phase
		: phase === 'connecting' && now - attemptAt > EMPTY_MS ? 'empty'
			: lastAt && now - lastAt > STALE_MS ? 'stale' : phase === 'live' ? 'live' : 'connecting' };
}, (a, b) => a.state === b.state);

const wanted = new Map();         // topic → Set of listeners
let port = null;
let isAway = false;
let hideTimer = null;

/** subscribe('models', data => …), until the current scope ends. */
export function subscribe(topic, listener) {
	const listeners = wanted.get(topic) || new Set();
	wanted.set(topic, listeners.add(listener));
	send();
	onCleanup(() => {
		listeners.delete(listener);
		if (!listeners.size && wanted.delete(topic)) send();
	});
}

export function startFeed() {
	try {
		const worker = new SharedWorker(workerUrl(), { type: 'module' });
		worker.onerror = () => { if (!status.peek().attemptAt) readAlone(); };
		listen(worker.port, 'SharedWorker');
	} catch {
		readAlone();       // none, or blocked
	}
	let lastKey = '';
	watch(() => { if (apiKey() !== lastKey) send({ key: lastKey = apiKey() }); });
	document.addEventListener('visibilitychange', () => {
		clearTimeout(hideTimer);
		hideTimer = setTimeout(setAway, document.hidden ? HIDE_MS : 0, document.hidden);
	});
	addEventListener('pagehide', () => setAway(true));
	addEventListener('pageshow', () => setAway(document.hidden));
	addEventListener('online', retryNow);
	setInterval(() => { if (!isAway) send(); }, BEAT_MS);
}

export const retryNow = () => send({ retry: true });

function send(more) {
	port?.postMessage({ topics: isAway ? [] : [...wanted.keys()], ...more });
}

function setAway(is) {
	isAway = is;
	send();
}

function listen(next, name) {
	port = next;
	port.onmessage = onMessage;
	transport.set(name);
	send();
}

function readAlone() {
	const { port1, port2 } = new MessageChannel();
	import('./hub.js').then(({ attach }) => attach(port2));
	listen(port1, 'this tab');
}

function onMessage({ data: { events = [], status: news } }) {
	for (const [topic, data] of events) {
		if (topic === 'hello') {
			clockOffset.set(data.now - Date.now() / 1000);
			hello.set(data);
		}
		for (const listener of wanted.get(topic) || []) attempt(() => listener(data));
	}
	if (!news) return;
	if (news.phase === 'auth' && status.peek().phase !== 'auth') keyNeeded.set({ message: news.message });
	status.set(news);
}

function workerUrl() {
	const url = new URL('./hub.js', import.meta.url).href;
	return globalThis.trustedTypes?.createPolicy('llamaswap-worker', { createScriptURL: () => url })
		.createScriptURL('') || url;
}
