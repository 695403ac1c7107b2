"""Is the model ready, and is it really our model that answers?

Readiness. A probe goes out at once and then every few milliseconds while the port refuses; a refusal on loopback costs
about 0.1 ms, so even minutes of it are cheap. While something answers, but not 200, the pause is longer: the upstream
pays for those. Both pauses grow with the time already spent, and stop growing where lateness would be felt. A probe has
a timeout of its own, so a server that accepts and never answers stalls one probe, not the start; the timeout grows,
because a health check that takes three seconds is slow, not dead.

Ownership. A 200 from somebody else's server must not count. Before the start nobody may listen on the port: that is an
error at once, naming the port and who holds it. Afterwards the listener should be in the model's tree. When it is not,
it may still be right: `docker run` as a command leaves the port to a container or a proxy outside our tree. Such a
holder was started after the model, does not belong to another model, and lives in a control group of its own. One that
is older, carries another tree's marker, or shares our control group (a program of the same service, login or container)
is a stranger, and an error. Who cannot be seen (another user, another machine, no /proc) gets the benefit of the doubt.
"""
from __future__ import annotations

import logging
import os
import re
import socket
import ssl
import struct
import sys
import threading
import time
from dataclasses import dataclass
from typing import Callable, Iterator, List, Optional, Set, Tuple

from llamaswap.runtime import proctree
from llamaswap.runtime.upstream import Endpoint

log = logging.getLogger(__name__)

FIRST_PAUSE, LAST_PAUSE = 0.004, 0.030                      # while the port refuses
FIRST_ANSWERED_PAUSE, LAST_ANSWERED_PAUSE = 0.015, 0.050    # while it answers something else than 200
PAUSE_GROWTH = 0.008                                        # per second already waited
FIRST_PATIENCE, LAST_PATIENCE = 1.0, 15.0                   # for one answer
MAX_HEAD_BYTES = 64 * 1024
MAX_BODY_BYTES = 64 * 1024
_ORIGIN = re.compile(r"\A[A-Za-z][A-Za-z0-9+.-]*://[^/?]*")

# linux/netlink.h, linux/sock_diag.h, net/tcp_states.h
NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY, NLMSG_DONE = 4, 20, 3
REQUEST_DUMP = 0x301
ANY_COOKIE = 0xFFFFFFFF
TCP_LISTEN = 10
NETLINK_TIMEOUT = 1.0

_REFUSED, _SILENT = 0, -1                                   # beside real statuses


@dataclass(frozen=True)
class Outcome:
    """`fault` explains a failure; neither ready nor a fault means that the probe was aborted."""

    is_ready: bool = False
    fault: str = ""


class Probe:
    """Asks until 200, failure or abort(). run() belongs to one thread; abort() may come from any."""

    def __init__(self, endpoint: Endpoint, check_endpoint: str, *, deadline: float,
                 find_fault: Callable[[], str] = lambda: "", ssl_context: Optional[ssl.SSLContext] = None) -> None:
        self._endpoint = endpoint
        self._is_tcp_only = check_endpoint.strip() == "none"
        self._head = b"" if self._is_tcp_only else _request_head(endpoint, check_endpoint)
        self.deadline = deadline                    # any thread may move it
        self._find_fault = find_fault
        # Once, not per probe: reading the certificates of the machine takes longer than a probe.
        self._ssl_context = ssl_context or (ssl.create_default_context() if endpoint.scheme == "https" else None)
        self._patience = FIRST_PATIENCE
        self._aborted = threading.Event()
        self._abort_lock = threading.Lock()         # the fd versus a concurrent abort
        self._sock: Optional[socket.socket] = None

    def __repr__(self) -> str:
        return f"Probe({self._endpoint.host}:{self._endpoint.port}, aborted={self._aborted.is_set()})"

    def run(self) -> Outcome:
        began_at = time.monotonic()
        try:
            while not self._aborted.is_set():
                status = self._ask()
                if self._aborted.is_set():
                    break
                if status == 200:
                    # scar: anybody's 200 counted, also that of the previous generation on its way out.
                    fault = self._find_fault()
                    return Outcome(not fault, fault)
                now = time.monotonic()
                if now >= self.deadline:
                    return Outcome(False, self._timeout_fault(status, now - began_at))
                pause = _pause(now - began_at, is_answered=status != _REFUSED)
                self._aborted.wait(min(pause, self.deadline - now))
            return Outcome()
        finally:
            self._drop()

    def abort(self) -> None:
        """End run() now: the process has exited, or nobody wants it any more."""
        self._aborted.set()
        with self._abort_lock:
            if self._sock is not None:
                _shut(self._sock)

    def _timeout_fault(self, status: int, after: float) -> str:
        last = {_REFUSED: "the port refuses connections", _SILENT: "no answer"}.get(status, f"last status {status}")
        what = "the port did not open" if self._is_tcp_only else f"health check timed out ({last})"
        return f"{what} after {after:.0f}s at port {self._endpoint.port}"

    # --- one probe ---

    def _ask(self) -> int:
        is_reused = self._sock is not None
        try:
            if self._sock is None:
                self._connect()
            # order: connected, then this look. An abort before it could not shut an unconnected socket; one after can.
            if self._aborted.is_set():
                raise ConnectionAbortedError
        except (OSError, ValueError):       # ValueError: a host that no name can be made of
            self._drop()
            return _REFUSED
        if self._is_tcp_only:
            return 200
        try:
            return self._exchange()
        except socket.timeout:
            self._patience = min(self._patience * 2, LAST_PATIENCE)
        except (OSError, ValueError):
            if is_reused:           # a kept connection may have been closed meanwhile: that is no answer at all
                self._drop()
                return self._ask()
        self._drop()
        return _SILENT

    def _connect(self) -> None:
        """To the first address that accepts. The last refusal is raised."""
        found = socket.getaddrinfo(self._endpoint.host, self._endpoint.port, type=socket.SOCK_STREAM)
        for at, (family, kind, proto, _, address) in enumerate(found):
            sock = socket.socket(family, kind, proto)
            sock.settimeout(self._timeout())
            self._keep(sock)
            try:
                sock.connect(address)
                break
            except OSError:
                self._drop()
                if at == len(found) - 1:
                    raise
        if self._endpoint.scheme == "https" and self._ssl_context is not None:
            self._keep(self._ssl_context.wrap_socket(sock, server_hostname=self._endpoint.host))

    def _exchange(self) -> int:
        """One GET; the body is read too when that is cheap, so that the connection can be used again."""
        sock = self._sock
        assert sock is not None
        sock.settimeout(self._timeout())
        if sock.send(self._head) != len(self._head):
            raise OSError("the health request was not taken in one piece")
        head, rest = _read_head(sock, time.monotonic() + self._timeout())
        status = int(head[9:13])            # with what follows the three digits, so that 2000 is not 200
        if status != 200 and not _drain(sock, head, rest):
            self._drop()
        return status

    def _timeout(self) -> float:
        return max(0.001, min(self._patience, self.deadline - time.monotonic()))

    def _keep(self, sock: socket.socket) -> None:
        with self._abort_lock:
            self._sock = sock

    def _drop(self) -> None:
        with self._abort_lock:
            sock, self._sock = self._sock, None
            if sock is not None:
                sock.close()


class Port:
    """A port of this machine and who listens there; knows nothing about ports of other machines."""

    def __init__(self, host: str, port: int) -> None:
        self.number = port
        self._addresses = _local_addresses(host)

    def __repr__(self) -> str:
        return f"Port({self.number}, local={bool(self._addresses)})"

    def is_taken(self) -> bool:
        inodes = self._listeners()
        if inodes is None:
            return self._accepts()
        return bool(inodes)

    def holder(self) -> Optional[proctree.Process]:
        """Who listens; None when nobody does, or nobody we may look at."""
        inodes = self._listeners()
        return proctree.holder_of(inodes) if inodes else None

    def taken_fault(self, holder: Optional[proctree.Process]) -> str:
        who = proctree.described(holder.pid) if holder else "a process of somebody else"
        return f"port {self.number} is already in use by {who}"

    def stranger_fault(self, leader: int, start: int, tree: str) -> str:
        """What is wrong with whoever listens now, as seen by the model with this leader and marker; "" for nothing."""
        inodes = self._listeners()
        if not inodes or proctree.sockets_of(leader) & inodes:
            return ""
        if any(proctree.sockets_of(row.pid) & inodes for row in proctree.find_tree(leader, start, tree)):
            return ""
        holder = proctree.holder_of(inodes)
        if holder is None or not _is_stranger(holder, start):
            return ""
        return self.taken_fault(holder) + ", which is not the model"

    def _listeners(self) -> Optional[Set[int]]:
        if not self._addresses:
            return set()
        try:
            found = list(_listening_by_netlink(self.number))
        except OSError:
            if not os.path.exists("/proc/net/tcp"):
                return None
            found = list(_listening_by_proc(self.number))
        return {inode for packed, inode in found if not any(packed) or packed in self._addresses}

    def _accepts(self) -> bool:
        for packed in self._addresses:
            family = socket.AF_INET if len(packed) == 4 else socket.AF_INET6
            try:
                socket.create_connection((socket.inet_ntop(family, packed), self.number), FIRST_PATIENCE).close()
            except OSError:
                continue            # refused, or a family that this machine does not have
            return True
        return False


def shares_cgroup(row: Optional[proctree.Process]) -> bool:
    """Surely a program of our own service, login or container, and not another container's."""
    ours = proctree.cgroup_of(os.getpid())
    return row is not None and bool(ours) and proctree.cgroup_of(row.pid) == ours


def _is_stranger(holder: proctree.Process, start: int) -> bool:
    """Of a holder outside the model's tree: is it surely not a container's? See the head of this file."""
    if holder.start < start or proctree.markers_of(holder.pid):
        return True
    return shares_cgroup(holder)


def _local_addresses(host: str) -> List[bytes]:
    """Packed addresses of `host` if it is this machine, else nothing. Names other than localhost are not looked up."""
    if host == "localhost":
        return [socket.inet_pton(socket.AF_INET, "127.0.0.1"), socket.inet_pton(socket.AF_INET6, "::1")]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)        # what connecting to "any" means
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        packed = socket.inet_pton(family, host)
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.bind((host, 0))            # only an address of ours can be bound
    except OSError:
        return []
    return [packed]


def _listening_by_netlink(port: int) -> Iterator[Tuple[bytes, int]]:
    """(packed address, inode) of each listener, as `ss` asks for them: the kernel filters, 0.1 ms. Linux only."""
    if not hasattr(socket, "AF_NETLINK"):
        raise OSError("only Linux has netlink")
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_SOCK_DIAG) as sock:
        sock.settimeout(NETLINK_TIMEOUT)
        for family in (socket.AF_INET, socket.AF_INET6):
            ask = struct.pack("=BBBxI", family, socket.IPPROTO_TCP, 0, 1 << TCP_LISTEN)
            ask += struct.pack("!H", port) + bytes(34) + struct.pack("=3I", 0, ANY_COOKIE, ANY_COOKIE)
            sock.send(struct.pack("=IHHII", 16 + len(ask), SOCK_DIAG_BY_FAMILY, REQUEST_DUMP, 0, 0) + ask)
            kind = SOCK_DIAG_BY_FAMILY
            while kind == SOCK_DIAG_BY_FAMILY:
                data = sock.recv(65536)
                at = 0
                while at < len(data):
                    size, kind = struct.unpack_from("=IH", data, at)
                    if kind != SOCK_DIAG_BY_FAMILY:
                        break
                    yield _plain(data[at + 24:at + (28 if family == socket.AF_INET else 40)]), _u32(data, at + 84)
                    at += (size + 3) & ~3
            if kind != NLMSG_DONE:
                raise OSError("the kernel has no socket diagnosis")


def _listening_by_proc(port: int) -> Iterator[Tuple[bytes, int]]:
    """The same from /proc/net: 20 ms and more, because the kernel walks all its connections; for want of netlink."""
    for path in filter(os.path.exists, ("/proc/net/tcp", "/proc/net/tcp6")):
        for line in proctree.read(path).splitlines()[1:]:
            fields = line.split(None, 10)
            address, _, number = fields[1].decode().partition(":")
            if int(fields[3], 16) == TCP_LISTEN and int(number, 16) == port:
                words = (int(address[at:at + 8], 16) for at in range(0, len(address), 8))
                yield _plain(b"".join(struct.pack("=I", word) for word in words)), int(fields[9])


def _plain(packed: bytes) -> bytes:
    """An IPv4 address mapped into IPv6 as what it is."""
    return packed[12:] if packed.startswith(bytes(10) + b"\xff\xff") else packed


def _u32(data: bytes, at: int) -> int:
    return int.from_bytes(data[at:at + 4], sys.byteorder)


def _pause(elapsed: float, *, is_answered: bool) -> float:
    first, last = (FIRST_ANSWERED_PAUSE, LAST_ANSWERED_PAUSE) if is_answered else (FIRST_PAUSE, LAST_PAUSE)
    return min(last, first + PAUSE_GROWTH * elapsed)


def _request_head(endpoint: Endpoint, check_endpoint: str) -> bytes:
    """The path, with or without its slash, is appended to the base path of the proxy; the host of an absolute URL is
    ignored."""
    place = check_endpoint.strip().partition("#")[0]
    path, _, query = _ORIGIN.sub("", place).partition("?")
    target = endpoint.target(path if path.startswith("/") else "/" + path, query)
    host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
    lines = (f"GET {target} HTTP/1.1", f"Host: {host}:{endpoint.port}", "User-Agent: llamaswap", "Accept: */*", "", "")
    return "\r\n".join(lines).encode("utf-8")


def _read_head(sock: socket.socket, deadline: float) -> Tuple[bytes, bytes]:
    """Up to the blank line, and what came after it. ValueError when it is no HTTP/1 answer."""
    data = b""
    while b"\r\n\r\n" not in data:
        # The timeout of a socket is per call: one that trickles a byte a second would never run out of it.
        if len(data) > MAX_HEAD_BYTES or time.monotonic() >= deadline:
            raise socket.timeout("the answer to the health check does not end")
        piece = sock.recv(65536)
        if not piece:
            raise ValueError("the connection ended inside the answer")
        data += piece
        if not b"HTTP/1.".startswith(data[:7]):
            raise ValueError("not an HTTP/1 answer")
    head, _, rest = data.partition(b"\r\n\r\n")
    return head, rest


def _drain(sock: socket.socket, head: bytes, rest: bytes) -> bool:
    """Read the body of a declared, small size. False when the connection cannot be used again."""
    fields = dict(line.lower().split(b":", 1) for line in head.split(b"\r\n")[1:] if b":" in line)
    length = fields.get(b"content-length", b"").strip()
    if not head.startswith(b"HTTP/1.1") or b"close" in fields.get(b"connection", b"") or not length.isdigit():
        return False
    left = int(length) - len(rest)
    if not 0 <= left <= MAX_BODY_BYTES:
        return False
    while left > 0:
        piece = sock.recv(left)
        if not piece:
            return False
        left -= len(piece)
    return True


def _shut(sock: socket.socket) -> None:
    """shutdown, not close: only it wakes a thread blocked in recv, and the fd stays that thread's."""
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        log.debug("socket was not connected any more")
