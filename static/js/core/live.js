// What a screen reader says: at most one message a second per region.
const PAUSE_MS = 1000;
const GATHER_MS = 150;        // a burst of changes is one message
const waiting = { polite: new Set(), urgent: new Set() };
const timers = {};

export function announce(text, { urgent = false } = {}) {
	const name = urgent ? 'urgent' : 'polite';
	waiting[name].add(text);
	timers[name] ||= setTimeout(speak, GATHER_MS, name);
}

function speak(name) {
	const all = [...waiting[name]];
	waiting[name].clear();
	timers[name] = all.length && setTimeout(speak, PAUSE_MS, name);
	if (all.length) document.getElementById(name).textContent = all.length <= 3 ? all.join('. ')
		: `${all.length} changes. Last: ${all.at(-1)}`;
}
