// How a model looks wherever it appears: its state, its one button, its progress, its failure.
import { every, h, icon } from '../core/dom.js';
import { hello } from '../core/feed.js';
import { bytes, clock, since, timeElement, until } from '../core/format.js';
import { api, apiUrl } from '../core/net.js';
import { href } from '../core/router.js';
import { computed, untracked } from '../core/signal.js';
import { alike, dismissFailure, displayName, hasFailure, isLoaded, isOnGpu, memoryOf, models } from
	'../state/models.js';
import { change, pendingOf, unloadAll, unloadModel, unloadable } from './actions.js';
import { asked } from './asked.js';
import { button, codeBlock, emptyState, linkButton, skeleton } from './parts.js';

const GLYPHS = { starting: 'busy', stopping: 'busy' };
const PHASES = { queued: ['queued', 'queued'], loading: ['starting', 'loading'], prompt: ['starting', 'prompt'],
	generating: ['ready', 'generating'] };

function mark(kind, face, ...more) {
	const state = computed(() => face().state);
	return h('span', { class: () => `${kind} is-${state()}` }, () => icon(GLYPHS[state()] || state()), more);
}
export const stateGlyph = (face) => mark('glyph', face);
export const stateBadge = (face) => mark('badge', face, () => face().word);

export const phaseBadge = (request) => stateBadge(() => {
	const { phase, position } = request();
	const [state, word] = PHASES[phase] || ['queued', phase || 'unknown'];
	return { state, word: phase === 'queued' && position ? `queued ${position}` : word };
});

/** As high as it must be to be hit. */
export const link = (target, text, props) => h('a', { class: 'clip', href: target, css: { 'line-height': '24px' },
	...props }, text);
export const modelLink = (id, text = id) => link(href('models', id), text, { title: id });

/** Load, Cancel or Unload, whatever can be done now; it changes in the moment it is clicked. */
export function modelAction(model) {
	const todo = computed(() => {
		const { id, peer, state } = model();
		const pending = pendingOf(id);
		if (peer) return '';
		if (pending === 'cancel') return 'Cancelling';
		if (pending === 'unload' || state === 'stopping') return 'Unloading';
		if (pending === 'load' || state === 'starting') return 'Cancel';
		return state === 'ready' ? 'Unload' : hasFailure(model()) ? 'Retry' : 'Load';
	});
	const run = () => {
		const now = model.peek();
		if (todo.peek() === 'Unload') unloadModel(now);
		else change(now.id, todo.peek() === 'Cancel' ? 'cancel' : 'load');
	};
	return button(todo, { class: 'model-action', hidden: () => !todo(), disabled: () => todo().endsWith('ing'),
		'aria-label': () => `${todo()} ${displayName(model())}`, onclick: run });
}

/** What it costs and for how long, while it is ready. */
export const costs = (model, props) => [memoryText, idleText].map((text) => h('span', props,
	() => (model().state === 'ready' ? text(model()) : '')));

function memoryText(model) {
	const amount = memoryOf(model);
	return amount === null ? 'memory unknown' : `${bytes(amount)}${isOnGpu(model) ? '' : ' RAM'}`;
}

export function idleText({ in_flight: busy, ttl, unload_at: at }) {
	if (busy) return `${busy} in flight`;
	if (!ttl) return 'stays loaded';
	return at === null ? 'idle' : `idle, ${clock(until(at))} left`;
}

/** What happens to it right now: a load under way, requests that wait for it, a failure that nobody dismissed. */
export function happening(model, { open = false } = {}) {
	const isStarting = computed(() => model().state === 'starting');
	const cause = computed(() => hasFailure(model()) && model().last_error, alike);
	return [() => isStarting() && progress(model),
		() => {
			const { state, queued, waiting_for: why } = model();
			return queued > 0 && ['stopped', 'stopping'].includes(state) && h('p', { class: 'muted small' },
				`Requests waiting: ${queued}${why && `, ${why}`}`);
		},
		() => cause() && failure(model.peek(), cause(), open)];
}

/** How long, how long it took before, and the last thing the engine said. */
function progress(model) {
	const estimate = () => model().load_estimate_ms;
	const elapsed = () => since(model().since);
	// What it writes is no change of its state, so nobody tells; and this is not worth a log stream of its own.
	const { value, again } = asked((abort) => api(apiUrl('api', 'models', model.peek().id), { signal: abort }));
	every(1000, again);
	const line = () => value()?.last_line || model().last_line;
	return h('div', { class: 'load-progress' },
		h('div', { class: 'row' }, h('span', { class: 'num' }, () => clock(elapsed()),
			() => estimate() && ` / ~${clock(estimate())} est.`),
		h('progress', { max: '1', value: () => (estimate() ? Math.min(0.98, elapsed() / estimate()) : null),
			'aria-label': () => `Loading ${displayName(model())}` })),
		h('div', { class: 'mono small clip muted', title: line }, line));
}

const failure = (model, { kind, message, at, tail }, open) => h('div', { class: 'failure stack' },
	h('div', { class: 'row' }, icon('failed', 'Failed'), h('span', { class: 'grow' },
		h('strong', null, kind === 'exited' ? 'Failed while it was running' : 'Failed at start'), ', ', timeElement(at),
		`: ${message}`)),
	tail.length > 0 && h('details', { open }, h('summary', null, 'Last output'),
		codeBlock(tail.join('\n'), { label: `Last output of ${displayName(model)}` })),
	h('div', { class: 'row' }, linkButton('Open logs', href('models', model.id, 'logs'), { icon: 'logs' }),
		button('Dismiss', { kind: 'quiet', onclick: () => dismissFailure(model) })));

/** A page about all models: how to begin where there are none, and nothing said before that is known. */
export function modelsPage(ctx, title, page) {
	ctx.title(title);
	ctx.actions(button('Unload all', { disabled: () => !unloadable().length, onclick: unloadAll }));
	return onceLoaded(() => models().length > 0, page, welcome);
}

/** One of two contents, once the models are known; made anew when that changes and at no other time. */
export function onceLoaded(isThere, page, otherwise) {
	const show = computed(() => (isLoaded() ? (isThere() ? page : otherwise) : skeleton));
	return h('div', null, () => untracked(show()));
}

const welcome = () => emptyState({ icon: 'models', title: 'No models are configured yet' },
	h('p', null, () => (hello()?.config_path ? ['They are written into ', h('code', null, hello().config_path), ':']
		: 'The server was started without a configuration file: see -config. In one:')),
	codeBlock('models:\n  my-model:\n    cmd: llama-server --port ${PORT} -m /path/to/model.gguf', { label: 'Example' }),
	linkButton('System: configuration', href('system', 'config')));
