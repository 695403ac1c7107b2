// What is asked of the history. A token is [name, value].
import { serverNow } from '../core/format.js';

export const API = 'api/metrics/activity';
const USUAL = { page: 1, limit: 25, sort: 'time', order: 'desc' };
const MOST_ROWS = 500;
const SECONDS = { m: 60, h: 3600, d: 86400, w: 604800 };
const statusOf = (row) => row.resp_status_code || row.status || 0;
const isFailed = (row) => statusOf(row) >= 400 || row.outcome === 'error' || row.outcome === 'broken';
export const pathOf = (row) => row.req_path || row.path || '';

const timeOf = (text) => Date.parse(text) / 1000;
function sinceOf(text) {
	const [, count, unit] = /^(\d{1,5})([mhdw])$/.exec(text) || [];
	return serverNow() - count * SECONDS[unit];
}
const same = (field) => ({ many: true, test: (row, value) => row[field] === value });
const time = (param, read, hint, test) => ({ hint, check: (value) => read(value) > 0,
	send: (value) => [param, Math.floor(read(value))], test: ({ at }, value) => test(at, read(value)) });
const CLOCK = 'a time such as 2031-05-17T08:00';

/** many: several are OR-ed, otherwise the newest counts. param: its name in address and API. send: what else the API
 *  gets. test: as the server would decide, also of a live entry. */
const FILTERS = {
	__proto__: null,
	model: same('model'),
	status: { many: true, hint: '404, 5xx or error, for instance',
		check: (value) => /^([1-9](xx|\d\d)|error)$/.test(value),
		test: (row, value) => (value === 'error' ? isFailed(row)
			: String(statusOf(row)).startsWith(value.replace('xx', ''))) },
	client: same('client'),
	session: same('session'),
	path: { test: (row, value) => (value[0] === '=' ? pathOf(row) === value.slice(1) : pathOf(row).includes(value)) },
	text: { param: 'q', test: (row, value) => [row.error_msg, pathOf(row), row.model, row.requested]
		.some((each) => each?.toLowerCase().includes(value.toLowerCase())) },
	since: time('from', sinceOf, 'a length of time such as 15m, 1h or 7d', (at, bound) => at >= bound),
	from: time('from', timeOf, CLOCK, (at, bound) => at >= bound),
	to: time('to', timeOf, CLOCK, (at, bound) => at < bound + 1),
};
const NAMES = Object.keys(FILTERS);
const paramOf = (name) => FILTERS[name].param || name;

/** What is wrong with a token, or ''. */
export function complaint([name, value]) {
	if (!FILTERS[name]) return `there is no filter "${name}", only ${NAMES.join(', ')}`;
	const { check = Boolean, hint = 'something to look for' } = FILTERS[name];
	return check(value) ? '' : `${name} is ${hint}`;
}

/** Words without a name are looked for in the text. */
export function parseTokens(text) {
	let tokens = [];
	const words = [];
	for (const part of text.match(/(?:[^\s"]|"[^"]*"?)+/g) || []) {
		const [, name, value] = /^(?:([^":]*):)?(.*)$/s.exec(part);
		const plain = value.replaceAll('"', '');
		if (name === undefined) words.push(plain);
		else tokens = withToken(tokens, [name.toLowerCase(), plain]);
	}
	return words.length ? withToken(tokens, ['text', words.join(' ')]) : tokens;
}

export const tokenText = ([name, value]) => `${name}:${/[\s"]/.test(value) ? `"${value}"` : value}`;
export const without = (tokens, [name, value]) => tokens.filter(([n, v]) => n !== name || v !== value);
export const withToken = (tokens, token) => [...(FILTERS[token[0]]?.many ? without(tokens, token)
	: tokens.filter(([name]) => name !== token[0])), token];

/** Also what is wrong: that is told, not passed over. */
export const readTokens = (query) => [...NAMES.flatMap((name) => query.getAll(paramOf(name)).filter(Boolean)
	.map((value) => [name, value])), ...query.getAll('bad').flatMap(parseTokens)];

/** Changes for setQuery(). */
export const filterChanges = (tokens) => ({ page: null,
	bad: tokens.filter(([name, value]) => !FILTERS[name] || !value).map(tokenText),
	...Object.fromEntries(NAMES.map((name) => [paramOf(name), tokens.filter(([n]) => n === name).map(([, v]) => v)])) });

/** Parameters of the API. */
export const apiQuery = (filters, more = {}) => new URLSearchParams([...filters.map(([name, value]) =>
	FILTERS[name].send?.(value) || [paramOf(name), value]), ...Object.entries(more).filter(([name, value]) =>
	value !== USUAL[name])]);

export const passes = (filters, row) => filters.every(([kind]) => filters.some(([name, value]) => name === kind
	&& FILTERS[name].test(row, value)));

/** Which part of it, in which order. */
export function viewOf(query) {
	const [, down, sort] = /^(-?)(.*)$/.exec(query.get('sort') || '-time');
	const [page, size] = ['page', 'size'].map((name) => Math.floor(query.get(name)) || 0);
	return { page: Math.max(page, 1), limit: Math.min(MOST_ROWS, Math.max(size, USUAL.limit)), sort,
		order: down ? 'desc' : 'asc' };
}
