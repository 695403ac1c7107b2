// Markdown as models write it: a parser that gives a tree of plain objects {t, …}; render.js makes nodes of it.
//
// What is parsed is hostile. So: no HTML strings anywhere, raw HTML is text, links lead to http, https and mailto only,
// pictures become links, and both passes are linear. Nesting ends at MAX_DEPTH; what lies deeper is plain text.
//
// Blocks: head, para, code, quote, list, rule, table, math. Those of the top level know the `line` they begin at.
import { inline } from './inline.js';

const MAX_DEPTH = 32;

export function parse(text) {
  return blocks(linesOf(text), 0);
}

export const linesOf = (text) => text.replace(/\r\n?/g, '\n').replace(/\0/g, '\ufffd').split('\n');

function blocks(lines, depth) {
  const found = [];
  let i = 0;
  while (i < lines.length) {
    const line = lines[i];
    if (isBlank(line)) { i += 1; continue; }
    const [, take] = BLOCKS.find(([starts]) => starts(line, lines, i, depth));
    const begin = i;
    i = take(lines, i, depth, found);
    found[found.length - 1].line = begin;
  }
  return found;
}

const isBlank = (line) => /^[ \t]*$/.test(line);
const indentOf = (line) => { let n = 0; while (line[n] === ' ') n += 1; return n; };

function fenceOf(line) {
  const found = /^ {0,3}(`{3,}|~{3,})(.*)$/.exec(line);
  return found && !(found[1][0] === '`' && found[2].includes('`')) ? found : null;
}

function isRule(line) {
  if (line.length > 500) return false;
  const marks = line.replace(/[ \t]/g, '');
  return indentOf(line) < 4 && marks.length > 2 && /^(?:-+|\*+|_+)$/.test(marks);
}

function markerOf(line) {
  const found = /^( {0,3})([-+*]|\d{1,9}[.)])([ \t]+|$)/.exec(line);
  return found && !isRule(line) ? found : null;
}

const headingOf = (line) => /^ {0,3}(#{1,6})(?:[ \t]|$)/.exec(line);
const isQuote = (line) => /^ {0,3}>/.test(line);

// Does a paragraph end before this line? A numbered list may only interrupt one when it starts with 1.
function interrupts(line) {
  const marker = markerOf(line);
  return isBlank(line) || fenceOf(line) || headingOf(line) || isQuote(line) || isRule(line)
    || (marker && marker[3] && (marker[2].length === 1 || /^1[.)]$/.test(marker[2])));
}

function code(lines, i, depth, found) {
  const [, fence, info] = fenceOf(lines[i]);
  const indent = indentOf(lines[i]);
  const body = [];
  let end = i + 1;
  let open = true;
  for (; end < lines.length; end += 1) {
    const line = lines[end];
    const closing = line.trim();
    if (indentOf(line) < 4 && closing.length >= fence.length && closing[0] === fence[0]
        && closing === fence[0].repeat(closing.length)) { open = false; end += 1; break; }
    body.push(line.slice(Math.min(indent, indentOf(line))));
  }
  found.push({ t: 'code', lang: info.trim().split(/\s/, 1)[0], text: body.join('\n'), open });
  return end;
}

function mathBlock(lines, i, depth, found) {
  const [open, close] = lines[i].trim().startsWith('$$') ? ['$$', '$$'] : ['\\[', '\\]'];
  let tex = lines[i].trim().slice(open.length);
  let end = i + 1;
  while (!tex.trimEnd().endsWith(close) && end < lines.length) { tex += `\n${lines[end]}`; end += 1; }
  const isOpen = !tex.trimEnd().endsWith(close);
  found.push({ t: 'math', display: true, open: isOpen, tex: (isOpen ? tex : tex.trimEnd().slice(0, -2)).trim() });
  return end;
}

function heading(lines, i, depth, found) {
  const level = headingOf(lines[i])[1].length;
  const text = lines[i].trim().slice(level).trim().replace(/(^|[ \t])#+$/, '');
  found.push({ t: 'head', level, inline: inline(text.trim()) });
  return i + 1;
}

function quote(lines, i, depth, found) {
  const inner = [];
  let end = i;
  for (; end < lines.length; end += 1) {
    if (isQuote(lines[end])) inner.push(lines[end].replace(/^ {0,3}> ?/, ''));
    else if (inner.length && !isBlank(inner[inner.length - 1]) && !interrupts(lines[end])) inner.push(lines[end]);
    else break;
  }
  found.push({ t: 'quote', children: blocks(inner, depth + 1) });
  return end;
}

function list(lines, i, depth, found) {
  const first = markerOf(lines[i]);
  const isOrdered = first[2].length > 1;
  const kind = first[2].slice(-1);
  const items = [];
  let end = i;
  let isLoose = false;
  for (;;) {
    const marker = end < lines.length ? markerOf(lines[end]) : null;
    if (!marker || marker[2].slice(-1) !== kind || (marker[2].length > 1) !== isOrdered) break;
    const space = marker[3].replace(/\t/g, '    ').length;
    const width = marker[1].length + marker[2].length + (space > 4 || !space ? 1 : space);
    const inner = [lines[end].slice(marker[0].length - (space > 4 ? space - 1 : 0))];
    let blanks = 0;
    end += 1;
    for (; end < lines.length; end += 1) {
      const line = lines[end].replace(/^\t/, '    ');
      if (isBlank(line)) { blanks += 1; inner.push(''); continue; }
      if (indentOf(line) >= width) {
        inner.push(line.slice(width));
      } else if (blanks || interrupts(line) || markerOf(line)) {
        break;
      } else {
        inner.push(line.trimStart());
      }
      if (blanks) isLoose = true;
      blanks = 0;
    }
    while (inner.length && isBlank(inner[inner.length - 1])) inner.pop();
    const task = /^\[([ xX])\][ \t]+/.exec(inner[0] || '');
    if (task) inner[0] = inner[0].slice(task[0].length);
    items.push({ task: task ? task[1] !== ' ' : null, children: blocks(inner, depth + 1) });
    const next = end < lines.length ? markerOf(lines[end]) : null;
    if (blanks && next && next[2].slice(-1) === kind) isLoose = true;
  }
  found.push({ t: 'list', ordered: isOrdered, start: isOrdered ? parseInt(first[2], 10) : 1, tight: !isLoose, items });
  return end;
}

// The cells of a row; a `|` after a backslash belongs to its cell.
function cellsOf(line) {
  const cells = [''];
  const row = line.trim();
  for (let i = row[0] === '|' ? 1 : 0; i < row.length; i += 1) {
    if (row[i] === '\\' && row[i + 1] === '|') { cells[cells.length - 1] += '|'; i += 1; }
    else if (row[i] === '|') { if (i < row.length - 1) cells.push(''); }
    else cells[cells.length - 1] += row[i];
  }
  return cells.map((cell) => cell.trim());
}

function alignmentsOf(line) {
  if (line === undefined || !line.includes('-') || !/^[ \t|:-]+$/.test(line)) return null;
  const cells = cellsOf(line);
  if (!cells.every((cell) => /^:?-+:?$/.test(cell))) return null;
  return cells.map((cell) => (cell.endsWith(':') ? (cell[0] === ':' ? 'center' : 'right') : cell[0] === ':' ? 'left' : ''));
}

function isTable(line, lines, i) {
  if (!line.includes('|')) return false;
  const alignments = alignmentsOf(lines[i + 1]);
  return alignments !== null && alignments.length === cellsOf(line).length;
}

function table(lines, i, depth, found) {
  const align = alignmentsOf(lines[i + 1]);
  const fit = (line) => { const cells = cellsOf(line); return align.map((_, at) => inline(cells[at] || '')); };
  const rows = [];
  let end = i + 2;
  while (end < lines.length && !interrupts(lines[end])) { rows.push(fit(lines[end])); end += 1; }
  found.push({ t: 'table', align, head: fit(lines[i]), rows });
  return end;
}

function para(lines, i, depth, found) {
  const body = [lines[i]];
  let end = i + 1;
  for (; end < lines.length; end += 1) {
    const line = lines[end];
    const under = /^ {0,3}(=+|-+)[ \t]*$/.exec(line);
    if (under) {
      found.push({ t: 'head', level: under[1][0] === '=' ? 1 : 2, inline: inline(body.join('\n').trim()) });
      return end + 1;
    }
    if (interrupts(line) || isTable(line, lines, end)) break;
    body.push(line);
  }
  found.push({ t: 'para', inline: inline(body.map((line) => line.trimStart()).join('\n').trimEnd()) });
  return end;
}

const BLOCKS = [
  [fenceOf, code],
  // A bracket behind a backslash may also be just that: a formula has its line to itself.
  [(line) => /^ {0,3}(?:\$\$|\\\[(?:\s|$|.*\\\]\s*$))/.test(line), mathBlock],
  [headingOf, heading],
  [isRule, (lines, i, depth, found) => { found.push({ t: 'rule' }); return i + 1; }],
  [(line, lines, i, depth) => depth < MAX_DEPTH && isQuote(line), quote],
  [(line, lines, i, depth) => depth < MAX_DEPTH && markerOf(line), list],
  [isTable, table],
  [() => true, para],
];
