// What a user can make the server do. Each says at once that it is under way, is sent once however often it is
// clicked, and reports its own failure.
import { api, apiUrl } from '../core/net.js';
import { signal } from '../core/signal.js';
import { askFirst, toast, toastError } from './toast.js';
import { h } from '../core/dom.js';
import { displayName, models, profile } from '../state/models.js';

const pending = signal(new Map());
/** '' or what is being asked of this model: 'load', 'cancel', 'unload'. */
export const pendingOf = (id) => pending().get(id) || '';

export const loadModel = (id) => once(id, 'load', `Could not load ${id}`,
  () => api(apiUrl('api', 'models', 'load', id), { method: 'POST' }));

export const cancelLoad = (id) => once(id, 'cancel', `Could not cancel the load of ${id}`,
  () => api(apiUrl('api', 'models', 'cancel', id), { method: 'POST' }));

export async function unloadModel(model) {
  const busy = model.in_flight || 0;
  if (busy && !(await askFirst({
    title: `Unload ${displayName(model)}?`, yes: 'Unload', no: 'Keep', danger: true,
    body: `${busy} ${busy === 1 ? 'request is' : 'requests are'} in flight and will be cut off.`,
  }))) return false;
  return once(model.id, 'unload', `Could not unload ${model.id}`,
    () => api(apiUrl('api', 'models', 'unload', model.id), { method: 'POST' }));
}

export const unloadable = () => models().filter((model) => model.state === 'ready' || model.state === 'starting');

export async function unloadAll() {
  const all = unloadable();
  const busy = all.reduce((sum, model) => sum + (model.in_flight || 0), 0);
  const isSure = await askFirst({
    title: 'Unload all models?', yes: 'Unload all', no: 'Keep', danger: true,
    body: [h('p', null, 'These will stop:'), h('ul', null, all.map((model) => h('li', null, displayName(model),
      model.in_flight ? ` (${model.in_flight} in flight)` : ''))),
      busy ? h('p', null, `${busy} ${busy === 1 ? 'request' : 'requests'} in flight will be cut off.`) : null],
  });
  return isSure && once('*', 'unload', 'Could not unload the models', () => api('api/models/unload',
    { method: 'POST' }));
}

export const cancelRequest = (request) => once(`request ${request.id}`, 'cancel',
  `Could not cancel request ${request.id}`,
  () => api(apiUrl('api', 'inflight', String(request.id), 'cancel'), { method: 'POST' }));

/** '' or null for no profile. The new one is shown at once and taken back when the server refuses. */
export async function selectProfile(name) {
  const before = profile.peek();
  profile.set({ ...before, active: name || null });
  try {
    await api('api/profiles/active', { method: 'PUT', body: { name: name || null } });
    toast(name ? `Profile ${name} is active` : 'No profile is active', { kind: 'ok' });
  } catch (error) {
    profile.set({ ...before });
    toastError(error, 'Could not switch the profile');
  }
}

async function once(id, what, complaint, run) {
  if (pending.peek().has(id)) return false;
  pending.update((all) => new Map(all).set(id, what));
  try {
    await run();
    return true;
  } catch (error) {
    toastError(error, complaint);
    return false;
  } finally {
    pending.update((all) => {
      const rest = new Map(all);
      rest.delete(id);
      return rest;
    });
  }
}
