// The text/event-stream format.

export class EventParser {
	rest = '';

	/** onEvent({id, event, data}) */
	constructor(onEvent) {
		this.onEvent = onEvent;
		this.clear();
	}

	push(text) {
		const lines = (this.rest + text).split(/\r\n|\n|\r(?!$)/);        // at the end it may be half of a line end
		this.rest = lines.pop();
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

/** Per piece that arrives its events, which may be none. */
export async function* readPieces(response) {
	const events = [];
	const parser = new EventParser((event) => events.push(event));
	const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
	try {
		for (;;) {
			const { done, value = '\n\n' } = await reader.read();
			parser.push(value);
			yield events.splice(0);
			if (done) return;
		}
	} finally {
		reader.cancel().catch(() => {});
	}
}

export async function* readEvents(response) {
	for await (const events of readPieces(response)) yield* events;
}
