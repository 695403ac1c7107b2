"""Answers of our own."""
from __future__ import annotations

import pytest

from llamaswap.web.replies import json_response, now_epoch, text_response
from tests.support.asked import header


def test_json():
    response = json_response({"é": [1, None]}, 201)
    assert (response.status, response.body) == (201, '{"é": [1, null]}\n'.encode())
    assert header(response, "Content-Type") == "application/json"


def test_what_is_no_json_fails_loudly():
    with pytest.raises(ValueError, match="Out of range"):
        json_response(float("nan"))


def test_text():
    response = text_response("OK\ud800")
    assert response.body == b"OK?" and header(response, "Content-Type") == "text/plain; charset=utf-8"


def test_now():
    assert isinstance(now_epoch(), int) and now_epoch() > 1_700_000_000
