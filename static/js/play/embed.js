// Embed: vectors of texts, how long they are, and how alike.
import { h } from '../core/dom.js';
import { num } from '../core/format.js';
import { card, copyButton } from '../ui/parts.js';
import { amount, grid, linesOf, sum, tool, words } from './tool.js';

export const panel = (ctx) => tool(ctx, { name: 'embed', verb: 'Embed', show: shown,
	settings: amount('Dimensions', 'dimensions', { min: 1, step: 1 }),
	form: words('Texts, one per line', 'input', 6, { required: true,
		hint: 'Two or more are compared: 1 is the same direction.' }),
	ask: async ({ input, ...rest }, { send }) => {
		const texts = linesOf(input);
		const { data, usage } = await send('v1/embeddings', { input: texts, ...rest });
		return { texts, usage, rows: data.sort((a, b) => a.index - b.index).map((row) => row.embedding) };
	} });

const dot = (a, b) => sum(a.map((value, at) => value * b[at]));
const norm = (a) => Math.sqrt(dot(a, a));
/** NaN when a vector has no direction. */
export const cosine = (a, b) => dot(a, b) / (norm(a) * norm(b));

function shown({ texts, rows, usage }) {
	const name = (text) => h('span', { title: text }, text.length > 24 ? `${text.slice(0, 23)}\u2026` : text);
	const cell = (likeness) => h('td', { class: 'num', css: { '--w': `${Math.max(0, likeness || 0) * 45}%` } },
		num(likeness, 3));
	return h('div', { class: 'stack' },
		h('p', null, `Dimension ${num(rows[0].length)}, ${num(usage?.total_tokens)} tokens`),
		card('Cosine similarity', { class: 'heat' }, grid('Cosine similarity', ['Text', ...texts.map(name)],
			rows.map((row, at) => [name(texts[at]), ...rows.map((other) => cell(cosine(row, other)))]))),
		card('Vectors', { actions: copyButton(JSON.stringify(rows), 'Copy all') }, rows.map((row, at) => h('details', null,
			h('summary', null, name(texts[at]), `: norm ${num(norm(row), 3)}`),
			h('pre', { class: 'well wrap', tabindex: '0' }, row.join(', '))))));
}
