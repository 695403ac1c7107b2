// What the user chose about look and behaviour, and where the document shows it.
import { setting } from '../core/persist.js';
import { signal, watch } from '../core/signal.js';

const oneOf = (...values) => (value) => values.includes(value);

export const theme = setting('theme', 'system', oneOf('system', 'light', 'dark'));
export const density = setting('density', 'default', oneOf('dense', 'default', 'comfortable'));
export const fontSize = setting('fontSize', 'normal', oneOf('small', 'normal', 'large', 'larger'));
export const motion = setting('motion', 'system', oneOf('system', 'reduced'));
export const instanceName = setting('instanceName', '', (value) => typeof value === 'string' && value.length <= 64);
export const pricePerKwh = setting('pricePerKwh', null, (value) => value === null || (value >= 0 && value < 1000));
export const currency = setting('currency', '', (value) => typeof value === 'string' && value.length <= 4);
export const railIsNarrow = setting('railNarrow', false);
export const pins = setting('pins', [], (value) => Array.isArray(value) && value.every((id) => typeof id === 'string'));

export function togglePin(id) {
  pins.update((all) => (all.includes(id) ? all.filter((each) => each !== id) : [...all, id]));
}

/** 'light' or 'dark': what is in force. */
export const shownTheme = signal('light');

/** The same attributes as boot.js sets before the first paint, kept up with the choice and with the system. */
export function startLook() {
  const root = document.documentElement;
  const system = matchMedia('(prefers-color-scheme: dark)');
  const prefersDark = signal(system.matches);
  system.addEventListener('change', () => prefersDark.set(system.matches));
  watch(() => shownTheme.set(theme() === 'system' ? (prefersDark() ? 'dark' : 'light') : theme()));
  for (const [name, value] of [['theme', shownTheme], ['density', density], ['fontsize', fontSize],
    ['motion', motion]]) {
    watch(() => root.setAttribute(`data-${name}`, value()));
  }
}
