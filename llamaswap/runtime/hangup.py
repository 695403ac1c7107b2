"""Tell me when this client has gone away, while I wait for something else.

`Hangups` owns one thread ("hangup") and one selector, both started at the first watch. Handlers use it through the
connection:

    with request.connection.watch(lambda: registry.cancel(ticket)):
        lease.wait()

Nothing is ever read. With epoll only the other side's FIN or a reset is asked for (EPOLLRDHUP), so the bytes of a
pipelined request neither wake the thread nor hide the end behind them. Elsewhere poll says "readable" for both; there
a peek tells them apart, and a connection with pipelined bytes is not watched any further, because it would stay
readable for ever.

FIN and close look the same from here. An end from a client that waits counts as gone, so a client that half-closes
loses.
"""
from __future__ import annotations

import select
import socket
import threading
from contextlib import suppress
from typing import Any, Callable, Dict, List, Optional, Protocol, Tuple

from llamaswap.runtime.threads import spawn


class Watchable(Protocol):
    def fileno(self) -> int: ...


class _Epoll:
    """The kernel takes registrations while another thread polls, so watching costs one system call and no wake-up."""

    _EVENTS = getattr(select, "EPOLLRDHUP", 0) | getattr(select, "EPOLLONESHOT", 0)

    def __init__(self) -> None:
        self._epoll = select.epoll()

    def add(self, fd: int) -> None:
        try:
            self._epoll.register(fd, self._EVENTS)
        except FileExistsError:
            self._epoll.modify(fd, self._EVENTS)

    def remove(self, fd: int) -> None:
        with suppress(OSError):
            self._epoll.unregister(fd)

    def add_waker(self, fd: int) -> None:
        self._epoll.register(fd, select.EPOLLIN)

    def wait(self) -> List[Tuple[int, int]]:
        return self._epoll.poll()

    def close(self) -> None:
        self._epoll.close()


class _Poll:
    """For systems without epoll: poll works on a copy, so each change wakes the thread to take a new one."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._fds: Dict[int, int] = {}

    def add(self, fd: int) -> None:
        self._fds[fd] = select.POLLIN
        self._wake()

    def remove(self, fd: int) -> None:
        self._fds.pop(fd, None)
        self._wake()

    def add_waker(self, fd: int) -> None:
        self._fds[fd] = select.POLLIN

    def wait(self) -> List[Tuple[int, int]]:
        poller = select.poll()
        for fd in list(self._fds):
            poller.register(fd, select.POLLIN)
        return poller.poll()

    def close(self) -> None:
        self._fds.clear()


def is_hung_up(fd: int) -> bool:
    """Now, without reading. False while bytes wait to be read, where the system cannot look behind them."""
    poller = select.poll()
    rdhup = getattr(select, "POLLRDHUP", 0)
    poller.register(fd, rdhup or select.POLLIN)
    for _, events in poller.poll(0):
        if events & (select.POLLHUP | select.POLLERR | select.POLLNVAL | rdhup):
            return True
        return not rdhup and _peeks_at_end(fd)
    return False


def _peeks_at_end(fd: int) -> bool:
    sock = socket.socket(fileno=fd)
    try:
        return sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        sock.detach()


class Watch:
    """One callback on one connection. Its lock makes leaving the block wait for a callback that is already running."""

    __slots__ = ("fd", "_hangups", "_callback", "_lock", "_is_live")

    def __init__(self, hangups: Hangups, fd: int, callback: Callable[[], None]) -> None:
        self.fd = fd
        self._hangups = hangups
        self._callback = callback
        self._lock = threading.Lock()
        self._is_live = True

    def __enter__(self) -> Watch:
        self._hangups.add(self)
        return self

    def __exit__(self, *_: Any) -> None:
        self._hangups.remove(self)
        with self._lock:
            self._is_live = False

    def fire(self) -> None:
        with self._lock:
            if self._is_live:
                self._is_live = False
                self._callback()


class Hangups:
    def __init__(self, *, on_crash: Optional[Callable[[], Any]] = None,
                 use_epoll: bool = hasattr(select, "epoll")) -> None:
        self._on_crash = on_crash
        self._lock = threading.Lock()  # guards the two below; leaf, never held while a callback runs
        self._watches: Dict[int, List[Watch]] = {}
        self._selector: Any = None
        self._use_epoll = use_epoll
        self._waker, self._wakee = socket.socketpair()
        self._waker.setblocking(False)
        self._wakee.setblocking(False)
        self._thread: Optional[threading.Thread] = None
        self._is_closing = False

    def watch(self, connection: Watchable, callback: Callable[[], None]) -> Watch:
        """Context manager. `callback` runs at most once, in the hangup thread; it must be short and must not block.
        Once the block is left it neither runs nor will. Watches of one connection may be nested; a connection that
        has gone already is reported at once. The connection must not be closed inside the block."""
        return Watch(self, connection.fileno(), callback)

    def add(self, watch: Watch) -> None:
        with self._lock:
            if self._is_closing:
                return
            if self._thread is None:
                self._selector = _Epoll() if self._use_epoll else _Poll(self._wake)
                self._selector.add_waker(self._wakee.fileno())
                self._thread = spawn("hangup", self._run, on_crash=self._on_crash)
            self._watches.setdefault(watch.fd, []).append(watch)
            # Also when it is not the first one: a selector that has fired for this descriptor has to be armed again.
            self._selector.add(watch.fd)

    def remove(self, watch: Watch) -> None:
        with self._lock:
            watches = self._watches.get(watch.fd, [])
            if watch in watches:
                watches.remove(watch)
                if not watches:
                    del self._watches[watch.fd]
                    self._selector.remove(watch.fd)

    def close(self) -> None:
        """End the thread. Watches that are still open never fire."""
        with self._lock:
            if self._is_closing:
                return
            self._is_closing = True
        self._wake()
        if self._thread is not None:
            self._thread.join(5)
            self._selector.close()
        self._waker.close()
        self._wakee.close()

    def _wake(self) -> None:
        with suppress(BlockingIOError):  # full: it is awake
            self._waker.send(b"x")

    def _run(self) -> None:
        while not self._is_closing:
            for fd, _ in self._selector.wait():
                if fd == self._wakee.fileno():
                    with suppress(BlockingIOError):
                        self._wakee.recv(4096)
                    continue
                for watch in self._gone(fd):
                    watch.fire()

    def _gone(self, fd: int) -> List[Watch]:
        """Ask again under the lock: since the selector spoke, its connection may have been closed and a new one,
        watched as well, may have got the same number (test_a_reused_descriptor_is_not_reported)."""
        with self._lock:
            watches = list(self._watches.get(fd, ()))
            if watches and is_hung_up(fd):
                if not self._use_epoll:
                    self._selector.remove(fd)
                return watches
            if watches and self._use_epoll:
                self._selector.add(fd)
            elif not self._use_epoll:
                self._selector.remove(fd)
            return []
