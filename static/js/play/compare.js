// Compare: the same words for two to four models. One after the other unless they are known to fit side by side.
import { each, h } from '../core/dom.js';
import { duration, num, speed } from '../core/format.js';
import { route, setQuery } from '../core/router.js';
import { signal } from '../core/signal.js';
import { displayName, modelById } from '../state/models.js';
import { watts } from '../state/perf.js';
import { button, switchBox } from '../ui/parts.js';
import { statsOf } from './api.js';
import { answerBody } from './message.js';
import { paramsForm } from './params.js';
import { modelPicker, planOf } from './picker.js';
import { chatWith, choice, grid, mean, sum, tool, words } from './tool.js';

const MOST = 4;
const DIFF_WORDS = 3000;
// [label, key of the stats, how those of several prompts are joined, format]
const COLUMNS = [['Swap', 'swap', sum, duration], ['First token', 'first', mean, duration],
	['Speed', 'speed', mean, speed], ['Tokens', 'output', sum, num], ['Model time', 'own', sum, duration],
	['Wh est.', 'energy', sum, (value) => num(value, 3)]];

export function panel(ctx) {
	const models = () => route().query.getAll('model').slice(0, MOST);
	const params = signal({});
	const isBlind = signal(false);
	const lanes = signal([]);            // [{model, turns}] of the last comparison, as shown
	const status = signal('');
	const missing = () => (models().length < 2 ? 'Choose two to four models.' : '');
	const setModels = (model) => setQuery({ model });
	const name = ({ model }, at) => (isBlind() ? `Model ${'ABCD'[at]}` : displayName(modelById(model) || { id: model }));

	async function ask({ prompt, system, order }, { signal: ended }) {
		if (missing()) throw new Error(missing());
		const chosen = models();
		// Only what is certain: all of them are loaded now or elsewhere, and none would have to go for another.
		const together = order ? order === 'all'
			: (await Promise.all(chosen.map(planOf))).every((plan) => plan?.action === 'serve');
		const made = chosen.map((model) => ({ model, turns: signal([]) }));
		lanes.set(isBlind.peek() ? [...made].sort(() => Math.random() - 0.5) : made);
		status.set(together ? 'Running side by side' : 'Running one after another');
		const runLane = async (lane) => {
			for (const text of prompt.split(/^---$/m)) {
				if (!ended.aborted) await askOne(lane, { prompt: text.trim(), system, params: params.peek() }, ended);
			}
		};
		if (together) await Promise.all(made.map(runLane));
		else for (const lane of made) await runLane(lane);
		status.set(together ? 'They ran side by side.' : 'They ran one after another.');
	}

	return tool(ctx, { verb: 'Compare', isLong: true, ask, status: () => missing() || status(),
		settings: [h('ul', { class: 'plain-list', 'aria-label': 'Models' }, () => models().map((model) =>
			h('li', { class: 'row' }, h('span', { class: 'grow' }, model), button('Remove', { kind: 'quiet', class: 'slim',
				'aria-label': `Remove ${model}`, onclick: () => setModels(models().filter((id) => id !== model)) })))),
		() => models().length < MOST && modelPicker({ label: 'Add a model', value: () => '',
			onchange: (id) => setModels([...new Set([...models(), id])]) }),
		choice('Order', 'order', [['', 'as they fit'], ['one', 'one by one'], ['all', 'together']]),
		switchBox('Blind: hide the names', isBlind),
		h('details', null, h('summary', null, 'Parameters and system prompt'), words('System prompt', 'system', 2),
			paramsForm(params, params.set))],
		form: words('Prompt', 'prompt', 4, { required: true,
			hint: 'Several: put a line of --- between them.' }),
		after: () => lanes().length > 0 && [
			grid('Results by model', ['Model', ...COLUMNS.map(([label]) => label)],
				lanes().map((lane, at) => [() => name(lane, at), ...COLUMNS.map((column) => () => cell(lane, column))])),
			h('div', { class: 'lanes' }, lanes().map((lane, at) =>
				h('section', { class: 'card' }, h('h2', null, () => name(lane, at)), answers(lane)))),
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
	stats.energy = mean(power.filter(Number.isFinite)) * stats.ms / 3.6e6;       // of the whole machine
	const message = { ...run.answer, state: run.state, error: run.error, served: run.answer.model, model, stats };
	item.set(message);
	now.set(null);
	const told = await run.told();
	const swap = told && told.wait + told.load;          // is no time of the model
	if (told) item.set({ ...message, stats: { ...stats, swap, own: stats.ms - swap,
		first: stats.ttft && stats.ttft - swap } });
}

const answers = ({ turns }) => each(h('div', { class: 'stack' }), turns, (turn) => turn, (turn) => {
	const { prompt, item, now } = turn.peek();
	return h('div', { class: 'stack tight' }, h('p', { class: 'muted small clip', title: prompt }, prompt),
		answerBody(item, now).element);
});

function cell({ turns }, [, key, join, format]) {
	const all = turns().map(({ item }) => item().stats).filter(Boolean);
	const values = all.map((stats) => stats[key]).filter(Number.isFinite);
	if (!values.length) return all.length ? 'unknown' : 'not yet';
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
		const isGone = j === b.length || best[i + 1]?.[j] >= best[i][j + 1];
		const kind = a[i] === b[j] ? '' : isGone ? 'del' : 'ins';
		found.push([kind, kind === 'ins' ? b[j++] : a[i++]]);
		if (!kind) j++;
	}
	return found;
}
