// What is loaded, what it costs, who waits, what broke.
import { each, h, inStack } from '../core/dom.js';
import { bytes, clock, isNumber, num, serverNow, short, since, speed, sum, timeElement } from '../core/format.js';
import { href } from '../core/router.js';
import { computed, untracked } from '../core/signal.js';
import { alike, displayName, faceOf, hasFailure, models, stateOf } from '../state/models.js';
import { MIB, perf } from '../state/perf.js';
import { isWaiting, live } from '../state/requests.js';
import { asked, meanSpeed, minute, recentRows, spansOf } from '../ui/asked.js';
import { spark, stackedBar } from '../ui/bars.js';
import { costs, happening, link, modelAction, modelLink, modelsPage, stateBadge } from '../ui/modelparts.js';
import { card } from '../ui/parts.js';

const HOUR = 3600;
const MINUTE = 60;
const MAX_WAITING = 20;
const MAX_PROBLEMS = 5;
const HARMLESS = ['ok', 'cancelled', 'client_gone'];

export const mount = (ctx) => modelsPage(ctx, 'Overview', () => {
	const { tiles, problems } = lastHour();
	return inStack(h('div', { class: 'cols-2' }, inStack(loaded(), waiting()),
		inStack(memory(), tiles)), problems);
});

/** A card with a list, or with a word about why it is empty. */
const listCard = (title, items, render, empty) => card(title, {},
	each(h('ul', { class: 'plain-list' }), items, (item) => item.id, render),
	() => !items().length && h('p', { class: 'muted' }, empty));

function loaded() {
	const shown = computed(() => models().filter((model) => !model.peer && (model.state !== 'stopped'
		|| hasFailure(model))));
	return listCard('Loaded now', shown, (model) => {
		const { id } = model.peek();
		return h('li', { class: 'loaded', 'data-model': id, 'data-state': () => stateOf(model()) },
			h('div', { class: 'loaded-line' },
				h('div', { class: 'grow row' }, stateBadge(() => faceOf(model())), modelLink(id, () => displayName(model()))),
				costs(model, { class: 'num muted' }), modelAction(model)),
			happening(model));
	}, 'Nothing. A request for a model loads it.');
}

function waiting() {
	const all = computed(() => live().filter(isWaiting));
	return listCard(() => `Waiting (${all().length})`, () => all().slice(0, MAX_WAITING), (request) => {
		const { id, model, session, client, at } = request.peek();
		return h('li', { class: 'waiting', 'data-request': id, 'data-phase': () => request().phase },
			h('span', { class: 'num muted' }, () => request().position ?? '·'),
			link(href('requests', id), model),
			h('span', { class: 'clip muted' }, `${session || ''} ${client}`),
			h('span', { class: 'num' }, () => clock(since(at))),
			h('span', { class: 'grow muted' }, () => request().reason));
	}, 'Nobody is waiting.');
}

export function memory() {
	const gpus = computed(() => perf()?.gpus || []);
	const ids = computed(() => gpus().map((gpu) => gpu.id), alike);
	const bar = (id) => {
		const gpu = () => gpus().find((each) => each.id === id) || {};
		return stackedBar({ label: `GPU ${id} ${gpu().name || ''}`, total: () => (gpu().mem_total_mb ?? NaN) * MIB,
			format: bytes, segments: () => segments(gpu()) });
	};
	return () => ids().length > 0 && card('GPU memory', {}, inStack(
		untracked(() => ids().map(bar))));
}

/** Models in a fixed order, so that their colours stay; what no model explains is "other". */
function segments({ id, mem_used_mb: used, mem_total_mb: total }) {
	const sizeOf = ({ memory: { gpus } }) => gpus?.find((each) => each.gpu === id)?.bytes;
	const parts = models().filter(sizeOf).map((model, i) => ({ label: displayName(model), value: sizeOf(model),
		href: href('models', model.id), series: (i % 7) + 1 }));
	if (!isNumber(used)) return [...parts, { label: 'used', value: null, series: 8 }];
	const known = sum(parts.map((part) => part.value));
	const rest = used * MIB - known;
	if (rest > 0) parts.push({ label: known ? 'other' : 'used (by model: unknown)', value: rest, series: 8 });
	return [...parts, { label: 'free', value: Math.max(0, total * MIB - Math.max(used * MIB, known)), series: 'free' }];
}

/** Four tiles and a list of what went wrong, from the history and kept up by the stream. */
function lastHour() {
	const { rows, more, complaint } = recentRows(() => serverNow() - HOUR);
	// Where nothing is measured the question would be an error.
	const power = asked(`api/performance?range=${HOUR}&step=${MINUTE}`, computed(() => perf() && minute()));
	const minutes = computed(() => spansOf(rows() || [], MINUTE, HOUR / MINUTE).map(({ items }) => items));
	const inHour = computed(() => minutes().flat());
	const problems = computed(() => inHour().filter(isProblem).sort((a, b) => b.at - a.at));
	const watts = computed(() => wattHours(power.value()));
	const count = (number) => (rows() ? short(number) + more() : 'unknown');
	const tile = (label, text, values, ...to) => h('a', { class: 'tile', href: href(...to) },
		h('div', { class: 'muted small' }, label), h('div', { class: 'big num' }, text), spark({ label, values, text }));
	return {
		tiles: card('Last hour', {}, complaint, h('div', { class: 'tiles' },
			tile('Requests', () => count(inHour().length), () => minutes().map((items) => items.length), 'requests',
				{ since: '1h' }),
			tile('Errors', () => count(problems().length), () => minutes().map((items) => items.filter(isProblem).length),
				'requests', { status: 'error', since: '1h' }),
			tile('Generation', () => speed(meanSpeed(inHour()), 'none'), () => minutes().map(meanSpeed), 'requests'),
			() => watts() && tile('GPU energy', () => `${num(sum(watts()))} Wh est.`, watts, 'system', 'live'))),
		problems: listCard('Recent problems', () => problems().slice(0, MAX_PROBLEMS), problem, 'None in the last hour.'),
	};
}

const isProblem = (row) => row.resp_status_code >= 400 || !HARMLESS.includes(row.outcome);

function problem(row) {
	const { id, at, model, requested, resp_status_code: status, outcome, error_msg: text } = row.peek();
	return h('li', { class: 'problem' }, timeElement(at), modelLink(model || requested),
		h('span', { class: 'badge is-failed num' }, status || outcome),
		h('span', { class: 'grow clip', title: text }, (text || outcome).split('\n')[0]),
		link(href('requests', id), 'Open', { 'aria-label': `Open request ${id}` }));
}

/** Per minute, of all cards together; null when none measures its power. */
function wattHours(answer) {
	const known = (answer?.gpu_stats || []).filter((sample) => sample.power_draw_w > 0)
		.map((sample) => ({ at: Date.parse(sample.timestamp) / 1000, watts: sample.power_draw_w }));
	const hours = Math.max(MINUTE, answer?.every) / HOUR;        // a sample stands for that long
	return known.length > 0 && spansOf(known, MINUTE, HOUR / MINUTE)
		.map(({ items }) => (items.length ? sum(items.map((item) => item.watts)) * hours : null));
}
