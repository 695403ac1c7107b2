"""The body of a client's request: read from its connection when, and only when, somebody asks for it.

Owner: the thread of the connection. A large body is held once: it is received into the buffer that is handed out.
"""
from __future__ import annotations

import io
from typing import Iterator, List, Optional

from llamaswap.core.faults import ClientFault
from llamaswap.core.http1 import CHUNKED, ChunkReader
from llamaswap.runtime.wire import STALLED, Wire

PIECE_BYTES = 65536
# From here on receiving into one zeroed buffer beats joining two strings.
_IN_PLACE_BYTES = 131072
# A body nobody wanted is read away up to this size to keep the connection; beyond it closing is cheaper.
MAX_SKIPPED_BYTES = 65536
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Body:
    """A BodyReader. `early` are the bytes that came with the head; `leftover` is what turned out to follow the body."""

    def __init__(self, wire: Wire, length: int, early: bytes, *, timeout: float,
                 expects_continue: bool = False) -> None:
        self._wire = wire
        self._length = length
        self._timeout = timeout
        self._kept: Optional[bytes] = None
        self._chunks = ChunkReader(ClientFault("malformed chunked body")) if length == CHUNKED else None
        self._left = 0 if self._chunks else length
        self._is_broken = False
        self._expects_continue = expects_continue and not early
        self.leftover = b""
        if self._chunks is None and len(early) > length:
            early, self.leftover = early[:length], early[length:]
        self._early = early

    def __repr__(self) -> str:
        return f"Body(length={self.length}, {'done' if self.is_done else 'unread'})"

    @property
    def length(self) -> Optional[int]:
        return None if self._chunks else self._length

    @property
    def is_done(self) -> bool:
        return self._chunks.is_done if self._chunks else self._left == 0

    @property
    def may_be_followed(self) -> bool:
        """Whether another request can come behind it on this connection. Not when it is broken, when what is left is
        too much to be read away or of unknown size, and when the client was never told to send it, so that it may or
        may not come."""
        if self.is_done:
            return True
        is_announced = self._chunks is None and self._left <= MAX_SKIPPED_BYTES
        return is_announced and not self._is_broken and not self._expects_continue

    def read_all(self, max_bytes: int) -> bytes:
        if self._kept is not None:
            return self._kept
        if self._chunks is None and self._length > max_bytes:
            raise _too_large(max_bytes)
        if self._chunks is None and len(self._early) == self._length:
            self._kept, self._early, self._left = self._early, b"", 0
        elif self._chunks is None and self._length >= _IN_PLACE_BYTES:
            self._kept = self._fill()
        else:
            self._kept = self._join(max_bytes)
        return self._kept

    def chunks(self) -> Iterator[bytes]:
        if self._kept is not None:
            if self._kept:
                yield self._kept
            return
        while not self.is_done:
            piece = self._next()
            if piece:
                yield piece

    def skip(self) -> bool:
        """Read away what the handler left, to get at the next request. False when that is not possible."""
        if not self.may_be_followed:
            return False
        while not self.is_done:
            self._next()
        return True

    def _join(self, max_bytes: int) -> bytes:
        pieces: List[bytes] = []
        total = 0
        for piece in self.chunks():
            total += len(piece)
            if total > max_bytes:
                raise _too_large(max_bytes)
            pieces.append(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _fill(self) -> bytes:
        # BytesIO gives its buffer away without a copy as long as nobody else looks at it. One spare byte makes it
        # allocate the exact size at once instead of growing.
        buffer = io.BytesIO()
        buffer.seek(self._length - 1)
        buffer.write(b"\0")
        with buffer.getbuffer() as view:
            early, self._early = self._early, b""
            at = len(early)
            view[:at] = early
            self._ask()
            while at < self._length:
                # Released at once: a slice that lives on in a traceback would keep the buffer from being freed.
                with view[at:] as part:
                    at += self._receive_into(part)
        self._left = 0
        return buffer.getvalue()

    def _next(self) -> bytes:
        """Some decoded bytes; empty when only framing came."""
        data, self._early = self._early, b""
        if not data:
            self._ask()
            size = PIECE_BYTES if self._chunks else min(self._left, 4 * PIECE_BYTES)
            data = self._receive(size)
        if self._chunks is None:
            self._left -= len(data)
            return data
        payload: List[bytes] = []
        try:
            self._chunks.feed(data, payload)
        except ClientFault:
            self._is_broken = True
            raise
        if self._chunks.is_done:
            self.leftover = self._chunks.rest
        return payload[0] if len(payload) == 1 else b"".join(payload)

    def _receive(self, size: int) -> bytes:
        try:
            data = self._wire.recv(size)
        except OSError as error:
            raise self._cut(error) from None
        if not data:
            raise self._cut()
        return data

    def _receive_into(self, view: memoryview) -> int:
        try:
            count = self._wire.recv_into(view)
        except OSError as error:
            raise self._cut(error) from None
        if not count:
            raise self._cut()
        return count

    def _cut(self, error: Optional[OSError] = None) -> ClientFault:
        """After this the connection is good for an answer only."""
        self._is_broken = True
        if isinstance(error, STALLED):
            return ClientFault("timed out waiting for the request body", status=408, code="request_timeout")
        return ClientFault("the request body was cut short", code="incomplete_body")

    def _ask(self) -> None:
        """Before each wait for bytes."""
        self._wire.set_recv_timeout(self._timeout)
        if self._expects_continue:
            self._expects_continue = False
            try:
                self._wire.send(CONTINUE)
            except OSError as error:
                raise self._cut(error) from None


def _too_large(max_bytes: int) -> ClientFault:
    return ClientFault(f"the request body is larger than the {max_bytes} bytes allowed", status=413,
                       code="body_too_large")
