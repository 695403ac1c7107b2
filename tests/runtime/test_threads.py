"""A thread that fails is heard of."""
from __future__ import annotations

import logging
import threading
import time
import weakref
from functools import partial

import pytest

from llamaswap.runtime import threads
from llamaswap.runtime.threads import Crew, once, spawn
from tests.http1.rig import nothing_leaks, wait_until


def test_runs_named_and_daemonic():
    seen = []
    thread = spawn("pump", lambda *args: seen.append((threading.current_thread().name, args)), 1, 2)
    thread.join(5)
    assert seen == [("pump", (1, 2))]
    assert thread.daemon


def test_a_crash_is_logged_and_a_vital_thread_says_so(caplog):
    crashed = threading.Event()

    def boom():
        raise ValueError("spilt")

    with caplog.at_level(logging.ERROR):
        spawn("vital", boom, on_crash=crashed.set).join(5)
        spawn("other", boom).join(5)
    assert crashed.is_set()
    assert "thread vital ended unexpectedly" in caplog.text
    assert "thread other ended unexpectedly" in caplog.text
    assert "spilt" in caplog.text


def names():
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("oar-")]


def test_a_crew_works_side_by_side_under_its_name_and_leaves_nothing_behind():
    seen, here, release = [], threading.Semaphore(0), threading.Event()

    def row(number):
        seen.append((number, threading.current_thread().name, threading.current_thread().daemon))
        here.release()
        assert release.wait(10)
    with nothing_leaks():
        crew = Crew("oar", linger=0.05)
        for number in range(20):
            crew.start(partial(row, number))
        for _ in range(20):
            assert here.acquire(timeout=10)
        assert sorted(names()) == sorted(f"oar-{number}" for number in range(1, 21))
        assert sorted(number for number, _, _ in seen) == list(range(20))
        assert {name for _, name, _ in seen} == set(names()) and all(is_daemon for _, _, is_daemon in seen)
        release.set()
        assert wait_until(lambda: names() == []), "nobody needs them, so they go"


def test_a_thread_of_a_crew_is_used_again_and_keeps_nothing_of_its_work():
    class Load:
        pass
    with nothing_leaks():
        crew = Crew("oar", linger=30)
        for _ in range(3):
            load = Load()
            gone = weakref.ref(load)
            crew.start(partial(id, load))
            del load
            assert wait_until(lambda: "1 idle" in repr(crew))
            assert gone() is None
            assert names() == ["oar-1"]
        crew.close()
        assert wait_until(lambda: names() == [])


def test_starting_does_not_wait_until_the_thread_runs(monkeypatch):
    started = []
    monkeypatch.setattr(threading.Thread, "_bootstrap", lambda thread: started.append(thread))
    with monkeypatch.context() as patched:
        patched.setattr(threading, "_limbo", {})
        Crew("oar").start(lambda: None)
        assert wait_until(lambda: started), "it never says that it runs, and nobody asked"


def test_work_that_comes_while_a_thread_is_about_to_leave_is_done():
    done = []
    with nothing_leaks():
        crew = Crew("oar", linger=0.001)
        for number in range(300):
            crew.start(partial(done.append, number))
            time.sleep(0.0011)
        assert wait_until(lambda: sorted(done) == list(range(300)))
        crew.close()


def test_a_crew_that_is_closed_still_does_what_it_began():
    release, ended = threading.Event(), threading.Event()

    def row():
        release.wait(10)
        ended.set()
    with nothing_leaks():
        crew = Crew("oar", linger=30)
        crew.start(row)
        crew.close()
        release.set()
        assert ended.wait(10)


def test_a_crash_in_a_crew_is_logged_and_costs_one_thread(caplog):
    def boom():
        raise ValueError("spilt")
    done = threading.Event()
    with nothing_leaks(), caplog.at_level(logging.ERROR):
        crew = Crew("oar", linger=0.05)
        crew.start(boom)
        assert wait_until(lambda: "thread oar-1 ended unexpectedly" in caplog.text)
        assert "spilt" in caplog.text
        crew.start(done.set)
        assert done.wait(10)


def test_a_system_without_threads_says_so(monkeypatch):
    def refuse(*args, **kwargs):
        raise RuntimeError("can't start new thread")
    monkeypatch.setattr(threads.threading.Thread, "start", refuse)
    with pytest.raises(RuntimeError):
        Crew("oar").start(lambda: None)


def test_once_is_once_for_all_who_come_meanwhile():
    calls, together, got = [], threading.Barrier(8), []

    def make():
        calls.append(1)
        time.sleep(0.05)
        if len(calls) == 1:
            raise OSError("not yet")
        return len(calls)
    ask = once(make)

    def come():
        together.wait(10)
        try:
            got.append(ask())
        except OSError:
            got.append(0)
    threads = [spawn(f"asker-{number}", come) for number in range(8)]
    for thread in threads:
        thread.join(10)
    assert sorted(got) == [0, *[2] * 7] and ask() == 2 and len(calls) == 2
