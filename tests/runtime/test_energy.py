from __future__ import annotations

import pytest

from llamaswap.runtime.energy import EnergyMeter, GpuEnergy


def test_nobody_who_tells_is_unknown_and_not_zero():
    meter = EnergyMeter(1000.0)
    assert meter.stats() is None
    meter.add(0.0, "mon", {0: None}, max_gap=15)
    assert meter.stats() is None


def test_power_is_taken_to_change_evenly_between_two_readings():
    meter = EnergyMeter(1000.0)
    for at, watts in ((0.0, 100.0), (5.0, 300.0), (10.0, 300.0)):
        meter.add(at, "mon", {0: watts}, max_gap=15)
    stats = meter.stats()
    assert stats.total_wh == pytest.approx((5 * 200 + 5 * 300) / 3600, abs=1e-4)
    assert (stats.since_epoch, stats.now_w, stats.today_wh) == (1000.0, 300.0, stats.total_wh)


def test_a_gap_is_left_out():
    meter = EnergyMeter(0.0)
    for at in (0.0, 16.0, 31.0):
        meter.add(at, "mon", {0: 3600.0}, max_gap=15)
    assert meter.stats().total_wh == 15.0


def test_a_reading_that_is_missing_is_left_out():
    meter = EnergyMeter(0.0)
    for at, watts in ((0.0, 3600.0), (5.0, None), (10.0, 3600.0), (15.0, 3600.0)):
        meter.add(at, "mon", {0: watts}, max_gap=15)
    assert meter.stats().total_wh == 5.0
    meter.add(20.0, "mon", {}, max_gap=15)              # the GPU has gone; what it used has not
    assert (meter.stats().now_w, meter.stats().total_wh) == (None, 5.0)


def test_each_gpu_and_all_of_them():
    meter = EnergyMeter(0.0)
    for at in (0.0, 10.0):
        meter.add(at, "mon", {1: 360.0, 0: 3600.0, 2: None}, max_gap=15)
    assert meter.stats().gpus == (GpuEnergy(0, 3600.0, 10.0, 10.0), GpuEnergy(1, 360.0, 1.0, 1.0))
    assert (meter.stats().now_w, meter.stats().total_wh) == (3960.0, 11.0)


def test_a_new_day_begins_at_zero():
    meter = EnergyMeter(0.0)
    for at, day in ((0.0, "mon"), (5.0, "mon"), (10.0, "tue"), (15.0, "tue")):
        meter.add(at, day, {0: 3600.0}, max_gap=15)
    assert (meter.stats().today_wh, meter.stats().total_wh) == (10.0, 15.0)
