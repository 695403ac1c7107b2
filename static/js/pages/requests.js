// Requests: filter, speeds, the table, and the inspector when the address names a request.
import { every, h, icon, newId } from '../core/dom.js';
import { short, speed } from '../core/format.js';
import { shortcut } from '../core/keys.js';
import { api } from '../core/net.js';
import { setting } from '../core/persist.js';
import { go, route, setQuery } from '../core/router.js';
import { computed, effect, onCleanup, untracked } from '../core/signal.js';
import { models } from '../state/models.js';
import { apiQuery, complaint, filterChanges, parseTokens, passes, readTokens, tokenText, withToken,
	without } from '../state/requestquery.js';
import { done, live, onDone } from '../state/requests.js';
import { asked } from '../ui/asked.js';
import { histogram } from '../ui/chart.js';
import { menuButton } from '../ui/menu.js';
import { requestsTable } from '../ui/requesttable.js';
import { openInspector } from './inspector.js';

const STATS_MS = 5000;
const seen = (field) => () => [...new Set([...live.peek(), ...done.peek()].map((row) => row[field]))].filter(Boolean);
const PICKERS = [['Model', 'model', () => models.peek().map((model) => model.id)],
	['Status', 'status', () => ['error', '2xx', '4xx', '5xx', '499']],
	['Time', 'since', () => ['15m', '1h', '24h', '7d']],
	['Client', 'client', seen('client')],
	['Session', 'session', seen('session')]];

export function mount(ctx) {
	ctx.title('Requests');
	const list = requestsTable();
	openFromAddress(list);
	return h('div', { class: 'stack' }, filterBar(), () => {
		const filters = list.filters();
		return untracked(() => speeds(filters));
	}, list);
}

/** The drawer is open as long as the address says so. */
function openFromAddress(list) {
	const id = () => (route().page === 'requests' && Number(route().id)) || null;
	const isWanted = computed(() => id() !== null);
	const onClose = () => {
		const last = untracked(id);
		if (!last) return;
		go(list.link(''), { replace: true });
		list.focusRow(last);
	};
	effect(() => {
		if (!isWanted()) return;
		const drawer = untracked(() => openInspector({ id, list, onClose }));
		onCleanup(() => drawer.close());
	});
}

/** A field of tokens, and menus that write them for those who would rather pick. */
function filterBar() {
	const tokens = computed(() => readTokens(route().query));
	const wrong = computed(() => tokens().filter(complaint));
	const put = (next) => setQuery(filterChanges(next), { push: true });
	const errorId = newId('filter');
	const input = h('input', { type: 'search', class: 'grow', spellcheck: 'false', autocomplete: 'off',
		'aria-label': 'Filter', placeholder: 'model:x status:5xx since:1h text:"…"',
		value: () => tokens().map(tokenText).join(' '), onchange: () => put(parseTokens(input.value)),
		'aria-invalid': () => (wrong().length ? 'true' : null), 'aria-describedby': errorId });
	shortcut('/', 'Filter', () => input.focus());
	const picker = ([label, name, values]) => menuButton(label, () => {
		const found = values().map((value) => {
			const checked = tokens.peek().some(([n, v]) => n === name && v === value);
			return { label: value, checked, run: () => put((checked ? without : withToken)(tokens.peek(), [name, value])) };
		});
		return found.length ? found : [{ label: 'None seen yet', disabled: true }];
	}, { align: 'start', 'aria-label': `Filter by ${label.toLowerCase()}` });
	return h('div', { class: 'stack filters' },
		h('div', { class: 'row' }, icon('filter'), input, PICKERS.map(picker)),
		h('p', { id: errorId, class: 'error-text', role: 'alert', hidden: () => !wrong().length },
			() => wrong().map((token) => `${tokenText(token)} is not applied: ${complaint(token)}.`).join(' ')));
}

/** Speeds of what the filter lets through, folded away when not wanted, and then not asked for either. */
function speeds(filters) {
	const isOpen = setting('requests.speeds', innerWidth > 1100);
	const { value, complaint: failure, again } = asked(async (abort) => isOpen.peek() && api('api/metrics/stats',
		{ query: apiQuery(filters), signal: abort }), isOpen);
	let isOld = false;
	onDone((row) => { isOld ||= passes(filters, row); });
	every(STATS_MS, () => {
		if (isOld) again();
		isOld = false;
	});
	const chart = (label, name) => histogram({ label, data: () => value()?.[name], format: speed, height: 64 });
	return h('details', { class: 'card', open: isOpen.peek(), ontoggle: (event) => isOpen.set(event.currentTarget.open) },
		h('summary', null, h('h2', null, 'Speeds'),
			h('span', { class: 'muted small' }, () => (value() ? sums(value()) : ''))), failure,
		h('div', { class: 'speeds' }, chart('Prefill', 'prompt_histogram'), chart('Decode', 'gen_histogram')));
}

const sums = (all) => `${short(all.total_requests)} requests, ${short(all.total_input_tokens)} tokens read `
	+ `(${short(all.total_cache_tokens)} from the cache), ${short(all.total_output_tokens)} written`;
