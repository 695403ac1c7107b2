"""Who has left is told once, who has not is never named."""
from __future__ import annotations

import socket
import threading
import time
from contextlib import contextmanager

import pytest

from llamaswap.runtime.hangup import Hangups, is_hung_up
from tests.http1.rig import nothing_leaks, wait_until

KINDS = [pytest.param(True, id="epoll"), pytest.param(False, id="poll")]


@contextmanager
def hangups(use_epoll):
    import select
    if use_epoll and not hasattr(select, "epoll"):
        pytest.skip("no epoll here")
    with nothing_leaks():
        built = Hangups(use_epoll=use_epoll)
        try:
            yield built
        finally:
            built.close()
            built.close()


def pair():
    listener = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(listener.getsockname())
    server, _ = listener.accept()
    listener.close()
    return client, server


@pytest.mark.parametrize("use_epoll", KINDS)
@pytest.mark.parametrize("how", ["close", "half-close", "reset", "before"])
def test_leaving_is_told_once(use_epoll, how):
    with hangups(use_epoll) as h:
        client, server = pair()
        told = []
        if how == "before":
            client.close()
        with h.watch(server, lambda: told.append(threading.current_thread().name)):
            if how == "half-close":
                client.shutdown(socket.SHUT_WR)
            elif how == "reset":
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            if how != "half-close":
                client.close()
            assert wait_until(lambda: told)
            time.sleep(0.05)
        assert told == ["hangup"]
        assert is_hung_up(server.fileno())
        client.close()
        server.close()


@pytest.mark.parametrize("use_epoll", KINDS)
def test_bytes_are_not_leaving_and_are_not_read(use_epoll):
    with hangups(use_epoll) as h:
        client, server = pair()
        told = []
        with h.watch(server, lambda: told.append(1)):
            client.sendall(b"next request")
            time.sleep(0.1)
            assert not told and not is_hung_up(server.fileno())
        assert server.recv(100) == b"next request"
        with h.watch(server, lambda: told.append(1)):
            time.sleep(0.02)
            client.close()
            assert wait_until(lambda: told)
        server.close()


def test_an_end_behind_pipelined_bytes_is_seen_with_epoll():
    with hangups(True) as h:
        client, server = pair()
        told = []
        with h.watch(server, lambda: told.append(1)):
            client.sendall(b"next request")
            client.close()
            assert wait_until(lambda: told)
        server.close()


@pytest.mark.parametrize("use_epoll", KINDS)
def test_leaving_the_block_ends_the_watch(use_epoll):
    with hangups(use_epoll) as h:
        client, server = pair()
        told = []
        with h.watch(server, lambda: told.append(1)):
            pass
        client.close()
        time.sleep(0.05)
        assert not told
        server.close()


@pytest.mark.parametrize("use_epoll", KINDS)
def test_watches_nest_and_repeat(use_epoll):
    with hangups(use_epoll) as h:
        client, server = pair()
        told = []
        with h.watch(server, lambda: told.append("outer")):
            with h.watch(server, lambda: told.append("inner")):
                pass
            with h.watch(server, lambda: told.append("second")):
                client.close()
                assert wait_until(lambda: sorted(told) == ["outer", "second"])
            with h.watch(server, lambda: told.append("late")):
                assert wait_until(lambda: "late" in told)
        server.close()


@pytest.mark.parametrize("use_epoll", KINDS)
def test_leaving_waits_for_a_callback_that_runs(use_epoll):
    with hangups(use_epoll) as h:
        client, server = pair()
        entered, finished = threading.Event(), []

        def slow():
            entered.set()
            time.sleep(0.1)
            finished.append(1)
        with h.watch(server, slow):
            client.close()
            assert entered.wait(5)
        assert finished == [1]
        server.close()


@pytest.mark.parametrize("use_epoll", KINDS)
def test_a_reused_descriptor_is_not_reported(use_epoll):
    with hangups(use_epoll) as h:
        wrong = []
        for _ in range(200):
            client, server = pair()
            with h.watch(server, lambda: None):
                client.close()
            server.close()
            fresh, other = pair()   # takes the numbers that have just been freed
            with h.watch(other, lambda: wrong.append(1)):
                pass
            with h.watch(fresh, lambda: wrong.append(1)):
                time.sleep(0.0005)
            fresh.close()
            other.close()
        assert not wrong


@pytest.mark.parametrize("use_epoll", KINDS)
def test_many_at_once(use_epoll):
    with hangups(use_epoll) as h:
        pairs = [pair() for _ in range(100)]
        told = []
        watches = [h.watch(server, lambda number=number: told.append(number)) for number, (_,
                                                                                           server) in enumerate(pairs)]
        for watch in watches:
            watch.__enter__()
        for client, _ in pairs[::2]:
            client.close()
        assert wait_until(lambda: len(told) == 50)
        for watch in watches:
            watch.__exit__(None, None, None)
        for client, server in pairs:
            client.close()
            server.close()
        assert sorted(told) == list(range(0, 100, 2))


def test_a_closed_watcher_takes_no_more():
    h = Hangups()
    client, server = pair()
    h.close()
    with h.watch(server, lambda: None):
        client.close()
    server.close()
