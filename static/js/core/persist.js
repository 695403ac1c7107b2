// What this browser remembers: one JSON text under one key, small enough to be read before every paint.
import { signal, watch } from './signal.js';

export const STORAGE_KEY = 'lsw';
export const MAX_CHARS = 8000;
const SCHEMA = 1;
const known = new Map();
let saved = load();
/** False when the browser refuses to store: settings then last as long as the page. */
export const isKept = signal(true);

/**
 * A signal that is remembered. `check` says whether a stored value (another version's, or edited by hand) is usable.
 * setting('theme', 'system', v => ['system', 'light', 'dark'].includes(v))
 */
export function setting(name, fallback, check = (value) => typeof value === typeof fallback) {
  if (known.has(name)) return known.get(name).value;
  const read = () => (name in saved && check(saved[name]) ? saved[name] : fallback);
  const value = signal(read());
  known.set(name, { value, read, fallback });
  let isFirst = true;
  watch(() => {
    const now = value();
    if (!isFirst) store(name, now === fallback ? undefined : now);
    isFirst = false;
  });
  return value;
}

/** Settings as one object, for export and for the sizes shown to the user. */
export const allSettings = () => ({ ...saved });

export function replaceSettings(next) {
  saved = { ...next, schema: SCHEMA };
  write();
  for (const each of known.values()) each.value.set(each.read());
}

/** Forgets the settings whose name begins with one of the prefixes. */
export function forgetSettings(...prefixes) {
  replaceSettings(Object.fromEntries(Object.entries(saved).filter(([name]) => !prefixes.some((p) =>
    name.startsWith(p)))));
}

function store(name, value) {
  if (value === undefined) delete saved[name];
  else saved[name] = value;
  write();
}

function write() {
  const text = JSON.stringify({ ...saved, schema: SCHEMA });
  try {
    // Column layouts of many tables could add up; what is not kept is still in force until the page goes.
    if (text.length > MAX_CHARS) throw new RangeError('too much to remember');
    localStorage.setItem(STORAGE_KEY, text);
    isKept.set(true);
  } catch {
    isKept.set(false);
  }
}

function load() {
  try {
    const found = JSON.parse(localStorage.getItem(STORAGE_KEY) || '{}');
    return found && typeof found === 'object' && !Array.isArray(found) ? found : {};
  } catch {
    return {};
  }
}

// Another tab changed something.
addEventListener('storage', (event) => {
  if (event.key !== STORAGE_KEY) return;
  saved = load();
  for (const each of known.values()) each.value.set(each.read());
});
