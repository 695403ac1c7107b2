// A picker with search. Esc leaves it as it was.
import { each, h, icon, newId } from '../core/dom.js';
import { computed, effect, signal } from '../core/signal.js';
import { place } from './parts.js';

/** (text) => whether all the words typed occur in it. */
export function matcher(typed) {
	const words = typed.toLowerCase().split(/\s+/);
	return (text) => words.every((word) => text.toLowerCase().includes(word));
}

/** A list below a field that keeps the focus: {list, at, field: props of the field}.
 *  options: () => [{value, label, hint, before: () => node}] */
export function choices({ label, options, onTake, ...props }) {
	const id = newId('choices');
	const at = signal(0);
	const chosen = () => options()[at()];
	const idOf = ({ value }) => `${id}-${encodeURIComponent(value)}`;
	const list = each(h('ul', { ...props, role: 'listbox', id, 'aria-label': label }), options, ({ value }) => value,
		(option) => h('li', { role: 'option', id: idOf(option.peek()),
			'aria-selected': () => String(chosen() === option()),
			onpointerdown: (event) => event.preventDefault(),       // the focus stays in the field
			onclick: () => onTake(option.peek()) }, () => option().before?.(),
		h('span', { class: 'grow clip' }, () => option().label),
		h('span', { class: 'muted small' }, () => option().hint)));
	effect(() => { if (chosen()) document.getElementById(idOf(chosen()))?.scrollIntoView({ block: 'nearest' }); });
	const onkeydown = (event) => {
		const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
		const count = options().length;
		if (by && count) at.update((now) => (now + by + count) % count);
		else if (event.key === 'Enter' && !event.isComposing && chosen()) onTake(chosen());
		else return;
		event.preventDefault();
	};
	return { list, at, field: { role: 'combobox', autocomplete: 'off', spellcheck: 'false', 'aria-label': label,
		'aria-autocomplete': 'list', 'aria-controls': id, 'aria-activedescendant': () => chosen() && idOf(chosen()),
		onkeydown } };
}

/** options: () => [{value, label, hint, words, before}]; value: () => value; onchange(value). */
export function combobox({ label, options, value, onchange, placeholder }) {
	const text = signal('');
	const isOpen = signal(false);
	const found = computed(() => {
		const fits = matcher(text());
		const isFound = ({ label: name, value: id, words, hint }) => fits(`${name} ${id} ${words} ${hint}`);
		return isOpen() ? options().filter(isFound).slice(0, 200) : [];
	});
	const { list, at, field } = choices({ label, options: found, class: 'options menu', popover: 'manual',
		onTake: (option) => {
			onchange(option.value);
			close();
		} });
	const input = h('input', { ...field, placeholder, 'aria-expanded': () => String(isOpen()),
		onclick: () => open(''), onblur: close,
		oninput: () => {
			open(input.value);
			text.set(input.value);
			at.set(0);
		},
		onkeydown: (event) => {
			if (!isOpen.peek() && event.key.startsWith('Arrow')) open('');
			else if (isOpen.peek() && event.key === 'Escape') {
				event.preventDefault();
				close();
			} else field.onkeydown(event);
		} });
	effect(() => { if (!isOpen()) input.value = options().find((option) => option.value === value())?.label || ''; });
	return h('div', { class: 'combobox' }, input, icon('down'), list);

	function open(typed) {
		if (isOpen.peek()) return;
		text.set(typed);
		isOpen.set(true);
		if (!typed) input.select();
		at.set(Math.max(0, found().findIndex((option) => option.value === value())));
		list.style.minWidth = `${input.offsetWidth}px`;
		list.showPopover();
		requestAnimationFrame(() => place(list, input, 0));
	}

	function close() {
		isOpen.set(false);
		list.hidePopover();
	}
}
