// What this browser remembers: one JSON text.
import { signal, watch } from './signal.js';

const STORAGE_KEY = 'lsw';
const MAX_CHARS = 8000;
const known = new Map();
let saved = load();
export const isKept = signal(true);

/** A remembered signal. `check`: is a stored value usable? */
export function setting(name, fallback, check = (value) => typeof value === typeof fallback) {
	if (known.has(name)) return known.get(name).value;
	const read = () => (name in saved && check(saved[name]) ? saved[name] : fallback);
	const value = signal(read());
	known.set(name, { value, read });
	watch(() => {
		if (value() === read()) return;
		if (value() === fallback) delete saved[name];
		else saved[name] = value();
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

export function forgetSettings(name) {
	delete saved[name];
	replaceSettings(saved);
}

function write() {
	const text = JSON.stringify({ ...saved, schema: 1 });
	try {
		if (text.length < MAX_CHARS) localStorage.setItem(STORAGE_KEY, text);
		isKept.set(text.length < MAX_CHARS);
	} catch {
		isKept.set(false);
	}
}

function load() {
	try {
		const found = JSON.parse(localStorage.getItem(STORAGE_KEY));
		return found instanceof Object ? found : {};
	} catch {
		return {};
	}
}

addEventListener('storage', ({ key }) => {
	if (key === STORAGE_KEY) replaceSettings(load());
});
