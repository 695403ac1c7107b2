// One model: what it is and does, its requests, its logs, its configuration. The tab is in the address.
import { h } from '../core/dom.js';
import { bytes, clock, duration, num, serverNow, short, since, timeElement } from '../core/format.js';
import { api, apiUrl } from '../core/net.js';
import { href, route } from '../core/router.js';
import { computed, untracked } from '../core/signal.js';
import { displayName, faceOf, modelById, models, stateOf } from '../state/models.js';
import { findTarget } from '../state/modelview.js';
import { asked, meanSpeed, recentRows, spansOf, sum } from '../ui/asked.js';
import { lineChart } from '../ui/chart.js';
import { modelMenu } from '../ui/modelmenu.js';
import { happening, idleText, modelAction, modelLink, onceLoaded, stateBadge } from '../ui/modelparts.js';
import { card, codeBlock, copyButton, emptyState, facts, linkButton } from '../ui/parts.js';
import { tabs } from '../ui/tabs.js';
import { idButton, tagsOf } from './models.js';

const DAY = 86400;
const STEP = 1800;
const TABS = { overview: ['Overview', overviewTab], requests: ['Requests', requestsTab], logs: ['Logs', logsTab],
	config: ['Configuration', configTab] };

export const key = (to) => to.id;

export function mount(ctx) {
	const { id } = ctx.route.peek();
	let last = null;
	// Parts that are about to go may ask once more after the model is gone from the configuration.
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
	const list = Object.entries(TABS).filter(([tab]) => !peer || tab !== 'logs')
		.map(([tab, [label]]) => ({ id: tab, label, href: href('models', id, tab) }));
	const tab = () => route().tab || 'overview';
	return h('div', { class: 'stack model-page', 'data-model': id, 'data-state': () => stateOf(model()) },
		h('div', { class: 'row' }, stateBadge(() => faceOf(model())), modelAction(model), modelMenu(model), idButton(id),
			() => tagsOf(model())),
		() => model().aliases.length > 0 && h('p', { class: 'muted wrap' }, 'Also called ', model().aliases.join(', ')),
		() => model().description && h('p', { class: 'wrap' }, model().description),
		happening(model, { open: true }),
		tabs(`About ${displayName(model.peek())}`, list, tab, () => {
			const [, show] = TABS[tab()];
			return untracked(() => show(model));
		}));
}

function overviewTab(model) {
	const { id, peer } = model.peek();
	return h('div', { class: 'cols-2' }, !peer && h('div', { class: 'stack' },
		card('Now', {}, facts(Object.entries(NOW).map(([term, text]) => [term, () => text(model())]))), plan(id)), lastDay(id));
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
	Process: (one) => (one.pid ? `pid ${one.pid}` : ifLoaded(one)),
	Address: (one) => one.proxy || 'unknown',
};

/** What loading it now would mean for the others: asked again when any of them changes its state. */
function plan(id) {
	const states = computed(() => models().map((each) => `${each.id} ${each.state} ${each.leaving} ${each.in_flight > 0}`)
		.join());
	const list = (label, ids) => ids.length > 0 && h('p', { class: 'row' }, label, ids.map((other) => modelLink(other)));
	return card('A request now', {}, asked((abort) => api('api/plan', { query: { model: id }, signal: abort }), states)
		.view(({ action, reason, evict, waits_for: others }) => h('div', { class: 'stack', 'data-plan': action },
			h('p', null, `${action}: ${reason}`), list('It would unload', evict), list('It would wait for', others))));
}

function lastDay(id) {
	const { rows, more, complaint } = recentRows({ model: id, from: Math.floor(serverNow() - DAY) });
	const total = (of) => () => (rows() ? num(sum(rows().map(of))) + more() : 'unknown');
	const speeds = () => {
		const spans = spansOf(rows() || [], STEP, DAY / STEP);
		return { x: spans.map(({ at }) => at + STEP / 2), y: spans.map(({ items }) => meanSpeed(items)) };
	};
	return card('Last 24 hours', { class: 'last-day' }, complaint, facts([
		['Requests', h('a', { href: href('requests', { model: id, since: '1d' }) }, total(() => 1))],
		['Failed', total((row) => row.resp_status_code >= 400)],
		['Tokens read', total((row) => row.tokens?.input_tokens)],
		['Tokens written', total((row) => row.tokens?.output_tokens)],
	]), lineChart({ label: 'Generation speed', format: (rate) => `${short(rate)} t/s`, series: () => [speeds()] }));
}

/** Content that comes with a module of its own, and where there is more of it. */
const lazy = (label, target, load, show) => h('div', { class: 'stack' },
	h('p', null, h('a', { href: target }, label)), asked(load).view(show));

function requestsTab(model) {
	const { id } = model.peek();
	return lazy('Search among these requests', href('requests', { model: id }), () => import('../ui/requesttable.js'),
		(ui) => ui.requestsTable({ model: id }));
}

function logsTab(model) {
	const { id } = model.peek();
	return lazy('Beside other logs', href('logs', { src: id }), () => import('./logs.js')
		.then((logs) => logs.styledPane()), (logPane) => logPane({ source: id }));
}

/** What the configuration says after macros and defaults, with secrets masked by the server. */
function configTab(model) {
	const { id, peer, proxy } = model.peek();
	if (peer) return card('Address', {}, proxy, ' (the rest is in the configuration of that peer)');
	// A start may follow a new configuration.
	const start = computed(() => model().generation);
	return h('div', { class: 'stack' },
		asked((abort) => api(apiUrl('api', 'models', id), { signal: abort }), start).view(configuration));
}

function configuration(one) {
	const code = (label, value) => value && [h('h3', null, label), codeBlock(value, { label })];
	const seconds = (value) => (value ? duration(value * 1000) : 'never');
	const { filters, metadata } = one;
	return [
		card('Command', { actions: copyButton(JSON.stringify(one, null, 2), 'Copy all as JSON') },
			h('div', { class: 'stack' }, code('Start', one.cmd || 'none'), code('Stop', one.cmd_stop))),
		card('Settings', {}, facts([
			['Environment (names only)', one.env.join(', ') || 'nothing is added'],
			['Address', one.proxy], ['Health check', one.check_endpoint || 'none'],
			['Gives up a start after', seconds(one.health_check_timeout)], ['Unloads when idle for', seconds(one.ttl)],
			['Is killed when stopping takes', seconds(one.unload_timeout)],
			['Requests at once', one.concurrency || 'any number'], ['Group', one.group || 'none'],
			['Name sent to it', one.use_model_name || 'the one asked for'],
		]), code('Filters and metadata', JSON.stringify({ filters, metadata }, null, 2))),
	];
}
