"""What each model has been through: how long it took to load, and why it failed last. Outlives runs and reloads.

`note` is called on the timer thread, in the order of events; everybody else reads.
"""
from __future__ import annotations

import signal
import time
from collections import deque
from typing import Any, Callable, Deque, Dict, NamedTuple, Optional, Tuple

from llamaswap.core.lifecycle import State
from llamaswap.core.tickets import Event, ModelFailed, StateChanged

LOADS_KEPT = 5
TAIL_LINES = 20


class Failure(NamedTuple):
    kind: str                  # "start_failed" or "exited"
    message: str
    code: Optional[int]
    signal: Optional[str]
    at_epoch: float
    tail: Tuple[str, ...]      # the last lines it wrote
    retry_after: float


class History:
    """`failure` stays until the model has been loaded again."""

    __slots__ = ("failure", "load_seconds", "loads", "starting_at")

    def __init__(self) -> None:
        self.load_seconds: Deque[float] = deque(maxlen=LOADS_KEPT)
        self.failure: Optional[Failure] = None
        self.starting_at: Optional[float] = None
        self.loads = 0

    def usual_load_seconds(self) -> Optional[float]:
        """The median of the last ones."""
        known = sorted(self.load_seconds)
        return known[len(known) // 2] if known else None


class Histories:
    def __init__(self, tail: Callable[[str, int], str], *, clock: Callable[[], float] = time.monotonic,
                 wall: Callable[[], float] = time.time) -> None:
        self._tail = tail
        self._clock = clock
        self._wall = wall
        self._by_model: Dict[str, History] = {}

    def of(self, model_id: str) -> History:
        return self._by_model.get(model_id) or self._by_model.setdefault(model_id, History())

    def note(self, event: Event) -> None:
        if isinstance(event, StateChanged):
            history = self.of(event.model)
            if event.new is State.STARTING:
                history.starting_at = self._clock()
            elif event.new is State.READY and history.starting_at is not None:
                history.load_seconds.append(self._clock() - history.starting_at)
                history.loads += 1
                history.failure = None
        elif isinstance(event, ModelFailed):
            tail = tuple(self._tail(event.model, TAIL_LINES).splitlines())
            self.of(event.model).failure = Failure(event.kind, event.why, event.code, _signal_name(event.signal),
                                                   self._wall(), tail, event.retry_after)


def _signal_name(number: Any) -> Optional[str]:
    if not number:
        return None
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
