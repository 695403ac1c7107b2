// Which model: everything that can be asked for, with its state, and what asking would do to the others.
import { h } from '../core/dom.js';
import { duration } from '../core/format.js';
import { api } from '../core/net.js';
import { setting } from '../core/persist.js';
import { route, setQuery } from '../core/router.js';
import { computed, effect, onCleanup, signal } from '../core/signal.js';
import { displayName, faceOf, modelById, models } from '../state/models.js';
import { combobox } from '../ui/combobox.js';
import { openDialog } from '../ui/dialog.js';
import { stateGlyph } from '../ui/modelparts.js';
import { button } from '../ui/parts.js';

const served = signal([]);          // all that can be asked for; what is no model leads to one of several

/** Models for which `suits(capabilities)` is true come first. */
export function modelPicker({ value, onchange, suits, label = 'Model' }) {
	if (!served.peek().length) api('v1/models').then(({ data }) => served.set(data.map(({ id }) => id)), () => {});
	const options = computed(() => [...models().map((model) => ({ value: model.id, label: displayName(model),
		words: model.aliases.join(' '), rank: model.capabilities && suits?.(model.capabilities) ? 0 : 2,
		before: () => stateGlyph(() => faceOf(model)),
		hint: [faceOf(model).word, model.peer].filter(Boolean).join(' · ') })),
	...served().filter((id) => !modelById(id)).map((id) => ({ value: id, label: id, hint: 'route', rank: 1 }))]
		.sort((a, b) => a.rank - b.rank));
	return h('div', { class: 'field' }, h('span', { class: 'label', 'aria-hidden': 'true' }, label),
		combobox({ label, options, value, onchange, placeholder: 'Choose a model' }), planNote(value));
}

export function chooseModel(first, onChosen) {
	const value = signal(first);
	const dialog = openDialog({ title: 'Retry with which model?', onClose: (model) => model && onChosen(model),
		body: () => modelPicker({ value, onchange: value.set }),
		actions: [button('Retry', { kind: 'primary', onclick: () => dialog.close(value.peek()) })] });
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
	const plan = signal(null);
	const question = computed(() => [model(), ...models().map((each) => each.state + each.in_flight)].join());
	effect(() => {
		const asked = question();
		const timer = setTimeout(async () => {
			const found = await planOf(model());
			if (asked === question.peek()) plan.set(found);
		}, 150);
		onCleanup(() => clearTimeout(timer));
	});
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
