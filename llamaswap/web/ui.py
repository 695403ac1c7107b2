"""The web pages: served from memory, with validators; and the redirects that lead to them."""
from __future__ import annotations

import hashlib
from typing import Dict, NamedTuple

from llamaswap.core.faults import ClientFault
from llamaswap.core.messages import Request, Response
from llamaswap.web.assets import read_asset

_TYPES = {"html": "text/html; charset=utf-8", "css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8",
          "svg": "image/svg+xml", "png": "image/png", "ico": "image/x-icon", "json": "application/json",
          "webmanifest": "application/manifest+json", "woff2": "font/woff2"}
_POLICY = ("default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
           "font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
_SECURITY = [("Content-Security-Policy", _POLICY), ("X-Content-Type-Options", "nosniff"),
             ("Referrer-Policy", "no-referrer")]


class Page(NamedTuple):
    content: bytes
    kind: str
    etag: str


class Pages:
    def __init__(self) -> None:
        # Filled at first use and kept: an upgrade of the program on disk must not mix two versions of the pages.
        self._pages: Dict[str, Page] = {}

    def root(self, request: Request, rest: str) -> Response:
        return Response(302, [("Location", "/ui/")])

    def redirect(self, request: Request, rest: str) -> Response:
        return Response(307, [("Location", "/ui/")])

    def redirect_models(self, request: Request, rest: str) -> Response:
        return Response(302, [("Location", "/ui/models")])

    def favicon(self, request: Request, rest: str) -> Response:
        """Browsers go by the type, not by the name they asked for."""
        return self._serve(request, "favicon.svg")

    def asset(self, request: Request, rest: str) -> Response:
        """A file; any other path below /ui/ is a view of the one page."""
        is_view = "." not in rest.rpartition("/")[2]
        return self._serve(request, "index.html" if is_view else rest)

    def _serve(self, request: Request, name: str) -> Response:
        page = self._pages.get(name) or self._load(name)
        headers = [("ETag", page.etag), ("Cache-Control", "no-cache"), *_SECURITY]
        if page.etag in (request.headers.get("if-none-match") or ""):
            return Response(304, headers)
        return Response(200, [("Content-Type", page.kind), *headers], page.content)

    def _load(self, name: str) -> Page:
        content = read_asset(name)
        if content is None:      # not remembered: there is no end of names that do not exist
            raise ClientFault("page not found", status=404, code="not_found")
        kind = _TYPES.get(name.rpartition(".")[2], "application/octet-stream")
        page = self._pages[name] = Page(content, kind, f'"{hashlib.sha256(content).hexdigest()[:20]}"')
        return page
