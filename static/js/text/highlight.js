// Colours for code: comments, strings, numbers and a table of words per language.
import { h } from '../core/dom.js';

const SLASHES = /\/\/.*|\/\*[^]*?(?:\*\/|$)/;
const HASH = /(?<![^\s;])#.*/;
const DASHES = /--.*|\/\*[^]*?(?:\*\/|$)/;
const QUOTED = /"""[^]*?(?:"""|$)|`(?:\\[^]|[^`\\])*`|"(?:\\.|[^"\\\n])*"|(?<![&<\w])'(?:\\.|[^'\\\n])*'/;
const COMMON = 'and break case class continue def do elif else end enum false finally for foreach from function if '
	+ 'import in let local match new nil not null or return self static super switch then throw true try until var while';
// [names of languages that look alike, comments, words]
const LANGUAGES = [
	['python py python3 bash sh shell zsh console dockerfile makefile ruby rb perl r json yaml yml toml ini', HASH,
		`${COMMON} as assert async await begin del done elsif ensure esac except exit export False fi is lambda module `
		+ 'next None pass raise require rescue set source True unless with yield'],
	['javascript js jsx mjs typescript ts tsx jsonc go golang c cpp c++ cc h hpp cuda java kotlin scala swift csharp '
		+ 'cs c# rust rs css scss', SLASHES, `${COMMON} abstract as async await catch chan char const crate default delete `
		+ 'double dyn export extends final float fn fun func go goto impl implements inherit instanceof int interface long '
		+ 'loop mod mut namespace none override package private protected pub public range readonly ref Self struct '
		+ 'template this throws trait type typedef typeof undefined unsigned use using val virtual void yield'],
	['sql postgres mysql sqlite lua', DASHES, `${COMMON} all alter as asc between by count create default delete desc `
		+ 'distinct drop elseif exists group having index inner insert into is join key left like limit on order outer '
		+ 'primary repeat select table union unique update values view when where with'],
	['html xml svg', /<!--[^]*?(?:-->|$)/, ''],
];

/** Colours what is in `element`, when the language is known. */
export function highlight(element, lang, text) {
	const name = lang.toLowerCase();
	const [, comment, list] = LANGUAGES.find(([names]) => names.split(' ').includes(name)) || [];
	if (!comment) return;
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
	element.replaceChildren(...parts, text.slice(plain));
}
