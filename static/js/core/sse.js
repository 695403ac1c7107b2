// The text/event-stream format, fed in pieces of any size.

export class EventParser {
  /** `onEvent({id, event, data})` per event, `onComment(text)` per comment line. */
  constructor(onEvent, onComment = () => {}) {
    this.onEvent = onEvent;
    this.onComment = onComment;
    this.rest = '';
    this.clear();
  }

  push(text) {
    // A carriage return at the end may be half of a line end: it waits for the next piece.
    let all = this.rest + text;
    const held = all.endsWith('\r') ? '\r' : '';
    if (held) all = all.slice(0, -1);
    const lines = all.split(/\r\n|\n|\r/);
    this.rest = lines.pop() + held;
    for (const line of lines) this.line(line);
  }

  line(line) {
    if (line === '') {
      if (this.data.length) this.onEvent({ id: this.id, event: this.event || 'message', data: this.data.join('\n') });
      this.clear();
      return;
    }
    const at = line.indexOf(':');
    if (at === 0) {
      this.onComment(line.slice(1).trim());
      return;
    }
    const name = at < 0 ? line : line.slice(0, at);
    const value = at < 0 ? '' : line.slice(line[at + 1] === ' ' ? at + 2 : at + 1);
    if (name === 'data') this.data.push(value);
    else if (name === 'event') this.event = value;
    else if (name === 'id') this.id = value;
  }

  clear() {
    this.data = [];
    this.event = '';
    this.id = '';
  }
}

/** Events of a streamed answer, one by one: for await (const {event, data} of readEvents(response)). */
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
