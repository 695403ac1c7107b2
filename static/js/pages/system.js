// The machine: what it does, what it is made of, and what it was told.
import { h, icon } from '../core/dom.js';
import { subscribe } from '../core/feed.js';
import { bytes, dateTime, num } from '../core/format.js';
import { api } from '../core/net.js';
import { href } from '../core/router.js';
import { computed, untracked } from '../core/signal.js';
import { asked } from '../ui/asked.js';
import { card, codeBlock, copyButton, facts, tag } from '../ui/parts.js';
import { tabs } from '../ui/tabs.js';
import { liveTab } from './systemlive.js';

const TABS = { live: ['Live', liveTab], hardware: ['Hardware', hardwareTab], config: ['Configuration', configTab] };

export function mount(ctx) {
	ctx.title('System');
	const current = computed(() => (ctx.route().tab in TABS ? ctx.route().tab : 'live'));
	return h('div', { class: 'system' }, tabs('System', Object.entries(TABS).map(([id, [label]]) =>
		({ id, label, href: href('system', id) })), current, () => {
		const [, show] = TABS[current()];
		return h('div', { class: 'stack' }, untracked(() => show(ctx)));
	}));
}

const joined = (parts, between = ' ') => parts.filter(Boolean).join(between) || 'unknown';
const counted = (count, word) => count && `${num(count)} ${word}${count === 1 ? '' : 's'}`;

function hardwareTab() {
	return asked((signal) => api('api/hardware', { signal })).view((found) => {
		const pairs = hardwareFacts(found);
		return card('Hardware', { actions: copyButton(pairs.map((pair) => pair.join(': ')).join('\n'), 'Copy summary') },
			facts(pairs));
	});
}

function hardwareFacts({ operating_system: os, environment, architecture, cpu, memory, accelerators }) {
	return [
		['Operating system', joined([os.name || os.family, os.version])], ['Kernel', os.kernel || 'unknown'],
		['Environment', joined([environment.kind.replace('_', ' '), environment.name, environment.version])],
		['Architecture', architecture.raw_name || architecture.name],
		['Processor', cpu.model || cpu.vendor || 'unknown'],
		['Cores', joined([counted(cpu.socket_count, 'socket'), counted(cpu.physical_core_count, 'core'),
			counted(cpu.logical_thread_count, 'thread')], ', ')],
		['Memory', bytes(memory.capacity_bytes)],
		...(accelerators.length ? accelerators.map(acceleratorFact) : [['Accelerators', 'none found']]),
	];
}

function acceleratorFact({ kind, index, vendor, model, architecture, memory, driver, power_limit_watts: limit }) {
	return [`${kind.toUpperCase()} ${index}`, joined([joined([!model?.startsWith(vendor) && vendor, model]), architecture,
		`${bytes(memory.capacity_bytes, 'unknown amount of')} ${memory.kind.replace('_', ' ')} memory`,
		driver && joined(['driver', driver.name, driver.version]), limit && `limit ${num(limit)} W`], ', ')];
}

function configTab() {
	const { again, view } = asked((signal) => api('api/config', { signal }));
	subscribe('notice', again);         // tells of every reading of the files
	return view((found) => {
		const text = JSON.stringify(found.config, null, 2);
		return [files(found), card('Configuration in force', { actions: copyButton(text) },
			h('p', { class: 'muted' }, 'Macros are expanded, defaults filled in, secrets hidden by the server.'),
			codeBlock(text, { label: 'Configuration', copy: false }))];
	});
}

function files({ paths, valid, problems, loaded_at: loadedAt, read_at: readAt }) {
	return card('Files', {}, h('div', { class: 'stack' }, facts([
		['State', [h('span', { class: `badge ${valid ? 'is-ready' : 'is-failed'}` }, icon(valid ? 'ready' : 'failed'),
			valid ? 'valid' : 'not valid'), !valid && ' The one before stays in force.']],
		['Read from', paths.length ? paths.map((path) => h('div', { class: 'mono' }, path)) : 'no file'],
		['In force since', dateTime(loadedAt)], ['Last read', dateTime(readAt)]]),
	problems.length > 0 && h('ul', { class: 'plain-list problems' }, problems.map((each) => h('li', null,
		tag(each.severity), ' ', h('code', null, [each.file, each.line, each.column].filter(Boolean).join(':')), ' ',
		h('strong', null, each.key), ' ', each.message)))));
}
