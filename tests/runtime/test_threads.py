"""A thread that fails is heard of."""
from __future__ import annotations

import logging
import threading

from llamaswap.runtime.threads import spawn


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
