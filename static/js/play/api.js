// Asking models: streamed chats with their times, and the plain calls of the other tabs. Every request names a session.
import { ApiError, api, apiFetch } from '../core/net.js';
import { readEvents } from '../core/sse.js';
import { signal } from '../core/signal.js';
import { newId } from '../state/chats.js';
import { onDone } from '../state/requests.js';
import { ENDPOINTS, absorb, newAnswer, requestOf, toldBy } from './dialects.js';

export const newSession = () => `play-${newId()}`;
export const sessionHeaders = (session) => ({ 'X-Session-ID': session });

/** One request to `path` of a tab that does not stream; the answer parsed. */
export const post = (path, body, { session = newSession(), ...rest } = {}) => api(path, { method: 'POST', body, ...rest,
  headers: sessionHeaders(session) });

/** As post, but the Response itself. */
export const postRaw = (path, body, { session = newSession(), ...rest } = {}) => apiFetch(path,
  { method: 'POST', body, ...rest,
  headers: sessionHeaders(session) });

/**
 * Asks for a chat and fills `run.answer` while it comes; `run.changed` counts. Resolves when the answer has ended, also
 * when it was stopped (run.state 'stopped') or failed ('error', run.error). Nothing is thrown.
 */
export function startChat({ endpoint = 'chat', session, ...request }) {
  const abort = new AbortController();
  const run = { answer: newAnswer(), changed: signal(0), state: 'running', error: null, session, model: request.model,
    sentAt: performance.now(), firstAt: null, thoughtAt: null, lastAt: null, endAt: null, startedAt: Date.now() / 1000,
    stop: () => abort.abort() };
  run.done = follow(run, endpoint, request, abort.signal);
  return run;
}

async function follow(run, endpoint, request, ended) {
  const path = ENDPOINTS.find(([name]) => name === endpoint)[2];
  try {
    const reply = await apiFetch(path, { method: 'POST', body: requestOf(endpoint, request), signal: ended,
      headers: { ...sessionHeaders(run.session), Accept: 'text/event-stream, application/json' } });
    if ((reply.headers.get('content-type') || '').includes('event-stream')) await readStream(run, reply);
    else await readWhole(run, await reply.text());
    run.state = 'done';
  } catch (error) {
    run.state = ended.aborted ? 'stopped' : 'error';
    // A connection that breaks has no message of its own worth showing.
    if (!ended.aborted) {
      run.error = error instanceof ApiError ? error : new ApiError(error instanceof TypeError
        ? 'The connection broke while the answer was coming in.' : error.message, { code: 'broken' });
    }
  }
  run.endAt = performance.now();
  run.changed.update((n) => n + 1);
  return run;
}

async function readStream(run, reply) {
  const { answer } = run;
  for await (const { data } of readEvents(reply)) {
    if (data === '[DONE]') return;
    let event;
    try {
      event = JSON.parse(data);
    } catch {
      continue;           // not every line of every engine is JSON
    }
    const told = answer.loading.length;
    if (absorb(answer, event)) note(run);
    else if (answer.loading.length !== told) run.changed.update((n) => n + 1);
  }
}

function note(run) {
  run.lastAt = performance.now();
  run.firstAt ??= run.lastAt;
  if (run.answer.text && run.thoughtAt === null && run.answer.reasoning) run.thoughtAt = run.lastAt;
  run.changed.update((n) => n + 1);
}

// An engine that does not stream has answered in one piece.
async function readWhole(run, text) {
  const { readAnswer } = await import('../pages/transcript.js');
  const found = readAnswer(text);
  if (found.error || !found.isRead) throw new ApiError(found.error
    || 'The answer is of a kind that is not known here.');
  const parts = found.messages.flatMap((message) => message.parts);
  const all = (kind) => parts.filter((part) => part.kind === kind).map((part) => part.text).join('');
  Object.assign(run.answer, { text: all('text'), reasoning: all('reasoning'), usage: found.usage, finish: found.finish,
    pieces: 1,
    calls: parts.filter((part) => part.kind === 'call').map((part,
      key) => ({ key, name: part.name, args: typeof part.args === 'string'
      ? part.args : JSON.stringify(part.args) })) });
  note(run);
}

/** The numbers of an answer. What the server did not tell is worked out here and named in `guessed`. */
export function statsOf(run) {
  const told = toldBy(run.answer);
  const output = told.output ?? (run.answer.pieces || null);
  const span = run.lastAt !== null && run.lastAt > run.firstAt ? (run.lastAt - run.firstAt) / 1000 : null;
  const guessed = [told.output === null && 'output', told.speed === null && 'speed'].filter(Boolean);
  return { ...told, output, speed: told.speed ?? (span && output > 1 ? (output - 1) / span : null), guessed,
    ttft: run.firstAt === null ? null : run.firstAt - run.sentAt, ms: (run.endAt ?? performance.now()) - run.sentAt,
    thoughtMs: run.answer.reasoning && run.firstAt !== null
      ? (run.thoughtAt ?? run.endAt ?? performance.now()) - run.firstAt : null,
    finish: run.answer.finish };
}

const rows = new Map();
const waiting = new Map();

/** Call inside mount: from then on rowOf() finds what the server says about finished requests. */
export function watchRows() {
  onDone((row) => {
    if (!row.session || !row.session.startsWith('play-')) return;
    rows.set(row.session, row);
    if (rows.size > 500) rows.delete(rows.keys().next().value);
    if (waiting.has(row.session)) waiting.get(row.session)(row);
  });
}

/** The server's row about the one request of a session: it tells waiting from loading. Null when none comes in 3 s. */
export function rowOf(session) {
  if (rows.has(session)) return Promise.resolve(rows.get(session));
  return new Promise((resolve) => {
    const end = (row) => { clearTimeout(timer); waiting.delete(session); resolve(row); };
    const timer = setTimeout(() => end(null), 3000);
    waiting.set(session, end);
  });
}
