// The arithmetic of charts: ticks, columns, places. Pure; gaps (null, NaN) stay gaps.
import { isNumber } from '../core/format.js';

/** Round numbers from 0 or below to above `high`: about `count` steps of 1, 2, 2.5 or 5 times a power of ten. */
export function niceTicks(low, high, count = 4) {
	if (!(high > low)) high = low + (Math.abs(low) || 1);
	const rough = (high - low) / count;
	const power = 10 ** Math.floor(Math.log10(rough));
	const step = [1, 2, 2.5, 5, 10].find((each) => each * power >= rough * 0.999) * power;
	const ticks = [];
	for (let i = Math.floor(low / step); i * step < high + step * 0.999; i++) ticks.push(i * step);
	return ticks;
}

/** Times on round minutes, hours or days. */
export function timeTicks(from, to, count = 5) {
	const steps = [5, 15, 30, 60, 300, 600, 900, 1800, 3600, 10800, 21600, 43200];
	const step = steps.find((each) => (to - from) / each <= count) || 86400;
	const offset = new Date(from * 1000).getTimezoneOffset() * 60;
	const ticks = [];
	for (let at = Math.ceil((from - offset) / step) * step + offset; at <= to; at += step) ticks.push(at);
	return ticks;
}

/** At most two points per pixel column, its least and its greatest, so that no spike is lost. */
export function thin(x, y, columns) {
	if (x.length <= columns * 2) return [x, y];
	const per = x.length / columns;
	const kept = [];
	for (let column = 0; column < columns; column++) {
		const begin = Math.floor(column * per);
		let [low, high] = [begin, begin];
		for (let i = begin; i < Math.floor((column + 1) * per); i++) {
			if (!isNumber(y[i])) continue;
			if (!isNumber(y[low]) || y[i] < y[low]) low = i;
			if (!isNumber(y[high]) || y[i] > y[high]) high = i;
		}
		kept.push(...new Set([Math.min(low, high), Math.max(low, high)]));
	}
	return [kept.map((i) => x[i]), kept.map((i) => y[i])];
}

/** The index whose x is nearest. */
export function nearest(x, wanted) {
	let [low, high] = [0, x.length - 1];
	while (high - low > 1) {
		const middle = (low + high) >> 1;
		if (x[middle] < wanted) low = middle;
		else high = middle;
	}
	return Math.abs(x[low] - wanted) <= Math.abs(x[high] - wanted) ? low : high;
}
