// The lines of a log, each with its number, and which are asked for.
import { num } from '../core/format.js';

const MOST_LINES = 10000;
const MOST_CHARS = 4e6;
const HELD_TIMES = 5;         // so many more while somebody reads
const MOST_OPEN = 65536;
const HISTORY_MS = 500;       // what comes so soon was written some time before
const SLICE_MS = 5;

export const LEVELS = ['error', 'warn', 'info', 'debug', 'other'];
const LETTER = /^[\d.:\s]*(?:(E)|(W)|(I)|(D))\s/;
const WORD = /\b(?:(fatal|critical|panic|err(?:or)?)|(warn(?:ing)?)|(info|notice)|(debug|trace))\b/i;
/** Terminal codes. Of colours the second group is m, the first the numbers. */
export const CODES = new RegExp('\\x1b(?:\\[([0-?]*)[ -/]*([@-~]|$)|\\][^\\x07\\x1b]*(?:\\x07|\\x1b\\\\)?|[()][0-2AB]'
	+ '|[=>78])?|[\\0-\\x08\\x0b-\\x1f\\x7f-\\x9f]', 'g');

/** Of what a progress bar wrote over itself. */
export const lastWritten = (text) => text.replace(/\r+$/, '').split('\r').at(-1);
export const plain = (text) => lastWritten(text).replace(CODES, '');

function levelOf(text) {
	const found = LETTER.exec(text) || WORD.exec(text.slice(0, 160));
	return LEVELS.at(found ? found.findIndex((group, i) => i && group) - 1 : -1);
}

/** The place of the first that is not less. */
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
	first = 0;          // the number of the oldest
	lines = [];         // {text, at: when it came, 0: before this page, isMark: not of the log}
	chars = 0;
	isOpen = false;     // the newest goes on
	isHeld = false;     // somebody is reading
	startedAt = Date.now();

	get end() { return this.first + this.lines.length; }

	at(number) { return this.lines[number - this.first]; }

	clear() {
		Object.assign(this, { first: this.end, lines: [], chars: 0, isOpen: false, startedAt: Date.now() });
	}

	/** An event of a log topic. */
	push({ text, reset, gap }) {
		if (reset) this.clear();
		const parts = text.split('\n');
		if (gap) parts.unshift(`… ${num(gap)} line${gap > 1 ? 's' : ''} skipped by the server …`);
		else if (this.isOpen) parts[0] = this.lines.pop().text + parts[0];
		const isWhole = !parts.at(-1);
		if (isWhole) parts.pop();
		this.isOpen = !isWhole && parts.at(-1).length < MOST_OPEN;
		const now = Date.now();
		const at = now - this.startedAt < HISTORY_MS ? 0 : now;
		for (const part of parts) this.lines.push({ text: part, at, isMark: gap > 0 && part === parts[0] });
		this.chars += text.length;
		const times = this.isHeld ? HELD_TIMES : 1;
		let old = 0;
		while (this.lines.length - old > times * MOST_LINES || this.chars > times * MOST_CHARS) {
			this.chars -= this.lines[old++].text.length + 1;
		}
		this.lines.splice(0, old);
		this.first += old;
	}
}

/** only: what does not match `find` is left out, but for `context` lines around. */
export class LineFilter {
	rows = [];          // the numbers of what is shown
	hits = [];          // of what matches
	next = 0;
	after = -1;

	constructor(ring, { find, levels = [], only, context }) {
		Object.assign(this, { ring, find, levels, only: find && only, context });
	}

	/** Looks at new lines for a moment; false when there are more. */
	step(ms = SLICE_MS) {
		const { ring } = this;
		for (const list of [this.hits, this.rows]) list.splice(0, lowerBound(list, ring.first));
		const until = performance.now() + ms;
		const end = ring.end - (ring.isOpen && Boolean(this.find || this.levels.length));
		for (this.next = Math.max(this.next, ring.first); this.next < end; this.next++) {
			if (this.next % 64 === 0 && performance.now() > until) return false;
			this.judge(this.next, ring.at(this.next));
		}
		return true;
	}

	judge(number, { text, isMark }) {
		const { find, levels, only, rows, hits } = this;
		if (levels.length && !isMark && !levels.includes(levelOf(plain(text)))) return;
		const isHit = find && find.test(plain(text));
		if (isHit) {
			hits.push(number);
			let near = Math.max(number - this.context, this.ring.first, (rows.at(-1) ?? -1) + 1);
			while (only && near < number) rows.push(near++);
			this.after = number + this.context;
		}
		if (isHit || !only || isMark || number <= this.after) rows.push(number);
	}
}
