// Tabs whose choice is the address.
import { h, inStack, newId } from '../core/dom.js';
import { arrowKeys } from '../core/keys.js';

/** list: [{id, label, href}]; current: () => id; panel: () => content. */
export function tabs(label, list, current, panel) {
	const id = newId('tab');
	const tab = (each) => h('a', { role: 'tab', id: `${id}-${each.id}`, href: each.href, 'aria-controls': id,
		'aria-selected': () => String(current() === each.id), tabindex: () => (current() === each.id ? '0' : '-1') },
	each.label);
	const move = arrowKeys(() => [...strip.children], { vertical: false });
	const strip = h('div', { class: 'tabs', role: 'tablist', 'aria-label': label, onkeydown: (event) => {
		move(event);
		if (event.key !== ' ') return;
		event.preventDefault();
		event.target.click();
	} }, list.map(tab));
	return inStack(strip,
		h('div', { role: 'tabpanel', id, 'aria-labelledby': () => `${id}-${current()}` }, panel));
}
