// The frame: vital signs, navigation, notices, and the keys that work everywhere.
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

// The first five fit on a narrow screen.
const PAGES = [['overview', 'Overview', href(), 'o'], ['models', 'Models', href('models'), 'm'],
	['requests', 'Requests', href('requests'), 'r'], ['play', 'Playground', href('play'), 'p'],
	['logs', 'Logs', href('logs'), 'l'], ['system', 'System', href('system'), 's'],
	['settings', 'Settings', href('settings'), ',']];
const FITTING = 5;
const LOGO = new URL('../../favicon.svg', import.meta.url).href;
/** state: [word, colour] */
const STATES = { connecting: ['connecting', ''], live: ['live', 'ready'], stale: ['stale', 'busy'],
	empty: ['connected, no data', 'busy'], down: ['disconnected', 'fail'], auth: ['key needed', 'fail'] };

export function startShell() {
	const at = (id) => document.getElementById(id);
	append(at('top'), header());
	append(at('rail'), rail());
	at('skip').addEventListener('click', (event) => {
		event.preventDefault();           // "#main" in the address bar would be a page of that name
		at('title').focus();
	});
	each(at('notices'), notices, (item) => item.id, notice);
	effect(() => {
		const root = document.documentElement;
		root.toggleAttribute('data-stale', ['stale', 'down', 'empty'].includes(connection().state));
		root.toggleAttribute('data-narrow-rail', railIsNarrow());
	});
	for (const [, label, target, key] of PAGES) shortcut(`g ${key}`, `Go to ${label}`, () => go(target));
	shortcut('[', 'Narrow or widen the navigation', toggleRail);
	shortcut('?', 'Keyboard shortcuts', openHelp);
	shortcut('mod+k', 'Search and commands', openPalette);
}

// --- header

function header() {
	const state = computed(() => connection().state);
	const vital = (parts, ...content) => h('a', { class: 'vital num only-wide', href: href(...parts) }, content);
	const used = () => vram() || {};
	const memory = () => `${bytes(used().used)} / ${bytes(used().total)}`;
	const hasVram = computed(() => Boolean(vram()));
	const hasWatts = computed(() => watts() !== null);
	return [
		iconButton('menu', 'Narrow or widen the navigation', { class: 'only-wide', onclick: toggleRail }),
		h('a', { class: 'brand', href: href() }, h('img', { src: LOGO, alt: '', width: '22', height: '22' }),
			h('span', { class: 'clip' }, instance)),
		h('span', { class: () => `link-state ${STATES[state()][1]}`, 'data-connection': state }, icon('ready'),
			() => STATES[state()][0]),
		h('div', { class: 'vitals' },
			() => hasVram() && vital(['system', 'live'], h('span', { class: 'muted' }, 'VRAM'), meter({ bare: true,
				label: 'GPU memory in use', value: () => used().used, max: () => used().total, text: memory }),
			h('span', null, memory)),
			h('a', { class: 'vital num', href: href('requests') }, () => {
				const queued = live().filter(({ phase }) => phase === 'queued' || phase === 'loading').length;
				return `${live().length - queued} running · ${queued} queued`;
			}),
			() => hasWatts() && vital(['system', 'live'], () => `${num(watts())} W`)),
		() => profile().profiles.length > 0 && h('label', { class: 'row profile only-wide' },
			h('span', { class: 'muted' }, 'Profile'),
			select([['', 'None'], ...profile().profiles.map(({ id }) => [id, id])],
				{ value: () => profile().active || '', onchange: selectProfile })),
		iconButton('search', 'Search and commands (Ctrl K)', { onclick: openPalette }),
		iconButton('help', 'Keyboard shortcuts (?)', { class: 'only-wide', onclick: openHelp }),
	];
}

// --- navigation

function rail() {
	const isCurrent = (page) => page === route().page || (page === 'models' && route().page === 'model');
	const list = h('ul', { class: 'pages' }, PAGES.map(([page, label, target], i) => h('li',
		{ class: i < FITTING ? '' : 'only-wide' },
		h('a', { href: target, 'aria-current': () => isCurrent(page) && 'page' }, icon(page), h('span', null, label),
			page === 'models' && h('span', { class: 'count num', 'aria-label': () => `${counts().ready} loaded` },
				() => counts().ready || '')))),
	h('li', { class: 'only-narrow' }, button('More', { icon: 'more', kind: 'quiet', 'aria-haspopup': 'menu',
		'aria-expanded': 'false',
		onclick: async ({ currentTarget }) => (await import('./menu.js')).toggleMenu(currentTarget, moreItems) })));
	const shown = () => models().filter(({ id, kind, state }) => pins().includes(id)
		|| (kind !== 'peer' && state !== 'stopped'));
	const running = h('ul', { class: 'running', 'aria-label': 'Pinned and loaded models' });
	return [list, each(running, shown, (model) => model.id, railModel)];
}

function railModel(model) {
	const { id } = model.peek();
	const face = () => faceOf(model());
	return h('li', { 'data-model': id, 'data-state': () => face().state },
		h('a', { href: href('models', id), title: () => `${displayName(model())}: ${face().word}`,
			'aria-current': () => route().page === 'model' && route().id === id && 'true' },
		stateGlyph(face), h('span', { class: 'clip' }, () => displayName(model())),
		h('span', { class: 'vh' }, () => face().word)));
}

/** What has no room on a narrow screen. */
function moreItems() {
	const { active, profiles } = profile();
	const choice = (id, label) => ({ label, checked: id === active, run: () => selectProfile(id) });
	return [...PAGES.slice(FITTING).map(([, label, target]) => ({ label, href: target })),
		profiles.length > 0 && '-', profiles.length > 0 && choice(null, 'No profile'),
		...profiles.map(({ id }) => choice(id, `Profile ${id}`)),
		'-', { label: 'Search and commands', run: openPalette }];
}

const toggleRail = () => railIsNarrow.update((is) => !is);

// --- notices

function notice(item) {
	const { id, kind = id, severity } = item.peek();
	return h('div', { class: () => `notice ${item().severity}`, 'data-notice': kind },
		severity === 'info' ? icon('notice', 'Notice') : icon('failed', severity === 'error' ? 'Error' : 'Warning'),
		h('div', { class: 'grow' }, () => item().text),
		() => item().action && button(item().action.label, { onclick: item().action.run }),
		() => id === 'connection' && connection().state !== 'auth' && button('Try now', { onclick: retryNow }),
		() => !item().stays && iconButton('close', 'Hide this notice', { onclick: () => hideNotice(id) }));
}

const openHelp = async () => (await import('./palette.js')).openHelp();

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
		(await import('./palette.js')).openPalette(typed);
	} finally {
		removeEventListener('keydown', keep, true);
	}
}
