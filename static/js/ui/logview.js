// A log on the screen: only the rows in view exist, in a box that is as high as all of them.
import { h } from '../core/dom.js';
import { effect, onCleanup, signal } from '../core/signal.js';
import { lowerBound, plain } from '../state/logs.js';
import { runs } from './ansi.js';

const OVERSCAN = 8;
const PASSES = 3;
const MOST_SHOWN = 4000;      // characters of a line
const LETTERS = 100;          // of a probe: widths are whole pixels

/** filter: () => LineFilter; look: () => {wrap, size, times, current}; onDraw(filter): after each drawing.
 *  `fresh()` is null while the log is followed, else the number of lines that came since. */
export function logView({ ring, filter, look, onDraw, ...props }) {
	const fresh = signal(null);
	const rows = new Map();       // line number → element
	const heights = new Map();    // of wrapped lines: estimated, then measured
	let tops = [0];
	let anchor = null;            // the line at the top, and how much of it is above
	let seen = 0;
	let shownTop = 0;
	let isAsked = false;
	const step = () => Math.round(look().size * 1.5);
	const yOf = (index) => (look().wrap ? tops[index] : index * step());
	const indexAt = (y) => (look().wrap ? Math.max(0, lowerBound(tops, y + 1) - 1) : Math.floor(y / step()));
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
		const lines = filter();
		if (!lines.step()) refresh();
		for (let pass = 0; pass < PASSES; pass++) {
			if (look().wrap) arrange(lines);
			const bottom = Math.max(0, yOf(lines.count) - box.clientHeight);
			const top = fresh.peek() === null ? bottom : Math.min(bottom, yOf(lines.index(anchor.number)) + anchor.into);
			const from = Math.max(0, indexAt(top) - OVERSCAN);
			Object.assign(spacer.style, { height: `${yOf(lines.count)}px`, paddingTop: `${yOf(from)}px` });
			place(lines, from, Math.min(lines.count, indexAt(top + box.clientHeight) + OVERSCAN));
			box.scrollTop = top;
			shownTop = box.scrollTop;
			if (!look().wrap || !isCorrected()) break;
		}
		if (fresh.peek() !== null) fresh.set(lines.count - lines.index(seen));
		onDraw(lines);
	}

	// The letters are equally wide: what a wrapped line needs is known beforehand, but for unusual ones.
	function arrange(lines) {
		const [cell, wide] = probes.map((probe) => probe.scrollWidth / LETTERS);
		const columns = Math.max(1, Math.floor(spacer.clientWidth / cell - 2));
		tops = [0];
		if (heights.size > 2 * lines.count + 999) heights.clear();        // most are of lines that are gone
		for (let i = 0; i < lines.count; i++) {
			const number = lines.number(i);
			if (!heights.has(number)) {
				const text = plain(ring.at(number).text).slice(0, MOST_SHOWN);
				const used = text.length + text.replace(/[^\u1100-\uffff]/g, '').length * (wide / cell - 1) + look().times * 9;
				heights.set(number, Math.max(1, Math.ceil(used / columns)) * step());
			}
			tops.push(tops[i] + heights.get(number));
		}
	}

	function isCorrected() {
		const wrong = [...rows].filter(([number, row]) => row.offsetHeight !== heights.get(number));
		for (const [number, row] of wrong) heights.set(number, row.offsetHeight);
		return wrong.length > 0;
	}

	// Rows in which a selection begins or ends stay, so that it survives scrolling.
	function place(lines, from, to) {
		const { anchorNode, focusNode } = getSelection();
		const wanted = new Set(Array.from({ length: to - from }, (_, i) => lines.number(from + i)));
		for (const [number, row] of rows) {
			row.classList.toggle('away', !wanted.has(number));
			if (wanted.has(number) || (ring.at(number) && (row.contains(anchorNode) || row.contains(focusNode)))) continue;
			row.remove();
			rows.delete(number);
		}
		for (const number of wanted) {
			if (!rows.has(number)) rows.set(number, h('div', { 'data-line': number }));
			fill(rows.get(number), ring.at(number), number === look().current, lines.find);
		}
		let at = spacer.firstChild;
		for (const [, row] of [...rows].sort(([a], [b]) => a - b)) {
			if (row === at) at = at.nextSibling;
			else spacer.insertBefore(row, at);
		}
	}

	function fill(row, { text, at, isMark }, isCurrent, find) {
		const drawing = [text, document.documentElement.dataset.theme, find, look().times, isCurrent].join();
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

	/** Holds what is in view. */
	function stop() {
		const index = indexAt(shownTop);
		anchor = { number: filter().number(index), into: shownTop - yOf(index) };
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

	/** Brings a line into view. */
	function show(number) {
		stop();
		const y = yOf(filter().index(number)) - shownTop;
		if (y < 0 || y + step() > box.clientHeight) anchor = { number, into: -Math.round(box.clientHeight / 3) };
		refresh();
	}

	function text(first = -Infinity, last = Infinity) {
		const lines = filter();
		const found = [];
		lines.step(Infinity);
		for (let i = lines.index(first); lines.number(i) <= last && i < lines.count; i++) {
			found.push(plain(ring.at(lines.number(i)).text));
		}
		return found.join('\n');
	}

	function oncopy(event) {
		const { anchorNode, anchorOffset, focusNode, focusOffset, isCollapsed } = getSelection();
		if (isCollapsed || !box.contains(anchorNode) || !box.contains(focusNode)) return;
		const ends = [[anchorNode, anchorOffset], [focusNode, focusOffset]].map(([node, offset]) => {
			const row = (node.closest ? node : node.parentElement).closest('.log-line');
			if (!row) return [offset ? Infinity : -Infinity, 0];          // all is selected
			const range = new Range();
			range.setStart(row, 0);
			range.setEnd(node, offset);
			return [Number(row.dataset.line), range.toString().length];
		});
		const [[first, start], [last, end]] = ends.sort(([a, inA], [b, inB]) => a - b || inA - inB);
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
	const themes = new MutationObserver(redo);
	themes.observe(document.documentElement, { attributes: true });
	onCleanup(() => [sizes, themes].forEach((observer) => observer.disconnect()));
	return { box, spacer, fresh, refresh, stop, follow, show, text, top: () => filter().number(indexAt(shownTop)) };
}

/** Text in its colours, with what was looked for in <mark>. */
function marked(line, find) {
	const parts = runs(line.slice(0, MOST_SHOWN));
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
	return found;
}
