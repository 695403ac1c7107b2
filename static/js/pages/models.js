// Models: search, states, groups and order, all of it in the address; below it where the names of routes lead.
import { each, h } from '../core/dom.js';
import { ago, tick } from '../core/format.js';
import { shortcut } from '../core/keys.js';
import { announce } from '../core/live.js';
import { api } from '../core/net.js';
import { href, route, setQuery } from '../core/router.js';
import { computed, effect, signal } from '../core/signal.js';
import { alike, countBy, displayName, faceOf, modelById, models, pins, profile, stateOf } from '../state/models.js';
import { GROUPS, SORTS, STATES, arrange, capabilityTags, engineOf, findTarget, matches, nextTarget, viewOf } from
	'../state/modelview.js';
import { asked, recentRows } from '../ui/asked.js';
import { copyId, modelMenu } from '../ui/modelmenu.js';
import { costs, happening, modelAction, modelLink, modelsPage, stateBadge, stateGlyph } from '../ui/modelparts.js';
import { button, card, chip, emptyState, searchBox, select, tag } from '../ui/parts.js';
import { toastError } from '../ui/toast.js';

const CONFIGURED = ['id', 'name', 'aliases', 'description', 'capabilities', 'unlisted', 'peer'];
const MAX_TAGS = 4;
const LONG = 90;        // characters of a description that may not fit into a line

export const mount = (ctx) => modelsPage(ctx, 'Models', () => page(ctx));

function page(ctx) {
	const view = computed(() => viewOf(route().query), alike);
	const found = computed(() => models().filter((model) => matches(model, view().words)
		&& (view().unlisted || !model.unlisted)));
	const shown = computed(() => new Set(found().filter((model) => !view().states.length
		|| view().states.includes(stateOf(model))).map((model) => model.id)));
	const today = countToday();
	const engine = engines(ctx, view);
	const groups = computed(() => arrange(models(), view(), { pins: pins(), engine, count: today.of }));
	// All are there and most may be hidden: so a search costs nothing but that.
	const row = (model) => modelRow(model, () => shown().has(model.peek().id), today.text);
	const list = each(h('div', { class: () => `stack models${view().compact ? ' compact' : ''}` }), groups,
		(group) => group.name, (group) => section(group, shown, row));

	const move = (by) => {
		const links = [...list.querySelectorAll('.model:not([hidden]) .model-name > a')];
		const at = links.findIndex((link) => link.closest('.model').contains(document.activeElement));
		links[at < 0 ? 0 : at + by]?.focus();
	};
	shortcut('j', 'Next model', () => move(1));
	shortcut('k', 'Previous model', () => move(-1));
	const result = computed(() => `${shown().size} of ${models().length}`);
	effect(() => announce(`${result()} models`));
	return h('div', { class: 'stack' }, toolbar(view, found, result), list,
		() => !shown().size && emptyState({ icon: 'search', title: 'No model matches', actions: [button('Show all',
			{ onclick: () => setQuery({ q: null, state: null, unlisted: '1' }, { push: true }) })] }),
		routes());
}

function section(group, shown, row) {
	const { name } = group.peek();
	const count = () => group().models.filter((model) => shown().has(model.id)).length;
	return h('section', { class: 'stack', hidden: () => !count(), 'aria-label': name ? null : 'Models' },
		name && h('h2', null, `${name} `, h('span', { class: 'muted num' }, count)),
		each(h('ul', { class: 'plain-list card' }), () => group().models, (model) => model.id, row));
}

function toolbar(view, found, result) {
	const counts = computed(() => countBy(found(), stateOf), alike);
	const put = (change) => setQuery(change, { push: true });
	const isOn = (state) => view().states.includes(state);
	const toggle = (state) => put({ state: isOn(state) ? view().states.filter((each) => each !== state)
		: [...view().states, state] });
	const flag = (name, label, props) => chip(label, { pressed: () => view()[name],
		onclick: () => put({ [name]: view()[name] ? null : '1' }), ...props });
	const choice = (label, options, name) => h('label', { class: 'row' }, h('span', { class: 'muted' }, label),
		select(options, { value: () => view()[name], onchange: (value) => put({ [name]: value }) }));
	return h('div', { class: 'stack toolbar' },
		h('div', { class: 'row' },
			searchBox({ label: 'Search models', shortcut: '/', value: () => route().query.get('q') || '',
				oninput: (q) => setQuery({ q }) }),
			choice('Group by', GROUPS, 'group'), choice('Sort by', SORTS, 'sort'),
			h('span', { class: 'muted num' }, result)),
		h('div', { class: 'row', role: 'group', 'aria-label': 'Which models' },
			// The first four are always there, so that a chip does not move while one reaches for it.
			STATES.map(([state, label], i) => chip(label, { pressed: () => isOn(state), onclick: () => toggle(state),
				count: () => counts()[state] || 0, hidden: () => i > 3 && !counts()[state] && !isOn(state) })),
			flag('unlisted', 'Unlisted', { hidden: () => !models().some((model) => model.unlisted) }),
			flag('compact', 'Compact rows')));
}

/** Requests of each model since midnight, as a number and in words. */
function countToday() {
	const { rows, more } = recentRows({ from: Math.floor(new Date().setHours(0, 0, 0, 0) / 1000) });
	const counts = computed(() => countBy(rows() || [], (row) => row.model));
	const of = ({ id }) => counts()[id];
	return { of, text: (model) => of(model) && `${of(model)}${more()} today` };
}

/** Model → the program that serves it. The command lines are asked for when somebody groups by them. */
function engines(ctx, view) {
	const entries = signal({});
	const isWanted = computed(() => view().group === 'engine');
	effect(() => {
		if (isWanted()) api('api/config', { signal: ctx.signal }).then(({ config }) => entries.set(config.models),
			(error) => toastError(error, 'Could not read the command lines'));
	});
	return (model) => (model.peer ? 'peer' : engineOf(entries()[model.id]?.argv || []) || 'unknown');
}

function modelRow(model, isShown, today) {
	const { id } = model.peek();
	// Made anew when the configuration changes, not with each new number, so that what is unfolded stays so.
	const configured = computed(() => Object.fromEntries(CONFIGURED.map((name) => [name, model()[name]])), alike);
	return h('li', { class: 'model', 'data-model': id, 'data-state': () => stateOf(model()), hidden: () => !isShown() },
		h('div', { class: 'model-line' }, stateBadge(() => faceOf(model())),
			h('div', { class: 'model-name' },
				h('a', { class: 'clip', href: href('models', id), title: id }, () => displayName(model()),
					() => pins().includes(id) && h('span', { class: 'muted small' }, ' pinned')), () => names(configured())),
			h('div', { class: 'model-do' }, modelAction(model), modelMenu(model)),
			h('div', { class: 'model-text' }, () => texts(configured())),
			h('div', { class: 'model-facts num muted small' }, costs(model),
				h('span', null, () => [today(model()), model().last_used_at && (tick(), `used ${ago(model().last_used_at)}`)]
					.filter(Boolean).join(', ')))),
		happening(model));
}

export const idButton = (id) => h('button', { type: 'button', class: 'copy-id mono', title: 'Copy this id',
	onclick: () => copyId(id) }, id);

function names({ id, name, aliases }) {
	const parts = [name && name !== id && idButton(id), aliases.length > 0 && ` also ${aliases.join(', ')}`];
	return parts.some(Boolean) && h('span', { class: 'muted small clip', title: aliases.join(', ') }, parts);
}

export function tagsOf(model) {
	const all = capabilityTags(model);
	const rest = all.splice(MAX_TAGS);
	const context = model.capabilities?.context;
	return [...all.map((text) => tag(text)), rest.length > 0 && h('span', { class: 'tag', title: rest.join(', ') },
		`+${rest.length}`), context && tag(`${context < 1024 ? context : `${Math.round(context / 1024)}k`} context`),
	model.unlisted && tag('unlisted'), model.peer && tag(`peer ${model.peer}`)].filter(Boolean);
}

function texts(model) {
	const { description: text } = model;
	const tags = tagsOf(model);
	return [tags.length > 0 && h('div', { class: 'row tags' }, tags), text.length > LONG
		? h('details', { class: 'muted small' }, h('summary', null, text))
		: h('div', { class: 'muted small wrap' }, text)];
}

/** Where names lead that are no model of their own: selectors with the target of now, and profiles. */
function routes() {
	const profiles = computed(() => profile().profiles, alike);
	// A new configuration shows in the names it has.
	const names = computed(() => [models().map((model) => model.id), profiles()], alike);
	const { value, complaint } = asked((abort) => api('v1/models', { signal: abort }), names);
	return h('div', null, complaint, () => {
		const selectors = (value()?.data || []).filter((row) => row.meta?.llamaswap?.type === 'selector');
		const rows = [...selectors.map(selectorRow), ...profiles().map(profileRow)];
		return rows.length > 0 && card('Routes', { class: 'routes' }, h('ul', { class: 'plain-list' }, rows));
	});
}

const routeName = (id, about) => h('div', { class: 'grow' }, h('strong', { class: 'mono' }, id), ' ',
	h('span', { class: 'muted small' }, about));

function selectorRow({ id, description, meta: { llamaswap: rule } }) {
	const next = computed(() => {
		const { active, profiles } = profile();
		const pinned = profiles.find((one) => one.id === active)?.pins?.[id];
		if (pinned !== undefined) return ['Now, by the profile', pinned];
		const name = rule.targets[nextTarget(rule, rule.targets.map((each) => findTarget(models(), each)))];
		return [rule.strategy === 'spillover' ? 'Now (est.)' : 'Now', name || ''];
	}, alike);
	return h('li', { class: 'route', 'data-route': id }, routeName(id, description),
		h('div', { class: 'row' }, tag('selector'), tag(rule.strategy)),
		() => {
			const [label, name] = next();
			return h('div', { class: 'row', 'data-now': name }, h('strong', null, label), name ? target(name) : 'nobody');
		},
		h('div', { class: 'row small' }, h('span', { class: 'muted' }, 'of'), rule.targets.map(target)));
}

/** A name with the state of the model it leads to, as a link to that. */
function target(name) {
	const id = computed(() => findTarget(models(), name)?.id);
	const face = () => faceOf(modelById(id()) || {});
	return h('span', { class: 'row target' }, () => (id() ? [stateGlyph(face), modelLink(id(), name),
		h('span', { class: 'muted small' }, () => face().word)] : name));
}

const profileRow = ({ id, description, pins: leads = {} }) => h('li', { class: 'route', 'data-profile': id },
	routeName(id, description),
	h('div', { class: 'row' }, tag('profile'), () => profile().active === id && tag('active', 'is-ready')),
	h('div', { class: 'stack pins' }, Object.entries(leads).map(([name, to]) => h('div', { class: 'row small' },
		h('code', null, name), to ? ['leads to ', target(to)] : 'is switched off'))));
