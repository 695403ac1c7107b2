// What a row of the table of requests shows: of one under way (a live entry) and of one that has ended (a row).
import { h } from '../core/dom.js';
import { bytes, clock, duration, isNumber, num, since, speed, timeElement } from '../core/format.js';
import { computed } from '../core/signal.js';
import { cancelRequest, pendingOf } from './actions.js';
import { modelLink, phaseBadge, stateBadge } from './modelparts.js';
import { button } from './parts.js';
import { askFirst } from './toast.js';

const ENDS = { error: ['failed', 'failed'], broken: ['failed', 'broken off'], cancelled: ['stopped', 'cancelled'],
  client_gone: ['stopped', 'client left'] };
export const isLive = (row) => row.phase !== undefined;
const isWaiting = (row) => row.phase === 'queued' || row.phase === 'loading';
// What a live request does not have yet is not unknown: it is to come.
const token = (name) => (row) => (isLive(row) ? '' : num(row.tokens[name]));
const estimated = (row, value) => (row.measured && isNumber(value) ? ' est.' : '');
const rate = (name) => (row) => (isLive(row) ? '' : speed(row.tokens[name]) + estimated(row, row.tokens[name]));
const line = (text) => (text ? h('span', { class: 'clip block', title: text }, text.split('\n', 1)[0]) : '');

/** What is known of a row or a live entry, as text. */
export const SHOWN = {
  path: (row) => row.req_path || row.path || '',
  status: (row) => String((isLive(row) ? row.status : row.resp_status_code) || (isLive(row) ? '' : 'unknown')),
  wait: (row) => (isWaiting(row) ? clock(since(row.at))
    : duration(isLive(row) ? row.wait_ms : row.queue_ms + row.load_ms)),
  ttft: (row) => (isLive(row) && row.ttft_ms === null ? '' : duration(row.ttft_ms)),
  prompt: token('input_tokens'),
  cached: token('cache_tokens'),
  generated: (row) => (isLive(row) ? row.tokens ? `${num(row.tokens)} est.` : '' : num(row.tokens.output_tokens)),
  drafted: (row) => (isLive(row) ? '' : !isNumber(row.tokens.draft_tokens) ? 'unknown'
    : `${num(row.tokens.draft_acc_tokens)} of ${num(row.tokens.draft_tokens)}`),
  prefill: rate('prompt_per_second'),
  decode: rate('tokens_per_second'),
  duration: (row) => (isLive(row) ? clock(since(row.at)) : duration(row.duration_ms)),
  size: (row) => (isLive(row) ? bytes(row.resp_bytes) : `${bytes(row.req_bytes)} / ${bytes(row.resp_bytes)}`),
};

/** How it stands or ended; live while it is under way. `item` is a signal. */
export function stateOf(item) {
  const isRunning = computed(() => isLive(item()));
  return isRunning.peek() ? () => (isRunning() ? phaseBadge(item) : ended(item.peek())) : ended(item.peek());
}

function ended({ outcome, resp_status_code: status }) {
  const [state, word] = ENDS[outcome] || (status >= 400 ? ENDS.error : []);
  return state ? stateBadge(() => ({ state, word })) : 'done';
}

/** Asks first when it is somebody else's, as far as that can be known. */
export async function cancel(row) {
  const own = attempt(() => sessionStorage.getItem('lsw-session'));
  const isOthers = row.session ? row.session !== own : !/^(127\.|::1$|localhost)/.test(row.client || '');
  const who = [row.client, row.session && `session ${row.session}`].filter(Boolean).join(', ') || 'somebody';
  const isSure = !isOthers || await askFirst({ title: `Cancel request ${row.id}?`, danger: true,
    yes: 'Cancel the request', no: 'Keep',
    body: `It is not from this page: ${who} is waiting for an answer of ${row.model}.` });
  if (isSure) cancelRequest(row);
}

export function cancelButton(item, props = {}) {
  return button(() => (pendingOf(`request ${item().id}`) ? 'Cancelling' : 'Cancel'), { class: 'slim', ...props,
    'aria-label': `Cancel request ${item.peek().id}`, onclick: () => cancel(item.peek()) });
}

function stateCell(item) {
  if (!isLive(item.peek())) return stateOf(item);
  const stop = cancelButton(item, { hidden: () => {
    // The focus must not fall out of the table with the button.
    if (!isLive(item()) && stop && stop === document.activeElement) stop.closest('tr').focus({ preventScroll: true });
    return !isLive(item());
  } });
  return h('span', { class: 'row nowrap' }, stateOf(item), stop);
}

// Only live rows need live cells: with 500 rows of history the difference is 7000 effects.
export const text = (read) => (item) => (isLive(item.peek()) ? () => read(item()) : read(item.peek()));
const count = (key, label, title, read, more = {}) => (
  { key, label, title, align: 'end', sort: true, cell: text(read), ...more });

export const columns = (link) => [
  count('id', 'Number', '', (row) => String(row.id), { hidden: true }),
  { key: 'time', label: 'Time', sort: true, always: true,
    cell: ({ peek }) => h('a', { class: 'num', href: link(peek().id), tabindex: '-1' }, timeElement(peek().at)) },
  { key: 'model', label: 'Model', sort: true,
    cell: (item) => Object.assign(modelLink(item.peek().model), { tabIndex: -1 }) },
  { key: 'requested', label: 'Asked for', title: 'The name that the client wrote', hidden: true,
    cell: text((row) => row.requested) },
  { key: 'state', label: 'State', always: true, cell: stateCell },
  { key: 'note', label: 'Reason or error', cell: text((row) => line(isWaiting(row) ? row.reason : row.error_msg)) },
  count('resp_status_code', 'Status', 'Of HTTP', SHOWN.status),
  { key: 'req_path', label: 'Path', sort: true, hidden: true, cell: text((row) => line(SHOWN.path(row))) },
  { key: 'client', label: 'Client', cell: text((row) => line([row.client, row.session].filter(Boolean).join(' · '))) },
  { key: 'agent', label: 'User agent', hidden: true, cell: text((row) => line(row.user_agent)) },
  count('duration', 'Duration', '', SHOWN.duration),
  count('wait', 'Wait', 'In the queue and for the model to load', SHOWN.wait, { sort: false }),
  count('ttft', 'TTFT', 'Time to the first byte of the answer', SHOWN.ttft, { sort: false }),
  count('prompt', 'Prompt', 'Tokens', SHOWN.prompt),
  count('cached', 'Cached', 'Tokens of the prompt that were in the cache', SHOWN.cached, { hidden: true }),
  count('generated', 'Generated', 'Tokens', SHOWN.generated),
  count('drafted', 'Drafted', 'Drafted tokens that were accepted', SHOWN.drafted, { hidden: true }),
  count('prompt_speed', 'Prefill', 'Tokens of the prompt per second', SHOWN.prefill),
  count('gen_speed', 'Decode', 'Generated tokens per second', SHOWN.decode),
  count('size', 'Bytes', 'Sent / received', SHOWN.size, { sort: false, hidden: true }),
  { key: 'resp_content_type', label: 'Content type', sort: true, hidden: true,
    cell: text((row) => line(row.resp_content_type)) },
  { key: 'metadata', label: 'Metadata', hidden: true,
    cell: text((row) => line(Object.entries(row.metadata || {}).map((pair) => pair.join(': ')).join(', '))) },
];

function attempt(run) {
  try {
    return run();
  } catch {
    return null;      // storage may be blocked
  }
}
