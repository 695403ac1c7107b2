// Conversations, prompts and presets, in IndexedDB: attachments are large.
// A chat is {id, title, isPinned, updatedAt, model, endpoint, system, params, messages}; a message {id, role, text,
// files, …}; a file {kind: 'image' | 'audio' | 'text', name, blob | text | url}. All are replaced, never changed.
import { signal } from '../core/signal.js';

const FORMAT = 'llamaswap-chats';

/** Newest first, once isReady. */
export const chats = signal([]);
/** [{id, kind: 'prompt' | 'preset' | 'system', name, text, params, tags}] */
export const library = signal([]);
export const isReady = signal(false);
/** '' or why nothing is kept. */
export const notKept = signal('');

const STORES = { chats, library };
let database = null;
let isOpened = false;

/** Random; crypto.randomUUID does not exist on plain http. */
export const newId = () => crypto.getRandomValues(new Uint32Array(2)).join('-');

const finished = (request, event = 'onsuccess') => new Promise((resolve, reject) => {
	request[event] = () => resolve(request.result);
	request.onerror = () => reject(request.error);
});
const byDate = (all) => all.sort((a, b) => (b.updatedAt || 0) - (a.updatedAt || 0));

/** Where the browser refuses, the lists last as long as the page. */
export async function openChats() {
	if (isOpened) return;
	isOpened = true;
	try {
		const request = indexedDB.open('lsw', 1);
		request.onupgradeneeded = () => {
			for (const name in STORES) request.result.createObjectStore(name, { keyPath: 'id' });
		};
		database = await finished(request);
		for (const name in STORES) {
			const kept = await finished(database.transaction(name).objectStore(name).getAll());
			STORES[name].update((all) => byDate([...all, ...kept]));
		}
	} catch (error) {
		notKept.set(error.message);
	}
	isReady.set(true);
}

// Other tabs must not write over it with what they have.
const tabs = new BroadcastChannel('lsw');
tabs.onmessage = ({ data }) => show(...data);

// Without a value it is deleted.
const show = (name, id, value) => STORES[name].update((all) => byDate([...(value ? [value] : []),
	...all.filter((each) => each.id !== id)]));

function keep(name, id, value) {
	show(name, id, value);
	tabs.postMessage([name, id, value]);
	if (!database) return;
	try {
		const writing = database.transaction(name, 'readwrite');
		const store = writing.objectStore(name);
		if (value) store.put(value);
		else store.delete(id);
		writing.onabort = () => notKept.set(writing.error.message);
		writing.oncomplete = () => notKept.set('');
	} catch (error) {
		notKept.set(error.message);
	}
}

export const chatById = (id) => chats().find((chat) => chat.id === id);
export const putChat = (chat) => keep('chats', chat.id, chat);
export const deleteChat = (id) => keep('chats', id);
export const putEntry = ({ id = newId(), ...entry }) => keep('library', id, { ...entry, id });
export const deleteEntry = (id) => keep('library', id);

/** Of a chat that may have been deleted meanwhile. */
export function changeChat(id, change) {
	const chat = chats.peek().find((each) => each.id === id);
	const some = typeof change === 'function' ? chat && change(chat) : change;
	if (chat) putChat({ ...chat, ...some, updatedAt: Date.now() / 1000 });
}

// --- export and import

export function asDataUrl(blob) {
	const reader = new FileReader();
	reader.readAsDataURL(blob);
	return finished(reader, 'onload');
}

function asBlob(url) {
	const [, type, , data] = url.split(/[:;,]/);
	return new Blob([Uint8Array.from(atob(data), (char) => char.charCodeAt(0))], { type });
}

export async function exportChats() {
	const urls = new Map();
	for (const { blob } of chats.peek().flatMap((chat) => chat.messages).flatMap(({ files = [] }) => files)) {
		if (blob) urls.set(blob, await asDataUrl(blob));
	}
	return JSON.stringify({ format: FORMAT, chats: chats.peek(), library: library.peek() },
		(key, value) => urls.get(value) ?? value, 1);
}

/** How many conversations came; throws a reason when the file is not one of ours. */
export function importChats(text) {
	const found = JSON.parse(text);
	if (found?.format !== FORMAT) throw new TypeError('it is no export of conversations');
	const ready = found.chats.map(checked);
	found.library?.filter(({ kind, name }) => areTexts(kind, name)).forEach(putEntry);
	ready.forEach(putChat);
	return ready.length;
}

const areTexts = (...values) => values.every((value) => typeof value === 'string');

function checked({ id, title = '', messages = [{}], ...chat }) {
	if (!areTexts(id, title, ...messages.flatMap((message) => [message.id, message.role, message.text]))) {
		throw new TypeError('a conversation in it is damaged');
	}
	return { endpoint: 'chat', params: {}, ...chat, title, id: chats.peek().some((each) => each.id === id) ? newId() : id,
		messages: messages.map((message) => ({ ...message, files: message.files?.map(({ blob, ...file }) =>
			(blob ? { ...file, blob: asBlob(blob) } : file)) })) };
}

export const asMarkdown = ({ title, system, messages }) => [`# ${title || 'Conversation'}`,
	system && `> ${system.replaceAll('\n', '\n> ')}`,
	...messages.flatMap(({ role, model, files = [], text }) => [`## ${role === 'user' ? 'You' : model || 'Answer'}`,
		...files.map((file) => `*Attached: ${file.name}*`), text])].filter(Boolean).join('\n\n');
