"""The HTTP conversation with a model server or a peer.

A pool belongs to one endpoint and one generation of its model, so an idle socket can never lead to an older process.
The environment's proxies are never asked: model servers are addressed directly.

An exchange starts impatient: its socket times out after SILENT_AFTER. Most small answers are there by then and cost
nothing more. Only when upstream stays silent does the exchange become patient: the client's hang-up is watched from
then on, and reads wait as long as the timeouts of the configuration allow.
"""
from __future__ import annotations

import ssl
import threading
import time
from typing import Any, Callable, ContextManager, Generator, Iterator, List, Optional, Sequence, Tuple, Union

from llamaswap.core.config import Timeouts
from llamaswap.core.faults import UpstreamFault
from llamaswap.core.headers import Headers
from llamaswap.core.http1 import (
    CHUNKED,
    LAST_CHUNK,
    UNTIL_CLOSE,
    ChunkReader,
    HeadBuffer,
    Limits,
    ResponseHead,
    bad_answer,
    chunk,
    parse_response,
    request_head,
)
from llamaswap.core.messages import BodyReader
from llamaswap.runtime.connection import KNOWN_HEAD_BYTES, ClientGone, Connection
from llamaswap.runtime.dial import SILENT_AFTER, Endpoint, dial
from llamaswap.runtime.turnstile import Turnstile
from llamaswap.runtime.wire import JOIN_BYTES, STALLED, Wire

RECV_BYTES = 16384           # an open stream holds such a buffer while it waits
BULK_RECV_BYTES = 262144     # once upstream has filled a small one
_ANSWER_LIMITS = Limits(max_head_bytes=262144)
_INTERIM_MOST = 16           # 1xx answers before the real one

Fields = Sequence[Tuple[str, str]]
Payload = Union[bytes, BodyReader]
# What travels: bytes for the client, and the same without transfer framing. Both empty: upstream has fallen silent.
Piece = Tuple[bytes, bytes]
SILENCE: Piece = (b"", b"")
_NO_HEADERS = Headers([])


class _Dead(Exception):
    """The socket ended before the first byte of an answer."""


class Exchange:
    """One request and its answer. Owner: the thread that opened it; `abort` alone may be called by others, at any
    time."""

    # Most exchanges never change these; as attributes of the class they cost nothing to set up.
    status = 0
    reason = ""
    headers = _NO_HEADERS
    length = 0                         # of the body, or CHUNKED or UNTIL_CLOSE
    left = 0                           # of a body whose length is known
    chunks: Optional[ChunkReader] = None
    is_event_stream = False
    # Called once, when all of the answer is here and before its last piece is passed on: the model server is through
    # with it however slowly the client reads, and a client that has the whole answer may at once ask again.
    on_read: Optional[Callable[[], None]] = None
    _wire: Optional[Wire] = None
    _watch: Optional[ContextManager[Any]] = None
    _is_aborted = False
    _fault: Optional[UpstreamFault] = None      # what whoever aborted it wants to be told of it
    _is_client_gone = False
    _is_patient = False
    _is_sent = False
    _is_finished = False
    _has_place = False
    _is_closed = False
    _keeps_alive = False
    _method = ""
    _early = b""

    def __init__(self, pool: UpstreamPool, client: Optional[Connection]) -> None:
        self._pool = pool
        self._client = client
        self._lock = threading.Lock()      # guards _wire and _is_aborted: an abort may come before there is a socket
        self.interim: List[Tuple[int, str, Headers]] = []

    def __repr__(self) -> str:
        state = "closed" if self._is_closed else "aborted" if self._is_aborted else "open"
        return f"Exchange({self._pool.endpoint.authority}, {state}, status={self.status})"

    def __enter__(self) -> Exchange:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    @property
    def wire(self) -> Wire:
        assert self._wire is not None
        return self._wire

    @property
    def why_aborted(self) -> str:
        return "client gone" if self._is_client_gone else "aborted" if self._is_aborted else ""

    # -- any thread ---------------------------------------------------------------------------------------------------

    def abort(self, fault: Optional[UpstreamFault] = None) -> None:
        with self._lock:
            self._is_aborted = True
            self._fault = self._fault or fault
            wire = self._wire
        if wire is not None:
            wire.abort()

    # -- the owner ----------------------------------------------------------------------------------------------------

    def begin(self, method: str, target: str, headers: Fields, body: Payload = b"", *,
              can_replay: bool = True) -> Exchange:
        """See UpstreamPool.exchange. On any exception the exchange is closed."""
        self._method = method
        if not isinstance(body, bytes) and body.length == 0:
            body = b""
        try:
            head = self._pool.request_head(method, target, headers, body)
            # What cannot be sent twice does not go out on a socket that may turn out to be dead.
            wire = self._pool.take_idle() if can_replay and isinstance(body, bytes) else None
            if wire is not None:
                try:
                    self._adopt(wire)
                    self._converse(head, body)
                    return self
                except _Dead:
                    wire.close()
            if self._is_aborted:
                raise self._abort_fault()
            self._adopt(dial(self._pool.endpoint, self._pool.timeouts, self._pool.ssl_context))
            try:
                self._converse(head, body)
            except _Dead:
                raise UpstreamFault("the model server closed the connection without an answer",
                                    code="upstream_closed") from None
        except BaseException:
            self.close()
            raise
        return self

    def close(self) -> None:
        """Give the socket back when the answer was read to its end, else close it. Always call it; idempotent."""
        if self._is_closed:
            return
        self._is_closed = True
        self.on_read = None                # who waits for it holds us, mostly
        self._unwatch()
        with self._lock:
            wire, self._wire = self._wire, None
            is_reusable = (self._is_finished and self._is_sent and self._keeps_alive and not self._is_aborted
                           and not self.is_event_stream)
        if wire is None:
            return
        if is_reusable:
            wire.set_recv_timeout(SILENT_AFTER)
            self._pool.give_back(wire)
        else:
            wire.close()

    def read_all(self, max_bytes: int) -> bytes:
        """The decoded body. UpstreamFault when it is cut short, malformed or longer than max_bytes."""
        pieces: List[bytes] = []
        total = 0
        for piece in self.pieces():
            total += len(piece)
            if total > max_bytes:
                raise UpstreamFault(f"the answer is larger than {max_bytes} bytes", code="bad_upstream_answer")
            pieces.append(piece)
        return b"".join(pieces)

    def pieces(self) -> Iterator[bytes]:
        """The decoded body as it arrives. UpstreamFault when it is cut short or malformed, ClientGone."""
        for _, payload in self.transfer(is_verbatim=False):
            if payload:
                yield payload

    def transfer(self, *, is_verbatim: bool, wants_payload: bool = True) -> Iterator[Piece]:
        """The body once: what to pass on (with upstream's own chunk framing if `is_verbatim`) and, unless not wanted,
        the decoded bytes. Yields SILENCE once, when upstream first keeps us waiting."""
        if self.length == CHUNKED:
            yield from self._transfer_chunked(is_verbatim, wants_payload or not is_verbatim)
        elif self.length == UNTIL_CLOSE:
            yield from self._transfer_until_close()
        else:
            yield from self._transfer_fixed()

    def take_whole(self) -> Optional[bytes]:
        """The body, if all of it came with the head, as it does for most small answers."""
        data = self._early
        if self.length != len(data):
            return None
        self._early, self.left = b"", 0
        self._finish()
        return data

    def take_early(self) -> bytes:
        """What came behind the head of a 101."""
        early, self._early = self._early, b""
        return early

    def _finish(self) -> None:
        self._is_finished = True
        on_read = self.on_read
        self.close()
        if on_read is not None:
            on_read()

    # -- sending ------------------------------------------------------------------------------------------------------

    def _adopt(self, wire: Wire) -> None:
        with self._lock:
            self._wire = wire
        if self._is_aborted:
            raise self._abort_fault()

    def _converse(self, head: bytes, body: Payload) -> None:
        pool = self._pool
        if pool.is_quick and isinstance(body, bytes) and len(body) <= JOIN_BYTES:
            self._has_place = pool.turnstile.enter()
        try:
            try:
                self._is_sent = self._send(head, body)
            except STALLED:
                raise AssertionError("a stalled send is waited out") from None
            except OSError:
                # It may have refused early and said why before it hung up; if it has not, the read below finds out.
                self._is_sent = False
            self._read_head()
        finally:
            self._make_room()
        pool.is_quick = not self._is_patient

    def _make_room(self) -> None:
        """For another exchange: this one is through, or will take long."""
        if self._has_place:
            self._has_place = False
            self._pool.turnstile.leave()

    def _send(self, head: bytes, body: Payload) -> bool:
        """False when the answer came before the request was out."""
        if isinstance(body, (bytes, bytearray, memoryview)):
            if len(body) <= JOIN_BYTES:
                return self._send_patiently(head + body if body else head)
            return self._send_patiently(head) and self._send_patiently(body)
        is_chunked = body.length is None
        pending = head
        for piece in body.chunks():
            framed = chunk(piece) if is_chunked else piece
            if pending:
                framed, pending = pending + framed, b""
            elif self.wire.is_readable():
                return False
            if not self._send_patiently(framed):
                return False
        return self._send_patiently(pending + (LAST_CHUNK if is_chunked else b""))

    def _send_patiently(self, data: Union[bytes, memoryview]) -> bool:
        wire = self.wire
        view = memoryview(data)
        while view:
            try:
                view = view[wire.send_some(view):]
            except STALLED:
                self._become_patient()
                if wire.is_readable():
                    return False
        return True

    # -- receiving ----------------------------------------------------------------------------------------------------

    def _read_head(self) -> None:
        limit = self._pool.timeouts.response_header
        deadline = time.monotonic() + limit if limit else None
        data = self._recv_head(deadline)
        if not data:
            raise _Dead
        known = self.wire.known_head
        if known is not None and known[1][0] == self._method and data.startswith(known[0]):
            self._accept_head(known[1][1], data[len(known[0]):])
            return
        for _ in range(_INTERIM_MOST):
            parsed = parse_response(data, self._method, _ANSWER_LIMITS.max_head_bytes)
            if parsed is None:
                data = self._rest_of_head(data, deadline)
                parsed = parse_response(data, self._method, _ANSWER_LIMITS.max_head_bytes)
                assert parsed is not None
            head, end = parsed
            raw, data = data[:end], data[end:]
            if head.status >= 200 or head.status == 101:
                break
            if head.status != 100:
                self.interim.append((head.status, head.reason, head.headers))
            data = data or self._recv_head(deadline)
            if not data:
                raise self._cut_short()
        else:
            raise bad_answer("only interim answers")
        if not self.interim and end <= KNOWN_HEAD_BYTES:
            self.wire.known_head = raw, (self._method, head)
        self._accept_head(head, data)

    def _accept_head(self, head: ResponseHead, early: bytes) -> None:
        self.status, self.reason, self.headers, self.length, self._keeps_alive = head
        self.is_event_stream = (self.headers.get("content-type") or "").lower().startswith("text/event-stream")
        self._early = early
        if head.length == CHUNKED:
            self.chunks = ChunkReader(bad_answer("malformed chunks"))
        self.left = max(head.length, 0)
        if self._is_patient:
            self.wire.set_recv_timeout(0)

    def _rest_of_head(self, data: bytes, deadline: Optional[float]) -> bytes:
        buffer = HeadBuffer(_ANSWER_LIMITS, is_request=False)
        is_complete = buffer.feed(data)
        while not is_complete:
            piece = self._recv_head(deadline)
            if not piece:
                raise self._cut_short()
            is_complete = buffer.feed(piece)
            if not is_complete and deadline is not None and time.monotonic() > deadline:
                raise _too_late()
        return buffer.data

    def _recv_head(self, deadline: Optional[float]) -> bytes:
        while True:
            try:
                data = self.wire.recv(RECV_BYTES)
                break
            except STALLED:
                self._become_patient(deadline)
            except OSError:
                data = b""
                break
        if not data and self._is_aborted:
            raise self._abort_fault()
        return bytes(data)

    def _become_patient(self, deadline: Optional[float] = None) -> None:
        """Upstream keeps us waiting: from now on the client is watched too, and the next read may last."""
        if not self._is_patient:
            self._is_patient = True
            self._make_room()
            if self._client is not None:
                self._watch = self._client.watch(self._on_hangup)
                self._watch.__enter__()
        left = 0.0
        if deadline is not None:
            left = deadline - time.monotonic()
            if left <= 0:
                raise _too_late()
        self.wire.set_recv_timeout(left)

    def _on_hangup(self) -> None:
        """In the hangup thread."""
        self._is_client_gone = True
        self.abort()

    def _unwatch(self) -> None:
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.__exit__(None, None, None)

    def _abort_fault(self) -> Exception:
        if self._is_client_gone:
            return ClientGone()
        return self._fault or UpstreamFault("the request was aborted", code="aborted")

    def _cut_short(self) -> Exception:
        if self._is_aborted:
            return self._abort_fault()
        return UpstreamFault("the model server cut its answer short", code="upstream_closed")

    def _transfer_fixed(self) -> Iterator[Piece]:
        data, self._early = self._early, b""
        size = RECV_BYTES
        while True:
            if data:
                if len(data) > self.left:
                    data = data[:self.left]     # it sent more than it announced: that is nobody's answer
                    self._keeps_alive = False
                self.left -= len(data)
                if not self.left:
                    self._finish()
                if data:
                    yield data, data
            if not self.left:
                break
            if len(data) == size:
                size = BULK_RECV_BYTES
            received = yield from self._recv_or_silence(size)
            if not received:
                raise self._cut_short()
            data = received

    def _transfer_until_close(self) -> Iterator[Piece]:
        data, self._early = self._early, b""
        while True:
            if data:
                yield data, data
            received = yield from self._recv_or_silence(BULK_RECV_BYTES if len(data) == RECV_BYTES else RECV_BYTES,
                                                        is_end_expected=True)
            if not received:
                break
            data = received
        self._finish()

    def _transfer_chunked(self, is_verbatim: bool, wants_payload: bool) -> Iterator[Piece]:
        chunks = self.chunks
        assert chunks is not None
        data, self._early = self._early, b""
        size = RECV_BYTES
        while True:
            if data:
                payload: Optional[List[bytes]] = [] if wants_payload else None
                passed = chunks.feed(data, payload)
                decoded = b"" if not payload else payload[0] if len(payload) == 1 else b"".join(payload)
                if chunks.is_done:
                    self._keeps_alive = self._keeps_alive and not chunks.rest
                    self._finish()
                if is_verbatim and passed:
                    yield passed, decoded
                elif decoded:
                    yield decoded, decoded
                if chunks.is_done:
                    break
                if len(data) == size:
                    size = BULK_RECV_BYTES
            received = yield from self._recv_or_silence(size)
            if not received:
                raise self._cut_short()
            data = received

    def _recv_or_silence(self, size: int, *, is_end_expected: bool = False) -> Generator[Piece, None, bytes]:
        """A generator that yields SILENCE if it has to wait and returns what was received, empty at the end."""
        while True:
            try:
                data = self.wire.recv(size)
                break
            except STALLED:
                yield SILENCE
                self._become_patient()
            except OSError:
                if is_end_expected:
                    raise self._cut_short() from None
                data = b""
                break
        if not data and self._is_aborted:
            raise self._abort_fault()
        return bytes(data)


def _too_late() -> UpstreamFault:
    return UpstreamFault("the model server did not answer in time", status=504, code="upstream_timeout")


class UpstreamPool:
    """Idle sockets to one endpoint, last in first out. One per generation of a model, one per peer."""

    def __init__(self, endpoint: Endpoint, timeouts: Timeouts, *, ssl_context: Optional[ssl.SSLContext] = None,
                 max_idle: int = 256) -> None:
        self.endpoint = endpoint
        self.timeouts = timeouts
        self._max_idle = max_idle
        self.ssl_context = ssl_context
        if endpoint.scheme == "https" and ssl_context is None:
            self.ssl_context = ssl.create_default_context()
        self._lock = threading.Lock()                    # guards the two below; leaf
        self._idle: List[Tuple[Wire, float]] = []        # with the instant it became idle; the newest last
        self._is_closed = False
        # Of many short exchanges a few run at a time; see there. Where answers take longer, nobody is kept waiting:
        # those who wait for an answer do not want the interpreter.
        self.turnstile = Turnstile()
        self.is_quick = True                             # the last answer came at once; racing threads may write it

    def __repr__(self) -> str:
        return f"UpstreamPool({self.endpoint.authority}, {len(self._idle)} idle{', closed' if self._is_closed else ''})"

    def open(self, client: Optional[Connection] = None) -> Exchange:
        """An exchange that has not begun: take its `abort` from here, then call `begin` (same arguments as `exchange`).
        `client` is request.connection: when it hangs up while upstream is silent, the exchange is aborted."""
        return Exchange(self, client)

    def exchange(self, method: str, target: str, headers: Fields, body: Payload = b"", *,
                 can_replay: bool = True, client: Optional[Connection] = None) -> Exchange:
        """Send, then read up to the end of the answer's head. Raises UpstreamFault (502, 504 when a timeout ran out);
        ClientFault when the client's upload failed; ClientGone when the client hung up meanwhile.
        `target` is origin-form and sent as it is (see Endpoint.target); `headers` come from core.headers.forwarded: the
        pool adds Host if missing and the framing of `body`. A BodyReader is streamed and never replayed."""
        return self.open(client).begin(method, target, headers, body, can_replay=can_replay)

    def close(self) -> None:
        """Close idle sockets; those in use are closed instead of kept when their exchange ends."""
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
        for wire, _ in idle:
            wire.close()

    def request_head(self, method: str, target: str, headers: Fields, body: Payload) -> bytes:
        fields = list(headers)
        if not (fields and fields[0][0] == "Host") and not any(name.lower() == "host" for name, _ in fields):
            fields.insert(0, ("Host", self.endpoint.authority))
        length = len(body) if isinstance(body, (bytes, bytearray, memoryview)) else body.length
        if length is None:
            fields.append(("Transfer-Encoding", "chunked"))
        elif length or method in ("POST", "PUT", "PATCH"):
            fields.append(("Content-Length", str(length)))
        return request_head(method, target, fields)

    def take_idle(self) -> Optional[Wire]:
        """The most recently used socket that looks alive. One that is readable has been closed, or has something to say
        that nobody asked for."""
        while True:
            with self._lock:
                if not self._idle:
                    return None
                wire, since = self._idle.pop()
            limit = self.timeouts.idle_conn
            if (not limit or time.monotonic() - since < limit) and not wire.is_readable():
                return wire
            wire.close()

    def give_back(self, wire: Wire) -> None:
        now = time.monotonic()
        surplus: List[Tuple[Wire, float]] = []
        with self._lock:
            if self._is_closed:
                surplus = [(wire, now)]
            else:
                self._idle.append((wire, now))
                if len(self._idle) > self._max_idle or self._idle[0][1] < now - (self.timeouts.idle_conn or now):
                    surplus = self._expired_locked(now)
        for old, _ in surplus:
            old.close()

    def _expired_locked(self, now: float) -> List[Tuple[Wire, float]]:
        """Take out the sockets that are too old or too many, oldest first; the caller closes them after the lock."""
        oldest = now - (self.timeouts.idle_conn or now)
        count = max(0, len(self._idle) - self._max_idle)
        while count < len(self._idle) and self._idle[count][1] < oldest:
            count += 1
        surplus, self._idle = self._idle[:count], self._idle[count:]
        return surplus


__all__ = ["Endpoint", "Exchange", "UpstreamPool"]
