// A button that opens a menu.
import { h, icon } from '../core/dom.js';
import { arrowKeys } from '../core/keys.js';
import { button, iconButton, place } from './parts.js';

/** items: () => [{label, run?, href?, checked?, disabled?, danger?, hint?}], asked each time it opens. */
export function menuButton(label, items, { icon: name = 'down', compact, ...props } = {}) {
	const all = { ...props, 'aria-haspopup': 'menu', onclick: ({ currentTarget }) => toggleMenu(currentTarget, items) };
	return compact ? iconButton(name, label, all) : button(label, { ...all, icon: name });
}

export function toggleMenu(opener, items) {
	// A press while it is open closes it: the browser sees to that.
	if (opener.popoverTargetElement) return;
	const move = arrowKeys(() => [...box.querySelectorAll('[tabindex]')]);
	const box = h('div', { class: 'menu', role: 'menu', popover: 'auto',
		'aria-label': opener.getAttribute('aria-label') || opener.textContent,
		ontoggle: ({ newState }) => { if (newState === 'closed') box.remove(); },
		onkeydown: (event) => {
			move(event);
			if (event.key === 'Tab') box.hidePopover();
		} }, items().filter(Boolean).map((item) => row(item, () => box.hidePopover())));
	addEventListener('hashchange', () => box.remove(), { once: true });
	// After this press, of which the browser would make a second one.
	setTimeout(() => {
		(opener.closest('dialog') || document.body).append(box);
		opener.popoverTargetElement = box;
		box.showPopover();
		place(box, opener, 1);
		box.querySelector('[tabindex]')?.focus();
	});
}

function row({ label, hint, href, run, checked, disabled, danger }, close) {
	const isCheck = checked !== undefined;
	return h(href ? 'a' : 'button', { href, role: isCheck ? 'menuitemcheckbox' : 'menuitem', tabindex: '-1',
		class: danger ? 'btn danger' : 'btn', 'aria-checked': isCheck && String(Boolean(checked)),
		'aria-disabled': disabled && 'true', onclick: () => {
			if (disabled) return;
			close();            // first: what runs may open a dialog, which must find the opener to return to
			run?.();
		} }, isCheck && icon('check'), h('span', { class: 'grow' }, label),
	hint && h('span', { class: 'muted small' }, hint));
}
