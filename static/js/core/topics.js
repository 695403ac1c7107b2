// How the events of a topic add up to its state, in the hub and in the tab.

const KEYED = { models: 'model', requests: 'request', notice: 'notice' };
const listOf = (topic) => (topic === 'notice' ? 'notices' : topic);

/** The state after one more event: a Map by id, or the newest event. */
export function foldEvent(topic, state, data) {
	const name = KEYED[topic];
	if (!name) return data;
	if (data.op === 'snapshot') return new Map(data[listOf(topic)].map((each) => [each.id, each]));
	const next = state || new Map();
	if (data.op === 'upsert') next.set(data[name].id, data[name]);
	// "gone" have ended and are told by number alone.
	else for (const id of data.ids || [data.op === 'done' ? data.request.id : data.id]) next.delete(id);
	return next;
}

export const snapshotEvent = (topic, state) =>
	(KEYED[topic] ? { op: 'snapshot', [listOf(topic)]: [...state.values()] } : state);
