// Short messages about what the user just did. Errors stay until dismissed.
import { h, icon } from '../core/dom.js';
import { announce } from '../core/live.js';
export { announce } from '../core/live.js';

const STAY_MS = 5000;
const MAX_SHOWN = 4;
const ICONS = { error: 'failed', ok: 'check', info: 'info' };

export function toast(text, { kind = 'info', action = null, detail = '' } = {}) {
	const box = document.getElementById('toasts');
	let timer = null;
	const close = () => {
		clearTimeout(timer);
		element.remove();
		if (!box.children.length) box.hidePopover();
	};
	const wait = () => { if (kind !== 'error') timer = setTimeout(close, STAY_MS); };
	const press = (props, label, run) => h('button', { type: 'button', ...props, onclick: () => {
		close();
		if (run) run();
	} }, label);
	const element = h('div', { class: `toast ${kind}`, onpointerenter: () => clearTimeout(timer), onpointerleave: wait },
		icon(ICONS[kind]), h('div', { class: 'grow' }, text, detail && h('div', { class: 'muted small' }, detail)),
		action && press({}, action.label, action.run), press({ 'aria-label': 'Dismiss' }, icon('close')));
	box.append(element);
	while (box.children.length > MAX_SHOWN) box.firstChild.remove();
	// Shown anew each time: a dialog that opened since would cover it.
	box.hidePopover();
	box.showPopover();
	announce(text, { urgent: kind === 'error' });
	wait();
	return close;
}

/** What is known of an ApiError besides its message. */
export const detailOf = ({ status, id }) =>
	[status && `status ${status}`, id && `request ${id}`].filter(Boolean).join(', ');

export function toastError(error, what = '') {
	if (error.name === 'AbortError') return;
	toast(what ? `${what}: ${error.message}` : error.message, { kind: 'error', detail: detailOf(error) });
}

export const askFirst = async (question) => (await import('./dialog.js')).ask(question);
