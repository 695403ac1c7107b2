// What a row of the table of requests shows: of one under way (a live entry) and of one that has ended (a row).
import { h } from '../core/dom.js';
import { bytes, clock, duration, isNumber, num, since, speed, timeElement } from '../core/format.js';
import { api, apiUrl } from '../core/net.js';
import { computed, signal } from '../core/signal.js';
import { pathOf } from '../state/requestquery.js';
import { modelLink, phaseBadge, stateBadge } from './modelparts.js';
import { button } from './parts.js';
import { toast, toastError } from './toast.js';

const ENDS = { error: ['failed', 'failed'], broken: ['failed', 'broken off'], cancelled: ['stopped', 'cancelled'],
	client_gone: ['stopped', 'client left'] };
export const isLive = (row) => row.phase !== undefined;
const isWaiting = (row) => row.phase === 'queued' || row.phase === 'loading';
// What a live request does not have yet is not unknown: it is to come.
const later = (read) => (row) => (isLive(row) ? '' : read(row));
const token = (name) => later(({ tokens }) => num(tokens[name]));
const rate = (name) => later(({ tokens, measured }) => speed(tokens[name])
	+ (measured && isNumber(tokens[name]) ? ' est.' : ''));

/** [key, label, what it means, row => text, more of the column] */
export const NUMBERS = [
	['resp_status_code', 'Status', 'Of HTTP', (row) => (isLive(row) ? row.status : row.resp_status_code || 'unknown')],
	['duration', 'Duration', '', (row) => (isLive(row) ? clock(since(row.at)) : duration(row.duration_ms))],
	['wait', 'Wait', 'In the queue and for the model to load', (row) => (isWaiting(row) ? clock(since(row.at))
		: duration(row.wait_ms ?? row.queue_ms + row.load_ms)), { sort: false }],
	['ttft', 'TTFT', 'Time to the first byte of the answer', (row) => (isLive(row) && row.ttft_ms === null ? ''
		: duration(row.ttft_ms)), { sort: false }],
	['prompt', 'Prompt', 'Tokens', token('input_tokens')],
	['cached', 'Cached', 'Tokens of the prompt that were in the cache', token('cache_tokens'), { hidden: true }],
	['generated', 'Generated', 'Tokens', (row) => (!isLive(row) ? num(row.tokens.output_tokens)
		: row.tokens ? `${num(row.tokens)} est.` : '')],
	['drafted', 'Drafted', 'Drafted tokens that were accepted', later(({ tokens: { draft_tokens: all,
		draft_acc_tokens: good } }) => (isNumber(all) ? `${num(good)} of ${num(all)}` : 'unknown')), { hidden: true }],
	['prompt_speed', 'Prefill', 'Tokens of the prompt per second', rate('prompt_per_second')],
	['gen_speed', 'Decode', 'Generated tokens per second', rate('tokens_per_second')],
	['size', 'Bytes', 'Sent / received', (row) => (isLive(row) ? '' : `${bytes(row.req_bytes)} / `)
		+ bytes(row.resp_bytes), { sort: false, hidden: true }],
];

/** How it stands or ended. `item` is a signal. */
export const stateOf = (item) => {
	const isRunning = computed(() => isLive(item()));
	return () => (isRunning() ? phaseBadge(item) : endBadge(item.peek()));
};

function endBadge({ outcome, resp_status_code: status }) {
	const [state, word] = ENDS[outcome] || (status >= 400 ? ENDS.error : []);
	return state ? stateBadge(() => ({ state, word })) : 'done';
}

const cancelled = signal([]);      // numbers

export async function cancel(id) {
	if (cancelled.peek().includes(id)) return;
	cancelled.update((all) => [...all, id]);
	try {
		await api(apiUrl('api', 'inflight', id, 'cancel'), { method: 'POST' });
		toast(`Request ${id} is cancelled`, { kind: 'ok' });
	} catch (error) {
		cancelled.update((all) => all.filter((each) => each !== id));
		toastError(error, `Could not cancel request ${id}`);
	}
}

export function cancelButton(item) {
	const { id } = item.peek();
	const stop = button(() => (cancelled().includes(id) ? 'Cancelling' : 'Cancel'), { class: 'slim',
		'aria-label': `Cancel request ${id}`, onclick: () => cancel(id), hidden: () => {
			const isOver = !isLive(item());
			// The focus must not fall out of the table with the button.
			if (isOver && stop === document.activeElement) stop.closest('tr')?.focus({ preventScroll: true });
			return isOver;
		} });
	return stop;
}

// Only live rows need live cells: with 500 rows of history the difference is 7000 effects.
export const text = (read) => (item) => (isLive(item.peek()) ? () => read(item()) : read(item.peek()));
const line = (read) => text((row) => {
	const said = read(row) || '';
	return h('span', { class: 'clip block', title: said }, said.split('\n', 1)[0]);
});

export const columns = (link) => [
	{ key: 'time', label: 'Time', sort: true, always: true,
		cell: ({ peek }) => h('a', { class: 'num', href: link(peek().id), tabindex: '-1' }, timeElement(peek().at)) },
	{ key: 'model', label: 'Model', sort: true,
		cell: (item) => Object.assign(modelLink(item.peek().model), { tabIndex: -1 }) },
	{ key: 'state', label: 'State', always: true, cell: (item) => (isLive(item.peek())
		? h('span', { class: 'row nowrap' }, stateOf(item), cancelButton(item)) : endBadge(item.peek())) },
	{ key: 'note', label: 'Reason or error', cell: line((row) => (isWaiting(row) ? row.reason : row.error_msg)) },
	{ key: 'req_path', label: 'Path', sort: true, hidden: true, cell: line(pathOf) },
	{ key: 'client', label: 'Client', cell: line((row) => [row.client, row.session].filter(Boolean).join(' · ')) },
	...NUMBERS.map(([key, label, title, read, more]) => ({ key, label, title, align: 'end', sort: true, cell: text(read),
		...more })),
];
