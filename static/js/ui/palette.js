// Ctrl/Cmd+K: pages, models, actions. And all shortcuts.
import { h } from '../core/dom.js';
import { shortcuts } from '../core/keys.js';
import { go, href } from '../core/router.js';
import { computed, signal } from '../core/signal.js';
import { displayName, faceOf, models, profile } from '../state/models.js';
import { choices, matcher } from './combobox.js';
import { openDialog } from './dialog.js';
import { change, selectProfile, stateGlyph, unloadAll, unloadModel, unloadable } from './modelparts.js';

const MOST = 12;
const PAGES = { Overview: [], Models: ['models'], Requests: ['requests'], Chat: ['play', 'chat'],
	'Compare models': ['play', 'compare'], Logs: ['logs'], System: ['system', 'live'], Hardware: ['system', 'hardware'],
	Configuration: ['system', 'config'], Settings: ['settings'] };

export function openPalette() {
	const label = 'Search and commands';
	const text = signal('');
	const { close } = openDialog({ title: label, body: () => {
		const found = computed(() => search(text().trim().toLowerCase()));
		const { list, at, field } = choices({ label, options: found, class: 'options', onTake: ({ run }) => {
			close();
			run();
		} });
		return h('div', { class: 'palette stack' }, h('input', { ...field, autofocus: true, 'aria-expanded': 'true',
			placeholder: 'Model, page or action', oninput: ({ target }) => {
				at.set(0);
				text.set(target.value);
			} }), list, () => !found().length && h('p', { class: 'muted', role: 'status' }, 'Nothing has that name.'));
	} });
}

/** Names that begin with the text come first. */
function search(text) {
	const fits = matcher(text);
	const rank = ({ label }) => (label.toLowerCase().startsWith(text) ? 0 : 1);
	return commands().filter(Boolean).map((one) => ({ ...one, value: `${one.label} ${one.hint} ${one.words || ''}` }))
		.filter(({ value }) => fits(value)).sort((a, b) => rank(a) - rank(b)).slice(0, MOST);
}

const action = (label, run, hint = 'action') => ({ label, hint, run });
const page = (label, parts) => action(label, () => go(href(...parts)), 'page');

function commands() {
	const { active, profiles } = profile();
	return [
		...Object.entries(PAGES).map(([label, parts]) => page(label, parts)),
		...models().flatMap(ofModel),
		unloadable().length > 0 && action('Unload all models', unloadAll),
		...profiles.map(({ id }) => action(`Profile ${id}`, () => selectProfile(id), id === active ? 'active' : 'profile')),
		active && action('No profile', () => selectProfile(null), 'profile'),
	];
}

function ofModel(model) {
	const { id, aliases, kind, state } = model;
	const name = displayName(model);
	const [verb, run] = { stopped: ['Load', () => change(id, 'load')], ready: ['Unload', () => unloadModel(model)],
		starting: ['Cancel loading', () => change(id, 'cancel')] }[state] || [];
	const isLocal = kind !== 'peer';
	return [
		{ ...page(name, ['models', id]), hint: faceOf(model).word, before: () => stateGlyph(() => faceOf(model)) },
		isLocal && verb && action(`${verb} ${name}`, run),
		isLocal && page(`Logs of ${name}`, ['models', id, 'logs']),
	].map((one) => one && { ...one, words: [id, ...aliases].join(' ') });
}

export function openHelp() {
	// Of two for the same keys the younger one counts: it comes first.
	const rows = new Map([['Esc', 'Close the top layer'], ['k', 'Previous row'], ['j', 'Next row']]);
	for (const { keys, label } of shortcuts.peek()) if (!rows.has(keys)) rows.set(keys, label);
	openDialog({ title: 'Keyboard shortcuts', body: [
		h('p', { class: 'muted' }, 'Single keys do nothing while you type; Settings can switch them off.'),
		h('table', { class: 'legend' }, h('tbody', null, [...rows].reverse().map(([keys, label]) => h('tr', null,
			h('th', { scope: 'row' }, label), h('td', null, keyNames(keys))))))] });
}

const keyNames = (keys) => keys.replace('mod+', 'Ctrl+').split(' ').map((key) => h('kbd', null, key));
