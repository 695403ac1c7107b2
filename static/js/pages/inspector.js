// One request in the drawer: how its time went, what was said, its headers and its bodies.
import { h } from '../core/dom.js';
import { bytes, dateTime, duration } from '../core/format.js';
import { api, apiUrl } from '../core/net.js';
import { go, href, route } from '../core/router.js';
import { computed, untracked } from '../core/signal.js';
import { API } from '../state/requesthistory.js';
import { pathOf } from '../state/requestquery.js';
import { done, live } from '../state/requests.js';
import { asked } from '../ui/asked.js';
import { timelineBar } from '../ui/bars.js';
import { openDrawer } from '../ui/drawer.js';
import { modelLink } from '../ui/modelparts.js';
import { button, codeBlock, copyButton, emptyState, facts, iconButton } from '../ui/parts.js';
import { NUMBERS, cancelButton, isLive, stateOf, text } from '../ui/requestcells.js';
import { tabs } from '../ui/tabs.js';
import { toast, toastError } from '../ui/toast.js';
import { conversation, curlOf, readCapture } from './conversation.js';
import { draftOf } from './transcript.js';

const FACTS = [['Client', 'client'], ['Session', 'session'], ['User agent', 'user_agent'],
	['Request ID', 'request_id']];

/** `id`: () => the number of the request, from the address; `list`: the table. */
export function openInspector({ id, list, onClose }) {
	const step = async (by) => {
		try {
			const next = await list.step(untracked(id), by);
			if (next) go(href('requests', next) + location.hash.replace(/^[^?]*/, ''), { replace: true });
			else toast('That was the last one');
		} catch (error) {
			toastError(error, 'Could not find the next request');
		}
	};
	return openDrawer({
		title: () => `Request ${id()}`,
		actions: [iconButton('up', 'Previous request', { onclick: () => step(-1) }),
			iconButton('down', 'Next request', { onclick: () => step(1) })],
		onClose,
		body: () => () => {
			const number = id();
			return number && h('div', null, untracked(() => inspect(number)));
		},
	});
}

function inspect(id) {
	const find = (rows) => rows.find((row) => row.id === id);
	const running = computed(() => find(live()));
	const isRunning = computed(() => Boolean(running()));
	// By its number in the list, so that one which is not there is an answer and no error.
	return asked(async (abort) => running.peek() || find(done.peek())
		|| (await api(API, { query: { min_id: id, max_id: id }, signal: abort })).data[0] || { isGone: true }, isRunning)
		.view((row) => (row.isGone ? emptyState({ title: 'This request is not in the history',
			text: 'It may be too old, or its number may be wrong.' }) : content(computed(() => running() || row))));
}

function content(row) {
	const first = row.peek();
	const capture = () => asked((abort) => api(apiUrl('api', 'captures', first.id), { signal: abort }))
		.view((found) => views(first, readCapture(found, first)));
	return h('div', { class: 'stack inspector' },
		h('div', { class: 'row' }, stateOf(row), modelLink(first.model), h('span', { class: 'muted' }, dateTime(first.at)),
			isLive(first) && cancelButton(row)),
		first.error_msg && h('p', { class: 'notice error wrap' }, first.error_msg),
		timelineBar({ label: 'Time', parts: () => timeline(row()), format: duration }),
		facts(NUMBERS.map(([, term, , read]) => [term, text((now) => read(now) || 'not yet')(row)]), { class: 'narrow' }),
		facts([['Path', `${first.method} ${pathOf(first)}`],
			first.requested !== first.model && ['Asked for', first.requested],
			...FACTS.map(([term, name]) => first[name] && [term, first[name]]), ...Object.entries(first.metadata || {})]),
		isLive(first) ? h('p', { class: 'muted' }, 'What was said is shown here when the answer has ended.')
			: first.has_capture ? capture() : notKept());
}

const notKept = () => emptyState({ title: 'Nothing was kept of what was said',
	text: 'captureBuffer in the configuration is the memory for this, in MiB: 0 keeps nothing, and the oldest go when '
		+ 'it is full or the program ends.' }, h('a', { href: href('system', 'config') }, 'Show the configuration'));

/** Which part of the whole time went where. An answer in one piece begins when all of it is there. */
function timeline(row) {
	const whole = isLive(row) ? row.elapsed_ms : row.duration_ms;
	const waited = Math.min(whole, row.wait_ms ?? row.queue_ms + row.load_ms);
	const prompt = row.stream ? Math.max(0, (row.ttft_ms ?? whole) - waited) : whole - waited;
	return [...isLive(row) ? [['waiting', waited, 'queued']]
		: [['queued', row.queue_ms, 'queued'], ['loading', row.load_ms, 'starting']],
	[row.stream ? 'prompt' : 'prompt and answer', prompt, 'peer'], ['generating', whole - waited - prompt, 'ready']]
		.map(([label, ms, kind]) => ({ label, ms, kind }));
}

const VIEWS = [['messages', 'Messages', conversation],
	['headers', 'Headers', (capture) => sides(capture, ({ headers }) => facts(headers, { class: 'mono' }))],
	['raw', 'Raw', (capture) => sides(capture, ({ note, text: said, pretty }, title) => [
		note && h('p', { class: 'notice warning' }, note), said && codeBlock(pretty, { label: `${title} body` })])]];
const sides = ({ sent, got }, show) => [['Request', sent], ['Answer', got]].map(([title, body]) => [
	h('h3', null, title, h('span', { class: 'muted small' }, ` ${body.type} ${bytes(body.size)}`)), show(body, title)]);

function views(row, capture) {
	const query = (part) => ({ ...Object.fromEntries(route().query), part });
	const current = () => VIEWS.find(([name]) => name === route().query.get('part')) || VIEWS[0];
	return h('div', { class: 'stack' }, actions(row, capture), tabs('Parts of the request',
		() => VIEWS.map(([id, label], at) => ({ id, label, href: href('requests', row.id, query(at ? id : '')) })),
		() => current()[0], () => h('div', { class: 'stack' }, current()[2](capture))));
}

function actions(row, { sent, got }) {
	const draft = draftOf(sent, row.requested || row.model);
	const play = () => {
		try {
			sessionStorage.setItem('lsw-play-draft', JSON.stringify(draft));
			go('#/play/chat?draft=1');
		} catch (error) {
			toastError(error, 'Could not hand it to the playground');
		}
	};
	const whole = () => JSON.stringify({ ...row, req_headers: sent.headers, req_body: sent.text,
		resp_headers: got.headers, resp_body: got.text }, null, 2);
	return h('div', { class: 'row' },
		button('Open in playground', { icon: 'play', disabled: !draft, onclick: play,
			title: draft ? 'Nothing is sent' : 'There are no messages in it' }),
		copyButton(() => curlOf(row, sent), 'Copy as curl', { kind: 'plain' }),
		button('Download', { icon: 'download', onclick: async () => {
			const { download } = await import('../core/clipboard.js');
			download(`request-${row.id}.json`, whole(), 'application/json');
		} }));
}
