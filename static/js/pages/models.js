// Models: search, groups and order; then routes.
import { copyText } from '../core/clipboard.js';
import { each, h, inRow, inStack } from '../core/dom.js';
import { ago, num, tick } from '../core/format.js';
import { shortcut } from '../core/keys.js';
import { announce } from '../core/live.js';
import { BASE, apiKey, apiUrl } from '../core/net.js';
import { href, route, setQuery } from '../core/router.js';
import { computed, effect } from '../core/signal.js';
import { alike, countBy, displayName, faceOf, modelById, models, pins, profile, stateOf } from '../state/models.js';
import { GROUPS, SORTS, STATES, arrange, capabilityTags, engineOf, findTarget, matches, nextTarget } from
	'../state/modelview.js';
import { asked, recentRows } from '../ui/asked.js';
import { menuButton } from '../ui/menu.js';
import { costs, happening, modelAction, modelLink, modelsPage, stateBadge } from '../ui/modelparts.js';
import { button, card, chip, emptyState, searchBox, select, tag } from '../ui/parts.js';
import { toast } from '../ui/toast.js';

const MAX_TAGS = 4;
const LONG = 90;        // characters of a description that may not fit into a line

export const mount = (ctx) => modelsPage(ctx, 'Models', page);

const query = (name) => route().query.get(name) || '';
const chosen = (name) => route().query.getAll(name);
const toggled = (list, item) => (list.includes(item) ? list.filter((each) => each !== item) : [...list, item]);

function page() {
	const words = computed(() => query('q').toLowerCase().split(/\s+/));
	const found = computed(() => models().filter((model) => matches(model, words())
		&& (query('unlisted') || !model.unlisted)));
	const shown = computed(() => new Set(found().filter((model) => !chosen('state').length
		|| chosen('state').includes(stateOf(model))).map((model) => model.id)));
	const today = recentRows(() => new Date().setHours(0, 0, 0, 0) / 1000);
	const counts = computed(() => countBy(today.rows() || [], (row) => row.model));
	const count = ({ id }) => counts()[id];
	const config = asked('api/config', computed(() => query('group') === 'engine' || null));
	const engine = ({ id, peer }) => (peer ? 'peer' : engineOf(config.value()?.config.models[id]?.argv || []));
	const groups = computed(() => arrange(models(), { group: query('group'), sort: query('sort'), pins: pins(),
		engine, count }));
	// All are there and most may be hidden: so a search costs nothing but that.
	const isShown = ({ id }) => shown().has(id);
	const row = (model) => modelRow(model, isShown, (one) => count(one) && `${count(one)}${today.more()} today`);
	const list = each(h('div', { class: () => `stack models ${query('compact') && 'compact'}` }), groups,
		(group) => group.name, (group) => section(group, isShown, row));

	const move = (by) => {
		const links = [...list.querySelectorAll('.model:not([hidden]) .model-name a')];
		const at = links.findIndex((link) => link.closest('.model').contains(document.activeElement));
		links[at < 0 ? 0 : at + by]?.focus();
	};
	shortcut('j', 'Next model', () => move(1));
	shortcut('k', 'Previous model', () => move(-1));
	const result = computed(() => `${shown().size} of ${models().length}`);
	effect(() => announce(`${result()} models`));
	return inStack(toolbar(found, result), config.complaint, list,
		() => !shown().size && emptyState({ icon: 'search', title: 'No model matches', actions: [button('Show all',
			{ onclick: () => setQuery({ q: null, state: null, unlisted: '1' }, { push: true }) })] }),
		routes());
}

function section(group, isShown, row) {
	const { name } = group.peek();
	const count = () => group().models.filter(isShown).length;
	return h('section', { class: 'stack', hidden: () => !count(), 'aria-label': name ? null : 'Models' },
		name && h('h2', null, `${name} `, h('span', { class: 'muted num' }, count)),
		each(h('ul', { class: 'plain-list card' }), () => group().models, (model) => model.id, row));
}

function toolbar(found, result) {
	const counts = computed(() => countBy(found(), stateOf), alike);
	const put = (name, value) => setQuery({ [name]: value }, { push: true });
	const toggle = (name, value, label, count) => chip(label, { count, pressed: () => chosen(name).includes(value),
		onclick: () => put(name, toggled(chosen(name), value)) });
	const choice = (label, options, name) => h('label', { class: 'row' }, label,
		select(options, { value: () => query(name), onchange: (value) => put(name, value) }));
	return inStack(
		inRow(
			searchBox({ label: 'Search models', shortcut: '/', value: () => query('q'), oninput: (q) => setQuery({ q }) }),
			choice('Group by', GROUPS, 'group'), choice('Sort by', SORTS, 'sort'),
			h('span', { class: 'muted num' }, result)),
		h('div', { class: 'row', role: 'group', 'aria-label': 'Which models' },
			STATES.map(([state, label]) => toggle('state', state, label, () => counts()[state] || 0)),
			toggle('unlisted', '1', 'Unlisted'), toggle('compact', '1', 'Compact rows')));
}

function modelRow(model, isShown, today) {
	const { id } = model.peek();
	// Not made anew with each number: what is unfolded stays so.
	const hasName = computed(() => displayName(model()) !== id);
	const about = computed(() => model().description);
	const used = ({ last_used_at: at }) => at && (tick(), `used ${ago(at)}`);
	return h('li', { class: 'model', 'data-model': id, 'data-state': () => stateOf(model()),
		hidden: () => !isShown(model()) },
	stateBadge(() => faceOf(model())),
	h('div', { class: 'model-name' },
		h('strong', { class: 'row' }, modelLink(id, () => displayName(model()))),
		h('div', { class: 'muted small' }, () => hasName() && idButton(id),
			() => [alsoCalled(model()), pins().includes(id) && ' pinned'])),
	h('div', { class: 'row model-do' }, modelAction(model), modelMenu(model)),
	h('div', { class: 'stack model-text muted small' },
		h('div', { class: 'row num' }, costs(model),
			h('span', null, () => [today(model()), used(model())].filter(Boolean).join(', '))),
		inRow(() => tagsOf(model())),
		() => (about().length > LONG ? h('details', null, h('summary', { class: 'clip' }, about())) : about())),
	happening(model));
}

export const idButton = (id) => button(id, { kind: 'quiet', class: 'copy-id mono', title: 'Copy this id',
	onclick: () => copy(id) });
export const alsoCalled = ({ aliases }) => aliases.length > 0 && ` also called ${aliases.join(', ')}`;

export function tagsOf(model) {
	const all = capabilityTags(model);
	const rest = all.splice(MAX_TAGS);
	const context = model.capabilities?.context;
	return [...all.map((text) => tag(text)),
		rest.length > 0 && h('span', { class: 'tag', title: rest.join(', ') }, `+${rest.length}`),
		context && tag(`${num(context)} context`), model.unlisted && tag('unlisted'),
		model.peer && tag(`peer ${model.peer}`)];
}

export const modelMenu = (model) => menuButton('More …', () => menuItems(model.peek()), { icon: '',
	kind: 'quiet', 'aria-label': () => `More for ${displayName(model())}` });

function menuItems(model) {
	const { id, state, peer } = model;
	// ComfyUI has a path of its own, under which its page finds its files.
	const page = id === 'comfyui_auto' ? `${BASE}comfyui/` : `${apiUrl('upstream', id)}/`;
	const to = (label, tab) => ({ label, href: href('models', id, tab) });
	return [{ label: 'Chat', href: href('play', 'chat', { model: id }) },
		!peer && { label: 'Open its server', hint: state === 'ready' ? 'new tab' : 'loads it',
			run: () => open(page, '_blank', 'noopener') },
		to('Requests', 'requests'), !peer && to('Logs', 'logs'), to('Configuration', 'config'),
		{ label: 'Copy id', run: () => copy(id) }, { label: 'Copy curl', run: () => copy(curlFor(model)) },
		{ label: 'Pinned', checked: pins.peek().includes(id), run: () => pins.update((all) => toggled(all, id)) }];
}

async function copy(text) {
	const isDone = await copyText(text);
	toast(isDone ? 'Copied' : 'It could not be copied', { kind: isDone ? 'ok' : 'error' });
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

/** Selectors with the target of now, and profiles. */
function routes() {
	const profiles = computed(() => profile().profiles, alike);
	// A new configuration shows in the names it has.
	const names = computed(() => [models().map((model) => model.id), profiles()], alike);
	const { value, complaint } = asked('v1/models', names);
	return [complaint, () => {
		const rules = (value()?.data || []).filter((row) => row.meta?.llamaswap?.type === 'selector');
		const rows = [...rules.map(selectorRow), ...profiles().map(profileRow)];
		return rows.length > 0 && card('Routes', {}, h('ul', { class: 'plain-list' }, rows));
	}];
}

const routeRow = (hook, { id, description }, tags, ...cells) => h('li', { class: 'route', [hook]: id },
	h('div', null, h('strong', { class: 'mono' }, id), ' ', h('span', { class: 'muted small' }, description)),
	inRow(tags), cells);

function selectorRow(row) {
	const rule = row.meta.llamaswap;
	const next = computed(() => {
		const { active, profiles } = profile();
		const pinned = profiles.find((one) => one.id === active)?.pins[row.id];
		if (pinned !== undefined) return ['Now, by the profile', pinned];
		const name = rule.targets[nextTarget(rule, rule.targets.map((each) => findTarget(models(), each)))];
		return [rule.strategy === 'spillover' ? 'Now (est.)' : 'Now', name || ''];
	}, alike);
	return routeRow('data-route', row, [tag('selector'), tag(rule.strategy)], () => {
		const [label, name] = next();
		return h('div', { class: 'row', 'data-now': name }, h('strong', null, label), name ? target(name) : 'nobody');
	}, h('div', { class: 'row small' }, 'of', rule.targets.map(target)));
}

/** A name with the state of the model it leads to, as a link to that. */
function target(name) {
	const id = computed(() => findTarget(models(), name)?.id);
	return h('span', { class: 'row' }, () => (id() ? [modelLink(id(), name),
		stateBadge(() => faceOf(modelById(id()) || {}))] : name));
}

const profileRow = (row) => routeRow('data-profile', row,
	[tag('profile'), () => profile().active === row.id && tag('active', 'is-ready')],
	h('div', null, Object.entries(row.pins).map(([name, to]) => h('div', { class: 'row small' },
		h('code', null, name), to ? ['leads to ', target(to)] : 'is switched off'))));
