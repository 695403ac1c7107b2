from __future__ import annotations

import os
import time

import pytest

from llamaswap import __version__
from llamaswap.runtime import hardware
from llamaswap.runtime.amdgpu import AmdSysfs
from llamaswap.runtime.gpus import Family, GpuFacts, GpuReader
from llamaswap.runtime.gputools import NvidiaSmi
from llamaswap.runtime.hardware import Hardware, architecture_of, describe
from llamaswap.runtime.hardware_shape import problems_of
from llamaswap.runtime.nvml import Nvml
from tests.support.machines import FakeNvml, amd_machine, nvidia_gpu, plain_machine, tool, write

PAGE = os.sysconf("SC_PAGE_SIZE")
MEMORY = 32768000 * 1024


@pytest.fixture
def root(tmp_path):
    return plain_machine(tmp_path)


def described(root, gpus=()):
    found = describe(str(root), gpus)
    assert problems_of(found) == []
    return found


def test_a_machine_without_a_gpu(root):
    found = described(root)
    assert found["schema_version"] == 1 and found["captured_at"].endswith("Z")
    assert found["capture"] == {"scope": "inference_host", "method": "detected",
                                "detector": {"name": "llamaswap", "version": __version__}}
    assert found["cpu"] == {"vendor": "Intel", "model": "Intel(R) Core(TM) Test", "socket_count": 1,
                            "physical_core_count": 2, "logical_thread_count": 4}
    assert found["memory"] == {"capacity_bytes": MEMORY}
    assert found["environment"] == {"kind": "native", "name": None, "version": None}
    assert found["accelerators"] == []


@pytest.mark.skipif(not os.path.exists("/proc"), reason="the family is that of this machine")
def test_the_system(root):
    assert described(root)["operating_system"] == {"family": "linux", "name": "Test Linux", "version": "12",
                                                   "kernel": "6.1.0-test"}


def test_a_machine_that_tells_nothing(tmp_path):
    found = described(tmp_path)
    assert found["environment"]["kind"] == "unknown"
    assert (found["cpu"]["vendor"], found["cpu"]["model"], found["cpu"]["socket_count"]) == (None, None, None)


@pytest.mark.parametrize("machine, name, raw", [
    ("x86_64", "x86_64", None), ("AMD64", "x86_64", None), ("aarch64", "arm64", None), ("armv7l", "armv7", None),
    ("armv7hl", "armv7", None), ("riscv64", "riscv64", None), ("loongarch64", "other", "loongarch64"),
    ("", "other", None)])
def test_architectures(machine, name, raw):
    assert architecture_of(machine) == {"name": name, "raw_name": raw}


def test_two_amd_gpus_are_two_however_many_tell_of_them(tmp_path):
    root = amd_machine(tmp_path)
    first, second = described(root, AmdSysfs(str(root)).facts())["accelerators"]
    assert first == {"index": 0, "kind": "gpu", "vendor": "AMD", "model": "AMD Radeon RX 7900 XTX",
                     "architecture": "gfx1100", "memory": {"kind": "dedicated", "capacity_bytes": 24 << 30},
                     "driver": {"name": "amdgpu", "version": "6.8.5"}, "power_limit_watts": 300.0}
    assert (second["index"], second["model"]) == (1, "AMD Instinct Test")


def test_a_gpu_that_only_the_kernel_tells_of(tmp_path):
    root = amd_machine(tmp_path)
    (root / "dev/dri/renderD129").unlink()          # not for us, in a container that was given one of two
    only, = described(root)["accelerators"]
    assert (only["vendor"], only["model"], only["memory"]) == (
        "AMD", None, {"kind": "unknown", "capacity_bytes": 64 << 30})
    assert only["driver"] == {"name": "amdgpu", "version": None}


def test_the_first_that_knows_a_fact_counts(root):
    lib = FakeNvml(nvidia_gpu(0, limit=None), nvidia_gpu(1, memory=None))
    nvml = Nvml(lambda: lib).facts()
    smi = [GpuFacts(pci="0000:01:00.0", vendor="NVIDIA", model="Other", power_limit_watts=320.0),
           GpuFacts(pci="0000:02:00.0", capacity_bytes=0)]
    first, second = described(root, [*nvml, *smi])["accelerators"]
    assert (first["model"], first["power_limit_watts"]) == ("NVIDIA Test, 24 GB", 320.0)
    assert second["memory"] == {"kind": "unknown", "capacity_bytes": None}


def test_a_source_without_addresses_does_not_double_what_others_have_placed(root):
    placed, loose = GpuFacts(pci="0000:01:00.0", vendor="AMD", model="A"), GpuFacts(vendor="AMD", model="A")
    other = GpuFacts(vendor="NVIDIA", model="N")
    assert [each["model"] for each in described(root, [placed, loose, other])["accelerators"]] == ["A", "N"]
    assert len(described(root, [loose, loose])["accelerators"]) == 2


def test_a_neural_processor(root):
    device = root / "sys/devices/pci0000:00/0000:00:0b.0"
    write(device, {"vendor": "0x8086"})
    (root / "sys/class/accel/accel0").mkdir(parents=True)
    (root / "sys/class/accel/accel0/device").symlink_to(device)
    npu, = described(root)["accelerators"]
    assert (npu["kind"], npu["vendor"], npu["driver"]) == ("npu", "Intel", None)


# --- memory

ZONEINFO = f"""\
Node 0, zone      DMA
  per-node stats
      nr_inactive_anon 2584
        present  1000
Node 0, zone   Normal
        present  {MEMORY // PAGE}
Node 0, zone   Device
        present  999999999
"""


def test_what_the_kernel_set_aside_is_memory_too(root):
    write(root, {"proc/zoneinfo": ZONEINFO})
    assert described(root)["memory"]["capacity_bytes"] == MEMORY + 1000 * PAGE


def test_limits_of_control_groups_of_version_2(root):
    write(root, {"proc/self/cgroup": "0::/a.slice/b.scope", "sys/fs/cgroup/a.slice/memory.max": 4 << 30,
                 "sys/fs/cgroup/a.slice/b.scope/memory.max": "max"})
    assert described(root)["memory"]["capacity_bytes"] == 4 << 30
    write(root, {"sys/fs/cgroup/memory.max": 1 << 30})          # in a container, its own group is the root
    assert described(root)["memory"]["capacity_bytes"] == 1 << 30


def test_limits_of_control_groups_of_version_1(root):
    write(root, {"proc/self/cgroup": "5:cpu,memory:/x\n4:memory:/x\n1:name=systemd:/",
                 "sys/fs/cgroup/memory/memory.limit_in_bytes": 9223372036854771712,
                 "sys/fs/cgroup/memory/x/memory.limit_in_bytes": 2 << 30})
    assert described(root)["memory"]["capacity_bytes"] == 2 << 30


def test_a_limit_above_what_is_there_is_none(root):
    write(root, {"proc/self/cgroup": "0::/", "sys/fs/cgroup/memory.max": 1 << 50})
    assert described(root)["memory"]["capacity_bytes"] == MEMORY


# --- surroundings

@pytest.mark.parametrize("files, kind, name", [
    ({"run/systemd/container": "podman"}, "container", "podman"), ({".dockerenv": ""}, "container", "docker"),
    ({"run/.containerenv": ""}, "container", "podman"), ({"proc/1/cgroup": "0::/kubepods/x"}, "container", "kubepods"),
    ({"proc/sys/kernel/osrelease": "5.15.0-microsoft-standard-WSL2"}, "wsl", "WSL 2"),
    ({"sys/class/dmi/id/sys_vendor": "QEMU"}, "virtual_machine", "QEMU"),
    ({"sys/class/dmi/id/product_name": "VMware7,1"}, "virtual_machine", "VMware"),
    ({"sys/class/dmi/id/product_name": "Virtual Machine"}, "virtual_machine", "Hyper-V"),
    ({"sys/hypervisor/type": "xen"}, "virtual_machine", "xen"),
    ({"proc/cpuinfo": "processor : 0\nflags : fpu hypervisor"}, "virtual_machine", None),
    ({".dockerenv": "", "sys/class/dmi/id/sys_vendor": "QEMU"}, "container", "docker")])
def test_surroundings(root, files, kind, name):
    write(root, files)
    assert described(root)["environment"] == {"kind": kind, "name": name, "version": None}


# --- processors

def test_cores_as_the_kernel_places_them(root):
    for number, (package, core) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1)]):
        write(root, {f"sys/devices/system/cpu/cpu{number}/topology/physical_package_id": package,
                     f"sys/devices/system/cpu/cpu{number}/topology/core_id": core})
    (root / "sys/devices/system/cpu/cpufreq").mkdir()
    cpu = described(root)["cpu"]
    assert (cpu["socket_count"], cpu["physical_core_count"]) == (2, 4)


def test_a_container_that_sees_a_share_of_the_machine_and_places_of_all_of_it(root):
    for number in range(64):
        write(root, {f"sys/devices/system/cpu/cpu{number}/topology/physical_package_id": 0,
                     f"sys/devices/system/cpu/cpu{number}/topology/core_id": number})
    assert described(root)["cpu"]["physical_core_count"] == 2


def test_an_arm_board(root):
    core = "processor\t: {}\nCPU implementer\t: 0x41\n\n"
    write(root, {"proc/cpuinfo": core.format(0) + core.format(1) + "Hardware\t: BCM2835"})
    assert described(root)["cpu"] == {"vendor": "ARM", "model": None, "socket_count": None,
                                      "physical_core_count": None, "logical_thread_count": 2}


# --- the snapshot

def test_it_is_taken_in_the_background(root, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    tool(tmp_path / "bin", "nvidia-smi", f"while [ ! -e {tmp_path}/go ]; do sleep 0.02; done\n"
                                         "echo '00000000:01:00.0, 24576, 570.00, 350.00, 8.9, NVIDIA Test'")
    machine = Hardware(root=str(root), gpus=GpuReader([Family([NvidiaSmi()])]))
    machine.start()
    assert machine.snapshot() is None and "unknown" in repr(machine)
    (tmp_path / "go").touch()
    deadline = time.monotonic() + 20
    while machine.snapshot() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert machine.snapshot()["accelerators"][0]["model"] == "NVIDIA Test"
    machine.close()


def test_what_does_not_pass_the_last_check_is_not_shown(root, monkeypatch, caplog):
    monkeypatch.setattr(hardware, "_memory_bytes", lambda root: -1)
    machine = Hardware(root=str(root), gpus=GpuReader([]))
    machine.detect()
    assert machine.snapshot() is None
    assert "memory.capacity_bytes is -1" in caplog.text


def test_this_machine():
    machine = Hardware()
    machine.detect()
    assert machine.snapshot()["cpu"]["logical_thread_count"] > 0
    assert machine.snapshot()["memory"]["capacity_bytes"] > 1 << 28
