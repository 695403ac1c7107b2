// One request in the drawer: how its time went, what was said, its headers and its bodies.
import { h } from '../core/dom.js';
import { bytes, dateTime, duration } from '../core/format.js';
import { api, apiUrl } from '../core/net.js';
import { go, href, route } from '../core/router.js';
import { computed, effect, onCleanup, signal, untracked } from '../core/signal.js';
import { live } from '../state/requests.js';
import { timelineBar } from '../ui/bars.js';
import { openDrawer } from '../ui/drawer.js';
import { menuButton } from '../ui/menu.js';
import { modelLink } from '../ui/modelparts.js';
import { button, codeBlock, copyButton, emptyState, facts, iconButton, inlineError, skeleton } from '../ui/parts.js';
import { SHOWN, cancelButton, isLive, stateOf } from '../ui/requestcells.js';
import { tabs } from '../ui/tabs.js';
import { toastError } from '../ui/toast.js';
import { curlOf, readCapture } from './capture.js';
import { conversation } from './conversation.js';
import { draftOf } from './transcript.js';

const PARTS = [['messages', 'Messages'], ['headers', 'Headers'], ['raw', 'Raw']];
const NUMBERS = [['Status', 'status'], ['Duration', 'duration'], ['Wait', 'wait'], ['First byte', 'ttft'],
  ['Prompt tokens', 'prompt'], ['Cached', 'cached'], ['Generated', 'generated'], ['Drafted', 'drafted'],
  ['Prefill', 'prefill'], ['Decode', 'decode'], ['Sent / received', 'size']];

/** `id`: () => the number of the request, from the address; `list`: the table; onClose(() => the number shown last). */
export function openInspector({ id, list, onClose }) {
  let last = id();
  const step = async (by) => {
    try {
      const next = await list.step(last, by);
      const part = route.peek().query.get('part');
      if (next) go(next + (part ? `${next.includes('?') ? '&' : '?'}part=${part}` : ''), { replace: true });
      else isEnd.set(by);
    } catch (error) {
      toastError(error, 'Could not find the next request');
    }
  };
  const isEnd = signal(0);
  const arrow = (name, label, by) => iconButton(name, label,
    { disabled: () => isEnd() === by, onclick: () => step(by) });
  return openDrawer({
    title: () => `Request ${id() ?? last}`,
    actions: [arrow('up', 'Previous request', -1), arrow('down', 'Next request', 1)],
    onClose: () => onClose(() => last),
    body: () => {
      effect(() => {
        last = id() ?? last;
        isEnd.set(0);
      });
      return body(id);
    },
  });
}

function body(id) {
  const row = signal(null);
  const capture = signal(null);          // undefined: there is none
  const error = signal(null);
  const running = computed(() => live().find((each) => each.id === id()) || null);
  const isRunning = computed(() => Boolean(running()));
  // What was known last stays while the row of one that has just ended is fetched.
  let [abort, kept] = [null, null];
  const shown = computed(() => {
    kept = running() || kept;
    return running() || [row(), kept].find((each) => each && each.id === id()) || null;
  });
  const load = async (number) => {
    abort?.abort();
    abort = new AbortController();
    const { signal: ended } = abort;
    capture.set(null);
    error.set(null);
    try {
      // By its number in the list, so that one which is not there is an answer and no error.
      const { data } = await api('api/metrics/activity', { query: { min_id: number, max_id: number }, signal: ended });
      const found = data[0] || { id: number, isGone: true };
      row.set(found);
      const path = apiUrl('api', 'captures', String(number));
      capture.set(found.has_capture ? readCapture(await api(path, { signal: ended }), found) : undefined);
    } catch (failed) {
      if (failed.name === 'AbortError') return;
      if (failed.status === 404) capture.set(undefined);
      else error.set(failed);
    }
  };
  effect(() => {
    const number = id();
    if (number !== null && !isRunning()) untracked(() => load(number));
  });
  onCleanup(() => abort?.abort());
  const isKnown = computed(() => Boolean(shown()) && !shown().isGone);
  const number = computed(() => (isKnown() ? shown().id : null));
  return [
    () => error() && inlineError(error(), () => load(id())),
    () => !isKnown() && !error() && (shown() ? emptyState({ title: 'This request is not in the history',
      text: 'It may be too old, or its number may be wrong.' }) : skeleton(5)),
    // Anew for each request, but not for each change of one that is under way.
    () => (number() !== null ? untracked(() => content({ row: shown, capture, isRunning })) : null),
  ];
}

function content({ row, capture, isRunning }) {
  const first = row.peek();
  const id = String(first.id);
  const query = (part) => ({ ...Object.fromEntries(route().query), part: part === PARTS[0][0] ? '' : part });
  const list = () => PARTS.map(([name, label]) => ({ id: name, label, href: href('requests', id, query(name)) }));
  const current = () => (PARTS.find(([name]) => name === route().query.get('part')) || PARTS[0])[0];
  return h('div', { class: 'stack inspector' },
    h('div', { class: 'row' }, stateOf(row), modelLink(first.model), h('span', { class: 'muted' }, dateTime(first.at)),
      cancelButton(row, { hidden: () => !isRunning() })),
    () => row() && row().error_msg && h('p', { class: 'notice error wrap' }, row().error_msg),
    timelineBar({ label: 'Time', parts: () => (row() ? timeline(row()) : []), format: duration }),
    facts(NUMBERS.map(([term, name]) => [term, () => (row() ? SHOWN[name](row()) : '')]), { class: 'narrow' }),
    facts([['Path', `${first.method} ${SHOWN.path(first)}`],
      first.requested !== first.model && ['Asked for', first.requested],
      ...[['Client', 'client'], ['Session', 'session'], ['User agent', 'user_agent'], ['Request ID', 'request_id']]
        .map(([term, name]) => first[name] && [term, first[name]]), ...Object.entries(first.metadata || {})]),
    () => {
      if (isRunning()) return h('p', { class: 'muted' }, 'What was said is shown here when the answer has ended.');
      if (capture() === undefined) return notKept();
      return !capture() ? skeleton(4) : h('div', { class: 'stack' }, actions(row.peek(), capture()),
        tabs('Parts of the request', list, current, () => VIEWS[current()](capture())));
    });
}

const notKept = () => emptyState({ title: 'Nothing was kept of what was said',
  text: 'captureBuffer in the configuration is the memory for this, in MiB: 0 keeps nothing, and the oldest go when '
    + 'it is full or the program ends.' }, h('a', { href: href('system', 'config') }, 'Show the configuration'));

/** Which part of the whole time went where. */
export function timeline(row) {
  const { queue_ms: queued = 0, load_ms: loading = 0 } = row;
  const whole = isLive(row) ? row.elapsed_ms : row.duration_ms;
  const waited = isLive(row) ? Math.min(row.wait_ms, whole) : queued + loading;
  const parts = isLive(row) ? [{ label: 'waiting', ms: waited, kind: 'queued' }]
    : [{ label: 'queued', ms: queued, kind: 'queued' }, { label: 'loading', ms: loading, kind: 'starting' }];
  const rest = Math.max(0, whole - waited);
  let prompt = row.ttft_ms === null ? rest : Math.max(0, row.ttft_ms - waited);
  let note = '';
  const { input_tokens: all, cache_tokens: cached, prompt_per_second: speed } = row.tokens || {};
  if (!row.stream && speed > 0 && all) {
    // An answer in one piece begins when all of it is there: its parts follow from the speed.
    prompt = Math.min(rest, ((all - (cached || 0)) / speed) * 1000);
    note = ' est.';
  }
  const isOne = !row.stream && !note;
  return [...parts, { label: (isOne ? 'prompt and answer' : 'prompt') + note, ms: prompt, kind: 'peer' },
    { label: (isOne ? 'sending' : 'generating') + note, ms: rest - prompt, kind: 'ready' }];
}

function actions(row, { sent, got, ...headers }) {
  const draft = draftOf(sent.asked, row.requested || row.model);
  const play = () => {
    try {
      sessionStorage.setItem('lsw-play-draft', JSON.stringify(draft));
      go('#/play/chat?draft=1');
    } catch (error) {
      toastError(error, 'Could not hand it to the playground');
    }
  };
  const save = async (name, content, type) => {
    const { download } = await import('../core/clipboard.js');
    download(`request-${row.id}${name}`, [content], type);
  };
  const whole = () => JSON.stringify({ ...row, ...headers, req_body: sent.text, resp_body: got.text }, null, 2);
  return h('div', { class: 'row' },
    button('Open in playground', { icon: 'play', disabled: !draft, onclick: play,
      title: draft ? 'Nothing is sent' : 'There are no messages in it' }),
    copyButton(() => curlOf(row, sent), 'Copy as curl', { kind: 'plain' }),
    menuButton('Download', () => [{ label: 'All of it as JSON', run: () => save('.json', whole(), 'application/json') },
      { label: 'Request body', disabled: !sent.raw, run: () => save('-sent', sent.raw) },
      { label: 'Answer body', disabled: !got.raw, run: () => save('-answer', got.raw) }], { icon: 'download' }));
}

const headers = ({ req_headers: sent, resp_headers: got }) => h('div', { class: 'stack' },
  [['Request', sent], ['Answer', got]].map(([title, fields]) => [h('h3', null, title),
    facts(Object.entries(fields || {}).sort(), { class: 'mono' })]));

const bodies = ({ sent, got }) => [['Request', sent], ['Answer', got]].map(([title, body]) => [
  h('h3', null, title, h('span', { class: 'muted small' }, ` ${body.type} ${bytes(body.size)}`)),
  body.note && h('p', { class: 'notice warning' }, body.note),
  body.text ? codeBlock(body.pretty, { label: `${title} body` }) : null]);

const VIEWS = { messages: conversation, headers, raw: (capture) => h('div', { class: 'stack' }, bodies(capture)) };
