// Sampling parameters. An empty field is the server's default: it is not sent.
import { h } from '../core/dom.js';
import { computed, signal } from '../core/signal.js';
import { field } from '../ui/parts.js';

// [name, label, least, most, step]
const NUMBERS = [['temperature', 'Temperature', 0, 5], ['top_p', 'Top p', 0, 1], ['top_k', 'Top k', 0, null, 1],
	['min_p', 'Min p', 0, 1], ['repeat_penalty', 'Repeat penalty', 0, 5], ['presence_penalty', 'Presence penalty', -2, 2],
	['frequency_penalty', 'Frequency penalty', -2, 2], ['seed', 'Seed', null, null, 1],
	['max_tokens', 'Most tokens', 1, null, 1]];

/** `params`: () => the object; `onchange` gets a new one. */
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
				error.set(failure.message);       // what is wrong is not taken, and not thrown away either
			}
		} });
		return field(label, element, { error, class: props.type ? '' : 'wide' });
	}
	return h('div', { class: 'params' },
		NUMBERS.map(([name, label, min, max, step = 'any']) => control(name, label, Number,
			{ type: 'number', min, max, step })),
		control('stop', 'Stop at', (text) => text.split('\n').filter(Boolean),
			{ rows: '1', placeholder: 'one text per line' }),
		control('schema', 'JSON schema', (text) => {
			if (!text.startsWith('{')) throw new TypeError('Must be a JSON object.');
			JSON.parse(text);
			return text;
		}, { rows: '2', class: 'mono', placeholder: '{} for any JSON' }));
}
