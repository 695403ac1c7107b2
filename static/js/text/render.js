// Nodes from a Markdown tree, at once or while the text is still coming in.
import { h } from '../core/dom.js';
import { linesOf, parse } from './markdown.js';

const MAX_DEPTH = 48;               // of nodes; an engine that nests deeper wants to be seen failing
const FOLD_CHARS = 200 * 1024;      // code longer than this is folded
const REST_CHARS = 20 * 1024;       // and longer than this is not coloured

/**
 * `tools`, all optional: `math(tex, display)` → node, `highlight(element, lang, text)`, `copy(text)` → button.
 */
export function renderBlocks(tree, tools = {}, depth = 0) {
  return tree.map((block) => BLOCKS[block.t](block, tools, depth));
}

const BLOCKS = {
  head: (block, tools, depth) => h(`h${Math.min(6, block.level + 2)}`, null, spans(block.inline, tools, depth)),
  para: (block, tools, depth) => h('p', null, spans(block.inline, tools, depth)),
  rule: () => h('hr'),
  quote: (block, tools, depth) => h('blockquote', null, inner(block.children, tools, depth)),
  code: (block, tools) => codeBlock(block, tools).element,
  math: (block, tools) => h('div', { class: 'math' }, formula(block, tools)),
  table: (block, tools, depth) => {
    const cells = (row, tag) => row.map((cell, at) => h(tag, { 'data-align': block.align[at] || null,
      scope: tag === 'th' ? 'col' : null }, spans(cell, tools, depth)));
    return h('div', { class: 'table-scroll', tabindex: '0', role: 'region', 'aria-label': 'Table' },
      h('table', null, h('thead', null, h('tr', null, cells(block.head, 'th'))),
        h('tbody', null, block.rows.map((row) => h('tr', null, cells(row, 'td'))))));
  },
  list: (block, tools, depth) => h(block.ordered ? 'ol' : 'ul',
    { start: block.ordered && block.start !== 1 ? block.start : null, class: block.items.some((i) => i.task !== null) ? 'tasks' : null },
    block.items.map((item) => {
      const isPlain = block.tight && item.children.length && item.children[0].t === 'para';
      const box = item.task === null ? null
        : h('input', { type: 'checkbox', disabled: true, checked: item.task, 'aria-label': item.task ? 'done' : 'open' });
      return h('li', null, box, isPlain ? [spans(item.children[0].inline, tools, depth + 1),
        inner(item.children.slice(1), tools, depth)] : inner(item.children, tools, depth));
    })),
};

function inner(children, tools, depth) {
  return depth < MAX_DEPTH ? renderBlocks(children, tools, depth + 1) : [];
}

function codeBlock(block, tools) {
  const text = document.createTextNode(block.text);
  const code = h('code', { class: block.lang ? `lang-${block.lang.replace(/[^\w+#-]/g, '').slice(0, 20)}` : null }, text);
  const element = h('figure', { class: 'code' },
    h('figcaption', null, h('span', null, block.lang || 'text'), tools.copy ? tools.copy(() => code.textContent) : null),
    block.text.length > FOLD_CHARS ? h('details', null, h('summary', null, `${block.text.length} characters`),
      h('pre', { tabindex: '0' }, code)) : h('pre', { tabindex: '0' }, code));
  if (!block.open && tools.highlight && block.lang && block.text.length <= REST_CHARS) {
    tools.highlight(code, block.lang, block.text);
  }
  return { element, text };
}

function formula(block, tools) {
  return tools.math && !block.open ? tools.math(block.tex, block.display) : h('code', null, block.tex);
}

function spans(nodes, tools, depth) {
  return nodes.map((node) => {
    switch (node.t) {
      case 'text': return node.text;
      case 'br': return h('br');
      case 'code': return h('code', null, node.text);
      case 'math': return formula(node, tools);
      case 'link': return h('a', { href: node.href, title: node.title || null, target: '_blank',
        rel: 'noopener noreferrer', class: node.picture ? 'picture' : null },
      node.children.length ? nested(node, tools, depth) : node.href);
      default: return h(node.t, null, nested(node, tools, depth));
    }
  });
}

const nested = (node, tools, depth) => (depth < MAX_DEPTH ? spans(node.children, tools, depth + 1) : plain(node.children));

// Without recursion: it is for what is nested too deeply.
function plain(nodes) {
  const ahead = [...nodes].reverse();
  let text = '';
  while (ahead.length) {
    const node = ahead.pop();
    text += node.text || node.tex || '';
    if (node.children) for (let i = node.children.length - 1; i >= 0; i -= 1) ahead.push(node.children[i]);
  }
  return text;
}

// Characters that may change what the text before them means; and a line this short may still become a list or a rule.
const MEANING = /[\n\\`$<>&*_~[\]()!|:;/#]/;
const SHORT_LINE = 12;

/**
 * A view of text that grows: `update(text)` with all of it so far, `finish()` at its end. Blocks that another one
 * follows are done: they keep their elements and are never parsed again. Plain words are added to the last text.
 */
export function growing(element, tools = {}) {
  let source = '';
  let done = 0;              // characters that belong to blocks that are done
  let tail = [];             // elements of the rest
  let end = null;            // {node, code}: the text that grows, and whether it is code; null: parse again
  let shown = 0;             // characters of the source that are in it

  function renderTail(isEnd) {
    const rest = source.slice(done);
    const lines = linesOf(rest);
    const tree = parse(rest);
    for (const node of tail) node.remove();
    tail = [];
    end = null;
    tree.forEach((block, at) => {
      const isLast = at === tree.length - 1;
      if (isLast && block.t === 'code' && block.open && !isEnd) {
        const made = codeBlock(block, tools);
        // Not while the language is still being written, nor where each line would lose its indent.
        if (block.line + 1 < lines.length && lines[block.line][0] !== ' ') end = { node: made.text, isCode: true };
        element.append(made.element);
        tail.push(made.element);
        return;
      }
      const node = BLOCKS[block.t](block, tools, 0);
      element.append(node);
      if (isLast) tail.push(node);
    });
    const last = tree[tree.length - 1];
    if (tree.length > 1) done += lines.slice(0, last.line).reduce((sum, line) => sum + line.length + 1, 0);
    shown = end ? source.length : source.trimEnd().length;
    if (!end && last && !isEnd) end = openText(last);
  }

  // The text at the very end of the last block, when more words belong there for certain.
  function openText(block) {
    let node = tail[tail.length - 1];
    while (node && node.lastChild) node = node.lastChild;
    const lineAt = source.lastIndexOf('\n', shown - 1) + 1;
    const isPlain = node && node.nodeType === Node.TEXT_NODE && node.data && block.t !== 'math' && block.t !== 'code';
    return isPlain && !source.includes('\n', shown) && source.length - lineAt > SHORT_LINE && source.slice(lineAt, shown).endsWith(node.data.slice(-SHORT_LINE))
      ? { node, isCode: false } : null;
  }

  return {
    element,
    update(text) {
      const all = text.includes('\r') ? text.replace(/\r\n?/g, '\n') : text;
      const more = all.slice(source.length);
      const isGrowth = all.startsWith(source.slice(-200), Math.max(0, source.length - 200));
      source = all;
      if (!isGrowth) {
        element.replaceChildren();
        tail = [];
        done = 0;
      } else if (end && !(end.isCode ? /[`~]/ : MEANING).test(more)) {      // only a fence can end code
        end.node.appendData(source.slice(shown));
        shown = source.length;
        return;
      }
      renderTail(false);
    },
    finish() { renderTail(true); },
    /** Characters that are laid out anew with each update. */
    weight: () => (end ? end.node.length : 0),
  };
}
