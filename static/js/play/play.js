// The playground: one tab per kind of model. Nothing is sent by opening any of it.
import { href } from '../core/router.js';
import { onCleanup, scope, signal } from '../core/signal.js';
import { inlineError, skeleton } from '../ui/parts.js';
import { tabs } from '../ui/tabs.js';

const TABS = [
	['chat', 'Chat', () => import('./chat.js')], ['compare', 'Compare', () => import('./compare.js')],
	['images', 'Images', () => import('./images.js')], ['speech', 'Speech', () => import('./speech.js')],
	['transcribe', 'Transcribe', () => import('./transcribe.js')], ['rerank', 'Rerank', () => import('./rerank.js')],
	['embed', 'Embed', () => import('./embed.js')], ['load', 'Load test', () => import('./load.js')],
];

export const key = (to) => to.tab;

export function mount(ctx) {
	const [name, label, load] = TABS.find(([id]) => id === ctx.route.peek().tab);
	ctx.title(name === 'chat' ? 'Playground' : `Playground: ${label}`);
	const shown = signal(skeleton(4));
	let end = () => {};
	onCleanup(() => end());
	load().then((module) => {
		if (ctx.signal.aborted) return;
		const [body, over] = scope(() => module.panel(ctx));
		end = over;
		shown.set(body);
	}).catch((error) => shown.set(inlineError(error, () => location.reload())));
	const view = tabs('Kinds of models', TABS.map(([id, text]) => ({ id, label: text, href: href('play', id) })),
		() => name, shown);
	// On a small screen the strip of tabs scrolls.
	requestAnimationFrame(() => view.querySelector('[aria-selected=true]')?.scrollIntoView({ block: 'nearest' }));
	return view;
}
