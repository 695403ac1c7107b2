// The conversations of this browser: search, open, rename, pin, export, import, delete.
import { each, h } from '../core/dom.js';
import { timeElement } from '../core/format.js';
import { download } from '../core/clipboard.js';
import { go, href } from '../core/router.js';
import { computed, signal } from '../core/signal.js';
import { asMarkdown, changeChat, chats, deleteChat, exportChats, importChats, isReady,
  putChat } from '../state/chats.js';
import { openDialog } from '../ui/dialog.js';
import { menuButton } from '../ui/menu.js';
import { button, field, linkButton, searchBox } from '../ui/parts.js';
import { toast } from '../ui/toast.js';
import { isBusy, stop } from './turns.js';

const fileName = (text) => (text || 'chat').replace(/[^\p{L}\p{N}]+/gu, '-').slice(0, 40);

/** `openId`: () => id of the conversation that is shown. */
export function chatList(openId) {
  const words = signal('');
  const found = computed(() => {
    const text = words().trim().toLowerCase();
    const has = (part) => part.toLowerCase().includes(text);
    const all = !text ? chats()
      : chats().filter((chat) => has(chat.title) || chat.messages.some((one) => has(one.text)));
    return [...all.filter((chat) => chat.isPinned), ...all.filter((chat) => !chat.isPinned)];
  });
  const list = h('ul', { class: 'chat-list', 'aria-label': 'Conversations' });
  each(list, found, (chat) => chat.id, (chat) => h('li', { class: 'row' },
    h('a', { class: 'grow', href: href('play', 'chat', chat.peek().id),
      'aria-current': () => (openId() === chat().id ? 'true' : null) },
      h('span', { class: 'clip block' }, () => `${chat().isPinned ? '\u2605 ' : ''}${chat().title || 'Conversation'}`),
      h('span', { class: 'muted small' }, () => (isBusy(chat().id) ? 'writing' : timeElement(chat().updatedAt)))),
    menuButton(`More about ${chat.peek().title || 'the conversation'}`, () => menu(chat.peek()),
      { compact: true, icon: 'more' })));
  const chooser = h('input', { type: 'file', accept: '.json,application/json', class: 'vh', tabindex: '-1',
    'aria-label': 'File of conversations', onchange: take });
  return h('section', { class: 'stack tight', 'aria-label': 'Conversations' },
    h('div', { class: 'row' }, linkButton('New chat', href('play', 'chat'), { icon: 'plus' }), chooser,
      menuButton('Files', () => [
      { label: 'Export all conversations', disabled: !chats.peek().length,
        run: () => save(chats.peek(), 'conversations') },
      { label: 'Import conversations', run: () => chooser.click() }], { kind: 'quiet' })),
    () => chats().length > 0 && searchBox({ label: 'Search conversations', value: words, oninput: words.set }),
    list, () => isReady() && !found().length && h('p', { class: 'muted small' }, words() ? 'None has these words.'
      : 'None yet.'));

  async function take() {
    try {
      const count = importChats(await chooser.files[0].text());
      toast(`${count} ${count === 1 ? 'conversation' : 'conversations'} imported`, { kind: 'ok' });
    } catch (error) {
      toast(`Not imported: ${error.message}`, { kind: 'error' });
    }
    chooser.value = '';
  }

  function menu(chat) {
    return [{ label: 'Rename', run: () => rename(chat) },
      { label: chat.isPinned ? 'Unpin' : 'Pin', run: () => changeChat(chat.id, { isPinned: !chat.isPinned }) },
      { label: 'Export as JSON', run: () => save([chat], fileName(chat.title)) },
      { label: 'Export as Markdown', run: () => download(`${fileName(chat.title)}.md`, [asMarkdown(chat)],
        'text/markdown') }, '-',
      { label: 'Delete', danger: true, run: () => {
        stop(chat.id);
        deleteChat(chat.id);
        if (openId() === chat.id) go(href('play', 'chat'));
        toast('Conversation deleted', { action: { label: 'Undo', run: () => { putChat(chat, { isOld: true }); } } });
      } }];
  }
}

async function save(list, name) {
  download(`${name}.json`, [await exportChats(list)], 'application/json');
}

function rename(chat) {
  const input = h('input', { type: 'text', value: chat.title, maxlength: '120', autofocus: true });
  const form = h('form', { onsubmit: (event) => { event.preventDefault(); dialog.close(input.value.trim()); } },
    field('Name', input));
  const dialog = openDialog({ title: 'Rename the conversation', body: form,
    onClose: (title) => { if (title) changeChat(chat.id, { title }); },
    actions: [button('Cancel', { onclick: () => dialog.close() }),
      button('Rename', { kind: 'primary', onclick: () => dialog.close(input.value.trim()) })] });
}
