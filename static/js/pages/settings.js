// How this browser shows things, and what it keeps.
import { download } from '../core/clipboard.js';
import { h, inRow, inStack } from '../core/dom.js';
import { hello, status, transport } from '../core/feed.js';
import { absoluteTimes, bytes, clock, hour12, num, sum, tick, units } from '../core/format.js';
import { singleKeys } from '../core/keys.js';
import { apiKey, isKeyRemembered, keyNeeded, setKey } from '../core/net.js';
import { allSettings, forgetSettings, replaceSettings } from '../core/persist.js';
import { computed } from '../core/signal.js';
import { chats, deleteChat, deleteEntry, library, openChats } from '../state/chats.js';
import { currency, density, fontSize, instanceName, motion, pricePerKwh, theme } from '../state/prefs.js';
import { asked } from '../ui/asked.js';
import { button, card, facts, field, segmented, switchBox } from '../ui/parts.js';
import { askFirst, toast, toastError } from '../ui/toast.js';

// How the names of a kind of settings begin.
const KINDS = { 'cols.': 'Table columns', pins: 'Pinned models', 'play.': 'Playground', '': 'Other settings' };

export function mount(ctx) {
	ctx.title('Settings');
	return h('div', { class: 'grid' },
		form('Appearance',
			choice('Theme', theme, { system: 'System', light: 'Light', dark: 'Dark' }),
			choice('Density', density, { dense: 'Dense', default: 'Default', comfortable: 'Comfortable' }),
			choice('Text size', fontSize, { small: 'Small', normal: 'Normal', large: 'Large', larger: 'Larger' }),
			choice('Motion', motion, { system: 'As the system says', reduced: 'None' }),
			entry('Name of this instance', instanceName, { maxlength: '64', placeholder: () => hello()?.instance })),
		form('Behaviour and units',
			switchBox('Single-key shortcuts', singleKeys, { hint: 'Such as g m for Models. Ctrl K always works.' }),
			switchBox('Absolute times everywhere', absoluteTimes),
			choice('Sizes', units, { binary: 'GiB (1024)', decimal: 'GB (1000)' }),
			choice('Clock', hour12, { auto: 'As the browser', 24: '24 hours', 12: '12 hours' }),
			inRow(
				entry('Price per kWh', pricePerKwh, { type: 'number', min: '0', max: '999', step: 'any' },
					({ value, valueAsNumber }) => (value ? valueAsNumber : null)),
				entry('Currency', currency, { maxlength: '4', size: '4' }))),
		form('API key',
			h('p', null, () => (!apiKey() ? 'None is set.' : isKeyRemembered() ? 'One is set, and remembered.'
				: 'One is set, until this tab is closed.')),
			inRow(button('Set a key', { onclick: () => keyNeeded.set({ message: '' }) }),
				button('Forget the key', { disabled: () => !apiKey(), onclick: () => setKey('') }))),
		storage(),
		card('Version', {}, asked('api/version').view((found) => facts([
			['Version', found.version], ['Commit', found.commit || 'unknown'], ['Built', found.build_date || 'unknown']]))),
		card('Event stream', {}, facts([
			['Carried by', transport],
			['Last event', () => (tick(), status().lastAt ? `${clock(Date.now() - status().lastAt)} ago`
				: 'none yet')],
			['Tabs that share it', () => status().tabs],
			['Malformed, ignored', () => num(status().counts.malformed)],
			['Dropped by the server', () => num(status().counts.dropped)]])));
}

const form = (title, ...fields) => card(title, {}, inStack(fields));
const choice = (label, value, options) => field(label, segmented(label, Object.entries(options),
	{ value, onchange: value.set }));
const entry = (label, value, props, read = (input) => input.value.trim()) => field(label, h('input', {
	value: () => value() ?? '', ...props,
	onchange: ({ target }) => { if (target.reportValidity()) value.set(read(target)); } }));

function storage() {
	openChats();
	const kindOf = (name) => Object.keys(KINDS).find((kind) => name.startsWith(kind));
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
	return card('Kept in this browser', {},
		h('table', { class: 'legend' },
			Object.entries(KINDS).map(([kind, label]) => kept(label, () => (tick(), Object.entries(allSettings())
				.filter(([name]) => name !== 'schema' && kindOf(name) === kind)), ([name]) => forgetSettings(name))),
			kept('Conversations', chats, ({ id }) => deleteChat(id)),
			kept('Prompts and presets', library, ({ id }) => deleteEntry(id))),
		inRow(
			button('Export settings', { icon: 'download', onclick: () => download('llamaswap-settings.json',
				JSON.stringify({ ...allSettings(), schema: 1 }, null, 2)) }),
			button('Import settings', { onclick: () => input.click() })));
}

function kept(label, list, remove) {
	const size = computed(() => sum(list().map(sizeOf)));
	const forget = async () => {
		if (await askFirst({ title: `Delete "${label}"?`, yes: 'Delete', no: 'Keep' })) list().forEach(remove);
		tick.update((n) => n + 1);
	};
	return h('tr', null, h('th', { scope: 'row' }, label), h('td', { class: 'num' }, () => bytes(size())), h('td', null,
		button('Delete', { kind: 'quiet', 'aria-label': `Delete ${label}`, disabled: () => !size(), onclick: forget })));
}

/** With attachments. */
const sizeOf = (item) => sum([JSON.stringify(item).length, ...(item.messages || []).flatMap(({ files = [] }) =>
	files.map(({ blob }) => blob?.size))]);
