// The messages of a request and its answer by role, with tools, calls and thoughts.
import { h } from '../core/dom.js';
import { bytes, num } from '../core/format.js';
import { signal } from '../core/signal.js';
import { button, codeBlock, facts } from '../ui/parts.js';
import { parseJson } from './transcript.js';

const MAX_SHOWN = 20000;

export function conversation({ sent, got }) {
  const { messages, tools } = sent.asked;
  const { answer } = got;
  const note = (body) => body.note && h('p', { class: 'notice warning' }, body.note);
  return h('div', { class: 'stack' },
    tools.length ? fold(`Tools offered (${tools.length})`, tools.map(tool)) : null,
    h('h3', null, 'Request'), note(sent), messages.map(message),
    !messages.length && sent.text ? codeBlock(sent.pretty, { label: 'Request body' }) : null,
    h('h3', null, 'Answer'), note(got),
    answer.error && h('p', { class: 'notice error wrap' }, answer.error), answer.messages.map(message),
    !answer.isRead && got.text ? codeBlock(got.pretty, { label: 'Answer body' }) : null,
    answer.finish && h('p', { class: 'muted' }, `Ended by: ${answer.finish}`),
    answer.usage && [h('h3', null, 'Usage'), facts(flat(answer.usage), { class: 'narrow' })]);
}

const fold = (title, ...content) => h('details', null, h('summary', null, title), content);
const small = (text) => h('span', { class: 'muted small' }, ` ${text || ''}`);

const tool = ({ name, about, schema }) => h('div', { class: 'stack message' }, h('strong', { class: 'mono' }, name),
  about && long(about), schema && codeBlock(JSON.stringify(schema, null, 2), { label: `Parameters of ${name}` }));

const message = ({ role, parts }) => h('article', { class: 'stack message', 'data-role': role },
  h('h4', { class: 'tag' }, role), parts.map(view), parts.length ? null : h('p', { class: 'muted' }, 'empty'));

function view({ kind, name = '', id = '', text = '', ...part }) {
  if (kind === 'text') return long(text);
  if (kind === 'reasoning') return fold(`Reasoning (${num(text.length)} characters)`, long(text));
  if (kind === 'image') return image(part.url);
  if (kind === 'result') {
    const title = h('span', null, h('strong', null, 'Result'), small(name || id));
    return h('div', { class: 'stack' }, title, part.parts.map(view));
  }
  if (kind !== 'call') return codeBlock(text, { label: name });
  return h('div', null, h('strong', null, 'Calls ', h('span', { class: 'mono' }, name)), small(id),
    codeBlock(pretty(part.args), { label: `Arguments of ${name}` }));
}

/** Only what came with the request is drawn: nothing is fetched from elsewhere. */
function image(url) {
  if (!url.startsWith('data:')) return h('p', { class: 'wrap' }, `Image at ${url.slice(0, 500)}`);
  const size = bytes(Math.round((url.length - url.indexOf(',')) * 0.75));
  return h('figure', null, h('img', { class: 'attached', src: url, alt: 'Image in the message' }),
    h('figcaption', { class: 'muted small' }, `${url.slice(5, url.indexOf(';'))}, ${size}`));
}

function long(text) {
  const isWhole = signal(text.length <= MAX_SHOWN);
  return h('div', { class: 'wrap said' }, () => (isWhole() ? text : text.slice(0, MAX_SHOWN)),
    () => !isWhole() && button(`… show all ${num(text.length)} characters`, { onclick: () => isWhole.set(true) }));
}

function pretty(args) {
  const value = typeof args === 'string' ? parseJson(args) : args;
  return value === undefined ? args : JSON.stringify(value, null, 2);
}

const flat = (value, prefix = '') => Object.entries(value).flatMap(([key, each]) => {
  const name = prefix + key.replaceAll('_', ' ');
  if (each && typeof each === 'object') return flat(each, `${name}: `);
  return [[name, typeof each === 'number' ? num(each, Number.isInteger(each) ? 0 : 1) : String(each ?? 'unknown')]];
});
