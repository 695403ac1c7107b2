// The two live regions: what a screen reader says. At most one message a second each; what piles up is put together.
const PAUSE_MS = 1000;
const regions = { polite: { waiting: [], timer: null }, urgent: { waiting: [], timer: null } };

export function announce(text, { urgent = false } = {}) {
  const name = urgent ? 'urgent' : 'polite';
  const region = regions[name];
  if (!region.waiting.includes(text)) region.waiting.push(text);
  // A short wait even for the first: a burst of changes is one message.
  if (!region.timer) region.timer = setTimeout(() => speak(name, region), 150);
}

function speak(name, region) {
  const all = region.waiting.splice(0);
  region.timer = all.length ? setTimeout(() => speak(name, region), PAUSE_MS) : null;
  if (!all.length) return;
  const box = document.getElementById(name);
  if (box) box.textContent = all.length <= 3 ? all.join('. ') : `${all.length} changes. Last: ${all[all.length - 1]}`;
}
