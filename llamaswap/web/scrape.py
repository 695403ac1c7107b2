"""GET /metrics. It works without a monitor too: then only the lines about the machine are missing."""
from __future__ import annotations

from typing import Callable, Tuple

from llamaswap.core.messages import Request, Response


class Scrape:
    """`render` makes the text and its content type from an `Accept` header."""

    def __init__(self, render: Callable[[str], Tuple[bytes, str]]) -> None:
        self._render = render

    def metrics(self, request: Request, rest: str) -> Response:
        text, content_type = self._render(",".join(request.headers.get_all("accept")))
        return Response(200, [("Content-Type", content_type), ("Cache-Control", "no-store")], text)
