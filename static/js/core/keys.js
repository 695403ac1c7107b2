// Keyboard shortcuts. Single keys are off while typing (WCAG 2.1.4).
import { setting } from './persist.js';
import { onCleanup, signal } from './signal.js';

export const singleKeys = setting('singleKeys', true);
export const shortcuts = signal([]);
const SEQUENCE_MS = 1200;
const FIELDS = 'input:not([type=checkbox], [type=radio]), textarea, select, [role=menu], [role=listbox]';
let first = '';
let firstAt = 0;

/** keys: 'x', 'g m' or 'mod+k' (Ctrl or Cmd); of two for the same the younger counts. Ends with the scope. */
export function shortcut(keys, label, run) {
	const entry = { keys, label, run };
	shortcuts.update((all) => [entry, ...all]);
	onCleanup(() => shortcuts.update((all) => all.filter((each) => each !== entry)));
}

export const startKeys = () => addEventListener('keydown', (event) => {
	if (event.defaultPrevented || event.isComposing || event.altKey) return;
	const isCommand = event.ctrlKey || event.metaKey;
	if (!isCommand && (!singleKeys.peek() || event.target.closest?.(FIELDS)
		|| document.querySelector('dialog:modal'))) return;
	const name = (isCommand ? 'mod+' : '') + (event.key.length === 1 ? event.key.toLowerCase() : event.key);
	const pair = !isCommand && event.timeStamp - firstAt < SEQUENCE_MS ? `${first} ${name}` : '';
	const find = (wanted) => shortcuts.peek().find(({ keys }) => keys === wanted);
	const found = find(pair) || find(name);
	[first, firstAt] = found ? ['', 0] : [name, event.timeStamp];
	// After false the key keeps its meaning in the browser.
	if (found && found.run(event) !== false) event.preventDefault();
});

/** A keydown listener for a row of items: arrows, Home and End. */
export function arrowKeys(items, { vertical = true } = {}) {
	const [back, on] = vertical ? ['ArrowUp', 'ArrowDown'] : ['ArrowLeft', 'ArrowRight'];
	return (event) => {
		const all = items();
		const at = all.indexOf(document.activeElement);
		const to = { [back]: at - 1, [on]: at + 1, Home: 0, End: -1 }[event.key];
		if (to === undefined || !all.length) return;
		event.preventDefault();
		all.at(to % all.length).focus();
	};
}
