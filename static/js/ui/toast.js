// Short messages. Errors stay until dismissed.
import { at, h, icon } from '../core/dom.js';
import { announce } from '../core/live.js';
export { announce } from '../core/live.js';

const STAY_MS = 8000;
const MOST = 4;
const ICONS = { error: 'failed', ok: 'check', info: 'info' };

export function toast(text, { kind = 'info', action, detail } = {}) {
	const box = at('toasts');
	const press = (label, run, props) => h('button', { type: 'button', ...props, onclick: () => {
		element.remove();
		run?.();
	} }, label);
	const element = h('div', { class: `toast ${kind}` }, icon(ICONS[kind]), message(text, detail),
		action && press(action.label, action.run), press(icon('close'), null, { 'aria-label': 'Dismiss' }));
	box.append(element);
	if (box.children.length > MOST) box.firstChild.remove();
	// Shown anew each time: a dialog that opened since would cover it.
	box.hidePopover();
	box.showPopover();
	announce(text, { urgent: kind === 'error' });
	if (kind !== 'error') setTimeout(() => element.remove(), STAY_MS);
}

export const message = (text, detail) => h('div', { class: 'grow' }, text,
	detail && h('div', { class: 'muted small' }, detail));

/** What is known of an ApiError besides its message. */
export const detailOf = ({ status, id }) =>
	[status && `status ${status}`, id && `request ${id}`].filter(Boolean).join(', ');

export function toastError(error, what) {
	if (error.name === 'AbortError') return;
	toast(what ? `${what}: ${error.message}` : error.message, { kind: 'error', detail: detailOf(error) });
}

export const askFirst = async (question) => (await import('./dialog.js')).ask(question);
