// The left column of a tab: beside the work where there is room, folded above it where there is not.
import { h, newId } from '../core/dom.js';
import { signal } from '../core/signal.js';
import { button } from '../ui/parts.js';

export function side(label, ...children) {
	const isOpen = signal(false);
	const id = newId('side');
	return h('div', { class: 'play-side' }, button(label, { class: 'only-narrow fold', 'aria-controls': id,
		'aria-expanded': () => String(isOpen()), onclick: () => isOpen.update((is) => !is) }),
	h('div', { id, class: () => `stack card side-body${isOpen() ? ' open' : ''}` }, children));
}
