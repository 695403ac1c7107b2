// Hostile Markdown as a tree of strings and {tag, props, children}; all linear.
import { MAX_DEPTH, inline, node } from './inline.js';

const BLANK = /^[ \t]*$/;
const FENCE = /^( {0,3})(`{3,}(?=[^`]*$)|~{3,}|\$\$(?=\s*$)|\\\[(?=\s*$))(.*)$/;
const RULE = /^ {0,3}([-*_])[ \t]*(?:\1[ \t]*){2,}$/;
const HEADING = /^ {0,3}(#{1,6})(?:[ \t]|$)/;
const UNDERLINE = /^ {0,3}(=+|-+)[ \t]*$/;
const QUOTE = /^ {0,3}> ?/;
const TASK = /^\[([ xX])\][ \t]/;
const MARKER = /^( {0,3})([-+*]|\d{1,9}[.)])([ \t]+|$)/;

/** Blocks know the `line` they begin at; code: {tag: 'figure', lang, text, open, grows: more may just follow}. */
export const parse = (text) => blocks(text.split('\n'), 0);

const indentOf = (line) => /^ */.exec(line)[0].length;
const markerOf = (line = '') => (RULE.test(line) ? null : MARKER.exec(line));

function blocks(lines, depth) {
	const found = [];
	for (let i = 0; i < lines.length;) {
		const [block, end] = (BLANK.test(lines[i]) && [null, i + 1]) || code(lines, i) || heading(lines, i)
			|| (RULE.test(lines[i]) && [node('hr'), i + 1]) || quote(lines, i, depth) || list(lines, i, depth)
			|| table(lines, i) || paragraph(lines, i);
		if (block) found.push({ ...block, line: i });
		i = end;
	}
	return found;
}

// A numbered list may only interrupt a paragraph when it starts with 1.
function interrupts(line) {
	const [, , mark, space] = markerOf(line) || [];
	return [BLANK, FENCE, HEADING, QUOTE, RULE].some((each) => each.test(line)) || (space && /^(.|1[.)])$/.test(mark));
}

function code(lines, i) {
	const [all, indent, fence, info] = FENCE.exec(lines[i]) || [];
	if (!all) return null;
	const mark = fence === '\\[' ? '\\]' : fence;
	const body = [];
	let open = true;
	let end = i + 1;
	for (; open && end < lines.length; end += 1) {
		const line = lines[end];
		const last = line.trim();
		const isMark = last.startsWith(mark) && (last === mark || last === mark[0].repeat(last.length));
		if (isMark && indentOf(line) < 4) open = false;
		else body.push(line.slice(Math.min(indent.length, indentOf(line))));
	}
	const lang = /[`~]/.test(mark) ? info.trim().split(/\s/, 1)[0] : 'math';
	const grows = open && !indent && i + 1 < lines.length;
	return [{ tag: 'figure', lang, text: body.join('\n'), open, grows }, end];
}

const headed = (level, text) => node(`h${Math.min(6, level + 2)}`, inline(text.trim()));

function heading(lines, i) {
	const [all, marks] = HEADING.exec(lines[i]) || [];
	return all && [headed(marks.length, lines[i].slice(all.length).trim().replace(/(^|[ \t])#+$/, '')), i + 1];
}

function quote(lines, i, depth) {
	if (depth >= MAX_DEPTH || !QUOTE.test(lines[i])) return null;
	const inner = [];
	let end = i;
	for (; end < lines.length; end += 1) {
		const line = lines[end];
		if (!QUOTE.test(line) && (BLANK.test(inner.at(-1)) || interrupts(line))) break;
		inner.push(line.replace(QUOTE, ''));
	}
	return [node('blockquote', blocks(inner, depth + 1)), end];
}

function list(lines, i, depth) {
	const [, , first] = (depth < MAX_DEPTH && markerOf(lines[i])) || [];
	if (!first) return null;
	const nextOf = (at) => {
		const found = markerOf(lines[at]);
		return found?.[2].at(-1) === first.at(-1) ? found : null;
	};
	const items = [];
	let end = i;
	let isLoose = false;
	for (let marker = nextOf(end); marker; marker = nextOf(end)) {
		const space = marker[3].replace(/\t/g, '    ').length;
		const width = marker[1].length + marker[2].length + (space > 4 || !space ? 1 : space);
		const inner = [lines[end].slice(marker[0].length - (space > 4 ? space - 1 : 0))];
		let blanks = 0;
		end += 1;
		for (; end < lines.length; end += 1) {
			const line = lines[end].replace(/^\t/, '    ');
			const isInside = indentOf(line) >= width;
			const isText = !BLANK.test(line);
			if (isText && !isInside && (blanks || interrupts(line) || markerOf(line))) break;
			isLoose ||= isText && blanks > 0;
			blanks = isText ? 0 : blanks + 1;
			inner.push(isInside ? line.slice(width) : line.trimStart());
		}
		inner.length -= blanks;
		items.push(inner);
		isLoose ||= blanks > 0 && nextOf(end) !== null;
	}
	const start = parseInt(first, 10);
	return [node(first.length > 1 ? 'ol' : 'ul', items.map((inner) => item(inner, isLoose, depth)),
		{ start: start >= 0 && start !== 1 ? start : null, class: TASK.test(items[0][0]) ? 'tasks' : null }), end];
}

function item([first, ...rest], isLoose, depth) {
	const [, mark] = TASK.exec(first) || [];
	const [block, ...others] = blocks([first.slice(mark ? 4 : 0), ...rest], depth + 1);
	const checked = mark !== ' ';
	const box = mark && node('input', [], { type: 'checkbox', disabled: true, checked,
		'aria-label': checked ? 'done' : 'open' });
	const inside = !isLoose && block?.tag === 'p' ? block.children : [block];
	return node('li', [box, ...inside, ...others].filter(Boolean));
}

// A `|` after a backslash belongs to its cell.
const cellsOf = (line) => line.trim().replace(/^\||(?<!\\)\|$/g, '').split(/(?<!\\)\|/)
	.map((cell) => cell.replaceAll('\\|', '|').trim());

function alignmentsOf(lines, i) {
	if (!lines[i].includes('|')) return null;
	const cells = cellsOf(lines[i + 1] || '');
	return cells.length === cellsOf(lines[i]).length && cells.every((cell) => /^:?-+:?$/.test(cell))
		&& cells.map((cell) => [null, 'left', 'right', 'center'][cell.startsWith(':') + 2 * cell.endsWith(':')]);
}

function table(lines, i) {
	const align = alignmentsOf(lines, i);
	if (!align) return null;
	const row = (line, tag) => {
		const cells = cellsOf(line);
		return node('tr', align.map((side, at) => node(tag, inline(cells[at] || ''), { 'data-align': side })));
	};
	let end = i + 2;
	while (end < lines.length && !interrupts(lines[end])) end += 1;
	const rows = lines.slice(i + 2, end).map((line) => row(line, 'td'));
	return [node('div', [node('table', [node('thead', [row(lines[i], 'th')]), node('tbody', rows)])],
		{ class: 'table-scroll', tabindex: '0', role: 'region', 'aria-label': 'Table' }), end];
}

function paragraph(lines, i) {
	let end = i + 1;
	for (; end < lines.length; end += 1) {
		const [, under] = UNDERLINE.exec(lines[end]) || [];
		if (under) return [headed(under[0] === '=' ? 1 : 2, lines.slice(i, end).join('\n')), end + 1];
		if (interrupts(lines[end]) || alignmentsOf(lines, end)) break;
	}
	return [node('p', inline(lines.slice(i, end).map((line) => line.trimStart()).join('\n').trimEnd())), end];
}
