"""The web pages: served from memory, under an address that changes with their content; and the redirects to them.

The index page is asked for anew each time. Everything it loads lies below /ui/<build>/, where <build> is a digest of
all files, and may be kept for ever: an upgrade changes the address. Files keep their relative names for each other, so
nothing in static/ knows about builds.
"""
from __future__ import annotations

import gzip
import hashlib
import posixpath
import re
from typing import Dict, NamedTuple, Optional
from urllib.parse import quote

from llamaswap.core.faults import ClientFault
from llamaswap.core.headers import Fields, Headers
from llamaswap.core.messages import Request, Response
from llamaswap.runtime.threads import once
from llamaswap.web.assets import read_asset
from llamaswap.web.replies import prefix_of

INDEX = "index.html"
FAVICON = "favicon.svg"
_TYPES = {"html": "text/html; charset=utf-8", "css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8",
          "svg": "image/svg+xml", "png": "image/png", "ico": "image/x-icon", "json": "application/json",
          "webmanifest": "application/manifest+json", "woff2": "font/woff2", "txt": "text/plain; charset=utf-8"}
_PACKED = ("html", "css", "js", "svg", "json", "webmanifest", "txt")
_POLICY = ("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; worker-src 'self'; "
           "manifest-src 'self'; font-src 'self'; img-src 'self' data: blob:; media-src 'self' data: blob:; "
           "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
           "require-trusted-types-for 'script'; trusted-types llamaswap-worker")
_SECURITY = [("Content-Security-Policy", _POLICY), ("X-Content-Type-Options", "nosniff"),
             ("Referrer-Policy", "no-referrer"), ("X-Frame-Options", "DENY")]
_BUILD_CHARS = 12
_BUILD = re.compile(rf"[0-9a-f]{{{_BUILD_CHARS}}}\Z")
# What one of our files says of another: a quoted relative path, or the url() of a style sheet.
_MENTION = re.compile(rb"""["'(](\.{0,2}/?[\w./-]+\.(?:js|css|svg|png|webmanifest|json))["')#?]""")
_LOADED = re.compile(r'((?:src|href)=")(?:\./)?([\w-]+(?:/[\w.-]+)*\.\w+)')
_ETAG = re.compile(r'(?:W/)?("[^"]*")|\*')


class Page(NamedTuple):
    content: bytes
    packed: Optional[bytes]       # with gzip, where that is worth it
    kind: str
    etag: str


class Pages:
    def __init__(self) -> None:
        # Filled at first use and kept: an upgrade of the program on disk must not mix two versions of the pages.
        self._pages: Dict[str, Page] = {}
        # A hundred followers that ask at once do not read all files a hundred times.
        self._build = once(lambda: _digest(assets()))

    @property
    def build(self) -> str:
        """The digest of everything that the index page leads to."""
        return self._build()

    # --- redirects

    def root(self, request: Request, rest: str) -> Response:
        return Response(302, [("Location", prefix_of(request) + "/ui/")])

    def redirect(self, request: Request, rest: str) -> Response:
        return Response(307, [("Location", prefix_of(request) + "/ui/")])

    def redirect_models(self, request: Request, rest: str) -> Response:
        return Response(302, [("Location", prefix_of(request) + "/ui/models")])

    # --- files

    def favicon(self, request: Request, rest: str) -> Response:
        """Browsers go by the type, not by the name they asked for."""
        return self._serve(request, FAVICON, "no-cache")

    def asset(self, request: Request, rest: str) -> Response:
        """A file, or the name of a view of the one page: llamaswap's own, or one that llama-swap's pages had."""
        if not rest:
            return self._serve(request, INDEX, "no-cache")
        first, _, name = rest.partition("/")
        if first == self.build:
            return self._serve(request, name, "public, max-age=31536000, immutable")
        if _BUILD.match(first):
            return self._serve(request, name, "no-store")      # a page that has been open since before an upgrade
        if "." in rest.rpartition("/")[2] and read_asset(rest) is not None:
            return self._serve(request, rest, "no-cache")
        if "." in rest.rpartition("/")[2] and not rest.startswith(("models/", "requests/")):
            raise _not_found()
        # Relative, so that it holds under whatever path a proxy put us.
        up = "../" * rest.count("/") or "./"
        return Response(302, [("Location", f"{up}#/{quote(rest, safe='/', errors='surrogateescape')}")])

    def _serve(self, request: Request, name: str, cache: str) -> Response:
        page = self._pages.get(name) or self._load(name)
        headers: Fields = [("ETag", page.etag), ("Cache-Control", cache), ("Vary", "Accept-Encoding"), *_SECURITY]
        if request.is_tls:      # browsers complain about it on a plain connection
            headers.append(("Cross-Origin-Opener-Policy", "same-origin"))
        if _matches(request.headers.get("if-none-match") or "", page.etag):
            return Response(304, headers)
        headers.insert(0, ("Content-Type", page.kind))
        if page.packed is not None and takes_gzip(request.headers):
            return Response(200, [*headers, ("Content-Encoding", "gzip")], page.packed)
        return Response(200, headers, page.content)

    def _load(self, name: str) -> Page:
        content = read_asset(name)
        if content is None:      # not remembered: there is no end of names that do not exist
            raise _not_found()
        if name == INDEX:
            content = _under_build(content, self.build)
        suffix = name.rpartition(".")[2]
        packed = gzip.compress(content, 6, mtime=0) if suffix in _PACKED else None
        if packed is not None and len(packed) >= len(content):
            packed = None
        page = self._pages[name] = Page(content, packed, _TYPES.get(suffix, "application/octet-stream"),
                                        f'"{hashlib.sha256(content).hexdigest()[:20]}"')
        return page


def assets() -> Dict[str, bytes]:
    """The index page and every file it leads to, directly or not."""
    found: Dict[str, bytes] = {}
    ahead = [INDEX, FAVICON]
    while ahead:
        name = ahead.pop()
        content = None if name in found else read_asset(name)
        if content is not None:
            found[name] = content
            ahead += [posixpath.normpath(posixpath.join(posixpath.dirname(name), mention.decode("ascii")))
                      for mention in _MENTION.findall(content)]
    return found


def _digest(files: Dict[str, bytes]) -> str:
    digest = hashlib.sha256()
    for name, content in sorted(files.items()):
        digest.update(name.encode("ascii") + b"\0" + content + b"\0")
    return digest.hexdigest()[:_BUILD_CHARS]


def _under_build(index: bytes, build: str) -> bytes:
    def moved(found: re.Match[str]) -> str:
        return f"{found[1]}{build}/{found[2]}" if read_asset(found[2]) is not None else found[0]
    return _LOADED.sub(moved, index.decode("utf-8")).encode("utf-8")


def takes_gzip(headers: Headers) -> bool:
    """By the q-values: `gzip;q=0` is a no, and so is silence."""
    weights: Dict[str, float] = {}
    for item in headers.tokens("accept-encoding"):
        coding, _, parameters = item.partition(";")
        weights[coding.strip()] = _weight(parameters.strip())
    return weights.get("gzip", weights.get("x-gzip", weights.get("*", 0.0))) > 0


def _weight(parameters: str) -> float:
    if not parameters.startswith("q="):
        return 1.0
    try:
        return float(parameters[2:])
    except ValueError:
        return 0.0


def _matches(wanted: str, etag: str) -> bool:
    return any(found[0] == "*" or found[1] == etag for found in _ETAG.finditer(wanted))


def _not_found() -> ClientFault:
    return ClientFault("page not found", status=404, code="not_found")
