// One model, its requests, logs and configuration.
import { h, inRow, inStack } from '../core/dom.js';
import { bytes, clock, duration, num, serverNow, short, since, sum, timeElement } from '../core/format.js';
import { apiUrl, queryText } from '../core/net.js';
import { href, route } from '../core/router.js';
import { computed, untracked } from '../core/signal.js';
import { alike, displayName, faceOf, modelById, models, stateOf } from '../state/models.js';
import { findTarget } from '../state/modelview.js';
import { asked, meanSpeed, recentRows, spansOf } from '../ui/asked.js';
import { lineChart } from '../ui/chart.js';
import { happening, idleText, modelAction, modelLink, onceLoaded, stateBadge } from '../ui/modelparts.js';
import { card, codeBlock, emptyState, facts, linkButton } from '../ui/parts.js';
import { tabs } from '../ui/tabs.js';
import { alsoCalled, idButton, modelMenu, tagsOf } from './models.js';

const DAY = 86400;
const STEP = 1800;

export const key = (to) => to.id;

export function mount(ctx) {
	const { id } = ctx.route.peek();
	let last = null;
	// Parts about to go may ask once more after the model is gone.
	const model = computed(() => (last = modelById(id) || last));
	ctx.title(() => (model() ? displayName(model()) : id));
	return onceLoaded(() => modelById(id), () => page(model), () => missing(id));
}

function missing(id) {
	const meant = findTarget(models(), id);
	return emptyState({ icon: 'models', title: `There is no model ${id}`, text: meant ? 'It is another name of:' : '',
		actions: [meant && linkButton(displayName(meant), href('models', meant.id)),
			linkButton('All models', href('models'))] });
}

function page(model) {
	const { id, peer } = model.peek();
	const list = [
		['overview', 'Overview', () => overview(model)],
		['requests', 'Requests', () => asked(() => import('../ui/requesttable.js'))
			.view((ui) => ui.requestsTable({ model: id }))],
		!peer && ['logs', 'Logs', () => asked(() => import('./logs.js').then((logs) => logs.styledPane()))
			.view((pane) => pane({ source: id }))],
		['config', 'Configuration', () => config(model)],
	].filter(Boolean);
	const tab = () => route().tab || 'overview';
	return h('div', { class: 'stack', 'data-model': id, 'data-state': () => stateOf(model()) },
		inRow(stateBadge(() => faceOf(model())), modelAction(model), modelMenu(model), idButton(id), () => tagsOf(model())),
		() => alsoCalled(model()),
		() => model().description && h('p', null, model().description),
		happening(model, true),
		tabs(`About ${displayName(model.peek())}`, list.map(([name, label]) => ({ id: name, label,
			href: href('models', id, name) })), tab, () => untracked((list.find(([name]) => name === tab()) || list[0])[2])));
}

function overview(model) {
	const { id, peer } = model.peek();
	const now = Object.entries(NOW).map(([term, text]) => [term, () => text(model())]);
	return h('div', { class: 'cols-2' }, !peer && inStack(card('Now', {}, facts(now)), plan(id)),
		lastDay(id));
}

const ifLoaded = ({ state }) => (state === 'stopped' ? 'none' : 'unknown');
const NOW = {
	State: (one) => [faceOf(one).word, one.since && ` for ${clock(since(one.since))}`],
	Requests: (one) => `${one.in_flight} in flight, ${one.queued} waiting`,
	Idle: (one) => (one.state === 'ready' ? idleText(one) : 'not loaded'),
	'Last used': (one) => (one.last_used_at ? timeElement(one.last_used_at) : 'not since the server started'),
	'GPU memory': (one) => one.memory.gpus?.map(({ gpu, bytes: size }) => `GPU ${gpu}: ${bytes(size)}`).join(', ')
		|| ifLoaded(one),
	'Main memory': (one) => bytes(one.memory.rss_bytes, ifLoaded(one)),
	'Load times, newest last': (one) => one.load_ms.map((ms) => duration(ms)).join(', ') || 'none known yet',
	'Next load (est.)': (one) => duration(one.load_estimate_ms),
	Group: (one) => one.group || 'none',
	Process: (one) => (one.pid ? `pid ${one.pid} at ${one.proxy}` : ifLoaded(one)),
};

/** What loading it would mean for the others; asked anew when one changes its state. */
function plan(id) {
	const states = computed(() => models().map((one) => [one.id, one.state, one.leaving, one.in_flight > 0]), alike);
	const list = (label, ids) => ids.length > 0 && h('p', { class: 'row' }, label, ids.map((other) => modelLink(other)));
	return card('A request now', {}, asked(`api/plan${queryText({ model: id })}`, states)
		.view(({ action, reason, evict, waits_for: others }) => h('div', { class: 'stack', 'data-plan': action },
			h('p', null, `${action}: ${reason}`), list('It would unload', evict), list('It would wait for', others))));
}

function lastDay(id) {
	const { rows, more, complaint } = recentRows(() => serverNow() - DAY, id);
	const total = (of) => () => (rows() ? num(sum(rows().map(of))) + more() : 'unknown');
	const speeds = () => {
		const spans = spansOf(rows() || [], STEP, DAY / STEP);
		return { x: spans.map(({ at }) => at + STEP / 2), y: spans.map(({ items }) => meanSpeed(items)) };
	};
	return card('Last 24 hours', {}, inStack(complaint, facts([
		['Requests', total(() => 1)],
		['Tokens read', total((row) => row.tokens?.input_tokens)],
		['Tokens written', total((row) => row.tokens?.output_tokens)],
	]), lineChart({ label: 'Generation speed', format: (rate) => `${short(rate)} t/s`, series: () => [speeds()] })));
}

/** What the configuration says after macros and defaults, with secrets masked by the server. */
function config(model) {
	const { id, peer, proxy } = model.peek();
	if (peer) return card('Address', {}, proxy, ' (the rest is in the configuration of that peer)');
	// A start may follow a new configuration.
	return asked(apiUrl('api', 'models', id), computed(() => model().generation)).view(configuration);
}

function configuration(one) {
	const code = (label, value) => value && [h('h3', null, label), codeBlock(value, { label })];
	const seconds = (value) => (value ? duration(value * 1000) : 'never');
	return card('Configuration', {}, inStack(facts([
		['Environment (names only)', one.env.join(', ') || 'nothing is added'],
		['Health check', one.check_endpoint || 'none'], ['Unloads when idle for', seconds(one.ttl)],
		['Requests at once', one.concurrency || 'any number']]),
	code('Start', one.cmd), code('Stop', one.cmd_stop), code('Everything', JSON.stringify(one, null, 2))));
}
