"""Answers of our own, in the two forms that nearly all of them have; and the date that some of them carry."""
from __future__ import annotations

import json
import re
import time
from typing import Any

from llamaswap.core.messages import Request, Response

TEXT = ("Content-Type", "text/plain; charset=utf-8")
JSON = ("Content-Type", "application/json")


def json_response(value: Any, status: int = 200) -> Response:
    """With the newline at its end that clients of the peer see."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    return Response(status, [JSON], text.encode("utf-8", "replace") + b"\n")


def now_epoch() -> int:
    """For `created` fields. Nothing is decided by it: the clock can jump."""
    return int(time.time())


def prefix_of(request: Request) -> str:
    """The path under which a proxy has us, when it says so: what our redirects begin with."""
    prefix = (request.headers.get("x-forwarded-prefix") or "").rstrip("/")
    return prefix if re.fullmatch(r"(?:/[\w.~-]+)+", prefix) else ""


def text_response(text: str, status: int = 200) -> Response:
    return Response(status, [TEXT], text.encode("utf-8", "replace"))
