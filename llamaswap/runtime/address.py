"""Addresses as people write them, and ports that are free."""
from __future__ import annotations

import contextlib
import socket
from typing import FrozenSet, List, Tuple


def parse_address(text: str) -> Tuple[str, int]:
    """`host:port`, `:port` or `[::1]:port`; host "" is every interface. ValueError for anything else."""
    host, colon, port = text.rpartition(":")
    is_bracketed = host.startswith("[") and host.endswith("]")
    if not colon or not port.isdecimal() or int(port) > 65535 or (":" in host and not is_bracketed):
        raise ValueError(f'"{text}" is not an address; write HOST:PORT, :PORT or [IPV6]:PORT')
    return host.strip("[]"), int(port)


def format_address(host: str, port: object) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_loopback(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")


def own_names() -> FrozenSet[str]:
    """What this machine calls itself, in lower case. The kernel knows; no name server is asked."""
    return frozenset([socket.gethostname().lower().rstrip(".")])


def free_ports(count: int) -> List[int]:
    """Ports on which nobody listens at this moment."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for sock in sockets:
            sock.bind(("127.0.0.1", 0))
        return [sock.getsockname()[1] for sock in sockets]
