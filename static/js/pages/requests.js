// Requests: filter, speeds, the table, and the inspector.
import { every, h, icon, inRow, inStack, newId } from '../core/dom.js';
import { short, speed } from '../core/format.js';
import { shortcut } from '../core/keys.js';
import { api } from '../core/net.js';
import { setting } from '../core/persist.js';
import { route, setQuery } from '../core/router.js';
import { computed } from '../core/signal.js';
import { models } from '../state/models.js';
import { apiQuery, complaint, filterChanges, parseTokens, passes, readTokens, tokenText, withToken, without } from
	'../state/requestquery.js';
import { done, live, onDone } from '../state/requests.js';
import { asked } from '../ui/asked.js';
import { histogram } from '../ui/chart.js';
import { menuButton } from '../ui/menu.js';
import { requestsTable } from '../ui/requesttable.js';
import { inspector } from './inspector.js';

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
	inspector(list);
	return inStack(filterBar(), speeds(list.filters), list);
}

/** A field of tokens, and menus that write them. */
function filterBar() {
	const tokens = computed(() => readTokens(route().query));
	const wrong = () => tokens().filter(complaint);
	const put = (next) => setQuery(filterChanges(next), { push: true });
	const errorId = newId('filter');
	const input = h('input', { type: 'search', class: 'grow', spellcheck: 'false', autocomplete: 'off',
		'aria-label': 'Filter', placeholder: 'model:x status:5xx since:1h text:"…"',
		value: () => tokens().map(tokenText).join(' '), onchange: () => put(parseTokens(input.value)),
		'aria-invalid': () => wrong().length > 0 && 'true', 'aria-describedby': errorId });
	shortcut('/', 'Filter', () => input.focus());
	const picker = ([label, name, values]) => menuButton(label, () => {
		const found = values().map((value) => {
			const checked = tokens.peek().some(([n, v]) => n === name && v === value);
			return { label: value, checked, run: () => put((checked ? without : withToken)(tokens.peek(), [name, value])) };
		});
		return found.length ? found : [{ label: 'None seen yet', disabled: true }];
	}, { 'aria-label': `Filter by ${label.toLowerCase()}` });
	return h('div', { class: 'stack filters' },
		inRow(icon('filter'), input, PICKERS.map(picker)),
		h('p', { id: errorId, class: 'error-text', role: 'alert', hidden: () => !wrong().length },
			() => wrong().map((token) => `${tokenText(token)} is not applied: ${complaint(token)}.`).join(' ')));
}

/** Not asked for while folded away. */
function speeds(filters) {
	const isOpen = setting('requests.speeds', innerWidth > 1100);
	const { value, complaint: failure, again } = asked((abort) => api('api/metrics/stats',
		{ query: apiQuery(filters.peek()), signal: abort }), () => (isOpen() ? filters() : null));
	let isOld = false;
	onDone((row) => { isOld ||= passes(filters.peek(), row); });
	every(STATS_MS, () => {
		if (isOld && isOpen.peek()) again();
		isOld = false;
	});
	const chart = (label, name) => histogram({ label, data: () => value()?.[name], format: speed });
	return h('details', { class: 'card', open: isOpen.peek(), ontoggle: (event) => isOpen.set(event.currentTarget.open) },
		h('summary', null, h('h2', null, 'Speeds'),
			h('span', { class: 'muted small' }, () => (value() ? sums(value()) : ''))), failure,
		h('div', { class: 'speeds' }, chart('Prefill', 'prompt_histogram'), chart('Decode', 'gen_histogram')));
}

const sums = (all) => `${short(all.total_requests)} requests, ${short(all.total_input_tokens)} tokens read `
	+ `(${short(all.total_cache_tokens)} cached), ${short(all.total_output_tokens)} written`;
