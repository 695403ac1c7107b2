// How this browser shows things, what it keeps, and what it knows about the connection.
import { h } from '../core/dom.js';
import { connection, hello, status, transport } from '../core/feed.js';
import { absoluteTimes, clock, hour12, num, units } from '../core/format.js';
import { singleKeys } from '../core/keys.js';
import { api, apiKey, isKeyRemembered, setKey } from '../core/net.js';
import { MAX_CHARS, STORAGE_KEY, allSettings, forgetSettings, replaceSettings } from '../core/persist.js';
import { signal } from '../core/signal.js';
import { currency, density, fontSize, instanceName, motion, pricePerKwh, theme } from '../state/prefs.js';
import { ask } from '../ui/dialog.js';
import { button, card, facts, field, inlineError, segmented, switchBox } from '../ui/parts.js';
import { toast } from '../ui/toast.js';

const chosen = (value) => ({ value, onchange: value.set });
const labelled = (label, control) => h('div', { class: 'field' }, h('span', { 'aria-hidden': 'true', class: 'label' },
  label), control);
const choice = (label, value, options) => labelled(label, segmented(label, options, chosen(value)));

export function mount(ctx) {
  ctx.title('Settings');
  return h('div', { class: 'grid' }, appearance(), behaviour(), apiKeyCard(), storage(), about(ctx), diagnostics());
}

function appearance() {
  return card('Appearance', {}, h('div', { class: 'stack' },
    choice('Theme', theme, [['system', 'System'], ['light', 'Light'], ['dark', 'Dark']]),
    choice('Density', density, [['dense', 'Dense'], ['default', 'Default'], ['comfortable', 'Comfortable']]),
    choice('Text size', fontSize, [['small', 'Small'], ['normal', 'Normal'], ['large', 'Large'], ['larger', 'Larger']]),
    choice('Motion', motion, [['system', 'As the system says'], ['reduced', 'None']]),
    field('Name of this instance', h('input', { type: 'text', maxlength: '64', value: instanceName,
      placeholder: () => (hello() && hello().instance) || '',
      onchange: (event) => instanceName.set(event.target.value.trim()) }),
        { hint: 'In the header and the tab title. Empty: the name of the machine.' })));
}

function behaviour() {
  const isWrong = signal('');
  const price = h('input', { type: 'text', inputmode: 'decimal', value: () => pricePerKwh() ?? '',
    onchange: (event) => {
    const text = event.target.value.trim().replace(',', '.');
    const amount = text === '' ? null : Number(text);
    isWrong.set(amount === null || (amount >= 0 && amount < 1000) ? '' : 'A number, such as 0.32');
    if (!isWrong.peek()) pricePerKwh.set(amount);
  } });
  return card('Behaviour and units', {}, h('div', { class: 'stack' },
    switchBox('Single-key shortcuts', singleKeys, { hint: 'Such as g m for Models. Ctrl K always works.' }),
    switchBox('Absolute times everywhere', absoluteTimes),
    choice('Sizes', units, [['binary', 'GiB (1024)'], ['decimal', 'GB (1000)']]),
    choice('Clock', hour12, [['auto', 'As the browser'], ['24', '24 hours'], ['12', '12 hours']]),
    h('div', { class: 'row' }, field('Price per kWh', price, { hint: 'Makes energy into cost.', error: isWrong }),
      field('Currency', h('input', { type: 'text', maxlength: '4', size: '4', value: currency,
        onchange: (event) => currency.set(event.target.value.trim()) })))));
}

function apiKeyCard() {
  const input = h('input', { type: 'password', autocomplete: 'off', placeholder: () => (apiKey() ? 'a key is set'
    : 'no key') });
  const remember = h('input', { type: 'checkbox', checked: isKeyRemembered() });
  const save = (event) => {
    event.preventDefault();
    if (!input.value) return;
    setKey(input.value, remember.checked);
    input.value = '';
    toast('The key is used from now on', { kind: 'ok' });
  };
  return card('API key', {}, h('form', { class: 'stack', onsubmit: save },
    field('Key for this browser', input, { hint: 'Sent with every request to this server, never put into an address.' }),
    h('label', { class: 'row' }, remember, h('span', { class: 'grow' },
      'Remember in this browser (otherwise until the tab is closed)')),
    h('div', { class: 'row' }, button('Use this key', { kind: 'primary', type: 'submit' }),
      button('Forget the key', { disabled: () => !apiKey(), onclick: () => setKey('') }))));
}

const KINDS = [['Appearance and behaviour', ['theme', 'density', 'fontSize', 'motion', 'instanceName', 'pricePerKwh',
  'currency', 'units', 'hour12', 'absoluteTimes', 'singleKeys',
  'railNarrow', 'drawerWidth', 'split.']], ['Table columns', ['cols.']], ['Pinned models', ['pins']],
    ['Dismissed failures', ['dismissed']]];

function storage() {
  const version = signal(0);
  const size = (names) => Object.entries(allSettings()).filter(([name]) => names.some((prefix) =>
    name.startsWith(prefix)))
    .reduce((sum, entry) => sum + JSON.stringify(entry).length, 0);
  const known = KINDS.flatMap(([, names]) => names);
  const other = () => Object.keys(allSettings()).filter((name) => name !== 'schema'
    && !known.some((prefix) => name.startsWith(prefix)));
  const row = (label, names) => h('tr', null, h('th', { scope: 'row' }, label), h('td', { class: 'num' },
    () => (version(), `${num(size(names()))} characters`)),
    h('td', null, button('Delete', { kind: 'quiet', 'aria-label': `Delete ${label}`, disabled: () => (version(),
      size(names()) === 0), onclick: async () => {
      if (!(await ask({ title: `Delete "${label}"?`, body: 'The defaults come back. Nothing on the server changes.',
        yes: 'Delete', no: 'Keep' }))) return;
      forgetSettings(...names());
      version.update((n) => n + 1);
    } })));
  return card('Kept in this browser', {}, h('table', { class: 'legend' }, h('tbody', null,
    KINDS.map(([label, names]) => row(label, () => names)), row('Other choices of pages', other))),
    h('p', { class: 'muted small' }, () => (version(),
      `${num(JSON.stringify(allSettings()).length)} of ${num(MAX_CHARS)} characters, under the one name "${STORAGE_KEY}".`)),
    h('div', { class: 'row' }, button('Export settings', { icon: 'download', onclick: exportSettings }),
      importButton(() => version.update((n) => n + 1))));
}

async function exportSettings() {
  const { download } = await import('../core/clipboard.js');
  download('llamaswap-settings.json', JSON.stringify(allSettings(), null, 2), 'application/json');
}

function importButton(onDone) {
  const input = h('input', { type: 'file', accept: '.json,application/json', class: 'vh', tabindex: '-1',
    'aria-label': 'Settings file', onchange: async () => {
    try {
      const found = JSON.parse(await input.files[0].text());
      if (!found || typeof found !== 'object' || Array.isArray(found)
        || found.schema !== 1) throw new TypeError('this is no export of these settings');
      if (JSON.stringify(found).length > MAX_CHARS) throw new RangeError('it is too large');
      replaceSettings(found);
      onDone();
      toast('Settings imported', { kind: 'ok' });
    } catch (error) {
      toast(`Not imported: ${error.message}`, { kind: 'error' });
    }
    input.value = '';
  } });
  return h('span', null, input, button('Import settings', { onclick: () => input.click() }));
}

function about(ctx) {
  const version = signal(null);
  const error = signal(null);
  const load = () => api('api/version', { signal: ctx.signal }).then(version.set,
    (failed) => { if (failed.name !== 'AbortError') error.set(failed); });
  load();
  const of = (name) => () => (version() ? version()[name] || 'unknown' : '…');
  return card('Version', {}, () => error() && inlineError(error(), load), facts([['Version', of('version')],
    ['Commit', of('commit')], ['Built', of('build_date')],
    ['Build of this page', () => (hello() && hello().build) || 'unknown'],
      ['Machine', () => (hello() && hello().instance) || 'unknown'],
    ['Configuration', () => (hello() && hello().config_path) || 'unknown']]));
}

function diagnostics() {
  const count = (name) => () => num(status().counts[name]);
  return card('Event stream', { id: 'diagnostics' }, facts([['State', () => connection().state],
    ['Carried by', transport],
    ['Last word from the server', () => (connection() && status().lastAt ? `${clock(Date.now() - status().lastAt)} ago` : 'none yet')],
    ['Tabs that share it', () => num(status().tabs)], ['Events', count('events')],
    ['Malformed, ignored', count('malformed')], ['Dropped by the server', count('dropped')],
    ['Connections made', count('connects')]]));
}
