// What this browser remembers: one JSON text under one key.
import { signal, watch } from './signal.js';

const STORAGE_KEY = 'lsw';
const MAX_CHARS = 8000;
const known = new Map();
let saved = load();
/** False: settings last as long as the page. */
export const isKept = signal(true);

/** A signal that is remembered. `check`: is a stored value usable? */
export function setting(name, fallback, check = (value) => typeof value === typeof fallback) {
	if (known.has(name)) return known.get(name).value;
	const read = () => (name in saved && check(saved[name]) ? saved[name] : fallback);
	const value = signal(read());
	let last = value.peek();
	known.set(name, { value, read });
	watch(() => {
		if (value() === last) return;
		last = value();
		if (last === fallback) delete saved[name];
		else saved[name] = last;
		write();
	});
	return value;
}

export const allSettings = () => ({ ...saved });

export function replaceSettings(next) {
	saved = next;
	write();
	for (const { value, read } of known.values()) value.set(read());
}

export const forgetSettings = (...prefixes) => replaceSettings(Object.fromEntries(Object.entries(saved)
	.filter(([name]) => !prefixes.some((prefix) => name.startsWith(prefix)))));

function write() {
	const text = JSON.stringify({ ...saved, schema: 1 });
	try {
		if (text.length > MAX_CHARS) throw new RangeError('too much to remember');
		localStorage.setItem(STORAGE_KEY, text);
		isKept.set(true);
	} catch {
		isKept.set(false);
	}
}

function load() {
	try {
		const found = JSON.parse(localStorage.getItem(STORAGE_KEY));
		return found && typeof found === 'object' ? found : {};
	} catch {
		return {};
	}
}

// Another tab changed something.
addEventListener('storage', ({ key }) => {
	if (key === STORAGE_KEY) replaceSettings(load());
});
