// The columns of the requests. A live entry has a phase, a finished row none.
import { each, h } from '../core/dom.js';
import { bytes, clock, duration, isNumber, num, since, speed, timeElement } from '../core/format.js';
import { api, apiUrl } from '../core/net.js';
import { setting } from '../core/persist.js';
import { computed, signal } from '../core/signal.js';
import { pathOf } from '../state/requestquery.js';
import { isWaiting, live } from '../state/requests.js';
import { ask, openDialog } from './dialog.js';
import { modelLink, phaseBadge, stateBadge } from './modelparts.js';
import { button, iconButton } from './parts.js';
import { toast, toastError } from './toast.js';

const ENDS = { error: ['failed', 'failed'], broken: ['failed', 'broken off'], cancelled: ['stopped', 'cancelled'],
	client_gone: ['stopped', 'client left'] };
export const isLive = (row) => row.phase !== undefined;
// Only live rows get live cells: 500 others would be 7000 effects.
export const text = (read) => (item) => (isLive(item.peek()) ? () => read(item()) : read(item.peek()));

const token = (name) => ({ tokens }) => num(tokens[name]);
const rate = (name) => ({ tokens, measured }) => speed(tokens[name])
	+ (measured && isNumber(tokens[name]) ? ' est.' : '');
/** [key, label, row => text, live => text, more of the column] */
const NUMBERS = [
	['resp_status_code', 'Status', (row) => row.resp_status_code || 'unknown', (now) => now.status],
	['duration', 'Duration', (row) => duration(row.duration_ms), (now) => clock(since(now.at))],
	['wait', 'Wait', (row) => duration(row.queue_ms + row.load_ms),
		(now) => (isWaiting(now) ? clock(since(now.at)) : duration(now.wait_ms)),
		{ unsorted: true, title: 'In the queue and for the model to load' }],
	['ttft', 'TTFT', (row) => duration(row.ttft_ms), (now) => duration(now.ttft_ms, ''),
		{ unsorted: true, title: 'Time to the first byte of the answer' }],
	['prompt', 'Prompt', token('input_tokens')],
	['cached', 'Cached', token('cache_tokens'), null, { hidden: true, title: 'Tokens of the prompt from the cache' }],
	['generated', 'Generated', token('output_tokens'), (now) => now.tokens && `${num(now.tokens)} est.`],
	['drafted', 'Drafted', ({ tokens: { draft_tokens: all, draft_acc_tokens: good } }) =>
		(isNumber(all) ? `${num(good)} of ${num(all)}` : 'unknown'), null,
	{ hidden: true, title: 'Drafted tokens that were accepted' }],
	['prompt_speed', 'Prefill', rate('prompt_per_second')],
	['gen_speed', 'Decode', rate('tokens_per_second')],
	['size', 'Bytes', (row) => `${bytes(row.req_bytes)} / ${bytes(row.resp_bytes)}`, (now) => bytes(now.resp_bytes),
		{ unsorted: true, hidden: true, title: 'Sent / received' }],
].map(([key, label, ended, live, more]) => ({ key, label, class: 'to-end num', ...more,
	cell: text((row) => (isLive(row) ? live?.(row) : ended(row)) || '') }));

export const numbersOf = (item) => NUMBERS.map(({ label, cell }) => [label, cell(item)]);

function endBadge({ outcome, resp_status_code: status }) {
	const [state, word] = ENDS[outcome] || (status >= 400 ? ENDS.error : []);
	return state ? stateBadge(() => ({ state, word })) : 'done';
}

/** How it stands, with Cancel, or ended. `item` is a signal. */
export function stateOf(item) {
	if (!isLive(item.peek())) return endBadge(item.peek());
	const isRunning = computed(() => isLive(item()));
	return h('span', { class: 'row nowrap' }, () => (isRunning() ? phaseBadge(item) : endBadge(item.peek())),
		cancelButton(item, isRunning));
}

const cancelled = signal([]);

export async function cancel(id) {
	if (cancelled.peek().includes(id)) return;
	const { session } = live.peek().find((row) => row.id === id) || {};
	// The playground's, and those without a name, need no second thought.
	if (session && !session.startsWith('play-') && !(await ask({ title: `Cancel request ${id}?`,
		body: `It belongs to the session ${session}.`, yes: 'Cancel it', no: 'Keep it' }))) return;
	cancelled.update((all) => [...all, id]);
	try {
		await api(apiUrl('api', 'inflight', id, 'cancel'), { method: 'POST' });
		toast(`Request ${id} is cancelled`, { kind: 'ok' });
	} catch (error) {
		cancelled.update((all) => all.filter((each) => each !== id));
		toastError(error, `Could not cancel request ${id}`);
	}
}

function cancelButton(item, isRunning) {
	const { id } = item.peek();
	const stop = button(() => (cancelled().includes(id) ? 'Cancelling' : 'Cancel'), { class: 'slim',
		'aria-label': `Cancel request ${id}`, onclick: () => cancel(id), hidden: () => {
			// The focus stays in the table.
			if (!isRunning() && stop === document.activeElement) stop.closest('tr')?.focus({ preventScroll: true });
			return !isRunning();
		} });
	return stop;
}

const line = (read) => text((row) => {
	const said = read(row) || '';
	return h('span', { class: 'clip block', title: said }, said.split('\n', 1)[0]);
});

const columnsOf = (link) => [
	{ key: 'time', label: 'Time',
		cell: ({ peek }) => h('a', { class: 'num', href: () => link(peek().id), tabindex: '-1' }, timeElement(peek().at)) },
	{ key: 'model', label: 'Model',
		cell: ({ peek }) => Object.assign(modelLink(peek().model || peek().requested), { tabIndex: -1 }) },
	{ key: 'state', label: 'State', unsorted: true, cell: stateOf },
	{ key: 'note', label: 'Reason or error', unsorted: true,
		cell: line((row) => (isWaiting(row) ? row.reason : row.error_msg)) },
	{ key: 'req_path', label: 'Path', hidden: true, cell: line(pathOf) },
	{ key: 'client', label: 'Client', unsorted: true,
		cell: line((row) => [row.client, row.session].filter(Boolean).join(' · ')) },
	...NUMBERS];

/** {shown: () => [{key, label, title, class, unsorted, cell: item => child}], chooser: button} */
export function tableColumns(link) {
	const columns = columnsOf(link);
	const choice = setting('cols.requests', [], (value) => Array.isArray(value) && value.every(Array.isArray));
	const ordered = computed(() => {
		const chosen = choice().map(([key, hidden]) => ({ ...columns.find((each) => each.key === key), hidden }))
			.filter(({ key }) => key);
		return [...chosen, ...columns.filter(({ key }) => !chosen.some((each) => each.key === key))];
	});
	const save = (list) => choice.set(list.map(({ key, hidden }) => [key, Boolean(hidden)]));
	const toggle = (key) => save(ordered.peek().map((each) => (each.key === key ? { ...each, hidden: !each.hidden }
		: each)));
	const move = (key, by) => {
		const list = [...ordered.peek()];
		const at = list.findIndex((each) => each.key === key);
		const [moved] = list.splice(at, 1);
		list.splice(Math.max(0, at + by), 0, moved);
		save(list);
	};
	const line = (item) => {
		const { key, label } = item.peek();
		const mover = (name, by) => iconButton(name, `Move ${label} ${name}`, { onclick: () => move(key, by) });
		return h('li', { class: 'row' }, h('label', null, h('input', { type: 'checkbox', checked: () => !item().hidden,
			onchange: () => toggle(key) }), label), mover('up', -1), mover('down', 1));
	};
	return { shown: computed(() => ordered().filter(({ hidden }) => !hidden)),
		chooser: button('Columns', { icon: 'columns', onclick: () => openDialog({ title: 'Columns', body: () =>
			each(h('ul', { class: 'columns-list' }), ordered, ({ key }) => key, line) }) }) };
}
