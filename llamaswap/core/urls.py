"""Is this address usable? The same syntax rules as Go's net/url, so that the same files load and fail."""
from __future__ import annotations

import re
from typing import Optional

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*\Z")
_HOST_CHARS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~!$&'()*+,;=:[]<>\"")
_NOT_USER = re.compile(r"[^A-Za-z0-9._:~!$&'()*+,;=%@-]")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


def url_fault(url: str) -> Optional[str]:
    """Why `url` cannot be read at all, or None."""
    if any(ord(char) < 0x20 or ord(char) == 0x7F for char in url):
        return "it contains a control character"
    rest, _, fragment = url.partition("#")
    scheme, colon, tail = rest.partition(":")
    if colon and not scheme:
        return "the part before the first colon is missing"
    if path_fault(fragment):
        return path_fault(fragment)
    has_scheme = bool(colon and _SCHEME.match(scheme))
    rest = (tail if has_scheme else rest).partition("?")[0]
    if not rest.startswith("/"):
        if has_scheme:
            return None      # word:rest, which Go takes for an opaque address; see proxy_warning
        if ":" in rest.partition("/")[0]:
            return "the part before the colon is not a scheme; write http:// in front"
    if rest.startswith("//") and (has_scheme or not rest.startswith("///")):
        authority, _, path = rest[2:].partition("/")
        user, _, host = authority.rpartition("@")
        return _user_fault(user) or _host_fault(host) or path_fault(path)
    return path_fault(rest)


def path_fault(path: str) -> Optional[str]:
    bad = _BAD_ESCAPE.search(path)
    return f'"{path[bad.start():bad.start() + 3]}" is not a valid escape' if bad else None


def _user_fault(user: str) -> Optional[str]:
    bad = _NOT_USER.search(user)
    return f'a user name or password cannot contain "{bad.group()}"' if bad else path_fault(user)


def _host_fault(host: str) -> Optional[str]:
    name, port = host, ""
    if host.startswith("["):
        end = host.rfind("]")
        if end < 0:
            return "the ] in the host is missing"
        name, port = host[:end + 1], host[end + 1:]
    elif ":" in host:
        at = host.rfind(":")
        name, port = host[:at], host[at:]
    if port and not re.match(r":[0-9]*\Z", port):
        return f'"{port}" is not a port'
    for char in name.replace("%25", ""):
        if char == "%":
            return f'"{name}" has an escape, which a host cannot have'
        if ord(char) < 0x80 and char not in _HOST_CHARS:
            return f'a host cannot contain "{char}"'
    return None


def proxy_warning(url: str) -> Optional[str]:
    """Why a readable address still cannot be connected to."""
    if not url:
        return "is empty; the model cannot be started"
    found = re.match(r"(?i)https?://([^/?#]*)", url)
    if not found:
        return f'"{url}" does not begin with http:// or https://'
    host = found.group(1).rpartition("@")[2]
    if not host or host.startswith(":"):
        return f'"{url}" names no host'
    port = host.rpartition(":")[2] if ":" in host.rpartition("]")[2] else ""
    if port and not 0 < int(port) < 65536:
        return f"port {port} is not between 1 and 65535"
    return None
