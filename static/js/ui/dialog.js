// Modal dialogs on the native element.
import { at, h, newId } from '../core/dom.js';
import { scope } from '../core/signal.js';
import { button, iconButton } from './parts.js';

/** body: a function is called in the dialog's own scope. onClose gets what close was given, undefined for Esc. */
export function openDialog({ title, body, actions, wide, onClose }) {
	const opener = document.activeElement;
	const id = newId('dialog');
	let value;
	const close = (result) => {
		value = result;
		element.close();
	};
	const [element, end] = scope(() => h('dialog', { class: wide && 'wide', 'aria-labelledby': id,
		onclick: ({ target }) => { if (target === element) close(); },
		onclose: () => {
			end();
			element.remove();
			// The browser gives the focus back to the opener, unless that is gone.
			if (!opener?.isConnected) at('title').focus({ preventScroll: true });
			onClose?.(value);
		} },
	h('div', { class: 'dialog-head' }, h('h2', { id }, title),
		iconButton('close', 'Close', { onclick: () => close() })),
	h('div', { class: 'dialog-body stack' }, typeof body === 'function' ? body() : body,
		actions && h('div', { class: 'row end' }, actions))));
	document.body.append(element);
	element.showModal();
	return { close };
}

/** Resolves to true for `yes`; `no` has the focus. */
export const ask = ({ title, body, yes, no = 'Cancel', danger }) => new Promise((resolve) => {
	const { close } = openDialog({ title, body: typeof body === 'string' ? h('p', null, body) : body, onClose: resolve,
		actions: [button(no, { autofocus: true, onclick: () => close() }),
			button(yes, { kind: danger ? 'danger' : 'primary', onclick: () => close(true) })] });
});
