// The inside of a paragraph: emphasis, code, links, formulas. The rules are those of markdown.js.

export const MAX_DEPTH = 32;
const MAX_TICKS = 16;
const PUNCTUATION = /[!-/:-@[-`{-~]/;
const ORDINARY = /[^\\`$<&*_~[\]! h]+/y;
const AUTOLINK = /<((?:https?:\/\/|mailto:)[^\s<>]{1,2000}|[\w.+-]{1,64}@[\w.-]{1,255})>/iy;
const URL_TEXT = /(?<![\p{L}\p{N}])https?:\/\/[^\s<>"`\\^{}|[\]]{1,2000}/iuy;
const FORMULA = /\$(?![\s\d$])([^$]{0,400}?[^\s\\$])\$(?!\d)/y;
const ENTITY = /&(#\d{1,7}|#x[0-9a-f]{1,6}|[a-z]{2,8});/iy;
const ENTITIES = new Map([['amp', '&'], ['lt', '<'], ['gt', '>'], ['quot', '"'], ['apos', "'"], ['nbsp', '\u00a0']]);
// (address "title"); brackets in an address come in pairs.
const TARGET = new RegExp(/\(\s?(?:<([^<>\n]{0,2000})>|((?:\\.|[^\s()\\]|\([^\s()\\]*\))*))/.source
	+ /(?:\s("[^"]{0,400}"|'[^']{0,400}'))?\s?\)/.source, 'y');

/** Text is a string; all else is {tag, props, children, depth}. */
export const node = (tag, children = [], props = null) => ({ tag, props, children,
	depth: 1 + children.reduce((most, each) => Math.max(most, each.depth || 0), 0) });

// What is nested too deeply is text.
function nested(tag, children, props) {
	const made = node(tag, children, props);
	return made.depth > MAX_DEPTH ? textOf(children) : made;
}
const textOf = (nodes) => nodes.reduce((text, each) => text + (each.children ? textOf(each.children) : each), '');

const link = (href, children, props) => nested('a', children,
	{ href, target: '_blank', rel: 'noopener noreferrer', ...props });

// Browsers drop control characters before they look at the scheme; so do we.
function safeHref(text) {
	const clean = text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\u00a0]/gu, '').trim().replaceAll(' ', '%20');
	return /^(?:https?:\/\/|mailto:)[^<>"]+$/i.test(clean) ? clean : null;
}

function matchAt(pattern, text, i) {
	pattern.lastIndex = i;
	return pattern.exec(text);
}

// By its first character, what stands at i: [piece, end], or nothing. `missing`: what was looked for in vain.
const TAKE = {
	'\\': (text, i, missing) => {
		const next = text[i + 1] || '';
		if (next === '\n') return [node('br'), i + 2];
		const end = { '(': '\\)', '[': '\\]' }[next];
		return (end && codeUntil(text, i + 2, end, missing)) || (PUNCTUATION.test(next) && [next, i + 2]);
	},
	'`': (text, i, missing) => {
		let from = i;
		while (text[from] === '`') from += 1;
		const ticks = text.slice(i, from);
		return (ticks.length <= MAX_TICKS && codeUntil(text, from, ticks, missing)) || [ticks, from];
	},
	$: (text, i, missing) => {
		if (text[i + 1] === '$') return codeUntil(text, i + 2, '$$', missing);
		const found = matchAt(FORMULA, text, i);          // prices are no formulas
		return found && [node('code', [found[1]]), FORMULA.lastIndex];
	},
	'<': (text, i) => {
		const [all, address] = matchAt(AUTOLINK, text, i) || [];
		const href = all && safeHref(address.includes(':') ? address : `mailto:${address}`);
		return href && [link(href, [address]), i + all.length];
	},
	h: (text, i) => {
		const [all] = matchAt(URL_TEXT, text, i) || [''];
		let end = all.length;
		while (end && '.,:;!?\'"*_~)'.includes(all[end - 1])) end -= 1;
		const url = all.slice(0, end);
		const whole = all[end] === ')' && url.split('(').length > url.split(')').length ? `${url})` : url;
		const href = safeHref(whole);
		return href && [link(href, [whole]), i + whole.length];
	},
	' ': (text, i) => {
		const [all] = matchAt(/ {2,80}\n/y, text, i) || [];
		return all && [node('br'), i + all.length];
	},
	'&': (text, i) => {
		const [all, name] = matchAt(ENTITY, text, i) || [];
		const point = name?.[0] === '#' ? Number(`0${name.slice(1)}`) : 0;        // 065 or 0x41
		const char = ENTITIES.get(name) || (point && point < 0x110000 && String.fromCodePoint(point));
		return char && [char, i + all.length];
	},
};

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
	return [node('code', [body.trim() || body]), at + end.length];
}

/** The nodes of a text. */
export function inline(text) {
	const pieces = [];
	const brackets = [];
	const missing = new Set();
	let dead = 0;                     // so many brackets may open no link any more: links do not nest
	let i = 0;
	while (i < text.length) {
		const char = text[i];
		const [run] = matchAt(ORDINARY, text, i) || [];
		const taken = run ? [run, i + run.length] : TAKE[char]?.(text, i, missing);
		if (taken) {
			pieces.push(taken[0]);
			i = taken[1];
		} else if ('*_~'.includes(char)) {
			const start = i;
			while (text[i] === char) i += 1;
			pieces.push(delimiter(text, char, start, i));
		} else if (char === ']') {
			i = closeBracket();
		} else {
			const opening = text.startsWith('![', i) ? '![' : char;
			if (opening.endsWith('[')) brackets.push({ at: pieces.length, isPicture: opening !== '[' });
			pieces.push(opening);
			i += opening.length;
		}
	}
	return paired(pieces);

	function closeBracket() {
		const open = brackets.pop();
		const found = open && brackets.length >= dead && matchAt(TARGET, text, i + 1);
		dead = Math.min(dead, brackets.length);
		if (!found) {
			pieces.push(']');
			return i + 1;
		}
		const [all, pointed, plain = '', title] = found;
		const inner = paired(pieces.splice(open.at).slice(1));
		const href = safeHref(pointed ?? plain.replace(/\\([!-/:-@[-`{-~])/g, '$1'));
		const props = { title: title?.slice(1, -1), class: open.isPicture ? 'picture' : null };
		for (const each of href ? [link(href, inner.length ? inner : [href], props)] : inner) pieces.push(each);
		if (!open.isPicture) dead = brackets.length;
		return i + 1 + all.length;
	}
}

function delimiter(text, char, start, end) {
	// 2: space, 1: punctuation, 0: a word
	const [before, after] = [text[start - 1] || ' ', text[end] || ' '].map((each) => (/\s/.test(each) ? 2
		: Number(PUNCTUATION.test(each))));
	const opens = after < 2 && (!after || before > 0);
	const closes = before < 2 && (!before || after > 0);
	const isInWord = char === '_' && opens && closes;
	return { char, size: end - start, opens: opens && (!isInWord || before === 1),
		closes: closes && (!isInWord || after === 1) };
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
		while (run.closes && run.size) {
			const floor = floors[run.char] || 0;
			const isTilde = run.char === '~';
			let at = openers.length - 1;
			while (at >= floor && !(openers[at].char === run.char && (!isTilde || openers[at].size === run.size))) at -= 1;
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
		if (run.opens && (run.char !== '~' || run.size < 3)) openers.push(run);
	}
	return settled(nodes);
}

// Delimiters without a partner are text.
function settled(nodes) {
	const found = [];
	for (const each of nodes) {
		const piece = each.char ? each.char.repeat(each.size) : each;
		if (typeof piece === 'string' && typeof found[found.length - 1] === 'string') found[found.length - 1] += piece;
		else found.push(piece);
	}
	return found;
}
