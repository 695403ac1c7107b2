import { setting } from '../core/persist.js';
import { signal, watch } from '../core/signal.js';

const choice = (name, first, ...others) => setting(name, first, (value) => [first, ...others].includes(value));
const text = (name, most) => setting(name, '', (value) => typeof value === 'string' && value.length <= most);

export const theme = choice('theme', 'system', 'light', 'dark');
export const density = choice('density', 'default', 'dense', 'comfortable');
export const fontSize = choice('fontSize', 'normal', 'small', 'large', 'larger');
export const motion = choice('motion', 'system', 'reduced');
export const instanceName = text('instanceName', 64);
export const pricePerKwh = setting('pricePerKwh', null, (value) => value === null || (value >= 0 && value < 1000));
export const currency = text('currency', 4);
export const railIsNarrow = setting('railNarrow', false);
export const pins = setting('pins', [], Array.isArray);

/** Keeps up the attributes that boot.js sets before the first paint. */
export function startLook() {
	const system = matchMedia('(prefers-color-scheme: dark)');
	const isDark = signal(system.matches);
	system.addEventListener('change', () => isDark.set(system.matches));
	watch(() => Object.assign(document.documentElement.dataset, {
		density: density(), fontsize: fontSize(), motion: motion(),
		theme: theme() === 'system' ? (isDark() ? 'dark' : 'light') : theme() }));
}
