// The name of a picture button, on hover and on focus; Esc takes it away (WCAG 1.4.13). One element serves all.
import { h } from '../core/dom.js';

const DELAY_MS = 350;
let box = null;
let timer = null;

export function tooltip(element, read) {
	const on = (type, run) => element.addEventListener(type, run);
	const show = () => {
		clearTimeout(timer);
		timer = setTimeout(open, DELAY_MS, element, read);
	};
	on('pointerenter', ({ pointerType }) => { if (pointerType !== 'touch') show(); });
	on('focus', () => { if (element.matches(':focus-visible')) show(); });
	for (const type of ['pointerleave', 'blur', 'click']) on(type, close);
	on('keydown', ({ key }) => { if (key === 'Escape') close(); });
}

function open(element, read) {
	if (!element.isConnected) return;
	// The name is already read out as the button's label: this is for the eyes.
	box ||= document.body.appendChild(h('div', { class: 'tooltip', 'aria-hidden': 'true', popover: 'manual' }));
	box.textContent = read();
	box.showPopover();
	place(box, element);
}

function close() {
	clearTimeout(timer);
	if (box) box.hidePopover();
}

/** Puts a fixed box under `anchor`, or above where there is no room, inside the window. */
export function place(floating, anchor, { align = 'center' } = {}) {
	const from = anchor.getBoundingClientRect();
	const { width, height } = floating.getBoundingClientRect();
	const wanted = { start: from.left, end: from.right - width, center: from.left + (from.width - width) / 2 }[align];
	const above = from.top - 4 - height;
	const top = from.bottom + 4 + height > innerHeight && above > 0 ? above : from.bottom + 4;
	Object.assign(floating.style, { left: `${Math.max(4, Math.min(wanted, innerWidth - width - 4))}px`,
		top: `${top}px` });
}
