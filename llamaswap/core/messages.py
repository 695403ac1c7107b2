"""What a handler sees of HTTP: a request in, a response out. No socket, no framing.

The server builds a Request and takes back a Response, or None when the relay has already answered on the same
connection.
"""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Callable, Dict, Iterable, Iterator, List, Optional, Protocol, Tuple, Union

from llamaswap.core.headers import Headers

Fields = List[Tuple[str, str]]


class BodyReader(Protocol):
    """The body of a request, still on its way.

    One of the two methods is used, once; `read_all` may be repeated and then returns what it kept. The first read
    answers `Expect: 100-continue`, so a handler that refuses without reading spares the client the upload.
    """

    @property
    def length(self) -> Optional[int]:
        """Declared bytes; 0 when there is no body, None when it is chunked."""

    def read_all(self, max_bytes: int) -> bytes:
        """Everything, decoded and kept for replay. ClientFault: 413 over the limit, 408 stalled, 400 cut or
        malformed."""

    def chunks(self) -> Iterator[bytes]:
        """Non-empty pieces as they arrive, decoded and not kept; after `read_all`, what that kept, as one piece."""


@dataclass
class Request:
    """One parsed request. `target` is as sent; `path` and `query` are its undecoded parts around the first `?`."""

    method: str
    target: str
    path: str
    query: str
    version: Tuple[int, int]
    headers: Headers
    body: BodyReader
    client_ip: str = ""
    is_tls: bool = False
    # runtime.connection.Connection, for the relay; handlers only use its watch() and is_gone().
    connection: Any = field(default=None, repr=False)
    # The client's X-Request-Id or one of ours; in every answer, in the log, and passed on to the model server.
    id: str = ""

    @property
    def is_websocket(self) -> bool:
        return "upgrade" in self.headers.tokens("connection") and "websocket" in self.headers.tokens("upgrade")


@dataclass
class Response:
    """An answer of our own. The server adds Date, framing and Connection.

    A bytes body is sent in one write with its length. Any other iterable is a stream: the head goes out at once, then
    each non-empty piece is flushed as it comes (chunked; close-delimited for HTTP/1.0). When it raises, the
    connection is cut without the final chunk, so work that can fail with a readable error belongs before the Response
    is returned. `on_close` is called exactly once, after the last byte or the failure, also when the client left or
    asked with HEAD. `is_watching`: a stream that only shows what goes on, so that the end of the program need not wait
    for a reader who has stopped reading.
    """

    status: int
    headers: Fields = field(default_factory=list)
    body: Union[bytes, Iterable[bytes]] = b""
    on_close: Optional[Callable[[], None]] = None
    is_watching: bool = False


def about(request: Request) -> Dict[str, Any]:
    """The `extra` of a log line about it: programs find it by the same field as the line of the access log."""
    return {"fields": {"request_id": request.id}}
