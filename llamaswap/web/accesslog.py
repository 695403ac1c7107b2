"""One line per request, after its last byte."""
from __future__ import annotations

import logging
import re

from llamaswap.core.messages import Request

log = logging.getLogger(__name__)

_QUIET = ("/wol-health", "/api/performance", "/metrics")      # asked every few seconds by machines
_UNPRINTABLE = re.compile(r'[^ !#-~]')


class AccessLog:
    def __call__(self, request: Request, status: int, sent_bytes: int, seconds: float) -> None:
        if not log.isEnabledFor(logging.INFO) or request.path.startswith(_QUIET):
            return
        agent = request.headers.get("user-agent") or ""
        log.info('Request %s "%s %s HTTP/%d.%d" %d %d "%s" %s %s', request.client_ip, request.method,
                 _printable(request.path), *request.version, status, sent_bytes, _printable(agent),
                 f"{seconds * 1000:.2f}ms" if seconds < 1 else f"{seconds:.3f}s", request.id)


def _printable(text: str) -> str:
    """Clients must not be able to write lines, quotes or terminal escapes of their own into the log."""
    return _UNPRINTABLE.sub(lambda found: f"%{ord(found.group(0)) & 0xFF:02X}", text)
