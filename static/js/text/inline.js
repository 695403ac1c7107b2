// The inside of a paragraph, by the rules of markdown.js.

export const MAX_DEPTH = 32;
const PUNCTUATION = /[!-/:-@[-`{-~]/;
const ENTITIES = new Map(Object.entries({ amp: '&', lt: '<', gt: '>', quot: '"', apos: "'", nbsp: '\u00a0' }));
// (address "title"); brackets in an address come in pairs.
const TARGET = new RegExp(/\(\s?(?:<([^<>\n]{0,2000})>|((?:\\.|[^\s()\\]|\([^\s()\\]*\))*))/.source
	+ /(?:\s("[^"]{0,400}"|'[^']{0,400}'))?\s?\)/.source, 'y');
// Without the punctuation of the sentence around it.
const IN_URL = /[^\s<>"`\\^{}|[\]()]/.source;
const URL_TEXT = new RegExp(
	`(?<![\\p{L}\\p{N}])(https?://(?:${IN_URL}|\\(${IN_URL}{0,200}\\)){1,2000})(?<![.,:;!?'*_~])`, 'iuy');
const CODE = /`+|\\[([]|\$\$/y;
const CODE_ENDS = { '\\(': '\\)', '\\[': '\\]' };
const RUN = /([*_~`])\1*|!?\[/y;
const ORDINARY = [/([^\\`$<&*_~[\]! h]+)/y, (run) => run];
// By the first character: what may stand there, what becomes of it.
const PIECES = {
	'\\': [/\\([\n!-/:-@[-`{-~])/y, (char) => (char === '\n' ? node('br') : char)],
	' ': [/ {2,80}\n/y, () => node('br')],
	$: [/\$(?![\s\d$])([^$]{0,400}?[^\s\\$])\$(?!\d)/y, (formula) => math(formula)],        // no prices
	'<': [/<((?:https?:\/\/|mailto:)[^\s<>]{1,2000}|[\w.+-]{1,64}@[\w.-]{1,255})>/iy,
		(address) => link(address.includes(':') ? address : `mailto:${address}`, [address])],
	h: [URL_TEXT, (url) => link(url, [url])],
	'&': [/&(#\d{1,7}|#x[0-9a-f]{1,6}|[a-z]{2,8});/iy, (name) => {
		const point = name[0] === '#' ? Number(`0${name.slice(1)}`) : 0;        // 065 or 0x41
		return ENTITIES.get(name) || (point && point < 0x110000 && String.fromCodePoint(point));
	}],
};

export const node = (tag, children = [], props = null) => ({ tag, props, children,
	depth: 1 + children.reduce((most, each) => Math.max(most, each.depth || 0), 0) });

const code = (text) => node('code', [text]);
const math = (text) => node('code', [text], { class: 'math' });

function nested(tag, children, props) {
	const made = node(tag, children, props);
	return made.depth > MAX_DEPTH ? textOf(children) : made;
}
const textOf = (nodes) => nodes.reduce((text, each) => text + (each.children ? textOf(each.children) : each), '');

// Browsers drop control characters before they look at the scheme; so do we.
function link(address, children, props) {
	const href = address.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\u00a0]/gu, '').trim().replaceAll(' ', '%20');
	return /^(?:https?:\/\/|mailto:)[^<>"]+$/i.test(href) && nested('a', children.length ? children : [href],
		{ href, target: '_blank', rel: 'noopener noreferrer', ...props });
}

function matchAt(pattern, text, i) {
	pattern.lastIndex = i;
	return pattern.exec(text) || [];
}

// [piece, end] of what stands at i. `missing`: what was looked for in vain.
function take(text, i, missing) {
	const [start] = matchAt(CODE, text, i);
	const found = start?.length <= 16 && codeUntil(text, i + start.length, CODE_ENDS[start] || start, missing);
	if (found) return found;
	const [pattern, make] = PIECES[text[i]] || ORDINARY;
	const [all, inside] = matchAt(pattern, text, i);
	const piece = all && make(inside);
	return piece && [piece, i + all.length];
}

function codeUntil(text, from, end, missing) {
	let at = missing.has(end) ? -1 : text.indexOf(end, from);
	while (at >= 0 && end[0] === '`' && text[at + end.length] === '`') {       // a longer run ends nothing
		while (text[at] === '`') at += 1;
		at = text.indexOf(end, at);
	}
	if (at < 0) {
		missing.add(end);
		return null;
	}
	const body = text.slice(from, at).replace(/\n/g, ' ');
	return [(end[0] === '`' ? code : math)(body.trim() || body), at + end.length];
}

export function inline(text) {
	const pieces = [];
	const brackets = [];
	const missing = new Set();
	let dead = 0;                     // so many brackets open no link any more: links do not nest
	let i = 0;
	while (i < text.length) {
		const taken = take(text, i, missing);
		if (taken) {
			pieces.push(taken[0]);
			i = taken[1];
		} else if (text[i] === ']') {
			closeBracket();
		} else {
			const [run = text[i]] = matchAt(RUN, text, i);
			if (run.endsWith('[')) brackets.push({ at: pieces.length, isPicture: run !== '[' });
			pieces.push(/[*_~]/.test(run) ? delimiter(text, run, i) : run);
			i += run.length;
		}
	}
	return paired(pieces);

	function closeBracket() {
		i += 1;
		const open = brackets.pop();
		const [all, pointed, plain = '', title] = open && brackets.length >= dead ? matchAt(TARGET, text, i) : [];
		dead = Math.min(dead, brackets.length);
		if (!all) {
			pieces.push(']');
			return;
		}
		const inner = paired(pieces.splice(open.at).slice(1));
		const made = link(pointed ?? plain.replace(/\\([!-/:-@[-`{-~])/g, '$1'), inner,
			{ title: title?.slice(1, -1), class: open.isPicture ? 'picture' : null });
		for (const each of made ? [made] : inner) pieces.push(each);
		if (!open.isPicture) dead = brackets.length;
		i += all.length;
	}
}

function delimiter(text, run, start) {
	// 2: space, 1: punctuation, 0: a word
	const [before, after] = [text[start - 1], text[start + run.length]].map((each = ' ') => (/\s/.test(each) ? 2
		: Number(PUNCTUATION.test(each))));
	const isLeft = after < 2 && (!after || before > 0);
	const isRight = before < 2 && (!before || after > 0);
	const isFree = run[0] !== '_';
	return { char: run[0], size: run.length, opens: isLeft && (isFree || !isRight || before === 1),
		closes: isRight && (isFree || !isLeft || after === 1) };
}

// `floors` keeps a closer that found nothing from being tried again and again.
function paired(pieces) {
	const openers = [];
	const floors = {};
	const nodes = [];
	for (const piece of pieces) {
		if (!piece.char) {
			nodes.push(piece);
			continue;
		}
		const run = { ...piece };
		const isTilde = run.char === '~';
		while (run.closes && run.size) {
			const fits = ({ char, size }) => char === run.char && (!isTilde || size === run.size);
			const floor = floors[run.char] || 0;
			let at = openers.length - 1;
			while (at >= floor && !fits(openers[at])) at -= 1;
			if (at < floor) {
				floors[run.char] = openers.length;
				break;
			}
			const opener = openers[at];
			const size = isTilde ? opener.size : Math.min(2, opener.size, run.size);
			const children = settled(nodes.splice(opener.at + 1));
			opener.size -= size;
			run.size -= size;
			openers.length = opener.size ? at + 1 : at;
			for (const each in floors) floors[each] = Math.min(floors[each], openers.length);
			if (!opener.size) nodes.pop();
			nodes.push(nested(isTilde ? 'del' : size === 2 ? 'strong' : 'em', children));
		}
		if (!run.size) continue;
		run.at = nodes.length;
		nodes.push(run);
		if (run.opens && (!isTilde || run.size < 3)) openers.push(run);
	}
	return settled(nodes);
}

// Delimiters without a partner are text.
function settled(nodes) {
	const found = [];
	for (const each of nodes) {
		const piece = each.char ? each.char.repeat(each.size) : each;
		if (typeof piece === 'string' && typeof found.at(-1) === 'string') found.push(found.pop() + piece);
		else found.push(piece);
	}
	return found;
}
