// Chat: the conversation of the address, what it is asked with, and the list of the others.
import { each, h, listen } from '../core/dom.js';
import { setting } from '../core/persist.js';
import { go, href, route } from '../core/router.js';
import { computed, effect, onCleanup, signal, untracked } from '../core/signal.js';
import { changeChat, chatById, isReady, library, newId, notKept, openChats, putChat,
  putEntry } from '../state/chats.js';
import { button, emptyState, field, linkButton, select } from '../ui/parts.js';
import { toast } from '../ui/toast.js';
import { chatList } from './chatlist.js';
import { composer, draftOf, enterSends } from './composer.js';
import { ENDPOINTS } from './dialects.js';
import { readDraft, forgetDraft } from './draft.js';
import { presetBar, promptMenu } from './library.js';
import { messageView } from './message.js';
import { count, paramsForm } from './params.js';
import { chosenModel, modelPicker } from './picker.js';
import { side } from './side.js';
import { answer, isBusy, replaceMessages, send, stop } from './turns.js';

const endpointKept = setting('play.endpoint', 'chat', (name) => ENDPOINTS.some(([known]) => known === name));

export function panel() {
  openChats();
  const [picked, pick] = chosenModel('chat');
  const id = () => (route().page === 'play' && route().tab === 'chat' ? route().id : null);
  const blank = signal(null);
  const fresh = (more = {}) => ({ id: newId(), title: '', endpoint: endpointKept.peek(), params: {}, system: null,
    messages: [], ...more });
  let writer = null;
  effect(() => {
    const isDraft = !id() && route().query.get('draft');
    if (id()) return;
    untracked(() => {
      const draft = isDraft ? readDraft() : null;
      blank.set(fresh(draft ? { ...draft.chat } : {}));
      if (draft) requestAnimationFrame(() => writer && writer.fill(draft.last));
    });
  });
  const kept = (model) => library().find((entry) => entry.id === `system:${model}`)?.text || '';
  const current = computed(() => {
    if (id()) return chatById(id());
    const model = blank().model || picked();
    return { ...blank(), model, system: blank().system ?? kept(model) };
  });
  const change = (some) => {
    if (id()) changeChat(id(), some);
    else blank.update((chat) => ({ ...chat, ...some }));
  };
  const busy = () => Boolean(current()) && isBusy(current().id);

  function onSend(value) {
    const chat = current.peek();
    if (!chat.model) {
      toast('Choose a model first', { kind: 'error' });
      return false;
    }
    if (!chatById(chat.id)) {
      putChat({ ...chat, createdAt: Date.now() / 1000 });
      forgetDraft();
      go(href('play', 'chat', chat.id), { replace: true });
    }
    send(chat, value);
    return true;
  }

  const settings = () => current() && settingsOf(current, change, (model) => {
    if (id()) change({ model });
    else { blank.update((chat) => ({ ...chat, model: '' })); pick(model); }
  });
  const lost = () => isReady() && !current() && emptyState({ title: 'This conversation is not in this browser',
    text: 'It was deleted, or belongs to another one.',
    actions: [linkButton('New chat', href('play', 'chat'))] });
  const there = computed(() => Boolean(current()));
  const shownId = computed(() => (current() ? current().id : null));
  return h('div', { class: 'play' },
    side(() => `${current()?.model || 'No model'}: settings and conversations`, () => there() && untracked(settings),
      chatList(id)),
    h('div', { class: 'play-main' },
      () => notKept() && h('p', { class: 'notice warning', role: 'status' },
        `Conversations are not kept: this browser does not let the page store them (${notKept()}).`),
      lost, () => shownId() && untracked(() => conversation(current,
        { busy, onSend, change, onWriter: (made) => { writer = made; } }))));
}

/** Of one conversation: made anew when another one is shown. */
function conversation(current, { busy, onSend, change, onWriter }) {
  const editing = signal('');
  const draft = draftOf(current.peek().messages.length ? current.peek().id : 'new');
  const follow = follower();
  const upTo = (message) => current.peek().messages.slice(0,
    current.peek().messages.findIndex((one) => one.id === message.id));
  const stored = () => (chatById(current.peek().id) ? current.peek()
    : putChat({ ...current.peek(), createdAt: Date.now() / 1000 }));
  const retry = (message, model) => {
    const chat = stored();
    const rest = upTo(message);
    if (chat.messages.length > rest.length + 1) replaceMessages(chat, rest, 'Later turns were removed');
    follow.on();
    answer(chatById(chat.id), rest, { model: model || chat.model });
  };
  const todo = {
    isBusy: busy, retry, edit: (message) => editing.set(message.id),
    retryWith: (message) => import('./choose.js').then(({ chooseModel }) => chooseModel(message.model,
      (model) => retry(message, model))),
    proceed: (message) => { follow.on(); answer(stored(), [...upTo(message), message], { into: message }); },
    branch: (message) => {
      const chat = current.peek();
      const made = putChat({ ...chat, id: newId(), title: `${chat.title || 'Conversation'} (branch)`, isPinned: false,
        messages: [...upTo(message), message].map((one) => ({ ...one, id: newId() })) });
      go(href('play', 'chat', made.id));
    },
    remove: (message) => replaceMessages(stored(), current.peek().messages.filter((one) => one.id !== message.id),
      'Turn deleted'),
  };
  const log = h('div', { class: 'log', role: 'log', 'aria-label': 'Conversation', 'aria-live': 'off',
    'aria-busy': () => String(busy()) });
  each(log, () => (current() ? current().messages : []), (message) => message.id,
    (item) => h('div', null, () => (editing() === item.peek().id
    ? untracked(() => editor(item.peek())) : untracked(() => messageView(item, todo)))));
  follow.watch(log);
  const made = composer({ busy, onSend: (value) => { follow.on(); return onSend(value); },
    onStop: () => stop(current.peek().id), onInput: draft.write, first: { text: draft.read() },
    more: [promptMenu((text) => made.set(text)), follow.button] });
  onWriter({ fill: ({ text, files }) => { made.clear(); made.set(text); made.put(files); } });
  return h('div', { class: 'chat' }, () => current() && !current().messages.length && h('p', { class: 'muted hello' },
    'Nothing has been said yet. What you write is sent only to this server.'),
    log, h('div', { class: 'dock' }, made.element));

  function editor(message) {
    const isUser = message.role === 'user';
    const keep = (value) => current.peek().messages.map((one) => (one.id === message.id ? { ...one, ...value } : one));
    const box = composer({ label: 'Edit this turn', sendLabel: isUser ? 'Send again' : 'Save',
      first: { text: message.text, files: keyed(message.files) }, onSend: (value) => {
      editing.set('');
      if (!isUser) {
        change({ messages: keep({ text: value.text }) });
        return false;
      }
      const chat = stored();
      const rest = [...upTo(message), { ...message, ...value }];
      if (chat.messages.length > rest.length + 1) replaceMessages(chat, rest, 'Later turns were removed');
      follow.on();
      answer(chatById(chat.id), rest);
      return false;
    }, more: [button('Cancel', { kind: 'quiet', onclick: () => editing.set('') }), isUser
      && button('Save only', { kind: 'quiet',
      onclick: () => { const value = box.value(); editing.set('');
        change({ messages: keep({ text: value.text.trim(), files: value.files }) }); } })] });
    requestAnimationFrame(() => box.focus());
    return h('div', { class: 'turn' }, box.element);
  }
}

const keyed = (files = []) => files.map((file, at) => ({ key: `kept-${at}`, ...file }));

function settingsOf(current, change, onModel) {
  const of = (name) => () => current()?.[name] ?? '';
  const prompt = computed(of('system'));
  const system = h('textarea', { rows: '3', value: () => prompt(), onchange: () => change({ system: system.value }) });
  return h('div', { class: 'stack' }, modelPicker({ value: of('model'), onchange: onModel }),
    field('Endpoint', select(ENDPOINTS, { value: of('endpoint'),
      onchange: (endpoint) => { endpointKept.set(endpoint); change({ endpoint }); } })),
    h('details', { open: Boolean(current.peek().system) },
      h('summary', null, 'System prompt', () => current()?.system && h('span', { class: 'muted small' }, ' set')),
      h('div', { class: 'stack tight' }, field('System prompt', system),
        button('Keep for this model', { kind: 'quiet', class: 'slim', onclick: () => {
        const { model } = current.peek();
        putEntry({ id: `system:${model}`, kind: 'system', name: model, text: system.value });
        toast(`New chats with ${model} begin with it`, { kind: 'ok' });
      } }))),
    h('details', null, h('summary', null, 'Parameters', h('span', { class: 'muted small' },
      () => (count(current()?.params) ? ` ${count(current().params)} set` : ' server defaults'))),
      h('div', { class: 'stack tight' }, presetBar(() => current()?.params || {}, (params) => change({ params })),
        paramsForm(() => current()?.params || {}, (params) => change({ params })))),
    field('Enter key', select([['', 'As usual for the device'], ['send', 'Sends'], ['break', 'Breaks the line']],
      { value: enterSends, onchange: enterSends.set })));
}

/** Keeps the end of the log in sight for as long as the reader does not go elsewhere. */
function follower() {
  const main = document.getElementById('main');
  const isOn = signal(true);
  let last = 0;
  const rest = () => main.scrollHeight - main.scrollTop - main.clientHeight;
  const toEnd = () => main.scrollTo({ top: main.scrollHeight, behavior: 'instant' });
  listen(main, 'scroll', () => {
    if (rest() < 40) isOn.set(true);
    else if (main.scrollTop < last - 2) isOn.set(false);
    last = main.scrollTop;
  }, { passive: true });
  return {
    on: () => { isOn.set(true); toEnd(); },
    button: button('To the newest', { kind: 'quiet', icon: 'down', hidden: isOn,
      onclick: () => { isOn.set(true); toEnd(); } }),
    watch: (log) => {
      const observer = new ResizeObserver(() => { if (isOn.peek() && log.firstChild) toEnd(); });
      observer.observe(log);
      onCleanup(() => observer.disconnect());
    },
  };
}
