// Conversations, and the library of prompts and presets: in IndexedDB, for attachments are too large for anything else.
//
// A chat is {id, title, isPinned, createdAt, updatedAt, model, endpoint, system, params, messages}; a message {id, role,
// text, files, …}; a file {kind: 'image' | 'audio' | 'text', name, type, size, blob | text}. All are replaced, never changed.
import { signal } from '../core/signal.js';

const STORES = ['chats', 'library'];
const SAVE_MS = 700;
const FORMAT = 'llamaswap-chats';

/** Newest first, once isReady. */
export const chats = signal([]);
/** [{id, kind: 'prompt' | 'preset' | 'system', name, text, params, tags}] */
export const library = signal([]);
export const isReady = signal(false);
/** '' or why nothing is kept. */
export const notKept = signal('');

let database = null;
let opening = null;
const unsaved = new Map();        // 'store/id' → {store, value}
let timer = null;

/** Random; crypto.randomUUID does not exist on plain http. */
export const newId = () => Array.from(crypto.getRandomValues(new Uint8Array(8)),
  (n) => n.toString(16).padStart(2, '0')).join('');
const byDate = (all) => [...all].sort((a, b) => b.updatedAt - a.updatedAt);

/** Reads what is kept, once. Where the browser refuses, the lists work and last as long as the page. */
export function openChats() {
  opening ||= (async () => {
    try {
      database = await connect();
      const [kept, entries] = await Promise.all(STORES.map(readAll));
      chats.update((all) => byDate([...all, ...kept]));
      library.update((all) => [...all, ...entries]);
    } catch (error) {
      notKept.set(error && error.message ? error.message : 'storage is blocked');
    }
    isReady.set(true);
    addEventListener('pagehide', saveNow);
  })();
  return opening;
}

function connect() {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open('lsw', 1);
    request.onupgradeneeded = () => { for (const name of STORES) request.result.createObjectStore(name,
      { keyPath: 'id' }); };
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
    request.onblocked = () => reject(new Error('another tab holds the storage'));
  });
}

function readAll(store) {
  return new Promise((resolve, reject) => {
    const request = database.transaction(store).objectStore(store).getAll();
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

export const chatById = (id) => chats().find((chat) => chat.id === id) || null;

export function putChat(chat, { isOld = false } = {}) {
  const next = isOld ? chat : { ...chat, updatedAt: Date.now() / 1000 };
  chats.update((all) => byDate([next, ...all.filter((each) => each.id !== chat.id)]));
  later('chats', next);
  return next;
}

/** Changes some of a chat that may have been deleted meanwhile. */
export function changeChat(id, change) {
  const chat = chats.peek().find((each) => each.id === id);
  return chat ? putChat({ ...chat, ...(typeof change === 'function' ? change(chat) : change) }) : null;
}

export function deleteChat(id) {
  chats.update((all) => all.filter((each) => each.id !== id));
  later('chats', { id, isGone: true });
}

export function putEntry(entry) {
  const next = { tags: [], ...entry, id: entry.id || newId() };
  library.update((all) => [...all.filter((each) => each.id !== next.id), next]);
  later('library', next);
}

export function deleteEntry(id) {
  library.update((all) => all.filter((each) => each.id !== id));
  later('library', { id, isGone: true });
}

function later(store, value) {
  unsaved.set(`${store}/${value.id}`, { store, value });
  timer ||= setTimeout(saveNow, SAVE_MS);
}

/** Writes what waits to be written. */
export function saveNow() {
  clearTimeout(timer);
  timer = null;
  const batch = [...unsaved.values()];
  unsaved.clear();
  if (!database || !batch.length) return;
  try {
    const writing = database.transaction(STORES, 'readwrite');
    for (const { store, value } of batch) {
      if (value.isGone) writing.objectStore(store).delete(value.id);
      else writing.objectStore(store).put(value);
    }
    writing.onabort = () => notKept.set(writing.error ? writing.error.message : 'the browser refused to write');
    writing.oncomplete = () => notKept.set('');
  } catch (error) {
    notKept.set(error.message);
  }
}

// --- export and import

const asDataUrl = (blob) => new Promise((resolve, reject) => {
  const reader = new FileReader();
  reader.onload = () => resolve(reader.result);
  reader.onerror = () => reject(reader.error);
  reader.readAsDataURL(blob);
});
export { asDataUrl };

function asBlob(url) {
  const [, type, data] = /^data:([\w.+-]+\/[\w.+-]+)(?:;[\w=.-]+)*;base64,([A-Za-z0-9+/=]*)$/.exec(url) || [];
  if (!type) throw new TypeError('an attachment is damaged');
  return new Blob([Uint8Array.from(atob(data), (char) => char.charCodeAt(0))], { type });
}

export async function exportChats(list) {
  const pack = async ({ blob, ...file }) => (blob ? { ...file, data: await asDataUrl(blob) } : file);
  const packed = await Promise.all(list.map(async (chat) => ({ ...chat, messages: await Promise.all(chat.messages.map(
    async (message) => ({ ...message, files: await Promise.all((message.files || []).map(pack)) }))) })));
  return JSON.stringify({ format: FORMAT, version: 1, chats: packed, library: library.peek() }, null, 1);
}

/** How many conversations came; throws a reason and changes nothing when the file is not one of ours. */
export function importChats(text) {
  let found;
  try {
    found = JSON.parse(text);
  } catch {
    throw new TypeError('it is not JSON');
  }
  if (!found || found.format !== FORMAT) throw new TypeError('it is no export of these conversations');
  if (found.version !== 1) throw new TypeError('it comes from another version');
  if (!Array.isArray(found.chats)) throw new TypeError('it has no list of conversations');
  const taken = new Set(chats.peek().map((chat) => chat.id));
  const ready = found.chats.map((chat, at) => checkedChat(chat, at, taken));
  for (const entry of Array.isArray(found.library) ? found.library : []) {
    if (entry && typeof entry.name === 'string' && ['prompt', 'preset', 'system'].includes(entry.kind)) putEntry(entry);
  }
  for (const chat of ready) putChat(chat, { isOld: true });
  return ready.length;
}

// What a file says is not trusted further than its types are right.
function checkedChat(chat, at, taken) {
  const isBad = !chat || typeof chat.id !== 'string' || !/^[\w-]{1,40}$/.test(chat.id) || !Array.isArray(chat.messages)
    || chat.messages.some((each) => !each || typeof each.text !== 'string' || !['user',
      'assistant'].includes(each.role));
  if (isBad) throw new TypeError(`conversation ${at + 1} is damaged`);
  const text = (value) => (typeof value === 'string' ? value : '');
  const date = (value) => (Number.isFinite(value) ? value : Date.now() / 1000);
  return { id: taken.has(chat.id) ? newId() : chat.id, title: text(chat.title), isPinned: chat.isPinned === true,
    model: text(chat.model),
    createdAt: date(chat.createdAt), updatedAt: date(chat.updatedAt), endpoint: text(chat.endpoint) || 'chat',
      system: text(chat.system),
    params: chat.params && typeof chat.params === 'object' ? chat.params : {},
    messages: chat.messages.map(checkedMessage) };
}

function checkedMessage({ id, role, text, files, reasoning, calls, model, state, stats, error }) {
  const word = (value) => (typeof value === 'string' ? value : '');
  const list = (value) => (Array.isArray(value) ? value : []);
  const fields = { id: word(id) || newId(), role, text };
  if (list(files).length) {
    fields.files = files.map(({ kind, name, type, size, data, text: inside }) => ({ kind: word(kind), name: word(name),
      type: word(type),
      size: Number(size) || 0, ...(data ? { blob: asBlob(data) } : { text: word(inside) }) }));
  }
  if (role === 'user') return fields;
  return { ...fields, reasoning: word(reasoning), model: word(model), state: word(state), stats: stats
    && typeof stats === 'object' ? stats : null,
    calls: list(calls).map((call) => ({ key: word(String(call.key)), name: word(call.name), args: word(call.args) })),
    error: error && error.message ? { message: String(error.message) } : null };
}

export function asMarkdown(chat) {
  const parts = chat.messages.map((message) => [`## ${message.role === 'user' ? 'You' : message.model || 'Assistant'}`,
    ...(message.files || []).map((file) => `*Attached: ${file.name}*`), message.text].join('\n\n'));
  return [`# ${chat.title || 'Conversation'}`, ...(chat.system ? [`> ${chat.system.replaceAll('\n', '\n> ')}`] : []),
    ...parts].join('\n\n') + '\n';
}
