// The machine: what it does, what it is, and what it was told.
import { h } from '../core/dom.js';
import { href } from '../core/router.js';
import { computed, untracked } from '../core/signal.js';
import { tabs } from '../ui/tabs.js';
import { liveTab } from './systemlive.js';
import { configTab, hardwareTab } from './systemfacts.js';

const TABS = { live: ['Live', liveTab], hardware: ['Hardware', hardwareTab], config: ['Configuration', configTab] };

export function mount(ctx) {
  ctx.title('System');
  const current = computed(() => TABS[ctx.route().tab] ? ctx.route().tab : 'live');
  return h('div', { class: 'system' }, tabs('System', Object.entries(TABS).map(([id, [label]]) =>
    ({ id, label, href: href('system', id) })), current, () => {
    const [, show] = TABS[current()];
    return untracked(() => show(ctx));
  }));
}
