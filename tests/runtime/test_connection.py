"""One connection on its own; what a client meets is in test_server and tests/http1."""
from __future__ import annotations

import re
import socket

import pytest

from llamaswap.core.http1 import DEFAULT_LIMITS
from llamaswap.core.messages import Response
from llamaswap.runtime.connection import ClientGone, Connection, DateClock, Service
from llamaswap.runtime.hangup import Hangups
from tests.http1.rig import Talk, fault_response, get, nothing_leaks


@pytest.fixture
def converse():
    """Run a connection in this thread: everything the client says has been said when it starts."""
    with nothing_leaks():
        hangups = Hangups()
        done = []

        def run(raw, handle, *, half_close=True):
            near, far = socket.socketpair()
            with Talk(far) as client:
                client.send(raw)
                if half_close:
                    far.shutdown(socket.SHUT_WR)
                service = Service(handle, fault_response, DEFAULT_LIMITS, hangups, DateClock(),
                                  lambda request, status, sent, seconds: done.append((request.path, status, sent)))
                connection = Connection(service, near, "1.2.3.4")
                connection.run()
                return client.rest()
        run.done = done
        yield run
        hangups.close()


def test_what_asks_the_server_reaches_no_handler(converse):
    def refuse(request):
        raise AssertionError(request.path)
    raw = b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\nCONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n"
    first, _, second = converse(raw + get("/a", method="CONNECT"), refuse).partition(b"HTTP/1.1 405 ")
    assert first.startswith(b"HTTP/1.1 200 OK\r\n") and b"Content-Length: 0\r\n" in first
    assert b"example.com" not in second and second.count(b"method_not_allowed") == 2
    assert [entry[:2] for entry in converse.done] == [("*", 200), ("example.com:443", 405), ("/a", 405)]


def test_requests_are_served_until_the_client_ends(converse):
    answer = converse(get("/a") + get("/b"), lambda request: Response(200, [], request.path.encode()))
    assert answer.count(b"HTTP/1.1 200 OK") == 2 and converse.done == [("/a", 200, 2), ("/b", 200, 2)]


def test_a_handler_sees_the_client(converse):
    seen = []

    def handle(request):
        seen.append((request.client_ip, request.is_tls, request.connection.is_gone(), repr(request.connection)))
        return Response(204)
    answer = converse(get(), handle)
    assert seen[0][:3] == ("1.2.3.4", False, True) and "answering, head not sent" in seen[0][3]
    assert b"204 No Content" in answer and b"Content-Length" not in answer


def test_framing_of_a_handler_is_replaced_by_ours(converse):
    fields = [("Content-Length", "99"), ("Transfer-Encoding", "chunked"), ("Connection", "x"), ("Date", "never"),
              ("X", "1")]
    answer = converse(get(), lambda request: Response(200, fields, b"hello"))
    assert answer.count(b"Content-Length: ") == 1 and b"Content-Length: 5" in answer and b"never" not in answer
    assert b"chunked" not in answer and b"X: 1" in answer


def test_a_handler_that_finds_the_client_gone(converse):
    def handle(request):
        raise ClientGone
    assert converse(get(), handle) == b""
    assert converse.done == [("/", 499, 0)]


def test_a_client_that_left_is_told_nothing(converse):
    assert converse(b"", None) == b"" and converse(b"GET / HTTP/1.1\r\nHo", None) == b""
    assert converse.done == []


def test_the_last_answer_while_draining_says_so(converse):
    def handle(request):
        request.connection.drain()
        return Response(200, [], b"bye")
    answer = converse(get() + get(), handle)
    assert answer.count(b"HTTP/1.1 200") == 1 and b"Connection: close" in answer


def test_a_generator_is_closed_for_head_requests_too(converse):
    closed = []

    def pieces():
        try:
            yield b"x"
        finally:
            closed.append("generator")
    stream = pieces()
    next(stream)
    converse(get(method="HEAD"), lambda request: Response(200, [], stream, lambda: closed.append("response")))
    assert closed == ["generator", "response"]


def test_the_date():
    clock = DateClock()
    assert re.fullmatch(r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", clock.now())
