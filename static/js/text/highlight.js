// Colours for code: one tokenizer (comments, strings, numbers, words) and a table of words per language.
import { h } from '../core/dom.js';

const C_LIKE = { line: ['//'], block: ['/*', '*/'], quotes: '"\'' };
const HASH = { line: ['#'], quotes: '"\'' };
const words = (text) => new Set(text.split(' '));
const C_WORDS = 'auto bool break case char const continue default do double else enum extern false float for goto if int long '
  + 'namespace new null nullptr private protected public return short signed sizeof static struct switch template this true '
  + 'typedef union unsigned using virtual void while class';
const LANGUAGES = {
  python: { ...HASH, triple: true, words: words('and as assert async await break class continue def del elif else except False '
    + 'finally for from global if import in is lambda None nonlocal not or pass raise return self True try while with yield match case') },
  javascript: { ...C_LIKE, quotes: '"\'`', words: words('async await break case catch class const continue default delete do else '
    + 'export extends false finally for from function if import in instanceof interface let new null of return static super switch '
    + 'this throw true try type typeof undefined var void while yield enum implements readonly') },
  c: { ...C_LIKE, words: words(C_WORDS) },
  java: { ...C_LIKE, words: words(`${C_WORDS} abstract extends final finally implements import instanceof interface package super `
    + 'synchronized throw throws try catch var record val fun when object data') },
  csharp: { ...C_LIKE, words: words(`${C_WORDS} abstract async await base catch delegate event finally foreach get in interface `
    + 'internal is lock out override params readonly ref sealed set string throw try var yield') },
  go: { ...C_LIKE, quotes: '"\'`', words: words('break case chan const continue default defer else fallthrough false for func go '
    + 'goto if import interface map nil package range return select struct switch true type var string int error bool byte') },
  rust: { ...C_LIKE, quotes: '"', words: words('as async await break const continue crate dyn else enum extern false fn for if impl '
    + 'in let loop match mod move mut pub ref return self Self static struct super trait true type unsafe use where while') },
  bash: { ...HASH, words: words('if then else elif fi for while until do done case esac in function return exit export local '
    + 'readonly set unset shift source echo cd true false') },
  sql: { line: ['--'], block: ['/*', '*/'], quotes: '"\'', isCaseless: true, words: words('add all alter and as asc begin between by '
    + 'case commit count create default delete desc distinct drop else end exists foreign from full group having if in index inner '
    + 'insert into is join key left like limit not null offset on or order outer primary references right rollback select set table '
    + 'then union unique update values view when where with') },
  json: { line: [], quotes: '"', words: words('true false null') },
  yaml: { ...HASH, words: words('true false null yes no on off') },
  toml: { ...HASH, triple: true, words: words('true false') },
  css: { line: [], block: ['/*', '*/'], quotes: '"\'', words: words('important inherit initial unset none auto var calc media import') },
  html: { line: [], block: ['<!--', '-->'], quotes: '"\'', words: words('') },
  lua: { line: ['--'], quotes: '"\'', words: words('and break do else elseif end false for function goto if in local nil not or '
    + 'repeat return then true until while') },
  ruby: { ...HASH, words: words('alias and begin break case class def do else elsif end ensure false for if in module next nil not '
    + 'or redo rescue retry return self super then true undef unless until when while yield require') },
};
const NAMES = { py: 'python', python3: 'python', js: 'javascript', jsx: 'javascript', mjs: 'javascript', ts: 'javascript',
  tsx: 'javascript', typescript: 'javascript', cpp: 'c', 'c++': 'c', cc: 'c', h: 'c', hpp: 'c', cuda: 'c', kotlin: 'java',
  scala: 'java', swift: 'java', cs: 'csharp', 'c#': 'csharp', golang: 'go', rs: 'rust', sh: 'bash', shell: 'bash', zsh: 'bash',
  console: 'bash', dockerfile: 'bash', makefile: 'bash', jsonc: 'javascript', yml: 'yaml', ini: 'toml', xml: 'html', svg: 'html',
  rb: 'ruby', perl: 'ruby', r: 'python', postgres: 'sql', mysql: 'sql', scss: 'css' };

/** [[kind, text], …] with kinds comment, string, number, word and '' for the rest; null for a language that is not known. */
export function tokens(lang, text) {
  const name = lang.toLowerCase();
  const rules = LANGUAGES[NAMES[name] || name];
  if (!rules) return null;
  const found = [];
  let plain = 0;
  let i = 0;
  const put = (kind, end) => {
    if (plain < i) found.push(['', text.slice(plain, i)]);
    found.push([kind, text.slice(i, end)]);
    i = plain = end;
  };
  const word = /[\p{L}_$][\p{L}\p{N}_$]*/uy;
  const number = /(?:0[xXbBoO][\da-fA-F_]+|\d[\d_]*(?:\.\d[\d_]*)?(?:[eE][+-]?\d+)?)\w{0,3}/y;
  while (i < text.length) {
    const char = text[i];
    const comment = rules.line.find((mark) => text.startsWith(mark, i));
    if (comment && (comment !== '#' || i === 0 || /[\s;]/.test(text[i - 1]))) {
      const end = text.indexOf('\n', i);
      put('comment', end < 0 ? text.length : end);
    } else if (rules.block && text.startsWith(rules.block[0], i)) {
      const end = text.indexOf(rules.block[1], i + rules.block[0].length);
      put('comment', end < 0 ? text.length : end + rules.block[1].length);
    } else if (rules.quotes.includes(char)) {
      put('string', stringEnd(text, i, rules));
    } else if (/\d/.test(char)) {
      number.lastIndex = i;
      put('number', i + number.exec(text)[0].length);
    } else {
      word.lastIndex = i;
      const hit = word.exec(text);
      if (!hit) i += 1;
      else if (rules.words.has(rules.isCaseless ? hit[0].toLowerCase() : hit[0])) put('word', i + hit[0].length);
      else i += hit[0].length;
    }
  }
  if (plain < text.length) found.push(['', text.slice(plain)]);
  return found;
}

function stringEnd(text, start, rules) {
  const quote = text[start];
  const triple = quote.repeat(3);
  if (rules.triple && text.startsWith(triple, start)) {
    const end = text.indexOf(triple, start + 3);
    return end < 0 ? text.length : end + 3;
  }
  for (let i = start + 1; i < text.length; i += 1) {
    if (text[i] === '\\') i += 1;
    else if (text[i] === quote) return i + 1;
    else if (text[i] === '\n' && quote !== '`') return i;
  }
  return text.length;
}

/** Colours what is in `element`. */
export function highlight(element, lang, text) {
  const found = tokens(lang, text);
  if (found) element.replaceChildren(...found.map(([kind, part]) => (kind ? h('span', { class: `tok-${kind}` }, part) : part)));
}
