"""The ways to start a thread, and the way for many to do a thing once.

A thread that dies quietly leaves a crippled program behind (exit code 0, port open, nothing served), so every thread
runs under the same rule: what escapes it is logged, and when the thread was vital the program begins to shut down.
"""
from __future__ import annotations

import itertools
import logging
import threading
from typing import Any, Callable, List, Optional, Tuple, TypeVar

log = logging.getLogger(__name__)

LINGER = 1.0                 # seconds for which an idle thread of a crew waits for more

T = TypeVar("T")
Work = Callable[[], Any]


def spawn(name: str, run: Callable[..., Any], *args: Any,
          on_crash: Optional[Callable[[], Any]] = None) -> threading.Thread:
    """Start a daemon thread. `on_crash` marks it vital: it is called, in that thread, when `run` raised."""
    thread = _make(name, run, args, on_crash)
    thread.start()
    return thread


def once(make: Callable[[], T]) -> Callable[[], T]:
    """`make`, but called at the first use only; who comes meanwhile waits. When it raises, the next one tries."""
    lock = threading.Lock()
    made: List[T] = []

    def get() -> T:
        if not made:
            with lock:
                if not made:
                    made.append(make())
        return made[0]
    return get


class Crew:
    """Threads for work that comes at any moment, each named after the crew and numbered.

    Nobody waits for them. Who starts a thread usually waits until it runs, and among a hundred threads that want the
    interpreter that takes milliseconds, each time. A thread whose work is done stays for a moment, because clients
    that open a connection for every request come again at once, and starting one costs more than a small request.
    """

    def __init__(self, name: str, *, linger: float = LINGER) -> None:
        self._name = name
        self._linger = linger
        self._numbers = itertools.count(1)       # next() on it is atomic, and so is all that is done to the list
        self._idle: List[_Seat] = []
        self._is_closed = False

    def __repr__(self) -> str:
        return f"Crew({self._name}, {len(self._idle)} idle{', closed' if self._is_closed else ''})"

    def start(self, work: Work) -> None:
        """Any thread. RuntimeError when the system has no more threads."""
        try:
            seat = self._idle.pop()     # the newest, so that those who are not needed grow old
        except IndexError:
            seat = _Seat()
            seat.work = work
            thread = _make(f"{self._name}-{next(self._numbers)}", self._live, (seat,))
            # A private name. Should it ever change, start() waits as it always has.
            thread._started = _Unawaited()  # type: ignore[attr-defined]
            thread.start()
        else:
            seat.work = work
            seat.wake.release()

    def close(self) -> None:
        """Let the idle ones go; who is at work goes afterwards."""
        self._is_closed = True
        while self._idle:
            self._idle.pop().wake.release()

    def _live(self, seat: _Seat) -> None:
        while seat.work is not None:
            # Not in a variable: what the work holds must not stay as long as the thread does.
            seat.work()
            seat.work = None
            if not self._is_closed:
                self._rest(seat)

    def _rest(self, seat: _Seat) -> None:
        self._idle.append(seat)
        if seat.wake.acquire(timeout=self._linger):
            return
        try:
            self._idle.remove(seat)
        except ValueError:
            seat.wake.acquire()         # somebody has taken it out just now, so there will be work, or the end


class _Seat:
    """One thread's place: its work, None for the end, and what it sleeps on."""

    __slots__ = ("work", "wake")

    def __init__(self) -> None:
        self.work: Optional[Work] = None
        self.wake = threading.Lock()
        self.wake.acquire()


class _Unawaited(threading.Event):
    """What Thread.start() waits on, for those who do not."""

    def wait(self, timeout: Optional[float] = None) -> bool:
        return True


def _make(name: str, run: Callable[..., Any], args: Tuple[Any, ...],
          on_crash: Optional[Callable[[], Any]] = None) -> threading.Thread:
    def guarded() -> None:
        try:
            run(*args)
        except Exception:
            log.exception("thread %s ended unexpectedly", name)
            if on_crash is not None:
                on_crash()
    return threading.Thread(target=guarded, name=name, daemon=True)
