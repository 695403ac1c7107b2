"""The table is complete, closed and says no loudly."""
from __future__ import annotations

import itertools

import pytest

from llamaswap.core.lifecycle import LIVE, STAYING, TRANSITIONS, Move, State, next_state


def test_clients_see_four_words():
    assert [state.value for state in State] == ["stopped", "starting", "ready", "stopping"]


def test_every_move_of_the_table_is_made():
    for (state, move), target in TRANSITIONS.items():
        assert next_state(state, move) is target


def test_any_other_move_is_refused_with_both_names():
    for state, move in itertools.product(State, Move):
        if (state, move) not in TRANSITIONS:
            with pytest.raises(AssertionError) as caught:
                next_state(state, move)
            assert repr(state.value) in str(caught.value) and repr(move.value) in str(caught.value)


def test_only_an_exit_ends_a_live_state():
    assert {move for (state, move), target in TRANSITIONS.items()
            if state in LIVE and target not in LIVE} == {Move.EXIT}
    assert all((state, Move.EXIT) in TRANSITIONS for state in LIVE)


def test_only_what_stays_can_be_stopped():
    assert {state for state, move in TRANSITIONS if move is Move.STOP} == STAYING
