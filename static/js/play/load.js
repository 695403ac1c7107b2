// Load test: the same request many times at once, in steps.
import { h } from '../core/dom.js';
import { download } from '../core/clipboard.js';
import { duration, speed } from '../core/format.js';
import { signal } from '../core/signal.js';
import { button } from '../ui/parts.js';
import { statsOf } from './api.js';
import { amount, chatWith, entry, grid, mean, sum, tool, words } from './tool.js';

const MOST = 5;      // a browser opens six connections to one server, and our event stream has one of them

/** By nearest rank. */
export const percentile = (values, percent) =>
	[...values].sort((a, b) => a - b)[Math.ceil(values.length * percent / 100) - 1];

export function panel(ctx) {
	const results = signal([]);        // a row of the CSV per request that has ended
	const spans = new Map();           // level → milliseconds it took
	const failed = () => results().filter((row) => row.error);

	async function one(step, request, ended) {
		const run = chatWith(request, ended);
		await run.done;
		const { ttft, ms, prompt, output, speed: pace } = statsOf(run);
		const row = { level: step, state: run.state, wait_ms: null, load_ms: null, prompt_ms: null,
			generate_ms: ttft && ms - ttft, first_token_ms: ttft, total_ms: ms, prompt_tokens: prompt, output_tokens: output,
			tokens_per_second: pace, error: run.error?.message };
		results.update((all) => [...all, row]);
		if (run.error) await new Promise((resolve) => { setTimeout(resolve, 250); });        // no storm of refusals
		// Not waited for: the next request is due.
		else run.told().then((told) => told && results.update((all) => all.map((each) => (each === row ? { ...row,
			wait_ms: told.wait, load_ms: told.load, prompt_ms: ttft && ttft - told.wait - told.load } : each))));
	}

	async function ask({ steps, count = Infinity, seconds = Infinity, limit, prompt }, { model, signal: ended }) {
		if (Math.min(count, seconds) === Infinity) throw new Error('A step needs a number of requests or seconds.');
		const request = { model, prompt, params: { max_tokens: limit } };
		results.set([]);
		spans.clear();
		for (const step of steps.split(/[ ,]+/).map(Number)) {
			const begun = performance.now();
			let left = count;
			const isDue = () => !ended.aborted && performance.now() - begun < seconds * 1000 && left-- > 0;
			const client = async () => { while (isDue()) await one(step, request, ended); };
			await Promise.all(Array.from({ length: step }, client));
			spans.set(step, performance.now() - begun);
		}
	}

	return tool(ctx, { name: 'load', verb: 'Start the load test', ask, isLong: true,
		settings: [entry('At once, in steps', 'steps', { value: '1, 2, 4', required: true,
			pattern: `[1-${MOST}]([ ,]+[1-${MOST}])*`, hint: `1 to ${MOST}: a browser opens no more.` }),
		amount('Requests per step', 'count', { value: 8, min: 1, step: 1, placeholder: 'any number' }),
		amount('Seconds per step', 'seconds', { placeholder: 'no limit' }),
		amount('Most tokens per answer', 'limit', { value: 64, min: 1, step: 1, required: true })],
		form: [h('p', { class: 'notice warning' },
			'This is a load test: it keeps the model busy and others waiting, and may unload what is loaded.'),
		words('Prompt', 'prompt', 3, { required: true, value: 'Tell a short story about a lighthouse.' })],
		status: () => (results().length ? `${results().length} ended, ${failed().length} failed` : ''),
		after: () => results().length > 0 && [
			failed().length > 0 && h('p', { class: 'error-text' }, `First error: ${failed()[0].error}`),
			summary(results(), spans), h('div', { class: 'row' }, button('Download CSV', { icon: 'download',
				onclick: () => download('load-test.csv', csv(results.peek()), 'text/csv') }))] });
}

export const csv = (rows) => [Object.keys(rows[0]), ...rows.map(Object.values)]
	.map((cells) => `${cells.map(csvCell).join(',')}\r\n`).join('');

function csvCell(value) {
	if (typeof value !== 'string') return Number.isFinite(value) ? Math.round(value * 100) / 100 : '';
	return `"${value.replace(/^[=+\-@\t]/, "'$&").replaceAll('"', '""')}"`;       // no formula for a spreadsheet
}

function summary(rows, spans) {
	const levels = [...new Set(rows.map(({ level }) => level))];
	const of = (step, name) => rows.filter((row) => row.level === step && row.state === 'done').map((row) => row[name])
		.filter(Number.isFinite);
	const means = ['Wait', 'Load', 'Prompt', 'Generate'].map((label) => [`${label}, mean`,
		(step) => duration(mean(of(step, `${label.toLowerCase()}_ms`)))]);
	const shares = (label, name) => [50, 95, 99].map((percent) => [`${label} p${percent}`,
		(step) => duration(percentile(of(step, name), percent))]);
	const table = [['Answered', (step) => of(step, 'total_ms').length],
		['Failed', (step) => rows.filter((row) => row.level === step && row.error).length], ...means,
		...shares('First token', 'first_token_ms'), ...shares('Total', 'total_ms'),
		['Speed of each', (step) => speed(mean(of(step, 'tokens_per_second')))],
		['Speed together', (step) => speed(sum(of(step, 'output_tokens')) * 1000 / spans.get(step))]];
	return grid('Results by step', ['At once', ...levels], table.map(([label, read]) => [label, ...levels.map(read)]));
}
