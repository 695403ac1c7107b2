"""Sentences that no script of the scheduler comes by."""
from __future__ import annotations

import pytest

from llamaswap.core import reasons
from llamaswap.core.settings import Model
from llamaswap.core.tickets import Cause, Plan


@pytest.mark.parametrize(("code", "ending"), [
    (None, (None, None)), (0, (0, None)), (3, (3, None)), (-9, (None, 9)), (-15, (None, 15))])
def test_how_a_process_ended(code, ending):
    assert reasons.ending_of(code) == ending


def test_an_exit_in_words():
    assert reasons.exited("", 3) == "exited (exit code 3)"
    assert reasons.exited("never started", None) == "never started"


@pytest.mark.parametrize(("model", "fault"), [
    (Model("m", argv=("x",), proxy="http://h"), ""),
    (Model("m", proxy="http://h"), "cannot start: empty command"),
    (Model("m", argv=("x",), argv_error="a quote too many", proxy="http://h"), "cannot start: a quote too many"),
    (Model("m", argv=("x",)), "cannot start: upstream proxy missing")])
def test_what_never_starts(model, fault):
    assert reasons.never_starts(model) == fault


def test_every_drain_has_a_word():
    assert reasons.DRAINED == {Cause.UNLOADED: "unload", Cause.RELOAD: "configuration changed",
                               Cause.SHUTDOWN: "shutdown"}


def test_a_plan_waits_for_everybody_once():
    assert reasons.plan_of_stopped("x", ("b", "c"), ("b",), ("a",)) == Plan(
        "x", "wait", ("b", "c"), ("a", "b"), "x has to wait for b to finish and for a to stop")
