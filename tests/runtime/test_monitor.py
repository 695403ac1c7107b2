from __future__ import annotations

import threading
import time

import pytest

from llamaswap.core.settings import Performance
from llamaswap.runtime.gpus import Family, GpuReader, GpuStats
from llamaswap.runtime.hoststats import SysStats
from llamaswap.runtime.monitor import MAX_GAP, Aside, Monitor, default_gpus
from tests.support.machines import amd_machine

SOON = 20.0     # for what comes at once, on a machine that is busy


class FakeHost:
    def __init__(self):
        self.reads = 0

    def read(self):
        self.reads += 1
        return SysStats(mem_used_mb=self.reads)


class FakeGpus:
    """Hangs while `is_free` is not set."""

    def __init__(self, *gpus, usage=None):
        self.gpus, self.held = list(gpus), usage
        self.is_free = threading.Event()
        self.is_free.set()
        self.entered = threading.Event()
        self.asked_pids = []
        self.resting = False
        self.closes = self.aborts = self.reads = 0

    def is_resting(self):
        return self.resting

    def read(self):
        self.reads += 1
        self.entered.set()
        assert self.is_free.wait(SOON)
        return self.gpus

    def usage(self, pids):
        self.asked_pids.append(pids)
        return self.held

    def abort(self):
        self.aborts += 1

    def close(self):
        self.closes += 1


class Samples:
    """What the monitor tells."""

    def __init__(self):
        self._changed = threading.Condition()
        self.all = []

    def __call__(self, sample):
        with self._changed:
            self.all.append(sample)
            self._changed.notify_all()

    def wait_for(self, count):
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.all) >= count, SOON), f"only {len(self.all)} samples"
            return self.all[count - 1]


class Clock:
    def __init__(self, now):
        self.now = now

    def __call__(self):
        return self.now


@pytest.fixture
def monitors():
    made = []

    def make(every=0.05, *, disabled=False, start=True, **collaborators):
        told = Samples()
        monitor = Monitor(Performance(disabled, every), host=collaborators.pop("host", None) or FakeHost(),
                          gpus=collaborators.pop("gpus", None) or FakeGpus(), on_sample=told, **collaborators)
        made.append(monitor)
        if start:
            monitor.start()
        return monitor, told

    yield make
    for monitor in made:
        monitor.close()
        if monitor._thread is not None:
            monitor._thread.join(SOON)
            assert not monitor._thread.is_alive()


def eventually(check):
    deadline = time.monotonic() + SOON
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_it_measures_again_and_again(monitors):
    monitor, told = monitors(gpus=FakeGpus(GpuStats(0, "one"), GpuStats(1, "two")))
    told.wait_for(3)
    seen = monitor.history()
    assert [sample.sys.mem_used_mb for sample in seen[:3]] == [1, 2, 3]
    assert all([gpu.name for gpu in sample.gpus] == ["one", "two"] for sample in seen)       # all GPUs in each
    assert monitor.latest() in monitor.history()
    assert "on" in repr(monitor)


def test_what_is_told_can_already_be_read(monitors):
    shown = []
    monitor, _ = monitors(start=False)
    monitor._on_sample = lambda sample: shown.append(monitor.latest() is sample)
    monitor.start()
    eventually(lambda: len(shown) >= 2)
    assert all(shown)


def test_only_what_is_newer(monitors):
    wall = Clock(1000.0)
    monitor, _ = monitors(start=False, wall=wall)
    for _ in range(3):
        monitor._sample()
        wall.now += 5.0004
    times = [sample.at_epoch for sample in monitor.history()]
    assert times == [1000.0, 1005.0, 1010.001]
    assert [sample.at_epoch for sample in monitor.history(1005.0)] == [1010.001]
    assert monitor.history(1010.0009999) == []                  # a client may have more digits than we gave it
    assert [sample.at_epoch for sample in monitor.downsampled(8, 60)] == [960.0]
    assert len(monitor.downsampled(86400, 60)) == 1


def test_a_driver_that_hangs_takes_nothing_else_along(monitors):
    gpus = FakeGpus(GpuStats(0, "one"))
    gpus.is_free.clear()
    monitor, told = monitors(gpus=gpus)
    assert told.wait_for(3).gpus == ()
    assert gpus.reads == 1                                      # and is not asked a second time
    before = time.monotonic()
    monitor.close()
    assert time.monotonic() - before < SOON / 2
    gpus.is_free.set()


def test_a_driver_that_hung_is_asked_again(monitors):
    gpus = FakeGpus(GpuStats(0, "one"))
    gpus.is_free.clear()
    _, told = monitors(gpus=gpus)
    told.wait_for(2)
    gpus.is_free.set()
    eventually(lambda: told.all[-1].gpus)


def test_a_driver_with_a_defect_is_unknown_and_said(monitors, caplog):
    class Broken(FakeGpus):
        def read(self):
            raise ZeroDivisionError

    monitor, told = monitors(gpus=Broken())
    assert told.wait_for(2).gpus == () and monitor.process_memory() is None
    assert "monitor-gpus ended unexpectedly" in caplog.text


def test_nobody_is_asked_while_there_is_nobody(monitors):
    gpus = FakeGpus()
    gpus.resting = True
    _, told = monitors(gpus=gpus)
    told.wait_for(2)
    assert gpus.reads == 0


def test_memory_of_processes_comes_with_the_sample(monitors):
    gpus = FakeGpus(GpuStats(0, "one"), usage={10: {0: 5}})
    monitor, told = monitors(gpus=gpus, pids=lambda: [10, 11])
    told.wait_for(1)
    assert monitor.process_memory() == {10: {0: 5}} and gpus.asked_pids[0] == [10, 11]


def test_with_no_process_to_ask_for_nobody_is_asked(monitors):
    gpus = FakeGpus(GpuStats(0, "one"), usage={10: {0: 5}})
    monitor, told = monitors(gpus=gpus, pids=list)
    told.wait_for(1)
    assert monitor.process_memory() == {} and gpus.asked_pids == []


def test_without_a_wish_everybody_is_meant(monitors):
    gpus = FakeGpus(GpuStats(0, "one"), usage={10: {0: 5}})
    monitor, told = monitors(gpus=gpus)
    told.wait_for(1)
    assert monitor.process_memory() == {10: {0: 5}} and gpus.asked_pids[0] is None


def test_switched_off_from_the_start_and_on_by_a_reload(monitors):
    host = FakeHost()
    monitor, told = monitors(disabled=True, host=host)
    assert not monitor.is_enabled and monitor.latest() is None
    time.sleep(0.3)
    assert host.reads == 0
    monitor.reconfigure(Performance(False, 0.05))
    told.wait_for(1)
    assert monitor.is_enabled and monitor.latest() is not None


def test_switched_off_by_a_reload_it_keeps_what_it_has_and_lets_go_of_the_driver(monitors):
    gpus = FakeGpus(GpuStats(0, "one"), usage={1: {0: 1}})
    monitor, told = monitors(gpus=gpus)
    told.wait_for(2)
    monitor.reconfigure(Performance(True, 0.05))
    assert not monitor.is_enabled and monitor.latest() is None and monitor.process_memory() is None
    eventually(lambda: gpus.closes == 1)
    kept = len(monitor.history())
    assert kept >= 2
    time.sleep(0.2)
    assert len(monitor.history()) == kept and gpus.closes == 1
    monitor.reconfigure(Performance(False, 0.05))
    told.wait_for(kept + 1)
    assert len(monitor.history()) > kept


def test_another_interval_takes_effect_at_once_and_keeps_the_history(monitors):
    monitor, told = monitors(every=1.0)
    told.wait_for(1)
    monitor.reconfigure(Performance(False, 0.05))
    told.wait_for(6)
    assert monitor.every == 0.05 and len(monitor.history()) >= 6


def test_the_same_configuration_changes_nothing(monitors):
    monitor, _ = monitors(every=3600.0, start=False)
    due = monitor._due
    monitor.reconfigure(Performance(False, 3600.0))
    assert monitor._due == due


def test_turns_that_were_missed_are_not_made_up_for(monitors):
    clock = Clock(0.0)
    monitor, _ = monitors(every=5.0, start=False, clock=clock)
    clock.now = 1000.0
    assert monitor._await_turn() is not None
    assert monitor._due == 1000.0
    assert monitor._await_turn() is not None
    assert monitor._due == 1005.0


def test_a_sample_that_is_too_old_is_none(monitors):
    clock = Clock(0.0)
    monitor, _ = monitors(every=5.0, start=False, clock=clock)
    monitor._sample()
    clock.now = 5.0 * MAX_GAP
    assert monitor.latest() is not None
    clock.now += 5.0
    assert monitor.latest() is None and len(monitor.history()) == 1


def test_energy_is_power_over_time(monitors):
    clock, wall = Clock(0.0), Clock(1_700_000_000.0)
    monitor, _ = monitors(every=5.0, start=False, clock=clock, wall=wall,
                          gpus=FakeGpus(GpuStats(0, "one", power_draw_w=720.0)))
    assert monitor.energy() is None
    for passed in (0, 5, 5, 60, 5):         # the machine slept for a minute
        clock.now += passed
        wall.now += passed
        monitor._sample()
    assert monitor.energy().total_wh == 3.0
    assert monitor.energy().today_wh == 3.0
    wall.now += 86400
    clock.now += 5
    monitor._sample()
    assert (monitor.energy().today_wh, monitor.energy().total_wh) == (1.0, 4.0)


def test_closing_is_possible_at_any_time(monitors):
    gpus = FakeGpus()
    monitor, _ = monitors(start=False, gpus=gpus)
    monitor.close()
    monitor.close()
    assert gpus.aborts == 2
    monitor, _ = monitors(every=3600.0)
    monitor.close()


def test_a_sample_under_way_when_it_ends_is_not_told(monitors):
    monitor, told = monitors(start=False)
    monitor.close()
    monitor._sample()
    assert told.all == [] and monitor.history() == []


def test_the_usual_sources(tmp_path):
    reader = default_gpus(str(amd_machine(tmp_path)))
    assert isinstance(reader, GpuReader) and all(isinstance(family, Family) for family in reader._families)
    assert [gpu.name for gpu in reader.read() if gpu.name.startswith("AMD")] == ["AMD Radeon RX 7900 XTX",
                                                                               "AMD Instinct Test"]
    reader.close()


# --- aside

def test_an_answer_that_comes_late_is_the_next_one():
    aside, free = Aside("aside"), threading.Event()

    def slow():
        assert free.wait(SOON)
        return "late"

    assert aside.ask(slow, 0.05) is None
    assert aside.ask(slow, 0.05) is None            # still the same piece of work
    free.set()
    assert aside.ask(slow, SOON) == "late"
    free.clear()
    assert aside.ask(slow, 0.05) is None
    free.set()
    eventually(lambda: not aside._thread.is_alive())
    free.clear()
    assert aside.ask(slow, 0.05) == "late"          # of the one before; a new one has begun
    free.set()
    eventually(lambda: not aside._thread.is_alive())


def test_one_that_answers_in_time_is_always_fresh():
    aside = Aside("aside")
    assert [aside.ask(lambda number=number: number, SOON) for number in range(5)] == list(range(5))
