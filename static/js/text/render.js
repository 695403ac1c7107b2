// Elements from Markdown that still comes in, and colours for code.
import { h } from '../core/dom.js';
import { copyButton } from '../ui/parts.js';
import { parse } from './markdown.js';

const FOLD_CHARS = 200 * 1024;
const COLOUR_CHARS = 20 * 1024;
// What may change the meaning of text before it, and of code.
const STOPS = /[\n\\`$<>&*_~[\]()!|:;/#]/;
const CODE_STOPS = /[`~$\\]/;
// Too long to become a list, a rule or an address.
const PLAIN = / [^\n\\`$<>&*_~[\]()!|:;/#]{12,}$/;

const SLASHES = /\/\/.*|\/\*[^]*?(?:\*\/|$)/;
const HASH = /(?<![^\s;])#.*/;
const DASHES = /--.*|\/\*[^]*?(?:\*\/|$)/;
const QUOTED = /"""[^]*?(?:"""|$)|`(?:\\[^]|[^`\\])*`|"(?:\\.|[^"\\\n])*"|(?<![&<\w])'(?:\\.|[^'\\\n])*'/;
const COMMON = 'and as async await break case class continue do else end enum export false finally for from function '
	+ 'if import in let match nil not null or return self static switch then throw true try until var while with yield';
// [names of languages that look alike, comments, words]
const LANGUAGES = [
	['python py bash sh shell zsh dockerfile makefile ruby rb perl r json yaml yml toml ini', HASH,
		`${COMMON} begin def del done elif elsif esac except exit False fi global is lambda local module None pass raise `
		+ 'require rescue set True unless'],
	['javascript js jsx typescript ts tsx jsonc go c cpp c++ h hpp java kotlin scala swift csharp '
		+ 'cs c# rust rs css scss', SLASHES, `${COMMON} catch char const default delete double extends final float fn fun `
		+ 'func go impl implements int interface long mod mut namespace new of override package private protected pub public '
		+ 'Self struct super this trait type typedef typeof undefined unsigned use val virtual void'],
	['sql lua', DASHES, `${COMMON} all alter between by count create delete desc distinct drop exists `
		+ 'group having index inner insert into is join key left like limit local on order outer primary repeat select set '
		+ 'table union unique update values view when where'],
	['html xml svg', /<!--[^]*?(?:-->|$)/, ''],
];

const draw = (each) => (typeof each === 'string' ? each : each.tag === 'figure' ? codeBlock(each)
	: formula(h(each.tag, each.props, each.children.map(draw)), each.props?.class === 'math' && each.children[0]));

/** Code until it can be shown as what it means. */
function formula(shown, source, isBlock) {
	if (source) {
		import('./mathml.js').then(({ mathOf }) => {
			const made = mathOf(source, isBlock);
			if (made) (isBlock ? shown.replaceChildren(made) : shown.replaceWith(made));
		});
	}
	return shown;
}

function codeBlock({ lang, text, open }) {
	const code = h('code', null, open || text.length > COLOUR_CHARS ? text : coloured(lang.toLowerCase(), text));
	const pre = h('pre', { tabindex: '0' }, code);
	return formula(h('figure', { class: 'code' }, h('figcaption', null, h('span', null, lang || 'text'),
		copyButton(() => code.textContent, 'Copy', { class: 'slim' })),
	text.length > FOLD_CHARS ? h('details', null, h('summary', null, `${text.length} characters`), pre) : pre),
	lang === 'math' && !open && text, true);
}

function coloured(lang, text) {
	const [, comment, list] = LANGUAGES.find(([names]) => names.split(' ').includes(lang)) || [];
	if (!comment) return text;
	const words = new Set(list.split(' '));
	const token = new RegExp(`(?<comment>${comment.source})|(?<string>${QUOTED.source})|(?<number>\\d[\\w.]*)`
		+ '|(?<word>[\\p{L}_$][\\p{L}\\p{N}_$]*)', 'gu');
	const parts = [];
	let plain = 0;
	for (const { 0: found, index, groups } of text.matchAll(token)) {
		const kind = Object.keys(groups).find((each) => groups[each] !== undefined);
		if (kind === 'word' && !words.has(comment === DASHES ? found.toLowerCase() : found)) continue;
		parts.push(text.slice(plain, index), h('span', { class: `tok-${kind}` }, found));
		plain = index + found.length;
	}
	return [...parts, text.slice(plain)];
}

/**
 * `update(text)` with all of it so far, `finish()` at its end. Blocks that another follows keep their elements. Plain
 * words are added to the last text: parsing a long paragraph anew for each of them shows.
 */
export function growing(element) {
	let source = '';
	let done = 0;              // characters of blocks that are done
	let tail = null;           // the element of the rest
	let end = null;            // the text node where more belongs until `stops`
	let stops;
	let shown = 0;             // characters that are in it

	function renderTail(isEnd) {
		const rest = source.slice(done);
		const tree = parse(rest);
		const last = tree.pop();
		tail?.remove();
		tail = end = null;
		for (const each of tree) element.append(draw(each));
		if (!last) return;
		if (tree.length) done += rest.split('\n', last.line).join('\n').length + 1;
		tail = draw(last);
		element.append(tail);
		if (!isEnd) end = openEnd(last);
	}

	function openEnd({ tag, grows }) {
		const isCode = tag === 'figure';
		stops = isCode ? CODE_STOPS : STOPS;
		shown = (isCode ? source : source.trimEnd()).length;
		const [words] = PLAIN.exec(source.slice(-80)) || [];
		let text = tail;
		while (text.lastChild) text = text.lastChild;
		const isSure = isCode ? grows : words && text.data?.endsWith(words.trimEnd());
		return isSure ? text : null;
	}

	return {
		update(text) {
			const all = text.replace(/\r\n?/g, '\n');
			const more = all.slice(source.length);
			const isGrowth = all.startsWith(source);
			source = all;
			if (!isGrowth) {
				element.replaceChildren();
				tail = end = null;
				done = 0;
			}
			if (end && !stops.test(more)) {
				end.appendData(source.slice(shown));
				shown = source.length;
			} else {
				renderTail(false);
			}
		},
		finish: () => renderTail(true),
	};
}
