"""Machines as trees of small files, and GPUs as libraries and tools that are none."""
from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Dict, List, Optional

PROC_STAT = """\
cpu  300 0 100 700 100 0 0 0 0 0
cpu0 100 0 50 400 50 0 0 0 0 0
cpu1 200 0 50 300 50 0 0 0 0 0
intr 5 0
"""
MEMINFO = """\
MemTotal:       32768000 kB
MemFree:         8192000 kB
MemAvailable:   16384000 kB
SwapTotal:       2048000 kB
SwapFree:        1024000 kB
"""
NET_DEV = """\
Inter-|   Receive                            |  Transmit
 face |bytes packets errs drop fifo frame compressed multicast|bytes packets errs drop fifo colls carrier compressed
    lo:     111       1    0    0    0     0          0         0      111       1    0    0    0     0       0      0
  eth0: 5000000      10    0    0    0     0          0         0   700000       9    0    0    0     0       0      0
wlp2s0:42 1 0 0 0 0 0 0 43 1 0 0 0 0 0 0
"""
DISKSTATS = """\
   7       0 loop0 9 0 900 0 9 0 900 0 0 0 0
 259       0 nvme0n1 10 0 1000 5 20 0 400 5 0 5 5
 259       1 nvme0n1p1 10 0 1000 5 20 0 400 5 0 5 5
   8       0 sda 1 0 24 0 1 0 8 0 0 0 0 0 0 0 0
 253       0 dm-0 10 0 1000 5 20 0 400 5 0 5 5
 252       0 zram0 1 0 8 0 1 0 8 0 0 0 0
"""
CPUINFO = "\n\n".join(f"""\
processor\t: {number}
vendor_id\t: GenuineIntel
model name\t: Intel(R) Core(TM) Test
physical id\t: 0
core id\t\t: {number // 2}
flags\t\t: fpu sse"""
                      for number in range(4)) + "\n"


def write(root: Path, files: Dict[str, Any]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n" if not str(text).endswith("\n") else str(text), encoding="utf-8")
    return root


def plain_machine(root: Path) -> Path:
    """Two cores in /proc/stat, four threads in cpuinfo, two disks of which one carries a volume; no GPU."""
    for name in ("loop0", "nvme0n1/nvme0n1p1", "sda/slaves", "dm-0/slaves/nvme0n1p1", "zram0"):
        (root / "sys/block" / name).mkdir(parents=True)
    return write(root, {
        "proc/stat": PROC_STAT, "proc/meminfo": MEMINFO, "proc/net/dev": NET_DEV, "proc/diskstats": DISKSTATS,
        "proc/loadavg": "0.50 1.25 2.00 1/100 4242", "proc/cpuinfo": CPUINFO, "proc/self/cgroup": "0::/",
        "proc/sys/kernel/osrelease": "6.1.0-test", "etc/os-release": 'NAME="Test Linux"\nVERSION_ID="12"',
        "sys/class/dmi/id/sys_vendor": "Acme", "sys/class/dmi/id/product_name": "Workstation"})


def amd_machine(root: Path) -> Path:
    """Two AMD GPUs whose card numbers are not in the order of their addresses; KFD knows both."""
    plain_machine(root)
    _amd_card(root, 1, "0000:03:00.0", chip="744c", used=5 << 30, total=24 << 30, busy=37, name="")
    _amd_card(root, 0, "0000:43:00.0", chip="740f", used=1 << 30, total=64 << 30, busy=0, name="AMD Instinct Test")
    write(root, {"usr/share/libdrm/amdgpu.ids": "# version\n1.0.0\n744C,\tC8,\tAMD Radeon RX 7900 XTX",
                 "sys/module/amdgpu/version": "6.8.5"})
    (root / "sys/class/drm/card0-DP-1").mkdir(parents=True)
    nodes = "sys/class/kfd/kfd/topology/nodes"
    write(root, {f"{nodes}/0/gpu_id": 0, f"{nodes}/0/properties": "cpu_cores_count 16\nlocation_id 0",
                 f"{nodes}/1/gpu_id": 5001, f"{nodes}/1/properties": _kfd(0x03, 110000),
                 f"{nodes}/2/gpu_id": 5002, f"{nodes}/2/properties": _kfd(0x43, 90010)})
    return root


def _kfd(bus: int, target: int) -> str:
    return f"cpu_cores_count 0\nlocation_id {bus << 8}\ndomain 0\ngfx_target_version {target}"


def _amd_card(root: Path, number: int, pci: str, *, chip: str, used: int, total: int, busy: int, name: str) -> None:
    device = f"sys/devices/pci0000:00/{pci}"
    sensors = {"temp1_label": "edge", "temp1_input": 45000, "temp1_crit": 100000, "temp2_label": "junction",
               "temp2_input": 52000, "temp3_label": "mem", "temp3_input": 61000, "power1_average": 123456789,
               "power1_cap": 300000000, "pwm1": 51, "pwm1_max": 255}
    write(root, {f"{device}/vendor": "0x1002", f"{device}/device": f"0x{chip}", f"{device}/revision": "0xc8",
                 f"{device}/mem_info_vram_used": used, f"{device}/mem_info_vram_total": total,
                 f"{device}/mem_info_vram_vendor": "samsung",
                 f"{device}/gpu_busy_percent": busy, f"{device}/product_name": name,
                 f"{device}/unique_id": f"ab{number}",
                 f"dev/dri/renderD{128 + number}": "",
                 **{f"{device}/hwmon/hwmon{number}/{file}": value for file, value in sensors.items()}})
    (root / "sys/bus/pci/drivers/amdgpu").mkdir(parents=True, exist_ok=True)
    (root / device / "driver").symlink_to(root / "sys/bus/pci/drivers/amdgpu")
    for node in (f"card{number}", f"renderD{128 + number}"):
        (root / "sys/class/drm" / node).mkdir(parents=True)
        (root / "sys/class/drm" / node / "device").symlink_to(root / device)


def gpu_process(root: Path, pid: int, **files: str) -> None:
    """`files`: descriptor (d7) → its fdinfo. All lead to a GPU but those whose text is empty."""
    for name, text in files.items():
        write(root, {f"proc/{pid}/fdinfo/{name[1:]}": text})
        (root / f"proc/{pid}/fd").mkdir(parents=True, exist_ok=True)
        (root / f"proc/{pid}/fd/{name[1:]}").symlink_to("/dev/dri/renderD128" if text else "/tmp/file")


def tool(directory: Path, name: str, script: str) -> Path:
    """A program for PATH that runs `script` in a shell. Atomically replaced, so that none is ever half written."""
    directory.mkdir(parents=True, exist_ok=True)
    fresh = directory / f".{name}"
    fresh.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    fresh.chmod(0o755)
    os.replace(fresh, directory / name)
    return directory / name


class FakeNvml:
    """Stands for the module `pynvml`. `broken` holds names of functions that fail, `gpus` what they answer."""

    NVML_TEMPERATURE_GPU = 0
    NVML_TEMPERATURE_THRESHOLD_SLOWDOWN = 1
    NVML_FI_DEV_MEMORY_TEMP = 82
    nvmlMemory_v2 = 0x2000028

    class NVMLError(Exception):
        pass

    def __init__(self, *gpus: Dict[str, Any]) -> None:
        self.gpus: List[Dict[str, Any]] = list(gpus)
        self.broken: set = set()
        self.inits = self.shutdowns = 0

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("nvml") and name in object.__getattribute__(self, "broken"):
            return self._fail
        return object.__getattribute__(self, name)

    def _fail(self, *args: Any) -> Any:
        raise self.NVMLError("Not Supported")

    def _of(self, handle: int, name: str) -> Any:
        value = self.gpus[handle].get(name)
        return value if value is not None else self._fail()

    def nvmlInit(self) -> None:
        self.inits += 1

    def nvmlShutdown(self) -> None:
        self.shutdowns += 1

    def nvmlDeviceGetCount(self) -> int:
        return len(self.gpus)

    def nvmlSystemGetDriverVersion(self) -> str:
        return "570.00"

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetName(self, handle: int) -> bytes:
        return self._of(handle, "name").encode()

    def nvmlDeviceGetUUID(self, handle: int) -> str:
        return self._of(handle, "uuid")

    def nvmlDeviceGetMemoryInfo(self, handle: int, version: Optional[int] = None) -> Any:
        used, total = self._of(handle, "memory")
        if version is not None and not self.gpus[handle].get("has_v2"):
            self._fail()
        return SimpleNamespace(used=used, total=total)

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> Any:
        return SimpleNamespace(gpu=self._of(handle, "busy"), memory=1)

    def nvmlDeviceGetTemperature(self, handle: int, sensor: int) -> int:
        return self._of(handle, "temp")

    def nvmlDeviceGetTemperatureThreshold(self, handle: int, which: int) -> int:
        return self._of(handle, "slowdown")

    def nvmlDeviceGetFanSpeed(self, handle: int) -> int:
        return self._of(handle, "fan")

    def nvmlDeviceGetPowerUsage(self, handle: int) -> int:
        return self._of(handle, "milliwatts")

    def nvmlDeviceGetEnforcedPowerLimit(self, handle: int) -> int:
        return self._of(handle, "limit")

    def nvmlDeviceGetFieldValues(self, handle: int, fields: List[int]) -> Any:
        value = self._of(handle, "memory_temp")
        return [SimpleNamespace(nvmlReturn=0, value=SimpleNamespace(uiVal=value))]

    def nvmlDeviceGetArchitecture(self, handle: int) -> int:
        return self._of(handle, "architecture")

    def nvmlDeviceGetPciInfo(self, handle: int) -> Any:
        return SimpleNamespace(busId=self._of(handle, "pci").encode())

    def nvmlDeviceGetMigMode(self, handle: int) -> Any:
        return (1, 1) if "parts" in self.gpus[handle] else self._fail()

    def nvmlDeviceGetMaxMigDeviceCount(self, handle: int) -> int:
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle: int, index: int) -> int:
        parts = self._of(handle, "parts")
        return parts[index] if index < len(parts) else self._fail()

    def nvmlDeviceGetComputeRunningProcesses(self, handle: int) -> Any:
        return [SimpleNamespace(pid=pid, usedGpuMemory=size) for pid, size in self._of(handle, "compute")]

    def nvmlDeviceGetGraphicsRunningProcesses(self, handle: int) -> Any:
        return [SimpleNamespace(pid=pid, usedGpuMemory=size) for pid, size in self._of(handle, "graphics")]


def nvidia_gpu(number: int, **values: Any) -> Dict[str, Any]:
    return {"name": "NVIDIA Test, 24 GB", "uuid": f"GPU-{number}", "memory": (6 << 30, 24 << 30), "busy": 50,
            "temp": 60, "slowdown": 90, "fan": 30, "milliwatts": 250000, "limit": 350000, "architecture": 8,
            "pci": f"00000000:0{number + 1}:00.0", "compute": [], "graphics": [], **values}
