"""Load times and failures, from the events of the scheduler."""
from __future__ import annotations

from llamaswap.core.lifecycle import State
from llamaswap.core.tickets import ModelFailed, StateChanged, SwapStarted
from llamaswap.runtime.histories import Histories


class Rig:
    def __init__(self):
        self.now, self.lines = 100.0, "first\nlast"
        self.histories = Histories(self.tail, clock=lambda: self.now, wall=lambda: 5000.0)

    def tail(self, model, n):
        return self.lines

    def load(self, seconds, model="m"):
        self.histories.note(StateChanged(model, 1, State.STOPPED, State.STARTING, "asked for"))
        self.now += seconds
        self.histories.note(StateChanged(model, 1, State.STARTING, State.READY, "ready"))

    def fail(self, **facts):
        self.histories.note(ModelFailed("m", 1, "exit code 1", 1, 0.0, **facts))


def test_the_last_five_loads_are_kept():
    rig = Rig()
    assert rig.histories.of("m").usual_load_seconds() is None
    for seconds in (1, 2, 3, 4, 5, 6):
        rig.load(seconds)
    history = rig.histories.of("m")
    assert list(history.load_seconds) == [2, 3, 4, 5, 6] and history.usual_load_seconds() == 4 and history.loads == 6


def test_a_failure_stays_until_the_model_is_loaded():
    rig = Rig()
    rig.fail(kind="exited", code=None, signal=9)
    found = rig.histories.of("m").failure
    assert (found.kind, found.message, found.code, found.signal) == ("exited", "exit code 1", None, "SIGKILL")
    assert (found.tail, found.at_epoch) == (("first", "last"), 5000.0)
    rig.histories.note(StateChanged("m", 1, State.READY, State.STOPPED, "exited"))
    assert rig.histories.of("m").failure is found
    rig.load(1)
    assert rig.histories.of("m").failure is None


def test_unknown_signals_have_a_number():
    rig = Rig()
    rig.fail(kind="exited", code=None, signal=200)
    assert rig.histories.of("m").failure.signal == "signal 200"


def test_other_events_change_nothing():
    rig = Rig()
    rig.histories.note(SwapStarted("m", ("n",)))
    rig.histories.note(StateChanged("m", 1, State.STARTING, State.READY, "of a life before this one"))
    assert not rig.histories.of("m").load_seconds
