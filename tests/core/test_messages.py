"""The two values handlers deal in."""
from __future__ import annotations

import pytest

from llamaswap.core.headers import Headers
from llamaswap.core.messages import Request, Response, about


@pytest.mark.parametrize("fields, expected", [
    ([("Connection", "Upgrade"), ("Upgrade", "websocket")], True),
    ([("connection", "keep-alive, UPGRADE"), ("upgrade", "h2c, WebSocket")], True),
    ([("Connection", "keep-alive"), ("Connection", "upgrade"), ("Upgrade", "x"), ("Upgrade", "websocket")], True),
    ([("Upgrade", "websocket")], False),
    ([("Connection", "Upgrade")], False),
    ([("Connection", "Upgrade"), ("Upgrade", "websockets")], False),
])
def test_what_a_websocket_request_is(fields, expected):
    request = Request("GET", "/", "/", "", (1, 1), Headers(fields), body=None)
    assert request.is_websocket is expected


def test_a_request_does_not_print_its_connection():
    request = Request("GET", "/", "/", "", (1, 1), Headers([]), body=None, connection="secret")
    assert "secret" not in repr(request)


def test_a_log_line_about_a_request_names_it():
    request = Request("GET", "/", "/", "", (1, 1), Headers([]), body=None, id="r-1")
    assert about(request) == {"fields": {"request_id": "r-1"}}


def test_answers_do_not_share_their_defaults():
    Response(200).headers.append(("A", "b"))
    assert Response(200).headers == []
