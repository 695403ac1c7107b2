// What else can be done with a model, apart from its one button: the menu of rows and of the model's page.
import { h } from '../core/dom.js';
import { copyText } from '../core/clipboard.js';
import { BASE, apiKey, apiUrl } from '../core/net.js';
import { href } from '../core/router.js';
import { displayName, pins, togglePin } from '../state/models.js';
import { toggleMenu } from './menu.js';
import { toast } from './toast.js';

const COMFYUI = 'comfyui_auto';       // has a path of its own, under which its page finds its files

/** A light button: of two hundred rows few menus are ever opened. */
export function modelMenu(model) {
  return h('button', { type: 'button', class: 'btn quiet', 'aria-haspopup': 'menu', 'aria-expanded': 'false',
    'aria-label': () => `More for ${displayName(model())}`,
    onclick: ({ currentTarget }) => toggleMenu(currentTarget, () => items(model.peek())) }, 'More …');
}

function items(model) {
  const { id, kind, state } = model;
  const page = id === COMFYUI ? `${BASE}comfyui/` : `${apiUrl('upstream', id)}/`;
  const isLocal = kind !== 'peer';
  return [
    { label: 'Chat', href: href('play', 'chat', { model: id }) },
    isLocal && { label: 'Open its server', hint: state === 'ready' ? 'new tab' : 'loads it',
      run: () => open(page, '_blank', 'noopener') },
    { label: 'Requests', href: href('models', id, 'requests') },
    isLocal && { label: 'Logs', href: href('models', id, 'logs') },
    { label: 'Configuration', href: href('models', id, 'config') }, '-',
    { label: 'Copy id', run: () => copyId(id) }, { label: 'Copy curl', run: () => copy(curlFor(model), 'The command') },
    '-', { label: 'Pinned', checked: pins.peek().includes(id), run: () => togglePin(id) },
  ];
}

export const copyId = (id) => copy(id, 'The id');

async function copy(text, what) {
  const isDone = await copyText(text);
  toast(isDone ? `${what} is copied` : `${what} could not be copied`, { kind: isDone ? 'ok' : 'error' });
}

/** A command that asks this model something it can answer. */
export function curlFor({ id, capabilities }) {
  const makes = (what) => Boolean(capabilities && capabilities.out.includes(what)
    && !capabilities.out.includes('text'));
  const [path, rest] = capabilities && capabilities.reranker
    ? ['rerank', { query: 'greeting', documents: ['Hello!', 'The sky is blue.'] }]
    : makes('image') ? ['images/generations', { prompt: 'A lighthouse' }]
      : makes('audio') ? ['audio/speech', { input: 'Hello!', voice: 'default' }]
        : ['chat/completions', { messages: [{ role: 'user', content: 'Hello!' }] }];
  const quoted = `'${JSON.stringify({ model: id, ...rest }).replace(/'/g, "'\\''")}'`;
  return [`curl ${BASE}v1/${path}`, '-H "Content-Type: application/json"',
    apiKey.peek() && '-H "Authorization: Bearer $LLAMASWAP_KEY"', `-d ${quoted}`].filter(Boolean).join(' \\\n  ');
}
