// Chat: the conversation of the address, what it is asked with, and the list of the others.
import { each, h } from '../core/dom.js';
import { setting } from '../core/persist.js';
import { go, href, route } from '../core/router.js';
import { computed, effect, onCleanup, signal, untracked } from '../core/signal.js';
import { changeChat, chatById, isReady, library, newId, notKept, openChats, putChat,
	putEntry } from '../state/chats.js';
import { button, field, select } from '../ui/parts.js';
import { toast } from '../ui/toast.js';
import { answer, isBusy, replaceMessages, stop } from './api.js';
import { ENDPOINTS } from './dialects.js';
import { chatList, presetMenu, promptMenu } from './library.js';
import { composer, enterSends, messageView } from './message.js';
import { paramsForm } from './params.js';
import { chooseModel, chosenModel, modelPicker } from './picker.js';
import { side } from './side.js';

const HANDED = 'lsw-play-draft';         // by the inspector
const endpointKept = setting('play.endpoint', 'chat', (name) => ENDPOINTS.some(([known]) => known === name));

function fresh(more) {
	const at = Date.now() / 1000;
	return { title: '', endpoint: endpointKept.peek(), params: {}, messages: [], ...more, id: newId(), createdAt: at,
		updatedAt: at };
}

/** A text that this tab keeps until it is closed. With `text`: keeps that. '' where storage is blocked. */
function inTab(name, text) {
	try {
		if (text !== undefined) sessionStorage.setItem(name, text);
		return sessionStorage.getItem(name) || '';
	} catch {
		return '';
	}
}

/** {chat, text, files}: the last words of the user are for the composer; it is shown, never sent. */
function readHanded() {
	const { model, messages = [], params: { response_format: format, ...params } = {} } = JSON.parse(inTab(HANDED)
		|| '{}');
	const turns = messages.map(({ role, content }) => {
		const parts = typeof content === 'string' ? [{ text: content }] : content || [];
		return { id: newId(), role, text: parts.map(({ text }) => text).filter(Boolean).join('\n'),
			files: parts.filter((part) => part.image_url).map(({ image_url: { url } }) => ({ kind: 'image', name: 'picture',
				url })) };
	});
	const said = turns.filter(({ role }) => role !== 'system');
	const { text, files } = said.at(-1)?.role === 'user' ? said.pop() : {};
	const schema = format?.json_schema?.schema || (format?.type === 'json_object' && {});
	return { text, files, chat: messages.length ? { model, messages: said,
		system: turns.filter(({ role }) => role === 'system').map((turn) => turn.text).join('\n\n'),
		params: schema ? { ...params, schema: JSON.stringify(schema) } : params } : {} };
}

export function panel() {
	openChats();
	const [picked, pick] = chosenModel('chat');
	const id = computed(() => (route().page === 'play' && route().tab === 'chat' && route().id) || null);
	const blank = signal(fresh());             // what is not yet a conversation
	let handed = {};
	effect(() => {
		if (id()) return;
		handed = route().query.get('draft') ? readHanded() : {};
		blank.set(fresh(handed.chat));
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
		side(() => `${current()?.model || 'No model'}: settings and conversations`,
			() => shownId() && untracked(() => settingsOf(current, change, onModel)), chatList(id)),
		h('div', { class: 'play-main' },
			() => notKept() && h('p', { class: 'notice warning' }, `Conversations are not kept: ${notKept()}`),
			() => isReady() && !shownId() && h('p', { class: 'muted hello' }, 'This conversation is not in this browser.'),
			() => shownId() && untracked(() => conversation(current, change, handed))));
}

/** Of one conversation: made anew when another one is shown. */
function conversation(current, change, { text, files }) {
	const editing = signal('');
	const busy = () => isBusy(current()?.id);
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
		retryWith: (message) => chooseModel(message.model, (model) => ask(upTo(message), { model })),
		proceed: (message) => ask(upTo(message, 1), { into: message }),
		branch: (message) => {
			const made = fresh({ ...current.peek(), title: `${current.peek().title || 'Conversation'} (branch)`,
				isPinned: false, messages: upTo(message, 1).map((one) => ({ ...one, id: newId() })) });
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
		onStop: () => stop(current.peek().id), more: promptMenu((words) => made.fill(words)),
		onSend: (value) => ask([...current.peek().messages, { id: newId(), role: 'user', ...value }]) });
	return h('div', { class: 'stack chat' }, () => current()?.messages.length === 0 && h('p', { class: 'muted hello' },
		'Nothing has been said yet.'),
	log, h('div', { class: 'dock' }, made.element));

	function editor(item) {
		const message = item.peek();
		const isUser = message.role === 'user';
		const end = () => editing.set('');
		const box = composer({ ...message, label: 'Edit this turn', sendLabel: isUser ? 'Send again' : 'Save',
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
	return h('div', { class: 'stack' }, modelPicker({ value: of('model'), onchange: onModel }),
		field('Endpoint', select(ENDPOINTS, { value: of('endpoint'),
			onchange: (endpoint) => { endpointKept.set(endpoint); change({ endpoint }); } })),
		fold('System prompt', () => prompt() && ' set', system,
			button('Keep for this model', { kind: 'quiet', class: 'slim', onclick: keep })),
		fold('Parameters', () => ` ${Object.keys(params()).join(', ') || 'server defaults'}`,
			presetMenu(params, setParams), paramsForm(params, setParams)),
		field('Enter key', select([['', 'As usual for the device'], ['send', 'Sends'], ['break', 'Breaks the line']],
			{ value: enterSends, onchange: enterSends.set })));
}

/** Keeps the end of the log in sight for as long as the reader does not go elsewhere. */
function followed(log) {
	const main = document.getElementById('main');
	let height = 0;         // of all, when it was last looked at
	const toEnd = () => main.scrollTo({ top: main.scrollHeight, behavior: 'instant' });
	const observer = new ResizeObserver(() => {
		if (log.firstChild && main.scrollTop + main.clientHeight > height - 40) toEnd();
		height = main.scrollHeight;
	});
	observer.observe(log);
	onCleanup(() => observer.disconnect());
	return toEnd;
}
