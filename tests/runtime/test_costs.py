from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from llamaswap.runtime.costs import NOISE_BYTES, UNKNOWN, Cost, Costs, _differs, tree_cost

pytestmark = pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="reads /proc")

FAMILY = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"], start_new_session=True)
print(child.pid, flush=True)
child.wait()
"""


@pytest.fixture
def family():
    """A process, and its child that has left the session."""
    parent = subprocess.Popen([sys.executable, "-S", "-c", FAMILY], stdout=subprocess.PIPE, text=True,
                              start_new_session=True)
    child = int(parent.stdout.readline())
    yield parent.pid, child
    os.kill(child, 9)
    parent.wait(20)
    parent.stdout.close()


def test_the_whole_tree_counts(family):
    parent, child = family
    cost = tree_cost(parent, {parent: {0: 5, 1: 7}, child: {0: 3}, os.getpid(): {0: 1000}})
    assert cost.gpus == {0: 8, 1: 7}
    alone = tree_cost(child, {})
    assert 0 < alone.rss_bytes < cost.rss_bytes
    assert alone.gpus == {}                             # known to be none


def test_unknown_is_not_none_used(family):
    assert tree_cost(family[0], None).gpus is None


def test_a_process_that_is_no_more():
    child = subprocess.Popen(["true"])
    child.wait()
    assert tree_cost(child.pid, {child.pid: {0: 5}}) == UNKNOWN


def test_one_that_has_exited_and_was_not_reaped():
    child = subprocess.Popen(["true"])
    deadline = time.monotonic() + 20
    while tree_cost(child.pid, None) != UNKNOWN:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    child.wait()


def test_costs_of_models(family):
    parent, child = family
    costs = Costs()
    leaders = {"one": parent, "two": child}
    assert costs.of("one") is None
    assert sorted(costs.pids(leaders)) == sorted([parent, child, child])
    assert costs.refresh(leaders, {child: {0: 1 << 30}}) == ["one", "two"]
    assert costs.of("one").gpus == costs.of("two").gpus == {0: 1 << 30}
    assert costs.of("one").rss_bytes > costs.of("two").rss_bytes > 0
    assert costs.refresh(leaders, {child: {0: 1 << 30}}) == []          # nothing worth telling
    assert costs.refresh({"two": child}, {child: {0: 1 << 30}}) == ["one"]
    assert costs.of("one") is None and repr(costs) == "Costs(['two'])"
    assert costs.refresh({}, None) == ["two"] and costs.pids({}) == []


def test_a_model_that_was_started_anew_between_the_look_and_the_sample(family):
    parent, child = family
    costs = Costs()
    costs.pids({"one": parent})
    costs.refresh({"one": child}, {parent: {0: 5}, child: {0: 3}})
    assert costs.of("one").gpus == {0: 3}


@pytest.mark.parametrize("told, now, differs", [
    (None, None, False), (None, UNKNOWN, True), (UNKNOWN, None, True), (UNKNOWN, UNKNOWN, False),
    (Cost(None, 1), Cost({}, 1), True), (Cost({}, 1), Cost({0: 1}, 1), True),
    (Cost({0: 0}, 0), Cost({0: NOISE_BYTES - 1}, NOISE_BYTES - 1), False),
    (Cost({0: 0}, 0), Cost({0: NOISE_BYTES}, 0), True),
    (Cost({}, 0), Cost({}, NOISE_BYTES), True), (Cost({}, None), Cost({}, None), False)])
def test_what_is_worth_telling(told, now, differs):
    assert _differs(told, now) is differs
