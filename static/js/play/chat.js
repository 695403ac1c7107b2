// A conversation, and the list of those kept here.
import { download } from '../core/clipboard.js';
import { at, each, h, inRow, inStack } from '../core/dom.js';
import { go, href, route } from '../core/router.js';
import { computed, effect, onCleanup, signal, untracked } from '../core/signal.js';
import { asMarkdown, changeChat, chatById, chats, deleteChat, deleteEntry, exportChats, importChats, isReady, library,
	newId, notKept, openChats, putChat, putEntry } from '../state/chats.js';
import { matcher } from '../ui/combobox.js';
import { openDialog } from '../ui/dialog.js';
import { menuButton } from '../ui/menu.js';
import { button, field, linkButton, searchBox, select, slim, switchBox } from '../ui/parts.js';
import { toast, toastError } from '../ui/toast.js';
import { answer, isBusy, replaceMessages, stop } from './api.js';
import { ENDPOINTS } from './dialects.js';
import { composer, enterSends, messageView } from './message.js';
import { chosenModel, modelPicker, paramsForm, side } from './side.js';

const HANDED = 'lsw-play-draft';     // by the inspector

const withNewIds = (messages) => messages.map((one) => ({ ...one, id: newId() }));
const fresh = ({ messages = [], ...more } = {}) => ({ title: '', endpoint: 'chat', params: {}, ...more, id: newId(),
	messages: withNewIds(messages), updatedAt: Date.now() / 1000 });

/** What this tab keeps; '' where storage is blocked. */
function inTab(name, text) {
	try {
		if (text !== undefined) sessionStorage.setItem(name, text);
		return sessionStorage.getItem(name) || '';
	} catch {
		return '';
	}
}

export function panel() {
	openChats();
	const [picked, pick] = chosenModel('chat');
	const id = computed(() => (route().tab === 'chat' && route().id) || null);
	const blank = signal(fresh());     // not yet a conversation
	let words = {};     // for the composer
	effect(() => {
		if (id()) return;
		const { text, files, ...chat } = JSON.parse((route().query.get('draft') && inTab(HANDED)) || '{}');
		words = { text, files };
		blank.set(fresh(chat));
	});
	const current = computed(() => {
		if (id()) return chatById(id());
		const model = blank().model || picked();
		return { ...blank(), model,
			system: blank().system ?? library().find((entry) => entry.id === `system:${model}`)?.text ?? '' };
	});
	const change = (some) => (id.peek() ? changeChat(id.peek(), some) : blank.update((chat) => ({ ...chat, ...some })));
	const onModel = (model) => {
		change({ model: id.peek() ? model : '' });
		if (!id.peek()) pick(model);
	};
	const shownId = computed(() => current()?.id);
	return h('div', { class: 'play' },
		side('Settings and conversations', () => current()?.model,
			() => shownId() && untracked(() => settingsOf(current, change, onModel)),
			chatList(id)),
		h('div', { class: 'stack play-main' },
			() => notKept() && h('p', { class: 'notice warning' }, `Conversations are not kept: ${notKept()}`),
			() => isReady() && !shownId() && h('p', { class: 'muted' }, 'This conversation is not in this browser.'),
			() => shownId() && untracked(() => conversation(current, change, words))));
}

/** Of one conversation: made anew when another one is shown. */
function conversation(current, change, { text, files }) {
	const editing = signal('');
	const busy = () => isBusy(current()?.id);
	const onStop = () => stop(current.peek().id);
	const writing = `lsw-draft-${current.peek().messages.length ? current.peek().id : 'new'}`;
	const upTo = (message, by = 0) => current.peek().messages.slice(0, current.peek().messages.indexOf(message) + by);
	const stored = () => {
		const chat = current.peek();
		if (!route.peek().id) {
			putChat(chat);
			inTab(HANDED, '');
			go(href('play', 'chat', chat.id), { replace: true });
		}
		return chat;
	};
	const ask = (messages, options) => {
		if (busy()) return;
		const chat = stored();
		if (chat.messages.length > messages.length + 1) replaceMessages(chat, messages, 'Later turns were removed');
		toEnd();
		answer(chat, messages, options);
	};
	const todo = {
		isBusy: busy, edit: (message) => editing.set(message.id), retry: (message) => ask(upTo(message)),
		retryWith: (message) => {
			const { close } = openDialog({ title: 'Retry with which model?', onClose: (model) => model && ask(upTo(message),
				{ model }), body: () => modelPicker({ value: () => message.model, onchange: (model) => close(model) }) });
		},
		proceed: (message) => ask(upTo(message, 1), { into: message }),
		branch: (message) => {
			const made = fresh({ ...current.peek(), title: `${current.peek().title || 'Conversation'} (branch)`,
				isPinned: false, messages: upTo(message, 1) });
			putChat(made);
			go(href('play', 'chat', made.id));
		},
		remove: (message) => replaceMessages(stored(), current.peek().messages.filter((one) => one !== message),
			'Turn deleted'),
	};
	const log = each(h('div', { class: 'stack log', role: 'log', 'aria-label': 'Conversation', 'aria-live': 'off',
		'aria-busy': () => String(busy()) }), () => current()?.messages || [], (message) => message.id,
	(item) => h('div', null, () => {
		const show = editing() === item.peek().id ? editor : messageView;
		return untracked(() => show(item, todo));
	}));
	const toEnd = followed(log);
	const made = composer({ busy, text: text || inTab(writing), files, onInput: (words) => inTab(writing, words),
		onStop, more: promptMenu((words) => made.fill(words)),
		onSend: (value) => ask([...current.peek().messages, { id: newId(), role: 'user', ...value }]) });
	return h('div', { class: 'stack chat', ...made.drops }, log, h('div', { class: 'dock' }, made.element));

	function editor(item) {
		const message = item.peek();
		const isUser = message.role === 'user';
		const end = () => editing.set('');
		const box = composer({ ...message, busy, onStop, label: 'Edit this turn', sendLabel: isUser ? 'Send again' : 'Save',
			onSend: (value) => {
				end();
				const changed = { ...message, ...value };
				if (isUser) ask([...upTo(message), changed]);
				else change({ messages: current.peek().messages.map((one) => (one === message ? changed : one)) });
			},
			more: button('Cancel', { kind: 'quiet', onclick: end }) });
		requestAnimationFrame(box.focus);
		return h('div', { class: 'stack turn' }, box.element);
	}
}

function settingsOf(current, change, onModel) {
	const of = (name) => computed(() => current()?.[name] ?? '');
	const params = () => current()?.params || {};
	const setParams = (all) => change({ params: all });
	const prompt = of('system');
	const system = h('textarea', { rows: '3', 'aria-label': 'System prompt', value: prompt,
		onchange: () => change({ system: system.value }) });
	const keep = () => {
		const { model } = current.peek();
		putEntry({ id: `system:${model}`, kind: 'system', name: model, text: system.value });
		toast(`New chats with ${model} begin with it`, { kind: 'ok' });
	};
	const fold = (title, about, ...inside) => h('details', null,
		h('summary', null, title, h('span', { class: 'muted small' }, about)), h('div', { class: 'stack tight' }, inside));
	return inStack(modelPicker({ value: of('model'), onchange: onModel }),
		field('Endpoint', select(ENDPOINTS, { value: of('endpoint'), onchange: (endpoint) => change({ endpoint }) })),
		fold('System prompt', () => prompt() && ' set', system,
			button('Keep for this model', { ...slim, onclick: keep })),
		fold('Parameters', () => ` ${Object.keys(params()).join(', ') || 'server defaults'}`,
			presetMenu(params, setParams), paramsForm(params, setParams)),
		switchBox('Enter sends', enterSends));
}

/** The end of the log stays in sight until the reader goes elsewhere. */
function followed(log) {
	const main = at('main');
	let height = 0;
	const toEnd = () => main.scrollTo({ top: main.scrollHeight, behavior: 'instant' });
	const observer = new ResizeObserver(() => {
		if (log.firstChild && main.scrollTop + main.clientHeight > height - 40) toEnd();
		height = main.scrollHeight;
	});
	observer.observe(log);
	onCleanup(() => observer.disconnect());
	return toEnd;
}

// --- prompts, presets, conversations

/** fields: [[label, value, tag]] */
function askFor(title, fields, onDone) {
	const controls = fields.map(([, value, tag = 'input'], at) => h(tag, { value, required: !at, autofocus: !at }));
	const { close } = openDialog({ title, onClose: (texts) => texts && onDone(...texts),
		body: h('form', { class: 'stack', onsubmit: (event) => {
			event.preventDefault();
			close(controls.map(({ value }) => value.trim()));
		} }, fields.map(([label], at) => field(label, controls[at])), button('OK', { kind: 'primary', type: 'submit' })) });
}

const deleted = (what, run) => toast(`${what} deleted`, { action: { label: 'Undo', run } });

const entryMenu = (label, kind, props, onPicked, more) => menuButton(label, () => {
	const all = library.peek().filter((entry) => entry.kind === kind);
	return [...all.map((entry) => ({ label: entry.name, hint: entry.tags, run: () => onPicked(entry) })), ...more,
		...all.map((entry) => ({ label: `Delete ${entry.name}`, danger: true, run: () => {
			deleteEntry(entry.id);
			deleted(entry.name, () => putEntry(entry));
		} }))];
}, props);

const SLOT = /\{\{\s*([^{}]{1,60}?)\s*\}\}/g;

const promptMenu = (onText) => entryMenu('Prompts', 'prompt', { kind: 'quiet' }, ({ name, text }) => {
	const slots = [...new Set([...text.matchAll(SLOT)].map(([, slot]) => slot))];
	if (!slots.length) onText(text);
	else askFor(name, slots.map((slot) => [slot]), (...values) => onText(text.replace(SLOT,
		(whole, slot) => values[slots.indexOf(slot)])));
}, [{ label: 'New prompt', run: () => askFor('New prompt', [['Name'], ['Text; {{words}} are asked for', '', 'textarea'],
	['Tags']], (name, text, tags) => putEntry({ kind: 'prompt', name, text, tags })) }]);

const presetMenu = (params, onParams) => entryMenu('Presets', 'preset', { class: 'slim' },
	(entry) => onParams(entry.params), [{ label: 'Server defaults', run: () => onParams({}) },
		{ label: 'Save these as a preset', run: () => askFor('New preset', [['Name']],
			(name) => putEntry({ kind: 'preset', name, params: params() })) }]);

const titleOf = (chat) => chat.title || 'Conversation';

function chatList(openId) {
	const words = signal('');
	const found = computed(() => {
		const fits = matcher(words());
		return chats().filter((chat) => !words() || fits([chat.title, ...chat.messages.map(({ text }) => text)].join(' ')))
			.sort((a, b) => Boolean(b.isPinned) - Boolean(a.isPinned));
	});
	const list = each(h('ul', { class: 'chat-list', 'aria-label': 'Conversations' }), found, (chat) => chat.id,
		(chat) => h('li', { class: 'row' }, h('a', { class: 'grow clip', href: href('play', 'chat', chat.peek().id),
			'aria-current': () => openId() === chat().id && 'true' },
		() => `${chat().isPinned ? '\u2605 ' : ''}${titleOf(chat())}`),
		menuButton(() => `More about ${titleOf(chat())}`, () => menu(chat.peek()), { compact: true, icon: 'more' })));
	const chooser = h('input', { type: 'file', accept: '.json', class: 'vh', tabindex: '-1',
		'aria-label': 'File of conversations', onchange: async () => {
			try {
				toast(`Imported: ${importChats(await chooser.files[0].text())}`, { kind: 'ok' });
			} catch (error) {
				toastError(error, 'Not imported');
			}
			chooser.value = '';
		} });
	return h('section', { class: 'stack tight', 'aria-label': 'Conversations' },
		inRow(linkButton('New chat', href('play', 'chat'), { icon: 'plus' }), chooser,
			button('Export', { ...slim, onclick: async () =>
				download('conversations.json', await exportChats(), 'application/json') }),
			button('Import', { ...slim, onclick: () => chooser.click() })),
		searchBox({ label: 'Search conversations', value: words, oninput: words.set }), list);

	function menu(chat) {
		const { id, isPinned } = chat;
		return [
			{ label: 'Rename', run: () => askFor('Rename', [['Name', chat.title]], (title) => changeChat(id, { title })) },
			{ label: isPinned ? 'Unpin' : 'Pin', run: () => changeChat(id, { isPinned: !isPinned }) },
			{ label: 'Export as Markdown', run: () => download(`${titleOf(chat)}.md`, asMarkdown(chat)) },
			{ label: 'Delete', danger: true, run: () => {
				stop(id);
				deleteChat(id);
				if (openId() === id) go(href('play', 'chat'));
				deleted('Conversation', () => putChat(chat));
			} }];
	}
}
