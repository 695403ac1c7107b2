// Modal dialogs on the native element: it keeps the focus inside, closes on Esc and gives the focus back.
import { h, newId } from '../core/dom.js';
import { scope } from '../core/signal.js';
import { button, iconButton } from './parts.js';

/**
 * body: nodes or text, or a function making them in the dialog's own scope. Returns {close, element}.
 * onClose(value) gets what close(value) was given, undefined for Esc.
 */
export function openDialog({ title, body, actions = [], wide = false, onClose = () => {} }) {
  const opener = document.activeElement;
  const id = newId('dialog');
  let value;
  const close = (result) => {
    value = result;
    element.close();
  };
  const [element, end] = scope(() => h('dialog', { class: wide ? 'wide' : '', 'aria-labelledby': id },
    h('div', { class: 'dialog-head' }, h('h2', { id }, title), iconButton('close', 'Close',
      { onclick: () => close() })),
    h('div', { class: 'dialog-body stack' }, typeof body === 'function' ? body(close) : body),
    actions.length ? h('div', { class: 'dialog-foot row end' }, actions) : null));
  element.addEventListener('close', () => {
    end();
    element.remove();
    // The browser gives focus back to the opener; one that is gone leaves it with the page's heading, never nowhere.
    if (opener && !opener.isConnected) document.getElementById('title').focus({ preventScroll: true });
    onClose(value);
  });
  element.addEventListener('click', (event) => { if (event.target === element) close(); });
  document.body.append(element);
  element.showModal();
  const first = element.querySelector('[autofocus]');
  if (first) first.focus();
  return { close, element };
}

/** A question with two answers; the one that changes nothing has the focus. Resolves to true for `yes`. */
export function ask({ title, body = '', yes = 'OK', no = 'Cancel', danger = false }) {
  return new Promise((resolve) => {
    const dialog = openDialog({
      title, body: typeof body === 'string' ? h('p', null, body) : body, onClose: (value) => resolve(value === true),
      actions: [button(no, { autofocus: true, onclick: () => dialog.close(false) }),
        button(yes, { kind: danger ? 'danger' : 'primary', onclick: () => dialog.close(true) })],
    });
  });
}
