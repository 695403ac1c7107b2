"""Few at a time, first come first served."""
from __future__ import annotations

import threading

from llamaswap.runtime import turnstile as turnstile_module
from llamaswap.runtime.turnstile import Turnstile
from tests.http1.rig import nothing_leaks, wait_until


def queue_up(stile, count, came, release):
    """Threads that stand in line, one behind the other."""
    def go(number):
        assert stile.enter()
        came.append(number)
        assert release.acquire(timeout=10)
        stile.leave()
    threads = []
    for number in range(count):
        threads.append(threading.Thread(target=go, args=(number,)))
        threads[-1].start()
        assert wait_until(lambda number=number: len(came) + len(stile._waiting) == number + 1)
    return threads


def test_only_so_many_are_inside_and_the_others_keep_their_order():
    came, release = [], threading.Semaphore(0)
    with nothing_leaks():
        stile = Turnstile(3, 3)
        threads = queue_up(stile, 10, came, release)
        assert came == [0, 1, 2]
        for gone in range(10):
            release.release()
            assert wait_until(lambda gone=gone: len(came) == min(10, gone + 4))
        for thread in threads:
            thread.join(10)
        assert came == list(range(10))
        assert repr(stile) == "Turnstile(0 inside, 0 waiting)"


def test_a_crowd_is_thinned_out_and_then_everybody_may_come_again():
    came, release = [], threading.Semaphore(0)
    with nothing_leaks():
        stile = Turnstile(4, 2)
        threads = queue_up(stile, 6, came, release)
        assert came == [0, 1, 2, 3], "nobody waits before there is a crowd"
        for left in (3, 2):
            release.release()
            assert wait_until(lambda left=left: repr(stile) == f"Turnstile({left} inside, 2 waiting)")
        release.release()
        assert wait_until(lambda: len(came) == 5 and repr(stile) == "Turnstile(2 inside, 1 waiting)")
        release.release()
        assert wait_until(lambda: came == [0, 1, 2, 3, 4, 5])
        assert stile.enter() and stile.enter() and repr(stile) == "Turnstile(4 inside, 0 waiting)"
        stile.leave()
        stile.leave()
        for _ in range(2):
            release.release()
        for thread in threads:
            thread.join(10)
        assert repr(stile) == "Turnstile(0 inside, 0 waiting)"


def test_nobody_overtakes_those_who_wait():
    came, release = [], threading.Semaphore(0)
    stile = Turnstile(1, 1)
    assert stile.enter()
    threads = queue_up(stile, 1, came, release)
    stile.leave()
    assert repr(stile).startswith("Turnstile(1 inside"), "the place was handed on, nobody who comes now finds it"
    release.release()
    threads[0].join(10)
    assert came == [0]


def test_patience_ends(monkeypatch):
    monkeypatch.setattr(turnstile_module, "PATIENCE", 0.02)
    stile = Turnstile(1, 1)
    assert stile.enter()
    assert stile.enter() is False
    stile.leave()
    assert repr(stile) == "Turnstile(0 inside, 0 waiting)", "who gave up has nothing to leave and waits no more"


def test_a_crowd_loses_no_place(monkeypatch):
    monkeypatch.setattr(turnstile_module, "PATIENCE", 0.0005)      # a few give up, some in the moment they are called
    stile = Turnstile(2, 2)
    inside, most, lock = [0], [0], threading.Lock()

    def go():
        for _ in range(200):
            if stile.enter():
                with lock:
                    inside[0] += 1
                    most[0] = max(most[0], inside[0])
                with lock:
                    inside[0] -= 1
                stile.leave()
    with nothing_leaks():
        threads = [threading.Thread(target=go) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert most[0] <= 2
    assert repr(stile) == "Turnstile(0 inside, 0 waiting)"
