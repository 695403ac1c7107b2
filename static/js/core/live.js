// What a screen reader says: at most one message a second per region; what piles up is put together.
const PAUSE_MS = 1000;
const GATHER_MS = 150;        // a burst of changes is one message
const regions = { polite: { waiting: new Set() }, urgent: { waiting: new Set() } };

export function announce(text, { urgent = false } = {}) {
	const name = urgent ? 'urgent' : 'polite';
	regions[name].waiting.add(text);
	regions[name].timer ||= setTimeout(speak, GATHER_MS, name);
}

function speak(name) {
	const region = regions[name];
	const all = [...region.waiting];
	region.waiting.clear();
	region.timer = all.length && setTimeout(speak, PAUSE_MS, name);
	if (all.length) document.getElementById(name).textContent = all.length <= 3 ? all.join('. ')
		: `${all.length} changes. Last: ${all.at(-1)}`;
}
