// How this browser shows things, what it keeps, and what it knows about the connection.
import { h } from '../core/dom.js';
import { download } from '../core/clipboard.js';
import { connection, hello, status, transport } from '../core/feed.js';
import { absoluteTimes, bytes, clock, hour12, num, tick, units } from '../core/format.js';
import { singleKeys } from '../core/keys.js';
import { api, apiKey, isKeyRemembered, keyNeeded, setKey } from '../core/net.js';
import { allSettings, forgetSettings, replaceSettings } from '../core/persist.js';
import { computed } from '../core/signal.js';
import { chats, deleteChat, deleteEntry, library, openChats } from '../state/chats.js';
import { currency, density, fontSize, instanceName, motion, pricePerKwh, theme } from '../state/prefs.js';
import { asked } from '../ui/asked.js';
import { ask } from '../ui/dialog.js';
import { button, card, facts, field, segmented, switchBox } from '../ui/parts.js';
import { toast, toastError } from '../ui/toast.js';

export function mount(ctx) {
	ctx.title('Settings');
	return h('div', { class: 'grid' }, appearance(), behaviour(), keyCard(), storage(), about());
}

const form = (title, ...fields) => card(title, {}, h('div', { class: 'stack' }, fields));
const choice = (label, value, options) => field(label, segmented(label, Object.entries(options),
	{ value, onchange: value.set }));
const textField = (label, value, props, hint) => field(label, h('input', { type: 'text', value, ...props,
	onchange: (event) => value.set(event.target.value.trim()) }), { hint });

function appearance() {
	return form('Appearance',
		choice('Theme', theme, { system: 'System', light: 'Light', dark: 'Dark' }),
		choice('Density', density, { dense: 'Dense', default: 'Default', comfortable: 'Comfortable' }),
		choice('Text size', fontSize, { small: 'Small', normal: 'Normal', large: 'Large', larger: 'Larger' }),
		choice('Motion', motion, { system: 'As the system says', reduced: 'None' }),
		textField('Name of this instance', instanceName, { maxlength: '64', placeholder: () => hello()?.instance },
			'Shown in the header and in the title of the tab.'));
}

function behaviour() {
	const price = h('input', { type: 'number', min: '0', max: '999', step: 'any', value: () => pricePerKwh() ?? '',
		onchange: () => { if (price.reportValidity()) pricePerKwh.set(price.value ? price.valueAsNumber : null); } });
	return form('Behaviour and units',
		switchBox('Single-key shortcuts', singleKeys, { hint: 'Such as g m for Models. Ctrl K always works.' }),
		switchBox('Absolute times everywhere', absoluteTimes),
		choice('Sizes', units, { binary: 'GiB (1024)', decimal: 'GB (1000)' }),
		choice('Clock', hour12, { auto: 'As the browser', 24: '24 hours', 12: '12 hours' }),
		h('div', { class: 'row' }, field('Price per kWh', price, { hint: 'Makes energy into cost.' }),
			textField('Currency', currency, { maxlength: '4', size: '4' })));
}

function keyCard() {
	return form('API key', h('p', null, () => (!apiKey() ? 'None is set. ' : isKeyRemembered()
		? 'One is set, and remembered. ' : 'One is set, until this tab is closed. '),
	'It is sent with every request to this server.'),
	h('div', { class: 'row' }, button('Set a key', { onclick: () => keyNeeded.set({ message: '' }) }),
		button('Forget the key', { disabled: () => !apiKey(), onclick: () => setKey('') })));
}

// How the names of a kind of settings begin.
const KINDS = { 'cols.': 'Table columns', pins: 'Pinned models', 'play.': 'Playground', '': 'Other settings' };

function storage() {
	openChats();
	const kindOf = (name) => Object.keys(KINDS).find((kind) => name.startsWith(kind));
	const settings = ([kind, label]) => kept(label, () => (tick(), Object.entries(allSettings())
		.filter(([name]) => name !== 'schema' && kindOf(name) === kind)),
	(items) => forgetSettings(...items.map(([name]) => name)));
	return card('Kept in this browser', {}, h('table', { class: 'legend' }, h('tbody', null,
		Object.entries(KINDS).map(settings),
		kept('Conversations', chats, (items) => items.forEach(({ id }) => deleteChat(id))),
		kept('Prompts and presets', library, (items) => items.forEach(({ id }) => deleteEntry(id))))),
	h('div', { class: 'row' }, exportButton(), importButton()));
}

function kept(label, list, clear) {
	const size = computed(() => list().reduce((sum, item) => sum + sizeOf(item), 0));
	const forget = async () => {
		const isSure = await ask({ title: `Delete "${label}"?`, body: 'Nothing on the server changes.', yes: 'Delete',
			no: 'Keep' });
		if (isSure) clear(list());
		tick.update((n) => n + 1);
	};
	return h('tr', null, h('th', { scope: 'row' }, label), h('td', { class: 'num' }, () => bytes(size())), h('td', null,
		button('Delete', { kind: 'quiet', 'aria-label': `Delete ${label}`, disabled: () => !size(), onclick: forget })));
}

/** As text, with the attachments of a conversation. */
const sizeOf = (item) => (item.messages || []).flatMap(({ files = [] }) => files)
	.reduce((sum, file) => sum + (file.size || 0), JSON.stringify(item).length);

const exportButton = () => button('Export settings', { icon: 'download', onclick: () => download(
	'llamaswap-settings.json', JSON.stringify({ ...allSettings(), schema: 1 }, null, 2), 'application/json') });

function importButton() {
	const input = h('input', { type: 'file', accept: '.json', onchange: async () => {
		try {
			const found = JSON.parse(await input.files[0].text());
			if (found?.schema !== 1) throw Error('this is no export of these settings');
			replaceSettings(found);
			toast('Settings imported', { kind: 'ok' });
		} catch (error) {
			toastError(error, 'Not imported');
		}
		input.value = '';
	} });
	return button('Import settings', { onclick: () => input.click() });
}

function about() {
	const lastWord = () => (tick(), status().lastAt ? `${clock(Date.now() - status().lastAt)} ago` : 'none yet');
	const count = (name) => () => num(status().counts[name]);
	const version = asked((abort) => api('api/version', { signal: abort })).view((found) => facts([
		['Version', found.version], ['Commit', found.commit || 'unknown'], ['Built', found.build_date || 'unknown'],
		['Build of this page', () => hello()?.build || 'unknown']]));
	return [card('Version', {}, version), card('Event stream', {}, facts([
		['State', () => connection().state], ['Carried by', transport], ['Last word from the server', lastWord],
		['Tabs that share it', () => num(status().tabs)], ['Malformed, ignored', count('malformed')],
		['Dropped by the server', count('dropped')]]))];
}
