"""One client connection: reads requests, hands them on, writes answers, until one side has had enough.

Owner: its own thread, from `run` to the close. Other threads may call `abort`, `drain` and look at `is_idle`; `watch`
and the writing methods belong to the handler, which runs in this thread.

An answer is out once its head has been written: from then on every failure ends in cutting the connection, because
the only way left to say "this is not complete" is to leave the framing unfinished.
"""
from __future__ import annotations

import logging
import re
import socket
import ssl
import time
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Callable, ContextManager, Iterable, Optional, Tuple

from llamaswap.core.faults import ClientFault, Fault
from llamaswap.core.headers import Fields
from llamaswap.core.http1 import (
    CHUNKED,
    LAST_CHUNK,
    HeadBuffer,
    Limits,
    RequestHead,
    chunk,
    parse_request,
    response_head,
)
from llamaswap.core.messages import Request, Response, about
from llamaswap.runtime.body import Body
from llamaswap.runtime.hangup import Hangups, is_hung_up
from llamaswap.runtime.wire import STALLED, Wire

log = logging.getLogger(__name__)

Handle = Callable[[Request], Optional[Response]]
FaultResponse = Callable[[Optional[Request], Fault], Response]
OnDone = Callable[[Request, int, int, float], None]

HEAD_BYTES = 16384       # one recv for most heads with their JSON body; an idle connection holds such a buffer
KNOWN_HEAD_BYTES = 4096  # larger ones are not remembered: an idle connection would hold on to them
LINGER_BYTES = 256 << 20   # a recording with the wrong key is read away, so that its sender gets to read the 401
LINGER_SECONDS = 10.0      # which takes a while over a network
LINGER_SILENCE = 1.0
CLIENT_GONE_STATUS = 499

_OURS = frozenset(("content-length", "transfer-encoding", "connection", "date"))
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_PLAIN_HTTP = re.compile(rb"[A-Z]")


class ClientGone(Exception):
    """Nobody is left to answer. `why` is "client gone" or "client stalled"."""

    def __init__(self, why: str = "client gone") -> None:
        super().__init__(why)
        self.why = why


@dataclass(frozen=True)
class Service:
    """What the connections of one server have in common."""

    handle: Handle
    fault_response: FaultResponse
    limits: Limits
    hangups: Hangups
    clock: DateClock
    on_done: Optional[OnDone] = None
    ssl_context: Optional[ssl.SSLContext] = None


class DateClock:
    """The Date field, formatted once per second. Not strftime, which follows the locale. Racing threads agree."""

    def __init__(self) -> None:
        self._text: Tuple[int, str] = (0, "")

    def now(self) -> str:
        tick = int(time.monotonic())
        if self._text[0] != tick:
            at = time.gmtime()
            self._text = (tick, f"{_DAYS[at.tm_wday]}, {at.tm_mday:02} {_MONTHS[at.tm_mon - 1]} {at.tm_year} "
                                f"{at.tm_hour:02}:{at.tm_min:02}:{at.tm_sec:02} GMT")
        return self._text[1]


class Connection:
    def __init__(self, service: Service, sock: socket.socket, client_ip: str) -> None:
        limits = service.limits
        self._service = service
        self._wire = Wire(sock, recv_timeout=limits.idle_timeout, send_timeout=limits.write_timeout)
        self._early = b""            # received, not yet used: the start of the next request
        self._body: Optional[Body] = None
        self._head: Optional[RequestHead] = None
        self._keeps_alive = False
        self._is_cut = False
        self._ends_by_close = False
        self.client_ip = client_ip
        self.is_idle = True          # between two requests; written by the owner, read by drain and by the shedding
        self.idle_since = time.monotonic()
        self.is_draining = False
        self.is_watching = False     # has no end to wait for; written by the owner, read by the drain
        self.status = 0              # of the answer under way; 0 until its head is out
        self.sent_bytes = 0          # of its body, without framing

    def __repr__(self) -> str:
        state = "idle" if self.is_idle else f"answering, {self.status or 'head not sent'}"
        return f"Connection({self.client_ip}, {state}, {self._wire!r})"

    # -- any thread ---------------------------------------------------------------------------------------------------

    def abort(self) -> None:
        self._wire.abort()

    def drain(self) -> None:
        """Close after the running exchange, or at once when there is none. A request that has arrived is still
        served."""
        self.is_draining = True
        if self.is_idle:
            self._wire.stop_reading(unless_readable=True)

    # -- the handler, in the connection's thread ----------------------------------------------------------------------

    def fileno(self) -> int:
        return self._wire.fd

    def watch(self, callback: Callable[[], None]) -> ContextManager[Any]:
        """See Hangups.watch."""
        if self._wire.has_stopped_reading:
            return nullcontext()  # by ourselves, which the selector could not tell from the client's end
        return self._service.hangups.watch(self, callback)

    def is_gone(self) -> bool:
        return self._wire.is_aborted or (not self._wire.has_stopped_reading and is_hung_up(self._wire.fd))

    def write(self, data: bytes) -> None:
        """Raises ClientGone, also for a client that does not read for the write timeout."""
        try:
            self._wire.send(data)
        except STALLED:
            raise ClientGone("client stalled") from None
        except OSError:
            raise ClientGone from None

    def write_both(self, head: bytes, data: bytes) -> None:
        try:
            self._wire.send_both(head, data)
        except STALLED:
            raise ClientGone("client stalled") from None
        except OSError:
            raise ClientGone from None

    def date_field(self) -> Tuple[str, str]:
        return "Date", self._service.clock.now()

    def begin(self, status: int, reason: Optional[str], fields: Fields, length: int) -> Tuple[bytes, bool]:
        """The head of the answer, to be written by the caller together with its first bytes, and whether the body has
        to be chunked. `length` may be CHUNKED or UNTIL_CLOSE; `fields` come without framing, with a Date. ValueError,
        before anything has happened, for a field that would break the head."""
        head, body = self._head, self._body
        assert head is not None and body is not None and not self.status
        may_keep = head.keep_alive and not self.is_draining and body.may_be_followed
        has_body = head.method != "HEAD" and status not in (204, 304)
        is_chunked = has_body and length < 0 and head.version == (1, 1)
        framing = list(fields)
        if is_chunked:
            framing.append(("Transfer-Encoding", "chunked"))
        elif length >= 0 and status not in (204, 304):
            framing.append(("Content-Length", str(length)))
        elif has_body:
            may_keep, self._ends_by_close = False, True
        if not may_keep:
            framing.append(("Connection", "close"))
        elif head.version == (1, 0):
            framing.append(("Connection", "keep-alive"))
        raw = response_head(status, reason, framing)
        self.status, self._keeps_alive = status, may_keep
        return raw, is_chunked

    def begin_upgrade(self, status: int, reason: Optional[str], fields: Fields) -> Tuple[bytes, Wire, bytes]:
        """The head, the socket and what the client sent early. The connection does not outlive the tunnel."""
        assert self._body is not None and not self.status
        raw = response_head(status, reason, fields)
        self.status, self._keeps_alive = status, False
        early, self._body.leftover = self._body.leftover, b""
        return raw, self._wire, early

    def cut(self) -> None:
        """The answer is not complete and must not look like it. To a client that takes the close for the end, a
        reset."""
        self._keeps_alive = False
        self._is_cut = True

    # -- the loop -----------------------------------------------------------------------------------------------------

    def run(self) -> None:
        try:
            if self._service.ssl_context is None or self._shake_hands(self._service.ssl_context):
                while self._serve_one():
                    pass
        except ClientGone:
            pass
        except Exception:
            log.exception("connection from %s failed", self.client_ip)
            self.cut()
        finally:
            self._close()

    def _shake_hands(self, context: ssl.SSLContext) -> bool:
        sock, limits = self._wire.sock, self._service.limits
        self._wire.set_recv_timeout(limits.handshake_timeout)
        try:
            if _PLAIN_HTTP.match(sock.recv(1, socket.MSG_PEEK)):
                self._refuse(ClientFault("Client sent an HTTP request to an HTTPS server."))
                return False
            sock.settimeout(limits.handshake_timeout)
            secured = context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
            plain, self._wire = self._wire, Wire(secured, recv_timeout=limits.handshake_timeout,
                                                 send_timeout=limits.write_timeout)
            if plain.is_aborted:
                return False
            secured.do_handshake()
        except (OSError, ValueError) as error:
            log.debug("TLS handshake with %s failed: %s", self.client_ip, error)
            return False
        return True

    def _serve_one(self) -> bool:
        """One request and its answer; False when the connection is finished."""
        self.status = self.sent_bytes = 0
        self._body = self._head = None
        try:
            parsed = self._read_head()
        except ClientFault as fault:
            self._refuse(fault)
            return False
        if parsed is None:
            return False
        started_at = time.monotonic()
        head, early = parsed
        limits = self._service.limits
        body = Body(self._wire, head.length, early, timeout=limits.body_timeout, expects_continue=head.expects_continue)
        self._head, self._body = head, body
        request = Request(head.method, head.target, head.path, head.query, head.version, head.headers, body,
                          self.client_ip, self._wire.is_tls, self)
        try:
            self._answer(request)
        except ClientGone:
            self._keeps_alive = False
            self.status = self.status or CLIENT_GONE_STATUS
        finally:
            if self._service.on_done is not None:
                self._service.on_done(request, self.status, self.sent_bytes, time.monotonic() - started_at)
        return self._keeps_alive and self._is_ready_for_next(body)

    def _is_ready_for_next(self, body: Body) -> bool:
        try:
            if not body.skip():
                return False
        except ClientFault:
            return False
        self._early = body.leftover
        return not self.is_draining or bool(self._early)

    def _read_head(self) -> Optional[Tuple[RequestHead, bytes]]:
        """The head and the bytes behind it, None when the client has finished. Raises ClientFault."""
        data, limits = self._early, self._service.limits
        self._early = b""
        if not data:
            data = self._first_bytes()
            if not data:
                return None
        known = self._wire.known_head
        if known is not None and data.startswith(known[0]):
            return known[1], data[len(known[0]):]
        parsed = parse_request(data, limits)
        if parsed is None:
            data = self._rest_of_head(data)
            if not data:
                return None
            parsed = parse_request(data, limits)
            assert parsed is not None
        head, end = parsed
        if end <= KNOWN_HEAD_BYTES:
            self._wire.known_head = data[:end], head
        return head, data[end:]

    def _first_bytes(self) -> bytes:
        wire = self._wire
        wire.set_recv_timeout(self._service.limits.idle_timeout)
        self.idle_since = time.monotonic()
        self.is_idle = True
        # After is_idle, so that a drain that saw us busy is seen by us here: one of the two always notices.
        if self.is_draining:
            wire.stop_reading()
        try:
            return bytes(wire.recv(HEAD_BYTES))
        except OSError:
            return b""
        finally:
            self.is_idle = False

    def _rest_of_head(self, data: bytes) -> bytes:
        """The head took more than one segment; its deadline is one for all of them. Empty when the client left."""
        limits = self._service.limits
        deadline = time.monotonic() + limits.head_timeout
        buffer = HeadBuffer(limits)
        is_complete = buffer.feed(data)
        while not is_complete:
            left = deadline - time.monotonic() if limits.head_timeout else 0
            if left < 0:
                raise _head_timeout()
            self._wire.set_recv_timeout(left)
            try:
                piece = self._wire.recv(HEAD_BYTES)
            except STALLED:
                raise _head_timeout() from None
            except OSError:
                return b""
            if not piece:
                return b""
            is_complete = buffer.feed(piece)
        return buffer.data

    # -- answers ------------------------------------------------------------------------------------------------------

    def _answer(self, request: Request) -> None:
        try:
            is_ours = request.method == "CONNECT" or request.path == "*"
            response = _answer_for_server(request) if is_ours else self._service.handle(request)
            if response is None:
                if not self.status:
                    raise Fault("the handler gave no answer")
                return
        except Fault as fault:
            response = self._fault_response(request, fault)
        except ClientGone:
            raise
        except Exception:
            log.exception("the handler of %s %s failed", request.method, request.path, extra=about(request))
            response = self._fault_response(request, Fault("internal error"))
        if self.status:
            # Too late to say it: the answer this fault belongs to is already on its way.
            if response.on_close is not None:
                response.on_close()
            self.cut()
            return
        try:
            self._send(request, response)
        except ValueError:
            if self.status:
                raise
            log.exception("the answer to %s %s cannot be sent", request.method, request.path, extra=about(request))
            self._send(request, self._fault_response(request, Fault("internal error")))

    def _fault_response(self, request: Request, fault: Fault) -> Response:
        if self.status:
            log.warning("after the head of the answer was sent: %s", fault.message, extra=about(request))
            return Response(fault.status)
        return self._service.fault_response(request, fault)

    def _send(self, request: Request, response: Response) -> None:
        try:
            body = response.body
            fields = [field for field in response.headers if field[0].lower() not in _OURS] + [self.date_field()]
            if isinstance(body, (bytes, bytearray, memoryview)):
                head, _ = self.begin(response.status, None, fields, len(body))
                hides_body = request.method == "HEAD" or response.status in (204, 304)
                self.write_both(head, b"" if hides_body else bytes(body))
                self.sent_bytes = 0 if hides_body else len(body)
            else:
                self.is_watching = response.is_watching
                self._stream(request, response.status, fields, body)
        finally:
            self.is_watching = False
            if response.on_close is not None:
                response.on_close()

    def _stream(self, request: Request, status: int, fields: Fields, pieces: Iterable[bytes]) -> None:
        try:
            head, is_chunked = self.begin(status, None, fields, CHUNKED)
            self.write(head)
            if request.method == "HEAD" or status in (204, 304):
                return
            try:
                for piece in pieces:
                    if piece:
                        self.write(chunk(piece) if is_chunked else piece)
                        self.sent_bytes += len(piece)
            except Fault as fault:
                log.warning("stream of %s %s broke off: %s", request.method, request.path, fault.message,
                            extra=about(request))
                self.cut()
                return
            if is_chunked:
                self.write(LAST_CHUNK)
        finally:
            close = getattr(pieces, "close", None)
            if close is not None:
                close()

    def _refuse(self, fault: ClientFault) -> None:
        """An answer to what never became a request. Whatever follows on this connection is not to be trusted."""
        response = self._service.fault_response(None, fault)
        log.debug("refused bytes from %s: %s", self.client_ip, fault.message)
        fields = [field for field in response.headers if field[0].lower() not in _OURS]
        body = response.body if isinstance(response.body, bytes) else b"".join(response.body)
        fields += [self.date_field(), ("Content-Length", str(len(body))), ("Connection", "close")]
        self.write_both(response_head(response.status, None, fields), body)
        self.status = response.status

    # -- the end ------------------------------------------------------------------------------------------------------

    def _close(self) -> None:
        if not self._is_cut and not self._wire.is_aborted:
            self._say_goodbye()
            if self.status:
                self._linger()
        self._wire.close(reset=self._ends_by_close and (self._is_cut or self._wire.is_aborted))

    def _say_goodbye(self) -> None:
        """In TLS an end has to be announced, or it looks like an attack on the connection."""
        try:
            if isinstance(self._wire.sock, ssl.SSLSocket):
                self._wire.sock.settimeout(0)
                self._wire.sock.unwrap()
        except (OSError, ValueError):
            pass  # our close_notify is out; theirs is not waited for

    def _linger(self) -> None:
        """Closing with unread bytes in the kernel sends a reset, which overtakes and destroys the answer on its way
        to the client (test_an_early_refusal_is_readable). So: say that we are done, let the client finish, close."""
        wire = self._wire
        wire.stop_writing()
        started_at, drained = time.monotonic(), 0
        try:
            while drained < LINGER_BYTES and time.monotonic() - started_at < self._patience():
                wire.set_recv_timeout(LINGER_SILENCE)
                piece = socket.socket.recv(wire.sock, 4 * HEAD_BYTES)
                if not piece:
                    return
                drained += len(piece)
        except OSError:
            pass

    def _patience(self) -> float:
        """Seconds for the rest of an upload; bytes that never became a request are not waited for, nor is the end."""
        return LINGER_SILENCE if self._body is None or self.is_draining else LINGER_SECONDS


def _answer_for_server(request: Request) -> Response:
    """What asks the server and not what it serves: `OPTIONS *`, whether somebody is there; CONNECT, for a tunnel."""
    if request.method == "OPTIONS":
        return Response(200)
    raise ClientFault(f"{request.method} is not possible here; allowed: {', '.join(_METHODS)}", status=405,
                      code="method_not_allowed", headers=(("Allow", ", ".join(_METHODS)),))


def _head_timeout() -> ClientFault:
    return ClientFault("timed out waiting for the request head", status=408, code="request_timeout")
