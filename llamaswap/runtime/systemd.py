"""What a service manager wants to hear, and the sockets it may have opened for us. No library needed.

The protocol is datagrams of NAME=value lines to the socket in $NOTIFY_SOCKET; without that variable every call does
nothing. Reading the environment also removes the variables: they speak to this process, and a model that inherited
them could report in our name or take our sockets for its own.
"""
from __future__ import annotations

import os
import socket
import time
from typing import List, MutableMapping, Tuple

FIRST_FD = 3    # the service manager passes sockets from here on
NOTIFY_TIMEOUT = 1.0


class Notifier:
    """Tells the service manager where we are in life. Safe from any thread; never raises for a manager that is gone."""

    def __init__(self, address: str = "", watchdog_timeout: float = 0.0) -> None:
        self.address = address
        # Silence for longer gets us killed; 0 when nobody watches. systemd recommends a ping every half of it.
        self.watchdog_timeout = watchdog_timeout

    def __repr__(self) -> str:
        return f"Notifier({self.address!r}, watchdog_timeout={self.watchdog_timeout})"

    def ready(self, status: str = "") -> bool:
        return self.send("READY=1", status)

    def reloading(self, status: str = "") -> bool:
        """Must be followed by ready(), also when the reload failed and the old configuration stays."""
        return self.send(f"RELOADING=1\nMONOTONIC_USEC={int(time.monotonic() * 1e6)}", status)

    def stopping(self, status: str = "") -> bool:
        return self.send("STOPPING=1", status)

    def ping(self) -> bool:
        return self.send("WATCHDOG=1")

    def status(self, text: str) -> bool:
        return self.send("", text)

    def send(self, state: str, status: str = "") -> bool:
        """True when the message was handed over."""
        lines = [line for line in (state, "STATUS=" + " ".join(status.split()) if status else "") if line]
        if not self.address or not lines:
            return False
        # "@name" is how the environment spells Linux's abstract sockets, whose name starts with a zero byte.
        address = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.settimeout(NOTIFY_TIMEOUT)
                sock.connect(address)
                sock.send("\n".join(lines).encode("utf-8"))
        except OSError:
            return False
        return True


def take_notifier(environ: MutableMapping[str, str]) -> Notifier:
    """The notifier the environment asks for; its variables are gone afterwards."""
    address = environ.pop("NOTIFY_SOCKET", "")
    usec, pid = environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", "")
    is_ours = not pid or pid == str(os.getpid())
    timeout = int(usec) / 1e6 if usec.isdecimal() and is_ours else 0.0
    return Notifier(address if address[:1] in ("/", "@") else "", timeout)


def take_sockets(environ: MutableMapping[str, str]) -> List[Tuple[str, socket.socket]]:
    """(name, listening socket) for each socket passed to this process; the caller owns them. Call at most once."""
    pid, count = environ.pop("LISTEN_PID", ""), environ.pop("LISTEN_FDS", "")
    names = environ.pop("LISTEN_FDNAMES", "").split(":")
    if pid != str(os.getpid()) or not count.isdecimal():
        return []
    sockets = []
    for index in range(int(count)):
        os.set_inheritable(FIRST_FD + index, False)    # a model must not keep our port open
        name = names[index] if index < len(names) else ""
        sockets.append((name, socket.socket(fileno=FIRST_FD + index)))
    return sockets
