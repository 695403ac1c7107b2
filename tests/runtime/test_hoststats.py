from __future__ import annotations

import os

import pytest

from llamaswap.runtime.hoststats import HostStats, NetIo, numbers, percentage, text_of
from tests.support.machines import PROC_STAT, plain_machine, write


@pytest.fixture
def root(tmp_path):
    return plain_machine(tmp_path)


def test_load_of_cores_is_that_since_the_call_before(root):
    host = HostStats(str(root))
    assert host.read().cpu_util_per_core == ()          # no time has passed: unknown, not idle
    write(root, {"proc/stat": "cpu 0\ncpu0 125 0 50 450 75 0 0 0 0 0\ncpu1 250 0 100 300 50 0 0 0 0 0\nintr 0"})
    assert host.read().cpu_util_per_core == (25.0, 100.0)


def test_time_of_guests_is_not_counted_twice(root):
    host = HostStats(str(root))
    write(root, {"proc/stat": "cpu0 150 0 50 450 50 0 0 0 50 0"})
    assert host.read().cpu_util_per_core == (50.0,)


def test_a_core_that_comes_or_goes(root):
    host = HostStats(str(root))
    write(root, {"proc/stat": "cpu0 125 0 50 425 50 0 0 0 0 0\ncpu7 5 0 5 5 5 0 0 0 0 0"})
    assert host.read().cpu_util_per_core == (50.0,)
    write(root, {"proc/stat": "cpu0 150 0 50 450 50 0 0 0 0 0\ncpu7 15 0 5 5 5 0 0 0 0 0"})
    assert host.read().cpu_util_per_core == (50.0, 100.0)


def test_an_idle_counter_that_goes_back_is_not_more_than_all(root):
    host = HostStats(str(root))
    write(root, {"proc/stat": "cpu0 150 0 50 399 50 0 0 0 0 0"})
    assert host.read().cpu_util_per_core == (100.0,)


def test_memory_swap_and_load(root):
    sys = HostStats(str(root)).read()
    assert (sys.mem_total_mb, sys.mem_used_mb, sys.mem_free_mb) == (32000, 16000, 8000)
    assert (sys.swap_total_mb, sys.swap_used_mb) == (2000, 1000)
    assert (sys.load_avg_1, sys.load_avg_5, sys.load_avg_15) == (0.5, 1.25, 2.0)


def test_memory_in_use_on_kernels_that_do_not_estimate_it(root):
    write(root, {"proc/meminfo": "MemTotal: 2048000 kB\nMemFree: 1024000 kB"})
    assert HostStats(str(root)).read().mem_used_mb == 1000


def test_interfaces_without_the_loopback(root):
    assert HostStats(str(root)).read().net_io == (NetIo("eth0", 5000000, 700000), NetIo("wlp2s0", 42, 43))


def test_whole_disks_only_and_each_byte_once(root):
    sys = HostStats(str(root)).read()
    assert (sys.disk_read_bytes, sys.disk_written_bytes) == ((1000 + 24) * 512, (400 + 8) * 512)


def test_a_machine_that_tells_nothing(tmp_path):
    sys = HostStats(str(tmp_path)).read()
    assert (sys.cpu_util_per_core, sys.net_io) == ((), ())
    assert (sys.disk_read_bytes, sys.mem_used_mb, sys.swap_total_mb) == (None, None, None)
    assert sys.mem_total_mb is None or sys.mem_total_mb > 0          # macOS knows this and the load
    assert len(sys) == 12


@pytest.mark.parametrize("name", ["stat", "meminfo", "net/dev", "diskstats", "loadavg"])
@pytest.mark.parametrize("text", ["", "\n", "cpu0", "cpu0 x y z q", "a b c d e f g h i j", "x: y", "\xff\n\xff\n\xff"])
def test_files_that_make_no_sense(root, name, text):
    write(root, {f"proc/{name}": text})
    HostStats(str(root)).read()


@pytest.mark.skipif(not os.path.exists("/proc/stat"), reason="reads /proc")
def test_this_machine():
    sys = HostStats().read()
    assert sys.mem_total_mb > sys.mem_used_mb > 0
    assert all(card.name != "lo" for card in sys.net_io)


def test_reading(tmp_path):
    assert text_of(str(tmp_path / "missing")) == text_of(str(tmp_path)) == ""
    (tmp_path / "large").write_text(PROC_STAT * 1000)
    assert text_of(str(tmp_path / "large")) == PROC_STAT * 1000
    assert numbers(["1", "2", "x", "3"]) == [1, 2]
    assert [percentage(value) for value in (-1, 33.333, 100, 250)] == [0.0, 33.3, 100.0, 100.0]
