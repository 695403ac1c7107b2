// The event stream of this browser: read once, handed to every tab. Runs in a SharedWorker, or in the page where there
// is none; either way its clients are message ports.
//
// Two lines at most: one for the state of the server, one for logs while a log pane is open. A change of log topics
// then never disturbs the state, and a flood of log lines never delays it.
import { EventParser } from './sse.js';
import { foldEvent, snapshotEvent } from './topics.js';

const BACKOFF_MS = [300, 1000, 2000, 3500, 5000];
const GATHER_MS = 60;             // topics of a page that is being built come one by one
const IDLE_MS = 1500;             // a tab that is only switched should not cost a new connection
const SILENT_MS = 10000;          // five heartbeats missed
const PING_MS = 10000;
const TAIL_CHARS = 256 * 1024;    // of a log, for a tab that comes later
const OVERLAP_CHARS = 400;

export class Hub {
  constructor() {
    this.clients = new Map();     // port → {topics, heardAt}
    this.hello = null;
    this.counts = { events: 0, malformed: 0, dropped: 0, connects: 0 };
    this.state = new Line(this, false);
    this.logs = new Line(this, true);
    this.timer = setInterval(() => this.check(), 1000);
  }

  /** Messages in: {t: 'open', base, key, topics}, {t: 'topics', topics}, {t: 'key', key}, {t: 'retry'}, {t: 'pong'}, {t: 'bye'}.
   *  Messages out: {t: 'events', list: [[topic, data]…]}, {t: 'status', …}, {t: 'ping'}. */
  attach(port) {
    this.clients.set(port, { topics: new Set(), heardAt: Date.now() });
    port.onmessage = (event) => this.onMessage(port, event.data);
    if (port.start) port.start();
  }

  onMessage(port, message) {
    const client = this.clients.get(port) || { topics: new Set() };
    client.heardAt = Date.now();
    if (message.t === 'bye') this.clients.delete(port);
    else this.clients.set(port, client);
    if (message.t === 'open') {
      this.base = message.base;
      if (message.key) this.key = message.key;
    }
    if (message.t === 'key') {
      this.key = message.key;
      this.state.restart();
      this.logs.restart();
    }
    if (message.t === 'retry') this.wake();
    if (message.topics) this.subscribe(port, client, message.topics);
    if (message.t === 'bye') this.gather();
  }

  subscribe(port, client, topics) {
    const added = topics.filter((topic) => !client.topics.has(topic));
    client.topics = new Set(topics);
    const list = added.length && this.hello ? [['hello', this.hello]] : [];
    for (const topic of added) list.push(...this.lineOf(topic).cached(topic));
    if (list.length) port.postMessage({ t: 'events', list });
    port.postMessage(this.state.status());
    this.gather();
    if (topics.length) this.wake();
  }

  lineOf(topic) {
    return topic.startsWith('log:') ? this.logs : this.state;
  }

  gather() {
    clearTimeout(this.gathering);
    const wanted = this.wanted();
    const isFirst = this.state.phase === 'idle';       // nothing is read yet: nothing to be disturbed, so no waiting
    this.gathering = setTimeout(() => {
      this.state.want(wanted.filter((topic) => !topic.startsWith('log:')));
      this.logs.want(wanted.filter((topic) => topic.startsWith('log:')));
    }, !wanted.length ? IDLE_MS : isFirst ? 0 : GATHER_MS);
  }

  wanted() {
    return [...new Set([...this.clients.values()].flatMap((client) => [...client.topics]))].sort();
  }

  /** Waiting for the next try makes no sense when somebody looks, or the network is back. */
  wake() {
    this.state.hurry();
    this.logs.hurry();
  }

  deliver(list) {
    for (const [port, { topics }] of this.clients) {
      const own = list.filter(([topic]) => topics.has(topic) || topic === 'hello' || topic === 'gap');
      if (own.length && topics.size) port.postMessage({ t: 'events', list: own });
    }
  }

  tell(message) {
    for (const port of this.clients.keys()) port.postMessage(message);
  }

  // A tab that was closed says nothing: it is forgotten when it no longer answers.
  check() {
    const now = Date.now();
    for (const [port, client] of this.clients) {
      if (!client.topics.size) continue;
      if (now - client.heardAt > 3 * PING_MS) {
        this.clients.delete(port);
        this.gather();
      } else if (now - client.heardAt > PING_MS) {
        port.postMessage({ t: 'ping' });
      }
    }
    this.state.check(now);
    this.logs.check(now);
  }
}

class Line {
  constructor(hub, isLog) {
    Object.assign(this, { hub, isLog, topics: [], cache: new Map(), lastId: '', phase: 'idle', tries: 0, message: '' });
    Object.assign(this, { attemptAt: 0, lastAt: 0, retryAt: 0, hasBytes: false, retry: null, abort: null });
  }

  want(topics) {
    if (topics.join() === this.topics.join()) return;
    for (const topic of this.cache.keys()) if (!topics.includes(topic)) this.cache.delete(topic);
    // What a new topic was before must come as a snapshot, which the server sends only where nothing is resumed.
    if (topics.some((topic) => !this.topics.includes(topic) && !this.cache.has(topic))) this.lastId = '';
    this.topics = topics;
    this.restart();
  }

  restart() {
    this.stop();
    this.tries = 0;
    if (this.topics.length) this.connect();
    else this.enter('idle');
  }

  hurry() {
    if (this.phase === 'down' && this.topics.length) this.restart();
  }

  stop() {
    clearTimeout(this.retry);
    if (this.abort) this.abort.abort();
    this.abort = null;
  }

  async connect() {
    const abort = this.abort = new AbortController();
    const isCurrent = () => this.abort === abort;
    Object.assign(this, { attemptAt: Date.now(), hasBytes: false });
    this.hub.counts.connects++;
    this.enter('connecting');
    try {
      const reply = await fetch(this.url(), { headers: this.headers(), signal: abort.signal, cache: 'no-store' });
      if (!isCurrent()) return;
      if (!reply.ok) {
        await this.refuse(reply, isCurrent);
        return;
      }
      this.enter('open');
      await this.read(reply.body.getReader(), isCurrent);
      if (isCurrent()) this.fail('the server ended the stream');
    } catch (error) {
      if (isCurrent()) this.fail(error.name === 'TypeError' ? 'the server does not answer' : String(error.message));
    }
  }

  url() {
    const resume = this.lastId && !this.isLog ? `&last_event_id=${encodeURIComponent(this.lastId)}` : '';
    return `${this.hub.base}api/events?topics=${this.topics.map(encodeURIComponent).join(',')}${resume}`;
  }

  headers() {
    const headers = { Accept: 'text/event-stream', 'X-Requested-With': 'llamaswap' };
    if (this.hub.key) headers.Authorization = `Bearer ${this.hub.key}`;
    return headers;
  }

  async read(reader, isCurrent) {
    const decoder = new TextDecoder();
    let list = [];
    const parser = new EventParser((event) => this.take(event, list), () => {});
    for (;;) {
      const { done, value } = await reader.read();
      if (done || !isCurrent()) return;
      const isFirst = !this.hasBytes;
      Object.assign(this, { lastAt: Date.now(), hasBytes: true, tries: 0 });
      parser.push(decoder.decode(value, { stream: true }));
      if (list.length) this.hub.deliver(list.splice(0));
      if (isFirst || !this.toldAt || this.lastAt - this.toldAt > 900) this.enter('open');
    }
  }

  take(event, list) {
    const { counts } = this.hub;
    let data;
    try {
      data = JSON.parse(event.data);
      if (data === null || typeof data !== 'object') throw new TypeError('not an object');
      data = this.remember(event.event, data);
    } catch {
      counts.malformed++;       // one bad event must not end the stream
      return;
    }
    counts.events++;
    if (event.id) this.lastId = event.id;
    if (data) list.push([event.event, data]);
  }

  remember(topic, data) {
    if (topic === 'hello') {
      // Another run of the server knows nothing of our last event.
      if (this.hub.hello && this.hub.hello.run !== data.run && !this.isLog) this.cache.clear();
      if (!this.isLog) this.hub.hello = data;
      return this.isLog ? null : data;
    }
    if (topic === 'gap') {
      this.hub.counts.dropped += data.dropped || 0;
      return data;
    }
    if (this.isLog) return this.continueLog(topic, data);
    this.cache.set(topic, foldEvent(topic, this.cache.get(topic), data));
    return data;
  }

  /** After a new connection the log comes from scratch; only what the panes do not have yet is passed on. */
  continueLog(topic, data) {
    const text = String(data.text);
    const tail = this.cache.get(topic) || '';
    const mark = tail.slice(-OVERLAP_CHARS);
    const at = data.reset && mark.length === OVERLAP_CHARS ? text.lastIndexOf(mark) : -1;
    const news = at >= 0 ? text.slice(at + mark.length) : text;
    const isReset = Boolean(data.reset) && at < 0;
    this.cache.set(topic, ((isReset ? '' : tail) + news).slice(-TAIL_CHARS));
    return { text: news, reset: isReset, gap: data.gap || 0 };
  }

  /** What a tab needs that comes when the stream is already running. */
  cached(topic) {
    if (!this.cache.has(topic)) return [];
    const held = this.cache.get(topic);
    return [[topic, this.isLog ? { text: held, reset: true, gap: 0 } : snapshotEvent(topic, held)]];
  }

  async refuse(reply, isCurrent) {
    const text = await reply.text().catch(() => '');
    if (!isCurrent()) return;
    let message = text.trim().slice(0, 300) || reply.statusText;
    try {
      message = JSON.parse(text).error.message || message;
    } catch { /* not our envelope: the text itself is the best there is */ }
    if (reply.status === 401) {
      this.message = message;
      this.enter('auth');
    } else if (reply.status === 400 && this.isLog) {
      // A source that is gone stays gone: said in the pane, and not asked again until the panes change.
      for (const topic of this.topics) this.hub.deliver([[topic, { text: '', reset: false, gap: 0, error: message }]]);
      this.enter('idle');
    } else {
      this.fail(`${message} (${reply.status})`);
    }
  }

  fail(message) {
    this.stop();
    const base = BACKOFF_MS[Math.min(this.tries++, BACKOFF_MS.length - 1)];
    const delay = base * (0.8 + 0.2 * Math.random());
    Object.assign(this, { message, retryAt: Date.now() + delay });
    this.retry = setTimeout(() => this.connect(), delay);
    this.enter('down');
  }

  // A stream that has spoken and then says nothing is dead, whatever the network believes.
  check(now) {
    if (this.phase === 'open' && this.hasBytes
      && now - this.lastAt > SILENT_MS) this.fail('the server has fallen silent');
  }

  enter(phase) {
    this.phase = phase;
    this.toldAt = Date.now();
    if (!this.isLog) this.hub.tell(this.status());
  }

  status() {
    const { phase, attemptAt, lastAt, retryAt, hasBytes, message, hub } = this;
    return { t: 'status', phase, attemptAt, lastAt, retryAt, hasBytes, message, tabs: hub.clients.size,
      counts: { ...hub.counts } };
  }
}
