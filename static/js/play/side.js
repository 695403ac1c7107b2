// The column beside the work: which model, with which parameters.
import { h, inStack } from '../core/dom.js';
import { duration } from '../core/format.js';
import { api } from '../core/net.js';
import { setting } from '../core/persist.js';
import { route, setQuery } from '../core/router.js';
import { computed, signal } from '../core/signal.js';
import { displayName, faceOf, modelById, models } from '../state/models.js';
import { asked } from '../ui/asked.js';
import { combobox } from '../ui/combobox.js';
import { stateGlyph } from '../ui/modelparts.js';
import { field } from '../ui/parts.js';

export const side = (label, model, ...children) => h('details', { class: 'play-side card',
	open: matchMedia('(width > 1100px)').matches }, h('summary', { class: 'clip' }, label, ' ',
	h('span', { class: 'muted small' }, model)), inStack(children));

/** Models for which `suits(capabilities)` is true come first. */
export function modelPicker({ value, onchange, suits, label = 'Model' }) {
	const { value: served } = asked('v1/models');
	const options = computed(() => [...models().map((model) => ({ value: model.id, label: displayName(model),
		words: model.aliases.join(' '), rank: model.capabilities && suits?.(model.capabilities) ? 0 : 2,
		before: () => stateGlyph(() => faceOf(model)),
		hint: [faceOf(model).word, model.peer].filter(Boolean).join(' · ') })),
	...(served()?.data || []).filter(({ id }) => !modelById(id)).map(({ id }) => ({ value: id, label: id, hint: 'route',
		rank: 1 }))].sort((a, b) => a.rank - b.rank));
	return h('div', { class: 'field' }, h('strong', { 'aria-hidden': 'true' }, label),
		combobox({ label, options, value, onchange, placeholder: 'Choose a model' }), planNote(value));
}

/** The model of a tab: in the address, else the one used last, else one that is ready. */
export function chosenModel(tool) {
	const last = setting(`play.${tool}`, '');
	const value = computed(() => route().query.get('model') || last()
		|| (models().find((model) => model.state === 'ready') || models()[0])?.id || '');
	return [value, (id) => {
		last.set(id);
		setQuery({ model: id });
	}];
}

/** {action, evict, reason, load_estimate_ms, …} of the server; null when it does not say. */
export const planOf = async (model) => (model ? api('api/plan', { query: { model } }).catch(() => null) : null);

// Asked again whenever a model changes its state.
function planNote(model) {
	const { value: plan } = asked(() => planOf(model()),
		computed(() => [model(), ...models().map((each) => each.state + each.in_flight)].join()));
	return h('p', { class: 'small plan', role: 'status', 'data-action': () => plan()?.action },
		() => plan() && sentence(plan()));
}

function sentence({ action, evict = [], reason, load_estimate_ms: ms, targets }) {
	if (action === 'serve') return 'Ready';
	if (action === 'choose') return `Leads to one of ${targets.map((each) => each.model).join(', ')}`;
	const what = { start: 'Will be loaded', join: 'Is loading' }[action]
		|| (evict.length ? `Will unload ${evict.join(', ')}` : 'Has to wait');
	return `${what}${ms ? `, about ${duration(ms)} est.` : ''}${action === 'wait' && reason ? `: ${reason}` : ''}`;
}

// [name, label, least, most, step]
const NUMBERS = [['temperature', 'Temperature', 0, 5], ['top_p', 'Top p', 0, 1], ['top_k', 'Top k', 0, null, 1],
	['min_p', 'Min p', 0, 1], ['repeat_penalty', 'Repeat penalty', 0, 5], ['presence_penalty', 'Presence penalty', -2, 2],
	['frequency_penalty', 'Frequency penalty', -2, 2], ['seed', 'Seed', null, null, 1],
	['max_tokens', 'Most tokens', 1, null, 1]];

/** `params`: () => {name: value}, without what is left to the server; `onchange` gets a new one. */
export function paramsForm(params, onchange) {
	function control(name, label, read, props) {
		const error = signal('');
		const now = computed(() => [params()[name] ?? ''].flat().join('\n'));      // leaves alone what is typed
		const element = h(props.type ? 'input' : 'textarea', { placeholder: 'default', ...props, value: now, onchange() {
			try {
				const { [name]: before, ...rest } = params();
				const text = element.value.trim();
				const next = text ? { ...rest, [name]: read(text) } : rest;
				error.set(element.validationMessage);
				if (!error.peek()) onchange(next);
			} catch (failure) {
				error.set(failure.message);
			}
		} });
		return field(label, element, { error, class: props.type ? '' : 'wide' });
	}
	return h('div', { class: 'params' },
		NUMBERS.map(([name, label, min, max, step = 'any']) => control(name, label, Number,
			{ type: 'number', min, max, step })),
		control('stop', 'Stop at', (text) => text.split('\n').filter(Boolean),
			{ rows: '1', placeholder: 'one text per line' }),
		control('schema', 'JSON schema', (text) => JSON.stringify(JSON.parse(text)),
			{ rows: '2', class: 'mono', placeholder: '{} for any JSON' }));
}
