"""A request's body: read when asked for, kept once, left in a known state."""
from __future__ import annotations

import socket
import threading

import pytest

from llamaswap.core.faults import ClientFault
from llamaswap.core.http1 import CHUNKED
from llamaswap.runtime.body import Body
from llamaswap.runtime.wire import Wire
from tests.http1.rig import nothing_leaks


@pytest.fixture
def ends():
    with nothing_leaks():
        near, far = socket.socketpair()
        wire = Wire(near, recv_timeout=5, send_timeout=5)
        yield wire, far
        wire.close()
        far.close()


def body(wire, length, early=b"", timeout=5.0, **options):
    return Body(wire, length, early, timeout=timeout, **options)


def test_a_body_that_came_with_its_head(ends):
    b = body(ends[0], 5, b"helloGET /")
    assert b.leftover == b"GET /" and b.length == 5
    assert b.read_all(5) == b"hello" and b.read_all(1) == b"hello" and list(b.chunks()) == [b"hello"]
    assert b.is_done and b.skip()


def test_no_body(ends):
    b = body(ends[0], 0, b"next")
    assert b.is_done and b.read_all(0) == b"" and list(b.chunks()) == [] and b.leftover == b"next"


@pytest.mark.parametrize("size", [1000, 131_072, 3_000_000])
@pytest.mark.parametrize("early", [0, 10])
def test_a_body_that_arrives(ends, size, early):
    wire, far = ends
    data = bytes(range(251)) * (size // 251 + 1)
    data = data[:size]
    sender = threading.Thread(target=far.sendall, args=(data[early:] + b"next",))
    sender.start()
    b = body(wire, size, data[:early])
    read = b.read_all(size)
    assert type(read) is bytes and read == data and b.is_done
    assert wire.recv(10) == b"next", "not a byte more than announced"
    sender.join(5)


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_chunked_bodies(ends, size):
    wire, far = ends
    raw = b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\nGET /"
    b = body(wire, CHUNKED, raw[:size])
    far.sendall(raw[size:])
    assert b.length is None and b.read_all(11) == b"hello world" and b.is_done
    assert b.leftover == b"GET /"


def test_streaming_yields_what_is_there(ends):
    wire, far = ends
    b = body(wire, 10, b"hello")
    pieces = b.chunks()
    assert next(pieces) == b"hello"
    far.sendall(b"world")
    assert next(pieces) == b"world" and list(pieces) == []


@pytest.mark.parametrize("length, raw", [(20, b""), (CHUNKED, b"14\r\n" + b"x" * 20), (CHUNKED,
                                                                                       b"a\r\n0123456789\r\na\r\n0123456789")])
def test_the_limit(ends, length, raw):
    wire, far = ends
    far.sendall(raw or b"x" * 20)
    with pytest.raises(ClientFault) as caught:
        body(wire, length).read_all(15)
    assert caught.value.status == 413


@pytest.mark.parametrize("length", [100, 200_000, CHUNKED])
@pytest.mark.parametrize("ends_how, status", [("close", 400), ("stall", 408)])
def test_a_body_that_does_not_come(ends, length, ends_how, status):
    wire, far = ends
    far.sendall(b"5\r\nhello")
    if ends_how == "close":
        far.close()
    b = body(wire, length, timeout=0.1)
    with pytest.raises(ClientFault) as caught:
        b.read_all(1 << 20)
    assert caught.value.status == status and not b.skip()


def test_malformed_chunks_are_the_clients_fault_and_final(ends):
    b = body(ends[0], CHUNKED, b"5\r\nhello\r\nzz\r\n")
    with pytest.raises(ClientFault):
        b.read_all(100)
    assert not b.skip()


def test_the_invitation_is_sent_once_and_only_when_needed(ends):
    wire, far = ends
    b = body(wire, 5, expects_continue=True)
    assert not b.may_be_followed and not b.skip()
    far.sendall(b"hello")
    assert b.read_all(5) == b"hello" and b.may_be_followed
    assert far.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert body(wire, 5, b"hello", expects_continue=True).read_all(5) == b"hello"
    far.setblocking(False)
    with pytest.raises(BlockingIOError):
        far.recv(100)


def test_an_unwanted_body_is_skipped_when_it_is_small(ends):
    wire, far = ends
    far.sendall(b"x" * 1000)
    assert body(wire, 1000).skip()
    assert not body(wire, 10_000_000).skip()
    assert not body(wire, CHUNKED).skip(), "nobody knows how large it is"
