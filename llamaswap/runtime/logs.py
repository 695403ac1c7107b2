"""Log bytes: rings that remember, subscribers that follow, and one writer for standard output.

Bytes stay bytes, ANSI colours included; a ring is cut at line starts only. Whoever produces never waits for whoever
consumes: a subscriber has a bounded queue that drops its oldest bytes and says how many, and so has the writer to
standard output, which alone may be blocked by a reader that stopped reading (scar: the peer froze, models and requests
alike, on an unread pipe; test_blocked_stdout_blocks_nobody).

Every lock here is a leaf: held for list and byte operations only.
"""
from __future__ import annotations

import logging
import os
import re
import threading
import time
from collections import deque
from types import TracebackType
from typing import (
    Any,
    Callable,
    Deque,
    Dict,
    FrozenSet,
    Iterator,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Protocol,
    Tuple,
    Type,
)

from llamaswap.runtime.logruns import Run, Runs
from llamaswap.runtime.threads import spawn

RING_BYTES = 100 * 1024
SLACK = 8                   # a ring may grow by this part of its size before it is cut
QUEUE_BYTES = 1024 * 1024
DROPPED = "\u2014 %d bytes dropped \u2014\n".encode()      # worded as llama-swap does, for tools that look for it
SHOWN: Mapping[str, FrozenSet[str]] = {     # `logToStdout`: which sources reach the combined ring and standard output
    "proxy": frozenset({"proxy"}), "upstream": frozenset({"upstream"}),
    "both": frozenset({"proxy", "upstream"}), "none": frozenset(),
}
GATHER_PAUSE = 0.02         # seconds between two writes to standard output
SEARCHED_LINES, SHOWN_CHARS = 20, 300       # of a model that is being loaded
_CONTINUATION = bytes(range(0x80, 0xC0))       # no character begins with one of these
_CONTROLS = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|[\x00-\x08\x0b-\x1f\x7f-\x9f]")

Write = Callable[[bytes], int]


class FileSink(Protocol):
    """Where log bytes go besides the rings; `put` never waits."""

    @property
    def dropped(self) -> int: ...

    def put(self, source: str, data: bytes) -> None:
        """`source` is a model, or "" for our own lines."""


class ByteQueue:
    """A bounded queue of bytes for one consumer. Full means the oldest bytes go, and the gap is announced in place."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._changed = threading.Condition(threading.Lock())
        self._pieces: Deque[bytes] = deque()
        self._size = 0
        self._gap = 0
        self._is_closed = False
        self.dropped = 0

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._size} bytes, dropped={self.dropped})"

    def put(self, data: bytes) -> None:
        with self._changed:
            if self._is_closed or not data:
                return
            self._pieces.append(data)
            self._size += len(data)
            # Oldest first: a follower that falls behind wants to know what is going on, not what was.
            while self._size > self._max_bytes:
                self._drop_oldest()
            self._changed.notify()

    def get(self, timeout: Optional[float] = None) -> Optional[bytes]:
        """Everything that waits, joined; b"" when the time is up; None once closed and empty."""
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            while not self._pieces:
                if self._is_closed:
                    return None
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    return b""
                self._changed.wait(left)
            gap, self._gap = self._gap, 0
            data = b"".join(self._pieces)
            self._pieces.clear()
            self._size = 0
        return DROPPED % gap + data if gap else data

    def close(self) -> None:
        """Take nothing more and wake the consumer, who still gets what waits."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def _drop_oldest(self) -> None:
        lost = self._pieces.popleft()
        kept = b""
        if not self._pieces:                # a single piece larger than the queue: its end is worth more than nothing
            lost, kept = lost[:-self._max_bytes], lost[-self._max_bytes:]
            self._pieces.append(kept)
        self._size -= len(lost)
        self._gap += len(lost)
        self.dropped += len(lost)


class Subscription(ByteQueue):
    """One follower of a ring. Iterating waits for ever; `get` with a timeout lets a handler look at its client."""

    def __init__(self, ring: LogRing, max_bytes: int) -> None:
        super().__init__(max_bytes)
        self._ring = ring

    def close(self) -> None:
        self._ring.unsubscribe(self)
        super().close()

    def __iter__(self) -> Iterator[bytes]:
        while True:
            data = self.get()
            if data is None:
                return
            yield data

    def __enter__(self) -> Subscription:
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], error: Optional[BaseException],
                 trace: Optional[TracebackType]) -> None:
        self.close()


class Place(NamedTuple):
    """A place in everything that a ring was ever given, and the lines that ended before it."""

    offset: int
    line: int


class News(NamedTuple):
    """What came after a place, as far as it is still there."""

    data: bytes
    place: Place             # after it
    lost_bytes: int
    lost_lines: int


class LogRing:
    """The last bytes of one source, from a line start on."""

    def __init__(self, max_bytes: int = RING_BYTES, *, before_read: Callable[[], None] = lambda: None) -> None:
        """`before_read` brings in what somebody still holds back for it."""
        self._max_bytes = max_bytes
        self._before_read = before_read
        self._lock = threading.Lock()
        self._bytes = bytearray()
        self._start = 0                     # of the first byte that is left, counted from the first ever
        self._cut_lines = 0                 # ended before it
        self._subscribers: Tuple[Subscription, ...] = ()
        self._dropped = 0                   # by followers who have left

    def __repr__(self) -> str:
        return f"LogRing({len(self._bytes)} of {self._max_bytes} bytes, {len(self._subscribers)} subscribers)"

    def append(self, data: bytes) -> None:
        with self._lock:
            self._bytes += data
            # Not for every line: readers cut what is left over.
            if len(self._bytes) > self._max_bytes + self._max_bytes // SLACK:
                self._cut()
            # order: inside the lock, or two producers could reach a follower in another order than the ring.
            for subscriber in self._subscribers:
                subscriber.put(data)

    def history(self) -> bytes:
        self._before_read()
        with self._lock:
            self._cut()
            return bytes(self._bytes)

    def _cut(self) -> None:
        """To its size. The lock is held."""
        excess = len(self._bytes) - self._max_bytes
        if excess <= 0:
            return
        # A newline at excess - 1 means that the cut already falls on a line start. In the middle of a line only when
        # that one would take along half of what there is room for.
        line_end = self._bytes.find(b"\n", excess - 1, excess + self._max_bytes // 2)
        cut = line_end + 1 if line_end >= 0 else excess + _rest_of_character(self._bytes[excess:excess + 3])
        self._start += cut
        self._cut_lines += self._bytes.count(b"\n", 0, cut)
        del self._bytes[:cut]

    # --- for readers who come by from time to time; those who write do not know of them

    @property
    def end_offset(self) -> int:
        self._before_read()
        with self._lock:
            return self._start + len(self._bytes)

    def end(self) -> Place:
        self._before_read()
        with self._lock:
            return Place(self._start + len(self._bytes), self._cut_lines + self._bytes.count(b"\n"))

    def read_since(self, place: Place) -> News:
        self._before_read()
        with self._lock:
            self._cut()
            start = Place(self._start, self._cut_lines)
            data = bytes(self._bytes[max(0, place.offset - start.offset):])
        if place.offset >= start.offset:
            start = place
        after = Place(start.offset + len(data), start.line + data.count(b"\n"))
        return News(data, after, start.offset - place.offset, start.line - place.line)

    def between(self, begin: int, end: int) -> bytes:
        """What is left of the bytes from one offset to another."""
        with self._lock:
            self._cut()
            return bytes(self._bytes[max(0, begin - self._start):max(0, end - self._start)])

    # --- for readers who get everything at once

    @property
    def dropped(self) -> int:
        """Bytes that slow followers never got."""
        with self._lock:
            return self._dropped + sum(each.dropped for each in self._subscribers)

    def subscribe(self, *, with_history: bool = True, max_bytes: int = QUEUE_BYTES) -> Subscription:
        """Follow from here. History and what follows meet without a gap or a repetition. Close it after use."""
        subscription = Subscription(self, max_bytes)
        self._before_read()
        # One lock for both, or lines between the two would be lost or doubled.
        with self._lock:
            if with_history:
                self._cut()
                subscription.put(bytes(self._bytes))
            self._subscribers += (subscription,)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        with self._lock:
            if subscription in self._subscribers:
                self._dropped += subscription.dropped
            self._subscribers = tuple(one for one in self._subscribers if one is not subscription)


def _rest_of_character(data: bytearray) -> int:
    """How many bytes at the beginning belong to a character that began before, in UTF-8."""
    return len(data) - len(data.lstrip(_CONTINUATION))


class StdoutSink:
    """Thread `log-stdout` writes; everybody else only queues. A blocked reader costs log bytes, never time."""

    def __init__(self, write: Optional[Write] = None, *, max_bytes: int = QUEUE_BYTES) -> None:
        self._write = write or _write_stdout
        self._queue = ByteQueue(max_bytes)
        self._closing = threading.Event()
        self._thread = spawn("log-stdout", self._run)

    @property
    def dropped(self) -> int:
        return self._queue.dropped

    def put(self, data: bytes) -> None:
        self._queue.put(data)

    def close(self, timeout: float = 1.0) -> bool:
        """Write what waits, as far as the reader lets us within `timeout`. True when everything got out."""
        self._queue.close()
        self._closing.set()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            data = self._queue.get()
            if data is None:
                return
            try:
                while data:
                    data = data[self._write(data):]
                # Lines gather meanwhile. Waking for each one cost every request a switch of threads: 60 us of CPU.
                self._closing.wait(GATHER_PAUSE)
            except OSError:
                self._queue.close()         # the reader is gone for good; the rings still have everything
                return


class LogBook:
    """All rings: `proxy` (our own lines), `upstream` (every model), `everything` (both), one per model, and `combined`
    (what `/logs` shows). `files` gets whatever the rings get; see logfiles.py."""

    def __init__(self, *, to_stdout: str = "proxy", sink: Optional[StdoutSink] = None,
                 max_bytes: int = RING_BYTES, files: Optional[FileSink] = None) -> None:
        self._max_bytes = max_bytes
        self._sink = sink
        self._files = files
        self._shown = SHOWN.get(to_stdout, SHOWN["proxy"])
        self._lock = threading.Lock()
        self._models: Dict[str, LogRing] = {}
        self._runs: Dict[str, Runs] = {}
        self.settle: Callable[[], None] = lambda: None      # of the handler that holds lines back
        self.proxy, self.everything, self.combined = (LogRing(max_bytes, before_read=self._settle) for _ in range(3))
        self.upstream = LogRing(max_bytes)

    def __repr__(self) -> str:
        return f"LogBook(shown={sorted(self._shown)}, models={sorted(self._models)})"

    @property
    def dropped(self) -> int:
        """Bytes that a slow reader of standard output, of a stream or of a disk never got."""
        with self._lock:
            rings = [self.proxy, self.upstream, self.everything, self.combined, *self._models.values()]
        sinks = [sink.dropped for sink in (self._sink, self._files) if sink is not None]
        return sum(sinks) + sum(ring.dropped for ring in rings)

    def _settle(self) -> None:
        self.settle()

    def show(self, to_stdout: str) -> None:
        """Follow a changed `logToStdout`; what is already in the combined ring stays."""
        self._shown = SHOWN.get(to_stdout, SHOWN["proxy"])

    def model(self, model_id: str) -> LogRing:
        """The ring of a model, made on first use. It outlives the process, so a crash can be read afterwards."""
        with self._lock:
            return self._models.setdefault(model_id, LogRing(self._max_bytes))

    def find(self, source: str) -> Optional[LogRing]:
        """`proxy`, `upstream`, "" for the combined ring, or a model that has written or started; None otherwise."""
        fixed = {"": self.combined, "proxy": self.proxy, "upstream": self.upstream}
        with self._lock:
            return fixed.get(source) or self._models.get(source)

    def models(self) -> List[str]:
        with self._lock:
            return sorted(self._models)

    # --- what comes in

    def add_model_output(self, model_id: str, data: bytes) -> None:
        """From the model's `log-` thread. Costs a few appends, whoever is listening."""
        self.model(model_id).append(data)
        self.upstream.append(data)
        self._show("upstream", data)
        if self._files is not None:
            self._files.put(model_id, data)

    def add_proxy_line(self, line: bytes) -> None:
        self.proxy.append(line)
        self._show("proxy", line)
        if self._files is not None:
            self._files.put("", line)

    def _show(self, source: str, data: bytes) -> None:
        self.everything.append(data)
        if source not in self._shown:
            return
        self.combined.append(data)
        if self._sink is not None:
            self._sink.put(data)

    # --- the runs of a model; begin and end are its `wait-` thread's

    def begin_run(self, model_id: str, generation: int) -> None:
        self._runs_of(model_id).begin(generation, self.model(model_id), epoch=time.time())

    def end_run(self, model_id: str, generation: int, reason: str) -> None:
        """Nothing of this run is written afterwards. Leaves a line in the model's ring that says so."""
        line = self._runs_of(model_id).end(generation, reason, epoch=time.time())
        if line:
            self.model(model_id).append(line)
            if self._files is not None:
                self._files.put(model_id, line)

    def runs(self, model_id: str) -> List[Run]:
        """The last ones, newest last."""
        with self._lock:
            found = self._runs.get(model_id)
        return found.list() if found is not None else []

    def run_text(self, model_id: str, generation: int) -> Optional[bytes]:
        """What is left of what that run wrote; None when it is unknown or too long ago."""
        with self._lock:
            found = self._runs.get(model_id)
        return found.text(generation) if found is not None else None

    def tail(self, model_id: str, n: int) -> str:
        """The last lines the model wrote, of its newest run alone."""
        with self._lock:
            found, ring = self._runs.get(model_id), self._models.get(model_id)
        text = found.newest_text() if found is not None else ring.history() if ring is not None else b""
        return "\n".join(text.decode("utf-8", "replace").splitlines()[-n:]) if n > 0 else ""

    def last_line(self, model_id: str) -> str:
        """For people who wait: the newest line of its newest run that says anything, without colours."""
        for line in reversed(self.tail(model_id, SEARCHED_LINES).splitlines()):
            shown = _CONTROLS.sub("", line).strip()
            if shown:
                return shown[:SHOWN_CHARS]
        return ""

    def _runs_of(self, model_id: str) -> Runs:
        with self._lock:
            return self._runs.setdefault(model_id, Runs())


class _InfoRecord(logging.LogRecord):
    """What formatters look at, and nothing else: making a whole record costs more than all the rest of a line."""

    levelno = logging.INFO
    levelname = "INFO"
    exc_info = exc_text = stack_info = None

    def __init__(self, logger_name: str, message: str, values: Tuple[Any, ...]) -> None:
        self.name = logger_name
        self.msg = message
        self.args = values
        self.created = time.time()


class LogBookHandler(logging.Handler):
    """Brings our own log lines into the book. Without another formatter a line is `[LEVEL] message`.

    Logging holds a lock of its own around emit(); nothing in there waits, so nobody waits for it for long.
    """

    def __init__(self, book: LogBook, *, level: int = logging.NOTSET) -> None:
        super().__init__(level)
        self._book = book
        self.setFormatter(logging.Formatter("[%(levelname)s] %(message)s"))
        self._held: Deque[_InfoRecord] = deque()
        self._writing = threading.Lock()     # keeps lines in their order; the book's locks are taken below it
        self._news = threading.Event()
        self._thread: Optional[threading.Thread] = None
        book.settle = self.write_held

    def info(self, logger_name: str, message: str, values: Tuple[Any, ...]) -> None:
        """The line that a logger's info() would end in, a moment later: for what every request writes. Requests only
        put it aside; formatting and four locks for each line cost them a tenth of their rate. Whether anybody listens
        has been asked."""
        self._held.append(_InfoRecord(logger_name, message, values))
        if not self._news.is_set():
            self._news.set()
            if self._thread is None:
                self._start()

    def emit(self, record: logging.LogRecord) -> None:
        with self._writing:
            lines = self._take_held()
            lines.append(self._line(record))
            self._book.add_proxy_line(b"".join(lines))

    def write_held(self) -> None:
        """Whoever reads does this first."""
        if self._held:
            with self._writing:
                lines = self._take_held()
                if lines:
                    self._book.add_proxy_line(b"".join(lines))

    def _take_held(self) -> List[bytes]:
        lines = []
        for _ in range(len(self._held)):
            lines.append(self._line(self._held.popleft()))
        return lines

    def _line(self, record: logging.LogRecord) -> bytes:
        try:
            return self.format(record).encode("utf-8", "backslashreplace") + b"\n"
        except (TypeError, ValueError, KeyError):
            self.handleError(record)        # a format string that does not fit its arguments
            return b""

    def _start(self) -> None:
        with self._writing:
            if self._thread is None:
                self._thread = spawn("log-lines", self._run)

    def _run(self) -> None:
        while True:
            self._news.wait()
            time.sleep(GATHER_PAUSE)
            # order: cleared before the lines are taken, or one that comes in between would wait for the next.
            self._news.clear()
            self.write_held()


def _write_stdout(data: bytes) -> int:
    return os.write(1, data)
