// Tables whose columns can be hidden and moved by keyboard. One row is a tab stop: j, k or arrows move it, Enter opens.
import { each, h, icon } from '../core/dom.js';
import { shortcut } from '../core/keys.js';
import { setting } from '../core/persist.js';
import { computed, signal } from '../core/signal.js';
import { openDialog } from './dialog.js';
import { button, iconButton } from './parts.js';

const DIRECTIONS = { asc: 'ascending', desc: 'descending' };

/**
 * columns: [{key, label, cell: item => child, sort, align: 'end', hidden, title, always}] (item is a signal)
 * rows: () => array; key: row => id; sort: () => ({key, dir: 'asc' | 'desc'}); onSort({key, dir});
 * rowProps: item => props; onOpen(row); selected: () => id; empty: child.
 * Returns an element with `.columnMenu`, the button that opens the choice of columns, and `.focusRow(id)`.
 */
export function table({ name, label, columns, rows, key, sort, onSort, rowProps, onOpen, selected, empty }) {
	const { shown, menu } = layoutOf(name, label, columns);
	const current = signal(null);               // the id of the row that is the tab stop
	const ids = computed(() => rows().map(key));
	const stop = () => (ids().includes(current()) ? current() : ids()[0]);
	const all = () => [...body.children];
	const move = (by) => {
		const at = all().findIndex((row) => row.contains(document.activeElement));
		const last = all().length - 1;
		const next = all()[at < 0 ? (by > 0 ? 0 : last) : Math.max(0, Math.min(last, at + by))];
		if (!next) return false;
		next.focus();
		next.scrollIntoView({ block: 'nearest' });
		return true;
	};
	const body = each(h('tbody'), rows, key, (item) => {
		const id = key(item.peek());
		return h('tr', { tabindex: () => (stop() === id ? '0' : '-1'), 'data-key': id, onfocus: () => current.set(id),
			onclick: ({ target }) => {
				if (!target.closest('a, button, input, select, label, summary') && !String(getSelection())) onOpen(item.peek());
			},
			onkeydown: (event) => {
				if (event.target !== event.currentTarget) return;
				const by = { ArrowDown: 1, ArrowUp: -1, Home: -Infinity, End: Infinity }[event.key];
				if (by) {
					event.preventDefault();
					move(by);
				} else if (event.key === 'Enter') onOpen(item.peek());
			},
			'aria-selected': () => selected() !== null && String(selected() === id), ...rowProps(item) },
		() => shown().map((column) => h('td', { class: column.align === 'end' ? 'to-end num' : '' }, column.cell(item))));
	});
	shortcut('j', 'Next row', () => move(1));
	shortcut('k', 'Previous row', () => move(-1));
	const element = h('div', { class: 'table-box', role: 'region', 'aria-label': label,
		tabindex: () => (ids().length ? null : '0') },
	h('table', { class: 'table' }, h('caption', { class: 'vh' }, label),
		h('thead', null, h('tr', null, () => shown().map((column) => header(column, sort, onSort)))), body),
	() => !rows().length && empty);
	return Object.assign(element, { columnMenu: menu, focusRow(id) {
		const row = all().find((each) => each.dataset.key === String(id));
		row?.focus();
		return Boolean(row);
	} });
}

function header({ key, label, align, title, sort: isSortable }, sort, onSort) {
	const dir = () => (sort()?.key === key ? sort().dir : null);
	// Most columns are numbers, of which the largest are looked for: those begin with descending.
	const next = () => (dir() ? { asc: 'desc', desc: 'asc' }[dir()] : align === 'end' ? 'desc' : 'asc');
	return h('th', { scope: 'col', class: align === 'end' ? 'to-end' : '', title, 'aria-sort': () => DIRECTIONS[dir()] },
		isSortable ? h('button', { type: 'button', onclick: () => onSort({ key, dir: next() }) }, label,
			() => dir() && icon(dir() === 'asc' ? 'sort-up' : 'sort-down')) : label);
}

function layoutOf(name, label, columns) {
	const layout = setting(`cols.${name}`, null, (value) => value === null || (Array.isArray(value.order)
		&& Array.isArray(value.hidden)));
	const place = (column) => {
		const at = layout() ? layout().order.indexOf(column.key) : -1;
		return at < 0 ? 1000 + columns.indexOf(column) : at;      // a column that is newer than the layout goes to the end
	};
	const ordered = computed(() => [...columns].sort((a, b) => place(a) - place(b)));
	const isShown = ({ key, always, hidden }) => always
		|| (layout()?.order.includes(key) ? !layout().hidden.includes(key) : !hidden);
	const save = (list, isVisible) => layout.set({ order: list.map(({ key }) => key),
		hidden: list.filter((column) => !isVisible(column)).map(({ key }) => key) });
	const toggle = (column) => save(ordered.peek(), (each) => isShown(each) !== (each === column));
	const shift = (column, by, { currentTarget }) => {
		const list = ordered.peek().filter((each) => each !== column);
		list.splice(ordered.peek().indexOf(column) + by, 0, column);
		save(list, isShown);
		// At an end the pressed button is off: its neighbour keeps the focus in the row.
		requestAnimationFrame(() => (currentTarget.disabled ? currentTarget.parentElement.querySelector('button:enabled')
			: currentTarget).focus());
	};
	const mover = (column, name, by, isEnd) => iconButton(name, `Move ${column.label} ${name}`, { disabled: isEnd,
		onclick: (event) => shift(column, by, event) });
	const line = (item) => {
		const column = item.peek();
		return h('li', { class: 'row' }, h('label', null, h('input', { type: 'checkbox', disabled: Boolean(column.always),
			checked: () => isShown(column), onchange: () => toggle(column) }), column.label),
		mover(column, 'up', -1, () => ordered()[0] === column),
		mover(column, 'down', 1, () => ordered().at(-1) === column));
	};
	const menu = button('Columns', { icon: 'columns', onclick: () => openDialog({ title: `Columns of ${label}`,
		body: () => [each(h('ul', { class: 'columns-list' }), ordered, ({ key }) => key, line),
			button('Back to the default', { onclick: () => layout.set(null) })] }) });
	return { menu, shown: computed(() => ordered().filter(isShown)) };
}
