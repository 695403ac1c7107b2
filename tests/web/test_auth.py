"""Keys in all their places, and pages of other sites."""
from __future__ import annotations

import base64

import pytest

from llamaswap.core.headers import Headers
from llamaswap.web.auth import Keyring, comes_from_elsewhere, readable_by_pages
from tests.support.asked import asked


def basic(text):
    return "Basic " + base64.b64encode(text.encode()).decode()


def admits(*fields, keys=("good", "k:2", "schlüssel")):
    return Keyring(keys).admits(Headers(list(fields)))


@pytest.mark.parametrize("fields", [
    [("Authorization", "Bearer good")], [("authorization", "bEaReR good")], [("Authorization", basic("u:good"))],
    [("Authorization", basic("u:k:2"))], [("Authorization", basic(":good"))], [("x-api-key", "good")],
    [("Authorization", "Bearer bad"), ("x-api-key", "good")], [("Authorization", "Bearer good"), ("x-api-key", "bad")],
    [("Authorization", "Digest x"), ("x-api-key", "good")], [("Authorization", "Basic !!"), ("x-api-key", "good")],
    [("Authorization", "Bearer bad"), ("Authorization", "Bearer good")],
    [("Authorization", "Bearer " + "schlüssel".encode().decode("latin-1"))],
    [("Authorization", basic("u:schlüssel"))],
])
def test_one_right_key_is_enough(fields):
    assert admits(*fields)


@pytest.mark.parametrize("fields", [
    [], [("Authorization", "Bearer bad")], [("Authorization", "Bearer  good")], [("Authorization", "Bearer")],
    [("Authorization", "good")], [("Authorization", basic("good:"))], [("Authorization", basic("good"))],
    [("Authorization", "Basic")], [("x-api-key", "Good")], [("x-api-key", "")], [("Cookie", "good")],
])
def test_everything_else_is_not(fields):
    assert not admits(*fields)


def test_without_keys_everybody_is_let_in():
    assert admits(keys=()) and not Keyring([]) and Keyring(["a"])
    assert "good" not in repr(Keyring(["good"]))


@pytest.mark.parametrize("fields, is_elsewhere", [
    ({}, False),
    ({"Host": "box:8080", "Origin": "http://box:8080"}, False),
    ({"Host": "BOX:8080", "Origin": "http://box:8080"}, False),
    ({"Host": "box:443", "Origin": "https://box"}, False),
    ({"Host": "inner:8080", "X-Forwarded-Host": "box", "Origin": "https://box"}, False),
    ({"Host": "box:8080", "Origin": "http://evil"}, True),
    ({"Host": "box:8080", "Origin": "http://box:8081"}, True),
    ({"Host": "box:8080", "Origin": "null"}, True),
    ({"Origin": "http://box"}, True),
    ({"Host": "box", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "image"}, True),
    ({"Host": "box", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "document"}, False),
    ({"Host": "box", "Sec-Fetch-Site": "none", "Sec-Fetch-Dest": "document"}, False),
    ({"Host": "box", "Sec-Fetch-Site": "same-origin"}, False),
])
def test_pages_of_other_sites(fields, is_elsewhere):
    assert comes_from_elsewhere(Headers(list(fields.items()))) is is_elsewhere


def test_pages_may_read_answers_without_remembered_credentials():
    fields = dict(readable_by_pages(asked("GET", "/", headers={"Origin": "http://page"})))
    assert fields["Access-Control-Allow-Origin"] == "http://page" and fields["Vary"] == "Origin"
    assert "Access-Control-Allow-Credentials" not in fields
    assert readable_by_pages(asked("GET", "/")) == []
