"""Keys in all their places, and pages of other sites."""
from __future__ import annotations

import base64

import pytest

from llamaswap.core.headers import Headers
from llamaswap.web.auth import Keyring, Origins, Proxies, comes_from_elsewhere, is_named_like_us
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
    ({"Host": "inner:8080", "Origin": "https://box", "X-Requested-With": "llamaswap"}, False),
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
    fields = dict(Origins(["*"]).fields(asked("GET", "/", headers={"Origin": "http://page"})))
    assert fields["Access-Control-Allow-Origin"] == "http://page" and fields["Vary"] == "Origin"
    assert "Access-Control-Allow-Credentials" not in fields
    assert Origins(["*"]).fields(asked("GET", "/")) == []


@pytest.mark.parametrize("allowed, origin, granted", [
    (["*"], None, "*"), (["*"], "http://page", "*"), (["http://page", "http://b"], "http://page", "http://page"),
    (["http://Page/"], "http://page", "http://page"), (["http://page"], "http://page.evil", None),
    (["http://page"], None, None), ([], "http://page", None), ([], "", None), ([], "null", None),
])
def test_preflights(allowed, origin, granted):
    request = asked("OPTIONS", "/", headers={} if origin is None else {"Origin": origin})
    origins = Origins(allowed)
    fields = dict(origins.preflight(request))
    assert fields.get("Access-Control-Allow-Origin") == granted
    assert (fields == {}) is (granted is None) and (fields.get("Vary") == "Origin") is (granted not in (None, "*"))
    assert bool(origins.fields(request)) is (granted is not None and origin is not None)
    assert "Origins(" in repr(origins)


@pytest.mark.parametrize("host, is_ours", [
    ("127.0.0.1:8080", True), ("[::1]:80", True), ("localhost", True), ("LOCALHOST.:1", True), ("a.localhost", True),
    ("box.local:8080", True), ("box", True), ("box.lan:1", True), ("evil.example", False),
    ("box.evil.example:1", False), ("127.0.0.1.evil.example", False), ("notlocalhost", False), ("local", False),
])
def test_names_that_can_only_mean_this_machine(host, is_ours):
    assert is_named_like_us(Headers([("Host", host)]), lambda: {"box", "box.lan"}) is is_ours


def test_a_client_without_host_is_no_browser():
    assert is_named_like_us(Headers([]), tuple)


# --- proxies in front of us --------------------------------------------------------------------------------------


@pytest.mark.parametrize("fields, seen, left", [
    (["1.2.3.4"], "1.2.3.4", None), (["9.9.9.9, 1.2.3.4"], "1.2.3.4", "9.9.9.9"),
    (["9.9.9.9, 1.2.3.4", "10.0.0.7"], "1.2.3.4", "9.9.9.9"), (["2001:db8::1 , ::1"], "2001:db8::1", None),
    ([], "10.0.0.1", None), (["10.0.0.9"], "10.0.0.1", "10.0.0.9"), (["1.2.3.4, junk"], "10.0.0.1", "1.2.3.4, junk"),
    (["1.2.3.4,"], "10.0.0.1", "1.2.3.4,"), (["evil\n, 10.0.0.2"], "10.0.0.1", "evil\n, 10.0.0.2"),
])
def test_the_client_behind_trusted_proxies(fields, seen, left):
    request = asked("GET", "/")
    request.headers = Headers([("X-Forwarded-For", field) for field in fields])
    proxies = Proxies(["10.0.0.0/8", "::1"])
    proxies.unmask(request)
    assert request.client_ip == seen and request.headers.get("x-forwarded-for") == left
    assert proxies and not Proxies([]) and "10.0.0.0/8" in repr(proxies)


def test_nobody_else_is_believed():
    for socket_address in ("8.8.8.8", ""):
        request = asked("GET", "/", headers={"X-Forwarded-For": "1.2.3.4"})
        request.client_ip = socket_address
        Proxies(["10.0.0.0/8"]).unmask(request)
        assert request.client_ip == socket_address and request.headers.get("x-forwarded-for") == "1.2.3.4"
