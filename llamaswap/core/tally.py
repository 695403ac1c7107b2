"""What has been counted since the program started: requests by what came of them, and what models went through.

Two threads write, each its own table: rows come from the thread that records requests, states from the timer. So there
is no lock; whoever reads copies the tables first (a dict's copy() is atomic) and may be one event behind in one number.
Nothing is forgotten by a reload: a counter that shrinks looks like a restart to those who compute rates.
"""
from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate
from typing import Callable, Dict, FrozenSet, List, Mapping, NamedTuple, Sequence, Tuple, TypeVar

from llamaswap.core.activity import ERROR, Row
from llamaswap.core.lifecycle import State

T = TypeVar("T")

MOST_MODELS = 2000           # models beyond, over any number of reloads, share one name
OTHER_MODELS = "(other)"
UNKNOWN_MODEL = "(unknown)"   # whatever was asked for: clients must not choose the names of series
# From an answer that was there already to one that took the night.
DURATIONS_MS = (50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 60_000, 120_000, 300_000, 900_000, 3_600_000)
WAITS_MS = (10, 100, 500, 1000, 2500, 5000, 10_000, 15_000, 30_000, 60_000, 120_000, 300_000, 600_000)
LOADS_S = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0)
SPEEDS = (1, 2, 5, 10, 20, 30, 40, 60, 80, 100, 150, 200, 300, 500, 1000)      # tokens per second
TOKEN_KINDS = ("input", "cached", "output", "drafted", "accepted")              # the order of Traffic.tokens

# --- a few words for many ----------------------------------------------------------------------------------------

OTHER = "other"
_API_TAILS: Mapping[str, Tuple[str, ...]] = {
    "chat": ("/chat/completions",), "messages": ("/messages",), "tokens": ("/messages/count_tokens", "/tokenize"),
    "responses": ("/responses",), "completions": ("/completions", "/completion"),
    "embeddings": ("/embeddings", "/embedding"), "rerank": ("/rerank", "/reranking"), "infill": ("/infill",),
    "speech": ("/audio/speech",), "transcriptions": ("/audio/transcriptions", "/audio/translations"),
    "images": ("/images/generations", "/images/edits", "/txt2img", "/img2img"),
}
_API_OF_TAIL = {tail: api for api, tails in _API_TAILS.items() for tail in tails}
_API_OF_PATH = {base + tail: api for tail, api in _API_OF_TAIL.items() for base in ("/v1", "", "/sdapi/v1")}
_STATUS_CLASSES = ("none", "1xx", "2xx", "3xx", "4xx", "5xx")


def api_of(path: str) -> str:
    """Which API a path belongs to; one of a dozen words, whatever clients send."""
    known = _API_OF_PATH.get(path)
    if known is not None:
        return known
    parts = path.rsplit("/", 3)      # behind another prefix, as peers and pass-through have them
    for taken in (2, 1):
        if len(parts) > taken:
            api = _API_OF_TAIL.get("/" + "/".join(parts[-taken:]))
            if api is not None:
                return api
    return OTHER


# --- counters ----------------------------------------------------------------------------------------------------


class Histogram:
    """`counts` has one place per bound (values up to and including it) and one for what lies beyond the last."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def __repr__(self) -> str:
        return f"<Histogram n={sum(self.counts)} total={self.total:g}>"

    def add(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def cumulative(self) -> List[int]:
        return list(accumulate(self.counts.copy()))


class Traffic:
    """The requests for one model. `answers` counts by API, class of status and outcome."""

    __slots__ = ("answers", "duration", "first", "load", "queue", "req_bytes", "resp_bytes", "speed", "tokens")

    def __init__(self) -> None:
        self.answers: Dict[Tuple[str, str, str], int] = {}
        self.tokens = [0] * len(TOKEN_KINDS)
        self.req_bytes = self.resp_bytes = 0
        self.duration = Histogram(DURATIONS_MS)
        self.first = Histogram(DURATIONS_MS)
        self.queue = Histogram(WAITS_MS)
        self.load = Histogram(WAITS_MS)
        self.speed = Histogram(SPEEDS)

    def __repr__(self) -> str:
        return f"<Traffic {sum(self.answers.values())} requests>"


class Life:
    """What one model went through. `restarts` are the starts that followed a failure."""

    __slots__ = ("failures", "has_failed", "loading", "restarts", "starts", "stopping", "stops", "swapping", "swaps")

    def __init__(self) -> None:
        self.starts = self.restarts = self.failures = self.swaps = 0
        self.has_failed = False
        self.stops: Dict[str, int] = {}
        self.loading = Histogram(LOADS_S)
        self.stopping = Histogram(LOADS_S)
        self.swapping = Histogram(LOADS_S)

    def __repr__(self) -> str:
        return f"<Life starts={self.starts} failures={self.failures}>"


class _Swap(NamedTuple):
    victims: FrozenSet[str]
    slowest: float = 0.0         # seconds that the longest stop among them took


class Tally:
    """Give `traffic` and `lives` to readers only; they copy."""

    def __init__(self) -> None:
        self.traffic: Dict[str, Traffic] = {}      # the thread that records
        self.lives: Dict[str, Life] = {}           # the timer thread, as all below
        self._swaps: Dict[str, _Swap] = {}         # under way, by target

    def __repr__(self) -> str:
        return f"<Tally {len(self.traffic)} models asked, {len(self.lives)} lived>"

    def add_row(self, row: Row) -> None:
        model = row.model or UNKNOWN_MODEL
        traffic = self.traffic.get(model)
        if traffic is None:
            traffic = _place(self.traffic, model, Traffic)
        path, status, duration = row.path, row.status, row.duration_ms
        kind = status // 100
        key = (_API_OF_PATH.get(path) or api_of(path), _STATUS_CLASSES[kind if 0 < kind < 6 else 0], row.outcome)
        answers = traffic.answers
        answers[key] = answers.get(key, 0) + 1
        traffic.req_bytes += row.req_bytes
        traffic.resp_bytes += row.resp_bytes
        traffic.duration.add(duration)
        traffic.queue.add(row.queue_ms)
        if row.load_ms:
            traffic.load.add(row.load_ms)
        if row.output_tokens is not None or row.input_tokens is not None:
            _add_tokens(traffic, row)
        # An answer in one piece has no first token to wait for, a refusal none at all; who left midway has seen it.
        if row.is_stream and row.ttft_ms is not None and row.outcome != ERROR:
            traffic.first.add(row.ttft_ms)

    def add_state(self, model: str, old: str, new: str, cause: str, seconds_in_old: float) -> None:
        """`cause` is the scheduler's word."""
        life = _place(self.lives, model, Life)
        if new == State.STARTING.value:
            life.starts += 1
            life.restarts += life.has_failed
            life.has_failed = False
            # Who had to leave is back, so whoever was to get the place has given it up.
            self._swaps = {target: swap for target, swap in self._swaps.items() if model not in swap.victims}
        elif new == State.READY.value:
            life.loading.add(seconds_in_old)
            swap = self._swaps.pop(model, None)
            if swap is not None:
                life.swapping.add(swap.slowest + seconds_in_old)
        elif new == State.STOPPING.value:
            life.stops[cause] = life.stops.get(cause, 0) + 1
        elif old == State.STOPPING.value:
            life.stopping.add(seconds_in_old)
            for target, swap in self._swaps.items():
                if model in swap.victims:
                    self._swaps[target] = swap._replace(slowest=max(swap.slowest, seconds_in_old))
        if old == State.STARTING.value:
            self._swaps.pop(model, None)      # ready, which was counted above, or failed

    def add_swap(self, target: str, evicted: Sequence[str]) -> None:
        """`target` gets the place of those. How long that takes is the slowest of their stops and its start."""
        _place(self.lives, target, Life).swaps += 1
        self._swaps[target] = _Swap(frozenset(evicted))

    def add_failure(self, model: str) -> None:
        """A start that did not work, or a crash."""
        life = _place(self.lives, model, Life)
        life.failures += 1
        life.has_failed = True


def _add_tokens(traffic: Traffic, row: Row) -> None:
    tokens = traffic.tokens
    tokens[0] += row.input_tokens or 0
    tokens[1] += row.cached_tokens or 0
    tokens[2] += row.output_tokens or 0
    tokens[3] += row.drafted_tokens or 0
    tokens[4] += row.accepted_tokens or 0
    if row.tokens_per_second is not None:
        traffic.speed.add(row.tokens_per_second)


def _place(table: Dict[str, T], model: str, make: Callable[[], T]) -> T:
    found = table.get(model)
    if found is None:
        name = model if len(table) < MOST_MODELS else OTHER_MODELS
        found = table.get(name)
        if found is None:
            found = table[name] = make()
    return found
