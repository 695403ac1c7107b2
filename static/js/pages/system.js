// System: the newest sample of the machine, what the machine is, and the configuration with its problems.
import { h } from '../core/dom.js';
import { bytes, dateTime, num, percent } from '../core/format.js';
import { api } from '../core/net.js';
import { href, route } from '../core/router.js';
import { signal } from '../core/signal.js';
import { perf } from '../state/perf.js';
import { card, codeBlock, emptyState, facts, inlineError, skeleton } from '../ui/parts.js';
import { tabs } from '../ui/tabs.js';

const MIB = 1024 * 1024;
const TABS = [['live', 'Live'], ['hardware', 'Hardware'], ['config', 'Configuration']];

export function mount(ctx) {
  ctx.title('System');
  const current = () => route().tab || route().id || 'live';
  const panels = { live, hardware: () => fetched(ctx, 'api/hardware', hardware), config: () => fetched(ctx, 'api/config', config) };
  return tabs('System', TABS.map(([id, label]) => ({ id, label, href: href('system', id) })), current,
    () => (panels[current()] || live)());
}

const mib = (value) => (value === null || value === undefined ? null : value * MIB);

function live() {
  return h('div', { class: 'stack' }, () => {
    const sample = perf();
    if (!sample || !sample.sys) return emptyState({ title: 'Nothing measured yet', text: 'Samples are taken every few seconds, unless performance.disabled is set.' });
    const { sys, gpus } = sample;
    const cores = sys.cpu_util_per_core || [];
    return [card('Machine', {}, facts([
      ['CPU', cores.length ? percent(cores.reduce((sum, each) => sum + each, 0) / cores.length / 100) : 'unknown'],
      ['Memory', `${bytes(mib(sys.mem_used_mb))} of ${bytes(mib(sys.mem_total_mb))}`],
      ['Load', [sys.load_avg_1, sys.load_avg_5, sys.load_avg_15].map((each) => num(each)).join(' · ')],
      ['Measured', dateTime(sample.at)]])),
    ...(gpus.length ? gpus.map((gpu) => card(`GPU ${gpu.id}: ${gpu.name}`, {}, facts([
      ['Memory', `${bytes(mib(gpu.mem_used_mb))} of ${bytes(mib(gpu.mem_total_mb))}`],
      ['Busy', gpu.gpu_util_pct === null ? 'unknown' : percent(gpu.gpu_util_pct / 100)],
      ['Temperature', gpu.temp_c === null ? 'unknown' : `${gpu.temp_c} °C`],
      ['Power', gpu.power_draw_w === null ? 'unknown' : `${num(gpu.power_draw_w)} W`]])))
      : [card('GPUs', {}, h('p', { class: 'muted' }, 'No GPU was found on this machine.'))])];
  });
}

function fetched(ctx, path, show) {
  const state = signal({});
  const load = () => api(path, { signal: ctx.signal }).then((value) => state.set({ value }), (error) => {
    if (error.name !== 'AbortError') state.set({ error });
  });
  load();
  return h('div', { class: 'stack' }, () => {
    const { value, error } = state();
    return error ? inlineError(error, load) : value ? show(value) : skeleton(4);
  });
}

function hardware(found) {
  const cpu = found.cpu || {};
  return [card('This machine', {}, facts([
    ['CPU', cpu.model || 'unknown'], ['Threads', num(cpu.logical_thread_count)],
    ['Memory', bytes(found.memory && found.memory.capacity_bytes)],
    ['System', found.operating_system && [found.operating_system.name, found.operating_system.version].filter(Boolean).join(' ') || 'unknown'],
    ['Kernel', found.operating_system && found.operating_system.kernel || 'unknown']])),
  ...(found.accelerators || []).map((each) => card(`Accelerator ${each.index}`, {}, facts([
    ['Model', each.model || 'unknown'], ['Memory', bytes(each.memory && each.memory.capacity_bytes)],
    ['Driver', each.driver ? [each.driver.name, each.driver.version].filter(Boolean).join(' ') : 'unknown']])))];
}

function config(found) {
  return [card('Configuration', {}, facts([
    ['Files', found.paths.join(', ') || 'none (demo)'], ['In force since', dateTime(found.loaded_at)],
    ['Files on disk', found.valid ? 'valid' : 'have errors; the previous configuration stays in force']])),
  found.problems.length ? card('Problems', {}, h('ul', null, found.problems.map((each) => h('li', null, each.text)))) : null,
  card('Resolved, secrets masked', {}, codeBlock(JSON.stringify(found.config, null, 2), { label: 'Configuration' }))];
}
