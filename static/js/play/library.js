// Prompts with {{slots}} and presets of parameters, kept in this browser and exported with the conversations.
import { h } from '../core/dom.js';
import { deleteEntry, library, putEntry } from '../state/chats.js';
import { openDialog } from '../ui/dialog.js';
import { menuButton } from '../ui/menu.js';
import { button, field } from '../ui/parts.js';
import { toast } from '../ui/toast.js';

const ofKind = (kind) => library.peek().filter((entry) => entry.kind === kind).sort((a,
  b) => a.name.localeCompare(b.name));

/** Fields in a dialog: [[name, value, isLong]]; onDone gets their values. */
function askFor(title, fields, yes, onDone) {
  const controls = fields.map(([, value, isLong], at) => h(isLong ? 'textarea' : 'input',
    { value, rows: isLong ? '5' : null, autofocus: at === 0 }));
  const done = () => dialog.close(controls.map((each) => each.value));
  const form = h('form', { class: 'stack', onsubmit: (event) => { event.preventDefault(); done(); } },
    fields.map(([name], at) => field(name, controls[at])));
  const dialog = openDialog({ title, body: form, onClose: (values) => values && onDone(values),
    actions: [button('Cancel', { onclick: () => dialog.close() }), button(yes, { kind: 'primary', onclick: done })] });
}

function removed(entry) {
  deleteEntry(entry.id);
  toast(`${entry.name} deleted`, { action: { label: 'Undo', run: () => putEntry(entry) } });
}

/** onText gets the prompt with its slots filled. */
export function promptMenu(onText) {
  const edit = (entry) => askFor(entry.id ? 'Edit the prompt' : 'New prompt',
    [['Name', entry.name], ['Text; {{words}} are asked for', entry.text, true], ['Tags', entry.tags.join(' ')]],
    'Save', ([name, text, tags]) => name.trim() && putEntry({ ...entry, kind: 'prompt', name: name.trim(), text,
      tags: tags.split(/[\s,]+/).filter(Boolean) }));
  const manage = (entry) => {
    const dialog = openDialog({ title: entry.name, body: h('pre', { class: 'well wrap' }, entry.text), actions: [
      button('Delete', { kind: 'danger', onclick: () => { dialog.close(); removed(entry); } }),
        button('Edit', { onclick: () => { dialog.close(); edit(entry); } })] });
  };
  const use = ({ name, text }) => {
    const slots = [...new Set([...text.matchAll(/\{\{\s*([^{}]{1,60}?)\s*\}\}/g)].map((found) => found[1]))];
    if (!slots.length) onText(text);
    else askFor(name, slots.map((slot) => [slot, '', false]), 'Insert',
      (values) => onText(text.replace(/\{\{\s*([^{}]{1,60}?)\s*\}\}/g, (whole, slot) => values[slots.indexOf(slot)])));
  };
  return menuButton('Prompts', () => {
    const all = ofKind('prompt');
    return [...all.map((entry) => ({ label: entry.name, hint: entry.tags.join(' '), run: () => use(entry) })),
      all.length ? '-' : null,
      { label: 'New prompt', run: () => edit({ name: '', text: '', tags: [] }) },
      all.length ? { label: 'Edit or delete a prompt', run: () => pickOne('Which prompt?', all, manage) } : null];
  }, { kind: 'quiet' });
}

function pickOne(title, all, onPicked) {
  const dialog = openDialog({ title, body: h('ul', { class: 'plain-list' },
    all.map((entry) => h('li', null, button(entry.name, { kind: 'quiet',
    onclick: () => { dialog.close(); onPicked(entry); } })))) });
}

export function presetBar(params, onParams) {
  return menuButton('Presets', () => {
    const all = ofKind('preset');
    return [...all.map((entry) => ({ label: entry.name, run: () => onParams({ ...entry.params }) })), all.length ? '-'
      : null,
      { label: 'Server defaults', run: () => onParams({}) },
      { label: 'Save these as a preset', run: () => askFor('Save as a preset', [['Name', '']], 'Save',
        ([name]) => name.trim() && putEntry({ kind: 'preset', name: name.trim(), params: params() })) },
      all.length ? { label: 'Delete a preset', danger: true, run: () => pickOne('Delete which preset?', all, removed) }
        : null];
  }, { class: 'slim' });
}
