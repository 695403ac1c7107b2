// One to three panes. In the address: src, q, level …; of the second src2, q2 …
import { download } from '../core/clipboard.js';
import { h, inRow, newId } from '../core/dom.js';
import { subscribe } from '../core/feed.js';
import { num } from '../core/format.js';
import { shortcut } from '../core/keys.js';
import { setting } from '../core/persist.js';
import { route, setQuery } from '../core/router.js';
import { computed, effect, onCleanup, scope, signal, untracked } from '../core/signal.js';
import { LEVELS, LineFilter, LineRing, lowerBound } from '../state/logs.js';
import { models } from '../state/models.js';
import { logView } from '../ui/logview.js';
import { sheet } from '../ui/pages.js';
import { button, chip, iconButton, searchBox, select } from '../ui/parts.js';

const MOST_PANES = 3;
const SOURCES = { all: 'Everything', proxy: 'llamaswap itself', upstream: 'All models' };
const followed = new Map();         // LineRing → its source

export function mount(ctx) {
	ctx.title('Logs');
	const count = computed(() => Math.min(MOST_PANES, Math.max(1, Number(route().query.get('pane')) || 1)));
	const change = (label, icon, by, end) => button(label, { icon, hidden: () => count() === end,
		onclick: () => setQuery({ pane: count.peek() + by }, { push: true }) });
	ctx.actions(change('Remove a pane', 'close', -1, 1), change('Add a pane', 'plus', 1, MOST_PANES));
	const panes = [];                 // [element, end]
	onCleanup(() => panes.forEach(([, end]) => end()));
	return h('div', { class: 'log-page' }, () => {
		while (panes.length > count()) panes.pop()[1]();
		while (panes.length < count()) panes.push(untracked(() => scope(() => logPane({ index: panes.length }))));
		return h('div', null, panes.map(([pane]) => pane).reduceRight((rest, pane, i) => split(count() - i, pane, rest)));
	});
}

/** The thumb of a slider is the border. */
function split(parts, pane, rest) {
	const start = Math.round(100 / parts);
	const at = setting(`logs.split${parts}`, start);
	return h('div', { class: 'log-split', css: { '--at': at } }, pane, h('input', { type: 'range', class: 'log-bar',
		min: '15', max: '85', step: '5', value: () => String(at()), 'aria-label': 'Size of the panes',
		oninput: ({ target }) => at.set(Number(target.value)), ondblclick: () => at.set(start) }), rest);
}

/** For another page. Without its rules all rows would be in view. */
export const styledPane = () => sheet('logs').then(() => logPane);

/** `source`: of this one alone. */
function logPane({ index = 0, source = '' }) {
	const key = (name) => name + (index ? index + 1 : '');
	const get = (name) => route().query.get(key(name)) || '';
	const set = (name, value) => setQuery({ [key(name)]: value });
	const from = computed(() => source || get('src') || 'all');
	const levels = computed(() => get('level').split(',').filter(Boolean));
	const asked = computed(() => {
		const text = get('q');
		try {
			return { find: text && new RegExp(get('re') ? text : text.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&'), 'i') };
		} catch ({ message }) {
			return { error: message };
		}
	});
	const ring = new LineRing();
	let filter = new LineFilter(ring, {});
	const current = signal(null);
	// For one unknown topic the server refuses all.
	const isKnown = computed(() => sources().includes(from()));
	const status = signal('');
	const look = computed(() => ({ wrap: get('wrap'), size: Number(get('size')) || 13,
		times: Boolean(get('time')), current: current() }));
	const view = logView({ ring, look, filter: () => filter, 'aria-label': () => SOURCES[from()] || from(),
		'data-pane': from,
		onDraw({ find, hits, rows }) {
			const place = current() === null ? '' : `${num(lowerBound(hits, current()) + 1)} of `;
			const all = ring.lines.length;
			status.set(find ? `${place}${num(hits.length)} matching`
				: `${num(rows.length)} ${rows.length < all ? `of ${num(all)} ` : ''}lines`);
		} });
	effect(() => {
		if (asked().error) return;
		filter = new LineFilter(ring, { ...asked(), levels: levels(), only: !get('all'), context: Number(get('around')) });
		current.set(null);
		view.refresh();
	});
	effect(() => {
		const name = from();
		const take = (event) => {
			ring.push(event);
			view.refresh();
		};
		// A tab is told a source's history once: another pane may have it.
		const other = [...followed].find(([, its]) => its === name)?.[0].lines || [];
		take({ text: other.map(({ text }) => `${text}\n`).join(''), reset: true });
		followed.set(ring, name);
		onCleanup(() => followed.delete(ring));
		if (isKnown()) subscribe(`log:${name}`, take);
	});

	const jump = (by) => {
		const { hits } = filter;
		const at = current() ?? view.top() - (by > 0);
		const to = by > 0 ? lowerBound(hits, at + 1) % hits.length : lowerBound(hits, at) - 1;
		if (!hits.length) return;
		current.set(hits.at(to));
		view.show(hits.at(to));
	};
	const step = (icon, label, by) => iconButton(icon, label, { 'data-by': by, onclick: () => jump(by) });
	const toggle = (label, name) => chip(label, { pressed: () => get(name),
		onclick: () => set(name, get(name) ? '' : '1') });
	const pick = (label, name, options) => select(options, { label, value: () => get(name),
		onchange: (value) => set(name, value) });
	const complaint = newId('log');
	const search = searchBox({ label: 'Search', value: () => get('q'), oninput: (value) => set('q', value),
		shortcut: index ? '' : '/', 'aria-invalid': () => asked().error && 'true', 'aria-describedby': complaint,
		onkeydown: ({ key: pressed, shiftKey }) => { if (pressed === 'Enter') jump(shiftKey ? -1 : 1); } });
	const keys = (event) => {
		const pressed = (event.ctrlKey || event.metaKey ? 'mod+' : '') + event.key;
		// The browser's own search, which finds rows in view, comes when pressed again.
		if (pressed === 'mod+f' && event.target.type !== 'search') search.lastChild.select();
		else if (event.target !== view.box) return;
		else if (pressed === 'mod+a') getSelection().selectAllChildren(view.spacer);
		else if (pressed === 'End') view.follow();
		else return;
		event.preventDefault();
	};
	if (!index) shortcut('n', 'Next match, with Shift the one before', ({ shiftKey }) =>
		(document.activeElement.closest('.log-pane') || pane).querySelector(`[data-by="${shiftKey ? -1 : 1}"]`).click());

	const pane = h('section', { class: 'stack log-pane', onkeydown: keys },
		inRow(!source && pick('Source', 'src', () =>
			[...new Set([...sources(), from()])].map((id) => [id, SOURCES[id] || id])), search,
			toggle('Regex', 're'), toggle('All lines', 'all'),
			inRow(step('up', 'Previous match', -1), step('down', 'Next match', 1),
				h('span', { class: 'num muted log-status' }, status)),
			h('span', { class: 'row', role: 'group', 'aria-label': 'Levels' }, LEVELS.map((level) => chip(level, {
				pressed: () => levels().includes(level),
				onclick: () => set('level', LEVELS.filter((each) => levels().includes(each) !== (each === level)).join()) })))),
		inRow(h('details', { class: 'grow' }, h('summary', null, 'More'), inRow(
			toggle('Wrap', 'wrap'), toggle('Time of arrival', 'time'),
			pick('Lines around matches', 'around', [0, 2, 5].map((lines) => [lines || '', `${lines} lines around`])),
			pick('Text size', 'size', [12, 13, 14, 15].map((size) => [size === 13 ? '' : size, `${size} px`])),
			button('Download', { icon: 'download',
				onclick: () => download(`${from().replace(/\W/g, '-')}.log`, `${view.text()}\n`) }),
			button('Clear', { icon: 'trash', onclick: () => view.refresh(ring.clear()) }))),
			button(() => (view.fresh() === null ? 'Pause' : `Follow: ${num(view.fresh())} new lines`), { icon: 'pause',
				onclick: () => (view.fresh() === null ? view.stop() : view.follow()) })),
		h('p', { id: complaint, class: 'error-text', role: 'alert' }, () => asked().error),
		view.box);
	return pane;
}

const sources = () => [...Object.keys(SOURCES), ...models().filter(({ kind }) => kind === 'model').map(({ id }) => id)];
