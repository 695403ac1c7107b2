// A button that opens a menu: arrows, Home, End and first letters move, Esc closes, the focus returns to the button.
import { h, icon, newId } from '../core/dom.js';
import { arrowKeys } from '../core/keys.js';
import { onCleanup, scope } from '../core/signal.js';
import { button, iconButton } from './parts.js';
import { place } from './tooltip.js';
export { tooltip } from './tooltip.js';

/** items: () => [{label, run?, href?, checked?, disabled?, danger?, hint?} | '-'], asked each time it opens. */
export function menuButton(label, items, { icon: name = 'down', compact = false, align = 'end', ...props } = {}) {
  const common = { ...props, 'aria-haspopup': 'menu', 'aria-expanded': 'false', onclick: () => toggleMenu(opener,
    items, align) };
  const opener = compact ? iconButton(name, label, common) : button(label, { ...common, icon: name });
  opener.addEventListener('keydown', (event) => {
    if (event.key !== 'ArrowDown' || openMenus.has(opener)) return;
    event.preventDefault();
    toggleMenu(opener, items, align);
  });
  onCleanup(() => openMenus.has(opener) && openMenus.get(opener)());
  return opener;
}

const openMenus = new Map();      // opener → how to close its menu

/** For a button that loads this module only when it is pressed. */
export function toggleMenu(opener, items, align = 'end') {
  if (openMenus.has(opener)) {
    openMenus.get(opener)();
    return;
  }
  const id = newId('menu');
  const [box, end] = scope(() => build(id, opener, items(), () => close()));
  (opener.closest('dialog') || document.body).append(box);
  box.showPopover();
  place(box, opener, { align });
  opener.setAttribute('aria-expanded', 'true');
  opener.setAttribute('aria-controls', id);
  const onOutside = (event) => { if (!box.contains(event.target) && !opener.contains(event.target)) close(); };
  addEventListener('pointerdown', onOutside, true);
  const close = () => {
    if (!openMenus.delete(opener)) return;
    removeEventListener('pointerdown', onOutside, true);
    opener.setAttribute('aria-expanded', 'false');
    opener.removeAttribute('aria-controls');
    const hadFocus = box.contains(document.activeElement) || document.activeElement === document.body;
    end();
    box.remove();
    if (hadFocus && opener.isConnected) opener.focus();
  };
  openMenus.set(opener, close);
  box.addEventListener('keydown', (event) => {
    if (event.key === 'Tab') close();
    if (event.key !== 'Escape') return;
    event.stopPropagation();      // closes this layer, not the dialog or drawer below
    event.preventDefault();
    close();
  });
  const first = box.querySelector('[role^=menuitem]');
  if (first) first.focus();
}

function build(id, opener, items, close) {
  const rows = () => [...box.querySelectorAll('[role^=menuitem]')];
  const box = h('div', { id, class: 'menu', role: 'menu', popover: 'manual',
    'aria-label': opener.getAttribute('aria-label') || opener.textContent,
    onkeydown: arrowKeys(rows) }, items.filter(Boolean).map((item) => (item === '-' ? h('div', { role: 'separator' })
      : row(item, close))));
  box.addEventListener('keydown', (event) => {
    if (event.key.length !== 1 || event.ctrlKey || event.metaKey) return;
    const all = rows();
    const from = all.indexOf(document.activeElement) + 1;
    const found = [...all.slice(from), ...all.slice(0, from)].find((each) =>
      each.textContent.trim().toLowerCase().startsWith(event.key.toLowerCase()));
    if (found) found.focus();
  });
  return box;
}

function row(item, close) {
  const isCheck = item.checked !== undefined;
  const props = {
    role: isCheck ? 'menuitemcheckbox' : 'menuitem', tabindex: '-1', class: item.danger ? 'danger' : '',
    'aria-checked': isCheck ? String(Boolean(item.checked)) : null, 'aria-disabled': item.disabled ? 'true' : null,
    onclick: (event) => {
      if (item.disabled) {
        event.preventDefault();
        return;
      }
      close();            // first: what runs may open a dialog, which must find the opener to return to
      if (item.run) item.run();
    },
  };
  const content = [isCheck ? h('span', { class: 'mark' }, item.checked ? icon('check') : null) : null,
    h('span', { class: 'grow' }, item.label),
    item.hint && h('span', { class: 'muted small' }, item.hint)];
  return item.href ? h('a', { ...props, href: item.href }, content) : h('button', { type: 'button', ...props },
    content);
}
