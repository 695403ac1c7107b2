// Chats that are measured: Compare and the load test.
import { each, h, inRow } from '../core/dom.js';
import { download } from '../core/clipboard.js';
import { duration, isNumber, num, speed, sum } from '../core/format.js';
import { route, setQuery } from '../core/router.js';
import { signal } from '../core/signal.js';
import { displayName, modelById } from '../state/models.js';
import { watts } from '../state/perf.js';
import { button, slim, switchBox } from '../ui/parts.js';
import { newSession, rowOf, startChat, statsOf } from './api.js';
import { answerBody } from './message.js';
import { modelPicker, paramsForm, planOf } from './side.js';
import { amount, choice, entry, grid, partsOf, tool, words } from './tool.js';

const mean = (list) => sum(list) / list.length;

/** `told()`: {wait, load} as the server tells a moment after the end, or null. */
function chatWith({ prompt, ...request }, ended) {
	const run = startChat({ session: newSession(), messages: [{ role: 'user', text: prompt }], ...request });
	ended.addEventListener('abort', run.stop);
	run.told = () => rowOf(run.session).then((row) => row && { wait: row.queue_ms || 0, load: row.load_ms || 0 });
	return run;
}

// --- compare

const MOST_MODELS = 4;
const DIFF_WORDS = 3000;
// [label, key of the stats, how those of several prompts are joined, format]
const COLUMNS = [['Swap', 'swap', sum, duration], ['First token', 'first', mean, duration],
	['Speed', 'speed', mean, speed], ['Tokens', 'output', sum, num], ['Model time', 'own', sum, duration],
	['Wh est.', 'energy', sum, (value) => num(value, 3)]];

export function compare(ctx) {
	const models = () => route().query.getAll('model').slice(0, MOST_MODELS);
	const params = signal({});
	const isBlind = signal(false);
	const lanes = signal([]);          // [{model, turns}] as shown
	const setModels = (model) => setQuery({ model });
	const name = ({ model }, at) => (isBlind() ? `Model ${'ABCD'[at]}` : displayName(modelById(model) || { id: model }));

	async function ask({ prompt, system, order }, { signal: ended }) {
		const chosen = models();
		if (chosen.length < 2) throw new Error('Choose two to four models.');
		// Side by side only when it is certain that none has to be loaded.
		const together = order ? order === 'all'
			: (await Promise.all(chosen.map(planOf))).every((plan) => plan?.action === 'serve');
		const made = chosen.map((model) => ({ model, turns: signal([]) }));
		lanes.set(isBlind.peek() ? [...made].sort(() => Math.random() - 0.5) : made);
		const runLane = async (lane) => {
			for (const text of partsOf(prompt, /^---$/m)) {
				if (!ended.aborted) await askOne(lane, { prompt: text, system, params: params.peek() }, ended);
			}
		};
		if (together) await Promise.all(made.map(runLane));
		else for (const lane of made) await runLane(lane);
		return h('p', null, together ? 'They ran side by side.' : 'They ran one after another.');
	}

	return tool(ctx, { name: 'compare', verb: 'Compare', ask,
		models: [h('ul', { class: 'plain-list', 'aria-label': 'Models' }, () => models().map((model) =>
			h('li', { class: 'row' }, h('span', { class: 'grow' }, model), button('Remove', { ...slim,
				'aria-label': `Remove ${model}`, onclick: () => setModels(models().filter((id) => id !== model)) })))),
		() => models().length < MOST_MODELS && modelPicker({ label: 'Add a model', value: () => '',
			onchange: (id) => setModels([...new Set([...models(), id])]) })],
		settings: [choice('Order', 'order', [['', 'as they fit'], ['one', 'one by one'], ['all', 'together']]),
			switchBox('Blind: hide the names', isBlind),
			h('details', null, h('summary', null, 'Parameters and system prompt'), words('System prompt', 'system', 2),
				paramsForm(params, params.set))],
		form: words('Prompt', 'prompt', 4, { required: true, hint: 'Several: put a line of --- between them.' }),
		after: () => lanes().length > 0 && [
			grid('Results by model', ['Model', ...COLUMNS.map(([label]) => label)],
				lanes().map((lane, at) => [() => name(lane, at), ...COLUMNS.map((column) => () => cell(lane, column))])),
			h('div', { class: 'lanes' }, lanes().map((lane, at) =>
				h('section', { class: 'card' }, h('h2', null, () => name(lane, at)),
					each(h('div', { class: 'stack' }), lane.turns, (turn) => turn, answer)))),
			difference(lanes(), name)] });
}

async function askOne({ model, turns }, request, ended) {
	const run = chatWith({ model, ...request }, ended);
	const item = signal({ text: '', state: 'running', model });
	const now = signal(run);
	turns.update((all) => [...all, { prompt: request.prompt, item, now }]);
	const power = [watts.peek()];
	const timer = setInterval(() => power.push(watts.peek()), 1000);
	await run.done;
	clearInterval(timer);
	const stats = statsOf(run);
	stats.energy = mean(power.filter(isNumber)) * stats.ms / 3.6e6;       // of the whole machine
	const message = { ...run.answer, state: run.state, error: run.error, served: run.answer.model, model, stats };
	item.set(message);
	now.set(null);
	const told = await run.told();
	const swap = told && told.wait + told.load;          // is no time of the model
	if (told) item.set({ ...message, stats: { ...stats, swap, own: stats.ms - swap,
		first: stats.ttft && stats.ttft - swap } });
}

function answer(turn) {
	const { prompt, item, now } = turn.peek();
	return h('div', { class: 'stack tight' }, h('p', { class: 'muted small clip', title: prompt }, prompt),
		answerBody(item, now).element);
}

function cell({ turns }, [, key, join, format]) {
	const all = turns().map(({ item }) => item().stats).filter(Boolean);
	const values = all.map((stats) => stats[key]).filter(isNumber);
	if (!values.length) return 'unknown';
	return format(join(values)) + (all.some(({ guessed }) => guessed.includes(key)) ? ' est.' : '');
}

function difference(lanes, name) {
	const isShown = signal(false);
	const [first, ...others] = lanes.map(({ turns }) => () => turns().map(({ item }) => item().text).join('\n\n'));
	return h('details', { class: 'card', ontoggle: (event) => isShown.set(event.target.open) },
		h('summary', null, 'Differences'), () => isShown() && others.map((other, at) => [
			h('h3', null, () => `${name(lanes[at + 1], at + 1)} against ${name(lanes[0], 0)}`), h('p', { class: 'said diff' },
				diff(first(), other()).map(([kind, word]) => (kind ? h(kind, null, word) : word)))]));
}

/** [['' | 'ins' | 'del', word], …]: the longest common words stay. */
export function diff(before, after) {
	const [a, b] = [before, after].map((text) => (text.match(/\s*\S+/g) || []).slice(0, DIFF_WORDS));
	const best = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1));
	for (let i = a.length - 1; i >= 0; i--) {
		for (let j = b.length - 1; j >= 0; j--) {
			best[i][j] = a[i] === b[j] ? best[i + 1][j + 1] + 1 : Math.max(best[i + 1][j], best[i][j + 1]);
		}
	}
	const found = [];
	for (let [i, j] = [0, 0]; i < a.length || j < b.length;) {
		if (a[i] === b[j]) {
			found.push(['', a[i++]]);
			j++;
		} else if (j === b.length || best[i + 1]?.[j] >= best[i][j + 1]) found.push(['del', a[i++]]);
		else found.push(['ins', b[j++]]);
	}
	return found;
}

// --- load test

const MOST_AT_ONCE = 5;      // of a browser's six connections: the event stream has one

/** By nearest rank. */
export const percentile = (values, percent) =>
	[...values].sort((a, b) => a - b)[Math.ceil(values.length * percent / 100) - 1];

export function load(ctx) {
	const results = signal([]);        // rows of the CSV
	const spans = {};                  // level → milliseconds it took

	async function one(level, request, ended) {
		const run = chatWith(request, ended);
		await run.done;
		const { ttft, ms, prompt, output, speed: pace } = statsOf(run);
		const row = { level, state: run.state, wait_ms: null, load_ms: null, prompt_ms: null,
			generate_ms: ttft && ms - ttft, first_token_ms: ttft, total_ms: ms, prompt_tokens: prompt, output_tokens: output,
			tokens_per_second: pace, error: run.error?.message };
		results.update((all) => [...all, row]);
		if (run.error) await new Promise((resolve) => { setTimeout(resolve, 250); });        // no storm of refusals
		else run.told().then((told) => {
			Object.assign(row, told && { wait_ms: told.wait, load_ms: told.load,
				prompt_ms: ttft && ttft - told.wait - told.load });
			results.update((all) => [...all]);
		});
	}

	async function ask({ steps, count = Infinity, seconds = Infinity, limit, prompt }, { model, signal: ended }) {
		if (Math.min(count, seconds) === Infinity) throw new Error('A step needs a number of requests or seconds.');
		const request = { model, prompt, params: { max_tokens: limit } };
		results.set([]);
		for (const step of steps.split(/[ ,]+/).map(Number)) {
			const begun = performance.now();
			let left = count;
			const isDue = () => !ended.aborted && performance.now() - begun < seconds * 1000 && left-- > 0;
			const client = async () => { while (isDue()) await one(step, request, ended); };
			await Promise.all(Array.from({ length: step }, client));
			spans[step] = performance.now() - begun;
		}
	}

	const bad = () => results().find((row) => row.error);
	return tool(ctx, { name: 'load', verb: 'Start the load test', ask,
		settings: [entry('At once, in steps', 'steps', { value: '1, 2, 4', required: true,
			pattern: `[1-${MOST_AT_ONCE}]([ ,]+[1-${MOST_AT_ONCE}])*`, hint: `At most ${MOST_AT_ONCE}` }),
		amount('Requests per step', 'count', { value: 8, min: 1, step: 1, placeholder: 'any number' }),
		amount('Seconds per step', 'seconds', { placeholder: 'no limit' }),
		amount('Most tokens per answer', 'limit', { value: 64, min: 1, step: 1, required: true })],
		form: [h('p', { class: 'notice warning' },
			'This is a load test: it keeps the model busy, lets others wait, and may unload models.'),
		words('Prompt', 'prompt', 3, { required: true, value: 'Tell a short story about a lighthouse.' })],
		after: () => results().length > 0 && [
			bad() && h('p', { class: 'error-text' }, `First error: ${bad().error}`),
			summary(results(), spans), inRow(button('Download CSV', { icon: 'download',
				onclick: () => download('load-test.csv', csv(results.peek()), 'text/csv') }))] });
}

export const csv = (rows) => [Object.keys(rows[0]), ...rows.map(Object.values)]
	.map((cells) => `${cells.map(csvCell).join(',')}\r\n`).join('');

function csvCell(value) {
	if (typeof value !== 'string') return isNumber(value) ? Math.round(value * 100) / 100 : '';
	return `"${value.replace(/^[=+\-@\t]/, "'$&").replaceAll('"', '""')}"`;       // no formula for a spreadsheet
}

function summary(rows, spans) {
	const levels = [...new Set(rows.map(({ level }) => level))];
	const at = (step, state) => rows.filter((row) => row.level === step && row.state === state);
	const of = (step, name) => at(step, 'done').map((row) => row[name]).filter(isNumber);
	const means = ['Wait', 'Load', 'Prompt', 'Generate'].map((label) => [`${label}, mean`,
		(step) => duration(mean(of(step, `${label.toLowerCase()}_ms`)))]);
	const shares = (label, name) => [50, 95, 99].map((percent) => [`${label} p${percent}`,
		(step) => duration(percentile(of(step, name), percent))]);
	const table = [['Answered', (step) => at(step, 'done').length], ['Failed', (step) => at(step, 'error').length],
		...means, ...shares('First token', 'first_token_ms'), ...shares('Total', 'total_ms'),
		['Speed of each', (step) => speed(mean(of(step, 'tokens_per_second')))],
		['Speed together', (step) => speed(sum(of(step, 'output_tokens')) * 1000 / spans[step])]];
	return grid('Results by step', ['At once', ...levels], table.map(([label, read]) => [label, ...levels.map(read)]));
}
