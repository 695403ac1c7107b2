// One tab per kind of model. Nothing is sent by opening any of it.
import { href } from '../core/router.js';
import { tabs } from '../ui/tabs.js';
import { panel as chat } from './chat.js';
import { compare, load } from './measure.js';
import { embed, images, rerank, speech, transcribe } from './once.js';

const TABS = [['chat', 'Chat', chat], ['compare', 'Compare', compare], ['images', 'Images', images],
	['speech', 'Speech', speech], ['transcribe', 'Transcribe', transcribe], ['rerank', 'Rerank', rerank],
	['embed', 'Embed', embed], ['load', 'Load test', load]];

export const key = (to) => to.tab;

export function mount(ctx) {
	const [name, label, panel] = TABS.find(([id]) => id === ctx.route.peek().tab);
	ctx.title(name === 'chat' ? 'Playground' : `Playground: ${label}`);
	const view = tabs('Kinds of models', TABS.map(([id, text]) => ({ id, label: text, href: href('play', id) })),
		() => name, panel(ctx));
	// On a small screen the strip of tabs scrolls.
	requestAnimationFrame(() => view.querySelector('[aria-selected=true]').scrollIntoView({ block: 'nearest' }));
	return view;
}
