"""The last runs of one model: when each began and ended, why, and what it wrote.

Their text is in the model's ring, which a long run fills alone; so the end of each run's text is put aside when it is
over, and the last words of a model that crashed are still there when its next run has been talking for a day.
"""
from __future__ import annotations

import threading
import time
from collections import deque
from typing import Deque, List, NamedTuple, Optional, Protocol

RUNS_KEPT = 5
KEPT_BYTES = 32 * 1024      # of the text of a run that is over


class Ring(Protocol):
    @property
    def end_offset(self) -> int: ...

    def between(self, begin: int, end: int) -> bytes: ...


class Run(NamedTuple):
    generation: int
    started_epoch: float
    ended_epoch: Optional[float]
    reason: str                  # why it ended
    text_bytes: int              # written in all


class _Open:
    """A run and where its text is. `end` is None while it goes on."""

    def __init__(self, generation: int, ring: Ring, epoch: float) -> None:
        self.generation = generation
        self.ring = ring
        self.begin = ring.end_offset
        self.end: Optional[int] = None
        self.began_at = time.monotonic()
        self.started_epoch = epoch
        self.ended_epoch: Optional[float] = None
        self.reason = ""
        self.kept = b""

    def last_offset(self) -> int:
        return self.ring.end_offset if self.end is None else self.end

    def text(self) -> bytes:
        in_ring = self.ring.between(self.begin, self.last_offset())
        return max(in_ring, self.kept, key=len)

    def summary(self) -> Run:
        return Run(self.generation, self.started_epoch, self.ended_epoch, self.reason, self.last_offset() - self.begin)


class Runs:
    """`_lock` orders readers and the model's `wait-` thread; below it only the ring's own is taken."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs: Deque[_Open] = deque(maxlen=RUNS_KEPT)

    def __repr__(self) -> str:
        return f"Runs({[run.generation for run in self._runs]})"

    def begin(self, generation: int, ring: Ring, *, epoch: float) -> None:
        with self._lock:
            self._runs.append(_Open(generation, ring, epoch))

    def end(self, generation: int, reason: str, *, epoch: float) -> bytes:
        """The line that marks the end; b"" when no such run is going on."""
        with self._lock:
            run = self._find(generation)
            if run is None or run.end is not None:
                return b""
            run.end, run.ended_epoch, run.reason = run.ring.end_offset, epoch, reason
            text = run.ring.between(run.begin, run.end)
            run.kept = _newest_lines(text)
        seconds = time.monotonic() - run.began_at
        shown = f"{seconds:.0f}" if seconds >= 10 else f"{seconds:.1f}"
        start = "" if not text or text.endswith(b"\n") else "\n"
        line = f"{start}\u2014 run {generation} ended: {reason} after {shown} s \u2014\n"
        return line.encode("utf-8", "replace")

    def list(self) -> List[Run]:
        with self._lock:
            return [run.summary() for run in self._runs]

    def text(self, generation: int) -> Optional[bytes]:
        with self._lock:
            run = self._find(generation)
            return run.text() if run is not None else None

    def newest_text(self) -> bytes:
        with self._lock:
            return self._runs[-1].text() if self._runs else b""

    def _find(self, generation: int) -> Optional[_Open]:
        return next((run for run in reversed(self._runs) if run.generation == generation), None)


def _newest_lines(text: bytes) -> bytes:
    if len(text) <= KEPT_BYTES:
        return text
    excess = len(text) - KEPT_BYTES
    line_end = text.find(b"\n", excess - 1)
    return text[line_end + 1 if 0 <= line_end < len(text) - 1 else excess:]
