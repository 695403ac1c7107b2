"""One socket: progress timeouts, aborts from elsewhere, descriptors that are closed once."""
from __future__ import annotations

import socket
import ssl
import threading
import time

import pytest

from llamaswap.runtime import wire as wire_module
from llamaswap.runtime.wire import STALLED, Wire
from tests.http1.rig import nothing_leaks, wait_until
from tests.support.certificate import make_certificate


@pytest.fixture
def ends():
    with nothing_leaks():
        listener = socket.create_server(("127.0.0.1", 0))
        far = socket.create_connection(listener.getsockname())
        near, _ = listener.accept()
        listener.close()
        wire = Wire(near, recv_timeout=0.1, send_timeout=0.2)
        yield wire, far
        wire.close()
        far.close()


def test_a_silent_other_side_stalls_the_read(ends):
    wire, far = ends
    with pytest.raises(STALLED):
        wire.recv(10)
    wire.set_recv_timeout(5)
    far.sendall(b"hello")
    assert wire.recv(10) == b"hello" and not wire.is_readable()
    far.sendall(b"x")
    far.close()
    assert wire.recv(10) == b"x" and wire.recv(10) == b"" and wire.is_readable()


@pytest.mark.parametrize("has_ctypes", [True, False])
def test_readable_means_bytes_an_end_or_an_error(has_ctypes, monkeypatch):
    if not has_ctypes:
        monkeypatch.setattr(wire_module, "_poll", None)
    near, far = socket.socketpair()
    probe = wire_module.make_probe(near.fileno())
    assert not probe() and not probe()
    far.send(b"x")
    assert probe() and probe(), "asking takes nothing away"
    near.recv(1)
    assert not probe()
    far.close()
    assert probe()
    near.close()
    assert probe(), "a descriptor that is none is not one to wait for"


def test_what_tls_says_to_itself_is_nothing_to_read(tmp_path):
    certificate = make_certificate(tmp_path)
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(certificate.cert, certificate.key)
    client_side = ssl.create_default_context(cafile=str(certificate.cert))
    secured = []
    with nothing_leaks():
        near, far = socket.socketpair()
        far.settimeout(5)
        thread = threading.Thread(target=lambda: secured.append(server_side.wrap_socket(far, server_side=True)))
        thread.start()
        wire = Wire(client_side.wrap_socket(near, server_hostname="localhost"), recv_timeout=5, send_timeout=5)
        thread.join(5)
        assert wire.sock.version() != "TLSv1.3" or wire_module.make_probe(wire.fd)(), "a session ticket waits"
        assert not wire.is_readable()
        secured[0].send(b"hello, world")
        assert wait_until(wire.is_readable) and wire.is_readable()
        buffer = bytearray(3)
        assert wire.recv(4) == b"hell" and wire.recv_into(memoryview(buffer)) == 3 and buffer == b"o, "
        assert wire.is_readable() and wire.recv(99) == b"world" and not wire.is_readable()
        secured[0].close()
        assert wait_until(wire.is_readable) and wire.recv(99) == b""
        wire.close()


def test_filling_a_buffer_waits_for_all_of_it(ends):
    wire, far = ends
    wire.set_recv_timeout(5)
    threading.Timer(0.05, far.sendall, (b"world",)).start()
    far.sendall(b"hello")
    buffer = bytearray(10)
    assert wire.recv_into(memoryview(buffer)) == 10 and buffer == b"helloworld"


def test_a_reader_that_is_slow_but_moves_is_not_cut(ends):
    """sendall with the same timeout would be: its timeout is for the whole."""
    wire, far = ends
    data = bytes(range(256)) * 40_000
    received = []

    def drain():
        left = len(data)
        while left:
            received.append(far.recv(min(left, 400_000)))
            left -= len(received[-1])
            time.sleep(0.02)
    reader = threading.Thread(target=drain)
    reader.start()
    started = time.monotonic()
    wire.send(data)
    reader.join(20)
    assert b"".join(received) == data
    assert time.monotonic() - started > 0.2


def test_a_reader_that_does_not_move_is_a_stall(ends):
    wire, far = ends
    with pytest.raises(STALLED):
        for _ in range(1000):
            wire.send(b"x" * 100_000)


@pytest.mark.parametrize("size", [0, 10, 40_000, 5_000_000])
def test_two_parts_arrive_in_order(ends, size):
    wire, far = ends
    body = bytes(range(256)) * (size // 256 + 1)
    sender = threading.Thread(target=wire.send_both, args=(b"head",
                                                           memoryview(body)[:size] if size > 40_000 else body[:size]))
    sender.start()
    got = b""
    while len(got) < size + 4:
        got += far.recv(1 << 20)
    sender.join(5)
    assert got == b"head" + body[:size]


def test_an_abort_wakes_a_reader_at_once(ends):
    wire, far = ends
    wire.set_recv_timeout(0)
    threading.Timer(0.05, wire.abort).start()
    started = time.monotonic()
    assert wire.recv(10) == b"" and wire.is_aborted
    assert time.monotonic() - started < 5
    with pytest.raises(OSError):
        wire.send(b"x")
        wire.send(b"x")


def test_what_has_arrived_is_read_before_the_end(ends):
    wire, far = ends
    far.sendall(b"hello")
    time.sleep(0.05)
    wire.stop_reading(unless_readable=True)
    assert not wire.has_stopped_reading
    wire.stop_reading()
    assert wire.recv(10) == b"hello" and wire.recv(10) == b"" and wire.has_stopped_reading
    wire.send(b"answer")
    assert far.recv(10) == b"answer"


def test_closing_twice_and_aborting_a_closed_one_touch_nobody_else(ends):
    wire, far = ends
    wire.close()
    replacement = socket.socketpair()
    wire.close()
    wire.abort()
    wire.stop_reading()
    replacement[0].send(b"x")
    assert replacement[1].recv(1) == b"x"
    for sock in replacement:
        sock.close()
    assert repr(wire).endswith("aborted)")


def test_a_reset_is_not_an_end(ends):
    wire, far = ends
    wire.close(reset=True)
    with pytest.raises(ConnectionResetError):
        far.recv(10)
