// How a model looks wherever it appears, and what can be done with it.
import { every, h, icon, inRow } from '../core/dom.js';
import { hello } from '../core/feed.js';
import { bytes, clock, since, timeElement, until } from '../core/format.js';
import { api, apiUrl } from '../core/net.js';
import { href } from '../core/router.js';
import { computed, signal, untracked } from '../core/signal.js';
import { alike, dismissFailure, displayName, hasFailure, isLoaded, isOnGpu, memoryOf, modelById, models, profile } from
	'../state/models.js';
import { asked } from './asked.js';
import { button, codeBlock, emptyState, linkButton, skeleton } from './parts.js';
import { askFirst, toastError } from './toast.js';

const PHASES = { queued: ['queued', 'queued'], loading: ['starting', 'loading'], prompt: ['starting', 'prompt'],
	generating: ['ready', 'generating'] };
// What the button of a model says when something is asked of it, and else in each state.
const LABELS = { load: 'Cancel', cancel: 'Cancelling', unload: 'Unloading', starting: 'Cancel', stopping: 'Unloading',
	ready: 'Unload' };

const asks = signal(new Map());       // id → {what, model: as it was when it was asked}

/** '', 'load', 'cancel' or 'unload': asked of it, until the stream tells what came of that. */
function pendingOf(id) {
	const ask = asks().get(id);
	return ask && ask.model === modelById(id) ? ask.what : '';
}

/** what: 'load', 'cancel' or 'unload'; with the id '' it is of all models. */
export async function change(id, what) {
	if (pendingOf(id)) return;
	const note = (ask) => asks.update((all) => new Map(all).set(id, ask));
	note({ what, model: modelById(id) });
	try {
		await api(id ? apiUrl('api', 'models', what, id) : `api/models/${what}`, { method: 'POST' });
		if (!id) note(null);
	} catch (error) {
		note(null);
		toastError(error, `Could not ${what === 'cancel' ? 'cancel the load of' : what} ${id || 'the models'}`);
	}
}

const unload = async (id, title, body) => {
	if (await askFirst({ title, body, yes: 'Unload', no: 'Keep', danger: true })) change(id, 'unload');
};

export function unloadModel(model) {
	const { id, in_flight: busy } = model;
	if (!busy) change(id, 'unload');
	else unload(id, `Unload ${displayName(model)}?`, `${busy} ${busy === 1 ? 'request is' : 'requests are'} in flight`
		+ ' and will be cut off.');
}

export const unloadable = () => models().filter(({ state }) => state === 'ready' || state === 'starting');

export const unloadAll = () => unload('', 'Unload all models?', [h('p', null, 'These stop:'), h('ul', null,
	unloadable().map((model) => h('li', null, displayName(model), model.in_flight > 0
		&& ` (cuts off ${model.in_flight} in flight)`)))]);

/** '' or null for no profile. */
export async function selectProfile(name) {
	try {
		await api('api/profiles/active', { method: 'PUT', body: { name: name || null } });
	} catch (error) {
		profile.update((now) => ({ ...now }));        // so that the control goes back
		toastError(error, 'Could not switch the profile');
	}
}

function mark(kind, face, ...more) {
	const state = computed(() => face().state);
	return h('span', { class: () => `${kind} is-${state()}` }, () => icon(state()), more);
}
export const stateGlyph = (face) => mark('glyph', face);
export const stateBadge = (face) => mark('badge', face, () => face().word);

export const phaseBadge = (request) => stateBadge(() => {
	const { phase, position } = request();
	const [state, word] = PHASES[phase] || ['queued', phase || 'unknown'];
	return { state, word: phase === 'queued' && position ? `queued ${position}` : word };
});

/** As large as it must be to be hit. */
export const link = (target, text, props) => h('a', { class: 'clip', href: target,
	css: { 'line-height': '24px' }, ...props }, text);
export const modelLink = (id, text = id) => link(href('models', id), text, { title: id });

/** Load, Cancel or Unload, whatever can be done now. */
export function modelAction(model) {
	const { id, peer } = model.peek();
	const todo = computed(() => LABELS[pendingOf(id) || model().state] || (model().ordered ? 'Cancel'
		: hasFailure(model()) ? 'Retry' : 'Load'));
	const run = () => {
		if (todo() === 'Unload') unloadModel(model());
		else change(id, todo() === 'Cancel' ? 'cancel' : 'load');
	};
	return !peer && button(todo, { class: 'model-action', disabled: () => todo().endsWith('ing'),
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

/** A load under way, requests that wait for it, a failure that nobody dismissed. */
export function happening(model, isOpen = false) {
	const isStarting = computed(() => model().state === 'starting');
	const cause = computed(() => hasFailure(model()) && model().last_error, alike);
	return [() => isStarting() && progress(model),
		() => {
			const { state, queued, waiting_for: why } = model();
			return queued > 0 && ['stopped', 'stopping'].includes(state) && h('p', { class: 'muted small' },
				`Waiting: ${queued}${why && `, ${why}`}`);
		},
		() => cause() && failure(model.peek(), cause(), isOpen)];
}

function progress(model) {
	const estimate = () => model().load_estimate_ms;
	const elapsed = () => since(model().since);
	// Output is no change of state, so nobody tells.
	const { value, again } = asked(apiUrl('api', 'models', model.peek().id));
	every(1000, again);
	const line = () => value()?.last_line;
	return h('div', { class: 'load-progress' },
		inRow(h('span', { class: 'num' }, () => clock(elapsed()),
			() => estimate() && ` / ~${clock(estimate())} est.`),
		h('progress', { max: '1', value: () => (estimate() ? Math.min(0.98, elapsed() / estimate()) : null),
			'aria-label': () => `Loading ${displayName(model())}` })),
		h('div', { class: 'mono small clip muted', title: line }, line));
}

const failure = (model, { kind, message, at, tail }, open) => h('div', { class: 'failure stack' },
	inRow(stateGlyph(() => ({ state: 'failed' })), h('span', { class: 'grow' },
		h('strong', null, kind === 'exited' ? 'Failed while it was running' : 'Failed at start'), ', ', timeElement(at),
		`: ${message}`)),
	tail.length > 0 && h('details', { open }, h('summary', null, 'Last output'),
		codeBlock(tail.join('\n'), { label: `Last output of ${displayName(model)}` })),
	inRow(linkButton('Open logs', href('models', model.id, 'logs'), { icon: 'logs' }),
		button('Dismiss', { kind: 'quiet', onclick: () => dismissFailure(model) })));

/** A page about all models, or how to begin where there are none. */
export function modelsPage(ctx, title, page) {
	ctx.title(title);
	ctx.actions(button('Unload all', { disabled: () => !unloadable().length, onclick: unloadAll }));
	return onceLoaded(() => models().length > 0, page, welcome);
}

/** One of two contents, once the models are known; made anew only when that changes. */
export function onceLoaded(isThere, page, otherwise) {
	const show = computed(() => (isLoaded() ? (isThere() ? page : otherwise) : skeleton));
	return h('div', null, () => untracked(show()));
}

const welcome = () => emptyState({ icon: 'models', title: 'No models are configured yet' },
	h('p', null, 'They are written into ', h('code', null, () => hello()?.config_path || 'the file of -config'), ':'),
	codeBlock('models:\n  my-model:\n    cmd: llama-server --port ${PORT} -m /path/to/model.gguf', { label: 'Example' }),
	linkButton('System: configuration', href('system', 'config')));
