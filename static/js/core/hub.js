// The event stream, read once for all tabs, in a SharedWorker or in the page.
import { apiFetch, apiKey } from './net.js';
import { readPieces } from './sse.js';
import { foldEvent, snapshotEvent } from './topics.js';

const GATHER_MS = 30;             // a new page asks topic by topic
const IDLE_MS = 1500;             // switching tabs costs no new connection
const SILENT_MS = 10000;          // five heartbeats missed
const GONE_MS = 30000;
const TELL_MS = 900;
const TAIL_CHARS = 256 * 1024;    // of a log
const OVERLAP_CHARS = 400;

const clients = new Map();        // port → {topics, heardAt}
const cache = new Map();          // topic → its state, or the end of its log
const counts = { malformed: 0, dropped: 0 };
const isLog = (topic) => topic.startsWith('log:');
const lines = [newLine(false), newLine(true)];        // logs never hold up the state
let hello = null;
let lastKey = '';
let gathering = null;

/** In: {topics, key?, retry?}, at times as a sign of life. Out: {events: [[topic, data]…]} or {status}. */
export function attach(port) {
	port.onmessage = ({ data }) => take(port, data);
}

if (globalThis.SharedWorkerGlobalScope) onconnect = ({ ports }) => attach(ports[0]);

// A closed tab may have said nothing.
setInterval(() => {
	for (const [port, { heardAt }] of clients) if (Date.now() - heardAt > GONE_MS && clients.delete(port)) gather();
}, GONE_MS / 3);

function take(port, { topics, key = lastKey, retry }) {
	const before = clients.get(port)?.topics || [];
	const added = topics.filter((topic) => !before.includes(topic));
	if (topics.length) clients.set(port, { topics, heardAt: Date.now() });
	else clients.delete(port);
	if (key !== lastKey) {
		lastKey = key;
		apiKey.set(key);
		for (const line of lines) line.restart();
	}
	if (added.length) port.postMessage({ events: [...(hello ? [['hello', hello]] : []), ...added.flatMap(cached)] });
	port.postMessage(topics.length ? lines[0].status() : { status: { phase: 'idle', counts } });
	gather();
	if (added.length || retry) for (const line of lines) line.hurry();
}

function cached(topic) {
	if (!cache.has(topic)) return [];
	const held = cache.get(topic);
	return [[topic, isLog(topic) ? { text: held, reset: true } : snapshotEvent(topic, held)]];
}

function gather() {
	const wanted = [...new Set([...clients.values()].flatMap(({ topics }) => topics))].sort();
	clearTimeout(gathering);
	gathering = setTimeout(() => {
		for (const topic of cache.keys()) if (!wanted.includes(topic)) cache.delete(topic);
		for (const line of lines) line.want(wanted);
	}, !wanted.length ? IDLE_MS : hello ? GATHER_MS : 0);
}

function deliver(events) {
	for (const [port, { topics }] of clients) {
		const own = events.filter(([topic]) => topics.includes(topic) || topic === 'hello');
		if (own.length) port.postMessage({ events: own });
	}
}

/** phase: 'idle', 'connecting' (until bytes come), 'live', 'down' or 'auth' */
function newLine(isForLogs) {
	const state = { phase: 'idle', message: '', attemptAt: 0, lastAt: 0 };
	let topics = [];
	let lastId = '';
	let tries = 0;
	let toldAt = 0;
	let abort = null;
	let timer = null;

	const status = () => ({ status: { ...state, tabs: clients.size, counts } });

	function enter(phase, message = '') {
		Object.assign(state, { phase, message });
		toldAt = Date.now();
		if (!isForLogs) for (const port of clients.keys()) port.postMessage(status());
	}

	function want(all) {
		const next = all.filter((topic) => isLog(topic) === isForLogs);
		if (next.join() === topics.join()) return;
		// Snapshots, which a new topic needs, come only where nothing is resumed.
		if (!next.every((topic) => cache.has(topic))) lastId = '';
		topics = next;
		restart();
	}

	function restart() {
		stop();
		tries = 0;
		if (topics.length) connect();
		else enter('idle');
	}

	function stop() {
		clearTimeout(timer);
		abort?.abort();
	}

	async function connect() {
		abort = new AbortController();
		const { signal } = abort;
		state.attemptAt = Date.now();
		if (!tries) enter('connecting');      // else still disconnected
		try {
			const query = { topics: topics.join(), last_event_id: lastId };
			const reply = await apiFetch('api/events', { query, signal });
			enter('connecting');
			for await (const events of readPieces(reply)) {
				if (signal.aborted) return;
				read(events);
			}
			fail('the server ended the stream');
		} catch (error) {
			if (!signal.aborted) refuse(error);
		}
	}

	function read(events) {
		state.lastAt = Date.now();
		tries = 0;
		clearTimeout(timer);
		timer = setTimeout(fail, SILENT_MS, 'the server has fallen silent');
		deliver(events.flatMap(readEvent));
		if (state.phase !== 'live' || state.lastAt - toldAt > TELL_MS) enter('live');
	}

	function readEvent({ id, event: topic, data: text }) {
		try {
			const data = remember(topic, JSON.parse(text));
			if (id && !isForLogs) lastId = id;
			return data ? [[topic, data]] : [];
		} catch {
			counts.malformed++;      // one bad event must not end the stream
			return [];
		}
	}

	function remember(topic, data) {
		if (isLog(topic)) return continueLog(topic, data);
		if (topic === 'gap') {
			counts.dropped += data.dropped || 0;
		} else if (topic !== 'hello') {
			cache.set(topic, foldEvent(topic, cache.get(topic), data));
			return data;
		} else if (!isForLogs) {
			if (hello?.run !== data.run) cache.clear();
			return hello = data;
		}
		return null;
	}

	function refuse({ status: code, message }) {
		if (code === 401) enter('auth', message);
		// A log that is gone stays gone.
		else if (code !== 400 || !isForLogs) fail(code ? `${message} (${code})` : 'the server does not answer');
	}

	function fail(message) {
		stop();
		timer = setTimeout(connect, Math.min(4000, 300 * 2 ** tries++) * (0.8 + 0.4 * Math.random()));
		enter('down', message);
	}

	return { want, restart, status, hurry: () => /down|auth/.test(state.phase) && restart() };
}

/** A new connection tells the log from scratch: what the panes have is left out. */
function continueLog(topic, { text, reset, gap }) {
	const tail = cache.get(topic) || '';
	const mark = tail.slice(-OVERLAP_CHARS);
	const at = reset && mark.length === OVERLAP_CHARS ? text.lastIndexOf(mark) : -1;
	const news = at < 0 ? text : text.slice(at + mark.length);
	const isReset = Boolean(reset) && at < 0;
	cache.set(topic, ((isReset ? '' : tail) + news).slice(-TAIL_CHARS));
	return { text: news, reset: isReset, gap };
}
