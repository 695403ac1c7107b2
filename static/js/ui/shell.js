// The frame: vital signs, navigation, keys.
import { append, at, each, h, icon } from '../core/dom.js';
import { connection, retryNow } from '../core/feed.js';
import { bytes, num } from '../core/format.js';
import { shortcut } from '../core/keys.js';
import { go, href, route } from '../core/router.js';
import { computed, effect } from '../core/signal.js';
import { counts, displayName, faceOf, models, pins, profile } from '../state/models.js';
import { hideNotice, notices } from '../state/notices.js';
import { vram, watts } from '../state/perf.js';
import { railIsNarrow } from '../state/prefs.js';
import { isWaiting, live } from '../state/requests.js';
import { meter } from './bars.js';
import { selectProfile, stateGlyph } from './modelparts.js';
import { instance } from './pages.js';
import { button, iconButton, select, startTooltips } from './parts.js';

// [id, name, key after g]; the first five fit on a narrow screen.
const PAGES = [['overview', 'Overview', 'o'], ['models', 'Models', 'm'], ['requests', 'Requests', 'r'],
	['play', 'Playground', 'p'], ['logs', 'Logs', 'l'], ['system', 'System', 's'], ['settings', 'Settings', ',']];
const FITTING = 5;
const LOGO = new URL('../../favicon.svg', import.meta.url).href;
/** state: [word, colour] */
const STATES = { connecting: ['connecting', 'stopped'], live: ['live', 'ready'], stale: ['stale', 'starting'],
	empty: ['connected, no data', 'starting'], down: ['disconnected', 'failed'], auth: ['key needed', 'failed'] };
const PALETTE = 'Search and commands';
const HELP = 'Keyboard shortcuts';
const RAIL = 'Narrow or widen the navigation';

const target = (page) => href(page === 'overview' ? '' : page);
const moreItems = () => PAGES.slice(FITTING).map(([page, label]) => ({ label, href: target(page) }));
const toggleRail = () => railIsNarrow.update((is) => !is);
const openHelp = async () => (await import('./palette.js')).openHelp();
const openPalette = async () => (await import('./palette.js')).openPalette();

export function startShell() {
	append(at('top'), header());
	append(at('rail'), rail());
	at('skip').addEventListener('click', (event) => {
		event.preventDefault();           // "#main" in the address bar would be a page of that name
		at('title').focus();
	});
	each(at('notices'), notices, (item) => item.id, notice);
	startTooltips();
	effect(() => {
		const root = document.documentElement;
		root.toggleAttribute('data-stale', ['stale', 'down', 'empty'].includes(connection().state));
		root.toggleAttribute('data-narrow-rail', railIsNarrow());
	});
	for (const [page, label, key] of PAGES) shortcut(`g ${key}`, `Go to ${label}`, () => go(target(page)));
	shortcut('[', RAIL, toggleRail);
	shortcut('?', HELP, openHelp);
	shortcut('mod+k', PALETTE, openPalette);
}

function header() {
	const state = computed(() => connection().state);
	const vital = (...content) => h('a', { class: 'vital num only-wide', href: href('system') }, content);
	const hasVram = computed(() => Boolean(vram()));
	const memory = () => `${bytes(vram()?.used)} / ${bytes(vram()?.total)}`;
	const hasWatts = computed(() => watts() !== null);
	return [
		iconButton('menu', RAIL, { class: 'only-wide', onclick: toggleRail }),
		h('a', { class: 'brand', href: href() }, h('img', { src: LOGO, alt: '', width: '22', height: '22' }),
			h('span', { class: 'clip' }, instance)),
		h('span', { class: () => `link-state is-${STATES[state()][1]}`, 'data-connection': state }, icon('ready'),
			() => STATES[state()][0]),
		h('div', { class: 'vitals' },
			() => hasVram() && vital('VRAM', meter({ bare: true, label: 'GPU memory in use', value: () => vram()?.used,
				max: () => vram()?.total, text: memory }), memory),
			h('a', { class: 'vital num', href: href('requests') }, () => {
				const queued = live().filter(isWaiting).length;
				return `${live().length - queued} running · ${queued} queued`;
			}),
			() => hasWatts() && vital(() => `${num(watts())} W`)),
		() => profile().profiles.length > 0 && select([['', 'No profile'],
			...profile().profiles.map(({ id }) => [id, `Profile ${id}`])], { label: 'Profile', class: 'profile only-wide',
			value: profile().active || '', onchange: selectProfile }),
		iconButton('search', `${PALETTE} (Ctrl K)`, { onclick: openPalette }),
		iconButton('help', `${HELP} (?)`, { class: 'only-wide', onclick: openHelp }),
	];
}

function rail() {
	const isCurrent = ([page]) => page === route().page || (page === 'models' && route().page === 'model');
	const shown = () => models().filter(({ id, kind, state }) => pins().includes(id)
		|| (kind !== 'peer' && state !== 'stopped'));
	return [h('ul', { class: 'pages' }, PAGES.map((page, i) => h('li', { class: i >= FITTING && 'only-wide' },
		h('a', { href: target(page[0]), 'aria-current': () => isCurrent(page) && 'page' }, icon(page[0]),
			h('span', null, page[1]),
			page[0] === 'models' && h('span', { class: 'count num' }, () => counts().ready || '')))),
	h('li', { class: 'only-narrow' }, button('More', { icon: 'more', kind: 'quiet', 'aria-haspopup': 'menu',
		'aria-current': () => PAGES.slice(FITTING).some(isCurrent) && 'true',
		onclick: async ({ currentTarget }) => (await import('./menu.js')).toggleMenu(currentTarget, moreItems) }))),
	each(h('ul', { class: 'running', 'aria-label': 'Pinned and loaded models' }), shown, ({ id }) => id, railModel)];
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

function notice(item) {
	const { id, kind = id, severity } = item.peek();
	return h('div', { class: () => `notice ${item().severity}`, 'data-notice': kind },
		icon(severity === 'info' ? 'notice' : 'failed', severity),
		h('div', { class: 'grow' }, () => item().text),
		() => item().action && button(item().action.label, { onclick: item().action.run }),
		() => id === 'connection' && button('Try now', { onclick: retryNow }),
		() => !item().stays && iconButton('close', 'Hide this notice', { onclick: () => hideNotice(item()) }));
}
