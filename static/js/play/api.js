// Asking models: streamed chats with their times, and the plain calls of the other tabs. Every request names a session.
import { duration, num } from '../core/format.js';
import { ApiError, api, apiFetch } from '../core/net.js';
import { signal, watch } from '../core/signal.js';
import { readEvents } from '../core/sse.js';
import { asDataUrl, changeChat, newId } from '../state/chats.js';
import { done } from '../state/requests.js';
import { announce, toast } from '../ui/toast.js';
import { absorb, newAnswer, requestOf, toldBy } from './dialects.js';

export const newSession = () => `play-${newId()}`;

const posting = (call) => (path, body, { session, signal: ended }) => call(path,
	{ method: 'POST', body, signal: ended, headers: { 'X-Session-ID': session } });
/** One request that is not streamed: its answer parsed, or the Response itself. */
export const post = posting(api);
export const postRaw = posting(apiFetch);

/**
 * Asks for a chat and fills `run.answer` while it comes; `run.changed` counts. `run.done` resolves when the answer has
 * ended, also when it was stopped (run.state 'stopped') or failed ('error', run.error): nothing is thrown.
 * `messages` may be a promise; `into`: {text, reasoning} to go on from.
 */
export function startChat({ session, into, ...request }) {
	const abort = new AbortController();
	const run = { answer: { ...newAnswer(), ...into }, changed: signal(0), state: 'running', error: null, session,
		sentAt: performance.now(), firstAt: null, startedAt: Date.now() / 1000, stop: () => abort.abort() };
	run.done = follow(run, request, abort.signal);
	return run;
}

const PAINT_MS = 50;              // what shows an answer need not do so with every token

function changed(run) {
	run.timer = null;
	run.changed.update((n) => n + 1);
}

async function follow(run, { messages, ...request }, ended) {
	try {
		const [path, body] = requestOf({ ...request, messages: await messages });
		const reply = await postRaw(path, body, { session: run.session, signal: ended });
		if (reply.headers.get('content-type')?.includes('event-stream')) {
			for await (const { data } of readEvents(reply)) {
				if (data === '[DONE]') break;
				take(run, data);
			}
		} else if (!take(run, await reply.text())) {
			throw new ApiError('The answer is of a kind that is not known here.');
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
		return false;           // not every line of every engine is JSON
	}
	if (!absorb(run.answer, event)) return false;
	run.lastAt = performance.now();
	run.firstAt ??= run.lastAt;
	if (run.answer.text) run.thoughtAt ??= run.lastAt;
	run.timer ||= setTimeout(changed, PAINT_MS, run);
	return true;
}

/** The numbers of an answer. What the server did not tell is worked out here and named in `guessed`. */
export function statsOf({ answer, sentAt, firstAt, thoughtAt, lastAt, endAt = performance.now() }) {
	const told = toldBy(answer);
	const output = told.output ?? (answer.pieces || null);
	const measured = lastAt > firstAt && output > 1 ? (output - 1) / (lastAt - firstAt) * 1000 : null;
	return { ...told, output, speed: told.speed ?? measured,
		guessed: ['output', 'speed'].filter((name) => told[name] === null),
		ttft: firstAt && firstAt - sentAt, ms: endAt - sentAt, finish: answer.finish,
		thoughtMs: answer.reasoning && firstAt && (thoughtAt ?? endAt) - firstAt };
}

/** The server's row about a finished request: it tells waiting from loading. Null when none comes in 3 s. */
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

// --- the turns of a conversation: an answer goes on when its page is left

const running = signal([]);       // runs, each with the ids of its message and its chat
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
	const run = Object.assign(startChat({ endpoint, session: `play-${chatId}`, model, system, params,
		into: { text: message.text, reasoning: message.reasoning },
		messages: Promise.all(messages.filter((each) => each.role === 'user' || each.text).map(asSent)) }),
	{ chatId, messageId: message.id });
	running.update((all) => [...all, run]);
	await run.done;
	const { output, ms } = finish(run).stats;
	if (run.state === 'done') announce(`Answer finished, ${num(output)} tokens in ${duration(ms)}`);
	running.update((all) => all.filter((one) => one !== run));
}

async function asSent({ role, text, files = [] }) {
	const of = (kind, change) => Promise.all(files.filter((file) => file.kind === kind).map(change));
	const texts = await of('text', (file) => `File ${file.name}:\n\`\`\`\`\n${file.text}\n\`\`\`\`\n\n`);
	return { role, text: texts.join('') + text, images: await of('image', (file) => file.url || asDataUrl(file.blob)),
		audio: await of('audio', async ({ blob }) => ({ data: (await asDataUrl(blob)).split(',')[1],
			format: /mp3|mpeg/.test(blob.type) ? 'mp3' : 'wav' })) };
}

function finish(run, state = run.state) {
	const { answer: { text, reasoning, calls, model: served }, error } = run;
	const end = { state, error, text, reasoning, calls, served, stats: statsOf(run) };
	changeChat(run.chatId, ({ messages }) => ({ messages: messages.map((each) => (each.id === run.messageId
		? { ...each, ...end } : each)) }));
	return end;
}

/** Puts other messages into a conversation; the user can take it back for a while. */
export function replaceMessages({ id, messages: before }, messages, what) {
	changeChat(id, { messages });
	toast(what, { action: { label: 'Undo', run: () => changeChat(id, { messages: before }) } });
}

// A page that is closed must not lose what has come in so far.
addEventListener('pagehide', () => running.peek().forEach((run) => finish(run, 'stopped')));
