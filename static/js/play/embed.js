// Embed: vectors of texts, how long they are, and how alike.
import { h } from '../core/dom.js';
import { num } from '../core/format.js';
import { download } from '../core/clipboard.js';
import { signal } from '../core/signal.js';
import { button, card, copyButton, emptyState, facts, field, inlineError } from '../ui/parts.js';
import { post } from './api.js';
import { chosenModel, modelPicker } from './picker.js';
import { side } from './side.js';

export function panel(ctx) {
  const [model, choose] = chosenModel('embed');
  const result = signal(null);      // {texts, rows, usage, model} | Error
  const isBusy = signal(false);
  const text = h('textarea', { rows: '6' });
  const size = h('input', { type: 'text', inputmode: 'numeric', placeholder: 'server default' });
  const run = async () => {
    const texts = text.value.split('\n').map((line) => line.trim()).filter(Boolean);
    if (!texts.length || isBusy.peek()) return;
    isBusy.set(true);
    try {
      const body = { model: model.peek(), input: texts, ...(Number(size.value) > 0 ? { dimensions: Number(size.value) }
        : {}) };
      const found = await post('v1/embeddings', body, { signal: ctx.signal });
      const rows = [...found.data].sort((a, b) => a.index - b.index).map((row) => numbers(row.embedding));
      result.set({ texts, rows, usage: found.usage, model: found.model });
    } catch (error) {
      if (error.name !== 'AbortError') result.set(error);
    }
    isBusy.set(false);
  };
  return h('div', { class: 'play' }, side(() => `${model() || 'No model'}: settings`,
    modelPicker({ value: model, onchange: choose }), field('Dimensions', size)),
    h('div', { class: 'play-main' }, field('Texts, one per line', text),
      h('div', { class: 'row' }, button(() => (isBusy() ? 'Working' : 'Embed'),
      { kind: 'primary', disabled: isBusy, onclick: run })),
      () => (result() instanceof Error ? inlineError(result(), run) : result() ? shown(result())
        : emptyState({ title: 'No vectors yet',
          text: 'Two texts or more show how alike they are: 1 is the same direction.' }))));
}

// Some engines give base64 of 32-bit floats, some a vector per token.
function numbers(value) {
  if (typeof value === 'string') return [...new Float32Array(Uint8Array.from(atob(value),
    (char) => char.charCodeAt(0)).buffer)];
  return Array.isArray(value[0]) ? value[0] : value;
}

const dot = (a, b) => a.reduce((sum, value, at) => sum + value * b[at], 0);
const norm = (a) => Math.sqrt(dot(a, a));
/** Null when a vector has no direction. */
export const cosine = (a, b) => (norm(a) && norm(b) ? Math.min(1, Math.max(-1, dot(a, b) / (norm(a) * norm(b))))
  : null);

function shown({ texts, rows, usage, model }) {
  const short = (text) => (text.length > 24 ? `${text.slice(0, 23)}\u2026` : text);
  const likeness = (a, b) => { const found = cosine(a, b);
    return h('td', { class: 'num', css: { '--w': found === null ? 0 : `${Math.round(Math.max(0, found) * 55)}%` } },
    num(found, 3)); };
  const json = () => JSON.stringify(rows);
  return h('div', { class: 'stack' }, facts([['Dimension', num(rows[0].length)],
    ['Tokens', num(usage?.total_tokens ?? null)], ['Model', model || 'unknown']]),
    card('Cosine similarity', {}, h('div', { class: 'table-box', tabindex: '0', role: 'region',
      'aria-label': 'Cosine similarity' },
      h('table', { class: 'table heat', 'aria-label': 'Cosine similarity' },
      h('thead', null, h('tr', null, h('td'), texts.map((text) => h('th', { scope: 'col', title: text },
        short(text))))),
      h('tbody', null, rows.map((row, at) => h('tr', null,
        h('th', { scope: 'row', title: texts[at] }, short(texts[at])), rows.map((other) => likeness(row, other)))))))),
    card('Vectors', { actions: [copyButton(json, 'Copy all'),
      button('Download', { icon: 'download', kind: 'quiet',
      onclick: () => download('vectors.json', [json()], 'application/json') })] },
      h('div', { class: 'stack tight' }, rows.map((row, at) => h('details', null,
        h('summary', null, `${short(texts[at])}: norm ${num(norm(row), 3)}`),
        h('pre', { class: 'well mono wrap', tabindex: '0' },
          row.map((value) => Number(value.toPrecision(6))).join(', ')))))));
}
