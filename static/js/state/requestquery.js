// What is asked of the history, in its four forms: tokens that people type, the query of the address, parameters of
// the API, and a test for rows that the stream brings.
import { serverNow } from '../core/format.js';

export const OUTCOMES = ['ok', 'error', 'client_gone', 'cancelled', 'broken'];
export const SIZES = [25, 50, 100, 250, 500];
const SECONDS = { m: 60, min: 60, h: 3600, d: 86400, w: 604800 };
const TIME = 'a time such as 2031-05-17T08:00, or seconds since 1970';
const any = () => true;

/** name → {param in the address, may there be several, check, what it may be} */
const FILTERS = {
  model: { many: true, check: any, hint: 'the ID of a model' },
  status: { many: true, check: (v) => /^([1-9]xx|[1-9]\d\d|error)$/i.test(v), split: true,
    hint: 'a code such as 404, a class such as 5xx, or error' },
  outcome: { many: true, check: (v) => OUTCOMES.includes(v), split: true, hint: `one of ${OUTCOMES.join(', ')}` },
  client: { many: true, check: any, hint: 'an address' },
  session: { many: true, check: any, hint: 'the ID of a session' },
  path: { check: any, hint: 'a part of the path, or = and the whole path' },
  text: { param: 'q', check: any, hint: 'words in the error, the path or the model' },
  since: { check: (v) => spanOf(v) > 0, hint: 'a length of time such as 15m, 1h or 7d' },
  from: { check: (v) => timeOf(v) !== null, hint: TIME },
  to: { check: (v) => timeOf(v) !== null, hint: TIME },
  id: { check: (v) => /^([1-9]\d*|[1-9]\d*-|-[1-9]\d*|[1-9]\d*-[1-9]\d*)$/.test(v),
    hint: 'a number or a range such as 100-200' },
};
const paramOf = (name) => FILTERS[name].param || name;
const wrongOf = (text, name) => ({ text, why: `${name} is ${FILTERS[name].hint}` });

/** Text → {valid: [[name, value]], wrong: [{text, why}]}. Words without a name are looked for in the text. */
export function parseTokens(text) {
  const [valid, wrong, words] = [[], [], []];
  for (const token of text.match(/(?:[^\s"]|"[^"]*"?)+/g) || []) {
    const at = token.startsWith('"') ? -1 : token.indexOf(':');
    const name = token.slice(0, Math.max(0, at)).toLowerCase();
    const value = token.slice(at + 1).replace(/"/g, '');
    if (at < 0) words.push(value);
    else if (!Object.hasOwn(FILTERS, name)) wrong.push({ text: token,
      why: `there is no filter "${name}"; use ${Object.keys(FILTERS).join(', ')}` });
    else {
      const values = FILTERS[name].split ? value.split(',') : [value];
      if (value && values.every(FILTERS[name].check)) valid.push(...values.map((each) => [name, each]));
      else wrong.push(wrongOf(token, name));
    }
  }
  if (words.length) valid.push(['text', words.join(' ')]);
  return { valid, wrong };
}

export const tokenText = (name, value) => `${name}:${/[\s"]/.test(value) ? `"${value}"` : value}`;

/** The same from the query of an address. What is not understood there is told, not passed over. */
export function readFilters(query) {
  const { wrong } = parseTokens(query.get('bad') || '');
  const valid = [];
  for (const name of Object.keys(FILTERS)) {
    for (const value of query.getAll(paramOf(name)).filter(Boolean)) {
      if (FILTERS[name].check(value)) valid.push([name, value]);
      else wrong.push(wrongOf(tokenText(name, value), name));
    }
  }
  return { valid, wrong };
}

/** Adds tokens: of one kind several are OR-ed where that can be, otherwise the newest counts. */
export function addFilters(all, more) {
  for (const [name, value] of more) {
    all = [...all.filter(([n, v]) => n !== name || (FILTERS[name].many && v !== value)), [name, value]];
  }
  return all;
}

/** Changes for setQuery(). Another filter begins on page 1. */
export function filterChanges(valid, wrong = []) {
  const changes = { bad: wrong.map((each) => each.text).join(' '), page: null };
  for (const name of Object.keys(FILTERS)) changes[paramOf(name)] = valid.filter(([n]) => n === name).map(([,
    value]) => value);
  return changes;
}

/** Parameters of the API. */
export function apiQuery(valid) {
  const query = new URLSearchParams();
  const from = [];
  for (const [name, value] of valid) {
    if (name === 'since') from.push(serverNow() - spanOf(value));
    else if (name === 'from') from.push(timeOf(value));
    else if (name === 'to') query.set('to', String(timeOf(value)));
    else if (name === 'id') idRange(value).forEach((bound, i) => bound && query.set(['min_id', 'max_id'][i], bound));
    else query.append(paramOf(name), value);
  }
  if (from.length) query.set('from', String(Math.floor(Math.max(...from))));
  return query;
}

/** Whether a row or a live entry passes, as the server would decide. A live one has no outcome yet. */
export function passes(valid, row) {
  const path = row.req_path || row.path || '';
  const status = row.resp_status_code || row.status || 0;
  const tests = {
    model: (v) => row.model === v,
    client: (v) => row.client === v,
    session: (v) => row.session === v,
    outcome: (v) => row.outcome === v,
    status: (v) => (v.toLowerCase() === 'error' ? status >= 400 || row.outcome === 'error' || row.outcome === 'broken'
      : /xx$/i.test(v) ? Math.floor(status / 100) === Number(v[0]) : status === Number(v)),
    path: (v) => (v.startsWith('=') ? path === v.slice(1) : path.includes(v)),
    text: (v) => [row.error_msg, path, row.model, row.requested].some((each) => (each
      || '').toLowerCase().includes(v.toLowerCase())),
    since: (v) => row.at >= serverNow() - spanOf(v),
    from: (v) => row.at >= timeOf(v),
    to: (v) => row.at < timeOf(v) + 1,
    id: (v) => idRange(v).every((bound, i) => !bound || (i ? row.id <= bound : row.id >= bound)),
  };
  const kinds = new Set(valid.map(([name]) => name));
  return [...kinds].every((kind) => valid.some(([name, value]) => name === kind && tests[name](value)));
}

/** Which part of the history, in which order: {page, size, sort: {key, dir}}. */
export function viewOf(query) {
  const sort = query.get('sort') || '-time';
  const size = Number(query.get('size'));
  return { page: Math.max(1, Math.floor(Number(query.get('page')) || 1)), size: SIZES.includes(size) ? size : SIZES[0],
    sort: { key: sort.replace(/^-/, ''), dir: sort.startsWith('-') ? 'desc' : 'asc' } };
}

function spanOf(text) {
  const found = /^(\d{1,5})(min|[mhdw])$/i.exec(text);
  return found ? Number(found[1]) * SECONDS[found[2].toLowerCase()] : 0;
}

function timeOf(text) {
  const at = /^\d{9,11}(\.\d+)?$/.test(text) ? Number(text) : Date.parse(text) / 1000;
  return Number.isFinite(at) ? Math.floor(at) : null;
}

function idRange(text) {
  const [low, high = low] = text.split('-');
  return [Number(low), Number(high)];
}
