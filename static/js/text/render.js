// Elements from a Markdown tree while its text is still coming in.
import { h } from '../core/dom.js';
import { copyButton } from '../ui/parts.js';
import { parse } from './markdown.js';

const FOLD_CHARS = 200 * 1024;      // code longer than this is folded
const REST_CHARS = 20 * 1024;       // and longer than this is not coloured
// Characters that may change what the text before them means; and a line this short may still become a list or a rule.
const MEANING = /[\n\\`$<>&*_~[\]()!|:;/#]/;
const SHORT_LINE = 12;

const draw = (each) => (typeof each === 'string' ? each : each.tag === 'figure' ? codeBlock(each)
	: h(each.tag, each.props, each.children.map(draw)));

function codeBlock({ lang, text, open }) {
	const code = h('code', null, text);
	const pre = h('pre', { tabindex: '0' }, code);
	if (!open && lang && text.length <= REST_CHARS) {
		// Colours come when they come.
		import('./highlight.js').then(({ highlight }) => highlight(code, lang, text), () => {});
	}
	return h('figure', { class: 'code' }, h('figcaption', null, h('span', null, lang || 'text'),
		copyButton(() => code.textContent, 'Copy', { class: 'slim' })),
	text.length > FOLD_CHARS ? h('details', null, h('summary', null, `${text.length} characters`), pre) : pre);
}

/**
 * A view of text that grows: `update(text)` with all of it so far, `finish()` at its end. Blocks that another follows
 * are done: they keep their elements and are not parsed again. Plain words are added to the last text: parsing a long
 * paragraph anew for each of them shows.
 */
export function growing(element) {
	let source = '';
	let done = 0;              // characters that belong to blocks that are done
	let tail = null;           // the element of the rest
	let end = null;            // {text, isCode}: where more words belong; null: parse again
	let shown = 0;             // characters of the source that are in it

	function renderTail(isEnd) {
		const rest = source.slice(done);
		const tree = parse(rest);
		const last = tree.pop();
		tail?.remove();
		tail = end = null;
		for (const each of tree) element.append(draw(each));
		if (!last) return;
		if (tree.length) done += rest.split('\n', last.line).join('\n').length + 1;
		shown = source.trimEnd().length;
		tail = draw(last);
		element.append(tail);
		if (isEnd) return;
		if (last.tag !== 'figure') {
			end = openText();
		} else if (last.grows) {
			end = { text: tail.querySelector('code').firstChild, isCode: true };
			shown = source.length;
		}
	}

	function openText() {
		let text = tail;
		while (text.lastChild) text = text.lastChild;
		const line = source.slice(source.lastIndexOf('\n', shown - 1) + 1, shown);
		const isSure = text.data && !source.includes('\n', shown) && source.length - shown + line.length > SHORT_LINE
			&& line.endsWith(text.data.slice(-SHORT_LINE));
		return isSure ? { text, isCode: false } : null;
	}

	return {
		update(text) {
			const all = text.replace(/\r\n?/g, '\n');
			const more = all.slice(source.length);
			const isGrowth = all.startsWith(source.slice(-200), Math.max(0, source.length - 200));
			source = all;
			if (!isGrowth) {
				element.replaceChildren();
				tail = null;
				done = 0;
			} else if (end && !(end.isCode ? /[`~$\\]/ : MEANING).test(more)) {        // only a fence can end code
				end.text.appendData(source.slice(shown));
				shown = source.length;
				return;
			}
			renderTail(false);
		},
		finish: () => renderTail(true),
	};
}
