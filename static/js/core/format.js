// Numbers, sizes and times as text. What is not known is the word "unknown" (or the word given), never 0.
import { setting } from './persist.js';
import { signal } from './signal.js';
import { h } from './dom.js';

export const units = setting('units', 'binary', (v) => v === 'binary' || v === 'decimal');
export const hour12 = setting('hour12', 'auto', (v) => ['auto', '12', '24'].includes(v));
export const absoluteTimes = setting('absoluteTimes', false);
const UNKNOWN = 'unknown';

export const isNumber = (value) => typeof value === 'number' && Number.isFinite(value);

/** 1234567 → "1 234 567" in the user's own way; digits is the most after the point. */
export function num(value, digits = 0, unknown = UNKNOWN) {
  if (!isNumber(value)) return unknown;
  return value.toLocaleString(undefined, { maximumFractionDigits: digits, minimumFractionDigits: digits && value < 100
    ? digits : 0 });
}

/** 1234 → "1.2 k": for tiles and axes. */
export function short(value, unknown = UNKNOWN) {
  if (!isNumber(value)) return unknown;
  const size = Math.abs(value);
  for (const [limit, unit] of [[1e9, ' G'], [1e6, ' M'], [1e3, ' k']]) {
    if (size >= limit) return num(value / limit, size >= 100 * limit ? 0 : 1) + unit;
  }
  return num(value, size >= 10 || Number.isInteger(value) ? 0 : 1);
}

export const percent = (fraction, digits = 0, unknown = UNKNOWN) =>
  (isNumber(fraction) ? `${num(fraction * 100, digits)} %` : unknown);

/** Memory and file sizes in the chosen units: "18.4 GiB". */
export function bytes(value, unknown = UNKNOWN) {
  if (!isNumber(value)) return unknown;
  const [base, names] = units() === 'binary' ? [1024, ['B', 'KiB', 'MiB', 'GiB', 'TiB']] : [1000, ['B', 'kB', 'MB',
    'GB', 'TB']];
  let step = 0;
  while (Math.abs(value) >= base && step < 4) {
    value /= base;
    step++;
  }
  return `${num(value, step > 2 ? 1 : step && value < 10 ? 1 : 0)} ${names[step]}`;
}

/** A length of time in milliseconds as words: "320 ms", "4.2 s", "1 min 50 s", "2 h 5 min", "3 d 2 h". */
export function duration(ms, unknown = UNKNOWN) {
  if (!isNumber(ms)) return unknown;
  if (ms < 1000) return `${num(ms)} ms`;
  if (ms < 10000) return `${num(ms / 1000, 1)} s`;
  const seconds = Math.round(ms / 1000);
  for (const [size, unit, next, small] of [[86400, 'd', 3600, 'h'], [3600, 'h', 60, 'min'], [60, 'min', 1, 's']]) {
    if (seconds < size) continue;
    const rest = Math.floor((seconds % size) / next);
    return rest ? `${Math.floor(seconds / size)} ${unit} ${rest} ${small}` : `${Math.floor(seconds / size)} ${unit}`;
  }
  return `${seconds} s`;
}

/** A running clock: 4:12, 1:04:12. Never negative. */
export function clock(ms, unknown = UNKNOWN) {
  if (!isNumber(ms)) return unknown;
  const all = Math.max(0, Math.round(ms / 1000));
  const two = (n) => String(n).padStart(2, '0');
  const [hours, minutes, seconds] = [Math.floor(all / 3600), Math.floor(all / 60) % 60, all % 60];
  return hours ? `${hours}:${two(minutes)}:${two(seconds)}` : `${minutes}:${two(seconds)}`;
}

export const speed = (perSecond, unknown = UNKNOWN) =>
  (isNumber(perSecond) ? `${num(perSecond, perSecond < 100 ? 1 : 0)} t/s` : unknown);

// --- times

/** Seconds that the server's clock is ahead of this browser's; set from the stream's first event. */
export const clockOffset = signal(0);
export const serverNow = () => Date.now() / 1000 + clockOffset.peek();
/** Counts seconds, for elapsed times and countdowns: read it and the effect runs once a second. */
export const tick = signal(0);
setInterval(() => { if (!globalThis.document || !document.hidden) tick.update((n) => n + 1); }, 1000);

/** Milliseconds since / until an epoch second, live. */
export const since = (at) => (tick(), isNumber(at) ? Math.max(0, (serverNow() - at) * 1000) : null);
export const until = (at) => (tick(), isNumber(at) ? Math.max(0, (at - serverNow()) * 1000) : null);

export function dateTime(at, unknown = UNKNOWN) {
  if (!isNumber(at)) return unknown;
  return new Date(at * 1000).toLocaleString(undefined, { dateStyle: 'medium', timeStyle: 'medium', ...hourOptions() });
}

/** The time of day today, with the date otherwise. */
export function timeOfDay(at, unknown = UNKNOWN) {
  if (!isNumber(at)) return unknown;
  const when = new Date(at * 1000);
  const isToday = when.toDateString() === new Date().toDateString();
  const time = when.toLocaleTimeString(undefined, hourOptions());
  return isToday ? time : `${when.toLocaleDateString()} ${time}`;
}

export function ago(at, unknown = UNKNOWN) {
  if (!isNumber(at)) return unknown;
  const seconds = serverNow() - at;
  if (seconds < 5) return 'just now';
  for (const [size, unit] of [[86400, 'd'], [3600, 'h'], [60, 'min'], [1, 's']]) {
    if (seconds >= size) return `${Math.floor(seconds / size)} ${unit} ago`;
  }
  return 'just now';
}

/** <time>: relative and kept fresh, the absolute time in its title; or absolute when the user wants that. */
export function timeElement(at) {
  const read = typeof at === 'function' ? at : () => at;
  return h('time', {
    datetime: () => (isNumber(read()) ? new Date(read() * 1000).toISOString() : null),
    title: () => dateTime(read()),
  }, () => (absoluteTimes() ? timeOfDay(read()) : (tick(), ago(read()))));
}

const hourOptions = () => (hour12() === 'auto' ? {} : { hour12: hour12() === '12' });
