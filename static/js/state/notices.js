// What the user should know on every page: from the server, from the connection, from this page.
import { connection, hello, newBuild, subscribe } from '../core/feed.js';
import { clock, duration } from '../core/format.js';
import { isKept } from '../core/persist.js';
import { computed, signal, watch } from '../core/signal.js';
import { foldEvent } from '../core/topics.js';
import { announce } from '../core/live.js';

const own = signal([]);
const fromServer = signal([]);
const hidden = signal(new Set());

/** {id, severity: 'info'|'warning'|'error', text, at, kind, action?: {label, run}, stays?} all that is to be shown now. */
export const notices = computed(() =>
  [...connectionNotices(), ...own(), ...fromServer()].filter((each) => !hidden().has(each.id)));

export function addNotice(notice) {
  hidden.update((ids) => new Set([...ids].filter((id) => id !== notice.id)));
  own.update((all) => [...all.filter((each) => each.id !== notice.id), notice]);
}

export const removeNotice = (id) => own.update((all) => all.filter((each) => each.id !== id));
export const hideNotice = (id) => hidden.update((ids) => new Set([...ids, id]));

const CONNECTION = {
  stale: (silent) => `No word from the server for ${silent}. What you see may be out of date.`,
  down: (silent, message) => `Disconnected: ${message}. Trying again. ${silent ? `What you see is ${silent} old.`
    : ''}`,
  empty: () => 'Connected, but no data arrives. A proxy on the way probably buffers event streams: switch its response ' +
    'buffering off for /api/events.',
  auth: () => 'The server wants an API key.',
};

function connectionNotices() {
  const { state, silentMs, message } = connection();
  if (!CONNECTION[state]) return [];
  const silent = silentMs === null ? '' : silentMs < 60000 ? `${Math.round(silentMs / 1000)} s` : clock(silentMs);
  return [{ id: 'connection', kind: 'connection', severity: state === 'stale' || state === 'empty' ? 'warning'
    : 'error', stays: true,
    text: CONNECTION[state](silent, message) }];
}

export function startNotices() {
  let held = new Map();
  subscribe('notice', (data) => {
    held = foldEvent('notice', new Map(held), data);
    fromServer.set([...held.values()]);
    if (data.op === 'upsert' && data.notice.severity === 'error') announce(data.notice.text, { urgent: true });
  });
  watch(() => {
    if (!newBuild()) return;
    addNotice({ id: 'build', kind: 'build', severity: 'info',
      text: `The server now runs another version (${hello.peek().version}).`,
      action: { label: 'Reload the page', run: () => location.reload() } });
  });
  watch(() => {
    if (!isKept()) addNotice({ id: 'storage', kind: 'storage', severity: 'info',
      text: 'This browser does not store settings: they last until the page is closed.' });
    else removeNotice('storage');
  });
  let last = 'connecting';
  let downAt = 0;
  watch(() => {
    const { state } = connection();
    if (state === last) return;
    if (state === 'down') announce('Disconnected from the server', { urgent: true });
    if (state === 'live' && last === 'down') announce(`Connected again after ${duration(Date.now() - downAt)}`);
    if (state === 'down') downAt = Date.now();
    last = state;
  });
}
