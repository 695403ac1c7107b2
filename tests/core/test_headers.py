"""The multi-dict, and what passes through a proxy."""
from __future__ import annotations

import pytest

from llamaswap.core.headers import Headers, forwarded, returned


def names(fields):
    return [name for name, _ in fields]


def test_lookup_ignores_case_and_keeps_order_and_repeats():
    headers = Headers([("A", "1"), ("b", "2"), ("a", "3")])
    assert headers.get("a") == "1" and headers.get("x") is None and headers.get("x", "y") == "y"
    assert headers.get_all("a") == ["1", "3"] and headers.get_all("b") == ["2"] and headers.get_all("x") == []
    assert "b" in headers and "x" not in headers and len(headers) == 3 and headers.has_repeats()
    assert list(headers) == [("A", "1"), ("b", "2"), ("a", "3")] == headers.fields
    assert sorted(headers.names()) == ["a", "b"]
    assert headers.without({"b"}) == [("A", "1"), ("a", "3")]
    assert repr(Headers([("A", "1")])) == "Headers([('A', '1')])"


def test_tokens_over_lists_and_lines():
    headers = Headers([("Connection", "Keep-Alive, ,\tUpgrade "), ("connection", "X")])
    assert headers.tokens("connection") == ["keep-alive", "upgrade", "x"]
    assert headers.tokens("te") == []


def test_forwarding_to_a_model_server():
    headers = Headers([("Host", "me"), ("Connection", "close, X-Hop"), ("X-Hop", "1"), ("Content-Length", "5"),
                       ("Expect", "100-continue"), ("Authorization", "k"), ("Proxy-Authorization", "p"), ("TE", "gzip"),
                       ("X-Forwarded-For", "1.1.1.1"), ("X-Forwarded-For", "2.2.2.2"), ("Cookie", "c"), ("Trailer",
                                                                                                         "T"),
                       ("Keep-Alive", "1"), ("Transfer-Encoding", "chunked"), ("Upgrade", "h2c"), ("Forwarded", "f")])
    assert forwarded(headers, "3.3.3.3", drop=("authorization",)) == [
        ("Host", "me"), ("Cookie", "c"), ("Forwarded", "f"), ("X-Forwarded-For", "1.1.1.1, 2.2.2.2, 3.3.3.3")]


def test_forwarding_to_a_peer_tells_it_nothing_about_us():
    headers = Headers([("Host", "me"), ("X-Forwarded-For", "1.1.1.1"), ("X-Forwarded-Host", "h"), ("Forwarded", "f"),
                       ("X-Forwarded-Proto", "http"), ("Origin", "o"), ("User-Agent", "u")])
    assert names(forwarded(headers, "3.3.3.3", to_peer=True)) == ["Origin", "User-Agent"]


@pytest.mark.parametrize("sent, seen", [
    (["gzip, deflate"], ["gzip, deflate"]), (["GZIP;q=0.5,identity"], ["GZIP;q=0.5,identity"]),
    (["gzip, deflate, br, zstd"], ["gzip, deflate"]), (["br;q=1", "gzip;q=0.2 , zstd"], ["gzip;q=0.2"]),
    (["br"], ["identity"]), (["*"], ["identity"]), ([""], ["identity"]), ([], [])])
def test_an_answer_that_is_read_comes_in_a_coding_that_can_be(sent, seen):
    headers = Headers([("accept-encoding", value) for value in sent] + [("A", "1")])
    for to_peer in (False, True):
        assert Headers(forwarded(headers, "", is_read=True, to_peer=to_peer)).get_all("accept-encoding") == seen
    assert Headers(forwarded(headers, "")).get_all("accept-encoding") == sent
    plain = forwarded(headers, "", is_read=True, is_plain=True)
    assert Headers(plain).get_all("accept-encoding") == (["identity"] if sent else [])


def test_an_upgrade_passes_when_it_is_one():
    headers = Headers([("Host", "me"), ("Connection", "keep-alive, Upgrade"), ("Upgrade", "websocket"), ("TE",
                                                                                                         "trailers")])
    assert forwarded(headers, "", upgrade=True)[-3:] == [
        ("TE", "trailers"), ("Connection", "Upgrade"), ("Upgrade", "websocket")]
    assert "Upgrade" not in names(forwarded(headers, ""))


def test_a_client_cannot_have_essentials_dropped():
    headers = Headers([("Host", "me"), ("Connection", "host, content-type, x"), ("Content-Type", "t"), ("X", "1")])
    assert names(forwarded(headers, "192.0.2.1", to_peer=False)) == ["Host", "Content-Type", "X-Forwarded-For"]


def test_a_client_without_an_address_adds_none():
    assert names(forwarded(Headers([("A", "1")]), "")) == ["A"]
    named = Headers([("X-Forwarded-For", "192.0.2.1"), ("X-Forwarded-For", "192.0.2.2")])
    assert forwarded(named, "") == [("X-Forwarded-For", "192.0.2.1, 192.0.2.2")]
    assert forwarded(named, "192.0.2.3") == [("X-Forwarded-For", "192.0.2.1, 192.0.2.2, 192.0.2.3")]


def test_what_goes_back_to_the_client():
    headers = Headers([("Server", "s"), ("Connection", "X-Hop"), ("X-Hop", "1"), ("Content-Length", "5"),
                       ("Set-Cookie", "a"),
                       ("Set-Cookie", "b"), ("Transfer-Encoding", "chunked"), ("Trailer", "T"), ("Keep-Alive", "x")])
    assert returned(headers) == [("Server", "s"), ("Set-Cookie", "a"), ("Set-Cookie", "b"), ("Trailer", "T")]
