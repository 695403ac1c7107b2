// The inside of a paragraph: emphasis, code, links, formulas. Linear in its length; see markdown.js for the rules.
//
// Nodes: text, em, strong, del, code, link, br, math.

const PUNCTUATION = /[!-/:-@[-`{-~]/;
const WORD = /[\p{L}\p{N}]/u;
const ORDINARY = /[^\\`$<&*_~[\]! h]+/y;
const ENTITIES = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'", nbsp: '\u00a0', copy: '\u00a9', hellip: '\u2026',
  mdash: '\u2014', ndash: '\u2013', rarr: '\u2192', larr: '\u2190', times: '\u00d7', deg: '\u00b0' };

// Left to right; what may open something waits on `pieces` until its end is met, or stays the text it was.
export function inline(text) {
  const pieces = [];
  const brackets = [];                  // `dead` of them, counted from the first, may open no link any more
  brackets.dead = 0;
  const ticks = tickRuns(text);
  let plain = '';
  let i = 0;
  const flush = () => { if (plain) pieces.push({ t: 'text', text: plain }); plain = ''; };
  const put = (node) => { flush(); pieces.push(node); };
  while (i < text.length) {
    ORDINARY.lastIndex = i;
    const run = ORDINARY.exec(text);
    if (run) { plain += run[0]; i += run[0].length; continue; }
    const char = text[i];
    const rest = SPECIAL[char] ? SPECIAL[char](text, i, ticks) : null;
    if (rest) {
      if (rest.node) put(rest.node); else plain += rest.text;
      i = rest.end;
    } else if (char === '*' || char === '_' || char === '~') {
      let end = i;
      while (text[end] === char) end += 1;
      put(delimiter(text, char, i, end));
      i = end;
    } else if (char === '[' || (char === '!' && text[i + 1] === '[')) {
      const size = char === '!' ? 2 : 1;
      put({ t: 'text', text: text.slice(i, i + size) });
      brackets.push({ at: pieces.length - 1, isPicture: size === 2 });
      i += size;
    } else if (char === ']') {
      flush();
      i = closeBracket(text, i, pieces, brackets);
    } else {
      plain += char;
      i += 1;
    }
  }
  flush();
  return merged(emphasis(pieces));
}

function tickRuns(text) {
  const runs = new Map();
  runs.missing = new Set();       // what ends a formula and does not occur any more
  for (const found of text.matchAll(/`+/g)) {
    if (!runs.has(found[0].length)) runs.set(found[0].length, { at: [], next: 0 });
    runs.get(found[0].length).at.push(found.index);
  }
  return runs;
}

const SPECIAL = {
  '\\': (text, i, ticks) => {
    const next = text[i + 1];
    if (next === '\n') return { node: { t: 'br' }, end: i + 2 };
    const math = next === '(' || next === '[' ? mathBetween(text, i, `\\${next}`, next === '(' ? '\\)' : '\\]', ticks.missing) : null;
    if (math) return math;
    return next && PUNCTUATION.test(next) ? { text: next, end: i + 2 } : null;
  },
  '`': (text, i, ticks) => {
    let end = i;
    while (text[end] === '`') end += 1;
    const runs = ticks.get(end - i);
    // A backslash before may have made the run shorter than it was counted.
    if (!runs) return { text: text.slice(i, end), end };
    while (runs.next < runs.at.length && runs.at[runs.next] < end) runs.next += 1;
    if (runs.next === runs.at.length) return { text: text.slice(i, end), end };
    const close = runs.at[runs.next];
    let body = text.slice(end, close).replace(/\n/g, ' ');
    if (body.startsWith(' ') && body.endsWith(' ') && body.trim()) body = body.slice(1, -1);
    return { node: { t: 'code', text: body }, end: close + end - i };
  },
  $: (text, i, ticks) => {
    if (text[i + 1] === '$') return mathBetween(text, i, '$$', '$$', ticks.missing);
    // Prices are not formulas: no space inside the signs, and no digit after them.
    if (!text[i + 1] || /[\s\d]/.test(text[i + 1])) return null;
    const close = text.indexOf('$', i + 1);
    if (close < 0 || close - i > 400 || /[\s\\]/.test(text[close - 1]) || /\d/.test(text[close + 1] || '')) return null;
    return { node: { t: 'math', display: false, tex: text.slice(i + 1, close) }, end: close + 1 };
  },
  '<': (text, i) => {
    const found = /^<((?:https?:\/\/|mailto:)[^\s<>]{1,2000}|[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8})>/i
      .exec(text.slice(i, i + 2100));
    if (!found) return null;
    const href = safeHref(found[1].includes(':') ? found[1] : `mailto:${found[1]}`);
    return href && { node: { t: 'link', href, children: [{ t: 'text', text: found[1] }] }, end: i + found[0].length };
  },
  h: (text, i) => {
    if (!text.startsWith('http', i) || (i && WORD.test(text[i - 1]))) return null;
    const found = /^https?:\/\/[^\s<>"`\\^{}|]{1,2000}/i.exec(text.slice(i, i + 2010));
    if (!found) return null;
    let url = found[0].replace(/[*_~]+$/, '').replace(/[.,:;!?'")\]]+$/, (tail) => (
      tail.startsWith(')') && found[0].split('(').length > found[0].split(')').length - 1 ? ')' : ''));
    if (url.includes(']')) url = url.slice(0, url.indexOf(']'));
    const href = safeHref(url);
    return href && { node: { t: 'link', href, children: [{ t: 'text', text: url }] }, end: i + url.length };
  },
  ' ': (text, i) => {
    if (text[i + 1] !== ' ') return null;
    const found = /^ {2,}\n/.exec(text.slice(i, i + 80));
    return found && { node: { t: 'br' }, end: i + found[0].length };
  },
  '&': (text, i) => {
    const found = /^&(?:#(\d{1,7})|#x([0-9a-f]{1,6})|([a-z]{2,8}));/i.exec(text.slice(i, i + 12));
    if (!found) return null;
    const point = found[3] ? null : parseInt(found[1] || found[2], found[1] ? 10 : 16);
    const char = found[3] ? ENTITIES[found[3]] : point && point < 0x110000 && (point < 0xd800 || point > 0xdfff)
      ? String.fromCodePoint(point) : '\ufffd';
    return char ? { text: char, end: i + found[0].length } : null;
  },
};

function mathBetween(text, i, open, close, missing) {
  // Looked for once in vain, it is not there for those that follow either.
  const end = missing.has(close) ? -1 : text.indexOf(close, i + open.length);
  if (end < 0) { missing.add(close); return null; }
  const display = open === '$$' || open === '\\[';
  return { node: { t: 'math', display, tex: text.slice(i + open.length, end).trim() }, end: end + close.length };
}

function delimiter(text, char, start, end) {
  const before = text[start - 1] || ' ';
  const after = text[end] || ' ';
  const leftOpen = !/\s/.test(after) && (!PUNCTUATION.test(after) || /\s/.test(before) || PUNCTUATION.test(before));
  const rightOpen = !/\s/.test(before) && (!PUNCTUATION.test(before) || /\s/.test(after) || PUNCTUATION.test(after));
  const inWord = char === '_';
  return { t: 'delim', char, size: end - start,
    opens: leftOpen && (!inWord || !rightOpen || PUNCTUATION.test(before)),
    closes: rightOpen && (!inWord || !leftOpen || PUNCTUATION.test(after)) };
}

function closeBracket(text, i, pieces, brackets) {
  const open = brackets.pop();
  const target = open && brackets.length >= brackets.dead ? targetAfter(text, i + 1) : null;
  brackets.dead = Math.min(brackets.dead, brackets.length);
  if (!target) { pieces.push({ t: 'text', text: ']' }); return i + 1; }
  const inner = merged(emphasis(pieces.splice(open.at).slice(1)));
  const href = safeHref(target.href);
  if (href) pieces.push({ t: 'link', href, title: target.title, picture: open.isPicture, children: inner });
  else pieces.push(...inner);
  // A link cannot hold another one.
  if (!open.isPicture) brackets.dead = brackets.length;
  return target.end;
}

// `(address "title")` at this place, or null.
function targetAfter(text, i) {
  if (text[i] !== '(') return null;
  let end = i + 1;
  while (text[end] === ' ' || text[end] === '\n') end += 1;
  let href = '';
  if (text[end] === '<') {
    const close = text.indexOf('>', end);
    if (close < 0 || close - end > 4000) return null;
    href = text.slice(end + 1, close);
    end = close + 1;
  } else {
    let depth = 0;
    const start = end;
    for (; end < text.length && end - start < 4000; end += 1) {
      if (text[end] === '\\' && text[end + 1]) { end += 1; continue; }
      if (/\s/.test(text[end])) break;
      if (text[end] === '(' && (depth += 1) > 8) return null;
      if (text[end] === ')' && (depth -= 1) < 0) break;
    }
    href = text.slice(start, end).replace(/\\([!-/:-@[-`{-~])/g, '$1');
  }
  const found = /^\s*(?:("[^"]{0,400}"|'[^']{0,400}'|\([^()]{0,400}\))\s*)?\)/.exec(text.slice(end, end + 450));
  return found ? { href, title: found[1] ? found[1].slice(1, -1) : '', end: end + found[0].length } : null;
}

// Browsers drop control characters before they look at the scheme; so do we. A blank inside an address is part of it.
export function safeHref(text) {
  // eslint-disable-next-line no-control-regex
  const clean = text.replace(/[\u0000-\u001f\u007f-\u00a0\u200b-\u200f\u2028\u2029\ufeff]/g, '').trim().replaceAll(' ', '%20');
  return /^(?:https?:\/\/|mailto:)[^<>"]+$/i.test(clean) ? clean : null;
}

// The usual pairing of delimiter runs. `bottoms` keeps a closer that found nothing from being tried again and again.
function emphasis(pieces) {
  const stack = [];
  const bottoms = {};
  const nodes = [];
  for (const piece of pieces) {
    if (piece.t !== 'delim') { nodes.push(piece); continue; }
    const run = { ...piece };
    while (run.closes && run.size) {
      const key = run.char + run.opens;
      const floor = bottoms[key] || 0;
      let at = stack.length - 1;
      while (at >= floor && !(stack[at].char === run.char && fits(stack[at], run))) at -= 1;
      if (at < floor) { bottoms[key] = stack.length; break; }
      const opener = stack[at];
      const size = run.char === '~' ? opener.size : Math.min(2, opener.size, run.size);
      const children = merged(nodes.splice(opener.at + 1).map(asText));
      opener.size -= size;
      run.size -= size;
      stack.length = opener.size ? at + 1 : at;
      for (const name of Object.keys(bottoms)) bottoms[name] = Math.min(bottoms[name], stack.length);
      if (!opener.size) nodes.pop();
      nodes.push({ t: run.char === '~' ? 'del' : size === 2 ? 'strong' : 'em', children });
    }
    if (!run.size) continue;
    run.at = nodes.length;
    nodes.push(run);
    if (run.opens && (run.char !== '~' || run.size < 3)) stack.push(run);
  }
  return nodes.map(asText);
}

function fits(opener, closer) {
  if (closer.char === '~') return opener.size === closer.size;
  return !((opener.closes || closer.opens) && (opener.size + closer.size) % 3 === 0
    && (opener.size % 3 || closer.size % 3));
}

const asText = (node) => (node.t === 'delim' ? { t: 'text', text: node.char.repeat(node.size) } : node);

function merged(nodes) {
  const found = [];
  for (const node of nodes) {
    const last = found[found.length - 1];
    if (node.t === 'text' && last && last.t === 'text') found[found.length - 1] = { t: 'text', text: last.text + node.text };
    else found.push(node);
  }
  return found;
}
