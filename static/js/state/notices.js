// What the user should know on every page: from the server, from the connection, from this page.
import { connection, hello, newBuild, subscribe } from '../core/feed.js';
import { clock, duration } from '../core/format.js';
import { isKept } from '../core/persist.js';
import { computed, signal, watch } from '../core/signal.js';
import { foldEvent } from '../core/topics.js';
import { announce } from '../core/live.js';

const fromServer = signal([]);
const hidden = signal([]);

/** {id, severity: 'info'|'warning'|'error', text, kind?, action?: {label, run}, stays?} */
export const notices = computed(() => [...ofConnection(), ...ofBuild(), ...ofStorage(), ...fromServer()]
	.filter(({ id }) => !hidden().includes(id)));

export const hideNotice = (id) => hidden.update((ids) => [...ids, id]);

const CONNECTION = {
	stale: (silent) => `No word from the server for ${silent}. What you see may be out of date.`,
	down: (silent, message) => `Disconnected: ${message}. Trying again.${silent && ` What you see is ${silent} old.`}`,
	empty: () => 'Connected, but no data arrives. A proxy on the way probably buffers event streams: ' +
		'switch that off for /api/events.',
	auth: () => 'The server wants an API key.',
};

function ofConnection() {
	const { state, silentMs, message } = connection();
	if (!CONNECTION[state]) return [];
	const silent = silentMs === null ? '' : silentMs < 60000 ? `${Math.round(silentMs / 1000)} s` : clock(silentMs);
	return [{ id: 'connection', severity: state === 'stale' || state === 'empty' ? 'warning' : 'error', stays: true,
		text: CONNECTION[state](silent, message) }];
}

const ofBuild = () => (newBuild() ? [{ id: 'build', severity: 'info',
	text: `The server now runs another version (${hello().version}).`,
	action: { label: 'Reload the page', run: () => location.reload() } }] : []);

const ofStorage = () => (isKept() ? [] : [{ id: 'storage', severity: 'info',
	text: 'This browser does not store settings: they last until the page is closed.' }]);

export function startNotices() {
	let held = new Map();
	subscribe('notice', (data) => {
		held = foldEvent('notice', new Map(held), data);
		fromServer.set([...held.values()]);
		if (data.op === 'upsert' && data.notice.severity === 'error') announce(data.notice.text, { urgent: true });
	});
	let downAt = 0;
	watch(() => {
		const { state } = connection();
		if (state === 'down' && !downAt) {
			downAt = Date.now();
			announce('Disconnected from the server', { urgent: true });
		} else if (state === 'live' && downAt) {
			announce(`Connected again after ${duration(Date.now() - downAt)}`);
			downAt = 0;
		}
	});
}
