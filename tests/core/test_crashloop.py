"""Some failures are free, then the pause doubles, and three things end the count."""
from __future__ import annotations

from llamaswap.core.crashloop import FORGOTTEN_AFTER, FREE_FAILURES, GOOD_RUN_AFTER, LONGEST_PAUSE, CrashLoop


def failed(times: int) -> CrashLoop:
    crashes = CrashLoop()
    for _ in range(times):
        crashes.note("boom", 0.0)
    return crashes


def test_pauses_double_up_to_a_limit():
    crashes = CrashLoop()
    pauses = [crashes.note("boom", 0.0) for _ in range(2000)]
    assert pauses[:9] == [0, 0, 0, 2, 4, 8, 16, 32, LONGEST_PAUSE]
    assert set(pauses[9:]) == {LONGEST_PAUSE}
    assert repr(crashes) == "<CrashLoop failures=2000 last_error='boom'>"


def test_the_pause_runs_out():
    crashes = failed(FREE_FAILURES + 1)
    assert (crashes.pause_left(0.5), crashes.pause_left(2.0), crashes.pause_left(9.0)) == (1.5, 0.0, 0.0)
    assert crashes.refusal("a", 0.5) == "model a failed 4 times in a row and is tried again in 2s; last error: boom"


def test_what_ends_the_count():
    assert failed(FREE_FAILURES).note("x", FORGOTTEN_AFTER + 1) == 0
    assert failed(FREE_FAILURES).note("x", 1, ready_for=GOOD_RUN_AFTER) == 0
    crashes = failed(FREE_FAILURES + 1)
    crashes.forgive()
    assert crashes.pause_left(0.0) == 0
    assert (crashes.note("x", 1), crashes.last_error) == (0, "x")
