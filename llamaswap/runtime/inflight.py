"""Requests under way: who asked for what, what each holds, how far it is, and how to end one.

A visit is written by the thread that serves its request and by nobody else. The table is a dict that threads add to
and take from without a lock (both are atomic); whoever looks at it copies it first. With nobody watching, a visit costs
an object and two dict operations.
"""
from __future__ import annotations

import itertools
import threading
import time
from typing import Any, Callable, ContextManager, Dict, Iterator, List, Mapping, Optional, Sequence, TypeVar

from llamaswap.core.activity import BROKEN, CANCELLED, CLIENT_GONE, ERROR, OK
from llamaswap.core.faults import Fault, Refused, UpstreamFault, cancelled
from llamaswap.core.messages import BodyReader, Request
from llamaswap.core.usage import Collector
from llamaswap.runtime.threads import spawn

T = TypeVar("T")
Live = Dict[str, Any]

TICK = 0.25                  # how often those who watch are told of changes
FEW = 32                     # so many visits may keep whole answers for a capture; more keep head and tail
CAPTURED_BYTES = 1 << 20     # of an answer, and of a body that is passed on as it comes
CLIENT_GONE_STATUS = 499
_IN_BETWEEN = 1000           # numbers left out when they go on higher: more than threads take at one moment
_NOTHING: Mapping[str, str] = {}


class Visit:
    """One request, from the moment its model is known until its answer has ended."""

    # Most visits never change these; as attributes of the class they cost nothing to set up.
    model = requested = ""
    is_stream = is_cancelled = False
    is_refused = False                       # the answer, if there was one, is a fault of ours
    body: Optional[bytes] = None             # as it was sent on, or the beginning of it; None when it was not kept
    req_bytes = 0                            # of a body that was passed on as it came
    kept_bytes = 0                           # of such a body, for a capture
    lease: Any = None                        # the one that was taken last
    exchange: Any = None
    first_at = end_at = 0.0
    queue_seconds = load_seconds = 0.0
    status = sent_bytes = 0
    outcome = why = ""
    response_headers: Any = ()
    metadata = _NOTHING
    priority: Optional[int] = None           # in the queue of a local model
    seen: Any = None                         # what those who watch were told last

    def __init__(self, inflight: Inflight, number: int, request: Request, path: str, collector: Collector) -> None:
        self._inflight = inflight
        self._held: List[ContextManager[Any]] = []
        self.id = number
        self.request = request
        self.path = path                     # as the model server sees it
        self.at = time.monotonic()
        self.at_epoch = time.time()
        self.collector = collector

    def __repr__(self) -> str:
        return f"<Visit {self.id} {self.model} {self.phase}>"

    # --- the serving thread ------------------------------------------------------------------------------------------

    def hold(self, context: ContextManager[T]) -> T:
        """Enter it, and leave it when the visit ends or lets go."""
        entered = context.__enter__()
        self._held.append(context)
        return entered

    def let_go(self) -> None:
        """Give back what is held, last first."""
        while self._held:
            self._held.pop().__exit__(None, None, None)

    def take(self, lease: ContextManager[Any]) -> Any:
        """Wait for this one from now on, and hold it."""
        self._count_wait()
        self.lease = self.hold(lease)
        # order: who cancels looks for a lease after setting the flag, so one of the two always notices.
        if self.is_cancelled:
            self.lease.cancel(cancelled())
        return self.lease

    def passing(self, body: BodyReader) -> BodyReader:
        """The request's own body, to be passed on as it comes."""
        return body if body.length == 0 else _Passing(self, body)

    def tap(self, piece: bytes) -> None:
        """A piece of the answer has been sent."""
        if not self.first_at:
            self.first_at = time.monotonic()
        self.collector.add(piece)

    def begin_answer(self, exchange: Any) -> None:
        """The model server's head is here."""
        self.exchange = exchange
        self.status = exchange.status
        self.response_headers = exchange.headers
        self.collector.encoding = (exchange.headers.get("content-encoding") or "").strip().lower()
        if exchange.is_event_stream:
            self.is_stream = True        # whatever the request said; below /upstream nobody has looked
        elif exchange.status == 101:
            self.first_at = time.monotonic()      # what passes through a tunnel is not tapped

    def end_answer(self, outcome: Any) -> None:
        """`outcome` is relay's."""
        self.sent_bytes = outcome.sent_bytes
        if outcome.complete:
            self.outcome = OK if self.status < 400 else ERROR
            return
        self.why = outcome.why
        self.outcome = CLIENT_GONE if outcome.why.startswith("client") else BROKEN
        self.status = CLIENT_GONE_STATUS if self.outcome is CLIENT_GONE else UpstreamFault.status

    def complete(self) -> None:
        """A stream that began before its model was ready is out to the last byte."""
        self.outcome, self.status, self.why = OK, 200, ""
        self.sent_bytes = self.collector.total

    def explain(self, fault: Fault) -> Fault:
        """What to tell instead of it: where we ended the exchange ourselves, it looks like the model server's doing."""
        if self.is_cancelled:
            return cancelled()
        if isinstance(fault, UpstreamFault) and self.lease is not None and self.lease.was_stopped:
            return Refused(f"model {self.model} was unloaded before it had answered", code="model_unloaded",
                           retry_after=1)
        return fault

    def fail(self, fault: Fault) -> Fault:
        """Answered with a fault, which is returned, or not at all because the client had left."""
        told = self.explain(fault)
        self.is_refused = True
        self.why, self.status = told.message, told.status
        self.outcome = CLIENT_GONE if told.status == CLIENT_GONE_STATUS else ERROR
        return told

    def leave(self) -> None:
        """The client is gone, and its connection with it."""
        self.outcome, self.status, self.why = CLIENT_GONE, CLIENT_GONE_STATUS, "client gone"

    def close(self) -> None:
        """Once, when the answer has ended. Lets go, and hands the visit to whoever records it."""
        if self.end_at:
            return
        self.end_at = time.monotonic()
        self._count_wait()
        self.let_go()
        if self.is_cancelled and self.outcome != OK:
            self.outcome, self.why = CANCELLED, cancelled().message
        self._inflight.end(self)

    def _count_wait(self) -> None:
        """The lease is over. A process that dies makes its requests wait twice."""
        lease, self.lease = self.lease, None
        if lease is not None:
            self.queue_seconds += lease.queue_seconds
            self.load_seconds += lease.load_seconds

    # --- any thread --------------------------------------------------------------------------------------------------

    @property
    def waited(self) -> float:
        """Seconds until now, before each lease that it had or has."""
        lease = self.lease
        return self.queue_seconds + self.load_seconds + (lease.waited if lease is not None else 0.0)

    def cancel(self) -> None:
        """End it, wherever it is. Its thread finds out by the fault it gets."""
        self.is_cancelled = True
        lease, exchange = self.lease, self.exchange
        if exchange is not None:
            exchange.abort(cancelled())
        elif lease is not None:
            lease.cancel(cancelled())

    @property
    def phase(self) -> str:
        if self.first_at:
            return "generating"
        lease = self.lease
        if lease is None or lease.is_granted:
            return "prompt"
        return "loading" if lease.progress_now().phase == "loading" else "queued"

    def live(self) -> Live:
        """As those who watch see it."""
        now, request, lease = time.monotonic(), self.request, self.lease
        phase, position, reason = "prompt", None, ""
        if self.first_at:
            phase = "generating"
        elif lease is not None and not lease.is_granted:
            progress = lease.progress_now()
            phase = "loading" if progress.phase == "loading" else "queued"
            position, reason = progress.position or None, progress.reason
        return {
            "id": self.id, "at": round(self.at_epoch, 3), "model": self.model, "requested": self.requested,
            "method": request.method, "path": self.path, "client": request.client_ip,
            "session": self._inflight.session_of(request), "user_agent": request.headers.get("user-agent") or "",
            "request_id": request.id, "stream": self.is_stream, "phase": phase, "position": position, "reason": reason,
            "wait_ms": round(self.waited * 1000), "ttft_ms": round((self.first_at - self.at) * 1000) if self.first_at
            else None, "tokens": self.collector.pieces if self.is_stream else 0, "resp_bytes": self.collector.total,
            "elapsed_ms": round((now - self.at) * 1000), "status": self.status or None,
        }


class _Passing:
    """A body on its way through: counted, and its beginning kept."""

    def __init__(self, visit: Visit, body: BodyReader) -> None:
        self._visit = visit
        self._body = body

    @property
    def length(self) -> Optional[int]:
        return self._body.length

    def read_all(self, max_bytes: int) -> bytes:
        return self._body.read_all(max_bytes)

    def chunks(self) -> Iterator[bytes]:
        visit, kept = self._visit, bytearray()
        try:
            for piece in self._body.chunks():
                visit.req_bytes += len(piece)
                if len(kept) < visit.kept_bytes:
                    kept += piece[:visit.kept_bytes - len(kept)]
                yield piece
        finally:
            # Also when the model server has answered before it had read all of it.
            if visit.kept_bytes:
                visit.body = bytes(kept)


class Inflight:
    """`record` gets every visit that has ended; it must not block. `publish` gets live entries that changed, at most
    every TICK for each, on the thread `inflight`, and only while `is_watched()`."""

    def __init__(self, record: Callable[[Visit], None], *, session_headers: Callable[[], Sequence[str]],
                 is_capturing: Callable[[], bool], is_watched: Callable[[], bool],
                 publish: Callable[[List[Live]], None]) -> None:
        self._record = record
        self._session_headers = session_headers
        self._is_capturing = is_capturing
        self._is_watched = is_watched
        self._publish = publish
        self._numbers = itertools.count(1)     # next() on it is atomic
        self._visits: Dict[int, Visit] = {}
        self._news = threading.Event()
        self._is_closed = False

    def __repr__(self) -> str:
        return f"Inflight({len(self._visits)} visits)"

    def __len__(self) -> int:
        return len(self._visits)

    def start(self, first_id: int) -> None:
        """Numbers go on where those of an earlier life ended: a number names one request for ever."""
        self._numbers = itertools.count(first_id)
        spawn("inflight", self._run)

    def number_from(self, first_id: int) -> int:
        """The next number; none below it from now on. Who takes one at this moment may still get one of the old
        ones."""
        number = next(self._numbers)
        if number < first_id:
            number = max(first_id, number + _IN_BETWEEN)
            self._numbers = itertools.count(number + 1)
        return number

    def close(self) -> None:
        self._is_closed = True
        self._news.set()

    def open(self, request: Request, path: str) -> Visit:
        """A new visit. Whoever opens it sees to it that it is closed."""
        visits = self._visits
        keeps_all = len(visits) < FEW and self._is_capturing()
        collector = Collector(max_head=CAPTURED_BYTES) if keeps_all else Collector()
        visit = Visit(self, next(self._numbers), request, path, collector)
        if keeps_all:
            visit.kept_bytes = CAPTURED_BYTES
        visits[visit.id] = visit
        if not self._news.is_set() and self._is_watched():
            self._news.set()
        return visit

    def end(self, visit: Visit) -> None:
        self._visits.pop(visit.id, None)
        self._record(visit)

    def cancel(self, number: int) -> bool:
        visit = self._visits.get(number)
        if visit is None:
            return False
        visit.cancel()
        return True

    def find(self, number: int) -> Optional[Visit]:
        return self._visits.get(number)

    def visits(self) -> List[Visit]:
        """Oldest first."""
        return [visit for _, visit in sorted(self._visits.copy().items())]

    def snapshot(self) -> List[Live]:
        # Who begins to watch asks for this first, and what is under way already has woken nobody.
        if self._visits:
            self._news.set()
        return [visit.live() for visit in self.visits()]

    def session_of(self, request: Request) -> str:
        for name in self._session_headers():
            value = request.headers.get(name.lower())
            if value:
                return value[:200]
        return ""

    # --- the thread `inflight` ---------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._is_closed:
            if not (self._visits and self._is_watched()):
                self._news.clear()
                # order: look again after clearing, or an arrival between the two would wait for the next one.
                if not (self._visits and self._is_watched()):
                    self._news.wait()
            self._publish_changes()
            time.sleep(TICK)

    def _publish_changes(self) -> None:
        changed = []
        for visit in self.visits():
            live = visit.live()
            seen = (live["phase"], live["position"], live["reason"], live["status"], live["resp_bytes"], live["model"])
            if seen != visit.seen:
                visit.seen = seen
                changed.append(live)
        if changed:
            self._publish(changed)
