// Rerank: which of the documents answers the query best.
import { h } from '../core/dom.js';
import { num } from '../core/format.js';
import { meter } from '../ui/bars.js';
import { amount, entry, linesOf, tool, words } from './tool.js';

export const panel = (ctx) => tool(ctx, { name: 'rerank', suits: (has) => has.reranker, verb: 'Rerank', show: shown,
	settings: amount('Best only', 'top_n', { min: 1, step: 1, placeholder: 'all' }),
	form: [entry('Query', 'query', { required: true, placeholder: '' }),
		words('Documents', 'documents', 8, { required: true, hint: 'One per line, or a JSON list of texts.' })],
	ask: async (values, { send }) => {
		const documents = textsOf(values.documents);
		const { results, data, usage } = await send('v1/rerank', { ...values, documents });
		const rows = (results || data).map(({ index, relevance_score: score, score: other }) =>
			({ number: index + 1, score: score ?? other, text: documents[index] }));
		return { rows: rows.sort((a, b) => b.score - a.score), usage };
	} });

function textsOf(text) {
	if (!/^\[\s*"/.test(text)) return linesOf(text);
	const found = JSON.parse(text);
	if (!found.every((each) => typeof each === 'string')) throw new Error('Not a JSON list of texts');
	return found;
}

const shown = ({ rows, usage }) => [
	h('ol', { class: 'plain-list card', 'aria-label': 'Ranked documents' }, rows.map(({ number, score, text }) =>
		h('li', null, meter({ label: `${number}. ${text}`, value: () => score, max: () => rows[0].score,
			text: num(score, 4) })))),
	h('p', { class: 'muted' }, `${num(usage?.total_tokens)} tokens`)];
