"""When a peer may be asked again."""
from __future__ import annotations

import pytest

from llamaswap.runtime.breaker import Breakers


class Rig:
    def __init__(self):
        self.now = 100.0
        self.breakers = Breakers(lambda: self.now)

    def fail(self, times=1, address="far"):
        for _ in range(times):
            self.breakers.failed(address)

    def attempt(self, address="far"):
        return self.breakers.attempt(address)


@pytest.fixture
def rig():
    return Rig()


def test_two_failures_keep_nobody_out(rig):
    rig.fail(2)
    assert rig.attempt() == rig.attempt() == 0.0
    rig.breakers.succeeded("far")
    rig.fail(2)
    assert rig.attempt() == 0.0


def test_the_third_does(rig):
    rig.fail(3)
    assert rig.attempt() == 1.0 and rig.attempt("other") == 0.0 and "far" in repr(rig.breakers)
    rig.now += 0.75
    assert rig.attempt() == 0.25


def test_pauses_grow_up_to_half_a_minute_and_one_request_tries_in_each(rig):
    rig.fail(3)
    pauses = []
    for _ in range(7):
        pauses.append(rig.attempt())
        rig.now += pauses[-1]
        assert rig.attempt() == 0.0 and rig.attempt() == pauses[-1]
        rig.fail()
    assert pauses == [1, 2, 4, 8, 16, 30, 30]


def test_failures_of_one_moment_count_once(rig):
    rig.fail(20)
    assert rig.attempt() == 1.0


def test_one_that_never_says_how_it_went_keeps_others_out_for_one_pause(rig):
    rig.fail(3)
    rig.now += 1
    assert (rig.attempt(), rig.attempt()) == (0.0, 1.0)
    rig.now += 1
    assert rig.attempt() == 0.0


def test_a_success_ends_it(rig):
    rig.fail(3)
    rig.now += 1
    assert rig.attempt() == 0.0
    rig.breakers.succeeded("far")
    assert rig.attempt() == rig.attempt() == 0.0
    rig.breakers.succeeded("never heard of")
    rig.fail(2)
    assert rig.attempt() == 0.0
