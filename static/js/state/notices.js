// What the user should know on every page.
import { connection, hello, status, subscribe } from '../core/feed.js';
import { clock, tick } from '../core/format.js';
import { announce } from '../core/live.js';
import { isKept } from '../core/persist.js';
import { computed, signal, watch } from '../core/signal.js';
import { foldEvent } from '../core/topics.js';

const fromServer = signal(new Map());
const hidden = signal([]);

/** {id, severity: 'info'|'warning'|'error', text, kind?, action?: {label, run}, stays?} */
export const notices = computed(() => [...ofConnection(), ...ofBuild(), ...ofStorage(), ...fromServer().values()]
	.filter(({ text }) => !hidden().includes(text)));

export const hideNotice = ({ text }) => hidden.update((all) => [...all, text]);

const CONNECTION = {
	stale: (silent) => `No word from the server for ${silent}. What you see may be out of date.`,
	down: (silent, message) => `Disconnected: ${message}. Trying again.${silent && ` What you see is ${silent} old.`}`,
	empty: () => 'Connected, but no data arrives: a proxy seems to buffer streams. Switch that off for /api/events.',
	auth: () => 'The server wants an API key.',
};

function ofConnection() {
	const { state } = connection();
	if (!CONNECTION[state]) return [];
	tick();
	const { lastAt, message } = status();
	const ms = Date.now() - lastAt;
	const silent = lastAt && (ms < 60000 ? `${Math.round(ms / 1000)} s` : clock(ms));
	return [{ id: 'connection', severity: state === 'stale' || state === 'empty' ? 'warning' : 'error', stays: true,
		text: CONNECTION[state](silent || '', message) }];
}

// Our address names our own build.
const ofBuild = () => (hello() && !import.meta.url.includes(hello().build) ? [{ id: 'build', severity: 'info',
	text: `The server now runs another version (${hello().version}).`,
	action: { label: 'Reload the page', run: () => location.reload() } }] : []);

const ofStorage = () => (isKept() ? [] : [{ id: 'storage', severity: 'info',
	text: 'This browser does not store settings: they last until the page is closed.' }]);

export function startNotices() {
	subscribe('notice', (data) => {
		fromServer.update((held) => foldEvent('notice', held, data));
		if (data.op === 'upsert' && data.notice.severity === 'error') announce(data.notice.text, { urgent: true });
	});
	let last = 'live';
	watch(() => {
		const { state } = connection();
		if (state === last || !['down', 'live'].includes(state)) return;
		last = state;
		announce(state === 'down' ? 'Disconnected from the server' : 'Connected again', { urgent: state === 'down' });
	});
}
