// What a user can make the server do. Each says at once that it is under way, is sent once however often it is
// clicked, and reports its own failure.
import { h } from '../core/dom.js';
import { api, apiUrl } from '../core/net.js';
import { signal } from '../core/signal.js';
import { displayName, modelById, models, profile } from '../state/models.js';
import { askFirst, toast, toastError } from './toast.js';

const asks = signal(new Map());       // id → {what, model: as it was when it was asked}

/** '' or what is being asked of this model: 'load', 'cancel', 'unload'; until the stream tells what came of it. */
export function pendingOf(id) {
	const ask = asks().get(id);
	return ask && ask.model === modelById(id) ? ask.what : '';
}

/** what: 'load', 'cancel' or 'unload'; with the id '' it is of all models. */
export async function change(id, what) {
	if (pendingOf(id)) return;
	const note = (ask) => asks.update((all) => new Map(all).set(id, ask));
	note({ what, model: modelById(id) });
	try {
		await api(id ? apiUrl('api', 'models', what, id) : `api/models/${what}`, { method: 'POST' });
		if (!id) note(null);
	} catch (error) {
		note(null);
		toastError(error, `Could not ${what === 'cancel' ? 'cancel the load of' : what} ${id || 'the models'}`);
	}
}
export const loadModel = (id) => change(id, 'load');
export const cancelLoad = (id) => change(id, 'cancel');

export async function unloadModel({ id, name, in_flight: busy }) {
	if (!busy || await confirm(`Unload ${name || id}?`,
		`${busy} ${busy === 1 ? 'request is' : 'requests are'} in flight and will be cut off.`)) change(id, 'unload');
}

export const unloadable = () => models().filter((model) => model.state === 'ready' || model.state === 'starting');

export async function unloadAll() {
	const list = unloadable().map((model) => h('li', null, displayName(model), model.in_flight > 0
		&& ` (cuts off ${model.in_flight} in flight)`));
	if (await confirm('Unload all models?', [h('p', null, 'These stop:'), h('ul', null, list)])) change('', 'unload');
}

/** '' or null for no profile. The new one is shown at once and taken back when the server refuses. */
export async function selectProfile(name) {
	const before = profile.peek();
	const id = name || null;
	profile.set({ ...before, active: id });
	try {
		await api('api/profiles/active', { method: 'PUT', body: { name: id } });
		toast(id ? `Profile ${id} is active` : 'No profile is active', { kind: 'ok' });
	} catch (error) {
		profile.set({ ...before });
		toastError(error, 'Could not switch the profile');
	}
}

const confirm = (title, body) => askFirst({ title, body, yes: 'Unload', no: 'Keep', danger: true });
