// Rerank: which of the documents answers the query best.
import { h } from '../core/dom.js';
import { num } from '../core/format.js';
import { signal } from '../core/signal.js';
import { button, copyButton, emptyState, field, inlineError, segmented } from '../ui/parts.js';
import { meter } from '../ui/bars.js';
import { post } from './api.js';
import { chosenModel, modelPicker } from './picker.js';
import { side } from './side.js';

const SAMPLE = ['The Rhine flows through Cologne into the North Sea.', 'Bread dough rises because yeast makes gas.',
  'Cologne has a cathedral by the river.'];

export function panel(ctx) {
  const [model, choose] = chosenModel('rerank');
  const result = signal(null);
  const isBusy = signal(false);
  const order = signal('score');
  const query = h('input', { type: 'text' });
  const documents = h('textarea', { rows: '8' });
  const trouble = signal('');
  const top = h('input', { type: 'text', inputmode: 'numeric', placeholder: 'all' });
  const read = () => {
    const text = documents.value.trim();
    if (!text.startsWith('[')) return text.split(/\n\s*---\s*\n|\n/).map((line) => line.trim()).filter(Boolean);
    const found = JSON.parse(text);
    if (!found.every((each) => typeof each === 'string'
      || typeof each?.text === 'string')) throw new TypeError('a list of texts is needed');
    return found.map((each) => (typeof each === 'string' ? each : each.text));
  };
  const run = async () => {
    let texts;
    try {
      texts = read();
      trouble.set('');
    } catch (error) {
      trouble.set(`Not a JSON list of texts: ${error.message}`);
      return;
    }
    if (!texts.length || !query.value.trim() || isBusy.peek()) return;
    isBusy.set(true);
    try {
      const body = { model: model.peek(), query: query.value.trim(), documents: texts,
        ...(Number(top.value) > 0 ? { top_n: Number(top.value) } : {}) };
      const found = await post('v1/rerank', body, { signal: ctx.signal });
      result.set({ texts, rows: found.results || found.data || [], usage: found.usage });
    } catch (error) {
      if (error.name !== 'AbortError') result.set(error);
    }
    isBusy.set(false);
  };
  return h('div', { class: 'play' }, side(() => `${model() || 'No model'}: settings`,
    modelPicker({ value: model, onchange: choose, suits: (has) => has.reranker }), field('Best only', top)),
    h('div', { class: 'play-main' }, field('Query', query),
      field('Documents', documents, { hint: 'One per line, or a JSON list of texts.', error: trouble }),
      h('div', { class: 'row' }, button(() => (isBusy() ? 'Working' : 'Rerank'),
        { kind: 'primary', disabled: isBusy, onclick: run }),
        button('Fill in a sample', { kind: 'quiet', onclick: () => { query.value = 'Which river is Cologne on?';
          documents.value = SAMPLE.join('\n'); } })),
      () => (result() instanceof Error ? inlineError(result(), run) : result() ? shown(result(), order)
        : emptyState({ title: 'Nothing ranked yet' }))));
}

function shown({ texts, rows, usage }, order) {
  const score = (row) => row.relevance_score ?? row.score ?? null;
  const most = Math.max(...rows.map((row) => Math.abs(score(row) ?? 0)), 1e-9);
  const sorted = () => [...rows].sort((a, b) => (order() === 'score' ? score(b) - score(a) : a.index - b.index));
  return h('div', { class: 'stack tight' }, h('div', { class: 'row' },
    segmented('Order', [['score', 'By score'], ['index', 'As given']], { value: order, onchange: order.set }),
    h('span', { class: 'muted' }, `${num(usage?.total_tokens ?? null)} tokens`),
      copyButton(() => JSON.stringify(sorted().map((row) => ({ score: score(row), text: texts[row.index] })), null, 2),
      'Copy as JSON')),
  h('div', { class: 'table-box', tabindex: '0', role: 'region', 'aria-label': 'Ranked documents' },
    h('table', { class: 'table' },
    h('thead', null, h('tr', null, ['Score', '', 'Document',
    'Number'].map((label) => h('th', { scope: label ? 'col' : null }, label)))),
    h('tbody', null, () => sorted().map((row) => h('tr', null, h('td', { class: 'num' }, num(score(row), 4)),
      h('td', { class: 'bar-cell' }, meter({ value: () => Math.max(0, score(row) ?? 0), max: () => most, label: 'Score',
        text: () => num(score(row), 4), bare: true })), h('td', { class: 'wrap' }, texts[row.index] ?? 'unknown'),
        h('td', { class: 'num' }, row.index + 1)))))));
}
