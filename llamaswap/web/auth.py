"""Who may come in, and from where: API keys, pages of other sites, proxies in front of us."""
from __future__ import annotations

import base64
import binascii
import hmac
import re
from ipaddress import ip_address, ip_network
from itertools import chain
from typing import Callable, Collection, Iterator, List, Sequence, Tuple

from llamaswap.core.headers import Headers
from llamaswap.core.messages import Request

# Never passed on: they are meant for us, and a model server has no business seeing them.
CREDENTIAL_HEADERS = ("authorization", "x-api-key")
_DEFAULT_PORTS = (":80", ":443")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")


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
    Host, would need a preflight, and management routes grant none. For the same reason X-Requested-With, which our own
    pages send, settles it: proxies change Host as they come, and few are told to say what it was.
    """
    if headers.get("x-requested-with") is not None:
        return False
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


class Origins:
    """Which pages of other sites may use models, by what CORS tells their browsers: `*` is any page.

    Without credentials: a page needs a key of its own, not one that the browser remembers.
    """

    def __init__(self, allowed: Sequence[str]) -> None:
        self.is_any = "*" in allowed
        self._allowed = frozenset(origin.lower().rstrip("/") for origin in allowed)

    def __repr__(self) -> str:
        return f"Origins({sorted(self._allowed)})"

    def fields(self, request: Request) -> List[Tuple[str, str]]:
        """For an answer, or a refusal, of the inference routes."""
        origin = request.headers.get("origin")
        if origin is None or not self._admit(origin):
            return []
        return [("Access-Control-Allow-Origin", origin), ("Access-Control-Expose-Headers", "X-Request-Id, Retry-After"),
                ("Vary", "Origin")]

    def preflight(self, request: Request) -> List[Tuple[str, str]]:
        origin = request.headers.get("origin", "")
        if not self._admit(origin or ""):
            return []
        whose = [("Access-Control-Allow-Origin", "*")] if self.is_any else \
            [("Access-Control-Allow-Origin", origin or ""), ("Vary", "Origin")]
        asked = request.headers.get("access-control-request-headers")
        names = "Content-Type, Authorization, Accept, X-Requested-With"
        if asked is not None:
            names = ", ".join(name for name in (part.strip() for part in asked.split(",")) if _TOKEN.match(name))
        return [*whose, ("Access-Control-Allow-Methods", "GET, POST, PUT, PATCH, DELETE, OPTIONS"),
                ("Access-Control-Allow-Headers", names), ("Access-Control-Max-Age", "86400")]

    def _admit(self, origin: str) -> bool:
        return self.is_any or origin.lower() in self._allowed


def is_named_like_us(headers: Headers, own_names: Callable[[], Collection[str]]) -> bool:
    """Whether Host can only mean this machine. A page can have its own domain's name lead to our address (DNS
    rebinding) and is then of the same site as we are; it cannot do so with these names."""
    host = (headers.get("host") or "").lower()
    if host.startswith("["):
        return True
    name = host.partition(":")[0].rstrip(".")
    if name in ("", "localhost") or name.endswith((".localhost", ".local")) or _is_address(name):
        return True
    return name in own_names()


def _is_address(text: str) -> bool:
    try:
        return bool(ip_address(text))
    except ValueError:
        return False


# --- proxies in front of us --------------------------------------------------------------------------------------


class Proxies:
    """Those whose X-Forwarded-For is believed. Empty: nobody's."""

    def __init__(self, networks: Sequence[str]) -> None:
        self._networks = [ip_network(each, strict=False) for each in networks]

    def __repr__(self) -> str:
        return f"Proxies({', '.join(map(str, self._networks))})"

    def __bool__(self) -> bool:
        return bool(self._networks)

    def unmask(self, request: Request) -> None:
        """Make the client that the proxies speak of the request's client. The header keeps what stands before it:
        what that client said itself."""
        if not self._trust(request.client_ip):
            return
        named = list(chain.from_iterable(value.split(",") for value in request.headers.get_all("x-forwarded-for")))
        while named:
            address = named.pop().strip()
            if not _is_address(address):
                return
            if not self._trust(address):
                request.client_ip = address
                kept = [field for field in request.headers.fields if field[0].lower() != "x-forwarded-for"]
                if named:
                    kept.append(("X-Forwarded-For", ",".join(named).strip()))
                request.headers = Headers(kept)
                return

    def _trust(self, address: str) -> bool:
        return _is_address(address) and any(ip_address(address) in network for network in self._networks)
