// One request, in the drawer.
import { download } from '../core/clipboard.js';
import { append, at, h, inRow, inStack } from '../core/dom.js';
import { bytes, dateTime, duration } from '../core/format.js';
import { api, apiUrl } from '../core/net.js';
import { setting } from '../core/persist.js';
import { go, href, route } from '../core/router.js';
import { computed, effect, onCleanup, untracked } from '../core/signal.js';
import { API, pathOf } from '../state/requestquery.js';
import { live } from '../state/requests.js';
import { asked } from '../ui/asked.js';
import { timelineBar } from '../ui/bars.js';
import { modelLink } from '../ui/modelparts.js';
import { button, codeBlock, copyButton, emptyState, facts, iconButton } from '../ui/parts.js';
import { isLive, numbersOf, stateOf } from '../ui/requestcells.js';
import { shownId } from '../ui/requesttable.js';
import { tabs } from '../ui/tabs.js';
import { toast, toastError } from '../ui/toast.js';
import { conversation, curlOf, draftOf, readCapture } from './transcript.js';

const [LEAST, MOST] = [320, 1200];
const width = setting('drawerWidth', 480, (value) => value >= LEAST && value <= MOST);

/** Open as long as the address names a request. `list`: the table. */
export function inspector(list) {
	const isOpen = computed(() => shownId() !== null);
	effect(() => { if (isOpen()) untracked(() => open(list)); });
}

function open(list) {
	const box = at('drawer');
	let last = null;
	const shown = computed(() => {
		last = shownId() || last;        // its end draws nothing anew
		return last;
	});
	const close = () => go(list.link(''), { replace: true });
	const step = async (by) => {
		try {
			const next = await list.step(shown.peek(), by);
			if (next) go(list.link(next), { replace: true });
			else toast('That was the last one');
		} catch (error) {
			toastError(error, 'Could not find the next request');
		}
	};
	const onKey = ({ key, defaultPrevented }) => {
		if (key === 'Escape' && !defaultPrevented
			&& !document.querySelector('dialog:modal, [popover=auto]:popover-open')) close();
	};
	const title = h('h2', { tabindex: '-1' }, () => `Request ${shown()}`);
	append(box, [grip(), h('div', { class: 'drawer-head' }, title, h('div', { class: 'row end' },
		iconButton('up', 'Previous request', { onclick: () => step(-1) }),
		iconButton('down', 'Next request', { onclick: () => step(1) }),
		iconButton('close', 'Close details', { onclick: close }))),
	h('div', { class: 'drawer-body' }, () => {
		const id = shown();
		return h('div', null, untracked(() => inspect(id)));
	})]);
	effect(() => box.style.setProperty('--drawer', `${width()}px`));
	addEventListener('keydown', onKey);
	box.hidden = false;
	title.focus({ preventScroll: true });
	onCleanup(() => {
		removeEventListener('keydown', onKey);
		box.hidden = true;
		box.replaceChildren();
		if (!list.focusRow(last)) at('title').focus({ preventScroll: true });
	});
}

function grip() {
	const set = (px) => width.set(Math.round(Math.max(LEAST, Math.min(px, MOST))));
	return h('div', { class: 'grip', role: 'separator', tabindex: '0', 'aria-orientation': 'vertical',
		'aria-label': 'Width of the details', 'aria-valuemin': LEAST, 'aria-valuemax': MOST, 'aria-valuenow': width,
		onkeydown: ({ key }) => set(width.peek() + ({ ArrowLeft: 32, ArrowRight: -32 }[key] || 0)),
		onpointerdown: ({ currentTarget, pointerId }) => currentTarget.setPointerCapture(pointerId),
		onpointermove: ({ buttons, clientX, currentTarget: { currentCSSZoom: zoom = 1 } }) => {
			if (buttons) set((innerWidth - clientX) / zoom);
		} });
}

function inspect(id) {
	const running = computed(() => live().find((row) => row.id === id));
	const isRunning = computed(() => Boolean(running()));
	// From the list: one that is not there is an answer and no error.
	return asked(async (abort) => running.peek()
		|| (await api(API, { query: { min_id: id, max_id: id }, signal: abort })).data[0] || { isGone: true }, isRunning)
		.view((row) => (row.isGone ? emptyState({ title: 'This request is not in the history',
			text: 'It may be too old, or its number may be wrong.' }) : content(computed(() => running() || row))));
}

const FACTS = [['Client', 'client'], ['Session', 'session'], ['User agent', 'user_agent'],
	['Request ID', 'request_id']];

function content(row) {
	const first = row.peek();
	const capture = () => asked(apiUrl('api', 'captures', first.id))
		.view((found) => views(first, readCapture(found, first)));
	return h('div', { class: 'stack inspector' },
		inRow(stateOf(row), modelLink(first.model || first.requested), h('span', { class: 'muted' }, dateTime(first.at))),
		first.error_msg && h('p', { class: 'notice error' }, first.error_msg),
		timelineBar({ label: 'Time', parts: () => timeline(row()), format: duration }),
		facts(numbersOf(row), { class: 'narrow' }),
		facts([['Path', `${first.method} ${pathOf(first)}`],
			first.requested !== first.model && ['Asked for', first.requested],
			...FACTS.map(([term, name]) => first[name] && [term, first[name]]), ...Object.entries(first.metadata || {})]),
		isLive(first) ? h('p', { class: 'muted' }, 'What was said is shown here when the answer has ended.')
			: first.has_capture ? capture() : notKept());
}

const notKept = () => emptyState({ title: 'Nothing was kept of what was said',
	text: 'captureBuffer in the configuration is the memory for it in MiB. The oldest go when it is full, all when the '
		+ 'program ends.' }, h('a', { href: href('system', 'config') }, 'Show the configuration'));

/** An answer in one piece begins when all of it is there. */
function timeline(row) {
	const { duration_ms: whole = row.elapsed_ms, queue_ms: queued = row.wait_ms, load_ms: loading = 0 } = row;
	const waited = Math.min(whole, queued + loading);
	const prompt = row.stream ? Math.max(0, (row.ttft_ms ?? whole) - waited) : whole - waited;
	return [[isLive(row) ? 'waiting' : 'queued', queued, 'queued'], ['loading', loading, 'starting'],
		[row.stream ? 'prompt' : 'prompt and answer', prompt, 'peer'], ['generating', whole - waited - prompt, 'ready']]
		.map(([label, ms, kind]) => ({ label, ms, kind }));
}

const sides = (show) => ({ sent, got }) => [['Request', sent], ['Answer', got]].map(([title, body]) => [
	h('h3', null, title, h('span', { class: 'muted small' }, ` ${body.type} ${bytes(body.size)}`)), show(body, title)]);
const VIEWS = [['messages', 'Messages', conversation],
	['headers', 'Headers', sides(({ headers }) => facts(headers, { class: 'mono' }))],
	['raw', 'Raw', sides(({ note, text, pretty }, title) => [note && h('p', { class: 'notice warning' }, note),
		text && codeBlock(pretty, { label: `${title} body` })])]];

function views(row, capture) {
	const linkTo = (part) => {
		const query = new URLSearchParams(route().query);
		query.set('part', part);
		return href('requests', row.id, query);
	};
	const current = () => VIEWS.find(([name]) => name === route().query.get('part')) || VIEWS[0];
	return inStack(actions(row, capture), tabs('Parts of the request',
		VIEWS.map(([id, label]) => ({ id, label, href: () => linkTo(id) })),
		() => current()[0], () => inStack(current()[2](capture))));
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
	return inRow(
		button('Open in playground', { icon: 'play', disabled: !draft, onclick: play,
			title: draft ? null : 'There are no messages in it' }),
		copyButton(() => curlOf(row, sent), 'Copy as curl', { kind: 'plain' }),
		button('Download', { icon: 'download',
			onclick: () => download(`request-${row.id}.json`, whole(), 'application/json') }));
}
