// The text/event-stream format, fed in pieces of any size.

export class EventParser {
  rest = '';

  /** `onEvent({id, event, data})` per event. */
  constructor(onEvent) {
    this.onEvent = onEvent;
    this.clear();
  }

  push(text) {
    // A carriage return at the end may be half of a line end.
    const all = this.rest + text;
    const held = all.endsWith('\r') ? '\r' : '';
    const lines = all.slice(0, all.length - held.length).split(/\r\n|\n|\r/);
    this.rest = lines.pop() + held;
    for (const line of lines) this.line(line);
  }

  line(line) {
    if (line === '') {
      if (this.data.length) this.onEvent({ id: this.id, event: this.event || 'message', data: this.data.join('\n') });
      this.clear();
      return;
    }
    const [, name, value] = line.match(/^([^:]*):? ?(.*)$/s);         // a comment has no name
    if (name === 'data') this.data.push(value);
    else if (name === 'event' || name === 'id') this[name] = value;
  }

  clear() {
    Object.assign(this, { data: [], event: '', id: '' });
  }
}

/** for await (const {event, data} of readEvents(response)) */
export async function* readEvents(response) {
  const queue = [];
  const parser = new EventParser((event) => queue.push(event));
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      parser.push(done ? decoder.decode() + '\n\n' : decoder.decode(value, { stream: true }));
      yield* queue.splice(0);
      if (done) return;
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
