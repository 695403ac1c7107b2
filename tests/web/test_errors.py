"""Faults on the wire: the form the client can read, the envelope it expects."""
from __future__ import annotations

import json
from typing import Any, Optional

import pytest

from llamaswap.core.faults import ClientFault, ConfigFault, Fault, Refused, UpstreamFault
from llamaswap.core.headers import Headers
from llamaswap.core.messages import Request, Response
from llamaswap.web.errors import fault_response, preferred_form, sse_error_event
from tests.support.asked import asked

FAULT = ClientFault("no router for <x> & \"y\"", status=404, code="model_not_found")


def answer(fault: Fault, *accept: str, path: str = "/v1/chat/completions") -> Response:
    headers = Headers([("Accept", value) for value in accept])
    return fault_response(Request("POST", path, path, "", (1, 1), headers, body=None), fault)  # type: ignore[arg-type]


def header(response: Response, name: str) -> Optional[str]:
    return dict(response.headers).get(name)


def loaded(response: Response) -> Any:
    assert isinstance(response.body, bytes)
    return json.loads(response.body)


def test_the_envelope() -> None:
    response = answer(FAULT)
    assert response.status == 404 and header(response, "Content-Type") == "application/json"
    assert response.body == (b'{"src":"llama-swap","error":{"message":"no router for \\u003cx\\u003e \\u0026 \\"y\\"",'
                             b'"type":"invalid_request_error","param":null,"code":"model_not_found"}}')
    assert header(response, "X-Content-Type-Options") == "nosniff"


@pytest.mark.parametrize("fault, kind, code", [
    (ClientFault("x"), "invalid_request_error", "bad_request"),
    (ClientFault("x", status=401), "authentication_error", "unauthorized"),
    (ClientFault("x", status=403), "authentication_error", "forbidden"),
    (ClientFault("x", status=404), "invalid_request_error", "not_found"),
    (ClientFault("x", status=409), "invalid_request_error", "conflict"),
    (ClientFault("x", status=413), "invalid_request_error", "invalid_request"),
    (Refused("x", status=429), "rate_limit_error", "rate_limit_exceeded"),
    (Refused("x", status=429, code="concurrency_limit"), "rate_limit_error", "concurrency_limit"),
    (UpstreamFault("x"), "server_error", "bad_gateway"),
    (UpstreamFault("x", code="model_start_failed"), "server_error", "model_start_failed"),
    (Refused("x"), "server_error", "service_unavailable"),
    (UpstreamFault("x", status=504), "server_error", "gateway_timeout"),
    (ConfigFault("x"), "server_error", "configuration"),
    (UpstreamFault("x", status=507), "server_error", "internal_error"),
])
def test_types_and_codes(fault: Fault, kind: str, code: str) -> None:
    error = loaded(answer(fault))["error"]
    assert (error["type"], error["code"]) == (kind, code)


@pytest.mark.parametrize("accept, form", [
    ("", "application/json"), ("*/*", "application/json"), ("application/json, text/plain, */*", "application/json"),
    ("text/plain", "text/plain"), ("Text/Plain; charset=utf-8", "text/plain"),
    ("text/plain, application/json", "application/json"),
    ("text/plain, application/json;q=0.9", "text/plain"), ("text/*", "text/plain"), ("text/html", "text/html"),
    ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "text/html"),
    ("text/html;q=0.5, text/plain;q=0.6, */*;q=0.1", "text/plain"), ("application/json;q=0, */*", "text/plain"),
    ("image/png", "application/json"), ("text/plain;q=high", "application/json"),
    ("text/plain;q=2", "application/json"),
    ("*", "application/json"), (",,;q=1", "application/json"),
    ("text/plain;q=0.2, text/plain;q=0.9, text/html;q=0.5", "text/plain"),
    ("text/event-stream", "application/json")])
def test_preferred_form(accept: str, form: str) -> None:
    assert preferred_form(accept) == form


def test_plain_text() -> None:
    response = answer(FAULT, "text/plain")
    assert header(response, "Content-Type") == "text/plain"
    assert response.body == b'llama-swap: no router for <x> & "y"'


def test_a_page_is_escaped() -> None:
    response = answer(FAULT, "text/html", "image/webp")
    assert header(response, "Content-Type") == "text/html"
    assert response.body == (b"<html><body><h1>llama-swap</h1>"
                             b"<p>no router for &lt;x&gt; &amp; &quot;y&quot;</p></body></html>")


def test_too_many_requests_is_json_whatever_is_accepted() -> None:
    response = answer(Refused("Too many requests", status=429, code="concurrency_limit", retry_after=1), "text/html")
    assert loaded(response)["error"]["code"] == "concurrency_limit" and header(response, "Retry-After") == "1"


@pytest.mark.parametrize("seconds, value", [(None, None), (0, "1"), (0.2, "1"), (2.1, "3")])
def test_retry_after_is_whole_seconds(seconds: Optional[float], value: Optional[str]) -> None:
    assert header(answer(Refused("x", retry_after=seconds)), "Retry-After") == value


def test_a_missing_key_asks_for_one() -> None:
    assert header(answer(ClientFault("x", status=401)), "WWW-Authenticate") == 'Basic realm="llama-swap"'
    assert header(answer(FAULT), "WWW-Authenticate") is None


@pytest.mark.parametrize("path", ["/v1/messages", "/v/messages", "/v1/messages/count_tokens"])
def test_anthropic_routes_have_their_own_shape(path: str) -> None:
    response = answer(FAULT, "text/html", path=path)
    assert header(response, "Content-Type") == "application/json"
    assert loaded(response) == {"type": "error", "error": {"type": "not_found_error", "message": FAULT.message}}


@pytest.mark.parametrize("status, kind", [
    (400, "invalid_request_error"), (401, "authentication_error"), (403, "permission_error"),
    (409, "invalid_request_error"),
    (413, "request_too_large"), (429, "rate_limit_error"), (500, "api_error"), (502, "api_error"),
    (503, "overloaded_error"),
    (504, "timeout_error")])
def test_anthropic_types(status: int, kind: str) -> None:
    assert loaded(answer(Fault("x", status=status), path="/v1/messages"))["error"]["type"] == kind


@pytest.mark.parametrize("accept", ["text/plain", "text/html,*/*;q=0.8"])
def test_management_is_answered_in_json(accept: str) -> None:
    response = fault_response(asked("GET", "/api/captures/7", headers={"Accept": accept}), ClientFault("gone"))
    assert header(response, "Content-Type") == "application/json" and loaded(response)["error"]["message"] == "gone"


def test_without_a_request() -> None:
    assert loaded(fault_response(None, ClientFault("bad head")))["error"]["message"] == "bad head"


def test_what_is_no_unicode_can_still_be_sent() -> None:
    for accept in ("", "text/plain", "text/html"):
        body = answer(ClientFault("ü\ud800\u2028"), accept).body
        assert isinstance(body, bytes) and "ü".encode() in body


def test_events_for_a_stream_that_has_begun() -> None:
    event = sse_error_event(UpstreamFault("gone\n\n"), "/v1/chat/completions")
    assert event.startswith(b'data: {"src":"llama-swap","error":{"message":"gone\\n\\n"') and event.endswith(b"}}\n\n")
    assert sse_error_event(UpstreamFault("gone"), "/v1/messages") == (
        b'event: error\ndata: {"type":"error","error":{"type":"api_error","message":"gone"}}\n\n')


def test_our_own_pages_are_not_interrupted_by_the_browser():
    fault = ClientFault("unauthorized", status=401, code="unauthorized")
    asked_by_page = asked("GET", "/running", headers={"X-Requested-With": "llamaswap"})
    assert "WWW-Authenticate" not in dict(fault_response(asked_by_page, fault).headers)
    assert "WWW-Authenticate" in dict(fault_response(asked("GET", "/running"), fault).headers)
