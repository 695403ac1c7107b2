from __future__ import annotations

import os
import time

import pytest

from llamaswap.runtime.gpus import (
    FIRST_REST,
    MAX_REST,
    Family,
    GpuReader,
    GpuStats,
    add_usage,
    number_in,
    pci_address,
    scaled,
    share,
    whole_number_in,
)
from llamaswap.runtime.nvml import Nvml


class FakeSource:
    def __init__(self, name, gpus=0, usage=None):
        self.name, self.gpus, self.held = name, gpus, usage
        self.asked = self.closed = self.aborted = 0

    def read(self):
        self.asked += 1
        return [GpuStats(index, f"{self.name} {index}") for index in range(self.gpus)] or None

    def usage(self, pids):
        return self.held

    def facts(self):
        return []

    def abort(self):
        self.aborted += 1

    def close(self):
        self.closed += 1


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_the_first_that_answers_counts_and_the_others_are_not_asked(clock):
    best, next_best = FakeSource("best", 2), FakeSource("next", 2)
    family = Family([best, next_best], clock=clock)
    assert [gpu.name for gpu in family.read()] == ["best 0", "best 1"]
    assert next_best.asked == 0


def test_another_stands_in_for_one_that_breaks_and_is_replaced_when_it_is_back(clock):
    best, next_best = FakeSource("best", 1), FakeSource("next", 1)
    family = Family([best, next_best], clock=clock)
    best.gpus = 0
    assert family.read()[0].name == "next 0"
    best.gpus = 1
    assert family.read()[0].name == "next 0"        # it rests
    clock.now += FIRST_REST
    assert family.read()[0].name == "best 0"


def test_rests_grow_up_to_a_limit_and_an_answer_ends_them(clock):
    source = FakeSource("only")
    family = Family([source], clock=clock)
    rests = []
    for _ in range(8):
        began = clock.now
        assert family.read() == [] and family.is_resting()
        while family.is_resting():
            clock.now += 1
        rests.append(clock.now - began)
    assert rests[:4] == [15, 30, 60, 120] and rests[-1] == MAX_REST
    source.gpus = 1
    assert len(family.read()) == 1
    source.gpus = 0
    family.read()
    clock.now += FIRST_REST
    assert not family.is_resting()


def test_who_rests_is_not_asked(clock):
    source = FakeSource("only")
    family = Family([source], clock=clock)
    for _ in range(100):
        family.read()
    assert source.asked == 1


def test_gpus_of_two_vendors_have_one_numbering_that_stays(clock):
    first, second = FakeSource("a", 2, usage={7: {1: 70}}), FakeSource("b", 1, usage={7: {0: 700}, 8: {0: 8}})
    reader = GpuReader([Family([first], clock=clock), Family([second], clock=clock)])
    assert [(gpu.id, gpu.name) for gpu in reader.read()] == [(0, "a 0"), (1, "a 1"), (2, "b 0")]
    assert reader.usage([7, 8]) == {7: {1: 70, 2: 700}, 8: {2: 8}}
    first.gpus = 0
    assert [(gpu.id, gpu.name) for gpu in reader.read()] == [(2, "b 0")]
    assert reader.usage([7, 8]) == {7: {2: 700}, 8: {2: 8}}


class PickySource(FakeSource):
    """Of which the first GPUs do not answer."""

    def read(self):
        return super().read()[1:]


def test_numbers_that_are_left_out_are_given_to_nobody_else(clock):
    reader = GpuReader([Family([source], clock=clock) for source in (PickySource("a", 2), FakeSource("b", 1))])
    assert [(gpu.id, gpu.name) for gpu in reader.read()] == [(1, "a 1"), (2, "b 0")]


class BrokenSource(FakeSource):
    def read(self):
        self.asked += 1
        raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "what a driver says")

    facts = read


def test_a_source_that_raises_takes_no_other_along(clock, caplog):
    broken, next_best, other = BrokenSource("a"), FakeSource("next", 1), FakeSource("b", 1)
    reader = GpuReader([Family([broken, next_best], clock=clock), Family([other], clock=clock)])
    for _ in range(3):
        assert [gpu.name for gpu in reader.read()] == ["next 0", "b 0"]
    assert broken.asked == 1 and caplog.text.count("a cannot be used") == 1
    assert reader.facts() == []
    other.usage = broken.facts
    next_best.held = {5: {0: 7}}
    assert reader.usage([5]) == {5: {0: 7}}


def test_usage_is_unknown_when_nobody_tells(clock):
    family = Family([FakeSource("a", 1, usage=None)], clock=clock)
    reader = GpuReader([family])
    reader.read()
    assert reader.usage([1]) is None
    assert GpuReader([Family([FakeSource("b")], clock=clock)]).usage([1]) is None


def test_closing_and_aborting_reach_every_source(clock):
    sources = [FakeSource("a"), FakeSource("b")]
    reader = GpuReader([Family(sources, clock=clock)])
    reader.abort()
    reader.close()
    assert [(source.aborted, source.closed) for source in sources] == [(1, 1), (1, 1)]
    assert reader.facts() == []


@pytest.mark.parametrize("text, number", [
    ("12", 12.0), (" 12.5 W", 12.5), ("-3", -3.0), ("[N/A]", None), ("[Not Supported]", None), ("ERR!", None),
    ("", None), (None, None), ("N/A", None), ("nan", None), (7, 7.0)])
def test_numbers_of_tools(text, number):
    assert number_in(text) == number


def test_small_sums():
    assert (whole_number_in("45.6"), whole_number_in("x")) == (46, None)
    assert (share(1, 4), share(None, 4), share(1, 0), share(1, None)) == (25.0, None, None, None)
    assert (scaled(1500, 1e-3), scaled(None, 2)) == (1.5, None)
    usage = {}
    for size in (5, 9, 7, None):
        add_usage(usage, 1, 0, size)
    assert usage == {1: {0: 9}}


@pytest.mark.parametrize("text, address", [
    ("00000000:01:00.0", "0000:01:00.0"), ("0000:C1:00.0", "0000:c1:00.0"), ("00010000:01:00.0", "10000:01:00.0"),
    ("", ""), ("N/A", ""), ("card0", "")])
def test_addresses(text, address):
    assert pci_address(text) == address


def test_a_real_nvidia_gpu_where_there_is_one():
    source = Nvml()
    gpus = source.read()
    if gpus is None:
        pytest.skip("no NVIDIA GPU answers on this machine")
    try:
        began = time.perf_counter()
        gpus = source.read()
        print(f"\n{len(gpus)} GPUs in {(time.perf_counter() - began) * 1000:.1f} ms: {gpus}")
        assert [gpu.id for gpu in gpus] == list(range(len(gpus)))
        assert all(gpu.name and gpu.uuid for gpu in gpus)
        assert all(gpu.mem_total_mb is None or 0 <= gpu.mem_used_mb <= gpu.mem_total_mb for gpu in gpus)
        assert source.usage([os.getpid()]) is not None
        assert all(facts.vendor == "NVIDIA" and facts.driver_version for facts in source.facts())
    finally:
        source.close()
