// The address bar is the view: #/page/parts?query. Works under any prefix, the server knows nothing of it.
import { signal } from './signal.js';

const TABS = {
  models: ['overview', 'requests', 'logs', 'config'],
  play: ['chat', 'compare', 'images', 'speech', 'transcribe', 'rerank', 'embed', 'load'],
  system: ['live', 'hardware', 'config'],
};
const MOVED = { activity: ['requests'], performance: ['system', 'live'], hardware: ['system', 'hardware'],
  playground: ['play'] };
const PAGES = new Set(['', 'models', 'requests', 'play', 'logs', 'system', 'settings']);

/** {page, id, tab, query, path}: page is 'overview', 'models', 'model', 'requests', 'play', 'logs', 'system',
 *  'settings' or 'missing'; query is a URLSearchParams that must not be changed. */
export const route = signal(parseHash(''), (a, b) => a.hash === b.hash);

export function startRouter() {
  const take = () => {
    const found = parseHash(location.hash);
    // An old name is shown under its new one, so that what is copied from the address bar is right.
    if (found.moved) history.replaceState(history.state, '', found.hash);
    route.set(found);
  };
  addEventListener('hashchange', take);
  addEventListener('popstate', take);
  take();
}

export function parseHash(hash) {
  const [path, query = ''] = splitOnce(hash.replace(/^#\/?/, ''), '?');
  let parts = path.split('/').filter(Boolean);
  const moved = MOVED[parts[0]];
  if (moved) parts = [...moved, ...parts.slice(1)];
  const [first = '', ...rest] = parts;
  const found = { page: first || 'overview', id: null, tab: null, query: new URLSearchParams(query),
    moved: Boolean(moved) };
  const tabs = TABS[first];
  if (first === 'models') {
    // Any segment but a last one that is a tab belongs to the id, whether its slashes were escaped or not.
    if (rest.length > 1 && tabs.includes(rest[rest.length - 1])) found.tab = rest.pop();
    if (rest.length) Object.assign(found, { page: 'model', id: rest.map(decode).join('/'), tab: found.tab || tabs[0] });
  } else if (tabs) {
    found.tab = tabs.includes(rest[0]) ? rest.shift() : tabs[0];
    found.id = rest.length ? rest.map(decode).join('/') : null;
  } else {
    found.id = rest.length ? rest.map(decode).join('/') : null;
  }
  if (!PAGES.has(first)) found.page = 'missing';
  found.hash = '#/' + parts.join('/') + (query ? '?' + query : '');
  return found;
}

/** href('models', 'a/b', 'logs') → '#/models/a%2Fb/logs'; a last argument that is an object is the query. */
export function href(...parts) {
  const query = typeof parts[parts.length - 1] === 'object' ? parts.pop() : null;
  const path = '#/' + parts.filter((each) => each !== null && each !== undefined && each !== '').map(encode).join('/');
  return path + queryText(query);
}

export function go(target, { replace = false } = {}) {
  if (replace) history.replaceState(history.state, '', target);
  else history.pushState(null, '', target);
  route.set(parseHash(target));
}

/** Changes some of the query: null or '' removes. A typed search replaces the entry, a choice (push) makes a new one. */
export function setQuery(changes, { push = false } = {}) {
  const now = route.peek();
  const query = new URLSearchParams(now.query);
  for (const [name, value] of Object.entries(changes)) {
    query.delete(name);
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== null && one !== undefined && one !== '') query.append(name, one);
    }
  }
  const text = query.toString();
  go(now.hash.split('?')[0] + (text ? '?' + text : ''), { replace: !push });
}

function queryText(query) {
  const text = new URLSearchParams(Object.entries(query || {}).filter(([, v]) => v !== null && v !== undefined
    && v !== ''))
    .toString();
  return text ? '?' + text : '';
}

function splitOnce(text, mark) {
  const at = text.indexOf(mark);
  return at < 0 ? [text] : [text.slice(0, at), text.slice(at + 1)];
}

const encode = (part) => encodeURIComponent(String(part));

function decode(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;            // typed by hand: a lone % is itself
  }
}
