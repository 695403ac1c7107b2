// Logs: one source at a time, followed while the page is open.
import { h } from '../core/dom.js';
import { subscribe } from '../core/feed.js';
import { route, setQuery } from '../core/router.js';
import { effect, signal, untracked } from '../core/signal.js';
import { models } from '../state/models.js';
import { searchBox, select, linkButton } from '../ui/parts.js';

const MOST_LINES = 2000;
const COLOURS = /\u001b\[[0-9;?]*[ -/]*[@-~]/g;
const FIXED = [['all', 'Everything'], ['proxy', 'llamaswap itself'], ['upstream', 'All models']];

/** Follows a source for as long as it is shown; `wanted` is a text in small letters, '' for every line. */
export function logPane(source, wanted = () => '') {
  const lines = signal([]);
  const box = h('pre', { class: 'well mono', tabindex: '0', 'aria-label': 'Log', 'data-pane': source,
    css: { height: '65vh', overflow: 'auto', 'white-space': 'pre-wrap', margin: '0' } },
  () => lines().filter((line) => line.toLowerCase().includes(wanted())).join('\n'));
  effect(() => {
    const name = source();
    let open = '';
    untracked(() => lines.set([]));
    subscribe(`log:${name}`, (data) => {
      const parts = (open + data.text.replace(COLOURS, '')).split('\n');
      open = parts.pop();
      const skipped = data.gap ? [`… ${data.gap} lines skipped by the server …`] : [];
      const atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 40;
      lines.set([...(data.reset ? [] : lines.peek()), ...skipped, ...parts].slice(-MOST_LINES));
      if (atEnd) requestAnimationFrame(() => requestAnimationFrame(() => { box.scrollTop = box.scrollHeight; }));
    });
  });
  return box;
}

export function mount(ctx) {
  ctx.title('Logs');
  const source = () => route().query.get('src') || 'all';
  const wanted = () => (route().query.get('q') || '').toLowerCase();
  ctx.actions(linkButton('Plain text', '../logs'));
  return h('div', { class: 'stack' },
    h('div', { class: 'row' },
      select(() => [...FIXED, ...models().filter((each) => each.kind === 'model').map((each) => [each.id, each.id])],
        { label: 'Source', value: source, onchange: (value) => setQuery({ src: value }) }),
      searchBox({ label: 'Filter lines', value: () => route().query.get('q') || '', oninput: (text) => setQuery({ q: text }), shortcut: '/' })),
    logPane(source, wanted));
}
