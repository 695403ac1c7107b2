from __future__ import annotations

import copy

import pytest

from llamaswap.runtime.hardware_shape import problems_of

GOOD = {
    "schema_version": 1, "captured_at": "2026-01-01T00:00:00Z",
    "capture": {"scope": "inference_host", "method": "detected", "detector": {"name": "x", "version": "1"}},
    "architecture": {"name": "x86_64", "raw_name": None},
    "operating_system": {"family": "linux", "name": None, "version": None, "kernel": "6"},
    "environment": {"kind": "native", "name": None, "version": None},
    "cpu": {"vendor": None, "model": "c", "socket_count": 1, "physical_core_count": 2, "logical_thread_count": 4},
    "memory": {"capacity_bytes": 1},
    "accelerators": [{"index": 0, "kind": "gpu", "vendor": "AMD", "model": None, "architecture": None,
                      "memory": {"kind": "unknown", "capacity_bytes": None}, "driver": None, "power_limit_watts": 1.5},
                     {"index": 1, "kind": "npu", "vendor": None, "model": None, "architecture": None,
                      "memory": {"kind": "dedicated", "capacity_bytes": 5},
                      "driver": {"name": "d", "version": None}, "power_limit_watts": None}]}


def test_a_good_one():
    assert problems_of(GOOD) == []


@pytest.mark.parametrize("path, value, complaint", [
    ("schema_version", 2, "schema_version is 2"), ("architecture.name", "vax", "architecture.name is 'vax'"),
    ("cpu.model", " ", "cpu.model is ' '"), ("cpu.socket_count", 0, "cpu.socket_count is 0"),
    ("cpu.socket_count", True, "cpu.socket_count is True"),
    ("cpu.physical_core_count", 5, "5 cores cannot run 4 threads"),
    ("memory", None, "memory.capacity_bytes is missing"), ("accelerators", None, "accelerators is None"),
    ("accelerators.1.index", 0, "accelerators[1].index is 0"),
    ("accelerators.1.driver", {"name": ""}, "accelerators[1].driver is {'name': ''}"),
    ("accelerators.0.memory.kind", None, "accelerators[0].memory.kind is None"),
    ("accelerators.0.power_limit_watts", 0, "accelerators[0].power_limit_watts is 0")])
def test_what_is_wrong_is_named(path, value, complaint):
    bad = copy.deepcopy(GOOD)
    *parents, last = path.split(".")
    place = bad
    for name in parents:
        place = place[int(name)] if name.isdigit() else place[name]
    place[last] = value
    assert problems_of(bad) == [complaint]


def test_what_is_missing_is_named():
    assert "accelerators is missing" in problems_of({})
