// The filter of the requests: tokens as chips, a field to type more of them, and menus for those who would rather pick.
import { h, icon, newId } from '../core/dom.js';
import { shortcut } from '../core/keys.js';
import { route, setQuery } from '../core/router.js';
import { computed } from '../core/signal.js';
import { displayName, models } from '../state/models.js';
import { done, live } from '../state/requests.js';
import { OUTCOMES, addFilters, filterChanges, parseTokens, readFilters, tokenText } from '../state/requestquery.js';
import { menuButton } from '../ui/menu.js';

const STATUSES = [['error', 'failed'], ['2xx', 'fine'], ['4xx', 'the request was wrong'],
  ['5xx', 'the server failed'], ['499', 'the client left']];
const SPANS = [['15m', '15 minutes'], ['1h', 'hour'], ['24h', '24 hours'], ['7d', '7 days']];

export function filterBar() {
  const read = computed(() => readFilters(route().query));
  const bad = computed(() => read().wrong.map((each) => each.text).join(' '));
  const errorId = newId('filter');
  const put = (valid, wrong = read.peek().wrong) => setQuery(filterChanges(valid, wrong), { push: true });
  const without = (name, value) => read.peek().valid.filter(([n, v]) => n !== name || v !== value);
  const take = () => {
    const typed = parseTokens(input.value);
    // What is not understood stays in the field; the rest is in force.
    put(addFilters(read.peek().valid, typed.valid), typed.wrong);
    input.value = bad.peek();
  };
  const input = h('input', { type: 'text', class: 'grow', spellcheck: 'false', autocomplete: 'off',
    'aria-label': 'Filter', placeholder: 'model:x status:5xx since:1h text:"…"', value: bad, onchange: take,
    'aria-invalid': () => (bad() ? 'true' : null), 'aria-describedby': errorId,
    onkeydown: (event) => {
      if (event.key === 'Enter' && !event.isComposing) take();
      const last = read.peek().valid.at(-1);
      if (event.key !== 'Backspace' || input.value || !last) return;
      event.preventDefault();
      put(without(...last));
      input.value = tokenText(...last);
    } });
  shortcut('/', 'Filter', () => input.focus());
  const chip = ([name, value]) => h('button', { type: 'button', class: 'chip',
    'aria-label': `Remove the filter ${tokenText(name, value)}`,
    onclick: () => {
      put(without(name, value));
      input.focus();
    } }, h('span', { class: 'clip' }, tokenText(name, value)), icon('close'));
  const item = (name, value, hint) => {
    const checked = read.peek().valid.some(([n, v]) => n === name && v === value);
    const run = () => put(checked ? without(name, value) : addFilters(read.peek().valid, [[name, value]]));
    return { label: value, hint, checked, run };
  };
  const picker = (label, name, values) => menuButton(label, () => {
    const found = values().map(([value, hint]) => item(name, value, hint));
    return found.length ? found : [{ label: 'None seen yet', disabled: true }];
  }, { align: 'start', 'aria-label': `Filter by ${label.toLowerCase()}` });
  const seen = (field) => () => {
    const values = [...live.peek(), ...done.peek()].map((row) => row[field]);
    return [...new Set(values)].filter(Boolean).sort().map((value) => [value]);
  };
  return h('div', { class: 'stack filters' },
    h('div', { class: 'row' }, icon('filter'), () => read().valid.map(chip), input,
      picker('Model', 'model', () => models.peek().map((model) => [model.id, displayName(model)])),
      picker('Status', 'status', () => STATUSES), picker('Outcome', 'outcome', () => OUTCOMES.map((each) => [each])),
      picker('Time', 'since', () => SPANS), picker('Client', 'client', seen('client')),
      picker('Session', 'session', seen('session'))),
    h('p', { id: errorId, class: 'error-text', role: 'alert', hidden: () => !bad() },
      () => read().wrong.map(({ text, why }) => `${text} is not applied: ${why}.`).join(' ')));
}
