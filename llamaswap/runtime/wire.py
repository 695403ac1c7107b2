"""One connected socket, plain or TLS, used by both ends of the proxy.

Owner: one thread reads, writes and closes. `abort` alone may be called by others: it shuts the socket down, which
wakes the owner out of a blocked call; closing it here would not, and would hand the descriptor's number to a stranger
under the sleeper's feet. The lock guards exactly that: the descriptor against an abort that comes while the owner
closes.

Timeouts are the kernel's (SO_RCVTIMEO, SO_SNDTIMEO) on a blocking socket, because Python's own turn each recv into
poll and recv. TLS cannot use them (the ssl module retries for ever), so there the socket has Python's timeout.
"""
from __future__ import annotations

import os
import select
import socket
import ssl
import struct
import threading
from contextlib import suppress
from typing import Any, Callable, Optional, Tuple, Union

try:
    import ctypes
    _poll = ctypes.PyDLL(None).poll
    _ONE, _AT_ONCE = ctypes.c_ulong(1), ctypes.c_int(0)
except (ImportError, OSError, AttributeError):      # an interpreter without libffi, a system without dlopen
    _poll = None  # type: ignore[assignment]

Data = Union[bytes, memoryview]

# What a timeout looks like: the kernel's on a plain socket, Python's on TLS (socket.timeout is no TimeoutError before
# 3.10).
STALLED = (BlockingIOError, socket.timeout, ssl.SSLWantReadError, ssl.SSLWantWriteError)

# Two buffers up to this size are joined and sent with one cheap send; beyond it copying costs more than a vector.
JOIN_BYTES = 32768
TLS_RECORD_BYTES = 16384


def _timeval(seconds: float) -> bytes:
    return struct.pack("@ll", int(seconds), int(seconds % 1 * 1_000_000))


def make_probe(fd: int) -> Callable[[], object]:
    """A question to be asked often: is this descriptor readable? Each request asks it of the idle socket that it is
    about to use. The select module lets go of the interpreter to ask, and among many busy threads it takes
    milliseconds to get that back; the answer takes one microsecond."""
    if _poll is None:
        poller = select.poll()
        poller.register(fd, select.POLLIN)
        return lambda: poller.poll(0)
    pollfd = ctypes.create_string_buffer(struct.pack("@ihh", fd, select.POLLIN, 0), 8)
    return lambda: _poll(pollfd, _ONE, _AT_ONCE)


class Wire:
    __slots__ = ("sock", "fd", "is_tls", "is_aborted", "has_stopped_reading", "known_head", "recv", "_send", "_lock",
                 "_is_open", "_recv_timeout", "_send_timeout", "_probe",
                 "_ahead")

    def __init__(self, sock: socket.socket, *, recv_timeout: float, send_timeout: float) -> None:
        """Timeouts in seconds, 0 for none. A send that times out has moved nothing for that long."""
        self.sock = sock
        self.fd = sock.fileno()
        self.is_tls = isinstance(sock, ssl.SSLSocket)
        self.is_aborted = False
        self.has_stopped_reading = False
        # For the owner: the raw bytes of the last head that came from the other side, and what they meant. Both ends of
        # a kept connection repeat themselves, and comparing is a hundred times cheaper than parsing.
        self.known_head: Optional[Tuple[bytes, Any]] = None
        # recv(size) -> bytes, b"" at the end; raises STALLED or OSError. Bound here: it is called once or more per
        # request.
        self.recv: Callable[[int], bytes] = self._recv_secured if self.is_tls else sock.recv
        self._send = sock.send
        self._ahead = b""            # TLS: read by is_readable, which cannot look without reading
        self._lock = threading.Lock()
        self._is_open = True
        self._probe: Optional[Callable[[], object]] = None
        self._recv_timeout = recv_timeout
        self._send_timeout = send_timeout
        if self.is_tls:
            sock.settimeout(recv_timeout or None)
        else:
            # An accepted socket usually blocks already. To say it again would let go of the interpreter, and the accept
            # thread would queue for it behind every connection that is being served.
            if sock.gettimeout() is not None or not os.get_blocking(self.fd):
                sock.settimeout(None)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _timeval(recv_timeout))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(send_timeout))

    def __repr__(self) -> str:
        state = "aborted" if self.is_aborted else "open" if self._is_open else "closed"
        return f"Wire(fd={self.fd}, {'tls, ' if self.is_tls else ''}{state})"

    def set_recv_timeout(self, seconds: float) -> None:
        if seconds == self._recv_timeout:
            return
        self._recv_timeout = seconds
        if self.is_tls:
            self.sock.settimeout(seconds or None)
        else:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _timeval(max(seconds, 0.001) if seconds else 0))

    def recv_into(self, view: memoryview) -> int:
        """Fill `view`, as far as one call can: a plain socket waits for all of it, which spares a wake-up per
        segment."""
        if self._ahead:
            data = self._recv_secured(len(view))
            view[:len(data)] = data
            return len(data)
        if self.is_tls:
            return self.sock.recv_into(view)
        return self.sock.recv_into(view, 0, socket.MSG_WAITALL)

    def send(self, data: Data) -> None:
        """All of it. Raises STALLED when nothing moved for the send timeout, OSError when the other side is gone. Not
        sendall: its timeout is for the whole, and cuts a reader that is slow but moving."""
        sent = self.send_some(data)
        if sent != len(data):
            view = memoryview(data)[sent:]
            while view:
                view = view[self.send_some(view):]

    def send_some(self, data: Data) -> int:
        """One send, for a caller that has something else to look at when it stalls."""
        if not self.is_tls:
            return self._send(data)
        self.sock.settimeout(self._send_timeout or None)
        try:
            return self._send(data)
        finally:
            self.sock.settimeout(self._recv_timeout or None)

    def send_both(self, head: bytes, body: Data) -> None:
        """As few segments as possible: what is sent in two writes waits in two queues."""
        if len(body) <= JOIN_BYTES:
            self.send(head + body if body else head)
        elif self.is_tls:
            self.send(head)
            self.send(body)
        else:
            sent = self.sock.sendmsg((head, body))
            if sent < len(head):
                self.send(memoryview(head)[sent:])
                sent = len(head)
            if sent - len(head) < len(body):
                self.send(memoryview(body)[sent - len(head):])

    def is_readable(self) -> bool:
        """Bytes, an end or an error are waiting. Never blocks. For the owner."""
        if self._probe is None:
            self._probe = make_probe(self.fd)
        if not self.is_tls:
            return bool(self._probe())
        if self._ahead or self.sock.pending():  # type: ignore[attr-defined]
            return True
        return bool(self._probe()) and self._is_more_than_protocol()

    def _is_more_than_protocol(self) -> bool:
        """What has come may be TLS talking to itself: session tickets follow every handshake. Taking them for an answer
        ended uploads before they had begun (test_an_upload_over_tls_is_not_ended_by_a_session_ticket)."""
        self.sock.settimeout(0)
        try:
            self._ahead = self.sock.recv(TLS_RECORD_BYTES)
        except STALLED:
            return False
        except OSError:
            pass        # the next recv meets it again
        finally:
            self.sock.settimeout(self._recv_timeout or None)
        return True

    def _recv_secured(self, size: int) -> bytes:
        if self._ahead:
            data, self._ahead = self._ahead[:size], self._ahead[size:]
            return data
        return self.sock.recv(size)

    def abort(self) -> None:
        """From any thread, at any time, any number of times."""
        with self._lock:
            self.is_aborted = True
            if self._is_open:
                self._shutdown(socket.SHUT_RDWR)

    def stop_reading(self, *, unless_readable: bool = False) -> None:
        """From any thread: the owner reads what has arrived already (Linux), then an end."""
        with self._lock:
            if not self._is_open or (unless_readable and make_probe(self.fd)()):
                return
            self.has_stopped_reading = True
            self._shutdown(socket.SHUT_RD)

    def stop_writing(self) -> None:
        self._shutdown(socket.SHUT_WR)

    def _shutdown(self, how: int) -> None:
        # Not SSLSocket.shutdown: that drops the TLS state, and the owner would go on to read ciphertext as text.
        with suppress(OSError):  # the other side was faster
            socket.socket.shutdown(self.sock, how)

    def close(self, *, reset: bool = False) -> None:
        """`reset` tells the other side that what it has is not complete, where no framing can."""
        with self._lock:
            if not self._is_open:
                return
            self._is_open = False
            if reset:
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            with suppress(OSError):  # it is closed all the same
                self.sock.close()
