"""What happens to a request after its last byte: one thread counts, keeps and publishes it.

The thread is called `store`, since it alone touches SQLite. Requests only append to a queue that is bounded twice, by
number and by the bytes it keeps alive; what does not fit is counted and forgotten. The thread gathers for a moment
before it looks: under load one transaction then serves many requests.
"""
from __future__ import annotations

import logging
import threading
import time
from collections import deque
from typing import Any, Callable, Deque, List, Optional, Protocol, Sequence, Set, Tuple, TypeVar

from llamaswap.core.activity import ERROR, OK, Row
from llamaswap.core.faults import Refused
from llamaswap.core.messages import about
from llamaswap.core.usage import Usage, error_text, extract
from llamaswap.runtime.captures import Captures
from llamaswap.runtime.inflight import Visit
from llamaswap.runtime.store import Store, beyond_any
from llamaswap.runtime.threads import spawn

log = logging.getLogger(__name__)

T = TypeVar("T")
Question = Tuple[Callable[[Store], Any], "_Answer"]

GATHER_PAUSE = 0.1
BUSY_PAUSE = 0.25                 # after a batch of BUSY: memory keeps so few rows that most need not be stored
BUSY = 200
ROWS_AT_ONCE = 5                  # about 100 us of work, then a pause in which requests under way can get on:
BREATH = 0.00005                  # giving the interpreter away for no time at all gives it to nobody
MOST_WAITING = 20_000
MOST_WAITING_BYTES = 32 << 20     # of bodies; what comes on top of that is recorded without
MOST_WAITING_ANSWERS = 256 << 20  # bytes of them: a disk that hangs must not cost more
SQUEEZED_AT_ONCE = 50
UPKEEP_PAUSE = 60.0               # between two looks at what has become too old, when nothing happens
ASK_TIMEOUT = 15.0
OPEN_PATIENCE = 5.0
MEASURABLE = 0.05                 # seconds; what is measured over less says more about us than about the engine


class Counts(Protocol):
    def add_row(self, row: Row) -> None: ...


class _Answer:
    def __init__(self) -> None:
        self.is_there = threading.Event()
        self.value: Any = None
        self.error: Optional[BaseException] = None


class Recorder:
    """`counts` and `publish(rows, seen)` are called on the thread `store`, `publish` once the rows can be asked for;
    `seen` are the numbers under which they were told of while they were under way."""

    def __init__(self, store: Store, captures: Captures, counts: Counts,
                 publish: Callable[[Sequence[Row], Set[int]], None], *, session_of: Callable[[Any], str]) -> None:
        self._store = store
        self._captures = captures
        self._counts = counts
        self._publish = publish
        self._session_of = session_of
        self._visits: Deque[Visit] = deque()
        self._questions: Deque[Question] = deque()
        # About: threads add to them without a lock, and each batch starts anew.
        self._waiting_bytes = self._waiting_answers = 0
        self._news = threading.Event()
        self._urgent = threading.Event()
        self._is_closing = False
        self._last_batch = 0
        self._taken = 0                   # up to here others have the numbers; of requests that began in another file
        self._number_from: Callable[[int], int] = int
        self._peeked = beyond_any()      # until the store has had a look
        self._thread: Optional[threading.Thread] = None
        self.dropped = 0

    def __repr__(self) -> str:
        return f"Recorder({len(self._visits)} waiting, dropped={self.dropped})"

    def start(self, on_crash: Optional[Callable[[], Any]] = None) -> int:
        """Open the store; the number of the last row in it. Nobody waits for a store that takes its time: what is to be
        recorded does."""
        self._thread = spawn("store", self._run, on_crash=on_crash)
        try:
            last: int = self.ask(lambda store: store.last_id(), timeout=OPEN_PATIENCE)
        except Refused:
            log.warning("the activity file takes long to open; requests are recorded when it is open")
            last = self._peeked
        return last

    def close(self, timeout: float = 5.0) -> bool:
        """Record what waits. False when that took too long."""
        self._is_closing = True
        self._urgent.set()
        self._news.set()
        if self._thread is None:
            return True
        self._thread.join(timeout)
        return not self._thread.is_alive()

    # --- any thread --------------------------------------------------------------------------------------------------

    def put(self, visit: Visit) -> None:
        self._waiting_answers += visit.collector.held_bytes
        if len(self._visits) >= MOST_WAITING or self._waiting_answers > MOST_WAITING_ANSWERS:
            self.dropped += 1
            return
        if visit.body is not None:
            self._waiting_bytes += len(visit.body)
            if self._waiting_bytes > MOST_WAITING_BYTES:
                visit.req_bytes = max(visit.req_bytes, len(visit.body))
                visit.body = None
        self._visits.append(visit)
        if not self._news.is_set():
            self._news.set()

    def ask(self, question: Callable[[Store], T], timeout: float = ASK_TIMEOUT) -> T:
        """Run it on the thread that owns the store, after everything that was put before. Raises what it raises."""
        answer = self._put_question(question)
        if not answer.is_there.wait(timeout):
            raise Refused("the activity store is busy", code="store_busy", retry_after=2)
        if answer.error is not None:
            raise answer.error
        found: T = answer.value
        return found

    def reconfigure(self, *, max_rows_in_memory: int, max_rows: int, max_age_days: int) -> None:
        """Soon."""
        self._put_question(lambda store: store.reconfigure(
            max_rows_in_memory=max_rows_in_memory, max_rows=max_rows, max_age_days=max_age_days))

    def move(self, path: Optional[str], number_from: Callable[[int], int]) -> None:
        """Soon: the store goes on at `path`, and `number_from` hears from which number on none is taken there,
        and gives the next one."""
        def go(store: Store) -> None:
            if not store.move(path):
                self._captures.clear()
                self._taken, self._number_from = store.last_id(), number_from
                number_from(self._taken + 1)

        self._put_question(go)

    def _put_question(self, question: Callable[[Store], Any]) -> _Answer:
        answer = _Answer()
        self._questions.append((question, answer))
        self._urgent.set()
        self._news.set()
        return answer

    # --- the thread `store` ------------------------------------------------------------------------------------------

    def _run(self) -> None:
        self._peeked = self._store.peek()
        self._store.open()
        try:
            while self._await_news():
                self._record_and_answer()
            self._record_and_answer()
        finally:
            self._store.close()

    def _await_news(self) -> bool:
        """Sleep until something has to be done; False when it is time to go."""
        pause = GATHER_PAUSE if self._captures.has_raw() else UPKEEP_PAUSE
        if not self._news.wait(pause):
            self._captures.squeeze(SQUEEZED_AT_ONCE)
            if pause == UPKEEP_PAUSE:
                self._store.prune()
        self._news.clear()
        if self._visits and not self._is_closing:
            self._urgent.wait(BUSY_PAUSE if self._last_batch >= BUSY else GATHER_PAUSE)
        self._urgent.clear()
        return not self._is_closing

    def _record_and_answer(self) -> None:
        # Taken first: a question that comes while others are answered is about visits that are not recorded yet.
        questions = [self._questions.popleft() for _ in range(len(self._questions))]
        self._record_waiting()
        for question, answer in questions:
            try:
                answer.value = question(self._store)
            except Exception as error:
                answer.error = error
            answer.is_there.set()

    def _record_waiting(self) -> None:
        self._waiting_bytes = self._waiting_answers = 0
        self._last_batch = len(self._visits)
        rows: List[Row] = []
        recorded: List[Visit] = []
        seen: Set[int] = set()
        for _ in range(len(self._visits)):
            visit = self._visits.popleft()
            if len(rows) % ROWS_AT_ONCE == ROWS_AT_ONCE - 1:
                time.sleep(BREATH)
            if visit.seen is not None:
                seen.add(visit.id)
            if visit.id <= self._taken:
                visit.id = self._number_from(self._taken + 1)
            try:
                row = self._row_of(visit)
                rows.append(row)
                self._counts.add_row(row)
                recorded.append(visit)
            except Exception:
                # One request in a form nobody thought of must not end the record of all others.
                log.exception("request %s could not be recorded", visit.request.id, extra=about(visit.request))
        if not rows:
            return
        self._captures.add(recorded)
        self._store.add(rows)
        self._publish(rows, seen)

    def _row_of(self, visit: Visit) -> Row:
        return row_of(visit, self._session_of(visit.request))


def row_of(visit: Visit, session: str) -> Row:
    request, collector, headers = visit.request, visit.collector, visit.response_headers
    content_type = (headers.get("content-type") or "") if headers else ""
    encoding = (headers.get("content-encoding") or "") if headers else ""
    usage = Usage()
    if visit.status != 101 and collector.total:
        usage = extract(content_type=content_type, encoding=encoding, path=visit.path, status=visit.status,
                        collector=collector)
    why = visit.why or usage.error
    if visit.outcome == ERROR and not visit.is_refused:
        why = error_text(visit.status, content_type, encoding, collector.head)
    wall_ms = round((visit.end_at - visit.at) * 1000)
    usage, is_measured = _measured(visit, usage)
    return Row(
        id=visit.id, at_epoch=visit.at_epoch, model=visit.model, requested=visit.requested, method=request.method,
        path=visit.path, content_type=content_type, status=visit.status, outcome=visit.outcome or OK, error=why,
        client=request.client_ip, session=session, user_agent=request.headers.get("user-agent") or "",
        request_id=request.id, is_stream=visit.is_stream, queue_ms=round(visit.queue_seconds * 1000),
        load_ms=round(visit.load_seconds * 1000),
        ttft_ms=round((visit.first_at - visit.at) * 1000) if visit.first_at else None,
        duration_ms=max(wall_ms, round(usage.engine_ms or 0)), req_bytes=max(visit.req_bytes, len(visit.body or b"")),
        resp_bytes=visit.sent_bytes, input_tokens=usage.input_tokens, cached_tokens=usage.cached_tokens,
        output_tokens=usage.output_tokens, drafted_tokens=usage.drafted_tokens, accepted_tokens=usage.accepted_tokens,
        prompt_per_second=usage.prompt_per_second, tokens_per_second=usage.tokens_per_second, is_measured=is_measured,
        metadata=visit.metadata if visit.priority is None else {**visit.metadata,
                                                                "fifo_priority": str(visit.priority)})


def _measured(visit: Visit, usage: Usage) -> Tuple[Usage, bool]:
    """With speeds of our own where the engine gave tokens but no speeds. Only a stream shows when its first token
    came."""
    if usage.tokens_per_second is not None or not visit.is_stream or not usage.output_tokens:
        return usage, False
    generating, waited = visit.end_at - visit.first_at, visit.queue_seconds + visit.load_seconds
    prompting = visit.first_at - visit.at - waited
    if not visit.first_at or generating < MEASURABLE or usage.output_tokens < 2:
        return usage, False
    fresh = (usage.input_tokens or 0) - (usage.cached_tokens or 0)
    prompt = usage.prompt_per_second
    if prompt is None and fresh > 0 and prompting >= MEASURABLE:
        prompt = fresh / prompting
    # The first token is there when the clock starts.
    return usage._replace(tokens_per_second=(usage.output_tokens - 1) / generating, prompt_per_second=prompt), True
