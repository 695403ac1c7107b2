// Conversations, and the library of prompts and presets: in IndexedDB, for attachments are too large for anything else.
//
// A chat is {id, title, isPinned, createdAt, updatedAt, model, endpoint, system, params, messages}; a message {id,
// role, text, files, …}; a file {kind: 'image' | 'audio' | 'text', name, blob | text | url}. All are replaced, never
// changed.
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
export const newId = () => Array.from(crypto.getRandomValues(new Uint8Array(8)),
	(n) => n.toString(16).padStart(2, '0')).join('');

const finished = (request) => new Promise((resolve, reject) => {
	request.onsuccess = () => resolve(request.result);
	request.onerror = () => reject(request.error);
});
const byDate = (all) => all.sort((a, b) => (b.updatedAt || 0) - (a.updatedAt || 0));

/** Reads what is kept, once. Where the browser refuses, the lists work and last as long as the page. */
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

// Without a value it is deleted.
function keep(name, id, value) {
	STORES[name].update((all) => byDate([...(value ? [value] : []), ...all.filter((each) => each.id !== id)]));
	if (!database) return;
	try {
		const writing = database.transaction(name, 'readwrite');
		if (value) writing.objectStore(name).put(value);
		else writing.objectStore(name).delete(id);
		writing.onabort = () => notKept.set(writing.error.message);
		writing.oncomplete = () => notKept.set('');
	} catch (error) {
		notKept.set(error.message);
	}
}

export const chatById = (id) => chats().find((chat) => chat.id === id);
export const putChat = (chat) => keep('chats', chat.id, chat);
export const deleteChat = (id) => keep('chats', id);
export const putEntry = ({ id = newId(), ...entry }) => keep('library', id, { tags: [], ...entry, id });
export const deleteEntry = (id) => keep('library', id);

/** Changes some of a chat that may have been deleted meanwhile. */
export function changeChat(id, change) {
	const chat = chats.peek().find((each) => each.id === id);
	const some = typeof change === 'function' ? chat && change(chat) : change;
	if (chat) putChat({ ...chat, ...some, updatedAt: Date.now() / 1000 });
}

// --- export and import

export async function asDataUrl(blob) {
	const reader = new FileReader();
	reader.readAsDataURL(blob);
	await new Promise((resolve, reject) => {
		reader.onload = resolve;
		reader.onerror = () => reject(reader.error);
	});
	return reader.result;
}

function asBlob(url) {
	const [, type, , data] = url.split(/[:;,]/);
	return new Blob([Uint8Array.from(atob(data), (char) => char.charCodeAt(0))], { type });
}

export async function exportChats(list) {
	const all = (items = [], change) => Promise.all(items.map(change));
	const packed = await all(list, async (chat) => ({ ...chat, messages: await all(chat.messages,
		async (message) => ({ ...message, files: await all(message.files,
			async ({ blob, ...file }) => (blob ? { ...file, data: await asDataUrl(blob) } : file)) })) }));
	return JSON.stringify({ format: FORMAT, version: 1, chats: packed, library: library.peek() }, null, 1);
}

/** How many conversations came; throws a reason and changes nothing when the file is not one of ours. */
export function importChats(text) {
	const because = (reason, run) => {
		try {
			return run();
		} catch {
			throw new TypeError(reason);
		}
	};
	const found = because('it is not JSON', () => JSON.parse(text));
	if (found?.format !== FORMAT) throw new TypeError('it is no export of these conversations');
	if (found.version !== 1) throw new TypeError('it comes from another version');
	const ready = found.chats.map((chat, at) => because(`conversation ${at + 1} is damaged`, () => checked(chat)));
	for (const entry of found.library || []) {
		if (typeof entry?.name === 'string' && ['prompt', 'preset', 'system'].includes(entry.kind)) putEntry(entry);
	}
	ready.forEach(putChat);
	return ready.length;
}

function checked({ id, ...chat }) {
	const isNew = /^[\w-]{1,40}$/.test(id) && !chats.peek().some((each) => each.id === id);
	const messages = chat.messages.map((message) => {
		if (!/^(user|assistant)$/.test(message.role) || typeof message.text !== 'string') throw new TypeError();
		return { ...message, id: String(message.id || newId()),
			files: (message.files || []).map(({ data, ...file }) => (data ? { ...file, blob: asBlob(data) } : file)) };
	});
	return { endpoint: 'chat', params: {}, updatedAt: Date.now() / 1000, ...chat, title: String(chat.title || ''),
		messages, id: isNew ? id : newId() };
}

export const asMarkdown = ({ title, system, messages }) => [`# ${title || 'Conversation'}`,
	system && `> ${system.replaceAll('\n', '\n> ')}`,
	...messages.flatMap(({ role, model, files = [], text }) => [`## ${role === 'user' ? 'You' : model}`,
		...files.map((file) => `*Attached: ${file.name}*`), text])].filter(Boolean).join('\n\n');
