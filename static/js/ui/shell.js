// The frame around every page: vital signs, navigation, notices, and the keys that work everywhere.
import { append, each, h, icon } from '../core/dom.js';
import { connection, retryNow } from '../core/feed.js';
import { bytes, num } from '../core/format.js';
import { shortcut } from '../core/keys.js';
import { go, href, route } from '../core/router.js';
import { computed, effect } from '../core/signal.js';
import { counts, displayName, faceOf, models, pins, profile } from '../state/models.js';
import { hideNotice, notices } from '../state/notices.js';
import { vram, watts } from '../state/perf.js';
import { railIsNarrow } from '../state/prefs.js';
import { live } from '../state/requests.js';
import { selectProfile } from './actions.js';
import { meter } from './bars.js';
import { stateGlyph } from './modelparts.js';
import { instance } from './pages.js';
import { button, iconButton, select } from './parts.js';

const PAGES = [['overview', 'Overview', href(), 'o'], ['models', 'Models', href('models'), 'm'],
  ['requests', 'Requests', href('requests'), 'r'],
  ['play', 'Playground', href('play'), 'p'], ['logs', 'Logs', href('logs'), 'l'], ['system', 'System', href('system'),
    's'],
  ['settings', 'Settings', href('settings'), ',']];
const LOGO = new URL('../../favicon.svg', import.meta.url).href;
const NARROW_BAR = new Set(['overview', 'models', 'requests', 'play', 'logs']);
const STATE_WORDS = { connecting: 'connecting', live: 'live', stale: 'stale', empty: 'connected, no data',
  down: 'disconnected', auth: 'key needed' };
const STATE_KINDS = { live: 'ready', stale: 'busy', empty: 'busy', connecting: 'stopped', down: 'fail', auth: 'fail' };

export function startShell() {
  const at = (id) => document.getElementById(id);
  append(at('top'), header());
  append(at('rail'), rail());
  at('skip').addEventListener('click', (event) => {
    event.preventDefault();           // "#main" in the address bar would be a page of that name
    at('title').focus();
  });
  each(at('notices'), notices, (each) => each.id, notice);
  effect(() => {
    const { state } = connection();
    document.documentElement.toggleAttribute('data-stale', state === 'stale' || state === 'down' || state === 'empty');
    document.documentElement.toggleAttribute('data-narrow-rail', railIsNarrow());
  });
  startShortcuts();
}

// --- header

function header() {
  const now = computed(() => connection().state);
  return [
    iconButton('menu', 'Narrow or widen the navigation', { class: 'only-wide', onclick: toggleRail }),
    h('a', { class: 'brand', href: href() }, h('img', { src: LOGO, alt: '', width: '22', height: '22' }),
      h('span', { class: 'clip' }, instance)),
    h('span', { class: () => `link-state ${STATE_KINDS[now()]}`, 'data-connection': now }, icon('ready'),
      () => STATE_WORDS[now()]),
    h('div', { class: 'vitals' },
      () => vram() && h('a', { class: 'vital only-wide', href: href('system', 'live') }, h('span', { class: 'muted' },
        'VRAM'),
        meter({ label: 'GPU memory in use', value: () => vram() && vram().used, max: () => vram() && vram().total,
          text: () => (vram() ? `${bytes(vram().used)} of ${bytes(vram().total)}` : ''), kind: () => '', bare: true }),
        h('span', { class: 'num' }, () => vram() && `${bytes(vram().used)} / ${bytes(vram().total)}`)),
      h('a', { class: 'vital num', href: href('requests') }, queueText),
      () => watts() !== null && h('a', { class: 'vital num only-wide', href: href('system', 'live') },
        () => `${num(watts())} W`)),
    () => profile().profiles.length > 0 && h('label', { class: 'row profile only-wide' }, h('span', { class: 'muted' },
      'Profile'),
      select(() => [['', 'None'], ...profile().profiles.map((each) => [each.id, each.id])],
        { label: 'Profile', value: () => profile().active || '', onchange: selectProfile })),
    iconButton('search', 'Search and commands (Ctrl K)', { onclick: openPalette }),
    iconButton('help', 'Keyboard shortcuts (?)', { class: 'only-wide', onclick: openHelp }),
  ];
}

function queueText() {
  const waiting = live().filter((each) => each.phase === 'queued' || each.phase === 'loading').length;
  return `${live().length - waiting} running · ${waiting} queued`;
}

// --- navigation

function rail() {
  const list = h('ul', { class: 'pages' }, PAGES.map(([page, label, target]) => h('li', { class: NARROW_BAR.has(page)
    ? '' : 'only-wide' },
    h('a', { href: target, 'aria-current': () => (isCurrent(page) ? 'page' : null) }, icon(page), h('span', null,
      label),
      page === 'models' && h('span', { class: 'count num', 'aria-label': () => `${counts().ready} loaded` },
        () => counts().ready || '')))),
  h('li', { class: 'only-narrow' }, button('More', { icon: 'more', kind: 'quiet', 'aria-haspopup': 'menu',
    'aria-expanded': 'false',
    onclick: async ({ currentTarget }) => (await import('./menu.js')).toggleMenu(currentTarget, moreItems) })));
  const running = h('ul', { class: 'running', 'aria-label': 'Pinned and loaded models' });
  each(running, railModels, (model) => model.id, (model) => h('li', { 'data-model': () => model().id,
    'data-state': () => faceOf(model()).state },
    h('a', { href: () => href('models', model().id), title: () => `${displayName(model())}: ${faceOf(model()).word}`,
      // The page link above already says where we are.
      'aria-current': () => (route().page === 'model' && route().id === model().id ? 'true' : null) },
    stateGlyph(() => faceOf(model())), h('span', { class: 'clip' }, () => displayName(model())),
    h('span', { class: 'vh' }, () => faceOf(model()).word))));
  return [list, running];
}

/** What has no room on a narrow screen: the other pages, the profile, the keys. */
function moreItems() {
  const { active, profiles } = profile();
  return [...PAGES.filter(([page]) => !NARROW_BAR.has(page)).map(([, label, target]) => ({ label, href: target })),
    ...(profiles.length ? ['-', ...[null, ...profiles.map((each) => each.id)].map((id) => ({
      label: id === null ? 'No profile' : `Profile ${id}`, checked: id === active, run: () => selectProfile(id) }))]
        : []),
    '-', { label: 'Search and commands', run: openPalette }];
}

function railModels() {
  const pinned = pins();
  return models().filter((model) => pinned.includes(model.id) || (model.kind !== 'peer' && model.state !== 'stopped'));
}

function isCurrent(page) {
  const now = route().page;
  return now === page || (page === 'models' && now === 'model');
}

const toggleRail = () => railIsNarrow.update((is) => !is);

// --- notices

function notice(item) {
  const [glyph, word] = { error: ['failed', 'Error'], warning: ['failed', 'Warning'], info: ['notice',
    'Notice'] }[item.peek().severity] || ['notice', 'Notice'];
  return h('div', { class: () => `notice ${item().severity}`, 'data-notice': () => item().kind || item().id },
    icon(glyph, word),
    h('div', { class: 'grow' }, () => item().text),
    () => item().action && button(item().action.label, { onclick: () => item.peek().action.run() }),
    () => item().id === 'connection' && connection().state !== 'auth' && button('Try now', { onclick: retryNow }),
    () => !item().stays && iconButton('close', 'Hide this notice', { onclick: () => hideNotice(item.peek().id) }));
}

// --- keys that work on every page

function startShortcuts() {
  for (const [, label, target, key] of PAGES) shortcut(`g ${key}`, `Go to ${label}`, () => go(target));
  shortcut('[', 'Narrow or widen the navigation', toggleRail);
  shortcut('?', 'Keyboard shortcuts', openHelp);
  shortcut('mod+k', 'Search and commands', openPalette);
}

const openHelp = () => { import('./palette.js').then((palette) => palette.openHelp()); };

/** What is typed while the palette is being loaded belongs to it. */
async function openPalette() {
  let typed = '';
  const keep = (event) => {
    if (event.key.length === 1 && !event.ctrlKey && !event.metaKey) typed += event.key;
    event.preventDefault();
    event.stopImmediatePropagation();
  };
  addEventListener('keydown', keep, true);
  try {
    const palette = await import('./palette.js');
    palette.openPalette(typed);
  } finally {
    removeEventListener('keydown', keep, true);
  }
}
