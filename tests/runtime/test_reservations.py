"""Which target a request gets, and for how long it counts."""
from __future__ import annotations

import pytest

from llamaswap.core.faults import Refused
from llamaswap.core.lifecycle import State
from llamaswap.core.settings import Selector
from llamaswap.runtime.reservations import Reservations

TARGETS = ("a", "b", "c")


def selector(strategy, **fields):
    return Selector("s", strategy=strategy, targets=TARGETS, **fields)


def cold(name):
    return State.STOPPED


def test_a_choice_counts_until_the_block_is_left():
    reservations = Reservations()
    with reservations.choose(selector("spillover"), cold) as first:
        assert first == "a" and reservations.held("s") == {"a": 1}
        with reservations.choose(selector("spillover"), cold) as second:
            assert second == "b" and reservations.held("s") == {"a": 1, "b": 1}
        with pytest.raises(KeyError), reservations.choose(selector("spillover"), cold):
            raise KeyError
    assert reservations.held("s") == reservations.held("other") == {}
    assert "Reservations(" in repr(reservations)


def test_ties_take_turns():
    reservations = Reservations()
    chosen = []
    for _ in range(4):
        with reservations.choose(selector("spillover", spillover=3), lambda name: State.READY) as name:
            chosen.append(name)
    assert chosen == ["a", "b", "c", "a"]


def test_those_that_refused_are_left_out():
    reservations = Reservations()
    with reservations.choose(selector("spillover"), cold, without=["a"]) as name:
        assert name == "b"


def turns(reservations, *skipped, targets=TARGETS):
    """Who is chosen, one after the other, when those are left out."""
    chosen = []
    for without in skipped:
        with reservations.choose(Selector("s", strategy="spillover", targets=targets, spillover=9),
                                 lambda name: State.READY, without=without) as name:
            chosen.append(name)
    return "".join(chosen)


@pytest.mark.parametrize(("skipped", "chosen"), [
    (["", "b", "", ""], "acab"), (["", "a", "", ""], "abca"), (["", "", "", "ab", ""], "abcca"),
    (["", "c", "c", "c", ""], "ababc"), (["ab", "", "b", "a"], "cacb")])
def test_turns_are_kept_when_some_are_skipped(skipped, chosen):
    assert turns(Reservations(), *skipped) == chosen


def test_turns_are_kept_over_a_reload():
    reservations = Reservations()
    assert turns(reservations, "", "") == "ab"
    assert turns(reservations, "", "", targets=("x", "b", "a")) == "ax"
    assert turns(reservations, "", targets=("y", "z")) == "y", "nobody knows whose turn it is"


def test_warm_and_pin():
    states = {"a": State.STOPPED, "b": State.STARTING, "c": State.READY}
    reservations = Reservations()
    with reservations.choose(selector("warm"), states.get) as name:
        assert name == "c"
    with reservations.choose(selector("pin"), states.get) as name:
        assert name == "a"


def test_nothing_left():
    with pytest.raises(Refused) as refused, \
            Reservations().choose(selector("spillover"), lambda name: State.STOPPING):
        pass
    assert (refused.value.status, refused.value.code) == (503, "no_available_target")
    assert refused.value.retry_after
