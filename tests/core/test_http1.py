"""Heads and framing as values. The raw corpus and the comparison with other parsers are in tests/http1."""
from __future__ import annotations

import random
import time

import pytest

from llamaswap.core.faults import ClientFault, UpstreamFault
from llamaswap.core.http1 import (
    CHUNKED,
    UNTIL_CLOSE,
    ChunkReader,
    HeadBuffer,
    Limits,
    chunk,
    parse_request,
    parse_response,
    request_head,
    response_head,
)

LIMITS = Limits()
FAULT = ClientFault("chunks")


def request(raw, limits=LIMITS):
    parsed = parse_request(raw, limits)
    assert parsed is not None
    return parsed[0]


def response(raw, method="GET"):
    parsed = parse_response(raw, method, 65536)
    assert parsed is not None
    return parsed[0]


def test_a_request_head():
    raw = b"POST /a/b%20c?d=e?f HTTP/1.1\r\nHost: x:1\r\nX-Pad: \t v w \t\r\nContent-Length: 5\r\n\r\nhello"
    head, end = parse_request(raw, LIMITS)
    assert raw[end:] == b"hello"
    assert (head.method, head.target, head.path, head.query) == ("POST", "/a/b%20c?d=e?f", "/a/b%20c", "d=e?f")
    assert head.headers.fields == [("Host", "x:1"), ("X-Pad", "v w"), ("Content-Length", "5")]
    assert (head.version, head.length, head.keep_alive, head.expects_continue) == ((1, 1), 5, True, False)


@pytest.mark.parametrize("target, path, query", [
    ("/", "/", ""), ("/?", "/", ""), ("//x", "//x", ""), ("http://h", "/", ""), ("HTTPS://H?q", "/", "q"),
    ("http://h/p?q?r", "/p", "q?r"),
])
def test_targets(target, path, query):
    head = request(f"GET {target} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
    assert (head.path, head.query) == (path, query)


@pytest.mark.parametrize("version, fields, expected", [
    ("1.1", "", True), ("1.1", "Connection: close\r\n", False), ("1.1", "Connection: x, CLOSE\r\n", False),
    ("1.1", "Connection: keep-alive\r\nConnection: close\r\n", False), ("1.0", "", False),
    ("1.0", "Connection: Keep-Alive\r\n", True), ("1.0", "Connection: keep-alive, close\r\n", False),
])
def test_who_keeps_the_connection(version, fields, expected):
    assert request(f"GET / HTTP/{version}\r\nHost: h\r\n{fields}\r\n".encode()).keep_alive is expected


def test_incomplete_heads_are_no_error():
    raw = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
    assert all(parse_request(raw[:end], LIMITS) is None for end in range(len(raw)))


@pytest.mark.parametrize("raw, status", [
    (b"GET /" + b"a" * 200 + b" HTTP/1.1\r\nHost: h\r\n\r\n", 414),
    (b"GET / HTTP/1.1\r\nHost: h\r\n" + b"X: y\r\n" * 10 + b"\r\n", 431),
    (b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"a" * 2000 + b"\r\n\r\n", 431),
    (b"GET / HTTP/1.1\r\nHost: h\r\nExpect: tea\r\n\r\n", 417),
    (b"GET / HTTP/9.9\r\nHost: h\r\n\r\n", 400),
])
def test_limits_have_their_own_status(raw, status):
    with pytest.raises(ClientFault) as caught:
        parse_request(raw, Limits(max_head_bytes=1000, max_target_bytes=100, max_headers=5))
    assert caught.value.status == status


def test_a_refusal_never_quotes_what_was_sent():
    for raw in (b"GET /secret HTTP/1.1\r\nHost: h\r\nAuthorization: secret\x00\r\n\r\n", b"secret\r\n\r\n",
                b"GET /secret HTTP/7\r\n\r\n"):
        with pytest.raises(ClientFault) as caught:
            parse_request(raw, LIMITS)
        assert "secret" not in caught.value.message


def test_a_dripped_head_costs_linear_time():
    raw = b"GET / HTTP/1.1\r\nHost: h\r\n" + b"X: y\r\n" * 8000
    buffer = HeadBuffer(Limits(max_head_bytes=1 << 20))
    started = time.perf_counter()
    for byte in raw:
        assert not buffer.feed(bytes([byte]))
    assert time.perf_counter() - started < 5, "48,000 pieces, each looked at once, take a tenth of a second"


@pytest.mark.parametrize("raw", [b"\x16\x03\x01", b"GET / HTTP/1.1\n", b"GET / HTTP/1.1\r\nX: y\n", b"G\x00",
                                 b"GET /x\r\n",
                                 b"GET / HTTP/1.1\rX"])
def test_what_can_never_become_a_request_is_refused_at_once(raw):
    with pytest.raises(ClientFault):
        HeadBuffer(LIMITS).feed(raw)


@pytest.mark.parametrize("raw", [b"HTTP/1.1 200 OK\nContent-Length: 0\n\n", b"SSH-2.0-OpenSSH_9.2\r\n", b"\x15\x03\x01",
                                 b"HTTP/1.1 200 OK\r\nX: a\x00b", b"HTTP/1.1 200 OK\rX"])
@pytest.mark.parametrize("is_dripped", [False, True])
def test_what_can_never_become_an_answer_is_refused_at_once(raw, is_dripped):
    """It may be all that comes, and nobody would end the wait for more."""
    buffer = HeadBuffer(LIMITS, is_request=False)
    with pytest.raises(UpstreamFault):
        for piece in [raw[at:at + 1] for at in range(len(raw))] if is_dripped else [raw]:
            assert not buffer.feed(piece)
    fine = HeadBuffer(LIMITS, is_request=False)
    assert [fine.feed(b"%c" % byte) for byte in b"HTTP/1.1 200 OK\r\nX: y\r\n\r\n"][-2:] == [False, True]


def test_an_answer_head_that_does_not_end():
    buffer = HeadBuffer(Limits(max_head_bytes=100), is_request=False)
    with pytest.raises(UpstreamFault):
        buffer.feed(b"HTTP/1.1 200 OK\r\nX: " + b"a" * 200)
    with pytest.raises(UpstreamFault):
        parse_response(b"HTTP/1.1 200 OK\r\nX: " + b"a" * 200 + b"\r\n\r\n", "GET", 100)


@pytest.mark.parametrize("raw, method, length, keep_alive", [
    (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "GET", 5, True),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "HEAD", 0, True),
    (b"HTTP/1.1 204 No Content\r\n\r\n", "GET", 0, True),
    (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", "GET", 0, True),
    (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "GET", 0, True),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n", "GET", CHUNKED, True),
    (b"HTTP/1.1 200 OK\r\n\r\n", "GET", UNTIL_CLOSE, False),
    (b"HTTP/1.1 200\r\n\r\n", "GET", UNTIL_CLOSE, False),
    (b"HTTP/1.1 200 \r\n\r\n", "GET", UNTIL_CLOSE, False),
    (b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", "GET", 5, False),
    (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\n", "GET", 5, True),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", "GET", 5, True),
    (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\n", "GET", 5, False),
])
def test_how_an_answer_is_framed(raw, method, length, keep_alive):
    head = response(raw, method)
    assert (head.length, head.keep_alive) == (length, keep_alive)


@pytest.mark.parametrize("raw", [
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
    b"HTTP/1.1 204 OK\r\nContent-Length: x\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"HTTP/1.1 99 Low\r\n\r\n", b"HTTP/1.1 2000 OK\r\n\r\n", b"HTTP/1.1  200 OK\r\n\r\n", b"ICY 200 OK\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX : y\r\n\r\n", b"HTTP/1.1 200 OK\r\nX\r\n\r\n", b"HTTP/1.1 200 O\rK\r\n\r\n",
])
def test_answers_nobody_may_trust(raw):
    with pytest.raises(UpstreamFault):
        parse_response(raw, "GET", 65536)


def read(raw, size, decode=True):
    """(passed on, payload, rest, done) when fed in pieces of `size`."""
    reader, passed, payload = ChunkReader(FAULT), b"", [] if decode else None
    for at in range(0, len(raw), size):
        passed += reader.feed(raw[at:at + size], payload)
        if reader.is_done:
            return passed, b"".join(payload or ()), reader.rest + raw[at + size:], reader
    return passed, b"".join(payload or ()), b"", reader


def test_chunks_in_every_segmentation():
    random_ = random.Random(7)
    pieces = [bytes(random_.randrange(256) for _ in range(random_.choice((1, 2, 15, 16, 300)))) for _ in range(40)]
    raw = b"".join(chunk(piece) for piece in pieces) + b"0;x=\"a b\"\r\nT: 1\r\nU: 2\r\n\r\n"
    for size in (1, 2, 3, 5, 17, 100, 1000, len(raw)):
        for decode in (True, False):
            passed, payload, rest, reader = read(raw + b"next", size, decode)
            assert reader.is_done and passed == raw and rest == b"next"
            assert reader.payload_bytes == sum(map(len, pieces))
            assert not decode or payload == b"".join(pieces)


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_what_was_passed_on_always_ends_where_a_word_can_be_put_in(size):
    raw = chunk(b"hello") + chunk(b"x" * 20) + b"0\r\n\r\n"
    for end in range(len(raw)):
        passed, _, _, reader = read(raw[:end], size)
        if reader.is_done:
            continue
        word = reader.interject(b"ERROR")
        if not word:
            assert passed.endswith(b"0\r\n") or end > len(raw) - 5
            continue
        check = ChunkReader(FAULT)
        payload = []
        check.feed(passed + word, payload)
        assert b"".join(payload).endswith(b"ERROR") and not check.is_done


def test_a_word_longer_than_the_rest_of_its_chunk():
    reader = ChunkReader(FAULT)
    passed = reader.feed(b"8\r\nabcde")
    assert passed + reader.interject(b"12345678") == b"8\r\nabcde123\r\n5\r\n45678\r\n"
    assert reader.interject(b"123") == b"123\r\n"


def test_heads_that_are_written():
    assert request_head("GET", "/x", [("A", "b"), ("C", "")]) == b"GET /x HTTP/1.1\r\nA: b\r\nC: \r\n\r\n"
    assert response_head(200, None, []) == b"HTTP/1.1 200 OK\r\n\r\n"
    assert response_head(299, None, []) == b"HTTP/1.1 299 \r\n\r\n"
    assert response_head(200, "Fine", [("A", "\xfc")]) == b"HTTP/1.1 200 Fine\r\nA: \xfc\r\n\r\n"


@pytest.mark.parametrize("name, value", [("A", "b\r\nC: d"), ("A", "b\n"), ("A", "\r"), ("A\r\nB", "c"), ("A", "b\0"),
                                         ("A", "\u20ac")])
def test_a_field_cannot_break_out(name, value):
    with pytest.raises(ValueError):
        response_head(200, None, [(name, value)])
    with pytest.raises(ValueError):
        request_head("GET", "/ HTTP/1.1\r\nX: y", [])
