from __future__ import annotations

import json
from datetime import datetime

import pytest

from llamaswap.core.faults import ClientFault, Refused
from llamaswap.runtime.energy import EnergyStats, GpuEnergy
from llamaswap.runtime.gpus import GpuStats
from llamaswap.runtime.hoststats import NetIo, SysStats
from llamaswap.runtime.samples import Sample, downsample
from llamaswap.web.insight import Insight, format_time, parse_time, sample_json
from tests.support.asked import asked, loaded

START = 1_767_225_600.0     # 2026-01-01T00:00:00Z


class FakeMonitor:
    def __init__(self, *samples):
        self.samples = list(samples)
        self.is_enabled = True
        self.every = 5.0
        self.asked = None

    def history(self, after=None):
        return [sample for sample in self.samples if after is None or sample.at_epoch > after]

    def downsampled(self, span, step):
        self.asked = (span, step)
        return downsample(self.samples, step)

    def energy(self):
        return None


class FakeHardware:
    found = None

    def snapshot(self):
        return self.found


def sample(second, *gpus):
    return Sample(START + second, SysStats(cpu_util_per_core=(1.0, 2.0), mem_used_mb=5, net_io=(NetIo("eth0", 1, 2),)),
                  gpus)


def answer(monitor, query="", hardware=None):
    return Insight(monitor, hardware or FakeHardware()).performance(asked("GET", "/api/performance" + query), "")


def test_the_shape():
    response = answer(FakeMonitor(sample(0, GpuStats(0, "one", temp_c=40), GpuStats(1, "two"))))
    found = loaded(response)
    assert response.status == 200 and found["enabled"] is True
    assert found["sys_stats"] == [{
        "timestamp": "2026-01-01T00:00:00.000Z", "cpu_util_per_core": [1.0, 2.0], "mem_total_mb": None,
        "mem_used_mb": 5, "mem_free_mb": None, "swap_total_mb": None, "swap_used_mb": None, "load_avg_1": None,
        "load_avg_5": None, "load_avg_15": None, "net_io": [{"name": "eth0", "bytes_recv": 1, "bytes_sent": 2}],
        "disk_read_bytes": None, "disk_written_bytes": None}]
    assert [(gpu["timestamp"], gpu["id"], gpu["name"], gpu["temp_c"]) for gpu in found["gpu_stats"]] == [
        ("2026-01-01T00:00:00.000Z", 0, "one", 40), ("2026-01-01T00:00:00.000Z", 1, "two", None)]
    assert set(found["gpu_stats"][0]) == {
        "timestamp", "id", "name", "uuid", "temp_c", "vram_temp_c", "gpu_util_pct", "mem_util_pct", "mem_used_mb",
        "mem_total_mb", "fan_speed_pct", "power_draw_w", "power_limit_w", "temp_limit_c"}
    assert (found["every"], found["range"], found["step"], found["energy"]) == (5.0, None, None, None)


def test_nothing_measured_yet_is_empty_and_not_null():
    for query in ("", "?after=2026-01-01T00:00:00Z", "?range=3600"):
        found = loaded(answer(FakeMonitor(), query))
        assert (found["sys_stats"], found["gpu_stats"]) == ([], [])


def test_energy():
    monitor = FakeMonitor()
    monitor.energy = lambda: EnergyStats(1.0, 100.0, 5.0, 6.0, (GpuEnergy(0, 100.0, 5.0, 6.0),))
    assert loaded(answer(monitor))["energy"] == {
        "since_epoch": 1.0, "now_w": 100.0, "today_wh": 5.0, "total_wh": 6.0,
        "gpus": [{"id": 0, "now_w": 100.0, "today_wh": 5.0, "total_wh": 6.0}]}


@pytest.mark.parametrize("after", ["2026-01-01T00:00:05Z", "2026-01-01T01:00:05%2B01:00", "2026-01-01T01:00:05+01:00",
                                   "2026-01-01t00:00:05.000000000z", "2025-12-31T19:00:05-05:00"])
def test_only_what_is_newer(after):
    monitor = FakeMonitor(sample(0), sample(5), sample(10))
    assert [row["timestamp"] for row in loaded(answer(monitor, f"?after={after}"))["sys_stats"]] == [
        "2026-01-01T00:00:10.000Z"]
    assert len(loaded(answer(monitor, "?after="))["sys_stats"]) == 3


def test_averages():
    monitor = FakeMonitor(sample(0, GpuStats(0, "one", power_draw_w=10.0)),
                          sample(5, GpuStats(0, "one", power_draw_w=20.0)), sample(60))
    found = loaded(answer(monitor, "?range=24h&step=1m"))
    assert monitor.asked == (86400.0, 60.0) and (found["range"], found["step"]) == (86400.0, 60.0)
    assert len(found["sys_stats"]) == 2 and found["gpu_stats"][0]["power_draw_w"] == 15.0
    assert len(loaded(answer(monitor, "?range=24h&step=60&after=2026-01-01T00:00:00Z"))["sys_stats"]) == 1


@pytest.mark.parametrize("query, asked_for", [
    ("?range=300", (300.0, 5.0)), ("?range=24h", (86400.0, 288.0)), ("?step=10", (3600.0, 10.0)),
    ("?range=1h30m&step=30s", (5400.0, 30.0))])
def test_what_is_not_said_is_chosen(query, asked_for):
    monitor = FakeMonitor()
    answer(monitor, query)
    assert monitor.asked == asked_for


@pytest.mark.parametrize("query", [
    "?after=yesterday", "?after=2026-01-01", "?after=2026-13-01T00:00:00Z", "?after=2026-01-01T00:00:00",
    "?after=0001-01-01T00:00:00%2B23:00", "?range=x", "?range=0", "?range=-5", "?range=25h", "?step=0", "?step=5m5",
    "?range=1.2.3", "?range=24h&step=1", "?range=nan", "?range=inf"])
@pytest.mark.parametrize("is_enabled", [True, False])
def test_what_makes_no_sense_is_refused(query, is_enabled):
    monitor = FakeMonitor()
    monitor.is_enabled = is_enabled
    with pytest.raises(ClientFault) as caught:
        answer(monitor, query)
    assert caught.value.status == 400
    if query.startswith("?after="):
        assert caught.value.message == "invalid 'after' timestamp, use RFC3339 format", "llama-swap's words"


def test_switched_off_is_said():
    monitor = FakeMonitor(sample(0))
    monitor.is_enabled = False
    response = answer(monitor)
    assert response.status == 503
    assert loaded(response) == {"enabled": False, "sys_stats": [], "gpu_stats": []}


def test_hardware():
    machine = FakeHardware()
    insight = Insight(FakeMonitor(), machine)
    with pytest.raises(Refused) as caught:
        insight.hardware(asked("GET", "/api/hardware"), "")
    assert caught.value.status == 503
    machine.found = {"schema_version": 1}
    assert loaded(insight.hardware(asked("GET", "/api/hardware"), "")) == {"schema_version": 1}


def test_a_sample_as_the_stream_tells_it():
    told = sample_json(sample(1.5, GpuStats(0, "one")))
    assert (told["at"], told["sys"]["mem_used_mb"], told["gpus"][0]["name"]) == (START + 1.5, 5, "one")
    assert told["sys"]["timestamp"] == told["gpus"][0]["timestamp"] == "2026-01-01T00:00:01.500Z"
    json.dumps(told, allow_nan=False)


@pytest.mark.parametrize("epoch", [0.0, START, START + 0.001, START + 0.999, 1_763_707_318.123])
def test_times_survive_the_way_there_and_back(epoch):
    assert round(parse_time(format_time(epoch)) * 1000) == round(epoch * 1000)
    assert datetime.fromisoformat(format_time(epoch)[:-1])
