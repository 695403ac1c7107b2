// Values that tell their readers. Nothing here knows the document; effects for the screen wait for the next frame, so
// a hidden page draws nothing, and one frame draws each change once, however many events came.

let reader = null;       // the computation that is running
let owner = null;        // the list of clean-ups that new computations add theirs to
const framed = new Set();
const soon = new Set();

/** A value: `v()` reads, `v.set(x)`, `v.update(fn)`, `v.peek()` reads without becoming a reader. */
export function signal(value, same = Object.is) {
  const node = { value, version: 0, readers: new Set(), refresh() {} };
  const get = () => read(node);
  get.peek = () => node.value;
  get.set = (next) => {
    if (same(node.value, next)) return;
    node.value = next;
    node.version++;
    invalidateReaders(node);
  };
  get.update = (change) => get.set(change(node.value));
  return get;
}

/** A value made from others, made again only when somebody reads it. */
export function computed(make, same = Object.is) {
  const node = { value: undefined, version: 0, readers: new Set(), sources: new Map(), dirty: true };
  node.invalidate = () => {
    if (node.dirty) return;
    node.dirty = true;
    invalidateReaders(node);
  };
  node.refresh = () => {
    if (!node.dirty) return;
    if (node.version === 0 || hasNews(node)) {
      forget(node);
      const next = running(node, null, make);
      if (node.version === 0 || !same(node.value, next)) {
        node.value = next;
        node.version++;
      }
    }
    node.dirty = false;
  };
  onCleanup(() => forget(node));
  const get = () => {
    node.refresh();
    return read(node);
  };
  get.peek = () => {
    node.refresh();
    return node.value;
  };
  return get;
}

/** Runs now, and again in the next frame after something it read has changed. */
export const effect = (run) => startEffect(run, framed, askFrame);
/** As effect, but right after the current task and in hidden pages too: for what is no drawing. */
export const watch = (run) => startEffect(run, soon, askSoon);

/** Runs `run` and collects what it starts: returns [its result, a function that ends all of it]. */
export function scope(run) {
  const cleanups = [];
  const result = running(null, cleanups, run);
  return [result, () => runAll(cleanups)];
}

/** At the end of the current scope, or before the current effect's next run. */
export function onCleanup(run) {
  if (owner) owner.push(run);
}

export const untracked = (run) => running(null, owner, run);

/** Everything that waits, now: for tests and for measuring what has just been built. */
export function flush() {
  drain(soon);
  drain(framed);
}

function read(node) {
  if (reader) {
    node.readers.add(reader);
    reader.sources.set(node, node.version);
  }
  return node.value;
}

function invalidateReaders(node) {
  for (const each of [...node.readers]) each.invalidate();
}

// A computed source may turn out to have its old value: then its readers have nothing to do.
function hasNews(node) {
  for (const [source, version] of node.sources) {
    source.refresh();
    if (source.version !== version) return true;
  }
  return false;
}

function forget(node) {
  for (const source of node.sources.keys()) source.readers.delete(node);
  node.sources.clear();
  node.dirty = true;
}

function running(asReader, asOwner, run) {
  const [lastReader, lastOwner] = [reader, owner];
  [reader, owner] = [asReader, asOwner];
  try {
    return run();
  } finally {
    [reader, owner] = [lastReader, lastOwner];
  }
}

function startEffect(run, queue, ask) {
  const node = { sources: new Map(), cleanups: [], ended: false };
  node.invalidate = () => {
    queue.add(node);
    ask();
  };
  node.run = () => {
    if (node.ended || (node.started && !hasNews(node))) return;
    node.started = true;
    runAll(node.cleanups);
    forget(node);
    try {
      running(node, node.cleanups, run);
    } catch (error) {
      reportError(error);       // one broken effect must not stop the others
    }
  };
  const end = () => {
    node.ended = true;
    queue.delete(node);
    forget(node);
    runAll(node.cleanups);
  };
  onCleanup(end);
  node.run();
  return end;
}

function runAll(cleanups) {
  for (const each of cleanups.splice(0)) {
    try {
      each();
    } catch (error) {
      reportError(error);
    }
  }
}

function drain(queue) {
  for (const node of queue) {         // a Set is walked to its end, also over what is added on the way
    queue.delete(node);
    node.run();
  }
}

let frameAsked = false;
function askFrame() {
  if (frameAsked) return;
  frameAsked = true;
  requestAnimationFrame(() => {
    frameAsked = false;
    drain(framed);
  });
}

let soonAsked = false;
function askSoon() {
  if (soonAsked) return;
  soonAsked = true;
  queueMicrotask(() => {
    soonAsked = false;
    drain(soon);
  });
}
