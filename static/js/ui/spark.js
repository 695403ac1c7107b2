// A line as small as a word, for tiles; its text says the same.
import { h, s } from '../core/dom.js';

const finite = (value) => typeof value === 'number' && Number.isFinite(value);

/** values: () => numbers, null where nothing is known; text: () => the sentence for those who do not see it. */
export function spark({ label, values, text = () => '' }) {
  const path = () => {
    const y = values();
    const range = extent([y]);
    if (!range) return 'M0 0';
    const [low, high] = [Math.min(0, range[0]), range[1] > Math.min(0, range[0]) ? range[1] : 1];
    const last = Math.max(1, y.length - 1);
    return linePath(y.map((_, i) => i), y, (i) => (i / last) * 200,
      (value) => 30 - ((value - low) / (high - low)) * 28);
  };
  return h('div', null, s('svg', { class: 'spark', viewBox: '0 0 200 32', preserveAspectRatio: 'none', role: 'img',
    'aria-label': () => `${label}: ${text()}` }, s('path', { d: path })));
}

/** Least and greatest known values; null when nothing is known. */
export function extent(lists) {
  let [low, high] = [Infinity, -Infinity];
  for (const list of lists) {
    for (const value of list) {
      if (!finite(value)) continue;
      if (value < low) low = value;
      if (value > high) high = value;
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
    if (i < x.length && finite(y[i])) {
      path += `${start < 0 ? 'M' : 'L'}${at(i, y)}`;
      if (start < 0) start = i;
      continue;
    }
    if (start < 0) continue;
    if (i - start === 1) path += 'm-2 0h4';
    if (base) {
      for (let j = i - 1; j >= start; j--) path += `L${at(j, base)}`;
      path += 'Z';
    }
    start = -1;
  }
  return path;
}
