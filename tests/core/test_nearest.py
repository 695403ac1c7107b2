"""Suggestions are close, few and cheap."""
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamaswap.core.nearest import distance, nearest


@pytest.mark.parametrize(("left", "right", "edits"), [
    ("", "", 0), ("a", "", 1), ("abc", "abc", 0), ("abc", "acb", 1), ("abc", "abd", 1), ("kitten", "sitting", 3),
    ("ab", "ba", 1)])
def test_distance(left, right, edits):
    assert distance(left, right, 5) == edits
    assert distance(right, left, 5) == edits


def test_distance_gives_up_early():
    assert distance("aaaaaaaaaa", "bbbbbbbbbb", 2) == 3


def test_best_first_and_no_more_than_asked():
    known = ["cmd", "cmdStop", "cmdstart", "proxy"]
    assert nearest("cmdstop", known) == ["cmdStop"]
    assert nearest("CMDSTOP", known) == ["cmdStop"]
    assert nearest("qwen-7b", ["qwen-8b", "qwen-7b-x", "qwen-9b"], 2) == ["qwen-8b", "qwen-9b"]
    assert nearest("zzz", known) == []
    assert nearest("", ["a"]) == ["a"]
    assert nearest("abcdef", ["x"]) == []


@given(st.text(max_size=8), st.text(max_size=8))
def test_the_limit_changes_nothing_below_it(left, right):
    assert distance(left, right, 3) == min(distance(left, right, 20), 4)
