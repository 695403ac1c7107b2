// What this browser remembers: one JSON text under one key.
import { signal, watch } from './signal.js';

export const STORAGE_KEY = 'lsw';
export const MAX_CHARS = 8000;
const SCHEMA = 1;
const known = new Map();
let saved = load();
/** False: settings last as long as the page. */
export const isKept = signal(true);

/** A signal that is remembered. `check` says whether a stored value (another version's, or edited) is usable. */
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
  readAll();
}

export const forgetSettings = (...prefixes) => replaceSettings(Object.fromEntries(Object.entries(saved)
  .filter(([name]) => !prefixes.some((prefix) => name.startsWith(prefix)))));

function readAll() {
  for (const { value, read } of known.values()) value.set(read());
}

function write() {
  const text = JSON.stringify({ ...saved, schema: SCHEMA });
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
  if (key !== STORAGE_KEY) return;
  saved = load();
  readAll();
});
