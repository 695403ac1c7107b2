"""The control plane as a WSGI application, and waitress serving it on the admin address.

No handler knows which server called it: this module turns a WSGI environment into the same Request, and the Response
back. Every answer has a thread until it ends, streams too.
"""
from __future__ import annotations

import logging
import time
from http import HTTPStatus
from typing import Any, Callable, Dict, Iterable, Iterator, List, Optional, Set, Tuple
from urllib.parse import quote

import waitress.adjustments
import waitress.channel
import waitress.parser
import waitress.server
import waitress.task
import waitress.trigger
import waitress.wasyncore

from llamaswap.core.faults import ClientFault, Fault
from llamaswap.core.headers import Headers
from llamaswap.core.messages import Request, Response, about
from llamaswap.runtime.threads import Crew, spawn
from llamaswap.web.errors import fault_response

log = logging.getLogger(__name__)

CONNECTION_LIMIT = 256
CHUNK_BYTES = 64 * 1024
MAX_BODY_BYTES = 1 << 20
LOOK_PAUSE = 0.02            # between two looks whether the last answer is out
_CODES = {413: "body_too_large", 431: "headers_too_large"}

Handle = Callable[[Request], Optional[Response]]
OnDone = Callable[[Request, int, int, float], None]
StartResponse = Callable[[str, List[Tuple[str, str]]], Any]
Application = Callable[[Dict[str, Any], StartResponse], Iterable[bytes]]


def application(handle: Handle, on_done: Optional[OnDone] = None) -> Application:
    """`handle` must answer with a Response: relaying is for the data plane. `on_done` as in runtime.server.Server."""

    def app(environ: Dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        request, begun = _request(environ), time.monotonic()
        response = _answered(handle, request)
        body = response.body
        headers = list(response.headers)
        if isinstance(body, bytes):
            headers.append(("Content-Length", str(len(body))))
            body = [body]
        # A stream would go on for nobody: what asks with HEAD does not read.
        pieces = _Pieces(request, [] if request.method == "HEAD" else body, response.on_close)
        if on_done is not None:
            pieces.on_end = lambda: on_done(request, response.status, pieces.sent_bytes, time.monotonic() - begun)
        try:
            write = start_response(f"{response.status} {_reason(response.status)}", headers)
            if not isinstance(response.body, bytes):
                write(b"")      # the head at once: the first piece of a stream may be long in coming
        except BaseException:
            pieces.close()      # the client has left already, and nobody else would
            raise
        return pieces

    return app


def _answered(handle: Handle, request: Request) -> Response:
    try:
        response = handle(request)
    except Fault as fault:
        return fault_response(request, fault)
    except Exception:
        # As on the main listener. A WSGI server would log the path as it was sent, line ends and all.
        log.exception("the handler of %s %s failed", request.method, request.path, extra=about(request))
        return fault_response(request, Fault("internal error"))
    assert response is not None, f"{request.path} relays and cannot be served here"
    return response


class _Pieces:
    """What a WSGI server iterates and then closes, however it ends."""

    def __init__(self, request: Request, body: Iterable[bytes], on_close: Optional[Callable[[], None]]) -> None:
        self._request = request
        self._body = body
        self._on_close = on_close
        self.on_end: Callable[[], None] = lambda: None
        self.sent_bytes = 0

    def __iter__(self) -> Iterator[bytes]:
        try:
            for piece in self._body:
                yield piece
                self.sent_bytes += len(piece)
        except Fault as fault:
            # The head is out, so all that can be done is to break off. For this one waitress does that without a
            # traceback.
            log.warning("stream of %s %s broke off: %s", self._request.method, self._request.path, fault.message,
                        extra=about(self._request))
            raise waitress.channel.ClientDisconnected from fault

    def close(self) -> None:
        if self._on_close is not None:
            self._on_close()
        self.on_end()


class _Connection:
    """What a handler asks about its client."""

    def __init__(self, environ: Dict[str, Any]) -> None:
        self.client_ip: str = environ.get("REMOTE_ADDR", "")
        self._is_gone: Callable[[], bool] = environ.get("waitress.client_disconnected", lambda: False)

    def is_gone(self) -> bool:
        return bool(self._is_gone())


class _Body:
    def __init__(self, environ: Dict[str, Any]) -> None:
        self._input = environ["wsgi.input"]
        self.length: Optional[int] = int(environ.get("CONTENT_LENGTH") or 0)
        self._kept: Optional[bytes] = None

    def read_all(self, max_bytes: int) -> bytes:
        if self._kept is None:
            self._kept = self._input.read(max_bytes + 1)
        if len(self._kept) > max_bytes:
            raise ClientFault("the request body is too large", status=413, code="body_too_large")
        return self._kept

    def chunks(self) -> Iterator[bytes]:
        if self._kept is not None:
            yield self._kept
            return
        while True:
            piece: bytes = self._input.read(CHUNK_BYTES)
            if not piece:
                return
            yield piece


def _request(environ: Dict[str, Any]) -> Request:
    # WSGI hands over the path decoded, as Latin-1; nothing in the control plane depends on how it was escaped.
    path = quote(environ.get("PATH_INFO", "").encode("latin-1"), safe="/:@!$&'()*+,;=~-._")
    query = environ.get("QUERY_STRING", "")
    fields = [(key[5:].replace("_", "-").title(), value) for key, value in environ.items() if key.startswith("HTTP_")]
    fields += [(name, environ[key]) for key, name in (("CONTENT_TYPE", "Content-Type"),) if environ.get(key)]
    return Request(method=environ["REQUEST_METHOD"], target=f"{path}?{query}" if query else path, path=path,
                   query=query, version=(1, 1), headers=Headers(fields), body=_Body(environ),
                   client_ip=environ.get("REMOTE_ADDR", ""), is_tls=environ.get("wsgi.url_scheme") == "https",
                   connection=_Connection(environ))


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


# --- waitress ----------------------------------------------------------------------------------------------------


class _Dispatcher:
    """Gives every answer a thread, in the place of waitress's own, which has a fixed number of them: as many streams
    would leave nobody for the other requests."""

    def __init__(self) -> None:
        self._crew = Crew("admin")
        self._running: Set[object] = set()      # adding and taking away is atomic

    def add_task(self, task: Any) -> None:
        # A connection adds itself again before it is done with the answer before.
        turn = object()
        self._running.add(turn)
        self._crew.start(lambda: self._serve(task, turn))

    def _serve(self, task: Any, turn: object) -> None:
        try:
            task.service()
        finally:
            self._running.discard(turn)

    def shutdown(self, cancel_pending: bool = True, timeout: float = 5.0) -> None:
        """Wait for the answers under way."""
        self._crew.close()
        deadline = time.monotonic() + timeout
        while self._running and time.monotonic() < deadline:
            time.sleep(LOOK_PAUSE)


class _Parser(waitress.parser.HTTPRequestParser):  # type: ignore[misc]
    def parse_header(self, header_plus: bytes) -> None:
        names = [line.partition(b":")[0].lower() for line in header_plus.split(b"\r\n")[1:]]
        # Waitress joins the first two and prefers one of the others. Who is in front of us may do neither.
        if names.count(b"host") > 1 or {b"content-length", b"transfer-encoding"} <= set(names):
            raise waitress.parser.ParsingError("more than one Host, or Content-Length beside Transfer-Encoding")
        try:
            super().parse_header(header_plus)
        except ValueError:
            # An address or a number that Python cannot read. Waitress would let the connection go without an answer.
            raise waitress.parser.ParsingError("malformed request line or Content-Length") from None


class _ErrorTask(waitress.task.ErrorTask):  # type: ignore[misc]
    """The answer to what never became a request."""

    def execute(self) -> None:
        error = self.request.error
        kind = ClientFault if error.code < 500 else Fault
        told = fault_response(None, kind(error.body, status=error.code, code=_CODES.get(error.code)))
        self.status = f"{told.status} {error.reason}"
        self.response_headers.extend([*told.headers, ("Connection", "close")])
        self.close_on_finish = True
        self.content_length = len(told.body)
        self.write(told.body)


class _Channel(waitress.channel.HTTPChannel):  # type: ignore[misc]
    parser_class = _Parser
    error_task_class = _ErrorTask


def _lookahead() -> Dict[str, int]:
    """What lets a handler ask whether its client is still there. Debian 11 and Ubuntu 22.04 have waitress 1.4, which
    refuses to be told about it; there the next write tells."""
    name = "channel_request_lookahead"
    return {name: 1} if hasattr(waitress.adjustments.Adjustments, name) else {}


class AdminServer:
    """Waitress on its own address, in its own thread."""

    def __init__(self, handle: Handle, host: str, port: int, *, on_crash: Callable[[], None],
                 on_done: Optional[OnDone] = None) -> None:
        """Binds at once; OSError when the address is taken."""
        self._on_crash = on_crash
        self._is_told = False      # whether the loop was told to end
        self._map: Dict[int, Any] = {}      # waitress's own: every socket of the server, by descriptor
        host = f"[{host}]" if ":" in host else host or "*"
        try:
            # Proxy headers are left in: they decide nothing but which Origin may be ours (see web/auth.py).
            self._server = waitress.server.create_server(
                application(handle, on_done), map=self._map, listen=f"{host}:{port}", _dispatcher=_Dispatcher(),
                ident=None, connection_limit=CONNECTION_LIMIT, max_request_body_size=MAX_BODY_BYTES,
                asyncore_use_poll=True, clear_untrusted_proxy_headers=False, **_lookahead())
        except OSError:
            self._close()      # of two addresses the first may have been free
            raise
        for each in self._map.values():
            each.channel_class = _Channel      # of the listeners; the trigger has no use for it
        self._thread: Any = None      # as spawn() returns it

    @property
    def addresses(self) -> List[Tuple[str, int]]:
        found = getattr(self._server, "effective_listen", None)
        found = found or [(self._server.effective_host, self._server.effective_port)]
        return [(str(host), int(port)) for host, port in found]

    def start(self) -> None:
        self._thread = spawn("admin", self._server.run, on_crash=self._on_crash)

    def stop(self, timeout: float = 2.0) -> None:
        """Let the answers under way end, then close everything."""
        self._server.task_dispatcher.shutdown(timeout=timeout)
        if self._thread is None:
            self._close()
            return
        # Its loop polls these very descriptors, so its own thread closes them; with none left it ends.
        next(each for each in list(self._map.values()) if isinstance(each, waitress.trigger.trigger)
             ).pull_trigger(self._close_soon)
        self._is_told = True
        self._thread.join(timeout)

    def _close_soon(self) -> None:
        # Another pull may have called us while ours has yet to write to its pipe, which we are about to close.
        while not self._is_told:
            time.sleep(0.001)
        self._close()

    def _close(self) -> None:
        waitress.wasyncore.close_all(self._map)
