"""What the fake model server says: the shapes of the real APIs, filled with an echo. demo.py is the wire."""
from __future__ import annotations

import base64
import hashlib
import itertools
import json
import math
import os
import re
import struct
import time
import zlib

TYPE_CHECKING = False       # as in demo.py
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from llamaswap.demo import Exchange

CREATED = 1_700_000_000     # every "created" field: answers must be equal from run to run
IDLE_TIMEOUT = 600          # seconds a peer may be silent or not reading: the bound of every socket call
MAX_ECHO_BYTES = 64 * 1024
# Why an answer ended, in the words of OpenAI and of Anthropic.
FINISH = {"stop": ("stop", "end_turn"), "length": ("length", "max_tokens"), "tool": ("tool_calls", "tool_use")}
LIMITS = ("max_completion_tokens", "max_output_tokens", "max_tokens", "n_predict")


class Gone(OSError):
    """The conversation is over; the text is what the log says of it."""


def dumps(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def plain_text(content: Any) -> str:
    """The words in a prompt or message, whichever API shaped it."""
    if isinstance(content, list):
        return " ".join(plain_text(part) for part in content)
    if isinstance(content, dict):
        return plain_text(content.get("text") or content.get("content") or "")
    return str(content)


class Answer:
    """What a prompt gets, as (kind, word) parts, and the numbers that every API reports about it."""

    def __init__(self, exchange: Exchange, prompt: Any) -> None:
        payload, self.exchange = exchange.payload, exchange
        self.model, self.id = exchange.model, f"demo-{exchange.number}"
        self.messages = prompt if isinstance(prompt, list) else [prompt]
        self.tool, arguments = self.find_tool(payload)
        by_user = [m for m in self.messages if not isinstance(m, dict) or m.get("role", "user") == "user"]
        kind, text = ("tool", arguments) if self.tool else ("text", "You said: " + plain_text(by_user[-1:]))
        parts = [(kind, word) for word in re.findall(r"\s*\S+", text)]
        wanted = 0 if self.tool else exchange.knob("tokens")
        parts = parts[:wanted or None] + [(kind, f" {n}") for n in range(len(parts), wanted)]
        if exchange.knob("reasoning"):
            parts[:0] = [("reasoning", word) for word in ("The", " user", " spoke.", " I", " repeat.")]
        most = next((int(payload[name]) for name in LIMITS if (payload.get(name) or -1) > 0), len(parts))
        self.parts = parts[:most]
        self.finish = "length" if most < len(parts) else "tool" if self.tool else "stop"
        self.prompt_n = max(1, len(plain_text(self.messages).split()))
        self.done_n = len(self.parts)
        self.cached_n = min(exchange.knob("cached_tokens"), self.prompt_n)

    def find_tool(self, payload: dict[str, Any]) -> tuple[str, str]:
        tools = payload.get("tools")
        # The last message only: once it is the tool's result, the conversation goes on.
        asked = "call the tool" in plain_text(self.messages[-1:]) or payload.get("tool_choice") == "required"
        if not tools or not (asked or self.exchange.knob("tool_call")):
            return "", ""
        tool = tools[0].get("function", tools[0])           # chat nests it; Responses and Anthropic do not
        schema = tool.get("parameters") or tool.get("input_schema") or {}
        samples = {"integer": 1, "number": 1.5, "boolean": True, "array": [], "object": {}}
        properties = (schema.get("properties") or {}).items()
        return tool["name"], json.dumps({name: samples.get(kind.get("type"), "demo") for name, kind in properties})

    def by_kind(self) -> Iterator[tuple[int, str, Iterator[str]]]:
        """The answer as it comes: number, kind and words of each block."""
        self.first_at = time.monotonic()
        blocks = itertools.groupby(self.exchange.paced(self.parts), key=lambda part: part[0])
        for number, (kind, parts) in enumerate(blocks):
            yield number, kind, (word for _, word in parts)

    def texts(self) -> dict[str, str]:
        """The whole answer by kind, after the time it takes."""
        return {kind: "".join(parts) for _, kind, parts in self.by_kind()}

    def usage(self) -> dict[str, Any]:
        return {"prompt_tokens": self.prompt_n, "completion_tokens": self.done_n,
                "total_tokens": self.prompt_n + self.done_n, "prompt_tokens_details": {"cached_tokens": self.cached_n}}

    def timings(self) -> dict[str, Any]:
        prompt_ms = 1000 * (self.first_at - self.exchange.started_at) + 0.001
        predicted_ms = 1000 * (time.monotonic() - self.first_at) + 0.001
        fresh = self.prompt_n - self.cached_n
        return {"cache_n": self.cached_n, "prompt_n": fresh, "prompt_ms": prompt_ms, "predicted_n": self.done_n,
                "prompt_per_second": 1000 * fresh / prompt_ms, "predicted_ms": predicted_ms,
                "predicted_per_second": 1000 * self.done_n / predicted_ms}


def chat(x: Exchange) -> None:
    answer = Answer(x, x.payload["messages"])
    tool = {"id": f"call_{answer.id}", "type": "function"}

    def message() -> dict[str, Any]:
        texts = answer.texts()
        found: dict[str, Any] = {"role": "assistant", "content": texts.get("text")}
        if "reasoning" in texts:
            found["reasoning_content"] = texts["reasoning"]
        if "tool" in texts:
            found["tool_calls"] = [{**tool, "function": {"name": answer.tool, "arguments": texts["tool"]}}]
        return {"message": found}

    def deltas() -> Iterator[dict[str, Any]]:
        yield {"role": "assistant", "content": None}
        first = {"index": 0, **tool, "function": {"name": answer.tool, "arguments": ""}}
        for _, kind, parts in answer.by_kind():
            if kind == "tool":
                yield {"tool_calls": [first]}
            for word in parts:
                yield ({"tool_calls": [{"index": 0, "function": {"arguments": word}}]} if kind == "tool" else
                       {"reasoning_content" if kind == "reasoning" else "content": word})

    choices = ({"delta": delta} for delta in deltas())
    openai(x, answer, ("chat.completion", "chat.completion.chunk"), message, choices, last={"delta": {}})


def completions(x: Exchange) -> None:
    answer = Answer(x, x.payload["prompt"])
    choices = ({"text": word} for _, _, parts in answer.by_kind() for word in parts)
    openai(x, answer, ("text_completion",) * 2, lambda: {"text": "".join(answer.texts().values())}, choices,
           last={"text": ""})


def openai(x: Exchange, answer: Answer, kinds: tuple[str, str], whole: Callable[[], dict[str, Any]],
           choices: Iterable[dict[str, Any]], *, last: dict[str, Any]) -> None:
    """`whole` gives the choice of a plain answer; `choices` and then `last` are those of a stream."""
    head = {"id": f"chatcmpl-{answer.id}", "created": CREATED, "model": answer.model,
            "system_fingerprint": f"demo-{os.getpid()}"}

    def value(kind: str, choice: dict[str, Any], finish: str | None) -> dict[str, Any]:
        return {**head, "object": kind, "choices": [{"index": 0, **choice, "logprobs": None, "finish_reason": finish}]}

    def values() -> Iterator[Any]:
        for choice in choices:
            yield value(kinds[1], choice, None)
        end = value(kinds[1], last, FINISH[answer.finish][0])
        if (x.payload.get("stream_options") or {}).get("include_usage"):
            yield end
            end = {**end, "choices": [], "usage": answer.usage()}
        yield {**end, "timings": answer.timings()}      # llama.cpp gives them with whichever event is the last
        yield None

    if x.payload.get("stream"):
        x.events(values())
    else:
        found = value(kinds[0], whole(), FINISH[answer.finish][0])
        x.json({**found, "usage": answer.usage(), "timings": answer.timings()})


def completion(x: Exchange) -> None:
    """llama.cpp's own form. Several prompts are answered with a list."""
    def last(answer: Answer, content: str) -> dict[str, Any]:
        return {"index": 0, "content": content, "model": answer.model, "tokens_predicted": answer.done_n,
                "tokens_evaluated": answer.prompt_n, "stop": True, "timings": answer.timings(),
                "stop_type": "limit" if answer.finish == "length" else "eos"}

    def values() -> Iterator[dict[str, Any]]:
        answer = answers[0]
        for _, _, parts in answer.by_kind():
            yield from ({"index": 0, "content": word, "stop": False} for word in parts)
        yield last(answer, "")

    prompts = x.payload.get("prompt", x.payload.get("input_prefix", ""))
    answers = [Answer(x, prompt) for prompt in (prompts if isinstance(prompts, list) else [prompts])]
    if x.payload.get("stream"):
        x.events(values())
    else:
        found = [last(answer, "".join(answer.texts().values())) for answer in answers]
        x.json(found if isinstance(prompts, list) else found[0])


def responses(x: Exchange) -> None:
    answer = Answer(x, x.payload["input"])
    if x.payload.get("stream"):
        x.events({**event, "sequence_number": number} for number, event in enumerate(response_events(answer)))
    else:
        *_, last = response_events(answer)
        x.json(last["response"])


def response_events(answer: Answer) -> Iterator[dict[str, Any]]:
    """What is streamed; the last event holds the plain answer."""
    status = "incomplete" if answer.finish == "length" else "completed"
    items: list[dict[str, Any]] = []
    whole = {"id": f"resp_{answer.id}", "object": "response", "created_at": CREATED, "status": "in_progress",
             "error": None, "incomplete_details": None, "instructions": None, "metadata": {}, "model": answer.model,
             "output": items, "parallel_tool_calls": True, "temperature": 1.0, "tool_choice": "auto", "tools": [],
             "top_p": 1.0, "usage": None}
    yield {"type": "response.created", "response": whole}
    yield {"type": "response.in_progress", "response": whole}
    for number, kind, parts in answer.by_kind():
        text = ""
        item = response_item(answer, kind, text, status="in_progress")
        event = {"tool": "function_call_arguments", "reasoning": "reasoning_text", "text": "output_text"}[kind]
        where = {"item_id": item["id"], "output_index": number, **({} if kind == "tool" else {"content_index": 0})}
        empty = {**item, "content": []} if kind != "tool" else item
        yield {"type": "response.output_item.added", "output_index": number, "item": empty}
        if kind == "text":
            yield {"type": "response.content_part.added", **where, "part": item["content"][0]}
        for word in parts:
            text += word
            yield {"type": f"response.{event}.delta", **where, "delta": word}
        items.append(response_item(answer, kind, text, status=status))
        yield {"type": f"response.{event}.done", **where, "arguments" if kind == "tool" else "text": text}
        if kind == "text":
            yield {"type": "response.content_part.done", **where, "part": items[-1]["content"][0]}
        yield {"type": "response.output_item.done", "output_index": number, "item": items[-1]}
    usage = {"input_tokens": answer.prompt_n, "input_tokens_details": {"cached_tokens": answer.cached_n},
             "output_tokens": answer.done_n, "output_tokens_details": {"reasoning_tokens": 0},
             "total_tokens": answer.prompt_n + answer.done_n}
    cut = {"incomplete_details": {"reason": "max_output_tokens"}} if status == "incomplete" else {}
    yield {"type": f"response.{status}", "response": {**whole, "status": status, "usage": usage, **cut}}


def response_item(answer: Answer, kind: str, text: str, *, status: str) -> dict[str, Any]:
    if kind == "tool":
        return {"type": "function_call", "id": f"fc_{answer.id}", "call_id": f"call_{answer.id}", "name": answer.tool,
                "arguments": text, "status": status}
    if kind == "reasoning":
        return {"type": "reasoning", "id": f"rs_{answer.id}", "summary": [], "status": status,
                "content": [{"type": "reasoning_text", "text": text}]}
    return {"type": "message", "id": f"msg_{answer.id}", "role": "assistant", "status": status,
            "content": [{"type": "output_text", "text": text, "annotations": [], "logprobs": []}]}


def messages(x: Exchange) -> None:
    """Anthropic's API."""
    answer = Answer(x, x.payload["messages"])
    usage = {"input_tokens": answer.prompt_n - answer.cached_n, "cache_read_input_tokens": answer.cached_n,
             "cache_creation_input_tokens": 0, "output_tokens": 0}
    whole: dict[str, Any] = {
        "id": f"msg_{answer.id}", "type": "message", "role": "assistant", "model": answer.model, "content": [],
        "stop_reason": None, "stop_sequence": None, "usage": usage}
    stop = {"stop_reason": FINISH[answer.finish][1], "stop_sequence": None}
    usage_at_end = {**usage, "output_tokens": answer.done_n}

    def values() -> Iterator[dict[str, Any]]:
        yield {"type": "message_start", "message": whole}
        yield {"type": "ping"}
        for number, kind, parts in answer.by_kind():
            yield {"type": "content_block_start", "index": number, "content_block": block(answer, kind, "")}
            name, field = {"text": ("text_delta", "text"), "tool": ("input_json_delta", "partial_json"),
                           "reasoning": ("thinking_delta", "thinking")}[kind]
            for word in parts:
                yield {"type": "content_block_delta", "index": number, "delta": {"type": name, field: word}}
            yield {"type": "content_block_stop", "index": number}
        yield {"type": "message_delta", "delta": stop, "usage": usage_at_end}
        yield {"type": "message_stop"}

    if x.payload.get("stream"):
        x.events(values())
    else:
        blocks = [block(answer, kind, text) for kind, text in answer.texts().items()]
        x.json({**whole, **stop, "content": blocks, "usage": usage_at_end})


def count_tokens(x: Exchange) -> None:
    x.json({"input_tokens": Answer(x, x.payload["messages"]).prompt_n})


def block(answer: Answer, kind: str, text: str) -> dict[str, Any]:
    if kind == "tool":      # the arguments are an object here; those cut off by the limit cannot be one
        whole = json.loads(text) if text and answer.finish == "tool" else {}
        return {"type": "tool_use", "id": f"toolu_{answer.id}", "name": answer.tool, "input": whole}
    if kind == "reasoning":
        return {"type": "thinking", "thinking": text, "signature": "demo"}
    return {"type": "text", "text": text}


def embeddings(x: Exchange) -> None:
    """Multiples of 1/128, so that 32-bit floats and decimal text say exactly the same."""
    asked = x.payload["input"]
    several = isinstance(asked, list) and not all(isinstance(item, int) for item in asked)
    texts = [plain_text(item) for item in (asked if several else [asked])]
    rows: list[dict[str, Any]] = []
    for text in texts:
        digest = hashlib.shake_128(text.encode("utf-8", "replace")).digest(int(x.payload.get("dimensions") or 8))
        vector = [(byte - 128) / 128 for byte in digest]
        packed = base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
        as_text = x.payload.get("encoding_format") == "base64"
        rows.append({"object": "embedding", "index": len(rows), "embedding": packed if as_text else vector})
    count = sum(len(text.split()) for text in texts)
    x.json({"object": "list", "data": rows, "model": x.model, "usage": {"prompt_tokens": count, "total_tokens": count}})


def rerank(x: Exchange) -> None:
    query = set(plain_text(x.payload["query"]).lower().split())
    texts = [plain_text(document).lower().split() for document in x.payload["documents"]]
    scores = [len(query.intersection(text)) / max(1, len(query)) for text in texts]
    best = sorted(range(len(texts)), key=lambda index: -scores[index])[:x.payload.get("top_n")]
    count = len(query) + sum(len(text) for text in texts)
    x.json({"model": x.model, "object": "list", "usage": {"prompt_tokens": count, "total_tokens": count},
            "results": [{"index": index, "relevance_score": scores[index]} for index in best]})


def speech(x: Exchange) -> None:
    tone = bytes(128 + round(100 * math.sin(n / 4)) for n in range(800))
    head = struct.pack("<4sI8sIHHIIHH4sI", b"RIFF", 36 + len(tone), b"WAVEfmt ", 16, 1, 1, 8000, 8000, 1, 8, b"data",
                       len(tone))
    x.reply(head + tone, "audio/wav")


def form(x: Exchange) -> Any:
    """The fields of a multipart body, as bytes by name. Without its end it is refused: then somebody lost a part."""
    boundary = re.search('boundary="?([^";,]+)', x.fields.get("content-type", ""))
    *pieces, end = (b"\r\n" + x.body).split(b"\r\n--" + (boundary[1] if boundary else "?").encode("latin-1"))[1:]
    if not end.startswith(b"--"):
        raise ValueError("the form was cut short")
    x.parsed = {}           # from now on the payload: it is not JSON
    for piece in pieces:
        head, _, value = piece.partition(b"\r\n\r\n")
        name = re.search(rb'[; ]name="?([^";\r]*)', head)
        x.parsed[name[1].decode() if name else ""] = value
    return x.parsed


def transcriptions(x: Exchange) -> None:
    fields = form(x)
    text, style = f"You said: {len(fields['file'])} bytes", fields.get("response_format")
    if style == b"text":
        x.reply(text.encode() + b"\n", "text/plain; charset=utf-8")
    elif style == b"verbose_json":
        segment = {"id": 0, "start": 0.0, "end": 1.0, "text": text}
        x.json({"task": "transcribe", "language": "english", "duration": 1.0, "text": text, "segments": [segment]})
    else:
        x.json({"text": text})


def images(x: Exchange) -> None:
    """OpenAI's and Stable Diffusion's pictures: one colour, chosen by the prompt."""
    def piece(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    is_form = "multipart/" in x.fields.get("content-type", "")
    asked = {name: value.decode("latin-1") for name, value in form(x).items()} if is_form else x.payload
    sides = re.findall("[0-9]+", str(asked.get("size"))) or (asked.get("width", 64), asked.get("height", 64))
    width, height = (min(max(int(side), 1), 1024) for side in sides[:2])
    row = b"\0" + hashlib.sha256(asked["prompt"].encode("utf-8", "replace")).digest()[:3] * width
    picture = base64.b64encode(
        b"\x89PNG\r\n\x1a\n" + piece(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
        + piece(b"IDAT", zlib.compress(row * height)) + piece(b"IEND", b"")).decode()
    if "/sdapi/" in x.path:
        x.json({"images": [picture] * int(asked.get("batch_size", 1)), "parameters": {}, "info": "{}"})
    else:
        x.json({"created": CREATED, "data": [{"b64_json": picture}] * int(asked.get("n") or 1)})


def health(x: Exchange) -> None:
    if x.server.args.hang_health:
        x.connection.pause(IDLE_TIMEOUT)
        raise Gone("never answered")
    if x.server.args.no_health:
        x.error(404, "File Not Found", "not_found_error")
    elif time.monotonic() < x.server.ready_at:
        x.error(503, "Loading model", "unavailable_error")
    else:
        x.json({"status": "ok"})


def props(x: Exchange) -> None:
    names = ("requests", "tokens", "active", "peak_active", "cancelled")
    x.json({"default_generation_settings": {"n_ctx": 4096}, "total_slots": 4, "model_path": x.model,
            "build_info": "demo", "demo": {"pid": os.getpid(), **{n: getattr(x.server, n) for n in names}}})


def metrics(x: Exchange) -> None:
    rows = (("llamacpp:requests_processing", "gauge", x.server.active),
            ("llamacpp:tokens_predicted_total", "counter", x.server.tokens),
            ("vllm:num_requests_running", "gauge", x.server.active))
    text = "".join(f"# TYPE {name} {kind}\n{name} {value}\n" for name, kind, value in rows)
    x.reply(text.encode(), "text/plain; version=0.0.4; charset=utf-8")


def echo(x: Exchange) -> None:
    body = {"body": x.body.decode("latin-1")} if len(x.body) < MAX_ECHO_BYTES else {}
    x.json({"method": x.method, "target": x.target, "headers": x.headers, "body_bytes": len(x.body),
            "body_sha256": hashlib.sha256(x.body).hexdigest(), **body})


def plain_stream(x: Exchange) -> None:
    """GET /stream?n=5&gap=0.1&size=0: n chunks, each padded to `size` bytes."""
    asked = dict(re.findall("([a-z]+)=([0-9.]+)", x.target))

    def pieces() -> Iterator[bytes]:
        for number in x.paced(range(int(asked.get("n", 5)))):
            if number:
                x.connection.pause(float(asked.get("gap", 0)))
            yield (b"chunk %d\n" % number).rjust(int(asked.get("size", 0)), b".")
    x.stream(pieces(), "text/plain; charset=utf-8")
