// Values that tell their readers.

let reader = null;       // the running computation
let owner = null;        // its clean-ups

/** `v()` reads, `v.set(x)`, `v.update(fn)`; `v.peek()` reads without becoming a reader. */
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

export function computed(make, same = Object.is) {
	const node = { version: 0, readers: new Set(), sources: new Map(), dirty: true };
	node.invalidate = () => {
		if (node.dirty) return;
		node.dirty = true;
		invalidateReaders(node);
	};
	node.refresh = () => {
		if (node.dirty && (!node.version || !node.sources.size || hasNews(node))) {      // none: its scope has ended
			forget(node);
			const next = running(node, null, make);
			if (!node.version || !same(node.value, next)) {
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
	get.peek = () => untracked(get);
	return get;
}

const queue = (ask) => {
	const nodes = new Set();
	const drain = () => {
		for (const node of nodes) {
			nodes.delete(node);
			node.run();
		}
	};
	return {
		delete: (node) => nodes.delete(node),
		add(node) {
			if (!nodes.size) ask(drain);
			nodes.add(node);
		},
	};
};
const framed = queue((drain) => requestAnimationFrame(drain));
const soon = queue((drain) => queueMicrotask(drain));

/** Runs now, and in the next frame after a change: a hidden page draws nothing. */
export const effect = (run) => startEffect(run, framed);
/** Runs now, and right after the task of a change. */
export const watch = (run) => startEffect(run, soon);

/** Returns [the result of `run`, a function that ends all that it started]. */
export function scope(run) {
	const cleanups = [];
	return [running(null, cleanups, run), () => runAll(cleanups)];
}

/** At the end of the current scope or run of an effect. */
export function onCleanup(run) {
	if (owner) owner.push(run);
}

export const untracked = (run) => running(null, owner, run);

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

// A computed source may turn out to have its old value.
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
	const last = [reader, owner];
	[reader, owner] = [asReader, asOwner];
	try {
		return run();
	} finally {
		[reader, owner] = last;
	}
}

function startEffect(run, waiting) {
	const cleanups = [];
	let isOver = false;
	const node = { sources: new Map(), invalidate: () => waiting.add(node), run() { if (hasNews(node)) start(); } };
	const start = () => {
		runAll(cleanups);
		forget(node);
		attempt(() => running(node, cleanups, run));
		if (isOver) end();
	};
	const end = () => {
		isOver = true;
		waiting.delete(node);
		forget(node);
		runAll(cleanups);
	};
	onCleanup(end);
	start();
	return end;
}

function runAll(cleanups) {
	cleanups.splice(0).forEach(attempt);
}

/** One that breaks must not stop the others. */
export function attempt(run) {
	try {
		run();
	} catch (error) {
		reportError(error);
	}
}
