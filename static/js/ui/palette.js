// Ctrl/Cmd+K: pages, models and what can be done now, by typing part of the name. And the list of shortcuts.
import { each, h, newId } from '../core/dom.js';
import { shortcuts, singleKeys } from '../core/keys.js';
import { go, href } from '../core/router.js';
import { computed, effect, signal } from '../core/signal.js';
import { displayName, faceOf, models, profile } from '../state/models.js';
import { theme } from '../state/prefs.js';
import { cancelLoad, loadModel, selectProfile, unloadAll, unloadModel, unloadable } from './actions.js';
import { commandSources } from './commands.js';
import { openDialog } from './dialog.js';
import { stateGlyph } from './modelparts.js';
export { provideCommands } from './commands.js';

const MAX_SHOWN = 12;
const PAGES = [['Overview', href()], ['Models', href('models')], ['Requests', href('requests')],
  ['Chat', href('play', 'chat')],
  ['Compare models', href('play', 'compare')], ['Logs', href('logs')], ['System', href('system', 'live')],
    ['Hardware', href('system', 'hardware')],
  ['Configuration', href('system', 'config')], ['Settings', href('settings')]];

export function openPalette(typed = '') {
  const text = signal(typed);
  const at = signal(0);
  const found = computed(() => search(commands(), text()));
  const id = newId('palette');
  const list = h('ul', { class: 'options', role: 'listbox', id, 'aria-label': 'Results' });
  const choose = (command) => {
    dialog.close();
    if (command.href) go(command.href);
    else command.run();
  };
  const onKey = (event) => {
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (by && found().length) {
      event.preventDefault();
      at.set((at.peek() + by + found().length) % found().length);
    } else if (event.key === 'Enter' && !event.isComposing && found()[at.peek()]) {
      event.preventDefault();
      choose(found()[at.peek()]);
    }
  };
  const dialog = openDialog({
    title: 'Search and commands',
    body: () => {
      each(list, found, (command) => command.key, (command) => row(command, id, () => found()[at()]
        && found()[at()].key === command().key, choose));
      const input = h('input', { type: 'text', role: 'combobox', autofocus: true, autocomplete: 'off',
        spellcheck: 'false', value: typed, 'aria-expanded': 'true', 'aria-controls': id,
        'aria-label': 'Search and commands', placeholder: 'Model, page or action', onkeydown: onKey,
        'aria-activedescendant': () => (found()[at()] ? optionId(id, found()[at()].key) : null),
        oninput: (event) => { at.set(0); text.set(event.target.value); } });
      effect(() => { if (found()[at()]) document.getElementById(optionId(id,
        found()[at()].key))?.scrollIntoView({ block: 'nearest' }); });
      return h('div', { class: 'palette stack' }, input, list, () => !found().length && h('p', { class: 'muted',
        role: 'status' }, 'Nothing has that name.'));
    },
  });
}

function row(command, id, isActive, choose) {
  return h('li', { role: 'option', id: optionId(id, command.peek().key), 'aria-selected': () => String(isActive()),
    onclick: () => choose(command.peek()) },
    () => command().model && stateGlyph(() => faceOf(command().model)), h('span', { class: 'grow clip' },
      () => command().label),
    h('span', { class: 'muted small' }, () => command().hint));
}

const optionId = (id, key) => `${id}-${encodeURIComponent(key)}`;

function commands() {
  const all = [...commandSources().flatMap((source) => source())];
  for (const [label, target] of PAGES) all.push({ label, hint: 'page', href: target });
  for (const model of models()) all.push(...modelCommands(model));
  if (unloadable().length) all.push({ label: 'Unload all models', hint: 'action', run: unloadAll });
  for (const { id } of profile().profiles) all.push({ label: `Profile ${id}`, hint: profile().active === id ? 'active'
    : 'profile', run: () => selectProfile(id) });
  if (profile().active) all.push({ label: 'No profile', hint: 'profile', run: () => selectProfile(null) });
  for (const name of ['light', 'dark', 'system']) if (theme() !== name) all.push({ label: `Theme: ${name}`,
    hint: 'look', run: () => theme.set(name) });
  return all.map((command) => ({ ...command, key: `${command.hint} ${command.label} ${command.href || ''}` }));
}

function modelCommands(model) {
  const name = displayName(model);
  const words = `${model.id} ${(model.aliases || []).join(' ')}`;
  const all = [{ label: name, words, hint: faceOf(model).word, href: href('models', model.id), model }];
  if (model.kind === 'peer') return all;
  if (model.state === 'stopped') all.push({ label: `Load ${name}`, words, hint: 'action',
    run: () => loadModel(model.id) });
  if (model.state === 'starting') all.push({ label: `Cancel loading ${name}`, words, hint: 'action',
    run: () => cancelLoad(model.id) });
  if (model.state === 'ready') all.push({ label: `Unload ${name}`, words, hint: 'action',
    run: () => unloadModel(model) });
  return [...all, { label: `Logs of ${name}`, words, hint: 'page', href: href('models', model.id, 'logs') }];
}

/** Every word must occur; a name that begins with the text comes first. */
function search(all, text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const rank = (command) => {
    const label = command.label.toLowerCase();
    return label.startsWith(words[0] || '') ? 0 : label.includes(words[0] || '') ? 1 : 2;
  };
  return all.filter((command) => words.every((word) => `${command.label} ${command.words
    || ''}`.toLowerCase().includes(word)))
    .map((command, i) => [rank(command), i, command]).sort((a, b) => a[0] - b[0] || a[1] - b[1]).slice(0,
      MAX_SHOWN).map(([, , command]) => command);
}

export function openHelp() {
  const seen = new Set();
  const rows = shortcuts.peek().filter(({ keys }) => !seen.has(keys) && seen.add(keys)).reverse();
  openDialog({
    title: 'Keyboard shortcuts',
    body: () => [h('p', { class: 'muted' }, singleKeys()
      ? 'Single keys do nothing while you type; Settings switches them off.'
      : 'Single keys are switched off in Settings.'),
      h('table', { class: 'legend' }, h('tbody', null, [...rows, { keys: 'j', label: 'Next row' },
        { keys: 'k', label: 'Previous row' }, { keys: 'Esc', label: 'Close the top layer' }]
        .map(({ keys, label }) => h('tr', null, h('th', { scope: 'row' }, label), h('td', null, keyNames(keys))))))],
  });
}

const keyNames = (keys) => keys.replace('mod+', 'Ctrl+').split(' ').map((key) => h('kbd', null, key));
