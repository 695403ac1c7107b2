// The event stream, read once for all tabs. Runs in a SharedWorker, or in the page where there is none.
// Two lines: the state of the server, and logs while a pane is open, so that these never hold up the state.
import { apiFetch, apiKey } from './net.js';
import { readPieces } from './sse.js';
import { foldEvent, snapshotEvent } from './topics.js';

const BACKOFF_MS = [300, 1000, 2000, 3500, 5000];
const GATHER_MS = 30;             // topics of a page that is being built come one by one
const IDLE_MS = 1500;             // a tab that is only switched should not cost a new connection
const SILENT_MS = 10000;          // five heartbeats missed
const PING_MS = 10000;
const TELL_MS = 900;
const TAIL_CHARS = 256 * 1024;    // of a log, for a tab that comes later
const OVERLAP_CHARS = 400;
const isLog = (topic) => topic.startsWith('log:');

export class Hub {
	clients = new Map();            // port → {topics, heardAt}
	counts = { malformed: 0, dropped: 0 };
	lines = [new Line(this, false), new Line(this, true)];

	constructor() {
		setInterval(() => this.check(Date.now()), 1000);
	}

	/** Messages in: {topics, key?, retry?, bye?}. Messages out: {events: [[topic, data]…]}, {status}, {ping}. */
	attach(port) {
		port.onmessage = ({ data }) => this.take(port, data);
	}

	take(port, { topics, key, retry, bye }) {
		const before = this.clients.get(port)?.topics || [];
		const added = topics.filter((topic) => !before.includes(topic));
		this.clients.set(port, { topics, heardAt: Date.now() });
		if (bye) this.clients.delete(port);
		if (key !== undefined && key !== this.key) {
			this.key = key;
			apiKey.set(key);
			for (const line of this.lines) line.restart();
		}
		if (added.length) {
			const events = added.flatMap((topic) => this.lines[Number(isLog(topic))].cached(topic));
			port.postMessage({ events: this.hello ? [['hello', this.hello], ...events] : events });
		}
		port.postMessage(this.lines[0].status());
		this.gather();
		if (added.length || retry) for (const line of this.lines) if (line.phase === 'down') line.restart();
	}

	gather() {
		const wanted = [...new Set([...this.clients.values()].flatMap(({ topics }) => topics))].sort();
		clearTimeout(this.gathering);
		this.gathering = setTimeout(() => {
			for (const line of this.lines) line.want(wanted.filter((topic) => isLog(topic) === line.isLog));
		}, wanted.length ? GATHER_MS : IDLE_MS);
	}

	deliver(events) {
		for (const [port, { topics }] of this.clients) {
			const own = events.filter(([topic]) => topics.includes(topic) || topic === 'hello');
			if (own.length && topics.length) port.postMessage({ events: own });
		}
	}

	// A tab that was closed may have said nothing.
	check(now) {
		for (const [port, { topics, heardAt }] of this.clients) {
			if (topics.length && now - heardAt > PING_MS) port.postMessage({ ping: true });
			if (topics.length && now - heardAt > 3 * PING_MS && this.clients.delete(port)) this.gather();
		}
		for (const line of this.lines) line.check(now);
	}
}

class Line {
	topics = [];
	cache = new Map();
	lastId = '';
	tries = 0;
	phase = 'idle';
	message = '';
	attemptAt = 0;
	lastAt = 0;
	hasBytes = false;

	constructor(hub, isForLogs) {
		Object.assign(this, { hub, isLog: isForLogs });
	}

	want(topics) {
		if (topics.join() === this.topics.join()) return;
		for (const topic of this.cache.keys()) if (!topics.includes(topic)) this.cache.delete(topic);
		// The server sends snapshots, which a new topic needs, only where nothing is resumed.
		if (!topics.every((topic) => this.cache.has(topic))) this.lastId = '';
		this.topics = topics;
		this.restart();
	}

	restart() {
		this.stop();
		this.tries = 0;
		if (this.topics.length) this.connect();
		else this.enter('idle');
	}

	stop() {
		clearTimeout(this.retry);
		this.abort?.abort();
		this.abort = null;
	}

	async connect() {
		const abort = this.abort = new AbortController();
		const isCurrent = () => this.abort === abort;
		Object.assign(this, { attemptAt: Date.now(), hasBytes: false });
		if (!this.tries) this.enter('connecting');      // who tries again is still disconnected
		const query = { topics: this.topics.join(), last_event_id: this.isLog ? '' : this.lastId };
		try {
			const reply = await apiFetch('api/events', { query, signal: abort.signal });
			if (!isCurrent()) return;
			this.enter('open');
			for await (const events of readPieces(reply)) {
				if (!isCurrent()) return;
				this.read(events);
			}
			this.fail('the server ended the stream');
		} catch (error) {
			if (isCurrent()) this.refuse(error);
		}
	}

	read(events) {
		const isFirst = !this.hasBytes;
		Object.assign(this, { lastAt: Date.now(), hasBytes: true, tries: 0 });
		const good = events.flatMap((event) => this.take(event));
		if (good.length) this.hub.deliver(good);
		if (isFirst || this.lastAt - this.toldAt > TELL_MS) this.enter('open');
	}

	take({ id, event: topic, data: text }) {
		try {
			const data = this.remember(topic, JSON.parse(text));
			if (id) this.lastId = id;
			return data ? [[topic, data]] : [];
		} catch {
			this.hub.counts.malformed++;      // one bad event must not end the stream
			return [];
		}
	}

	remember(topic, data) {
		const { hub, cache } = this;
		if (topic === 'hello') {
			if (this.isLog) return null;
			// Another run of the server knows nothing of our last event.
			if (hub.hello?.run !== data.run) cache.clear();
			return hub.hello = data;
		}
		if (topic === 'gap') {
			hub.counts.dropped += data.dropped || 0;
			return null;
		}
		if (this.isLog) return this.continueLog(topic, data);
		cache.set(topic, foldEvent(topic, cache.get(topic), data));
		return data;
	}

	/** On a new connection the log comes from scratch: what the panes have already is left out. */
	continueLog(topic, { text, reset, gap = 0 }) {
		const tail = this.cache.get(topic) || '';
		const mark = tail.slice(-OVERLAP_CHARS);
		const at = reset && mark.length === OVERLAP_CHARS ? text.lastIndexOf(mark) : -1;
		const news = at < 0 ? text : text.slice(at + mark.length);
		const isReset = Boolean(reset) && at < 0;
		this.cache.set(topic, ((isReset ? '' : tail) + news).slice(-TAIL_CHARS));
		return { text: news, reset: isReset, gap };
	}

	/** For a tab that comes when the stream is running. */
	cached(topic) {
		if (!this.cache.has(topic)) return [];
		const held = this.cache.get(topic);
		return [[topic, this.isLog ? { text: held, reset: true, gap: 0 } : snapshotEvent(topic, held)]];
	}

	refuse({ status, message }) {
		if (status === 401) {
			this.message = message;
			this.enter('auth');
		} else if (status === 400 && this.isLog) {
			// A source that is gone stays gone: not asked again until the panes change.
			this.hub.deliver(this.topics.map((topic) => [topic, { text: '', reset: false, gap: 0, error: message }]));
			this.enter('idle');
		} else {
			this.fail(status ? `${message} (${status})` : 'the server does not answer');
		}
	}

	fail(message) {
		this.stop();
		this.message = message;
		const delay = BACKOFF_MS[Math.min(this.tries++, BACKOFF_MS.length - 1)] * (0.8 + 0.2 * Math.random());
		this.retry = setTimeout(() => this.connect(), delay);
		this.enter('down');
	}

	// Dead, whatever the network believes.
	check(now) {
		const isOver = this.phase === 'open' && this.hasBytes && now - this.lastAt > SILENT_MS;
		if (isOver) this.fail('the server has fallen silent');
	}

	enter(phase) {
		Object.assign(this, { phase, toldAt: Date.now() });
		if (!this.isLog) for (const port of this.hub.clients.keys()) port.postMessage(this.status());
	}

	status() {
		const { phase, attemptAt, lastAt, hasBytes, message, hub } = this;
		return { status: { phase, attemptAt, lastAt, hasBytes, message, tabs: hub.clients.size, counts: hub.counts } };
	}
}
