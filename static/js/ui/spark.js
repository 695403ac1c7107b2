// A line as small as a word, for tiles; its text says the same.
import { h, s } from '../core/dom.js';
import { isNumber } from '../core/format.js';

/** values: () => numbers, null where nothing is known; text: () => the sentence for those who do not see it. */
export function spark({ label, values, text }) {
	const path = () => {
		const y = values();
		const [low, high] = extent([y, [0]]);
		return linePath(y.map((_, i) => i), y, (i) => (i / Math.max(1, y.length - 1)) * 200,
			(value) => 30 - ((value - low) / (high - low || 1)) * 28);
	};
	return h('div', null, s('svg', { class: 'spark', viewBox: '0 0 200 32', preserveAspectRatio: 'none', role: 'img',
		'aria-label': () => `${label}: ${text()}` }, s('path', { d: path })));
}

/** Least and greatest known values; null when nothing is known. */
export function extent(lists) {
	let [low, high] = [Infinity, -Infinity];
	for (const list of lists) {
		for (const value of list) {
			if (!isNumber(value)) continue;
			low = Math.min(low, value);
			high = Math.max(high, value);
		}
	}
	return low <= high ? [low, high] : null;
}

/** The path of a line; `base` (same length) closes each unbroken piece to an area. A lone point is a short dash. */
export function linePath(x, y, toX, toY, base = null) {
	let path = '';
	let start = -1;
	const at = (i, list) => `${toX(x[i]).toFixed(1)} ${toY(list[i]).toFixed(1)}`;
	for (let i = 0; i <= x.length; i++) {
		if (i < x.length && isNumber(y[i])) {
			path += `${start < 0 ? 'M' : 'L'}${at(i, y)}`;
			if (start < 0) start = i;
		} else if (start >= 0) {
			if (i - start === 1) path += 'm-2 0h4';
			for (let j = i - 1; base && j >= start; j--) path += `L${at(j, base)}`;
			if (base) path += 'Z';
			start = -1;
		}
	}
	return path || 'M0 0';
}
