"""A few at a time, the rest in the order in which they came.

A hundred threads that want the interpreter at once get it in no order at all: some wait for a second while others go
round ten times, and each that waits wakes up every few milliseconds to ask again. Where the work is short it is better
to let few of them in; those who wait here sleep until it is their turn.
"""
from __future__ import annotations

import threading
from collections import deque
from typing import Deque

CROWD = 32                   # until so many are inside nobody waits: handing places on costs more than it brings
PLACES = 16                  # then so many are inside until nobody waits any more
PATIENCE = 1.0               # seconds after which somebody who waits goes in all the same


class Turnstile:
    def __init__(self, crowd: int = CROWD, places: int = PLACES) -> None:
        self._crowd = crowd
        self._places = places
        self._lock = threading.Lock()                   # guards the two below; leaf
        self._inside = 0
        self._waiting: Deque[threading.Lock] = deque()  # one for each, released when it may go in; oldest first

    def __repr__(self) -> str:
        return f"Turnstile({self._inside} inside, {len(self._waiting)} waiting)"

    def enter(self) -> bool:
        """False when the patience was at an end; then there is nothing to leave."""
        with self._lock:
            if self._inside < self._crowd and not self._waiting:
                self._inside += 1
                return True
            turn = threading.Lock()
            turn.acquire()
            self._waiting.append(turn)
        return turn.acquire(timeout=PATIENCE) or self._was_called(turn)

    def leave(self) -> None:
        with self._lock:
            if not self._waiting or self._inside > self._places:
                self._inside -= 1
                return
            turn = self._waiting.popleft()
        turn.release()       # the place goes from hand to hand, so that nobody who comes now can take it

    def _was_called(self, turn: threading.Lock) -> bool:
        """After the patience; it may have been our turn in that very moment."""
        with self._lock:
            if turn not in self._waiting:
                return True
            self._waiting.remove(turn)
            return False
