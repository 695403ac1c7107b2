// How the events of each topic add up to its state: the same rules for the shared stream's memory and for the tab.

const KEYED = { models: ['models', 'model'], requests: ['requests', 'request'], notice: ['notices', 'notice'] };

/** The state of `topic` after one more event. Keyed topics are a Map by id; others are their newest event. */
export function foldEvent(topic, state, data) {
  const names = KEYED[topic];
  if (!names) return data;
  if (data.op === 'snapshot') return new Map(data[names[0]].map((each) => [each.id, each]));
  const next = state || new Map();
  if (data.op === 'upsert') next.set(data[names[1]].id, data[names[1]]);
  else if (data.op === 'remove') next.delete(data.id);
  else if (data.op === 'done') next.delete(data.request.id);
  else if (data.op === 'gone') data.ids.forEach((id) => next.delete(id));      // ended, told by number alone
  return next;
}

export function snapshotEvent(topic, state) {
  const names = KEYED[topic];
  return names ? { op: 'snapshot', [names[0]]: [...state.values()] } : state;
}
