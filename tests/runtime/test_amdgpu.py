from __future__ import annotations

import pytest

from llamaswap.runtime.amdgpu import AmdSysfs
from tests.support.machines import amd_machine, gpu_process, plain_machine, write

FIRST, SECOND = "sys/devices/pci0000:00/0000:03:00.0", "sys/devices/pci0000:00/0000:43:00.0"


@pytest.fixture
def root(tmp_path):
    return amd_machine(tmp_path)


def test_two_gpus_in_the_order_of_their_addresses(root):
    first, second = AmdSysfs(str(root)).read()
    assert (first.id, first.name, first.uuid) == (0, "AMD Radeon RX 7900 XTX", "GPU-ab1")
    assert (second.id, second.name, second.uuid) == (1, "AMD Instinct Test", "GPU-ab0")
    assert (first.temp_c, first.vram_temp_c, first.temp_limit_c, first.gpu_util_pct) == (45, 61, 100, 37.0)
    assert (first.mem_used_mb, first.mem_total_mb, first.mem_util_pct) == (5120, 24576, 20.8)
    assert (first.power_draw_w, first.power_limit_w, first.fan_speed_pct) == (123.457, 300.0, 20.0)


def test_no_gpu(tmp_path):
    source = AmdSysfs(str(plain_machine(tmp_path)))
    assert source.read() is None and source.facts() == [] and source.usage([1]) == {}


def test_what_cannot_be_read_is_unknown(root):
    for file in (root / FIRST / "hwmon/hwmon1").iterdir():
        file.unlink()
    for name in ("gpu_busy_percent", "mem_info_vram_used", "unique_id", "revision", "device"):
        (root / FIRST / name).unlink()
    gpu = AmdSysfs(str(root)).read()[0]
    assert gpu[:3] == (0, "AMD GPU", "")
    assert gpu._replace(mem_total_mb=None)[3:] == (None,) * 10 and gpu.mem_total_mb == 24576


def test_other_ways_to_tell_power_fan_and_temperature(root):
    hwmon = root / FIRST / "hwmon/hwmon1"
    for name in ("power1_average", "pwm1", "temp1_label", "temp1_input"):
        (hwmon / name).unlink()
    write(hwmon, {"power1_input": 50_000_000, "fan1_input": 900, "fan1_max": 3600})
    gpu = AmdSysfs(str(root)).read()[0]
    assert (gpu.power_draw_w, gpu.fan_speed_pct, gpu.temp_c) == (50.0, 25.0, 52)


def test_a_card_with_one_unlabelled_sensor(root):
    for name in ("temp1_label", "temp2_label", "temp3_label"):
        (root / FIRST / "hwmon/hwmon1" / name).unlink()
    gpu = AmdSysfs(str(root)).read()[0]
    assert (gpu.temp_c, gpu.vram_temp_c) == (45, None)


def test_a_gpu_that_sleeps_is_not_woken(root):
    write(root, {f"{FIRST}/power/runtime_status": "suspended", f"{SECOND}/power/runtime_status": "active"})
    first, second = AmdSysfs(str(root)).read()
    assert first == (0, "AMD Radeon RX 7900 XTX", "GPU-ab1", *[None] * 10)
    assert second.temp_c == 45


def test_a_gpu_of_another_vendor_and_a_connector_are_none_of_ours(root):
    write(root, {f"{SECOND}/vendor": "0x10de"})
    assert len(AmdSysfs(str(root)).read()) == 1


def test_a_gpu_that_is_taken_out(root):
    source = AmdSysfs(str(root))
    assert len(source.read()) == 2
    (root / "sys/class/drm/card0/device").unlink()
    assert [gpu.name for gpu in source.read()] == ["AMD Radeon RX 7900 XTX"]
    source.close()
    source.abort()
    assert len(source.read()) == 1


def test_gpus_whose_address_is_not_known(tmp_path):
    for number in range(2):
        write(tmp_path / f"sys/class/drm/card{number}/device", {"vendor": "0x1002", "mem_info_vram_total": 1 << 30})
    assert [gpu.id for gpu in AmdSysfs(str(tmp_path)).read()] == [0, 1]


def unplug(root, device):
    """How to plug it in again."""
    link = next(card / "device" for card in (root / "sys/class/drm").glob("card[0-9]")
                if (card / "device").resolve() == root / device)
    link.unlink()
    return lambda: link.symlink_to(root / device)


def test_a_gpu_that_is_plugged_in_again(root):
    source = AmdSysfs(str(root))
    before = source.read()
    plug_in = unplug(root, FIRST)
    assert source.read() == before[1:]          # under the number it had
    gpu_process(root, 10, d7=fdinfo("0000:43:00.0", 3))
    assert source.usage([10]) == {10: {1: 2 << 20}}
    plug_in()
    assert source.read() == before


def test_a_gpu_that_is_plugged_in_later_changes_no_number(root):
    source, plug_in = AmdSysfs(str(root)), unplug(root, FIRST)
    assert [(gpu.id, gpu.name) for gpu in source.read()] == [(0, "AMD Instinct Test")]
    plug_in()
    assert [(gpu.id, gpu.name) for gpu in source.read()] == [(0, "AMD Instinct Test"), (1, "AMD Radeon RX 7900 XTX")]


def fdinfo(pci="0000:03:00.0", client=1, memory="drm-memory-vram:\t2048 KiB", driver="amdgpu"):
    return f"pos:\t0\ndrm-driver:\t{driver}\ndrm-pdev:\t{pci}\ndrm-client-id:\t{client}\n{memory}\n"


def test_memory_of_a_process_by_its_descriptors(root):
    gpu_process(root, 10, d4=fdinfo(), d5=fdinfo(), d6=fdinfo(client=2), d7=fdinfo("0000:43:00.0", 3), d8="")
    gpu_process(root, 11, d4=fdinfo(memory="drm-resident-vram:\t1 MiB"), d5=fdinfo(driver="i915", client=9))
    gpu_process(root, 12, d4="nonsense", d5=fdinfo(memory="drm-memory-vram:\tmuch"), d6=fdinfo("0000:99:00.0"))
    assert AmdSysfs(str(root)).usage([10, 11, 12, 13]) == {10: {0: 4 << 20, 1: 2 << 20}, 11: {0: 1 << 20}}


def test_a_compute_program_tells_through_kfd(root):
    gpu_process(root, 10, d4=fdinfo())
    write(root, {"sys/class/kfd/kfd/proc/10/vram_5001": 8 << 20, "sys/class/kfd/kfd/proc/10/vram_5002": 3 << 20,
                 "sys/class/kfd/kfd/proc/10/sdma_5001": 7, "sys/class/kfd/kfd/proc/10/vram_77": 7})
    assert AmdSysfs(str(root)).usage([10]) == {10: {0: 8 << 20, 1: 3 << 20}}


def test_nobody_is_looked_at_without_being_named(root):
    assert AmdSysfs(str(root)).usage(None) is None


def test_facts(root):
    first, second = AmdSysfs(str(root)).facts()
    assert first._asdict() == {
        "pci": "0000:03:00.0", "vendor": "AMD", "model": "AMD Radeon RX 7900 XTX", "architecture": "gfx1100",
        "memory_kind": "dedicated", "capacity_bytes": 24 << 30, "driver_name": "amdgpu", "driver_version": "6.8.5",
        "power_limit_watts": 300.0, "kind": "gpu"}
    assert second.architecture == "gfx90a"
    write(root, {f"{FIRST}/mem_info_vram_vendor": "unknown"})       # an APU's memory is that of the machine
    assert AmdSysfs(str(root)).facts()[0].memory_kind is None
