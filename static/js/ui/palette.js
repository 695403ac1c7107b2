// Ctrl/Cmd+K: pages, models and what can be done now, by typing part of the name. And the list of shortcuts.
import { h } from '../core/dom.js';
import { shortcuts, singleKeys } from '../core/keys.js';
import { go, href } from '../core/router.js';
import { computed, signal } from '../core/signal.js';
import { displayName, faceOf, models, profile } from '../state/models.js';
import { theme } from '../state/prefs.js';
import { cancelLoad, loadModel, selectProfile, unloadAll, unloadModel, unloadable } from './actions.js';
import { choices, matcher } from './combobox.js';
import { openDialog } from './dialog.js';
import { stateGlyph } from './modelparts.js';

const MAX_SHOWN = 12;
const PAGES = { Overview: [], Models: ['models'], Requests: ['requests'], Chat: ['play', 'chat'],
	'Compare models': ['play', 'compare'], Logs: ['logs'], System: ['system', 'live'], Hardware: ['system', 'hardware'],
	Configuration: ['system', 'config'], Settings: ['settings'] };

export function openPalette(typed = '') {
	const label = 'Search and commands';
	const text = signal(typed);
	const dialog = openDialog({ title: label, body: () => {
		const found = computed(() => search(commands(), text()));
		const { list, at, onKey, field } = choices({ label, options: found, class: 'options', onTake: (command) => {
			dialog.close();
			if (command.href) go(command.href);
			else command.run();
		} });
		return h('div', { class: 'palette stack' }, h('input', { ...field, autofocus: true, value: typed,
			'aria-expanded': 'true', placeholder: 'Model, page or action', onkeydown: onKey,
			oninput: ({ target }) => {
				at.set(0);
				text.set(target.value);
			} }), list, () => !found().length && h('p', { class: 'muted', role: 'status' }, 'Nothing has that name.'));
	} });
}

function commands() {
	const { active, profiles } = profile();
	const action = (label, run, hint = 'action') => ({ label, hint, run });
	return [
		...Object.entries(PAGES).map(([label, parts]) => ({ label, hint: 'page', href: href(...parts) })),
		...models().flatMap(modelCommands),
		unloadable().length > 0 && action('Unload all models', unloadAll),
		...profiles.map(({ id }) => action(`Profile ${id}`, () => selectProfile(id), id === active ? 'active' : 'profile')),
		active && action('No profile', () => selectProfile(null), 'profile'),
		...['light', 'dark', 'system'].filter((name) => name !== theme())
			.map((name) => action(`Theme: ${name}`, () => theme.set(name), 'look')),
	].filter(Boolean).map((command) => ({ ...command, key: `${command.hint} ${command.label} ${command.href}` }));
}

function modelCommands(model) {
	const { id, aliases = [], kind, state } = model;
	const name = displayName(model);
	const [verb, run] = { stopped: ['Load', () => loadModel(id)], starting: ['Cancel loading', () => cancelLoad(id)],
		ready: ['Unload', () => unloadModel(model)] }[state] || [];
	return [
		{ label: name, hint: faceOf(model).word, href: href('models', id), before: () => stateGlyph(() => faceOf(model)) },
		kind !== 'peer' && verb && { label: `${verb} ${name}`, hint: 'action', run },
		kind !== 'peer' && { label: `Logs of ${name}`, hint: 'page', href: href('models', id, 'logs') },
	].filter(Boolean).map((command) => ({ ...command, words: [id, ...aliases].join(' ') }));
}

/** Names that begin with the text come first. */
function search(all, text) {
	const fits = matcher(text);
	const first = text.trim().toLowerCase().split(/\s+/)[0];
	const rank = ({ label }) => {
		const at = label.toLowerCase().indexOf(first);
		return at < 0 ? 2 : Math.min(at, 1);
	};
	return all.filter(({ label, words }) => fits(`${label} ${words}`)).sort((a, b) => rank(a) - rank(b))
		.slice(0, MAX_SHOWN);
}

export function openHelp() {
	// Of two for the same keys the younger one counts: it comes first.
	const rows = new Map([['Esc', 'Close the top layer'], ['k', 'Previous row'], ['j', 'Next row']]);
	for (const { keys, label } of shortcuts.peek()) if (!rows.has(keys)) rows.set(keys, label);
	openDialog({ title: 'Keyboard shortcuts', body: [
		h('p', { class: 'muted' }, singleKeys() ? 'Single keys do nothing while you type; Settings switches them off.'
			: 'Single keys are switched off in Settings.'),
		h('table', { class: 'legend' }, h('tbody', null, [...rows].reverse().map(([keys, label]) => h('tr', null,
			h('th', { scope: 'row' }, label), h('td', null, keyNames(keys))))))] });
}

const keyNames = (keys) => keys.replace('mod+', 'Ctrl+').split(' ').map((key) => h('kbd', null, key));
