"""Replacing a value that others read."""
from __future__ import annotations

import threading

import pytest

from llamaswap.runtime.current import Current
from llamaswap.runtime.threads import spawn


def test_it_is_read_by_calling_and_replaced_as_a_whole():
    current = Current((1,))
    assert current() == (1,) and current.replace(lambda value: (*value, 2)) == (1,) and current() == (1, 2)
    assert repr(current) == "Current((1, 2))"


def test_a_change_that_fails_changes_nothing():
    current = Current("a")
    with pytest.raises(KeyError):
        current.replace(lambda value: {}[value])
    assert current() == "a" and current.replace(str.upper) == "a" and current() == "A"


def test_no_change_is_lost():
    current = Current(0)

    def add() -> None:
        for _ in range(500):
            current.replace(lambda value: value + 1)

    threads = [spawn("add", add) for _ in range(4)]
    for thread in threads:
        thread.join(20)
    assert current() == 2000 and threading.active_count() < 50
