"""The one place where a fault becomes bytes: status, envelope, and the form the client can read."""
from __future__ import annotations

import json
import math
from html import escape
from typing import Any, Dict, List, Optional, Tuple

from llamaswap.core.faults import Fault
from llamaswap.core.messages import Fields, Request, Response
from llamaswap.core.routing import is_anthropic

# "llama-swap" here and in the realm is what clients of the peer look for.
SOURCE = "llama-swap"

# status → (type, code when the fault has none of its own)
_KINDS: Dict[int, Tuple[str, str]] = {
    400: ("invalid_request_error", "bad_request"),
    401: ("authentication_error", "unauthorized"),
    403: ("authentication_error", "forbidden"),
    404: ("invalid_request_error", "not_found"),
    409: ("invalid_request_error", "conflict"),
    429: ("rate_limit_error", "rate_limit_exceeded"),
    502: ("server_error", "bad_gateway"),
    503: ("server_error", "service_unavailable"),
    504: ("server_error", "gateway_timeout"),
}
_ANTHROPIC_TYPES = {
    401: "authentication_error", 403: "permission_error", 404: "not_found_error", 413: "request_too_large",
    429: "rate_limit_error", 503: "overloaded_error", 504: "timeout_error",
}
_FORMS = ("application/json", "text/plain", "text/html")      # of equally welcome forms the first is sent
# As Go's encoder does, so that a browser that guesses types finds no markup.
_NO_MARKUP = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"})


def fault_response(request: Optional[Request], fault: Fault) -> Response:
    """`request` is None when not even its head could be read."""
    headers = _headers(fault)
    # Our own pages ask for the key themselves. To this header a browser would answer with a window of its own.
    if fault.status == 401 and (request is None or "x-requested-with" not in request.headers):
        headers.append(("WWW-Authenticate", f'Basic realm="{SOURCE}"'))
    if request is not None and request.id:
        headers.append(("X-Request-Id", request.id))
    if request is not None and is_anthropic(request.path):
        return Response(fault.status, [("Content-Type", "application/json"), *headers], _encode(_anthropic(fault)))
    accept = ", ".join(request.headers.get_all("accept")) if request is not None else ""
    # Too many requests, and all of /api, is answered to programs, whatever they said they accept.
    is_for_programs = fault.status == 429 or (request is not None and request.path.startswith("/api/"))
    form = _FORMS[0] if is_for_programs else preferred_form(accept)
    return Response(fault.status, [("Content-Type", form), *headers], _body(form, fault))


def sse_error_event(fault: Fault, path: str) -> bytes:
    """For a stream that has begun: the SDKs raise when they meet it. It ends the stream; no `[DONE]` is part of it."""
    if is_anthropic(path):
        return b"event: error\ndata: " + _encode(_anthropic(fault)) + b"\n\n"
    return b"data: " + _encode(_envelope(fault)) + b"\n\n"


def preferred_form(accept: str) -> str:
    """The media type for an error, by the q-values of an Accept header. JSON unless another one is more welcome."""
    ranges = _ranges(accept)
    if not ranges:
        return _FORMS[0]
    return max(_FORMS, key=lambda form: _welcome(form, ranges))


def _ranges(accept: str) -> List[Tuple[str, float]]:
    ranges = []
    for item in accept.lower().split(","):
        media, *parameters = [part.strip() for part in item.split(";")]
        if "/" in media:
            ranges.append((media, next((_weight(each[2:]) for each in parameters if each.startswith("q=")), 1.0)))
    return ranges


def _weight(text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        return 0.0
    return weight if 0.0 <= weight <= 1.0 else 0.0


def _welcome(form: str, ranges: List[Tuple[str, float]]) -> float:
    """The weight of the most specific range that includes the form."""
    for wanted in (form, form.partition("/")[0] + "/*", "*/*"):
        weights = [weight for media, weight in ranges if media == wanted]
        if weights:
            return max(weights)
    return 0.0


def _headers(fault: Fault) -> Fields:
    headers = [("X-Content-Type-Options", "nosniff"), *fault.headers]
    if fault.retry_after is not None:
        headers.append(("Retry-After", str(max(1, math.ceil(fault.retry_after)))))
    return headers


def _body(form: str, fault: Fault) -> bytes:
    if form == "text/plain":
        return f"{SOURCE}: {fault.message}".encode("utf-8", "replace")
    if form == "text/html":
        page = f"<html><body><h1>{SOURCE}</h1><p>{escape(fault.message)}</p></body></html>"
        return page.encode("utf-8", "replace")
    return _encode(_envelope(fault))


def _envelope(fault: Fault) -> Dict[str, Any]:
    kind, code = _kind(fault.status)
    # A fault that only overrides its status means that status, not the code of its class.
    if fault.code != type(fault).code or fault.status == type(fault).status:
        code = fault.code
    return {"src": SOURCE, "error": {"message": fault.message, "type": kind, "param": None, "code": code}}


def _kind(status: int) -> Tuple[str, str]:
    if status in _KINDS:
        return _KINDS[status]
    return ("invalid_request_error", "invalid_request") if 400 <= status < 500 else ("server_error", "internal_error")


def _anthropic(fault: Fault) -> Dict[str, Any]:
    usual = "invalid_request_error" if fault.status < 500 else "api_error"
    return {"type": "error", "error": {"type": _ANTHROPIC_TYPES.get(fault.status, usual), "message": fault.message}}


def _encode(value: Dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).translate(_NO_MARKUP).encode("utf-8", "replace")
