// A picker with search: type to narrow, arrows to choose, Enter to take, Esc to leave it as it was.
import { each, h, icon, newId } from '../core/dom.js';
import { computed, effect, signal } from '../core/signal.js';
import { place } from './tooltip.js';

/** options: () => [{value, label, hint, group, disabled, words, before: () => node}]; value: () => value; onchange(value). */
export function combobox({ label, options, value, onchange, placeholder = 'Choose', id = newId('combo') }) {
  const text = signal('');
  const isOpen = signal(false);
  const at = signal(0);
  const found = computed(() => {
    const words = text().toLowerCase().split(/\s+/).filter(Boolean);
    return options().filter((each) => words.every((word) => `${each.label} ${each.value} ${each.words
      || ''} ${each.hint || ''}`.toLowerCase().includes(word)));
  });
  const chosen = computed(() => options().find((each) => each.value === value()) || null);
  const optionId = (option) => `${id}-${encodeURIComponent(option.value)}`;
  const listId = `${id}-list`;
  const input = h('input', { id, type: 'text', role: 'combobox', autocomplete: 'off', spellcheck: 'false',
    'aria-label': label, placeholder,
    'aria-expanded': () => String(isOpen()), 'aria-controls': listId, 'aria-autocomplete': 'list',
    'aria-activedescendant': () => (isOpen() && found()[at()] ? optionId(found()[at()]) : null),
    onclick: () => open(), oninput: () => { text.set(input.value); at.set(0); open(false); }, onkeydown: onKey,
      onblur: () => close() });
  const list = h('ul', { class: 'options menu', role: 'listbox', id: listId, 'aria-label': label, popover: 'manual' });
  each(list, computed(() => (isOpen() ? found().slice(0, 200) : [])), (option) => option.value, (option) => h('li', {
    role: 'option', id: optionId(option.peek()), 'aria-selected': () => String(found()[at()] === option()),
      'aria-disabled': () => (option().disabled ? 'true' : null),
    onpointerdown: (event) => event.preventDefault(),       // the focus stays in the field
    onclick: () => take(option.peek()) }, () => option().before && option().before(),
  h('span', { class: 'grow clip' }, () => option().label), h('span', { class: 'muted small' }, () => option().hint
    || option().group || '')));
  effect(() => { if (!isOpen()) input.value = chosen() ? chosen().label : ''; });
  return h('div', { class: 'combobox' }, input, icon('down'), list);

  function open(isFresh = true) {
    if (isOpen.peek()) return;
    if (isFresh) {
      text.set('');
      at.set(Math.max(0, found().indexOf(chosen())));
      input.select();
    }
    isOpen.set(true);
    list.style.minWidth = `${input.offsetWidth}px`;
    list.showPopover();
    requestAnimationFrame(() => place(list, input, { align: 'start' }));
  }

  function close() {
    if (!isOpen.peek()) return;
    isOpen.set(false);
    if (list.matches(':popover-open')) list.hidePopover();
  }

  function take(option) {
    if (!option || option.disabled) return;
    onchange(option.value);
    close();
  }

  function onKey(event) {
    const count = found().length;
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (by) {
      event.preventDefault();
      if (!isOpen.peek()) open();
      else if (count) at.set((at.peek() + by + count) % count);
      document.getElementById(found()[at.peek()] ? optionId(found()[at.peek()])
        : '')?.scrollIntoView({ block: 'nearest' });
    } else if (event.key === 'Enter' && isOpen.peek() && !event.isComposing) {
      event.preventDefault();
      take(found()[at.peek()]);
    } else if (event.key === 'Escape' && isOpen.peek()) {
      event.preventDefault();
      event.stopPropagation();
      close();
    }
  }
}
