// One turn: what was said, how, and what can be done with it. While an answer comes in only its end is touched.
import { h, icon } from '../core/dom.js';
import { clock, duration, num, since, speed } from '../core/format.js';
import { computed, effect, onCleanup, signal, untracked } from '../core/signal.js';
import { modelById } from '../state/models.js';
import { live } from '../state/requests.js';
import { meter } from '../ui/bars.js';
import { button, copyButton } from '../ui/parts.js';
import { menuButton } from '../ui/menu.js';
import { prose } from './prose.js';
import { runOf } from './turns.js';

const CHARS_PER_MS = 60;
const SHARE = 8;      // painting takes at most one part in so many of the time

/** `item`: signal of the message; `todo`: {retry, retryWith, edit, proceed, branch, remove} taking it, and isBusy. */
export function messageView(item, todo) {
  const { id, role } = item.peek();
  const body = role === 'user' ? userBody(item) : answerBody(item, () => runOf(id));
  return h('article', { class: 'turn', 'data-role': role, 'data-message': id,
    'data-state': () => (runOf(id) ? 'running' : stateOf(item())),
    'aria-label': role === 'user' ? 'You' : 'Answer' },
    h('header', { class: 'row' }, h('strong', null, () => (role === 'user' ? 'You' : item().model || 'Assistant')),
      () => role !== 'user' && item().served && item().served !== item().model && h('span', { class: 'muted small' },
        `answered by ${item().served}`)),
    body.element, () => !runOf(id) && actions(item, body, todo));
}

const stateOf = (message) => (message.state === 'running' ? 'stopped' : message.state || 'done');

function userBody(item) {
  const element = h('div', { class: 'stack' }, () => item().files?.length
    ? h('ul', { class: 'chips' }, item().files.map((file) => h('li', null, fileChip(file)))) : null,
    h('div', { class: 'said' }, () => item().text));
  return { element, text: () => item.peek().text };
}

/** A file with its picture, if it is one. */
export function fileChip(file, extra = null) {
  let picture = null;
  if (file.kind === 'image') {
    const url = file.url || URL.createObjectURL(file.blob);
    // Later: a picture that is shown anew at this moment may still be reading from it.
    if (!file.url) onCleanup(() => setTimeout(() => URL.revokeObjectURL(url), 1000));
    // Only what we hold ourselves is shown: an address would tell its owner who reads this.
    picture = /^(blob|data):/.test(url) ? h('img', { src: url, alt: file.name, class: 'thumb' })
      : h('span', { class: 'muted' }, 'remote picture');
  }
  return h('span', { class: 'file' }, picture || icon(file.kind === 'audio' ? 'sound' : 'attach'),
    h('span', { class: 'clip' }, file.name), extra);
}

/** `run`: () => the run that fills this answer now, or null. Also used by Compare. */
export function answerBody(item, run) {
  const text = h('div', { class: 'md' });
  const view = prose(text);
  const isRaw = signal(false);
  const thought = reasoning(run);
  const box = h('div', { class: 'stack answer' }, thought.element, h('div', { hidden: isRaw }, text),
    () => isRaw() && h('pre', { class: 'well wrap raw', tabindex: '0' }, item().text),
      () => calls(run() ? [] : item().calls),
    () => run() && waiting(run), () => !run() && ending(item()));
  const painted = signal(0);
  let shown = '';
  let next = 0;
  let timer = null;
  effect(() => {
    const now = run();
    if (now) now.changed();
    painted();
    const message = item();
    if (!now && message.state === 'running'
      && shown) return;        // it has ended; the list brings the news in a moment
    const start = performance.now();
    thought.paint(now ? now.former + now.answer.reasoning : message.reasoning || '', now, message);
    const all = now ? now.prefix + now.answer.text : message.text;
    clearTimeout(timer);
    if (now && start < next) {
      timer = setTimeout(() => untracked(() => painted.update((n) => n + 1)), next - start);
      return;
    }
    if (all !== shown) view.update(shown = all);
    if (!now) view.finish();
    // What a browser lays out grows with the paragraph: a long one is shown in larger steps.
    next = start + Math.max((performance.now() - start) * SHARE, view.weight() / CHARS_PER_MS);
  });
  effect(() => text.setAttribute('aria-busy', String(Boolean(run()))));
  onCleanup(() => clearTimeout(timer));
  return { element: box, isRaw, text: () => item.peek().text, shown: () => text.innerText };
}

// Before the first word there is something to tell: the place in the queue, the loading.
function waiting(run) {
  const entry = computed(() => live().find((each) => each.session === run().session) || null);
  return h('p', { class: 'muted small progress', role: 'status' }, () => {
    const now = run();
    if (!now) return '';
    now.changed();
    const { answer } = now;
    const seen = entry();
    const doing = answer.text || answer.calls.length ? 'Writing' : 'Thinking';
    if (answer.pieces) return `${doing}, ${num(answer.pieces)} tokens est.`;
    const where = !seen ? 'Sent' : seen.phase === 'queued' ? `Queued${seen.position ? `, place ${seen.position}` : ''}`
      : seen.phase === 'loading' ? 'Loading the model' : 'Reading the prompt';
    const reason = seen && seen.reason && seen.phase !== 'prompt' ? `: ${seen.reason}` : '';
    return `${where}, ${clock(since(now.startedAt))}${reason}`;
  });
}

function reasoning(run) {
  const inside = document.createTextNode('');
  const label = signal('');
  const element = h('details', { class: 'thought', hidden: true, ontoggle: () => show() }, h('summary', null, label),
    h('div', { class: 'said muted' }, inside));
  let text = '';
  // What nobody sees is not laid out; what is seen grows at its end.
  const show = () => {
    if (!element.open) return;
    if (text.startsWith(inside.data)) inside.appendData(text.slice(inside.data.length));
    else inside.data = text;
  };
  return { element, paint: (all, now, message) => {
    text = all;
    element.hidden = !all;
    if (!all) return;
    const ms = now ? performance.now() - (now.firstAt ?? now.sentAt) : message.stats?.thoughtMs;
    const isThinking = now && !now.answer.text;
    label.set(isThinking ? `Thinking, ${duration(ms)}, ${num(all.length)} characters`
      : `Thought${typeof ms === 'number' && !now ? ` for ${duration(ms)}` : ''}, ${num(all.length)} characters`);
    show();
  } };
}

const calls = (list) => (list || []).map((call) => h('details', { class: 'call' },
  h('summary', null, `Calls ${call.name || 'a tool'}`),
  h('pre', { class: 'well mono wrap', tabindex: '0' }, pretty(call.args))));

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

function ending(message) {
  const state = stateOf(message);
  return [state === 'stopped' && h('p', { class: 'small muted' }, icon('stop'), ' Stopped: this is what had come in.'),
    message.error && h('div', { class: 'notice error', role: 'alert' }, icon('failed'),
      h('div', { class: 'grow' }, message.error.message,
      h('div', { class: 'muted small' }, [message.error.status ? `status ${message.error.status}` : '', message.error.id
        ? `request ${message.error.id}` : '']
        .filter(Boolean).join(', ')))), message.stats && message.stats.ttft !== null && statsLine(message.stats,
          message)];
}

export function statsLine(stats, { model = '', served = '' } = {}) {
  const guessed = (name) => (stats.guessed?.includes(name) ? ' est.' : '');
  const context = (modelById(model) || modelById(served))?.capabilities?.context;
  const used = stats.prompt !== null && stats.output !== null ? stats.prompt + stats.output : null;
  return h('div', { class: 'stats' }, h('ul', { class: 'small num' }, [
    ['First token', duration(stats.ttft)], ['Speed', `${speed(stats.speed)}${guessed('speed')}`],
    ['Tokens', `${num(stats.output)}${guessed('output')}`],
    ['Prompt', [num(stats.prompt), stats.cached ? `, ${num(stats.cached)} cached` : '',
      stats.promptSpeed ? ` at ${speed(stats.promptSpeed)}` : '']],
    ['Time', duration(stats.ms)], ['Finish', stats.finish || 'unknown']].map(([term, value]) => h('li', null,
      h('span', { class: 'muted' }, `${term} `), value))),
  context && used ? meter({ value: () => used, max: () => context, label: 'Context',
    text: () => `${num(used)} of ${num(context)}` }) : null);
}

function actions(item, body, todo) {
  const message = item();
  const quiet = (label, run, props = {}) => button(label,
    { kind: 'quiet', class: 'slim', disabled: todo.isBusy, onclick: () => run(item.peek()), ...props });
  if (message.role === 'user') {
    return h('footer', { class: 'row' }, quiet('Edit', todo.edit), copyButton(body.text, 'Copy', { class: 'slim' }),
      menuButton('More', () => [
      { label: 'Branch from here', run: () => todo.branch(item.peek()) },
        { label: 'Delete', danger: true, run: () => todo.remove(item.peek()) }],
    { kind: 'quiet', class: 'slim' }));
  }
  const isDone = stateOf(message) !== 'error';
  return h('footer', { class: 'row' }, quiet('Retry', todo.retry, { kind: isDone ? 'quiet' : 'plain' }),
    message.text && copyButton(body.shown, 'Copy', { class: 'slim' }), message.text
      && copyButton(body.text, 'Copy Markdown', { class: 'slim' }),
    menuButton('More', () => [
      { label: 'Retry with another model', run: () => todo.retryWith(item.peek()) },
      { label: 'Continue', disabled: !message.text, run: () => todo.proceed(item.peek()) },
      { label: 'Show as it was written', checked: body.isRaw.peek(), run: () => body.isRaw.update((is) => !is) },
      { label: 'Branch from here', run: () => todo.branch(item.peek()) },
      { label: 'Edit', run: () => todo.edit(item.peek()) },
      { label: 'Delete', danger: true, run: () => todo.remove(item.peek()) }], { kind: 'quiet', class: 'slim' }));
}
