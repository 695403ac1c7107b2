from __future__ import annotations

from llamaswap.runtime.gpus import GpuStats
from llamaswap.runtime.hoststats import NetIo, SysStats
from llamaswap.runtime.samples import MAX_FINE, Rings, Sample, average, downsample


def sample(at, *, used=100, gpus=(), **sys):
    return Sample(at, SysStats(mem_used_mb=used, **sys), tuple(gpus))


def test_averages_are_of_what_is_known():
    merged = average([
        sample(1, used=100, cpu_util_per_core=(10.0, 0.0), load_avg_1=1.0, net_io=(NetIo("e", 1, 1),),
               disk_read_bytes=5),
        sample(2, used=None, cpu_util_per_core=(30.0, 100.0), load_avg_1=2.0, net_io=(NetIo("e", 9, 9),),
               disk_read_bytes=7)])
    assert merged.at_epoch == 2
    assert merged.sys.mem_used_mb == 100 and merged.sys.mem_total_mb is None
    assert merged.sys.cpu_util_per_core == (20.0, 50.0)
    assert (merged.sys.load_avg_1, merged.sys.net_io, merged.sys.disk_read_bytes) == (1.5, (NetIo("e", 9, 9),), 7)


def test_whole_numbers_stay_whole():
    merged = average([sample(1, used=1, gpus=[GpuStats(0, "a", temp_c=50, power_draw_w=10.0)]),
                      sample(2, used=2, gpus=[GpuStats(0, "a", temp_c=53, power_draw_w=None)])])
    assert isinstance(merged.sys.mem_used_mb, int) and isinstance(merged.gpus[0].temp_c, int)
    assert merged.gpus[0].power_draw_w == 10.0


def test_cores_that_changed_in_number_are_not_added_up():
    assert average([sample(1, cpu_util_per_core=(80.0,)), sample(2, cpu_util_per_core=(10.0, 20.0))]
                   ).sys.cpu_util_per_core == (10.0, 20.0)


def test_each_gpu_is_averaged_for_itself_also_when_one_was_away():
    merged = average([sample(1, gpus=[GpuStats(0, "a", gpu_util_pct=10.0), GpuStats(1, "b", gpu_util_pct=90.0)]),
                      sample(2, gpus=[GpuStats(1, "b", gpu_util_pct=70.0)])])
    assert [(gpu.id, gpu.name, gpu.gpu_util_pct) for gpu in merged.gpus] == [(0, "a", 10.0), (1, "b", 80.0)]


def test_spans_are_of_the_clock_and_empty_ones_are_left_out():
    points = downsample([sample(at, used=at) for at in (100, 105, 110, 161)], 60)
    assert [(point.at_epoch, point.sys.mem_used_mb) for point in points] == [(60, 105), (120, 161)]


def test_an_hour_is_kept_and_minutes_of_a_day():
    rings = Rings()
    for tick in range(2 * 24 * 720):
        rings.add(tick * 5.0, sample(1_000_000_020 + tick * 5, used=tick))
    fine, coarse = rings.fine(), rings.coarse()
    assert len(fine) == MAX_FINE and fine[-1].sys.mem_used_mb == 2 * 24 * 720 - 1
    assert [after.at_epoch - before.at_epoch for before, after in zip(coarse, coarse[1:])] == [60] * (len(coarse) - 1)
    assert 1439 <= len(coarse) <= 1441
    assert len(rings) <= MAX_FINE + 1440


def test_a_slow_interval_keeps_no_more_than_the_hour():
    rings = Rings()
    for tick in range(500):
        rings.add(tick * 60.0, sample(tick * 60))
    assert 60 <= len(rings.fine()) <= 61 and 499 <= len(rings.coarse()) <= 500


def test_what_is_old_is_dropped_by_the_monotonic_clock():
    rings = Rings()
    rings.add(0.0, sample(5_000_000))
    rings.add(5.0, sample(1_000))               # the wall clock was set back
    rings.add(3700.0, sample(4_700))
    assert [each.at_epoch for each in rings.fine()] == [4_700]


def test_the_minute_under_way_is_shown():
    rings = Rings()
    rings.add(0.0, sample(60))
    assert [each.at_epoch for each in rings.coarse()] == [60]
