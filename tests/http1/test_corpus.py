"""The raw corpus against the parser and against a running server with a model server behind it."""
from __future__ import annotations

import pytest

from llamaswap.core.faults import ClientFault
from llamaswap.core.http1 import HeadBuffer, Limits, parse_request
from tests.http1.corpus import INVALID, VALID
from tests.http1.rig import plain, rig


def test_the_corpus_is_large_enough():
    assert len(INVALID) >= 150


@pytest.fixture(scope="module")
def proxy():
    seen = []

    def script(talk, number):
        while True:
            seen.append(talk.request())
            talk.send(plain(b"answered"))
    with rig(script, limits=Limits(head_timeout=0.15, body_timeout=0.15, idle_timeout=5.0)) as built:
        yield built, seen


@pytest.mark.parametrize("name", INVALID)
@pytest.mark.parametrize("size", [0, 1])
def test_invalid_is_refused_and_never_forwarded(proxy, name, size):
    """Whole, and with the first 400 bytes in segments of their own."""
    built, seen = proxy
    before = len(seen)
    raw = INVALID[name]
    with built.talk() as client:
        try:
            for at in range(min(len(raw), 400) if size else 0):
                client.send(raw[at:at + 1])
            client.send(raw[400 if size else 0:])
        except ConnectionError:
            pass  # refused before we had finished
        answer = client.rest()
    assert answer == b"" or answer.startswith(b"HTTP/1.1 4"), answer[:100]
    assert answer.count(b"HTTP/1.1 ") <= 1, "nothing behind a malformed request may be answered"
    assert len(seen) == before


@pytest.mark.parametrize("name", VALID)
@pytest.mark.parametrize("size", [0, 1, 7])
def test_valid_is_forwarded_and_the_connection_goes_on(proxy, name, size):
    built, seen = proxy
    raw, method, target, body = VALID[name]
    keeps_alive = b"HTTP/1.0" not in raw
    with built.talk() as client:
        for at in range(0, len(raw), size or len(raw)):
            client.send(raw[at:at + (size or len(raw))])
        assert client.answer()[::2] == (200, b"answered")
        line, fields, sent_body = seen[-1]
        assert line == f"{method} {target} HTTP/1.1" and sent_body == body
        if keeps_alive:
            client.send(b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n")
            assert client.answer()[0] == 200 and seen[-1][0] == "GET /next HTTP/1.1"
        else:
            assert client.rest() == b""


@pytest.mark.parametrize("name", INVALID)
def test_the_parser_agrees_whatever_the_segmentation(name):
    """A head that is refused in one piece is refused in many, and the other way round."""
    raw = INVALID[name]

    def verdict(size):
        buffer = HeadBuffer(Limits())
        for at in range(0, len(raw), size):
            if buffer.feed(raw[at:at + size]):
                parsed = parse_request(buffer.data, Limits())
                return None if parsed is None else parsed[0].target
        return "incomplete"

    def outcome(size):
        try:
            return verdict(size)
        except ClientFault:
            return "refused"
    expected = outcome(len(raw))
    assert all(outcome(size) == expected for size in (1, 2, 3, 17))
