// What the machine is made of, and the configuration in force with what is wrong in its files.
import { h, icon } from '../core/dom.js';
import { subscribe } from '../core/feed.js';
import { bytes, dateTime, num } from '../core/format.js';
import { api } from '../core/net.js';
import { setQuery } from '../core/router.js';
import { computed, signal, untracked } from '../core/signal.js';
import { card, codeBlock, copyButton, facts, inlineError, searchBox, skeleton, tag } from '../ui/parts.js';

/** `show` gets the answer once it is there, as a signal: `load` asks again. */
function asked(ctx, path, show) {
  const found = signal(null);
  const error = signal(null);
  const load = () => api(path, { signal: ctx.signal }).then((answer) => {
    found.set(answer);
    error.set(null);
  }, (failed) => { if (failed.name !== 'AbortError') error.set(failed); });
  const isThere = computed(() => Boolean(found()));
  load();
  return { load, view: h('div', { class: 'stack' }, () => error() && inlineError(error(), load), () => {
    if (!isThere()) return !error() && skeleton(4);
    return untracked(() => show(found));
  }) };
}

const words = (...parts) => parts.filter(Boolean).join(' ') || 'unknown';
const named = (count, one, many = `${one}s`) => count && `${num(count)} ${count === 1 ? one : many}`;
const list = (...parts) => parts.filter(Boolean).join(', ') || 'unknown';

export function hardwareTab(ctx) {
  return asked(ctx, 'api/hardware', (found) => {
    const pairs = factsOf(found());
    return card('Hardware', { actions: copyButton(() => pairs.map(([name, text]) => `${name}: ${text}`).join('\n'),
      'Copy summary') }, facts(pairs));
  }).view;
}

function factsOf({ operating_system: os = {}, environment = {}, architecture = {}, cpu = {}, memory = {},
  accelerators = [], captured_at: at }) {
  return [
    ['Operating system', words(os.name || os.family, os.version)], ['Kernel', words(os.kernel)],
    ['Environment', words((environment.kind || '').replace('_', ' '), environment.name, environment.version)],
    ['Architecture', words(architecture.name === 'other' ? architecture.raw_name : architecture.name)],
    ['Processor', words(cpu.model || cpu.vendor)],
    ['Cores', list(named(cpu.socket_count, 'socket'), named(cpu.physical_core_count, 'core'),
      named(cpu.logical_thread_count, 'thread'))],
    ['Memory', bytes(memory.capacity_bytes ?? null)],
    ...accelerators.map((each, i) => [`${(each.kind || 'gpu').toUpperCase()} ${each.index ?? i}`, list(
      words(!(each.model || '').startsWith(each.vendor) && each.vendor, each.model), each.architecture,
      `${bytes((each.memory || {}).capacity_bytes ?? null, 'unknown amount of')} `
        + `${((each.memory || {}).kind || 'unknown').replace('_', ' ')} memory`,
      each.driver && words('driver', each.driver.name, each.driver.version),
      each.power_limit_watts && `limit ${num(each.power_limit_watts)} W`)]),
    !accelerators.length && ['Accelerators', 'none found'],
    ['Found out', at ? dateTime(Date.parse(at) / 1000) : 'unknown'],
  ].filter(Boolean);
}

export function configTab(ctx) {
  const { load, view } = asked(ctx, 'api/config', (found) => {
    const query = computed(() => ctx.route().query.get('q') || '');
    const whole = computed(() => JSON.stringify(found().config, null, 2));
    const settings = computed(() => flat(found().config));
    const hits = computed(() => settings().filter((line) => line.toLowerCase().includes(query().toLowerCase())));
    return [() => files(found()), card('Configuration in force', { actions: copyButton(whole, 'Copy as JSON') },
      h('div', { class: 'stack' }, h('div', { class: 'row' },
        searchBox({ label: 'Search keys and values', value: query, oninput: (q) => setQuery({ q }), shortcut: '/' }),
        h('span', { class: 'muted num', role: 'status' }, () => (query() ? `${num(hits().length)} of ` : '')
          + named(settings().length, 'setting'))),
      codeBlock(() => (query() ? hits().join('\n') || 'Nothing matches.' : whole()),
        { label: 'Configuration', copy: false }),
      h('p', { class: 'small muted' }, 'Macros are expanded, defaults filled in, secrets hidden by the server.')))];
  });
  // Told when the files have been read again.
  subscribe('notice', load);
  return view;
}

function files({ paths, valid, problems, loaded_at: loadedAt, read_at: readAt }) {
  return card('Files', {}, facts([
    ['State', h('span', { class: `badge ${valid ? 'is-ready' : 'is-failed'}` }, icon(valid ? 'ready' : 'failed'),
      valid ? 'valid' : 'not valid: the one before stays in force')],
    [paths.length > 1 ? 'Paths' : 'Path', paths.length ? paths.map((path) => h('div', { class: 'mono' }, path))
      : 'none: started without a file'],
    ['In force since', dateTime(loadedAt)], ['Last read', dateTime(readAt)]]),
  problems.length > 0 && [h('h3', null, named(problems.length, 'problem')), h('ul', { class: 'plain-list problems' },
    problems.map((each) => h('li', { class: 'row' }, tag(each.severity), each.file && h('code', null,
      [each.file, each.line, each.column].filter(Boolean).join(':')), each.key && h('code', null, each.key),
    h('span', null, each.message))))]);
}

/** One line per setting, with its whole path: what is found says where it stands. */
function flat(value, path = '') {
  const inside = value !== null && typeof value === 'object' ? Object.entries(value) : [];
  if (!inside.length) return [`${path}: ${JSON.stringify(value)}`];
  return inside.flatMap(([key, each]) => flat(each, Array.isArray(value) ? `${path}[${key}]`
    : path ? `${path}.${key}` : key));
}
