// A button that opens a menu: arrows, Home and End move, Esc closes, the focus returns to the button.
import { h, icon } from '../core/dom.js';
import { arrowKeys } from '../core/keys.js';
import { onCleanup, scope } from '../core/signal.js';
import { button, iconButton } from './parts.js';
import { place } from './tooltip.js';

/** items: () => [{label, run?, href?, checked?, disabled?, danger?, hint?} | '-'], asked each time it opens. */
export function menuButton(label, items, { icon: name = 'down', compact = false, ...props } = {}) {
	const common = { ...props, 'aria-haspopup': 'menu', 'aria-expanded': 'false',
		onclick: () => toggleMenu(opener, items),
		onkeydown: (event) => {
			if (event.key !== 'ArrowDown') return;
			event.preventDefault();
			toggleMenu(opener, items);
		} };
	const opener = compact ? iconButton(name, label, common) : button(label, { ...common, icon: name });
	onCleanup(() => opener.popoverTargetElement?.hidePopover());
	return opener;
}

export function toggleMenu(opener, items) {
	// A press while it is open: the browser knows whose popover it is, and closes it.
	if (opener.popoverTargetElement) return;
	const [box, end] = scope(() => {
		const element = h('div', { class: 'menu', role: 'menu', popover: 'auto',
			'aria-label': opener.getAttribute('aria-label') || opener.textContent,
			onkeydown: arrowKeys(() => [...element.querySelectorAll('[role^=menuitem]')]) },
		items().filter(Boolean).map((item) => (item === '-' ? h('div', { role: 'separator' }) : row(item, () => element))));
		return element;
	});
	box.addEventListener('toggle', ({ newState }) => {
		opener.setAttribute('aria-expanded', String(newState === 'open'));
		if (newState === 'open') return;
		end();
		box.remove();
		opener.popoverTargetElement = null;
	});
	box.addEventListener('keydown', ({ key }) => { if (key === 'Tab') box.hidePopover(); });
	// After the press that brought us here, of which the browser would make a second one.
	setTimeout(() => {
		(opener.closest('dialog') || document.body).append(box);
		opener.popoverTargetElement = box;
		box.showPopover();
		place(box, opener, { align: 'end' });
		box.querySelector('[role^=menuitem]')?.focus();
	});
}

function row({ label, hint, href, run, checked, disabled, danger }, menu) {
	const isCheck = checked !== undefined;
	return h(href ? 'a' : 'button', {
		href, type: href ? null : 'button', role: isCheck ? 'menuitemcheckbox' : 'menuitem', tabindex: '-1',
		class: danger ? 'danger' : '', 'aria-checked': isCheck ? String(Boolean(checked)) : null,
		'aria-disabled': disabled ? 'true' : null,
		onclick: () => {
			if (disabled) return;
			menu().hidePopover();            // first: what runs may open a dialog, which must find the opener to return to
			if (run) run();
		},
	}, isCheck && h('span', { class: 'mark' }, checked && icon('check')), h('span', { class: 'grow' }, label),
	hint && h('span', { class: 'muted small' }, hint));
}
