// The lines of a log, and which of them are asked for. A line keeps its number as long as the page lives.
import { num } from '../core/format.js';

const MOST_LINES = 10000;
const MOST_CHARS = 4e6;
const MOST_OPEN = 65536;
const HELD_TIMES = 5;
const HISTORY_MS = 500;       // what comes so soon was written some time before
const SLICE_MS = 5;

export const LEVELS = ['error', 'warn', 'info', 'debug', 'other'];
const LETTER = /^[\d.:\s]*(?:(E)|(W)|(I)|(D))\s/;
const WORD = /\b(?:(fatal|critical|panic|err(?:or)?)|(warn(?:ing)?)|(info|notice)|(debug|trace))\b/i;
const CONTROL = '[\\u0000-\\u0008\\u000b-\\u001f\\u007f-\\u009f]';
const HAS_CONTROL = new RegExp(CONTROL);
/** Terminal codes. Of colours the second group is m, the first has the numbers. */
export const CODES = new RegExp('\\u001b(?:\\[([0-?]*)[ -/]*([@-~]|$)|\\][^\\u0007\\u001b]*(?:\\u0007|\\u001b\\\\)?'
	+ `|[()][0-2AB]|[=>78])?|${CONTROL}`, 'g');

/** Of what a progress bar wrote over itself. */
export const lastWritten = (text) => text.replace(/\r+$/, '').replace(/^.*\r/s, '');
export const plain = (text) => (HAS_CONTROL.test(text) ? lastWritten(text).replace(CODES, '') : text);

function levelOf(text) {
	const found = LETTER.exec(text) || WORD.exec(text.slice(0, 160));
	return LEVELS.at(found ? found.findIndex((group, i) => i && group) - 1 : -1);
}

/** The place of the first that is not less, in ascending numbers. */
export function lowerBound(numbers, wanted) {
	let [low, high] = [0, numbers.length];
	while (low < high) {
		const middle = (low + high) >> 1;
		if (numbers[middle] < wanted) low = middle + 1;
		else high = middle;
	}
	return low;
}

export class LineRing {
	first = 0;              // the number of the oldest
	lines = [];             // {text, at: when it reached this page, 0: before, isMark: not of the log}
	chars = 0;
	open = null;            // the newest line, if it goes on
	isHeld = false;         // somebody is reading
	startedAt = Date.now();

	get end() { return this.first + this.lines.length; }

	at(number) { return this.lines[number - this.first]; }

	clear() {
		Object.assign(this, { first: this.end, lines: [], chars: 0, open: null, startedAt: Date.now() });
	}

	/** Takes an event of a log topic. */
	push({ text, reset, gap }) {
		if (reset) this.clear();
		if (gap) this.open = null;
		const all = (gap ? `… ${num(gap)} line${gap > 1 ? 's' : ''} skipped by the server …\n` : '') + text;
		if (!all) return;
		const { lines } = this;
		const parts = all.split('\n');
		const isOpen = parts.at(-1) !== '';
		if (!isOpen) parts.pop();
		if (this.open) this.open.text += parts.shift();
		const at = Date.now() - this.startedAt < HISTORY_MS ? 0 : Date.now();
		lines.push(...parts.map((part, i) => ({ text: part, at, isMark: gap > 0 && !i })));
		this.open = isOpen && lines.at(-1).text.length < MOST_OPEN ? lines.at(-1) : null;
		this.chars += all.length;
		const times = this.isHeld ? HELD_TIMES : 1;
		let old = 0;
		while (lines.length - old > times * MOST_LINES || this.chars > times * MOST_CHARS) {
			this.chars -= lines[old++].text.length + 1;
		}
		lines.splice(0, old);
		this.first += old;
	}
}

/** find: what a line must match; only: others are left out but for `context` lines around. */
export class LineFilter {
	hits = [];
	after = -1;

	constructor(ring, { find, levels = [], only, context }) {
		Object.assign(this, { ring, find, levels, only: find && only, context, next: ring.first });
		this.rows = this.only || levels.length ? [] : null;       // null: all lines
	}

	get count() { return (this.rows || this.ring.lines).length; }

	number(index) { return this.rows ? this.rows[index] : this.ring.first + index; }

	index(number) {
		return this.rows ? lowerBound(this.rows, number) : Math.min(Math.max(0, number - this.ring.first), this.count);
	}

	/** Looks at new lines for a moment; false when there are more. */
	step(ms = SLICE_MS) {
		const { ring, rows, hits, find } = this;
		for (const list of [hits, rows || []]) list.splice(0, lowerBound(list, ring.first));
		this.next = Math.max(this.next, ring.first);
		const until = performance.now() + ms;
		for (const end = ring.end - Boolean(ring.open); (rows || find) && this.next < end; this.next++) {
			if (this.next % 64 === 0 && performance.now() > until) return false;
			this.judge(this.next, ring.at(this.next));
		}
		return true;
	}

	judge(number, { text: written, isMark }) {
		const { find, levels, only, rows, hits } = this;
		const text = plain(written);
		if (levels.length && !isMark && !levels.includes(levelOf(text))) return;
		const isHit = find && find.test(text);
		if (isHit) {
			hits.push(number);
			let near = Math.max(number - this.context, this.ring.first, (rows?.at(-1) ?? -1) + 1);
			while (only && near < number) rows.push(near++);
			this.after = number + this.context;
		}
		if (isHit || !only || isMark || number <= this.after) rows?.push(number);
	}
}
