// Tables: headers that sort by one button each, columns that can be hidden and moved without a mouse, rows that keep
// their element while they live. One row is a tab stop; j and k or the arrows move it, Enter opens it.
import { each, h, icon } from '../core/dom.js';
import { shortcut } from '../core/keys.js';
import { setting } from '../core/persist.js';
import { computed, signal } from '../core/signal.js';
import { openDialog } from './dialog.js';
import { button, iconButton } from './parts.js';

/**
 * columns: [{key, label, cell: item => child, sort, align: 'end', hidden, title, always}] (item is a signal)
 * rows: () => array; key: row => id; sort: () => ({key, dir: 'asc' | 'desc'}); onSort({key, dir});
 * rowProps: item => props; onOpen(row, element); selected: () => id; empty: child.
 * Returns an element with `.columnMenu`, the button that opens the choice of columns.
 */
export function table({ name, label, columns, rows, key, sort = () => null, onSort = null, rowProps = () => ({}),
  onOpen = null, selected = () => null, empty = null }) {
  const layout = setting(`cols.${name}`, null, (value) => value === null || (Array.isArray(value.order)
    && Array.isArray(value.hidden)));
  const ordered = computed(() => inOrder(columns, layout()));
  const shown = computed(() => ordered().filter((column) => isShown(column, layout())));
  const current = signal(null);               // the id of the row that is the tab stop
  const body = h('tbody', { onkeydown: (event) => onKey(event) });
  const ids = computed(() => rows().map(key));
  const stop = () => (ids().includes(current()) ? current() : ids()[0]);
  const cells = (item) => () => shown().map((column) => h('td', { class: column.align === 'end' ? 'to-end num' : '' },
    column.cell(item)));
  each(body, rows, key, (item) => {
    const id = key(item.peek());
    const open = (event) => {
      if (onOpen && !event.target.closest('a, button, input, select, label, summary')
        && !getSelection().toString()) onOpen(item.peek(), event.currentTarget);
    };
    return h('tr', { tabindex: () => (stop() === id ? '0' : '-1'), 'data-key': String(id),
      onfocus: () => current.set(id), onclick: open,
      'aria-selected': () => (selected() === null ? null : String(selected() === id)), ...rowProps(item) },
        cells(item));
  });
  const element = h('div', { class: 'table-box', role: 'region', 'aria-label': label, tabindex: () => (ids().length
    ? null : '0') },
    h('table', { class: 'table' }, h('caption', { class: 'vh' }, label),
      h('thead', null, h('tr', null, () => shown().map((column) => header(column, sort, onSort)))), body),
    () => !rows().length && empty);
  const move = (by) => {
    const all = [...body.children];
    const at = all.findIndex((row) => row.contains(document.activeElement));
    const next = all[at < 0 ? (by > 0 ? 0 : all.length - 1) : Math.min(all.length - 1, Math.max(0, at + by))];
    if (!next) return false;
    next.focus();
    next.scrollIntoView({ block: 'nearest' });
    return true;
  };
  shortcut('j', 'Next row', () => move(1));
  shortcut('k', 'Previous row', () => move(-1));
  element.columnMenu = button('Columns', { icon: 'columns', kind: 'plain', onclick: () => openColumns(label, columns,
    layout, ordered) });
  element.focusRow = (id) => {
    const row = [...body.children].find((each) => each.dataset.key === String(id));
    if (row) row.focus();
    return Boolean(row);
  };
  return element;

  function onKey(event) {
    if (event.target.localName !== 'tr') return;
    const by = { ArrowDown: 1, ArrowUp: -1, Home: -Infinity, End: Infinity }[event.key];
    if (by) {
      event.preventDefault();
      move(by);
    } else if (event.key === 'Enter' && onOpen) {
      const row = rows().find((each) => String(key(each)) === event.target.dataset.key);
      if (row) onOpen(row, event.target);
    }
  }
}

function header(column, sort, onSort) {
  const dir = () => (sort() && sort().key === column.key ? sort().dir : null);
  const props = { scope: 'col', class: column.align === 'end' ? 'to-end' : '', title: column.title,
    'aria-sort': () => (dir() ? { asc: 'ascending', desc: 'descending' }[dir()] : null) };
  if (!column.sort || !onSort) return h('th', props, column.label);
  // Most columns are numbers, of which the largest are looked for: those begin with descending.
  const next = () => (dir() ? { asc: 'desc', desc: 'asc' }[dir()] : column.align === 'end' ? 'desc' : 'asc');
  return h('th', props, h('button', { type: 'button', onclick: () => onSort({ key: column.key, dir: next() }) },
    column.label,
    () => dir() && icon(dir() === 'asc' ? 'sort-up' : 'sort-down')));
}

function inOrder(columns, layout) {
  const order = layout ? layout.order : [];
  const place = (column) => {
    const at = order.indexOf(column.key);
    return at < 0 ? 1000 + columns.indexOf(column) : at;      // a column that is newer than the layout goes to the end
  };
  return [...columns].sort((a, b) => place(a) - place(b));
}

function isShown(column, layout) {
  if (column.always) return true;
  return layout && layout.order.includes(column.key) ? !layout.hidden.includes(column.key) : !column.hidden;
}

function openColumns(label, columns, layout, ordered) {
  const save = (list, hidden) => layout.set({ order: list.map((column) => column.key), hidden });
  const hiddenNow = () => columns.filter((column) => !isShown(column, layout.peek())).map((column) => column.key);
  const toggle = (column) => {
    const hidden = hiddenNow();
    save(ordered.peek(), hidden.includes(column.key) ? hidden.filter((key) => key !== column.key) : [...hidden,
      column.key]);
  };
  const shift = (column, by, event) => {
    const list = [...ordered.peek()];
    const at = list.indexOf(column);
    if (!list[at + by]) return;
    [list[at], list[at + by]] = [list[at + by], list[at]];
    save(list, hiddenNow());
    const pressed = event.currentTarget;
    // At an end the pressed button is off: its neighbour keeps the focus in the row.
    requestAnimationFrame(() => (pressed.disabled ? pressed.parentElement.querySelector('button:enabled')
      : pressed).focus());
  };
  openDialog({
    title: `Columns of ${label}`,
    body: () => {
      const list = h('ul', { class: 'columns-list' });
      each(list, ordered, (column) => column.key, (item) => {
        const column = item.peek();
        return h('li', { class: 'row' }, h('label', null, h('input', { type: 'checkbox',
          disabled: Boolean(column.always),
          checked: () => isShown(column, layout()), onchange: () => toggle(column) }), column.label),
        iconButton('up', `Move ${column.label} up`, { disabled: () => ordered()[0] === column,
          onclick: (event) => shift(column, -1, event) }),
        iconButton('down', `Move ${column.label} down`, { disabled: () => ordered()[ordered().length - 1] === column,
          onclick: (event) => shift(column, 1, event) }));
      });
      return [list, button('Back to the default', { onclick: () => layout.set(null) })];
    },
  });
}
