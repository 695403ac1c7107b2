// Numbers, sizes and times as text.
import { setting } from './persist.js';
import { signal } from './signal.js';
import { h } from './dom.js';

export const units = setting('units', 'binary', (v) => v === 'binary' || v === 'decimal');
export const hour12 = setting('hour12', 'auto', (v) => ['auto', '12', '24'].includes(v));
export const absoluteTimes = setting('absoluteTimes', false);
const SIZES = { binary: [1024, ['B', 'KiB', 'MiB', 'GiB', 'TiB']], decimal: [1000, ['B', 'kB', 'MB', 'GB', 'TB']] };
const SPANS = [[86400, 'd', 3600, 'h'], [3600, 'h', 60, 'min'], [60, 'min', 1, 's'], [1, 's']];

export const isNumber = Number.isFinite;
export const sum = (values) => values.reduce((total, value) => total + (value || 0), 0);

/** What is not known is "unknown" or the word given, never 0. */
const known = (show) => (value, option) => (isNumber(value) ? show(value, option)
	: typeof option === 'string' ? option : 'unknown');

export const num = known((value, digits = 0) => value.toLocaleString(undefined, { maximumFractionDigits: digits,
	minimumFractionDigits: value < 100 ? digits : 0 }));

/** 1234 → "1.2 k" */
export const short = known((value) => {
	const [step, unit] = [[1e9, ' G'], [1e6, ' M'], [1e3, ' k']].find(([each]) => Math.abs(value) >= each) || [1, ''];
	const part = value / step;
	return num(part, Math.abs(part) >= 100 || Number.isInteger(part) ? 0 : 1) + unit;
});

export const bytes = known((value) => {
	const [base, names] = SIZES[units()];
	let step = 0;
	for (; Math.abs(value) >= base && step < 4; step++) value /= base;
	return `${num(value, step > 2 || (step && value < 10) ? 1 : 0)} ${names[step]}`;
});

/** "320 ms", "4.2 s", "1 min 50 s", "2 h 5 min", "3 d 2 h" */
export const duration = known((ms) => {
	if (ms < 1000) return `${num(ms)} ms`;
	if (ms < 10000) return `${num(ms / 1000, 1)} s`;
	const seconds = Math.round(ms / 1000);
	const [size, unit, next, small] = spanOf(seconds);
	const rest = next && Math.floor((seconds % size) / next);
	return `${Math.floor(seconds / size)} ${unit}${rest ? ` ${rest} ${small}` : ''}`;
});

const spanOf = (seconds) => SPANS.find(([size]) => seconds >= size);

/** 4:12, 1:04:12 */
export const clock = known((ms) => {
	const all = Math.max(0, Math.round(ms / 1000));
	const hours = Math.floor(all / 3600);
	const minutes = String(Math.floor(all / 60) % 60);
	return `${hours ? `${hours}:${minutes.padStart(2, '0')}` : minutes}:${String(all % 60).padStart(2, '0')}`;
});

export const speed = known((perSecond) => `${num(perSecond, perSecond < 100 ? 1 : 0)} t/s`);

/** Seconds that the server's clock is ahead of ours. */
export const clockOffset = signal(0);
export const serverNow = () => Date.now() / 1000 + clockOffset.peek();
/** Read it, and the effect runs once a second. */
export const tick = signal(0);
setInterval(() => { if (!globalThis.document?.hidden) tick.update((n) => n + 1); }, 1000);

/** Milliseconds since / until an epoch second, live. */
export const since = (at) => (tick(), isNumber(at) ? Math.max(0, (serverNow() - at) * 1000) : null);
export const until = (at) => (tick(), isNumber(at) ? Math.max(0, (at - serverNow()) * 1000) : null);

export const timeText = (at, dateStyle, timeStyle = 'medium') => new Date(at * 1000).toLocaleString(undefined, {
	dateStyle, timeStyle, hour12: hour12() === 'auto' ? undefined : hour12() === '12' });

export const dateTime = known((at) => timeText(at, 'medium'));

/** With the date when it is not today. */
export const timeOfDay = known((at) =>
	timeText(at, new Date(at * 1000).toDateString() === new Date().toDateString() ? undefined : 'short'));

export const ago = known((at) => {
	const seconds = Math.floor(serverNow() - at);
	if (seconds < 5) return 'just now';
	const [size, unit] = spanOf(seconds);
	return `${Math.floor(seconds / size)} ${unit} ago`;
});

export function timeElement(at) {
	const read = typeof at === 'function' ? at : () => at;
	return h('time', {
		datetime: () => isNumber(read()) && new Date(read() * 1000).toISOString(),
		title: () => dateTime(read()),
	}, () => (absoluteTimes() ? timeOfDay(read()) : (tick(), ago(read()))));
}
