"""What this machine is: GET /api/hardware, taken once, in the background, while the program already serves.

Every fact has a few places where it may be found, and the first that tells it counts. What nobody tells is null, never
a guess. `root` stands for "/", so that a recorded tree can take the machine's place.
"""
from __future__ import annotations

import logging
import os
import platform
import re
from datetime import datetime, timezone
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

from llamaswap import __version__
from llamaswap.runtime.gpus import GpuFacts, GpuReader, pci_address
from llamaswap.runtime.hardware_shape import problems_of
from llamaswap.runtime.hoststats import names_in, numbers, read_meminfo, text_of
from llamaswap.runtime.monitor import default_gpus
from llamaswap.runtime.threads import spawn

log = logging.getLogger(__name__)

Facts = Dict[str, Any]

ARCHITECTURES = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "arm64", "arm64": "arm64", "armv7l": "armv7",
                 "ppc64le": "ppc64le", "riscv64": "riscv64", "s390x": "s390x"}
CPU_VENDORS = {"GenuineIntel": "Intel", "AuthenticAMD": "AMD", "HygonGenuine": "Hygon", "0x41": "ARM",
               "0x4e": "NVIDIA", "0x51": "Qualcomm", "0x61": "Apple", "0xc0": "Ampere"}
GPU_VENDORS = {"0x10de": "NVIDIA", "0x1002": "AMD", "0x1022": "AMD", "0x8086": "Intel", "0x106b": "Apple"}
CONTAINERS = ("docker", "podman", "kubepods", "lxc", "libpod", "containerd", "nspawn")
# What firmware calls a machine that is none.
VIRTUAL = {"qemu": "QEMU", "kvm": "KVM", "vmware": "VMware", "virtualbox": "VirtualBox", "innotek": "VirtualBox",
           "virtual machine": "Hyper-V", "xen": "Xen", "google compute engine": "Google Compute Engine",
           "amazon ec2": "Amazon EC2", "bochs": "Bochs", "parallels": "Parallels", "firecracker": "Firecracker"}
NO_LIMIT = 1 << 60      # cgroup v1 says "unlimited" with a number near 2^63


class Hardware:
    """The snapshot is made by start(), on a thread of its own, and does not change afterwards."""

    def __init__(self, *, root: str = "/", gpus: Optional[GpuReader] = None) -> None:
        self._root = root
        # Not the monitor's: sources are used by one thread at a time.
        self._gpus = gpus or default_gpus(root)
        self._snapshot: Optional[Facts] = None

    def __repr__(self) -> str:
        return f"Hardware({'known' if self._snapshot else 'unknown'})"

    def start(self) -> None:
        spawn("hardware", self.detect)

    def close(self) -> None:
        self._gpus.abort()

    def snapshot(self) -> Optional[Facts]:
        """None while it is not known, and when it could not be found out."""
        return self._snapshot

    def detect(self) -> None:
        """What does not pass the final check is not shown: programs rely on the shape."""
        found = describe(self._root, self._gpus.facts())
        self._gpus.close()
        problems = problems_of(found)
        if problems:
            log.warning("the hardware could not be described: %s", "; ".join(problems))
            return
        self._snapshot = found


def describe(root: str, gpus: Sequence[GpuFacts]) -> Facts:
    now = datetime.now(timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")
    return {
        "schema_version": 1, "captured_at": now,
        "capture": {"scope": "inference_host", "method": "detected",
                    "detector": {"name": "llamaswap", "version": __version__}},
        "architecture": architecture_of(platform.machine()), "operating_system": _system(root),
        "environment": _environment(root), "cpu": _cpu(root), "memory": {"capacity_bytes": _memory_bytes(root)},
        "accelerators": _accelerators([*gpus, *_drm_facts(root), *_npu_facts(root)]),
    }


def architecture_of(machine: str) -> Facts:
    name = ARCHITECTURES.get(machine.lower(), "armv7" if machine.startswith("armv7") else "other")
    return {"name": name, "raw_name": machine or None if name == "other" else None}


# --- the system

def _system(root: str) -> Facts:
    release = _os_release(root)
    family = {"Linux": "linux", "Darwin": "macos", "Windows": "windows"}.get(platform.system(), "other")
    kernel = text_of(_under(root, "proc/sys/kernel/osrelease")).strip() or platform.release()
    found = {"family": family, "name": release.get("NAME") or ("macOS" if family == "macos" else None),
             "version": release.get("VERSION_ID") or platform.mac_ver()[0] or None, "kernel": kernel or None}
    return {**found, "raw_family": platform.system() or None} if family == "other" else found


def _os_release(root: str) -> Dict[str, str]:
    text = text_of(_under(root, "etc/os-release")) or text_of(_under(root, "usr/lib/os-release"))
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
    return {name.strip(): value.strip().strip("\"'") for name, _, value in pairs}


def _environment(root: str) -> Facts:
    """The innermost layer: a container in a virtual machine is a container."""
    kernel = text_of(_under(root, "proc/sys/kernel/osrelease")).lower()
    if "microsoft" in kernel:
        return {"kind": "wsl", "name": "WSL 2" if "wsl2" in kernel else "WSL", "version": None}
    container = _container(root)
    if container is not None:
        return {"kind": "container", "name": container or None, "version": None}
    machine = _virtual_machine(root)
    if machine is not None:
        return {"kind": "virtual_machine", "name": machine or None, "version": None}
    is_sure = bool(_cpu_rows(root)) or bool(text_of(_under(root, "sys/class/dmi/id/sys_vendor")))
    return {"kind": "native" if is_sure else "unknown", "name": None, "version": None}


def _container(root: str) -> Optional[str]:
    """Its kind, "" when that is not known, None when there is none."""
    named = text_of(_under(root, "run/systemd/container")).strip()
    if named:
        return named
    if os.path.exists(_under(root, ".dockerenv")):
        return "docker"
    if os.path.exists(_under(root, "run/.containerenv")):
        return "podman"
    group = text_of(_under(root, "proc/1/cgroup"))
    return next((name for name in CONTAINERS if name in group), None)


def _virtual_machine(root: str) -> Optional[str]:
    said = " ".join(text_of(_under(root, f"sys/class/dmi/id/{name}")).strip().lower()
                    for name in ("sys_vendor", "product_name"))
    for word, name in VIRTUAL.items():
        if word in said:
            return name
    kind = text_of(_under(root, "sys/hypervisor/type")).strip()
    if kind:
        return kind
    return "" if any("hypervisor" in row.get("flags", "").split() for row in _cpu_rows(root)) else None


# --- processors

def _cpu(root: str) -> Facts:
    rows = _cpu_rows(root)
    first: Mapping[str, str] = rows[0] if rows else {}
    raw_vendor = first.get("vendor_id") or first.get("CPU implementer")
    model = first.get("model name") or first.get("cpu") or first.get("Model")
    known = [place for place in map(_place, _cpu_directories(root)) if place is not None]
    if len(known) != len(rows):
        # A container may see all of the machine there, and its share of it in cpuinfo.
        known = [(row["physical id"], row["core id"]) for row in rows if "physical id" in row and "core id" in row]
    places = set(known)
    return {"vendor": CPU_VENDORS.get(raw_vendor, raw_vendor) if raw_vendor else None, "model": model or None,
            "socket_count": len({package for package, _ in places}) or None,
            "physical_core_count": len(places) or None, "logical_thread_count": len(rows) or os.cpu_count()}


def _cpu_rows(root: str) -> List[Dict[str, str]]:
    """One row per thread of the processor; what stands outside of these rows belongs to none."""
    rows: List[Dict[str, str]] = []
    for line in text_of(_under(root, "proc/cpuinfo")).splitlines():
        name, _, value = (part.strip() for part in line.partition(":"))
        if name == "processor" and value.isdigit():
            rows.append({})
        elif name and rows:
            rows[-1][name] = value
    return rows


def _cpu_directories(root: str) -> Iterator[str]:
    base = _under(root, "sys/devices/system/cpu")
    return (os.path.join(base, name, "topology") for name in names_in(base) if re.fullmatch(r"cpu\d+", name))


def _place(topology: str) -> Optional[Tuple[str, str]]:
    """Package and core; a package of -1 is one that the system does not know."""
    package, core = (text_of(os.path.join(topology, name)).strip() for name in ("physical_package_id", "core_id"))
    return (package, core) if package.isdigit() and core.isdigit() else None


# --- memory

def _memory_bytes(root: str) -> Optional[int]:
    """What is built in, or what this group of processes may have of it. MemTotal lacks what the kernel set aside."""
    kib = read_meminfo(_under(root, "proc/meminfo")).get("MemTotal", 0)
    pages = _present_pages(text_of(_under(root, "proc/zoneinfo")))
    built_in = max(kib * 1024, pages * os.sysconf("SC_PAGE_SIZE")) or _physical_bytes()
    limits = [limit for limit in _group_limits(root) if 0 < limit < NO_LIMIT]
    return min([built_in, *limits]) if built_in else None


def _present_pages(zoneinfo: str) -> int:
    """Without zone Device: that is the memory of GPUs, as far as the kernel manages it."""
    total, is_counted = 0, False
    for line in zoneinfo.splitlines():
        if line.startswith("Node"):
            is_counted = not line.rstrip().endswith("Device")
        fields = line.split()
        if is_counted and len(fields) == 2 and fields[0] == "present":
            total += sum(numbers(fields[1:]))
    return total


def _group_limits(root: str) -> Iterator[int]:
    """A limit holds for all below it, so every group up to the topmost counts. Version 2, then version 1."""
    for line in text_of(_under(root, "proc/self/cgroup")).splitlines():
        number, controllers, path = (*line.split(":", 2), "", "")[:3]
        if number == "0" and not controllers:
            bases, file = ["sys/fs/cgroup", "sys/fs/cgroup/unified"], "memory.max"
        elif "memory" in controllers.split(","):
            bases, file = ["sys/fs/cgroup/memory"], "memory.limit_in_bytes"
        else:
            continue
        parts = [part for part in path.split("/") if part not in ("", "..")]
        for base in bases:
            for depth in range(len(parts), -1, -1):
                yield from numbers([text_of(_under(root, os.path.join(base, *parts[:depth], file))).strip()])


def _physical_bytes() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 0


# --- accelerators

def _accelerators(facts: Sequence[GpuFacts]) -> List[Facts]:
    """One per address; of several sources the first that knows a fact counts."""
    merged: Dict[str, GpuFacts] = {}
    for number, each in enumerate(facts):
        key = each.pci or f"#{number}"
        known = merged.get(key, each)
        merged[key] = known._replace(**{name: getattr(each, name) for name in GpuFacts._fields
                                        if getattr(known, name) is None})
    # A tool that knows no addresses would show the same GPUs once more.
    placed = {each.vendor for key, each in merged.items() if not key.startswith("#")}
    kept = [each for key, each in merged.items() if not key.startswith("#") or each.vendor not in placed]
    return [_accelerator(index, each) for index, each in enumerate(kept)]


def _accelerator(index: int, facts: GpuFacts) -> Facts:
    driver = {"name": facts.driver_name, "version": facts.driver_version} if facts.driver_name else None
    return {"index": index, "kind": facts.kind, "vendor": facts.vendor, "model": facts.model,
            "architecture": facts.architecture,
            "memory": {"kind": facts.memory_kind or "unknown", "capacity_bytes": facts.capacity_bytes or None},
            "driver": driver, "power_limit_watts": facts.power_limit_watts or None}


def _drm_facts(root: str) -> Iterator[GpuFacts]:
    """GPUs that somebody can compute on: those with a render node that is there for us, too."""
    drm = _under(root, "sys/class/drm")
    for name in names_in(drm):
        if name.startswith("renderD") and os.path.exists(_under(root, f"dev/dri/{name}")):
            facts = _device_facts(os.path.join(drm, name, "device"), "gpu")
            if facts is not None:
                yield facts


def _npu_facts(root: str) -> Iterator[GpuFacts]:
    accel = _under(root, "sys/class/accel")
    for name in names_in(accel):
        facts = _device_facts(os.path.join(accel, name, "device"), "npu")
        if facts is not None:
            yield facts


def _device_facts(device: str, kind: str) -> Optional[GpuFacts]:
    vendor = GPU_VENDORS.get(text_of(os.path.join(device, "vendor")).strip())
    if vendor is None:
        return None
    driver = os.path.basename(os.path.realpath(os.path.join(device, "driver")))
    size = numbers([text_of(os.path.join(device, "mem_info_vram_total")).strip()])
    return GpuFacts(pci=pci_address(os.path.basename(os.path.realpath(device))), vendor=vendor, kind=kind,
                    capacity_bytes=size[0] if size else None, driver_name=driver if driver != "driver" else None)


def _under(root: str, path: str) -> str:
    return os.path.join(root, path)
