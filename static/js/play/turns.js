// Turns of a conversation: sending, stopping, retrying, and taking any of it back. An answer goes on when its page is
// left; it belongs to the conversation, not to the screen.
import { signal } from '../core/signal.js';
import { announce, toast } from '../ui/toast.js';
import { duration, num } from '../core/format.js';
import { asDataUrl, changeChat, chats, newId, saveNow } from '../state/chats.js';
import { startChat, statsOf } from './api.js';

/** Answers that are coming in: message id → run of api.js, with chatId. */
export const running = signal(new Map());
export const runOf = (id) => running().get(id) || null;
export const isBusy = (chatId) => [...running().values()].some((run) => run.chatId === chatId);

export function stop(chatId) {
  for (const run of running.peek().values()) if (run.chatId === chatId) run.stop();
}

/** What the user wrote, and the answer to it. */
export function send(chat, { text, files }) {
  const message = { id: newId(), role: 'user', text, files };
  return answer(chat, [...chat.messages, message]);
}

/** Asks for what follows `messages`. `into`: an answer that is to go on, the last of them. */
export async function answer(chat, messages, { into = null, model = chat.model } = {}) {
  if (isBusy(chat.id)) return;
  const empty = { id: newId(), role: 'assistant', text: '', reasoning: '', calls: [], model, state: 'running' };
  const message = into ? { ...into, state: 'running', error: null } : empty;
  const past = into ? messages.slice(0, -1) : messages;
  changeChat(chat.id, { model, messages: [...past, message], title: chat.title || titleOf(past) });
  let run;
  try {
    run = startChat({ endpoint: chat.endpoint, session: `play-${chat.id}`, model, system: chat.system,
      params: chat.params,
      messages: await Promise.all([...past, ...(into ? [into] : [])].filter((each) => each.role === 'user'
        || each.text).map(asSent)) });
  } catch (error) {
    finish(chat.id, { ...message, state: 'error', error: { message: error.message } });
    return;
  }
  Object.assign(run, { chatId: chat.id, prefix: into ? into.text : '', former: into ? into.reasoning : '' });
  running.update((all) => new Map(all).set(message.id, run));
  await run.done;
  finish(chat.id, ended(message, run));
  running.update((all) => {
    const rest = new Map(all);
    rest.delete(message.id);
    return rest;
  });
}

const titleOf = (messages) => (messages.find((each) => each.role === 'user')?.text
  || 'Conversation').trim().replace(/\s+/g, ' ').slice(0, 60);

async function asSent({ role, text, files = [] }) {
  const of = (kind) => files.filter((file) => file.kind === kind);
  const audio = await Promise.all(of('audio').map(async (file) => ({ data: (await asDataUrl(file.blob)).split(',')[1],
    format: /mp3|mpeg/.test(file.type) ? 'mp3' : 'wav' })));
  const texts = of('text').map((file) => `File ${file.name}:\n\`\`\`\`\n${file.text}\n\`\`\`\`\n\n`);
  return { role, text: texts.join('') + text, audio, images: await Promise.all(of('image').map((file) => file.url
    || asDataUrl(file.blob))) };
}

function ended(message, run) {
  const { reasoning, calls } = run.answer;
  const stats = statsOf(run);
  if (run.state === 'done') announce(`Answer finished, ${num(stats.output)} tokens in ${duration(stats.ms)}`);
  return { ...message, state: run.state, text: run.prefix + run.answer.text, reasoning: run.former + reasoning, calls,
    stats,
    model: message.model, served: run.answer.model, error: run.error && { message: run.error.message,
      status: run.error.status, id: run.error.id } };
}

function finish(chatId, message) {
  changeChat(chatId, (chat) => ({ messages: chat.messages.map((each) => (each.id === message.id ? message : each)) }));
}

/** Puts other messages into a conversation; the user can take it back for a while. */
export function replaceMessages(chat, messages, what) {
  const before = chat.messages;
  changeChat(chat.id, { messages });
  toast(what, { action: { label: 'Undo', run: () => changeChat(chat.id, { messages: before }) } });
}

// A page that is closed must not lose what has come in so far.
addEventListener('pagehide', () => {
  for (const [id, run] of running.peek()) {
    const chat = chats.peek().find((each) => each.id === run.chatId);
    const message = chat && chat.messages.find((each) => each.id === id);
    if (message) finish(chat.id, { ...ended(message, run), state: 'stopped' });
  }
  saveNow();
});
