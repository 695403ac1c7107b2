"""One line per request, after its last byte."""
from __future__ import annotations

import logging
import re
from typing import Any, Callable, Tuple

from llamaswap.core.messages import Request

log = logging.getLogger(__name__)

_QUIET = ("/wol-health", "/api/performance", "/metrics")      # asked every few seconds by machines
_PAGES = "/ui/"               # each visit takes dozens of files, which say nothing when they are there
_UNPRINTABLE = re.compile(r'[^ !#-~]')


class Line(str):
    """Names its values, so that a log for programs has them as fields; one for people does not pay for it."""

    names = ("client", "method", "path", "protocol", "status", "bytes", "user_agent", "seconds", "request_id")


class Seconds(float):
    """A number for programs; for people, short ones in milliseconds."""

    def __str__(self) -> str:
        return f"{float(self) * 1000:.2f}ms" if self < 1 else f"{float(self):.3f}s"


_LINE = Line('Request %s "%s %s %s" %d %d "%s" %s %s')


def _to_logger(logger_name: str, message: str, values: Tuple[Any, ...]) -> None:
    log.info(message, *values)


class AccessLog:
    """`write` is a shorter way to where the logger leads."""

    def __init__(self, write: Callable[[str, str, Tuple[Any, ...]], None] = _to_logger) -> None:
        self._write = write

    def __call__(self, request: Request, status: int, sent_bytes: int, seconds: float) -> None:
        if not log.isEnabledFor(logging.INFO) or request.path.startswith(_QUIET):
            return
        if status in (200, 304) and request.path.startswith(_PAGES) and not log.isEnabledFor(logging.DEBUG):
            return
        agent = request.headers.get("user-agent") or ""
        protocol = "HTTP/1.1" if request.version[1] else "HTTP/1.0"
        client = request.client_ip or "-"
        self._write(__name__, _LINE, (client, request.method, _printable(request.path), protocol, status, sent_bytes,
                                      _printable(agent), Seconds(seconds), request.id))


def _printable(text: str) -> str:
    """Clients must not be able to write lines, quotes or terminal escapes of their own into the log."""
    if text.isascii() and text.isprintable() and '"' not in text:
        return text
    return _UNPRINTABLE.sub(lambda found: f"%{ord(found.group(0)) & 0xFF:02X}", text)
