"""Which peers are not worth a connection attempt right now.

A host that is down answers a connection with silence, and every request would wait for the whole timeout to learn what
the one before it has learnt.
"""
from __future__ import annotations

import threading
import time
from typing import Callable, Dict, NamedTuple

FAILURES = 3              # in a row, until attempts are rationed
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0


class _Trouble(NamedTuple):
    failures: int = 0
    pause: float = 0.0            # between two attempts
    until: float = 0.0            # the instant of the next one
    is_tried: bool = False        # a request was let through since the last failure


class Breakers:
    """Connection failures by peer address. Any thread; they belong to the address, so they survive a reload."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()      # guards the one below; leaf
        self._troubles: Dict[str, _Trouble] = {}      # nothing is in here while all is well

    def __repr__(self) -> str:
        return f"Breakers({self._troubles})"

    def attempt(self, address: str) -> float:
        """0 when a request may connect, else the seconds until the next one may.

        The one that may takes the whole pause for itself: it need not report back, so one that never ends, or whose
        client leaves, keeps nobody out for longer than that.
        """
        if address not in self._troubles:      # without the lock: this is the way of every request to a peer
            return 0.0
        with self._lock:
            trouble = self._troubles.get(address)
            if trouble is None or trouble.failures < FAILURES:
                return 0.0
            now = self._clock()
            if now < trouble.until:
                return trouble.until - now
            self._troubles[address] = trouble._replace(until=now + trouble.pause, is_tried=True)
            return 0.0

    def failed(self, address: str) -> None:
        """No connection was to be had."""
        with self._lock:
            before = self._troubles.get(address, _Trouble())
            failures = before.failures + 1
            if failures < FAILURES:
                self._troubles[address] = _Trouble(failures)
            elif failures == FAILURES or before.is_tried:
                # Otherwise it began before the pause did, with many others, and is no news.
                pause = min(before.pause * 2, LONGEST_PAUSE) or FIRST_PAUSE
                self._troubles[address] = _Trouble(failures, pause, self._clock() + pause)

    def succeeded(self, address: str) -> None:
        if address in self._troubles:
            with self._lock:
                self._troubles.pop(address, None)
