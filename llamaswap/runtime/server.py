"""The listener: accepts, counts, limits and drains.

One thread ("accept-0") accepts for all addresses, a thread of a crew ("conn-<n>") serves each connection. Connections
are few and long here (a model answers for seconds), so a thread each is affordable and keeps every handler a plain
function.
"""
from __future__ import annotations

import errno
import logging
import os
import resource
import select
import socket
import ssl
import threading
import time
from contextlib import suppress
from functools import partial
from typing import Callable, List, Optional, Set, Tuple

from llamaswap.core.faults import Refused
from llamaswap.core.http1 import DEFAULT_LIMITS, Limits, response_head
from llamaswap.runtime.connection import Connection, DateClock, FaultResponse, Handle, OnDone, Service
from llamaswap.runtime.hangup import Hangups
from llamaswap.runtime.threads import Crew, spawn

log = logging.getLogger(__name__)

BACKLOG = 1024
OUT_OF_DESCRIPTORS_PAUSE = 0.1    # accept fails at once while there are none: without a pause it is a busy loop
MOST_AT_ONCE = 128                # accepted from one listener before the others have their turn
_OUT_OF_DESCRIPTORS = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_RESERVED_DESCRIPTORS = 128       # for models' pipes, the store, logs
_MOST_CONNECTIONS = 16384
COMPLAINT_PAUSE = 10.0            # seconds between two lines about clients that were turned away
WATCHER_GRACE = 2.0               # seconds for which a stop waits for those who only watch


class Server:
    def __init__(self, handle: Handle, *, fault_response: FaultResponse, limits: Limits = DEFAULT_LIMITS,
                 ssl_context: Optional[ssl.SSLContext] = None, on_done: Optional[OnDone] = None,
                 on_crash: Optional[Callable[[], None]] = None, hangups: Optional[Hangups] = None) -> None:
        """`fault_response(request or None, fault)` turns every refusal into an answer; None: it never became a
        request. `on_done(request, status, sent body bytes, seconds)` runs after the last byte, in the connection's
        thread; status 101 for tunnels, 499 when the client left before any answer. `on_crash` as in threads.spawn,
        for the accept thread."""
        self._owns_hangups = hangups is None
        self._hangups = hangups or Hangups(on_crash=on_crash)
        self._service = Service(handle, fault_response, limits, self._hangups, DateClock(), on_done, ssl_context)
        self._on_crash = on_crash
        self._max_connections = limits.max_connections or _affordable_connections()
        self._listeners: List[socket.socket] = []
        self._waker, self._wakee = socket.socketpair()
        self._accept_thread: Optional[threading.Thread] = None
        self._live_lock = threading.Lock()         # guards the three below; leaf
        self._live: Set[Connection] = set()
        self._none_live = threading.Condition(self._live_lock)
        self._is_stopping = False
        self._crew = Crew("conn")
        self._turned_away = 0                      # since it was last said; these two belong to the accept thread
        self._said_at = -COMPLAINT_PAUSE

    def __repr__(self) -> str:
        return f"Server({self.addresses}, {self.connections} connections{', stopping' if self._is_stopping else ''})"

    def bind(self, host: str, port: int) -> None:
        """Listen on every address `host` resolves to; "" is all interfaces, both families where possible. OSError if
        taken. With port 0 all of them get the same port."""
        if not host and socket.has_dualstack_ipv6():
            self.bind_socket(_listener(socket.AF_INET6, ("::", port), dual=True))
            return
        found = socket.getaddrinfo(host or "0.0.0.0", port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        last: Optional[OSError] = None
        for family, address in dict.fromkeys((entry[0], entry[4]) for entry in found):
            try:
                listener = _listener(family, (str(address[0]), port, *address[2:]))
            except OSError as error:
                # `localhost` names an address this machine may not have (no IPv6); a port that is taken is another
                # matter.
                if error.errno != errno.EADDRNOTAVAIL and error.errno != errno.EAFNOSUPPORT:
                    raise
                last = error
                continue
            self.bind_socket(listener)
            port = port or listener.getsockname()[1]
        if not self._listeners and last is not None:
            raise last

    def bind_socket(self, sock: socket.socket) -> None:
        """Take over a listening socket (systemd socket activation)."""
        sock.setblocking(False)
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._listeners.append(sock)

    @property
    def addresses(self) -> List[Tuple[str, int]]:
        return [listener.getsockname()[:2] for listener in self._listeners if listener.family != socket.AF_UNIX]

    @property
    def paths(self) -> List[str]:
        """Of Unix sockets; "@name" is one without a file."""
        names = [listener.getsockname() for listener in self._listeners if listener.family == socket.AF_UNIX]
        return [os.fsdecode(name).replace("\0", "@", 1) for name in names]

    @property
    def connections(self) -> int:
        """Live client connections."""
        with self._live_lock:
            return len(self._live)

    def start(self) -> None:
        self._accept_thread = spawn("accept-0", self._accept_loop, on_crash=self._on_crash)

    def stop(self, grace: float) -> bool:
        """Stop accepting, close idle connections, let running exchanges end until `grace` seconds passed, cut the rest.
        True when nothing had to be cut. Safe to call twice; the second call may have a shorter grace."""
        deadline = time.monotonic() + grace
        self._stop_accepting()
        for connection in self._copy_of_live():
            connection.drain()
        # Who watches is told by its stream, and left behind when it does not read any more; so are tunnels.
        self._wait_for_none(min(deadline, time.monotonic() + WATCHER_GRACE))
        for connection in self._copy_of_live():
            if connection.is_watching:
                connection.abort()
        is_clean = self._wait_for_none(deadline)
        for connection in self._copy_of_live():
            connection.abort()
        if not self._wait_for_none(time.monotonic() + 2.0):
            log.warning("%d connections did not end", self.connections)
        self._crew.close()
        if self._owns_hangups:
            self._hangups.close()
        return is_clean

    def _stop_accepting(self) -> None:
        with self._live_lock:
            was_stopping, self._is_stopping = self._is_stopping, True
        if was_stopping:
            return
        self._waker.send(b"x")
        if self._accept_thread is not None:
            self._accept_thread.join(5)
        for sock in (*self._listeners, self._waker, self._wakee):
            sock.close()
        self._listeners = []

    def _copy_of_live(self) -> List[Connection]:
        with self._live_lock:
            return list(self._live)

    def _wait_for_none(self, deadline: float) -> bool:
        with self._none_live:
            return self._none_live.wait_for(lambda: not self._live, max(0.0, deadline - time.monotonic()))

    # -- the accept thread --------------------------------------------------------------------------------------------

    def _accept_loop(self) -> None:
        poller = select.poll()
        listeners = {listener.fileno(): listener for listener in self._listeners}
        for fd in (*listeners, self._wakee.fileno()):
            poller.register(fd, select.POLLIN)
        while not self._is_stopping:
            for fd, _ in poller.poll():
                if fd in listeners:
                    self._accept_waiting(listeners[fd])

    def _accept_waiting(self, listener: socket.socket) -> None:
        # All of them: each poll in between would wait for its turn behind every connection that is being served.
        for _ in range(MOST_AT_ONCE):
            if self._is_stopping or not self._accept(listener):
                return

    def _accept(self, listener: socket.socket) -> bool:
        """False when none waits, or none can be taken now."""
        try:
            sock, address = listener.accept()
        except BlockingIOError:
            return False
        except ConnectionError:
            return True  # it left before we came
        except OSError as error:
            if error.errno not in _OUT_OF_DESCRIPTORS:
                raise
            log.error("cannot accept connections: %s", error)
            self._shed_idle()
            time.sleep(OUT_OF_DESCRIPTORS_PAUSE)
            return False
        self._admit(sock, _client_ip(address))
        return True

    def _admit(self, sock: socket.socket, client_ip: str) -> None:
        if self.connections >= self._max_connections:
            # Somebody's idle connection is worth less than a new request: clients must expect it to close at any time.
            self._shed_idle()
            if self.connections >= self._max_connections + 1:
                self._turn_away(sock)
                return
        connection = Connection(self._service, sock, client_ip)
        with self._live_lock:
            self._live.add(connection)
        # The stack keeps its default size. It is address space, not memory, and a smaller one (1 MiB was too small)
        # lets deeply nested JSON crash the whole process on Python 3.13 (test_deeply_nested_json_is_survived).
        try:
            self._crew.start(partial(self._serve, connection))
        except RuntimeError:  # no more threads
            self._forget(connection)
            self._turn_away(sock)

    def _serve(self, connection: Connection) -> None:
        try:
            connection.run()
        finally:
            self._forget(connection)

    def _forget(self, connection: Connection) -> None:
        with self._none_live:
            self._live.discard(connection)
            if not self._live:
                self._none_live.notify_all()

    def _shed_idle(self) -> None:
        idle = [connection for connection in self._copy_of_live() if connection.is_idle]
        if idle:
            min(idle, key=lambda connection: connection.idle_since).drain()

    def _turn_away(self, sock: socket.socket) -> None:
        self._turned_away += 1
        now = time.monotonic()
        if now - self._said_at >= COMPLAINT_PAUSE:
            log.warning("more than %d connections: turned %d away", self._max_connections, self._turned_away)
            self._said_at, self._turned_away = now, 0
        with suppress(OSError):
            sock.setblocking(False)
            if self._service.ssl_context is None:
                fault = Refused("too many connections", code="too_many_connections", retry_after=1)
                response = self._service.fault_response(None, fault)
                body = response.body if isinstance(response.body, bytes) else b""
                fields = [*response.headers, ("Content-Length", str(len(body))), ("Connection", "close")]
                sock.send(response_head(response.status, None, fields) + body)
                sock.shutdown(socket.SHUT_WR)
        sock.close()


def _listener(family: int, address: Tuple[object, ...], *, dual: bool = False) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if dual else 1)
        sock.bind(address)
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


def _client_ip(address: object) -> str:
    if not isinstance(address, tuple):
        return ""  # a Unix socket from systemd
    host = str(address[0])
    return host[7:] if host.startswith("::ffff:") else host


def _affordable_connections() -> int:
    """Each may need a second descriptor towards its model."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return _MOST_CONNECTIONS
    return max(16, min((soft - _RESERVED_DESCRIPTORS) // 2, _MOST_CONNECTIONS))
