// What this browser keeps, as lists and menus: conversations, prompts with {{slots}}, presets of parameters.
import { download } from '../core/clipboard.js';
import { each, h } from '../core/dom.js';
import { timeElement } from '../core/format.js';
import { go, href } from '../core/router.js';
import { computed, signal } from '../core/signal.js';
import { asMarkdown, changeChat, chats, deleteChat, deleteEntry, exportChats, importChats, library, putChat,
	putEntry } from '../state/chats.js';
import { openDialog } from '../ui/dialog.js';
import { menuButton } from '../ui/menu.js';
import { button, field, linkButton, searchBox } from '../ui/parts.js';
import { toast } from '../ui/toast.js';
import { stop } from './api.js';

const SLOT = /\{\{\s*([^{}]{1,60}?)\s*\}\}/g;

/** A dialog of fields, [[label, value, isLong]]; onDone gets their values. */
function askFor(title, fields, yes, onDone) {
	const controls = fields.map(([, value = '', isLong], at) => h(isLong ? 'textarea' : 'input',
		{ value, rows: isLong ? '5' : null, autofocus: at === 0 }));
	const { close } = openDialog({ title, onClose: (values) => values && onDone(values),
		body: h('form', { class: 'stack', onsubmit: (event) => {
			event.preventDefault();
			close(controls.map((control) => control.value.trim()));
		} }, fields.map(([label], at) => field(label, controls[at])), button(yes, { kind: 'primary', type: 'submit' })) });
}

const askName = (title, first, onName) => askFor(title, [['Name', first]], 'Save', ([name]) => name && onName(name));
const undoable = (what, run) => toast(`${what} deleted`, { action: { label: 'Undo', run } });

function entryMenu(label, kind, props, onPicked, more) {
	return menuButton(label, () => {
		const all = library.peek().filter((entry) => entry.kind === kind);
		const choose = () => {
			const { close } = openDialog({ title: `Delete a ${kind}`,
				body: all.map((entry) => button(entry.name, { onclick: () => {
					close();
					deleteEntry(entry.id);
					undoable(entry.name, () => putEntry(entry));
				} })) });
		};
		return [...all.map((entry) => ({ label: entry.name, hint: entry.tags.join(' '), run: () => onPicked(entry) })),
			...more, all.length > 0 && { label: `Delete a ${kind}`, danger: true, run: choose }];
	}, props);
}

/** onText gets the prompt with its slots filled. */
export const promptMenu = (onText) => entryMenu('Prompts', 'prompt', { kind: 'quiet' }, ({ name, text }) => {
	const slots = [...new Set([...text.matchAll(SLOT)].map(([, slot]) => slot))];
	if (!slots.length) onText(text);
	else askFor(name, slots.map((slot) => [slot]), 'Insert',
		(values) => onText(text.replace(SLOT, (whole, slot) => values[slots.indexOf(slot)])));
}, [{ label: 'New prompt', run: () => askFor('New prompt', [['Name'], ['Text; {{words}} are asked for', '', true],
	['Tags']], 'Save', ([name, text, tags]) => name && putEntry({ kind: 'prompt', name, text,
	tags: tags.split(/[\s,]+/).filter(Boolean) })) }]);

export const presetMenu = (params, onParams) => entryMenu('Presets', 'preset', { class: 'slim' },
	(entry) => onParams(entry.params), [{ label: 'Server defaults', run: () => onParams({}) },
		{ label: 'Save these as a preset', run: () => askName('Save as a preset', '',
			(name) => putEntry({ kind: 'preset', name, params: params() })) }]);

const titleOf = (chat) => chat.title || 'Conversation';
const save = async (list, name) => download(`${name}.json`, await exportChats(list), 'application/json');

/** `openId`: () => id of the conversation that is shown. */
export function chatList(openId) {
	const words = signal('');
	const found = computed(() => {
		const has = (text) => text.toLowerCase().includes(words().trim().toLowerCase());
		return chats().filter((chat) => has(titleOf(chat)) || chat.messages.some(({ text }) => has(text)))
			.sort((a, b) => Boolean(b.isPinned) - Boolean(a.isPinned));
	});
	const list = each(h('ul', { class: 'chat-list', 'aria-label': 'Conversations' }), found, (chat) => chat.id,
		(chat) => h('li', { class: 'row' }, h('a', { class: 'grow', href: href('play', 'chat', chat.peek().id),
			'aria-current': () => (openId() === chat().id ? 'true' : null) },
		h('span', { class: 'clip block' }, () => `${chat().isPinned ? '\u2605 ' : ''}${titleOf(chat())}`),
		h('span', { class: 'muted small' }, () => timeElement(chat().updatedAt))),
		menuButton(`More about ${titleOf(chat.peek())}`, () => menu(chat.peek()), { compact: true, icon: 'more' })));
	const chooser = h('input', { type: 'file', accept: '.json', class: 'vh', tabindex: '-1',
		'aria-label': 'File of conversations', onchange: async () => {
			try {
				toast(`Imported: ${importChats(await chooser.files[0].text())}`, { kind: 'ok' });
			} catch (error) {
				toast(`Not imported: ${error.message}`, { kind: 'error' });
			}
			chooser.value = '';
		} });
	return h('section', { class: 'stack tight', 'aria-label': 'Conversations' },
		h('div', { class: 'row' }, linkButton('New chat', href('play', 'chat'), { icon: 'plus' }), chooser,
			menuButton('Files', () => [{ label: 'Export all', run: () => save(chats.peek(), 'conversations') },
				{ label: 'Import', run: () => chooser.click() }], { kind: 'quiet' })),
		searchBox({ label: 'Search conversations', value: words, oninput: words.set }), list,
		() => !found().length && h('p', { class: 'muted small' }, 'No conversations.'));

	function menu(chat) {
		const { id, isPinned } = chat;
		return [{ label: 'Rename', run: () => askName('Rename', chat.title, (title) => changeChat(id, { title })) },
			{ label: isPinned ? 'Unpin' : 'Pin', run: () => changeChat(id, { isPinned: !isPinned }) },
			{ label: 'Export as JSON', run: () => save([chat], titleOf(chat)) },
			{ label: 'Export as Markdown', run: () => download(`${titleOf(chat)}.md`, asMarkdown(chat)) },
			{ label: 'Delete', danger: true, run: () => {
				stop(id);
				deleteChat(id);
				if (openId() === id) go(href('play', 'chat'));
				undoable('Conversation', () => putChat(chat));
			} }];
	}
}
