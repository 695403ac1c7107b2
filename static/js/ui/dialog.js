// Modal dialogs on the native element.
import { h, newId } from '../core/dom.js';
import { scope } from '../core/signal.js';
import { button, iconButton } from './parts.js';

/**
 * body: nodes or text, or a function making them in the dialog's own scope. Returns {close, element}.
 * onClose(value) gets what close(value) was given, undefined for Esc.
 */
export function openDialog({ title, body, actions = [], wide = false, onClose }) {
	const opener = document.activeElement;
	const id = newId('dialog');
	let value;
	const close = (result) => {
		value = result;
		element.close();
	};
	const [element, end] = scope(() => h('dialog', { class: wide ? 'wide' : '', 'aria-labelledby': id },
		h('div', { class: 'dialog-head' }, h('h2', { id }, title),
			iconButton('close', 'Close', { onclick: () => close() })),
		h('div', { class: 'dialog-body stack' }, typeof body === 'function' ? body(close) : body),
		actions.length > 0 && h('div', { class: 'dialog-foot row end' }, actions)));
	element.addEventListener('close', () => {
		end();
		element.remove();
		// The browser gives the focus back to the opener, unless that is gone.
		if (!opener?.isConnected) document.getElementById('title').focus({ preventScroll: true });
		onClose?.(value);
	});
	element.addEventListener('click', ({ target }) => { if (target === element) close(); });
	document.body.append(element);
	element.showModal();
	element.querySelector('[autofocus]')?.focus();
	return { close, element };
}

/** Resolves to true for `yes`; `no` has the focus. */
export const ask = ({ title, body = '', yes = 'OK', no = 'Cancel', danger = false }) => new Promise((resolve) => {
	const { close } = openDialog({ title, body: typeof body === 'string' ? h('p', null, body) : body,
		onClose: (value) => resolve(value === true), actions: [
			button(no, { autofocus: true, onclick: () => close(false) }),
			button(yes, { kind: danger ? 'danger' : 'primary', onclick: () => close(true) })] });
});
