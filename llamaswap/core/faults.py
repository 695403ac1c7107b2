"""Everything that can go wrong, named by who is at fault.

A fault carries what its reader can do about it: a sentence for people, a stable `code` for programs and, when trying
again makes sense, after how many seconds. Only web/errors.py turns a fault into bytes on the wire.
"""
from __future__ import annotations

from typing import Optional, Tuple


class Fault(Exception):
    """Base of the tree; never raised itself."""

    status = 500
    code = "internal_error"

    def __init__(self, message: str, *, status: Optional[int] = None, code: Optional[str] = None,
                 retry_after: Optional[float] = None, headers: Tuple[Tuple[str, str], ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.status = self.status if status is None else status
        self.code = self.code if code is None else code
        self.retry_after = retry_after
        self.headers = headers

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.status}, {self.code!r}, {self.message!r})"

    def again(self) -> Fault:
        """The same to be raised by whoever keeps this one: what was raised holds the frames that it came through, and
        so, in a circle, whoever keeps it."""
        return type(self)(self.message, status=self.status, code=self.code, retry_after=self.retry_after,
                          headers=self.headers)


class ClientFault(Fault):
    """The request cannot be served as it stands; sending it again unchanged will not help."""

    status = 400
    code = "bad_request"


class UpstreamFault(Fault):
    """The model server did not do its part: no connection, a broken answer, a crash, a failed start."""

    status = 502
    code = "bad_gateway"


class Refused(Fault):
    """We will not do it now, though we could later: a full queue, an unload, a shutdown, a crash-loop pause."""

    status = 503
    code = "service_unavailable"


def cancelled() -> UpstreamFault:
    return UpstreamFault("the request was cancelled by the operator", code="cancelled")


class ConfigFault(Fault):
    """What the operator wrote cannot work, found too late to stop the start."""

    code = "configuration"
