// The details beside the page: one at a time, resizable, Esc closes it and the focus goes back.
import { append, h } from '../core/dom.js';
import { setting } from '../core/persist.js';
import { effect, scope } from '../core/signal.js';
import { iconButton } from './parts.js';

const USUAL = 480;
const [LEAST, MOST] = [320, 1200];
const width = setting('drawerWidth', USUAL, (value) => value >= LEAST && value <= MOST);
let current = null;

/** title: text or function; body: a node or a function making it in the drawer's scope. */
export function openDrawer({ title, body, actions = [], onClose }) {
	current?.close(true);
	const box = document.getElementById('drawer');
	const opener = document.activeElement;
	const onKey = (event) => {
		if (event.key !== 'Escape' || event.defaultPrevented
			|| document.querySelector('dialog:modal, [popover=auto]:popover-open')) return;
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
			if (!isReplaced) (opener?.isConnected ? opener : document.getElementById('title')).focus({ preventScroll: true });
			onClose?.();
		},
	};
	const [, end] = scope(() => {
		effect(() => box.style.setProperty('--drawer', `${width()}px`));
		append(box, [grip(),
			h('div', { class: 'drawer-head' }, h('h2', { tabindex: '-1' }, title), h('div', { class: 'row end' }, actions,
				iconButton('close', 'Close details', { onclick: () => handle.close() }))),
			h('div', { class: 'drawer-body stack' }, typeof body === 'function' ? body() : body)]);
	});
	current = handle;
	addEventListener('keydown', onKey);
	box.hidden = false;
	box.querySelector('h2').focus({ preventScroll: true });
	return handle;
}

function grip() {
	const set = (px) => width.set(Math.round(Math.max(LEAST, Math.min(px, MOST, innerWidth * 0.7))));
	return h('div', { class: 'grip', role: 'separator', tabindex: '0', 'aria-orientation': 'vertical',
		'aria-label': 'Width of the details', 'aria-valuemin': LEAST, 'aria-valuemax': MOST, 'aria-valuenow': width,
		onkeydown: ({ key }) => set(width.peek() + ({ ArrowLeft: 32, ArrowRight: -32 }[key] || 0)),
		ondblclick: () => set(USUAL),
		onpointerdown: ({ currentTarget, pointerId }) => currentTarget.setPointerCapture(pointerId),
		onpointermove: ({ currentTarget, pointerId, clientX }) => {
			if (currentTarget.hasPointerCapture(pointerId)) set(innerWidth - clientX);
		} });
}
