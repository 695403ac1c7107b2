"""Who may come in: API keys, and pages of other sites."""
from __future__ import annotations

import base64
import binascii
import hmac
from typing import Iterator, List, Sequence, Tuple

from llamaswap.core.headers import Headers
from llamaswap.core.messages import Request

# Never passed on: they are meant for us, and a model server has no business seeing them.
CREDENTIAL_HEADERS = ("authorization", "x-api-key")
_DEFAULT_PORTS = (":80", ":443")


class Keyring:
    """The configured keys. Without any, everybody is let in."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys = [key.encode() for key in keys]

    def __repr__(self) -> str:
        return f"Keyring({len(self._keys)} keys)"

    def __bool__(self) -> bool:
        return bool(self._keys)

    def admits(self, headers: Headers) -> bool:
        """One right key is enough, whatever else was offered."""
        if not self._keys:
            return True
        offered = [value.encode("utf-8", "surrogateescape") for value in _offered(headers)]
        # Everything is compared, each in constant time, so that the time taken says nothing about the keys.
        return bool(sum([hmac.compare_digest(each, key) for each in offered for key in self._keys]))


def _offered(headers: Headers) -> Iterator[str]:
    """Every Basic password, Bearer token and x-api-key, as UTF-8: header values come as Latin-1."""
    for field in headers.get_all("authorization"):
        scheme, _, value = field.partition(" ")
        if scheme.lower() == "basic":
            yield _password(value)
        elif scheme.lower() == "bearer":
            yield _text(value)
    yield from map(_text, headers.get_all("x-api-key"))


def _text(value: str) -> str:
    return value.encode("latin-1", "replace").decode("utf-8", "surrogateescape")


def _password(value: str) -> str:
    try:
        decoded = base64.b64decode(value.strip(), validate=True).decode("utf-8", "surrogateescape")
    except (binascii.Error, ValueError):
        return ""
    return decoded.partition(":")[2]


# --- pages of other sites ----------------------------------------------------------------------------------------


def comes_from_elsewhere(headers: Headers) -> bool:
    """Whether a page of another site made a browser send this. Programs say nothing and are not meant.

    A page can forge none of these headers: X-Forwarded-Host, which a proxy in front of us may set because it changes
    Host, would need a preflight, and management routes grant none.
    """
    origin = headers.get("origin")
    if origin is not None:
        ours = {_host(item) for name in ("host", "x-forwarded-host") for item in headers.tokens(name)}
        return _host(origin.lower().partition("://")[2]) not in ours
    # An image or a frame sends no Origin. Somebody who follows a link has meant it.
    return headers.get("sec-fetch-site") == "cross-site" and headers.get("sec-fetch-dest") != "document"


def _host(authority: str) -> str:
    for port in _DEFAULT_PORTS:
        if authority.endswith(port):
            return authority[:-len(port)]
    return authority


def readable_by_pages(request: Request) -> List[Tuple[str, str]]:
    """CORS fields for an answer of the inference routes. Without credentials: a key in the request is needed, not
    one that the browser remembers."""
    origin = request.headers.get("origin")
    if origin is None:
        return []
    return [("Access-Control-Allow-Origin", origin), ("Access-Control-Expose-Headers", "X-Request-Id, Retry-After"),
            ("Vary", "Origin")]
