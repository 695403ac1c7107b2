"""Where a model server or peer is, and how to get a connection to it."""
from __future__ import annotations

import ipaddress
import socket
import ssl
import time
from dataclasses import dataclass
from typing import Any, List, Optional, Tuple
from urllib.parse import urlsplit

from llamaswap.core.config import Timeouts
from llamaswap.core.faults import ConfigFault, UpstreamFault
from llamaswap.runtime.wire import Wire

SILENT_AFTER = 0.005         # see upstream: an exchange is impatient for so long; kernels round up to 4 or 10 ms
SEND_PATIENCE = 0.25         # how often a blocked upload looks whether the answer has come instead


@dataclass(frozen=True)
class Endpoint:
    scheme: str
    host: str
    port: int
    base_path: str = ""
    base_query: str = ""

    @classmethod
    def parse(cls, url: str) -> Endpoint:
        """From `http://localhost:5800/base?x=1`. ConfigFault when it is not an http(s) URL."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise ConfigFault(f"{url!r} is not a usable address: {error}") from None
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigFault(f"{url!r} is not an http:// or https:// address")
        if port is None:
            port = 443 if parts.scheme == "https" else 80
        return cls(parts.scheme, parts.hostname, port, parts.path, parts.query)

    def target(self, path: str, query: str = "") -> str:
        """Base path and path joined with exactly one slash, queries with `&`; escapes stay as they are."""
        joined = self.base_path.rstrip("/") + "/" + path.lstrip("/") if self.base_path else path
        queries = "&".join(part for part in (self.base_query, query) if part)
        return f"{joined}?{queries}" if queries else joined

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.scheme == "https" else 80) else f"{host}:{self.port}"

    @property
    def is_local(self) -> bool:
        return self.host == "localhost" or self.host.startswith("127.") or self.host == "::1"


def dial(endpoint: Endpoint, timeouts: Timeouts, ssl_context: Optional[ssl.SSLContext]) -> Wire:
    """A fresh connection. UpstreamFault when there is none to be had in time."""
    deadline = time.monotonic() + timeouts.connect if timeouts.connect else None
    problem: Optional[OSError] = None
    try:
        for family, address in _addresses(endpoint):
            try:
                return _connect(endpoint, timeouts, ssl_context, family, address, deadline)
            except ssl.SSLCertVerificationError:
                raise
            except OSError as error:
                problem = error
    except OSError as error:
        problem = error
    status = 504 if isinstance(problem, socket.timeout) else 502
    raise UpstreamFault(f"cannot connect to {endpoint.authority}: {problem}", status=status,
                        code="upstream_unreachable")


def _addresses(endpoint: Endpoint) -> List[Tuple[int, Tuple[Any, ...]]]:
    host, port = endpoint.host, endpoint.port
    if host == "localhost":
        # Model servers listen on IPv4 unless told otherwise, whatever the hosts file says first.
        return [(socket.AF_INET, ("127.0.0.1", port)), (socket.AF_INET6, ("::1", port))]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return [(int(entry[0]), entry[4]) for entry in found]
    return [(socket.AF_INET if address.version == 4 else socket.AF_INET6, (host, port))]


def _connect(endpoint: Endpoint, timeouts: Timeouts, ssl_context: Optional[ssl.SSLContext], family: int,
             address: Tuple[Any, ...], deadline: Optional[float]) -> Wire:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.settimeout(max(0.001, deadline - time.monotonic()) if deadline else None)
        sock.connect(address)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if endpoint.is_local and sock.getsockname() == sock.getpeername():
            # TCP lets a socket meet itself on a port in the ephemeral range where nobody listens yet.
            raise ConnectionRefusedError("nobody is listening")
        if not endpoint.is_local:
            _keep_alive(sock, timeouts.keepalive)
        if ssl_context is not None:
            sock.settimeout(timeouts.tls_handshake or None)
            sock = ssl_context.wrap_socket(sock, server_hostname=endpoint.host)
        return Wire(sock, recv_timeout=SILENT_AFTER, send_timeout=SEND_PATIENCE)
    except BaseException:
        sock.close()
        raise


def _keep_alive(sock: socket.socket, seconds: int) -> None:
    """A peer that vanished without a word would hold a patient read for ever."""
    if not seconds:
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option in ("TCP_KEEPIDLE", "TCP_KEEPINTVL"):
        if hasattr(socket, option):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), seconds)
