// The playground: one tab per kind of model. Nothing is sent by opening any of it.
import { h } from '../core/dom.js';
import { href } from '../core/router.js';
import { onCleanup, scope, signal } from '../core/signal.js';
import { inlineError, skeleton } from '../ui/parts.js';
import { tabs } from '../ui/tabs.js';
import { watchRows } from './api.js';

const TABS = [
  ['chat', 'Chat', () => import('./chat.js')], ['compare', 'Compare', () => import('./compare.js')],
  ['images', 'Images', () => import('./images.js')], ['speech', 'Speech', () => import('./speech.js')],
  ['transcribe', 'Transcribe', () => import('./transcribe.js')], ['rerank', 'Rerank', () => import('./rerank.js')],
  ['embed', 'Embed', () => import('./embed.js')], ['load', 'Load test', () => import('./load.js')],
];

export const key = (to) => to.tab;

export function mount(ctx) {
  const tab = TABS.find(([id]) => id === ctx.route.peek().tab) || TABS[0];
  ctx.title(() => (tab[0] === 'chat' ? 'Playground' : `Playground: ${tab[1]}`));
  watchRows();
  const shown = signal(null);
  let end = () => {};
  let isOver = false;
  onCleanup(() => { isOver = true; end(); });
  tab[2]().then((module) => {
    if (isOver) return;
    const [body, over] = scope(() => module.panel(ctx));
    end = over;
    shown.set(body);
  }, shown.set);
  const view = tabs('Kinds of models', TABS.map(([id, label]) => ({ id, label, href: href('play', id) })), () => tab[0],
    () => (shown() === null ? skeleton(4) : shown() instanceof Error ? inlineError(shown(), () => location.reload())
      : h('div', null, shown())));
  // On a small screen the strip of tabs scrolls.
  requestAnimationFrame(() => view.querySelector('[aria-selected=true]')?.scrollIntoView({ block: 'nearest',
    inline: 'nearest' }));
  return view;
}
