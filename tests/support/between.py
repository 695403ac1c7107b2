"""A reverse proxy between a browser and llamaswap, as a test wants it to behave."""
from __future__ import annotations

import contextlib
import re
import select
import socket
import threading
from typing import List, Set, Tuple

from llamaswap.runtime.threads import spawn


class Between:
    """A reverse proxy with a prefix that names its target as the host, as proxies do unless they are told otherwise:
    counts the event streams, and can hold them back or put something into them."""

    def __init__(self, port: int, prefix: str = "") -> None:
        self.prefix, self.target = prefix, port
        self.strays: List[str] = []
        self.asked: List[str] = []
        self.replace: Tuple[bytes, bytes] = (b"", b"")      # in event streams; of the same length
        self.is_silent = False
        self._streams: Set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}{prefix}"
        spawn("between", self._accept)

    @property
    def streams(self) -> int:
        return len(self._streams)

    def say(self, frame: bytes) -> None:
        for client in list(self._streams):
            client.sendall(frame)

    def hang_up(self) -> None:
        for client in list(self._streams):
            client.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.hang_up()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client, socket.create_connection(("127.0.0.1", self.target)) as server:
            head = b""
            while b"\r\n\r\n" not in head:
                piece = client.recv(65536)
                if not piece:
                    return
                head += piece
            line, _, rest = head.partition(b"\r\n")
            method, path, _ = line.decode("ascii").split(" ")
            path = re.sub(r"^http://[^/]*", "", path)        # so a forwarding proxy asks
            if not path.startswith(self.prefix + "/"):
                self.strays.append(path)
                client.sendall(b"HTTP/1.0 404 Not Found\r\nContent-Length: 0\r\n\r\n")
                return
            path = path[len(self.prefix):]
            self.asked.append(f"{method} {path}")
            rest = re.sub(rb"(?im)^(?:(?:proxy-)?connection|host):.*\r\n", b"", rest)
            server.sendall(f"{method} {path} HTTP/1.0\r\nConnection: close\r\nHost: 127.0.0.1:{self.target}\r\n"
                           .encode("ascii") + rest)
            if not path.startswith("/api/events"):
                self._pump(client, server)
                return
            self._streams.add(client)
            try:
                self._pump(client, server, is_events=True)
            finally:
                self._streams.discard(client)

    def _pump(self, client: socket.socket, server: socket.socket, is_events: bool = False) -> None:
        while True:
            for side in select.select([client, server], [], [])[0]:
                piece = side.recv(65536)
                if not piece:
                    return
                if side is client:
                    server.sendall(piece)
                elif not (is_events and self.is_silent):
                    client.sendall(piece.replace(*self.replace) if is_events and self.replace[0] else piece)
