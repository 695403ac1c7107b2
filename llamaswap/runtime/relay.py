"""Move bytes between an upstream answer and the client.

Everything here runs in the client connection's thread. The first bytes of the body travel with the head, chunked
bodies pass with upstream's own framing, and nothing is passed on whose framing has not been checked: an answer that
upstream did not finish is never finished by us. The client then finds its connection cut, and, in an event stream, an
error event before that.
"""
from __future__ import annotations

import json
import logging
import select
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Callable, Iterator, Optional, Sequence, Tuple

from llamaswap.core.faults import UpstreamFault
from llamaswap.core.headers import Fields, Headers, returned
from llamaswap.core.http1 import CHUNKED, LAST_CHUNK, UNTIL_CLOSE, chunk, response_head
from llamaswap.core.messages import Request, about
from llamaswap.runtime.connection import ClientGone, Connection
from llamaswap.runtime.upstream import SILENCE, Exchange
from llamaswap.runtime.wire import STALLED, Wire

log = logging.getLogger(__name__)

# What an event stream that breaks off ends with, in the shape of its API.
LastWord = Callable[[UpstreamFault], bytes]
# Sees the body without transfer framing (but still content-encoded), right after it was sent on. Must be quick.
Tap = Callable[[bytes], None]

_NEW_EVENT = b"\n\n"              # a stream may break off in the middle of a line
TUNNEL_BYTES = 65536
HALF_CLOSED_TIMEOUT = 60.0       # a tunnel with one end finished and the other silent


@dataclass
class Outcome:
    status: int                       # what the client was told; 499 when it left before
    sent_bytes: int = 0               # of the body, handed to the client's socket
    complete: bool = False            # the whole answer was relayed
    why: str = ""                     # "" when complete; "client gone", "client stalled", "aborted", upstream's failure
    first_byte_seconds: float = 0.0   # from the start of the relay to the first body byte
    seconds: float = 0.0


def error_event(fault: UpstreamFault) -> bytes:
    error = {"message": fault.message, "type": "server_error", "param": None, "code": fault.code}
    return b"data: " + json.dumps({"error": error}).encode("ascii") + b"\n\n"


def respond(request: Request, exchange: Exchange, *, tap: Optional[Tap] = None,
            extra_headers: Sequence[Tuple[str, str]] = (), last_word: LastWord = error_event) -> Outcome:
    """Answer the client with this exchange and close it; the handler then returns None. A 101 becomes a tunnel by
    itself.

    Raises UpstreamFault only while nothing has been sent, so that the fault can still become a readable answer. What
    happens later on either connection is in the outcome. `extra_headers` replace upstream's of that name (but Vary).
    """
    if exchange.status == 101:
        return tunnel(request, exchange, extra_headers=extra_headers)
    relay = _Relay(request, exchange, tap, last_word)
    try:
        relay.copy(extra_headers)
    except ClientGone as gone:
        relay.give_up(gone.why)
    except UpstreamFault as fault:
        if not relay.connection.status:
            raise
        relay.break_off(fault)
    finally:
        exchange.close()
    return relay.finished()


def payload(request: Request, exchange: Exchange, *, tap: Optional[Tap] = None,
            last_word: LastWord = error_event) -> Iterator[bytes]:
    """The decoded body as pieces for a Response whose head is already out (loading stream). Closes the exchange. When
    an event stream breaks, its last word is yielded first; then, as for any broken body, UpstreamFault is raised."""
    try:
        for piece in exchange.pieces():
            yield piece
            if tap is not None:
                tap(piece)
    except UpstreamFault as fault:
        if _takes_events(exchange):
            yield _NEW_EVENT + last_word(fault)
        raise
    finally:
        exchange.close()


def _takes_events(exchange: Exchange) -> bool:
    return exchange.is_event_stream and (exchange.headers.get("content-encoding") or "identity") == "identity"


class _Relay:
    """One answer on its way."""

    def __init__(self, request: Request, exchange: Exchange, tap: Optional[Tap], last_word: LastWord) -> None:
        self.connection: Connection = request.connection
        self._last_word = last_word
        self._request = request
        self._exchange = exchange
        self._tap = tap
        self._is_verbatim = exchange.length == CHUNKED and request.version == (1, 1)
        self._is_rechunked = False
        self._started_at = time.monotonic()
        self._outcome = Outcome(exchange.status)

    def copy(self, extra_headers: Sequence[Tuple[str, str]]) -> None:
        exchange, connection = self._exchange, self.connection
        whole = exchange.take_whole()
        if whole is not None:
            connection.write_both(self._begin(extra_headers), whole)
            self._count(whole, whole)
            self._outcome.complete = True
            return
        pieces = exchange.transfer(is_verbatim=self._is_verbatim, wants_payload=self._tap is not None)
        first = next(pieces, SILENCE)
        head = self._begin(extra_headers)
        data, seen = first
        if data:
            connection.write_both(head, chunk(data) if self._is_rechunked else data)
            self._count(data, seen)
        else:
            connection.write(head)
        for data, seen in pieces:
            if data:
                connection.write(chunk(data) if self._is_rechunked else data)
                self._count(data, seen)
        if self._is_rechunked:
            connection.write(LAST_CHUNK)
        self._outcome.complete = True

    def _begin(self, extra_headers: Sequence[Tuple[str, str]]) -> bytes:
        exchange = self._exchange
        fields = _answer_fields(exchange, extra_headers)
        if "date" not in exchange.headers:
            fields.append(self.connection.date_field())
        length = exchange.length
        if self._request.method == "HEAD" or exchange.status in (204, 304):
            announced = exchange.headers.get("content-length")
            length = int(announced) if announced else UNTIL_CLOSE
        head, is_chunked = self.connection.begin(exchange.status, exchange.reason, fields, length)
        self._is_rechunked = is_chunked and not self._is_verbatim
        if exchange.interim and self._request.version == (1, 1):
            interim = [response_head(status, reason, returned(headers)) for status, reason, headers in exchange.interim]
            head = b"".join([*interim, head])
        return head

    def _count(self, data: bytes, seen: bytes) -> None:
        outcome = self._outcome
        if not outcome.sent_bytes:
            outcome.first_byte_seconds = time.monotonic() - self._started_at
        outcome.sent_bytes += len(data)
        if self._tap is not None and seen:
            self._tap(seen)

    def give_up(self, why: str) -> None:
        self._outcome.why = why
        self.connection.cut()
        if not self.connection.status:
            self.connection.status = self._outcome.status = 499

    def break_off(self, fault: UpstreamFault) -> None:
        """The head is out. Leave the body visibly unfinished, with a last word where the format has room for one."""
        self._outcome.why = self._exchange.why_aborted or fault.message
        self.connection.cut()
        if _takes_events(self._exchange) and self._request.method != "HEAD":
            with suppress(ClientGone):
                self.connection.write(self._interjected(_NEW_EVENT + self._last_word(fault)))
        log.info("answer to %s %s broken off: %s", self._request.method, self._request.path, self._outcome.why,
                 extra=about(self._request))

    def _interjected(self, event: bytes) -> bytes:
        exchange = self._exchange
        if self._is_rechunked:
            return chunk(event)
        if self._is_verbatim and exchange.chunks is not None:
            return exchange.chunks.interject(event)
        if exchange.length >= 0 and len(event) >= exchange.left:
            return b""   # it would fill the announced length and pass for the end
        return event

    def finished(self) -> Outcome:
        self._outcome.seconds = time.monotonic() - self._started_at
        if self._is_verbatim and self._exchange.chunks is not None:
            self._outcome.sent_bytes = self._exchange.chunks.payload_bytes
        self.connection.sent_bytes = self._outcome.sent_bytes
        return self._outcome


def _answer_fields(exchange: Exchange, extra_headers: Sequence[Tuple[str, str]]) -> Fields:
    fields = returned(exchange.headers)
    added = list(extra_headers)
    if exchange.is_event_stream:
        added.append(("X-Accel-Buffering", "no"))   # nginx in front of us would collect the stream
    if added:
        # What both sides vary by holds for the answer, so of that field upstream's stays beside ours.
        replaced = {name.lower() for name, _ in added} - {"vary"}
        fields = [field for field in fields if field[0].lower() not in replaced] + added
    return fields


# -- tunnels ----------------------------------------------------------------------------------------------------------


def tunnel(request: Request, exchange: Exchange, *, extra_headers: Sequence[Tuple[str, str]] = ()) -> Outcome:
    """After a 101: copy both ways until both ends have finished. An end of one direction is passed on; the other goes
    on. UpstreamFault when upstream switched to something the client did not ask for."""
    connection: Connection = request.connection
    started_at = time.monotonic()
    outcome = Outcome(101)
    try:
        offered = exchange.headers.tokens("upgrade")
        if not offered or any(name not in request.headers.tokens("upgrade") for name in offered):
            raise UpstreamFault("the model server switched protocols without being asked", code="bad_upstream_answer")
        fields = _upgrade_fields(exchange.headers, extra_headers)
        head, client, early = connection.begin_upgrade(101, exchange.reason, fields)
        connection.is_watching = True      # it may stay for ever, so the end of the program does not wait for its end
        down = _Flow(exchange.wire, client, head + exchange.take_early())
        up = _Flow(client, exchange.wire, early)
        outcome.why = _run_flows(up, down)
        outcome.complete = not outcome.why
        outcome.sent_bytes = connection.sent_bytes = max(0, down.moved_bytes - len(head))
    finally:
        connection.cut()
        exchange.close()
    outcome.seconds = time.monotonic() - started_at
    return outcome


def _upgrade_fields(headers: Headers, extra_headers: Sequence[Tuple[str, str]]) -> Fields:
    return [*returned(headers), ("Connection", "Upgrade"), ("Upgrade", headers.get("upgrade") or ""), *extra_headers]


class _Flow:
    """One direction of a tunnel. Holds one piece at a time, so a slow reader slows the writer down."""

    def __init__(self, source: Wire, sink: Wire, early: bytes) -> None:
        self.source = source
        self.sink = sink
        self.pending = memoryview(early)
        self.is_ended = False        # the source has finished and the sink knows
        self.moved_bytes = 0
        source.sock.setblocking(False)

    def pump(self) -> bool:
        """Move until something would block; False when a few rounds were not enough and the other direction has its
        turn."""
        try:
            for _ in range(8):
                while self.pending:
                    moved = self.sink.sock.send(self.pending)
                    self.moved_bytes += moved
                    self.pending = self.pending[moved:]
                if self.is_ended:
                    return True
                data = self.source.recv(TUNNEL_BYTES)
                self.pending = memoryview(data)
                if not data:
                    self.is_ended = True
                    self.sink.stop_writing()
        except STALLED:
            return True
        return False


def _run_flows(up: _Flow, down: _Flow) -> str:
    """Returns why it ended early, "" when both ends finished."""
    client, upstream = up.source, down.source
    ready = True
    while not (up.is_ended and down.is_ended):
        if client.is_aborted or upstream.is_aborted:
            return "aborted"
        if ready:
            try:
                all_moved = [flow.pump() for flow in (up, down)]
            except OSError:
                return "client gone" if up.is_ended or _is_broken(client) else "upstream gone"
            if not all(all_moved):
                continue
            if up.is_ended and down.is_ended:
                break
        timeout = HALF_CLOSED_TIMEOUT * 1000 if up.is_ended or down.is_ended else None
        ready = bool(_poller(up, down).poll(timeout))
        if not ready:
            return "half closed and silent"
    return ""


def _is_broken(wire: Wire) -> bool:
    poller = select.poll()
    poller.register(wire.fd, 0)
    return bool(poller.poll(0))


def _poller(up: _Flow, down: _Flow) -> select.poll:
    """Only what a flow waits for: a hang-up of an end nobody listens to at the moment would be reported for ever."""
    poller = select.poll()
    for flow, opposite in ((up, down), (down, up)):
        events = 0 if flow.is_ended or flow.pending else select.POLLIN
        if opposite.pending:
            events |= select.POLLOUT
        if events:
            poller.register(flow.source.fd, events)
    return poller
