from __future__ import annotations

import pytest

from llamaswap.runtime import nvml
from llamaswap.runtime.nvml import Nvml
from tests.support.machines import FakeNvml, nvidia_gpu


def opened(*gpus):
    lib = FakeNvml(*gpus)
    source = Nvml(lambda: lib)
    return lib, source


def test_every_gpu_in_one_sample():
    _, source = opened(nvidia_gpu(0, memory_temp=70), nvidia_gpu(1, name="NVIDIA Other", busy=0, milliwatts=20125))
    first, second = source.read()
    assert (first.id, first.name, first.uuid) == (0, "NVIDIA Test, 24 GB", "GPU-0")
    assert (first.temp_c, first.vram_temp_c, first.gpu_util_pct, first.fan_speed_pct) == (60, 70, 50.0, 30.0)
    assert (first.mem_used_mb, first.mem_total_mb, first.mem_util_pct) == (6144, 24576, 25.0)
    assert (first.power_draw_w, first.power_limit_w, first.temp_limit_c) == (250.0, 350.0, 90)
    assert (second.id, second.name, second.gpu_util_pct, second.power_draw_w) == (1, "NVIDIA Other", 0.0, 20.125)


@pytest.mark.parametrize("value, field", [
    ("memory", "mem_used_mb"), ("busy", "gpu_util_pct"), ("temp", "temp_c"), ("fan", "fan_speed_pct"),
    ("milliwatts", "power_draw_w"), ("limit", "power_limit_w"), ("slowdown", "temp_limit_c"),
    ("memory_temp", "vram_temp_c")])
def test_what_one_gpu_does_not_support_is_unknown_and_nothing_else_is(value, field):
    _, source = opened(nvidia_gpu(0, memory_temp=70, **{value: None}) if value != "memory_temp" else nvidia_gpu(0),
                       nvidia_gpu(1, memory_temp=70))
    first, second = source.read()
    assert getattr(first, field) is None
    assert sum(each is None for each in first) == (3 if value == "memory" else 1)
    assert None not in second


def test_an_older_binding_without_a_question(monkeypatch):
    for name in ("nvmlDeviceGetEnforcedPowerLimit", "nvmlDeviceGetFieldValues", "NVML_FI_DEV_MEMORY_TEMP",
                 "NVML_TEMPERATURE_THRESHOLD_SLOWDOWN", "nvmlMemory_v2"):
        monkeypatch.delattr(FakeNvml, name)
    _, source = opened(nvidia_gpu(0))
    assert source.read()[0].power_limit_w is None
    assert source.read()[0].mem_used_mb == 6144


def test_nothing_there():
    assert Nvml(lambda: None).read() is None
    lib, source = opened()
    assert source.read() is None
    assert (lib.inits, lib.shutdowns) == (1, 1)
    lib.broken.add("nvmlInit")
    assert source.read() is None
    assert source.facts() == []
    assert source.usage([1]) is None


def test_a_driver_that_goes_away_and_comes_back():
    lib, source = opened(nvidia_gpu(0))
    assert source.read() is not None
    lib.broken = {"nvmlDeviceGetMemoryInfo", "nvmlDeviceGetTemperature", "nvmlDeviceGetCount"}
    assert source.read() is None and lib.shutdowns == 1
    lib.broken = set()
    assert source.read()[0].temp_c == 60 and lib.inits == 2


def test_a_gpu_that_is_lost_takes_no_other_along():
    lost = nvidia_gpu(0, **dict.fromkeys(("memory", "busy", "temp", "fan", "milliwatts")))
    _, source = opened(lost, nvidia_gpu(1))
    first, second = source.read()
    assert (first.temp_c, first.mem_used_mb, second.temp_c) == (None, None, 60)


def test_a_gpu_that_is_added():
    lib, source = opened(nvidia_gpu(0))
    assert len(source.read()) == 1
    lib.gpus.append(nvidia_gpu(1))
    assert len(source.read()) == 2


def test_memory_of_processes():
    _, source = opened(nvidia_gpu(0, compute=[(10, 100), (11, None)], graphics=[(10, 120), (12, 5)]),
                       nvidia_gpu(1, compute=[(10, 7)]))
    source.read()
    assert source.usage([10]) == {10: {0: 120, 1: 7}, 12: {0: 5}}       # both lists say all that a process holds


def test_memory_of_processes_that_nobody_may_see_is_unknown():
    _, source = opened(nvidia_gpu(0, compute=None, graphics=None))
    source.read()
    assert source.usage(None) is None


def test_the_parts_of_a_partitioned_gpu_name_its_processes():
    lib, source = opened(nvidia_gpu(0, compute=None, graphics=None, busy=None, parts=[1, 2]))
    source.read()
    lib.gpus += [nvidia_gpu(1, compute=[(10, 100)]), nvidia_gpu(2, compute=[(11, 50)])]
    assert source.usage([10, 11]) == {10: {0: 100}, 11: {0: 50}}
    assert source._devices is not None and len(source._devices) == 1


def test_facts():
    _, source = opened(nvidia_gpu(0), nvidia_gpu(1, memory=None, architecture=None, limit=None, pci=None))
    first, second = source.facts()
    assert first == nvml.GpuFacts(
        pci="0000:01:00.0", vendor="NVIDIA", model="NVIDIA Test, 24 GB", architecture="Ada Lovelace",
        memory_kind="dedicated", capacity_bytes=24 << 30, driver_name="nvidia", driver_version="570.00",
        power_limit_watts=350.0)
    assert (second.pci, second.memory_kind, second.architecture, second.power_limit_watts) == ("", None, None, None)


def test_closing_lets_go_once():
    lib, source = opened(nvidia_gpu(0))
    source.close()
    source.read()
    source.close()
    source.close()
    source.abort()
    assert (lib.inits, lib.shutdowns) == (1, 1)
    assert repr(source) == "Nvml(closed)"


def test_the_binding_is_left_alone_where_there_is_no_driver(monkeypatch):
    monkeypatch.setattr("ctypes.CDLL", lambda name: (_ for _ in ()).throw(OSError(name)))
    assert nvml.load_pynvml() is None
