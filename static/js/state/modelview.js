// The order of a list of models, and where a route leads.
import { displayName, memoryOf, stateOf } from './models.js';

export const GROUPS = [['', 'Nothing'], ['group', 'Group'], ['capability', 'Capability'], ['engine', 'Engine'],
	['peer', 'Machine']];
export const SORTS = [['', 'Name'], ['state', 'State'], ['used', 'Last used'], ['count', 'Most used'],
	['memory', 'Memory']];
export const STATES = [['ready', 'Ready'], ['starting', 'Loading'], ['failed', 'Failed'], ['stopped', 'Stopped'],
	['queued', 'Waiting'], ['stopping', 'Stopping'], ['peer', 'Peers']];
const names = new Intl.Collator(undefined, { numeric: true, sensitivity: 'base' });

/** What it can do beyond text, in words. */
export function capabilityTags({ capabilities: has }) {
	if (!has) return [];
	const turns = (from, to) => has.in.includes(from) && has.out.includes(to);
	const tags = [has.in.includes('image') && 'vision', turns('audio', 'text') && 'transcription',
		turns('text', 'audio') && 'speech', turns('text', 'image') && 'images', turns('image', 'image') && 'image editing',
		has.reranker && 'reranker', has.tools && 'tools'].filter(Boolean);
	return tags.length || !has.in.length ? tags : ['text'];
}

export function matches(model, words) {
	const text = [model.id, model.name, ...model.aliases, model.description, model.group, model.peer,
		...capabilityTags(model)].join('\n').toLowerCase();
	return words.every((word) => text.includes(word));
}

/** [{name, models}], pinned ones first in each. `count` and `engine` are functions of a model. */
export function arrange(models, { group, sort, pins, count, engine }) {
	const weigh = { state: (model) => -STATES.findIndex(([state]) => state === stateOf(model)), count, memory: memoryOf,
		used: (model) => model.last_used_at }[sort] || (() => 0);
	const place = { engine, group: (model) => model.group || (model.peer ? 'Peers' : 'No group'),
		capability: (model) => capabilityTags(model)[0] || 'not declared',
		peer: (model) => (model.peer ? `Peer ${model.peer}` : 'This machine') }[group] || (() => '');
	const rows = models.map((model) => ({ model, name: displayName(model), weight: weigh(model) || 0,
		pinned: pins.includes(model.id) }));
	rows.sort((a, b) => b.pinned - a.pinned || b.weight - a.weight || names.compare(a.name, b.name));
	return [...Map.groupBy(rows.map((row) => row.model), place)].map(([name, list]) => ({ name, models: list }))
		.sort((a, b) => names.compare(a.name, b.name));
}

/** The program that serves it: llama-server, vllm, docker, … */
export function engineOf(argv) {
	const program = (argv[0] || '').split(/[\\/]/).pop().replace(/\.exe$/i, '');
	const module = argv.indexOf('-m');
	return (/^python[\d.]*$/.test(program) && module > 0 && argv[module + 1]) || program || 'unknown';
}

/** What a name of the configuration leads to. A peer's model needs no prefix when only one peer has it. */
export function findTarget(models, name) {
	const offers = models.filter((model) => model.peer && model.id === `${model.peer}/${name}`);
	return models.find((model) => model.id === name) || models.find((model) => model.aliases.includes(name))
		|| (offers.length === 1 ? offers[0] : null);
}

/** Where a request for a selector would go now: an index or -1. Of equals spillover may choose another. */
export function nextTarget({ strategy, spillover = 1 }, targets) {
	const find = (state) => targets.findIndex((target) => target?.state === state);
	if (strategy === 'warm') return [find('ready'), find('starting'), 0].find((index) => index >= 0);
	if (strategy !== 'spillover') return 0;
	// The least loaded; one that is not loaded once the others have all they may.
	const loads = targets.map((target) => {
		const { state, in_flight: busy = 0, queued = 0 } = target || {};
		if (state === 'stopping') return NaN;
		return busy + queued || (['ready', 'starting'].includes(state) ? 0 : spillover - 0.5);
	});
	return loads.indexOf(Math.min(...loads.filter((load) => load >= 0)));
}
