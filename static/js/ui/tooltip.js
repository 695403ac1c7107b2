// The name of a picture button, on hover and on focus; Esc takes it away (WCAG 1.4.13). One element serves all.
import { h } from '../core/dom.js';

const DELAY_MS = 350;
let box = null;
let timer = null;

export function tooltip(element, text) {
  const read = typeof text === 'function' ? text : () => text;
  const show = () => {
    clearTimeout(timer);
    timer = setTimeout(() => open(element, read()), DELAY_MS);
  };
  element.addEventListener('pointerenter', (event) => { if (event.pointerType !== 'touch') show(); });
  element.addEventListener('focus', () => { if (element.matches(':focus-visible')) show(); });
  for (const type of ['pointerleave', 'blur', 'click']) element.addEventListener(type, close);
  element.addEventListener('keydown', (event) => { if (event.key === 'Escape') close(); });
}

function open(element, text) {
  if (!element.isConnected || !text) return;
  // The name is already read out as the button's label: this is for the eyes.
  box = box || document.body.appendChild(h('div', { class: 'tooltip', 'aria-hidden': 'true', popover: 'manual' }));
  box.textContent = text;
  box.showPopover();
  place(box, element);
}

function close() {
  clearTimeout(timer);
  if (box && box.matches(':popover-open')) box.hidePopover();
}

/** Puts a fixed box under `anchor`, or above where there is no room, inside the window. */
export function place(floating, anchor, { gap = 4, align = 'center' } = {}) {
  const from = anchor.getBoundingClientRect();
  const { width, height } = floating.getBoundingClientRect();
  const wanted = { start: from.left, end: from.right - width, center: from.left + (from.width - width) / 2 }[align];
  const isAbove = from.bottom + gap + height > innerHeight && from.top - gap - height > 0;
  floating.style.left = `${Math.max(4, Math.min(wanted, innerWidth - width - 4))}px`;
  floating.style.top = `${isAbove ? from.top - gap - height : from.bottom + gap}px`;
}
