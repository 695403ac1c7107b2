// Numbers, sizes and times as text. What is not known is "unknown" (or the word given), never 0.
import { setting } from './persist.js';
import { signal } from './signal.js';
import { h } from './dom.js';

export const units = setting('units', 'binary', (v) => v === 'binary' || v === 'decimal');
export const hour12 = setting('hour12', 'auto', (v) => ['auto', '12', '24'].includes(v));
export const absoluteTimes = setting('absoluteTimes', false);
const UNKNOWN = 'unknown';
const SIZES = { binary: [1024, ['B', 'KiB', 'MiB', 'GiB', 'TiB']], decimal: [1000, ['B', 'kB', 'MB', 'GB', 'TB']] };
const SPANS = [[86400, 'd', 3600, 'h'], [3600, 'h', 60, 'min'], [60, 'min', 1, 's']];

export const isNumber = Number.isFinite;

export function num(value, digits = 0, unknown = UNKNOWN) {
	if (!isNumber(value)) return unknown;
	const minimumFractionDigits = value < 100 ? digits : 0;
	return value.toLocaleString(undefined, { maximumFractionDigits: digits, minimumFractionDigits });
}

/** 1234 → "1.2 k" */
export function short(value, unknown = UNKNOWN) {
	const size = Math.abs(value);
	for (const [limit, unit] of [[1e9, ' G'], [1e6, ' M'], [1e3, ' k']]) {
		if (size >= limit) return num(value / limit, size >= 100 * limit ? 0 : 1) + unit;
	}
	return num(value, size >= 10 || Number.isInteger(value) ? 0 : 1, unknown);
}

export function bytes(value, unknown = UNKNOWN) {
	if (!isNumber(value)) return unknown;
	const [base, names] = SIZES[units()];
	let step = 0;
	for (; Math.abs(value) >= base && step < 4; step++) value /= base;
	return `${num(value, step > 2 || (step && value < 10) ? 1 : 0)} ${names[step]}`;
}

/** "320 ms", "4.2 s", "1 min 50 s", "2 h 5 min", "3 d 2 h" */
export function duration(ms, unknown = UNKNOWN) {
	if (!isNumber(ms)) return unknown;
	if (ms < 1000) return `${num(ms)} ms`;
	if (ms < 10000) return `${num(ms / 1000, 1)} s`;
	const seconds = Math.round(ms / 1000);
	const [size, unit, next, small] = SPANS.find(([each]) => seconds >= each) || [];
	if (!size) return `${seconds} s`;
	const rest = Math.floor((seconds % size) / next);
	return `${Math.floor(seconds / size)} ${unit}${rest ? ` ${rest} ${small}` : ''}`;
}

/** 4:12, 1:04:12; never negative. */
export function clock(ms, unknown = UNKNOWN) {
	if (!isNumber(ms)) return unknown;
	const all = Math.max(0, Math.round(ms / 1000));
	const hours = Math.floor(all / 3600);
	const two = (n) => String(n).padStart(2, '0');
	return `${hours ? `${hours}:${two(Math.floor(all / 60) % 60)}` : Math.floor(all / 60)}:${two(all % 60)}`;
}

export const speed = (perSecond, unknown = UNKNOWN) =>
	(isNumber(perSecond) ? `${num(perSecond, perSecond < 100 ? 1 : 0)} t/s` : unknown);

/** Seconds that the server's clock is ahead of ours. */
export const clockOffset = signal(0);
export const serverNow = () => Date.now() / 1000 + clockOffset.peek();
/** Read it, and the effect runs once a second. */
export const tick = signal(0);
setInterval(() => { if (!globalThis.document?.hidden) tick.update((n) => n + 1); }, 1000);

/** Milliseconds since / until an epoch second, live. */
export const since = (at) => (tick(), isNumber(at) ? Math.max(0, (serverNow() - at) * 1000) : null);
export const until = (at) => (tick(), isNumber(at) ? Math.max(0, (at - serverNow()) * 1000) : null);

const hourOptions = () => (hour12() === 'auto' ? {} : { hour12: hour12() === '12' });

export const dateTime = (at, unknown = UNKNOWN) => (isNumber(at) ? new Date(at * 1000)
	.toLocaleString(undefined, { dateStyle: 'medium', timeStyle: 'medium', ...hourOptions() }) : unknown);

/** With the date when it is not today. */
export function timeOfDay(at, unknown = UNKNOWN) {
	if (!isNumber(at)) return unknown;
	const when = new Date(at * 1000);
	const isToday = when.toDateString() === new Date().toDateString();
	return `${isToday ? '' : `${when.toLocaleDateString()} `}${when.toLocaleTimeString(undefined, hourOptions())}`;
}

export function ago(at, unknown = UNKNOWN) {
	if (!isNumber(at)) return unknown;
	const seconds = Math.floor(serverNow() - at);
	if (seconds < 5) return 'just now';
	const [size, unit] = SPANS.find(([each]) => seconds >= each) || [1, 's'];
	return `${Math.floor(seconds / size)} ${unit} ago`;
}

export function timeElement(at) {
	const read = typeof at === 'function' ? at : () => at;
	return h('time', {
		datetime: () => isNumber(read()) && new Date(read() * 1000).toISOString(),
		title: () => dateTime(read()),
	}, () => (absoluteTimes() ? timeOfDay(read()) : (tick(), ago(read()))));
}
