// Asking models. Every request names a session.
import { hello } from '../core/feed.js';
import { duration, num } from '../core/format.js';
import { ApiError, api, apiFetch } from '../core/net.js';
import { signal, watch } from '../core/signal.js';
import { readEvents } from '../core/sse.js';
import { asDataUrl, changeChat, newId } from '../state/chats.js';
import { done } from '../state/requests.js';
import { announce, toast } from '../ui/toast.js';
import { absorb, newAnswer, requestOf, toldBy } from './dialects.js';

const PAINT_MS = 50;              // not with every token

export const newSession = () => `play-${newId()}`;

const posting = (call) => (path, body, { session, signal: ended }) => call(path,
	{ method: 'POST', body, signal: ended, headers: { [hello.peek()?.session_headers[0] || 'X-Session-ID']: session } });
/** The answer parsed, or the Response itself. */
export const post = posting(api);
export const postRaw = posting(apiFetch);

/** Fills `run.answer`; `run.changed` counts. `run.done` resolves also when it was stopped (run.state 'stopped') or
 *  failed ('error', run.error). `messages` may be a promise; `into`: {text, reasoning} to go on from. */
export function startChat({ session, into, ...request }) {
	const abort = new AbortController();
	const run = { answer: { ...newAnswer(), ...into }, changed: signal(0), state: 'running', error: null, session,
		sentAt: performance.now(), firstAt: null, stop: () => abort.abort() };
	run.done = follow(run, request, abort.signal);
	return run;
}

function changed(run) {
	run.timer = null;
	run.changed.update((n) => n + 1);
}

async function follow(run, { messages, ...request }, ended) {
	try {
		const [path, body] = requestOf({ ...request, messages: await messages });
		const reply = await postRaw(path, body, { session: run.session, signal: ended });
		if (reply.headers.get('content-type')?.includes('event-stream')) {
			for await (const { data } of readEvents(reply)) take(run, data);
		} else if (!take(run, await reply.text())) {
			throw new ApiError('The answer is of an unknown kind.');
		}
		run.state = 'done';
	} catch (error) {
		run.state = ended.aborted ? 'stopped' : 'error';
		const { message, status, id } = error instanceof TypeError ? { message: 'The connection broke.' } : error;
		if (!ended.aborted) run.error = { message, status, id };
	}
	run.endAt = performance.now();
	changed(run);
}

function take(run, data) {
	let event;
	try {
		event = JSON.parse(data);
	} catch {
		return false;           // [DONE], and lines of some engines
	}
	if (!absorb(run.answer, event)) return false;
	run.lastAt = performance.now();
	run.firstAt ??= run.lastAt;
	run.timer ||= setTimeout(changed, PAINT_MS, run);
	return true;
}

/** The numbers of an answer; `guessed` names what the server did not tell. */
export function statsOf({ answer, sentAt, firstAt, lastAt, endAt = performance.now() }) {
	const told = toldBy(answer);
	const output = told.output ?? (answer.pieces || null);
	const measured = lastAt > firstAt && output > 1 ? (output - 1) / (lastAt - firstAt) * 1000 : null;
	return { ...told, output, speed: told.speed ?? measured,
		guessed: ['output', 'speed'].filter((name) => told[name] === null),
		ttft: firstAt && firstAt - sentAt, ms: endAt - sentAt, finish: answer.finish };
}

/** The server's row about a finished request; null when none comes in 3 s. */
export const rowOf = (session) => new Promise((resolve) => {
	const end = watch(() => {
		const row = done().find((each) => each.session === session);
		if (row) resolve(row);
	});
	setTimeout(() => {
		end();
		resolve(null);
	}, 3000);
});

// --- turns of a conversation: an answer goes on when its page is left

const running = signal([]);       // with messageId and chatId
export const runOf = (messageId) => running().find((run) => run.messageId === messageId);
export const isBusy = (chatId) => running().some((run) => run.chatId === chatId);
export const stop = (chatId) => running.peek().find((run) => run.chatId === chatId)?.stop();

/** Asks for what follows `messages`. `into`: an answer that is to go on, the last of them. */
export async function answer(chat, messages, { into, model = chat.model } = {}) {
	const { id: chatId, endpoint, system, params } = chat;
	const message = { id: newId(), role: 'assistant', text: '', reasoning: '', model, ...into, state: 'running',
		error: null };
	const past = into ? messages.slice(0, -1) : messages;
	const title = chat.title || past[0]?.text.trim().replace(/\s+/g, ' ').slice(0, 60);
	changeChat(chatId, { model, messages: [...past, message], title });
	const run = Object.assign(startChat({ endpoint, session: `play-${chatId}`, model, system, params, into: {
		text: message.text, reasoning: message.reasoning },
	messages: Promise.all(messages.filter((each) => each.role === 'user' || each.text).map(asSent)) }),
	{ chatId, messageId: message.id });
	running.update((all) => [...all, run]);
	await run.done;
	const { output, ms } = finish(run);
	if (run.state === 'done') announce(`Answer finished, ${num(output)} tokens in ${duration(ms)}`);
	running.update((all) => all.filter((one) => one !== run));
}

async function asSent({ role, text, files = [] }) {
	const of = (isText) => files.filter(({ kind }) => (kind === 'text') === isText);
	const texts = of(true).map((file) => `File ${file.name}:\n\`\`\`\`\n${file.text}\n\`\`\`\`\n\n`);
	return { role, text: texts.join('') + text, files: await Promise.all(of(false).map(async ({ kind, url, blob }) => (
		{ kind, url: url || await asDataUrl(blob) }))) };
}

function finish(run, state = run.state) {
	const { answer: { text, reasoning, calls, model: served }, error } = run;
	const stats = statsOf(run);
	changeChat(run.chatId, ({ messages }) => ({ messages: messages.map((each) => (each.id === run.messageId
		? { ...each, state, error, text, reasoning, calls, served, stats } : each)) }));
	return stats;
}

export function replaceMessages({ id, messages: before }, messages, what) {
	changeChat(id, { messages });
	toast(what, { action: { label: 'Undo', run: () => changeChat(id, { messages: before }) } });
}

// A page that is closed must not lose what has come in so far.
addEventListener('pagehide', () => running.peek().forEach((run) => finish(run, 'stopped')));
