// How the events of a topic add up to its state.

/** topic: [its list in a snapshot, its item in an event] */
const KEYED = { models: ['models', 'model'], requests: ['requests', 'request'], notice: ['notices', 'notice'] };

/** The state after one more event: a new Map by id, or the newest event. */
export function foldEvent(topic, state, data) {
	if (!KEYED[topic]) return data;
	const [list, item] = KEYED[topic];
	if (data.op === 'snapshot') return new Map(data[list].map((each) => [each.id, each]));
	const next = new Map(state);
	if (data.op === 'upsert') next.set(data[item].id, data[item]);
	else for (const id of data.ids || [data.request?.id ?? data.id]) next.delete(id);
	return next;
}

export const snapshotEvent = (topic, state) =>
	(KEYED[topic] ? { op: 'snapshot', [KEYED[topic][0]]: [...state.values()] } : state);
