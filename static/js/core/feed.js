// The tab's side of the event stream: which topics are wanted here, and what the connection is worth right now.
import { BASE, apiKey, keyNeeded } from './net.js';
import { clockOffset, tick } from './format.js';
import { computed, onCleanup, signal, watch } from './signal.js';

const HIDE_MS = 2500;             // a hidden tab lets go of its topics; long enough for a glance at another tab
const STALE_MS = 3000;
const EMPTY_MS = 10000;
const DEAD_HUB_MS = 15000;

/** The first event of the stream: {run, build, version, now, perf, instance, config_path, session_headers}, or null. */
export const hello = signal(null);
/** The newest word from the hub: {phase, attemptAt, lastAt, retryAt, hasBytes, message, tabs, counts}. */
export const status = signal({ phase: 'idle', attemptAt: 0, lastAt: 0, retryAt: 0, hasBytes: false, message: '',
  tabs: 1, counts: {} });
/** 'SharedWorker' or 'this tab': for the diagnostics. */
export const transport = signal('');
/** A build of the server that is not the one this page came with, or ''. */
export const newBuild = signal('');

/** 'connecting' | 'live' | 'stale' | 'empty' (connected, no data) | 'down' | 'auth', and how long nothing was heard. */
export const connection = computed(() => {
  tick();
  const now = Date.now();
  const { phase, attemptAt, lastAt, hasBytes, message } = status();
  const silentMs = lastAt ? now - lastAt : null;
  const is = (state) => ({ state, message, silentMs, lastAt });
  if (phase === 'auth') return is('auth');
  if (phase === 'down') return is('down');
  if ((phase === 'connecting' || phase === 'open') && !hasBytes) {
    if (now - attemptAt > EMPTY_MS) return is('empty');
    return is(silentMs !== null && silentMs > STALE_MS ? 'stale' : 'connecting');
  }
  return is(phase === 'open' && silentMs > STALE_MS ? 'stale' : phase === 'open' ? 'live' : 'connecting');
}, (a, b) => a.state === b.state && a.message === b.message && (a.state === 'live' || a.silentMs === b.silentMs));

const wanted = new Map();         // topic → Set of listeners
let port = null;
let isAway = false;
let hideTimer = null;
let heardAt = Date.now();

/** subscribe('models', data => …): until the current scope ends. Several listeners of a topic cost one subscription. */
export function subscribe(topic, listener) {
  if (!wanted.has(topic)) wanted.set(topic, new Set());
  wanted.get(topic).add(listener);
  send();
  const end = () => {
    const listeners = wanted.get(topic);
    if (!listeners || !listeners.delete(listener)) return;
    if (!listeners.size) wanted.delete(topic);
    send();
  };
  onCleanup(end);
  return end;
}

export function startFeed() {
  port = openPort();
  port.onmessage = onMessage;
  port.postMessage({ t: 'open', base: BASE, key: apiKey.peek(), topics: topics() });
  let lastKey = apiKey.peek();
  watch(() => {
    if (apiKey() !== lastKey) port.postMessage({ t: 'key', key: lastKey = apiKey() });
  });
  document.addEventListener('visibilitychange', onVisibility);
  addEventListener('pagehide', () => port.postMessage({ t: 'bye' }));
  addEventListener('pageshow', (event) => { if (event.persisted) send(); });
  addEventListener('online', retryNow);
  setInterval(checkHub, 5000);
}

export const retryNow = () => port && port.postMessage({ t: 'retry' });

function topics() {
  return isAway ? [] : [...wanted.keys()].sort();
}

let isSending = false;
function send() {
  if (isSending || !port) return;
  isSending = true;
  queueMicrotask(() => {
    isSending = false;
    port.postMessage({ t: 'topics', topics: topics() });
  });
}

function onVisibility() {
  clearTimeout(hideTimer);
  if (document.hidden) {
    hideTimer = setTimeout(() => { isAway = true; send(); }, HIDE_MS);
  } else if (isAway) {
    isAway = false;
    send();
  }
}

function onMessage({ data }) {
  heardAt = Date.now();
  if (data.t === 'events') {
    for (const [topic, content] of data.list) deliver(topic, content);
  } else if (data.t === 'status') {
    status.set(data);
    if (data.phase === 'auth' && !keyNeeded.peek()) keyNeeded.set({ message: data.message });
  } else if (data.t === 'ping') {
    port.postMessage({ t: 'pong' });
  }
}

function deliver(topic, data) {
  if (topic === 'hello') {
    const first = hello.peek();
    if (first && first.build !== data.build) newBuild.set(data.build);
    clockOffset.set(data.now - Date.now() / 1000);
    hello.set(first && newBuild.peek() ? { ...data, build: first.build } : data);
    return;
  }
  for (const listener of wanted.get(topic) || []) {
    try {
      listener(data);
    } catch (error) {
      reportError(error);
    }
  }
}

// The worker may have forgotten us while this machine slept.
function checkHub() {
  if (isAway || document.hidden || Date.now() - heardAt < DEAD_HUB_MS) return;
  heardAt = Date.now();
  port.postMessage({ t: 'topics', topics: [] });
  send();
}

function openPort() {
  if (globalThis.SharedWorker) {
    try {
      const worker = new SharedWorker(workerUrl(), { type: 'module', name: 'lsw-1' });
      worker.onerror = () => { if (transport.peek() === 'SharedWorker' && !status.peek().attemptAt) fallBack(); };
      transport.set('SharedWorker');
      return worker.port;
    } catch { /* blocked here: the page reads its own stream */ }
  }
  return ownPort();
}

function ownPort() {
  transport.set('this tab');
  const { port1, port2 } = new MessageChannel();
  // Loaded only where it is needed: most browsers have the worker.
  import('./hub.js').then(({ Hub }) => new Hub().attach(port2));
  return port1;
}

function fallBack() {
  port = ownPort();
  port.onmessage = onMessage;
  port.postMessage({ t: 'open', base: BASE, key: apiKey.peek(), topics: topics() });
}

/** The one script URL this page makes, under a Trusted Types policy that knows no other. */
function workerUrl() {
  const url = new URL('./hubworker.js', import.meta.url).href;
  if (!globalThis.trustedTypes) return url;
  return trustedTypes.createPolicy('llamaswap-worker', { createScriptURL: () => url }).createScriptURL('');
}
