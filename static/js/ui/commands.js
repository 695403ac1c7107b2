// What the current page adds to the palette; apart from it, so that a page need not load the palette.
import { onCleanup, signal } from '../core/signal.js';

/** Functions giving [{label, hint, run | href}]. */
export const commandSources = signal([]);

export function provideCommands(source) {
  commandSources.update((all) => [source, ...all]);
  onCleanup(() => commandSources.update((all) => all.filter((each) => each !== source)));
}
