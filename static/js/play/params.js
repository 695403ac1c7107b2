// Sampling parameters. An empty field is the server's default: it is not sent.
import { h } from '../core/dom.js';
import { computed, signal } from '../core/signal.js';
import { field } from '../ui/parts.js';

const isWhole = (value) => Number.isInteger(value);
const between = (low, high) => (value) => value >= low && value <= high;
// [name, label, what is valid, how it is said, step]
const NUMBERS = [
  ['temperature', 'Temperature', between(0, 5), '0 to 5', 0.1], ['top_p', 'Top p', between(0, 1), '0 to 1', 0.05],
  ['top_k', 'Top k', (v) => isWhole(v) && v >= 0, 'a whole number', 1],
    ['min_p', 'Min p', between(0, 1), '0 to 1', 0.01],
  ['repeat_penalty', 'Repeat penalty', between(0, 5), '0 to 5', 0.05],
  ['presence_penalty', 'Presence penalty', between(-2, 2), '-2 to 2', 0.1],
  ['frequency_penalty', 'Frequency penalty', between(-2, 2), '-2 to 2', 0.1],
    ['seed', 'Seed', isWhole, 'a whole number', 1],
  ['max_tokens', 'Most tokens', (v) => isWhole(v) && v > 0, 'a whole number above 0', 1],
];
export const count = (params) => Object.keys(params || {}).length;

/** `params`: () => the object; `onchange` gets a new one. */
export function paramsForm(params, onchange, names = null) {
  const set = (name, value) => {
    const next = { ...params() };
    if (value === undefined) delete next[name];
    else next[name] = value;
    onchange(next);
  };
  const control = (tag, props, name, show, read) => {
    const error = signal('');
    const now = computed(() => show(params()[name]));       // so that other news leave alone what is being typed
    const element = h(tag, { ...props, placeholder: 'server default', spellcheck: 'false', autocomplete: 'off',
      value: () => now(),
      onchange: () => {
        const text = element.value.trim();
        try {
          const value = text === '' ? undefined : read(text);
          error.set('');
          set(name, value);
        } catch (failure) {
          error.set(failure.message);       // what is wrong is not taken, and not thrown away either
        }
      } });
    return [element, error];
  };
  const numbers = NUMBERS.filter(([name]) => !names || names.includes(name)).map(([name, label, isValid, hint,
    step]) => {
    const [element, error] = control('input', { type: 'text', inputmode: step === 1 ? 'numeric' : 'decimal' }, name,
      (value) => value ?? '',
      (text) => {
        const value = Number(text.replace(',', '.'));
        if (!Number.isFinite(value) || !isValid(value)) throw new RangeError(`Must be ${hint}.`);
        return value;
      });
    return field(label, element, { error });
  });
  if (names) return h('div', { class: 'params' }, numbers);
  const [stop, stopError] = control('textarea', { rows: '1' }, 'stop', (value) => [].concat(value ?? []).join('\n'),
    (text) => text.split('\n').filter(Boolean));
  const [schema, schemaError] = control('textarea', { rows: '2', class: 'mono' }, 'schema', (value) => value ?? '',
    (text) => {
    let found;
    try {
      found = JSON.parse(text);
    } catch (failure) {
      throw new SyntaxError(`Not JSON: ${failure.message}`);
    }
    if (!found || typeof found !== 'object' || Array.isArray(found)) throw new TypeError('Must be a JSON object.');
    return text;
  });
  return h('div', { class: 'params' }, numbers, field('Stop at', stop,
    { error: stopError, hint: 'One text per line', class: 'wide' }),
    field('JSON schema', schema, { error: schemaError, hint: '{} for any JSON', class: 'wide' }));
}
