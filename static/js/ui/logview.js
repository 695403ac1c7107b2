// A log on the screen: only the rows in view exist.
import { h } from '../core/dom.js';
import { effect, onCleanup, signal } from '../core/signal.js';
import { CODES, lastWritten, lowerBound, plain } from '../state/logs.js';

const OVERSCAN = 8;
const MOST_SHOWN = 4000;      // characters of a line
const LETTERS = 100;          // of a probe: widths are whole pixels
const ON = { 1: { 'font-weight': '700' }, 2: { isDim: true }, 3: { 'font-style': 'italic' },
	4: { 'text-decoration': 'underline' }, 7: { isInverse: true }, 9: { 'text-decoration': 'line-through' },
	22: { 'font-weight': null, isDim: false }, 23: { 'font-style': null }, 24: { 'text-decoration': null },
	27: { isInverse: false }, 29: { 'text-decoration': null }, 39: { fore: null }, 49: { back: null } };

/** filter: () => LineFilter; look: () => {wrap, size, times, current}; onDraw(filter): after each drawing.
 *  `fresh()`: lines that came since it was stopped; null while it is followed. */
export function logView({ ring, filter, look, onDraw, ...props }) {
	const fresh = signal(null);
	const drawn = new Map();      // line number → element
	const heights = new Map();    // of wrapped lines: as the letters are equally wide; measured once in view
	let tops = [0];
	let anchor = null;            // the line at the top, and how much of it is above
	let seen = 0;
	let shownTop = 0;
	let isAsked = false;
	const step = () => Math.round(look().size * 1.5);
	const yOf = (index) => (look().wrap ? tops[index] : index * step());
	const indexAt = (y) => (look().wrap ? Math.max(0, lowerBound(tops, y + 1) - 1) : Math.floor(y / step()));
	const indexOf = (number) => lowerBound(filter().rows, number);
	const spacer = h('div', { class: 'log-lines' });
	const probes = ['0', '漢'].map((letter) => h('i', { class: 'vh', 'aria-hidden': 'true' }, letter.repeat(LETTERS)));
	const box = h('div', { ...props, role: 'log', 'aria-live': 'off', tabindex: '0', onscroll, oncopy,
		class: () => `log-box ${look().wrap ? 'wrapped' : ''}`,
		css: { 'font-size': () => `${look().size}px`, 'line-height': () => `${step()}px` } }, spacer, probes);

	function refresh() {
		if (!isAsked) requestAnimationFrame(draw);
		isAsked = true;
	}

	function draw() {
		isAsked = false;
		if (!filter().step()) refresh();
		const { rows } = filter();
		if (look().wrap) arrange(rows);
		const bottom = Math.max(0, yOf(rows.length) - box.clientHeight);
		const top = fresh.peek() === null ? bottom : Math.min(bottom, yOf(indexOf(anchor.number)) + anchor.into);
		const from = Math.max(0, indexAt(top) - OVERSCAN);
		Object.assign(spacer.style, { height: `${yOf(rows.length)}px`, paddingTop: `${yOf(from)}px` });
		place(rows.slice(from, indexAt(top + box.clientHeight) + OVERSCAN));
		box.scrollTop = top;
		shownTop = box.scrollTop;
		if (look().wrap) correct();
		if (fresh.peek() !== null) fresh.set(rows.length - indexOf(seen));
		onDraw(filter());
	}

	function arrange(rows) {
		const [cell, wide] = probes.map((probe) => probe.scrollWidth / LETTERS);
		const columns = Math.max(1, Math.floor(spacer.clientWidth / cell - 2));
		tops = [0];
		if (heights.size > 2 * rows.length + 999) heights.clear();      // most are of lines that are gone
		rows.forEach((number, i) => {
			if (!heights.has(number)) {
				const text = plain(ring.at(number).text).slice(0, MOST_SHOWN);
				const used = text.length + text.replace(/[^\u1100-\uffff]/g, '').length * (wide / cell - 1) + look().times * 9;
				heights.set(number, Math.max(1, Math.ceil(used / columns)) * step());
			}
			tops.push(tops[i] + heights.get(number));
		});
	}

	function correct() {
		for (const [number, { offsetHeight }] of drawn) {
			if (heights.get(number) !== offsetHeight) refresh();
			heights.set(number, offsetHeight);
		}
	}

	// Rows where a selection begins or ends stay.
	function place(numbers) {
		const { anchorNode, focusNode } = getSelection();
		for (const [number, row] of drawn) {
			const isAway = !numbers.includes(number);
			row.classList.toggle('away', isAway);
			if (!isAway || row.contains(anchorNode) || row.contains(focusNode)) continue;
			row.remove();
			drawn.delete(number);
		}
		for (const number of numbers) {
			if (!drawn.has(number)) drawn.set(number, h('div', { 'data-line': number }));
			fill(drawn.get(number), ring.at(number), number === look().current);
		}
		let at = spacer.firstChild;
		for (const [, row] of [...drawn].sort(([a], [b]) => a - b)) {
			if (row === at) at = at.nextSibling;
			else spacer.insertBefore(row, at);
		}
	}

	function fill(row, { text, at, isMark }, isCurrent) {
		const { find } = filter();
		const drawing = [text, find, look().times, isCurrent].join();
		if (row.drawing === drawing) return;
		row.drawing = drawing;
		row.className = `log-line ${isMark ? 'skipped' : ''} ${isCurrent ? 'current' : ''}`;
		row.replaceChildren(...marked(text, find));
		row.dataset.at = look().times ? (at ? new Date(at).toTimeString() : '').slice(0, 8).padEnd(9) : '';
	}

	function onscroll() {
		if (box.scrollTop === shownTop) return;
		shownTop = box.scrollTop;
		if (shownTop + box.clientHeight > box.scrollHeight - 4) follow();
		else stop();
		refresh();
	}

	function stop() {
		const index = indexAt(shownTop);
		anchor = { number: filter().rows[index], into: shownTop - yOf(index) };
		if (fresh.peek() !== null) return;
		ring.isHeld = true;
		seen = ring.end;
		fresh.set(0);
	}

	function follow() {
		ring.isHeld = false;
		fresh.set(null);
		refresh();
	}

	function show(number) {
		stop();
		anchor = { number, into: -Math.round(box.clientHeight / 3) };
		refresh();
	}

	function text(first = 0, last = Infinity) {
		filter().step(Infinity);
		return filter().rows.filter((number) => number >= first && number <= last)
			.map((number) => plain(ring.at(number).text)).join('\n');
	}

	function oncopy(event) {
		if (getSelection().isCollapsed) return;
		const chosen = getSelection().getRangeAt(0);
		if (!box.contains(chosen.commonAncestorContainer)) return;
		const placeOf = (node, offset) => {
			const row = (node.closest ? node : node.parentElement).closest('.log-line');
			if (!row) return [offset ? Infinity : 0, 0];      // all is selected
			const before = new Range();
			before.setStart(row, 0);
			before.setEnd(node, offset);
			return [Number(row.dataset.line), before.toString().length];
		};
		const [first, start] = placeOf(chosen.startContainer, chosen.startOffset);
		const [last, end] = placeOf(chosen.endContainer, chosen.endOffset);
		const found = text(first, last).split('\n');
		if (last < Infinity) found.push(found.pop().slice(0, end));
		found[0] = found[0].slice(start);
		event.clipboardData.setData('text/plain', found.join('\n'));
		event.preventDefault();
	}

	function redo() {
		look();
		heights.clear();
		refresh();
	}
	effect(redo);
	const sizes = new ResizeObserver(redo);
	sizes.observe(box);
	onCleanup(() => sizes.disconnect());
	return { box, spacer, fresh, refresh, stop, follow, show, text, top: () => filter().rows[indexAt(shownTop)] };
}

function marked(line, find) {
	const all = lastWritten(line);
	const parts = runs(all.slice(0, MOST_SHOWN));
	const whole = parts.map(({ text }) => text).join('');
	const bounds = find ? [...whole.matchAll(new RegExp(find, 'gi'))].flatMap(({ index, 0: { length } }) =>
		[index, index + length]) : [];
	const found = [];
	let at = 0;
	let passed = 0;
	for (const { text, css } of parts) {
		for (const end = at + text.length; at < end;) {
			while (bounds[passed] <= at) passed++;
			const to = Math.min(bounds[passed] ?? end, end);
			found.push(h(passed % 2 ? 'mark' : 'span', { css }, whole.slice(at, to)));
			at = to;
		}
	}
	if (all.length > MOST_SHOWN) found.push(' …');
	return found;
}

/** [{text, css}] */
function runs(line) {
	const found = [];
	let style = {};
	let from = 0;
	for (const match of [...line.matchAll(CODES), { index: line.length, 0: '' }]) {
		if (match.index > from) found.push({ text: line.slice(from, match.index), css: cssOf(style) });
		from = match.index + match[0].length;
		if (match[2] === 'm') style = changed(style, match[1].replaceAll('::', ':').split(/[;:]/).map(Number));
	}
	return found;
}

function changed(before, codes) {
	let style = { ...before };
	for (let code = codes.shift(); code !== undefined; code = codes.shift()) {
		const ground = code < 40 || (code >= 90 && code < 98) ? 'fore' : 'back';
		if (!code) style = {};
		else if (ON[code]) Object.assign(style, ON[code]);
		else if (code === 38 || code === 48) style[ground] = codes.shift() === 2 ? codes.splice(0, 3) : codes.shift();
		else if (code % 10 < 8 && [3, 4, 9, 10].includes(Math.trunc(code / 10))) {
			style[ground] = (code % 10) + (code >= 90 ? 8 : 0);
		}
	}
	return style;
}

// All text must stand out from its ground. The first 16 colours are our own.
function cssOf({ fore = null, back = null, isDim, isInverse, ...css }) {
	const ground = isInverse ? fore ?? 7 : back;
	if (ground !== null) {
		const [red, green, blue] = rgbOf(ground).map((part) => (part / 255) ** 2.2);
		const isLight = 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.18;
		return { ...css, color: isLight ? '#000' : '#fff', background: `rgb(${rgbOf(ground)})` };
	}
	if (fore === null) return { ...css, color: isDim ? 'var(--text-3)' : null };
	const moved = (lightness) => `oklch(from rgb(${rgbOf(fore)}) ${lightness} c h)`;
	return { ...css, color: fore < 16 ? `var(--ansi-${fore})`
		: `light-dark(${moved('min(l, .5)')}, ${moved('max(l, .72)')})` };
}

/** Of one of the 256 colours, or of [red, green, blue]. */
function rgbOf(colour) {
	if (Array.isArray(colour)) return [0, 1, 2].map((i) => Math.min(colour[i] || 0, 255));
	if (colour < 16) return [1, 2, 4].map((bit) => (colour & bit ? 170 : 0) + (colour > 7 ? 85 : 0));
	if (colour > 231) return Array(3).fill(8 + 10 * (colour - 232));
	return [36, 6, 1].map((step) => Math.floor((colour - 16) / step) % 6).map((part) => part && 55 + 40 * part);
}
