// What else can be done with a model, apart from its one button: the menu of rows and of the model's page.
import { copyText } from '../core/clipboard.js';
import { h } from '../core/dom.js';
import { BASE, apiKey, apiUrl } from '../core/net.js';
import { href } from '../core/router.js';
import { displayName, pins, togglePin } from '../state/models.js';
import { toggleMenu } from './menu.js';
import { toast } from './toast.js';

/** A light button: of two hundred rows few menus are ever opened. */
export const modelMenu = (model) => h('button', { type: 'button', class: 'btn quiet', 'aria-haspopup': 'menu',
	'aria-expanded': 'false', 'aria-label': () => `More for ${displayName(model())}`,
	onclick: ({ currentTarget }) => toggleMenu(currentTarget, () => items(model.peek())) }, 'More …');

function items(model) {
	const { id, state } = model;
	// ComfyUI has a path of its own, under which its page finds its files.
	const page = id === 'comfyui_auto' ? `${BASE}comfyui/` : `${apiUrl('upstream', id)}/`;
	const isLocal = model.kind !== 'peer';
	const to = (label, tab) => ({ label, href: href('models', id, tab) });
	return [{ label: 'Chat', href: href('play', 'chat', { model: id }) },
		isLocal && { label: 'Open its server', hint: state === 'ready' ? 'new tab' : 'loads it',
			run: () => open(page, '_blank', 'noopener') },
		to('Requests', 'requests'), isLocal && to('Logs', 'logs'), to('Configuration', 'config'),
		{ label: 'Copy id', run: () => copyId(id) }, { label: 'Copy curl', run: () => copy(curlFor(model), 'The command') },
		{ label: 'Pinned', checked: pins.peek().includes(id), run: () => togglePin(id) }];
}

export const copyId = (id) => copy(id, 'The id');

async function copy(text, what) {
	const isDone = await copyText(text);
	toast(`${what} ${isDone ? 'is copied' : 'could not be copied'}`, { kind: isDone ? 'ok' : 'error' });
}

/** A command that asks this model something it can answer. */
export function curlFor({ id, capabilities }) {
	const makes = capabilities?.reranker ? 'ranks' : capabilities?.out.includes('text') ? 'text' : capabilities?.out[0];
	const [path, body] = {
		ranks: ['rerank', { query: 'greeting', documents: ['Hello!', 'The sky is blue.'] }],
		image: ['images/generations', { prompt: 'A lighthouse' }],
		audio: ['audio/speech', { input: 'Hello!', voice: 'default' }],
	}[makes] || ['chat/completions', { messages: [{ role: 'user', content: 'Hello!' }] }];
	const quoted = JSON.stringify({ model: id, ...body }).replace(/'/g, "'\\''");
	return [`curl ${BASE}v1/${path}`, '-H "Content-Type: application/json"',
		apiKey.peek() && '-H "Authorization: Bearer $LLAMASWAP_KEY"', `-d '${quoted}'`].filter(Boolean).join(' \\\n  ');
}
