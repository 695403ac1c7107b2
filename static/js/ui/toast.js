// Short messages about what the user just did. Errors stay until dismissed.
import { h, icon } from '../core/dom.js';
import { announce } from '../core/live.js';
export { announce } from '../core/live.js';

const STAY_MS = 5000;
const MAX_SHOWN = 4;

export function toast(text, { kind = 'info', action = null, detail = '' } = {}) {
  const box = document.getElementById('toasts');
  if (!box) return () => {};
  let timer = null;
  const close = () => {
    clearTimeout(timer);
    element.remove();
    if (!box.children.length && box.matches(':popover-open')) box.hidePopover();
  };
  const element = h('div', { class: `toast ${kind}` },
    icon({ error: 'failed', ok: 'check', info: 'info' }[kind]),
    h('div', { class: 'grow' }, text, detail && h('div', { class: 'muted small' }, detail)),
    action && h('button', { type: 'button', class: 'quiet', onclick: () => { close(); action.run(); } }, action.label),
    h('button', { type: 'button', class: 'quiet icon-only', 'aria-label': 'Dismiss', onclick: close }, icon('close')));
  box.append(element);
  while (box.children.length > MAX_SHOWN) box.firstChild.remove();
  // Shown anew each time: a dialog that opened since would cover it.
  if (box.matches(':popover-open')) box.hidePopover();
  box.showPopover();
  announce(text, { urgent: kind === 'error' });
  if (kind !== 'error') wait();
  element.addEventListener('pointerenter', () => clearTimeout(timer));
  element.addEventListener('pointerleave', () => { if (kind !== 'error') wait(); });
  return close;

  function wait() {
    timer = setTimeout(close, STAY_MS);
  }
}

/** The server's message first, then status and request id. An abort is what the user wanted and says nothing. */
export function toastError(error, what = '') {
  if (!error || error.name === 'AbortError') return;
  const detail = [error.status ? `status ${error.status}` : '', error.id ? `request ${error.id}`
    : ''].filter(Boolean).join(', ');
  toast(what ? `${what}: ${error.message}` : error.message, { kind: 'error', detail });
}

/** ask() of dialog.js, loaded when there is something to ask. */
export const askFirst = async (question) => (await import('./dialog.js')).ask(question);
