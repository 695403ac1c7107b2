// Terminal colours. Where they are not our own, the text's is moved until it stands out from its ground.
import { CODES, lastWritten } from '../state/logs.js';

const LEAST_CONTRAST = 4.6;
const ON = { 1: { 'font-weight': '700' }, 2: { isDim: true }, 3: { 'font-style': 'italic' },
	4: { 'text-decoration': 'underline' }, 7: { isInverse: true }, 9: { 'text-decoration': 'line-through' },
	22: { 'font-weight': null, isDim: false }, 23: { 'font-style': null }, 24: { 'text-decoration': null },
	27: { isInverse: false }, 29: { 'text-decoration': null }, 39: { fore: null }, 49: { back: null } };

/** [{text, css}]: css is what h() takes. */
export function runs(line) {
	const text = lastWritten(line);
	const found = [];
	let style = {};
	let from = 0;
	for (const match of [...text.matchAll(CODES), { index: text.length, 0: '' }]) {
		if (match.index > from) found.push({ text: text.slice(from, match.index), css: drawn(style) });
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

function drawn({ fore = null, back = null, isDim, isInverse, ...css }) {
	const own = fore === null ? (isDim ? '--text-3' : '--text') : fore < 16 && `--ansi-${fore}`;
	if (own && back === null && !isInverse) return own === '--text' ? css : { ...css, color: `var(${own})` };
	const pair = [own ? token(own) : rgbOf(fore), back === null ? token('--well') : rgbOf(back)];
	const [text, ground] = isInverse ? pair.reverse() : pair;
	return { ...css, color: `rgb(${readable(text, ground)})`, background: `rgb(${ground})` };
}

const token = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).match(/[\da-f]{2}/gi)
	.map((part) => parseInt(part, 16));

/** Of one of the 256 colours, or of [red, green, blue]. */
function rgbOf(colour) {
	if (Array.isArray(colour)) return [0, 1, 2].map((i) => Math.min(colour[i] || 0, 255));
	if (colour < 16) return [1, 2, 4].map((bit) => (colour & bit ? 170 : 0) + (colour > 7 ? 85 : 0));
	if (colour > 231) return Array(3).fill(8 + 10 * (colour % 232 % 24));
	return [36, 6, 1].map((step) => Math.floor((colour - 16) / step) % 6).map((part) => part && 55 + 40 * part);
}

const light = (rgb) => rgb.map((part) => (part <= 10 ? part / 3294 : ((part / 255 + 0.055) / 1.055) ** 2.4))
	.reduce((sum, part, i) => sum + part * [0.2126, 0.7152, 0.0722][i], 0.05);

function readable(text, ground) {
	const goal = light(ground) > 0.23 ? 0 : 255;
	for (let part = 0; ; part += 0.05) {
		const tried = text.map((value) => Math.round(value + (goal - value) * Math.min(part, 1)));
		const ratio = light(tried) / light(ground);
		if (Math.max(ratio, 1 / ratio) >= LEAST_CONTRAST || part >= 1) return tried;
	}
}
