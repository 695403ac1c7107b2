// Where a turn is written: text, and files by paste, drop or choice. Enter sends, unless that would surprise.
import { each, h, newId } from '../core/dom.js';
import { bytes } from '../core/format.js';
import { setting } from '../core/persist.js';
import { signal } from '../core/signal.js';
import { button, iconButton } from '../ui/parts.js';
import { fileChip } from './message.js';

const MAX_IMAGES = 5;
const MAX_BYTES = 20 * 1024 * 1024;
const MAX_TEXT = 200 * 1024;
const IMAGES = ['image/png', 'image/jpeg', 'image/gif', 'image/webp'];
const isCoarse = () => matchMedia('(pointer: coarse)').matches;
/** '' leaves it to the pointer: on a touch screen Enter breaks the line. */
export const enterSends = setting('play.enter', '', (value) => ['', 'send', 'break'].includes(value));
const sends = () => (enterSends.peek() ? enterSends.peek() === 'send' : !isCoarse());

/** onSend({text, files}) → true when it was taken. `busy`: () => an answer is coming in; onStop ends it. */
export function composer({ onSend, onStop = null, busy = () => false, first = { text: '', files: [] },
  label = 'Message', sendLabel = 'Send',
  more = null, onInput = () => {} }) {
  const files = signal(first.files || []);
  const trouble = signal('');
  const isOver = signal(false);
  const text = h('textarea', { rows: '2', 'aria-label': label, placeholder: label, value: first.text, onkeydown: onKey,
    onpaste: onPaste,
    oninput: () => { fit(); onInput(text.value); } });
  const chooser = h('input', { type: 'file', multiple: true, class: 'vh', tabindex: '-1',
    'aria-label': 'Files to attach',
    onchange: () => { add([...chooser.files]); chooser.value = ''; } });
  const chips = h('ul', { class: 'chips', hidden: () => !files().length });
  each(chips, files, (file) => file.key, (file) => h('li', null,
    fileChip(file.peek(), iconButton('close', `Remove ${file.peek().name}`,
    { onclick: () => files.update((all) => all.filter((one) => one.key !== file.peek().key)) }))));
  const element = h('form', { class: () => `composer${isOver() ? ' over' : ''}`,
    onsubmit: (event) => { event.preventDefault(); submit(); },
    ondragover: (event) => { if (hasFiles(event)) { event.preventDefault(); isOver.set(true); } },
      ondragleave: () => isOver.set(false), ondrop: onDrop },
    chips, h('p', { class: 'error-text', role: 'alert', hidden: () => !trouble() }, trouble), text,
    h('div', { class: 'row' }, button('Attach', { icon: 'attach', kind: 'quiet', onclick: () => chooser.click() }),
      chooser, more,
      h('div', { class: 'row end' }, () => busy() && onStop
        ? button('Stop', { icon: 'stop', kind: 'danger', onclick: onStop })
        : button(sendLabel, { icon: 'send', kind: 'primary', type: 'submit' }))));
  requestAnimationFrame(fit);
  return { element, focus: () => text.focus(), clear, add, isEmpty: () => !text.value.trim() && !files.peek().length,
    set: (value) => { text.value = value; fit(); onInput(value); text.focus(); }, put: (list) => files.set(list),
    value: () => ({ text: text.value, files: files.peek() }) };

  function fit() {
    text.style.height = 'auto';
    text.style.height = `${Math.min(text.scrollHeight + 2, innerHeight * 0.4)}px`;
  }

  function onKey(event) {
    // A key that ends a composition is no Enter of ours; some browsers say so only by its old code.
    if (event.key !== 'Enter' || event.isComposing || event.keyCode === 229 || event.shiftKey) return;
    if (!(event.ctrlKey || event.metaKey) && !sends()) return;
    event.preventDefault();
    submit();
  }

  function submit() {
    const value = text.value.trim();
    if (busy() || (!value && !files.peek().length)) return;
    if (onSend({ text: value, files: files.peek() })) clear();
  }

  function clear() {
    text.value = '';
    files.set([]);
    trouble.set('');
    onInput('');
    fit();
  }

  function onPaste(event) {
    const found = [...event.clipboardData.files];
    if (!found.length) return;
    event.preventDefault();
    add(found);
  }

  function onDrop(event) {
    isOver.set(false);
    if (!hasFiles(event)) return;
    event.preventDefault();
    add([...event.dataTransfer.files]);
  }

  async function add(list) {
    const refused = [];
    for (const file of list) {
      const made = await asFile(file, files.peek()).catch((error) => { refused.push(`${file.name}: ${error.message}`);
        });
      if (made) files.update((all) => [...all, made]);
    }
    trouble.set(refused.join(' '));
  }
}

const hasFiles = (event) => [...event.dataTransfer.types].includes('Files');

async function asFile(file, present) {
  const common = { key: newId('file'), name: file.name || 'pasted', type: file.type, size: file.size };
  if (file.type.startsWith('image/')) {
    if (!IMAGES.includes(file.type)) throw new TypeError('only PNG, JPEG, GIF and WebP pictures can be sent.');
    const count = present.filter((one) => one.kind === 'image').length;
    if (count >= MAX_IMAGES) throw new RangeError(`at most ${MAX_IMAGES} pictures.`);
    if (file.size > MAX_BYTES) throw new RangeError(`it is larger than ${bytes(MAX_BYTES)}.`);
    return { ...common, kind: 'image', blob: file };
  }
  if (/^audio\/(x-)?(wav|wave|mp3|mpeg)/.test(file.type)) {
    if (file.size > MAX_BYTES) throw new RangeError(`it is larger than ${bytes(MAX_BYTES)}.`);
    return { ...common, kind: 'audio', blob: file };
  }
  if (file.size > MAX_TEXT) throw new RangeError(`it is larger than ${bytes(MAX_TEXT)}, the most for a text.`);
  const text = await file.text();
  if (/[\0\ufffd]/.test(text)) throw new TypeError('it is neither text nor a picture or sound that can be sent.');
  return { ...common, kind: 'text', text };
}

/** Keeps what is being written in this tab, by conversation. */
export function draftOf(id) {
  const key = `lsw-draft-${id}`;
  const attempt = (run) => { try { return run(); } catch { return null; } };
  return { read: () => attempt(() => sessionStorage.getItem(key)) || '',
    write: (text) => attempt(() => (text ? sessionStorage.setItem(key, text) : sessionStorage.removeItem(key))) };
}
