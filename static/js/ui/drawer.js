// The details beside the page: one at a time, resizable, Esc closes it and the focus goes back.
import { append, h } from '../core/dom.js';
import { setting } from '../core/persist.js';
import { scope } from '../core/signal.js';
import { iconButton } from './parts.js';

const width = setting('drawerWidth', 480, (value) => value >= 320 && value <= 1200);
let current = null;

/** title: text or function; body: a node or a function making it in the drawer's scope. */
export function openDrawer({ title, body, actions = [], onClose = () => {} }) {
  if (current) current.close(true);
  const box = document.getElementById('drawer');
  const opener = document.activeElement;
  const [, end] = scope(() => {
    box.replaceChildren();
    append(box, [grip(box),
      h('div', { class: 'drawer-head' }, h('h2', { tabindex: '-1' }, title), h('div', { class: 'row end' }, actions,
        iconButton('close', 'Close details', { onclick: () => handle.close() }))),
      h('div', { class: 'drawer-body stack' }, typeof body === 'function' ? body() : body)]);
  });
  const onKey = (event) => {
    if (event.key !== 'Escape' || event.defaultPrevented || document.querySelector('dialog:modal')) return;
    event.preventDefault();
    handle.close();
  };
  const handle = {
    element: box,
    close(isReplaced = false) {
      if (current !== handle) return;
      current = null;
      removeEventListener('keydown', onKey);
      end();
      box.hidden = true;
      box.replaceChildren();
      document.documentElement.classList.remove('has-drawer');
      if (!isReplaced) (opener && opener.isConnected ? opener
        : document.getElementById('title')).focus({ preventScroll: true });
      onClose();
    },
  };
  current = handle;
  addEventListener('keydown', onKey);
  box.hidden = false;
  box.style.setProperty('--drawer', `${width.peek()}px`);
  document.documentElement.classList.add('has-drawer');
  box.querySelector('h2').focus({ preventScroll: true });
  return handle;
}

function grip(box) {
  const set = (px) => {
    width.set(Math.round(Math.min(Math.max(320, px), Math.min(1200, innerWidth * 0.7))));
    box.style.setProperty('--drawer', `${width.peek()}px`);
  };
  return h('div', { class: 'grip', role: 'separator', tabindex: '0', 'aria-orientation': 'vertical',
    'aria-label': 'Width of the details',
    'aria-valuemin': '320', 'aria-valuemax': '1200', 'aria-valuenow': () => String(width()),
    onkeydown: (event) => {
      const step = { ArrowLeft: 32, ArrowRight: -32 }[event.key];
      if (step) set(width.peek() + step);
    },
    ondblclick: () => set(480),
    onpointerdown: (event) => event.currentTarget.setPointerCapture(event.pointerId),
    onpointermove: (event) => { if (event.currentTarget.hasPointerCapture(event.pointerId)) set(innerWidth - event.clientX); } });
}
