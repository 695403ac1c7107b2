"""Tokens and speeds, as a passing answer tells them.

Two steps. While the answer passes, a Collector keeps its beginning and its end, since all engines tell what they used
in one of the two. Afterwards `extract` looks there; it proves that a `usage` it found is the answer's own, and not
something the model wrote, without parsing what lies between.

`input_tokens` is the whole prompt, cached part included, as OpenAI counts. llama.cpp's `timings` and Anthropic's
`usage` count the cached part apart, so it is added to theirs.
"""
from __future__ import annotations

import json
import math
import re
import zlib
from typing import Any, Dict, Iterable, List, NamedTuple, Optional, Set, Tuple

from llamaswap.core.http1 import REASONS

KIB = 1024
NEAR_BYTES = 8 * KIB                # of either end; what is looked for is nearly always in there
FAR_BYTES = 64 * KIB
MAX_EVENTS = 16                     # parsed at an end: some engines tell the usage so far with every token
MAX_MATCHES = 8
MAX_DECODED_BYTES = 64 * KIB * KIB  # a compressed answer may be a bomb
MAX_ERROR_BYTES = 500
MAX_COUNT = 2 ** 53                 # beyond it no number of tokens is meant
_BLOCK = re.compile(rb'"(usage|timings|metrics)"\s*:\s*\{')
_EITHER_HEADER = 47                 # zlib's or gzip's
_NO_HEADER = -15
# By coding, what to try in turn: HTTP means zlib's format by "deflate", and some servers do not.
_WINDOWS = {"gzip": (_EITHER_HEADER,), "x-gzip": (_EITHER_HEADER,), "deflate": (_EITHER_HEADER, _NO_HEADER)}
# Where an answer that was cut short by us or by somebody else still tells what it cost until then.
_CUT_SHORT = (499, 502)

Json = Dict[str, Any]


class Usage(NamedTuple):
    """None is unknown. `engine_ms` is what the engine says it worked, `error` why the answer could not be read."""

    input_tokens: Optional[int] = None
    cached_tokens: Optional[int] = None
    output_tokens: Optional[int] = None
    drafted_tokens: Optional[int] = None
    accepted_tokens: Optional[int] = None
    prompt_per_second: Optional[float] = None
    tokens_per_second: Optional[float] = None
    engine_ms: Optional[float] = None
    error: str = ""


NOTHING = Usage()


class Collector:
    """The first `max_head` and the last `max_tail` bytes of what passes; all of it as long as it is no longer than
    both. Written by one thread; `total` and `pieces` may be read by any.

    The end of a longer one in a content coding (`encoding`, set before the first piece) means nothing without what came
    before, so that one is unpacked as it passes.
    """

    __slots__ = ("_buffer", "_head", "_limit", "_max_head", "_max_tail", "encoding", "pieces", "total", "unpacked")

    def __init__(self, max_head: int = 64 * KIB, max_tail: int = 64 * KIB) -> None:
        self._max_head = max_head
        self._max_tail = max_tail
        self._limit = max_head + max_tail
        self._head: Optional[bytes] = None      # set once the buffer holds the end only
        self._buffer = bytearray()
        self.encoding = ""
        self.unpacked: Optional[_Unpacked] = None      # only of what is not whole
        self.pieces = 0
        self.total = 0

    def __repr__(self) -> str:
        return f"Collector({self.total} bytes in {self.pieces} pieces)"

    def add(self, piece: bytes) -> None:
        self.pieces += 1
        self.total += len(piece)
        buffer = self._buffer
        buffer += piece
        if self.unpacked is not None:
            self.unpacked.add(piece)
        if len(buffer) > self._limit:
            self._shorten(buffer)

    def _shorten(self, buffer: bytearray) -> None:
        """Rarely: from now on the buffer may grow to twice what it has to hold."""
        if self._head is None:
            if self.encoding in _WINDOWS:
                self.unpacked = _Unpacked(self.encoding)
                self.unpacked.add(bytes(buffer))
            self._head = bytes(buffer[:self._max_head])
            self._limit = 2 * self._max_tail
        del buffer[:max(0, len(buffer) - self._max_tail)]

    @property
    def held_bytes(self) -> int:
        return len(self._buffer) + len(self._head or b"")

    @property
    def is_whole(self) -> bool:
        return self._head is None

    @property
    def head(self) -> bytes:
        """When `is_whole`, everything."""
        return bytes(self._buffer) if self._head is None else self._head

    @property
    def tail(self) -> bytes:
        """When `is_whole`, nothing: the head has it."""
        return b"" if self._head is None else bytes(self._buffer[max(0, len(self._buffer) - self._max_tail):])


# --- a whole answer, in two ends ----------------------------------------------------------------------------------


def extract(*, content_type: str, encoding: str, path: str, status: int, collector: Collector) -> Usage:
    """What the answer says about itself, field by field; whatever it does not say is None. Never raises."""
    if not collector.total or not 200 <= status < 300 and status not in _CUT_SHORT:
        return NOTHING
    head, tail = collector.head, collector.tail
    if encoding:
        unpacked = collector.unpacked or _unpack(head, encoding)
        if unpacked is not None:
            head, tail = unpacked.collector.head, unpacked.collector.tail
            if unpacked.fault:
                return Usage(error=f"response decompression failed: {unpacked.fault}")
    if "event-stream" in content_type.lower():
        return _usage_of(_event_roots(head, tail))
    first = head[:64].lstrip()[:1]
    if first == b"[" and "/infill" not in path or first not in (b"{", b"["):
        return NOTHING
    root = _json_root(head, tail, b"[{" if first == b"[" else b"{")
    return NOTHING if root is None else _usage_of([root])


def error_text(status: int, content_type: str, encoding: str, body: bytes) -> str:
    """Why an answer that is an error is one: what its body says, or else what its status means. `body` is its
    beginning at least."""
    unpacked = _unpack(body, encoding)
    plain = body
    if unpacked is not None:
        if unpacked.fault:
            return f"response decode failed: {unpacked.fault}"
        plain = unpacked.collector.head
    if "event-stream" in content_type.lower():
        plain = next((line[5:] for line in plain.split(b"\n") if line.startswith(b"data:")), b"")
    said = _complaint(_parse(plain[:FAR_BYTES]))
    if said:
        return _cut(said)
    reason = REASONS.get(status)
    return f"{status} {reason}" if reason else f"HTTP {status}"


def _complaint(root: Any) -> str:
    if not isinstance(root, dict):
        return ""
    error = root.get("error")
    inner = error.get("message") if isinstance(error, dict) else None
    return next((text for text in (inner, error, root.get("message"), root.get("detail"))
                 if isinstance(text, str) and text.strip()), "")


def _cut(text: str) -> str:
    # JSON may hold halves of surrogate pairs, which nothing that stores or sends text accepts.
    data = text.encode("utf-8", "replace")
    return data.decode() if len(data) <= MAX_ERROR_BYTES else data[:MAX_ERROR_BYTES].decode("utf-8", "ignore") + "..."


# --- content codings ----------------------------------------------------------------------------------------------


class _Unpacked:
    """Both ends of what is inside. `fault`: why that is not all."""

    def __init__(self, encoding: str) -> None:
        self.collector = Collector(FAR_BYTES, FAR_BYTES)
        self.fault = ""
        first, *self._others = _WINDOWS[encoding]
        self._unpacker = zlib.decompressobj(first)

    def add(self, data: bytes) -> None:
        try:
            self._feed(data)
        except zlib.error as fault:
            if self._others and not self.collector.total:
                self._unpacker = zlib.decompressobj(self._others.pop())
                self.add(data)
            else:
                self.fault = self.fault or str(fault)

    def _feed(self, data: bytes) -> None:
        while data and not (self.fault or self._unpacker.eof) and self.collector.total < MAX_DECODED_BYTES:
            self.collector.add(self._unpacker.decompress(data, FAR_BYTES))
            data = self._unpacker.unconsumed_tail


def _unpack(data: bytes, encoding: str) -> Optional[_Unpacked]:
    """None for codings that we do not know: those look like neither JSON nor events."""
    name = encoding.strip().lower()
    if name not in _WINDOWS:
        return None
    unpacked = _Unpacked(name)
    unpacked.add(data)
    return unpacked


# --- finding the blocks -------------------------------------------------------------------------------------------


def _event_roots(head: bytes, tail: bytes) -> List[Json]:
    """The events that tell something, oldest first. Anthropic tells the input at the beginning; all others, and the
    output, come at the end."""
    text = tail or head
    last = _roots(text[-NEAR_BYTES:])
    if not tail and len(head) <= NEAR_BYTES:
        return last
    if not last:
        last = _roots(text[-FAR_BYTES:])
    if not last:
        # One event longer than all we have: its last one repeats the whole answer in the Responses API, and the whole
        # prompt in llama.cpp's /completion. Its end is what comes before the first line end; others may follow.
        rest = text[-FAR_BYTES:].partition(b"\n")[0].rstrip()
        cut = _suffix_root(rest, b"{") or _suffix_root(rest, b'{"response":{')
        last = [cut] if cut else []
    return _roots(head[:NEAR_BYTES])[:MAX_EVENTS] + last


def _roots(text: bytes) -> List[Json]:
    found: List[Json] = []
    for line in reversed(text.split(b"\n")):
        if line.startswith(b"data:") and _BLOCK.search(line):
            root = _parse(line[5:])
            if isinstance(root, dict):
                found.append(root)
            if len(found) == MAX_EVENTS:
                break
    return found[::-1]


def _json_root(head: bytes, tail: bytes, opening: bytes) -> Optional[Json]:
    """An object with the blocks of the answer's top level, and perhaps with others of its keys."""
    text = tail or head
    root = _suffix_root(text[-NEAR_BYTES:], opening)
    if root is None:
        root = _prefix_root(head[:FAR_BYTES])
    if root is None and len(text) > NEAR_BYTES:
        root = _suffix_root(text[-FAR_BYTES:], opening)
    is_short = not tail and NEAR_BYTES < len(head) <= 2 * FAR_BYTES
    if root is not None and is_short and not _names_of_blocks(head) <= root.keys():
        # One block at the beginning and another at the end. Or one is not of the top level: only parsing all tells.
        whole = _parse(head)
        last = whole[-1] if isinstance(whole, list) and whole else whole
        return last if isinstance(last, dict) else root
    return root


def _names_of_blocks(text: bytes) -> Set[str]:
    return {match.group(1).decode() for match in _BLOCK.finditer(text)}


def _suffix_root(text: bytes, opening: bytes) -> Optional[Json]:
    """The last keys of a JSON text, from its first block on.

    A block is of the top level if what follows it closes exactly what `opening` opens: deeper ones leave brackets
    over. Quotes inside of strings are escaped, so text that looks like a block does not match in the first place.
    """
    for start in [match.start() for match in _BLOCK.finditer(text)][-MAX_MATCHES:]:
        root = _parse(opening + text[start:])
        if isinstance(root, list):
            root = root[-1]
        if isinstance(root, dict):
            inner = root.get("response")
            return inner if opening.startswith(b'{"') and isinstance(inner, dict) else root
    return None


def _prefix_root(text: bytes) -> Optional[Json]:
    """The first block of a JSON text, for answers that go on with a lot of numbers: embeddings of llama.cpp. It is of
    the top level if what precedes it is an object as soon as a bracket is added."""
    for match in list(_BLOCK.finditer(text))[:MAX_MATCHES]:
        before = text[:match.start()].rstrip()
        if _parse((before[:-1] if before.endswith(b",") else before) + b"}") is not None:
            found = _parse_first(text[match.end() - 1:])
            return {match.group(1).decode(): found} if found else None
    return None


def _parse(text: bytes) -> Any:
    """None when it is not JSON. Too deep and too long a number count as such."""
    try:
        return json.loads(text.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None


def _parse_first(text: bytes) -> Any:
    try:
        return json.JSONDecoder().raw_decode(text.decode("utf-8", "replace"))[0]
    except (ValueError, RecursionError):
        return None


# --- reading the blocks -------------------------------------------------------------------------------------------


def _usage_of(roots: Iterable[Json]) -> Usage:
    usage: Json = {}
    timings: Json = {}
    metrics: Json = {}
    for root in roots:
        _overlay(usage, root.get("usage"))
        for name in ("response", "message"):
            inner = root.get(name)
            if isinstance(inner, dict):
                _overlay(usage, inner.get("usage"))
        _overlay(timings, root.get("timings"))
        _overlay(metrics, root.get("metrics"))
    if not (usage or timings or metrics):
        return NOTHING
    found = _counted(usage)
    if timings:
        found = _with_timings(found, timings)
    return _with_metrics(found, metrics) if metrics else found


def _overlay(known: Json, block: Any) -> None:
    """What comes later is nearer to the end, but nothing and zero say nothing."""
    if isinstance(block, dict):
        for key, value in block.items():
            if value or key not in known and value is not None:
                known[key] = value


def _counted(usage: Json) -> Usage:
    prompt = _count(usage.get("prompt_tokens"))
    cached = read = _count(usage.get("cache_read_input_tokens"))
    for name in ("input_tokens_details", "prompt_tokens_details"):
        details = usage.get(name)
        if cached is None and isinstance(details, dict):
            cached = _count(details.get("cached_tokens"))
    if prompt is None:
        prompt = _count(usage.get("input_tokens"))
        if prompt is not None:
            prompt += (read or 0) + (_count(usage.get("cache_creation_input_tokens")) or 0)
    output = _count(usage.get("completion_tokens"))
    return Usage(prompt, cached, _count(usage.get("output_tokens")) if output is None else output)


def _with_timings(found: Usage, timings: Json) -> Usage:
    fresh, cached = _count(timings.get("prompt_n")), _count(timings.get("cache_n"))
    prompt = None if fresh is None else fresh + (cached or 0)
    drafted, accepted = _pair(timings.get("draft_n"), timings.get("draft_n_accepted"))
    spent = [spent for spent in (_positive(timings.get("prompt_ms")), _positive(timings.get("predicted_ms"))) if spent]
    return Usage(
        _said(found.input_tokens, prompt), _said(found.cached_tokens, cached),
        _said(found.output_tokens, _count(timings.get("predicted_n"))), drafted, accepted,
        _positive(timings.get("prompt_per_second")), _positive(timings.get("predicted_per_second")),
        sum(spent) if spent else None)


def _with_metrics(found: Usage, metrics: Json) -> Usage:
    """vLLM's. Of the two speeds the first is that of the part of the prompt that was not cached."""
    drafts = metrics.get("speculative_decoding")
    if isinstance(drafts, dict) and found.drafted_tokens is None:
        drafted, accepted = _pair(drafts.get("num_draft_tokens"), drafts.get("num_accepted_draft_tokens"))
        found = found._replace(drafted_tokens=drafted, accepted_tokens=accepted)
    first_ms, between_ms = _positive(metrics.get("time_to_first_token_ms")), _positive(metrics.get("mean_itl_ms"))
    fresh = (found.input_tokens or 0) - (found.cached_tokens or 0)
    if first_ms and fresh > 0 and found.prompt_per_second is None:
        found = found._replace(prompt_per_second=_positive(1000 * fresh / first_ms))
    if between_ms and found.tokens_per_second is None:
        found = found._replace(tokens_per_second=_positive(1000 / between_ms))
    return found


def _said(first: Optional[int], second: Optional[int]) -> Optional[int]:
    """The first that is more than nothing."""
    return first if first or second is None else second


def _pair(drafted: Any, accepted: Any) -> Tuple[Optional[int], Optional[int]]:
    """One of them alone means nothing."""
    first, second = _count(drafted), _count(accepted)
    return (first, second) if first is not None and second is not None else (None, None)


def _count(value: Any) -> Optional[int]:
    if type(value) is int:
        return value if 0 <= value <= MAX_COUNT else None
    number = _number(value)
    return int(number) if number is not None and 0 <= number <= MAX_COUNT else None


def _positive(value: Any) -> Optional[float]:
    number = _number(value)
    return number if number is not None and number > 0 else None


def _number(value: Any) -> Optional[float]:
    """A finite one; some engines write numbers as text."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
