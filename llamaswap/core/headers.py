"""Header fields: an ordered multi-dict that ignores case, and what may pass from one side of the proxy to the other.

Values are str decoded as latin-1, so every byte survives the way through.
"""
from __future__ import annotations

from functools import lru_cache
from typing import Collection, FrozenSet, Iterator, List, Optional, Tuple

Fields = List[Tuple[str, str]]

HOP_BY_HOP = frozenset((
    "connection", "keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization", "te",
    "transfer-encoding", "upgrade",
))
# Framing belongs to each connection; `Expect` is answered here, not by the model server.
_NOT_FORWARDED = HOP_BY_HOP | {"content-length", "expect", "trailer", "x-forwarded-for"}
_NOT_FORWARDED_TO_PEERS = _NOT_FORWARDED | {"host", "forwarded", "x-forwarded-host", "x-forwarded-proto"}
_NOT_RETURNED = HOP_BY_HOP | {"content-length"}
# A client may not make us drop these by naming them in Connection.
_NOT_NAMEABLE = frozenset(("host", "content-type", "content-encoding", "content-length", "transfer-encoding"))
_READABLE = frozenset(("gzip", "x-gzip", "deflate", "identity"))      # content codings that core/usage.py undoes
_USUAL_CONNECTION = frozenset(("keep-alive", "Keep-Alive", "close"))


class Headers:
    """Read-only. Keeps order, spelling and repeats of what was received."""

    __slots__ = ("fields", "_lower", "_first")

    def __init__(self, fields: Fields) -> None:
        self.fields = fields
        self._lower = [name.lower() for name, _ in fields]
        self._first = dict(zip(self._lower, fields))
        if len(self._first) != len(fields):
            # Backwards, so that of repeated fields the first one stays.
            self._first = dict(zip(reversed(self._lower), reversed(fields)))

    def get(self, name: str, default: Optional[str] = None) -> Optional[str]:
        """The first value. `name` must be lower case: this is on the hot path."""
        found = self._first.get(name)
        return default if found is None else found[1]

    def get_all(self, name: str) -> List[str]:
        if name not in self._first:
            return []
        if not self.has_repeats():
            return [self._first[name][1]]
        return [field[1] for lower, field in zip(self._lower, self.fields) if lower == name]

    def tokens(self, name: str) -> List[str]:
        """The items of a comma-separated field, over all its lines, in lower case."""
        if name not in self._first:
            return []
        items = [item.strip(" \t") for value in self.get_all(name) for item in value.lower().split(",")]
        return [item for item in items if item]

    def without(self, unwanted: Collection[str]) -> Fields:
        """A copy of the fields but for these lower-case names."""
        return [field for lower, field in zip(self._lower, self.fields) if lower not in unwanted]

    def names(self) -> Collection[str]:
        return self._first.keys()

    def has_repeats(self) -> bool:
        return len(self._first) != len(self.fields)

    def __contains__(self, name: str) -> bool:
        return name in self._first

    def __iter__(self) -> Iterator[Tuple[str, str]]:
        return iter(self.fields)

    def __len__(self) -> int:
        return len(self.fields)

    def __repr__(self) -> str:
        return f"Headers({self.fields!r})"


def _without(headers: Headers, unwanted: FrozenSet[str]) -> Fields:
    if "connection" in headers and headers.get("connection") not in _USUAL_CONNECTION:
        unwanted = unwanted | (frozenset(headers.tokens("connection")) - _NOT_NAMEABLE)
    return headers.without(unwanted)


def forwarded(headers: Headers, client_ip: str, *, drop: Collection[str] = (), to_peer: bool = False,
              upgrade: bool = False, is_read: bool = False, is_plain: bool = False) -> Fields:
    """The request fields a model server or peer gets to see; framing is added by whoever sends them.

    `drop` holds lower-case names, for credentials that were meant for us. A peer learns neither our host nor who asked.
    An answer that is going to be read on its way is asked for in codings that can be; without any if `is_plain`.
    """
    unwanted = _NOT_FORWARDED_TO_PEERS if to_peer else _NOT_FORWARDED
    passed = _without(headers, unwanted.union(drop) if drop else unwanted)
    if not to_peer:
        before = headers.get_all("x-forwarded-for")
        chain = [*before, client_ip] if client_ip else before    # a Unix socket tells nothing about its client
        if chain:
            passed.append(("X-Forwarded-For", ", ".join(chain)))
    if (is_read or is_plain) and "accept-encoding" in headers:
        accepted = ", ".join(headers.get_all("accept-encoding"))
        readable = "identity" if is_plain else readable_codings(accepted)
        if readable != accepted:
            passed = [field for field in passed if field[0].lower() != "accept-encoding"]
            passed.append(("Accept-Encoding", readable))
    if "te" in headers and "trailers" in headers.tokens("te"):
        passed.append(("TE", "trailers"))
    if upgrade:
        passed.append(("Connection", "Upgrade"))
        passed.extend(("Upgrade", value) for value in headers.get_all("upgrade"))
    return passed


@lru_cache(maxsize=64)
def readable_codings(accepted: str) -> str:
    """What can be undone of an Accept-Encoding; `identity` when that is nothing."""
    items = accepted.split(",")
    readable = [item.strip() for item in items if item.partition(";")[0].strip().lower() in _READABLE]
    return accepted if len(readable) == len(items) else ", ".join(readable) or "identity"


def returned(headers: Headers) -> Fields:
    """The answer's fields a client gets to see, without framing."""
    return _without(headers, _NOT_RETURNED)
