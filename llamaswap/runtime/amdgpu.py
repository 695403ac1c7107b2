"""AMD GPUs as the kernel shows them: sysfs for the GPUs, fdinfo and KFD for the processes. No ROCm is needed.

A GPU that sleeps is not asked: reading its sensors would wake it, every few seconds, all night.
"""
from __future__ import annotations

import os
from typing import Collection, Dict, Iterator, List, Optional, Tuple

from llamaswap.runtime.gpus import GpuFacts, GpuStats, Usage, add_usage, pci_address, scaled, share
from llamaswap.runtime.hoststats import names_in, text_of

AMD = "0x1002"
MIB = 1 << 20
KIB = 1 << 10
UNITS = {"": 1, "KiB": KIB, "MiB": MIB}
FAN_FULL = 255      # of a PWM, unless the driver says otherwise
# Older kernels have only the first; with both, they are the same number.
VRAM_KEYS = ("drm-memory-vram", "drm-resident-vram")


class _Card:
    """Where to read, and what never changes."""

    def __init__(self, root: str, device: str) -> None:
        self.device = device
        self.pci = pci_address(os.path.basename(os.path.realpath(device)))
        monitors = os.path.join(device, "hwmon")
        self.place = self.pci or device
        self.index = 0
        self.hwmon = next((os.path.join(monitors, name) for name in names_in(monitors)), "")
        self.name = _name_of(root, device)
        unique = text_of(os.path.join(device, "unique_id")).strip()
        self.uuid = f"GPU-{unique}" if unique else ""
        self.sensors = {text_of(os.path.join(self.hwmon, name)).strip(): name.partition("_")[0]
                        for name in names_in(self.hwmon) if name.startswith("temp") and name.endswith("_label")}


class AmdSysfs:
    """`root` stands for "/"."""

    name = "amdgpu"

    def __init__(self, root: str = "/") -> None:
        self._root = root
        self._cards: List[_Card] = []
        self._seen: List[Tuple[str, str]] = []       # what could have been a card when they were looked for
        self._numbers: Dict[str, int] = {}           # by place; they stay when a card is lost, and wait for it

    def read(self) -> Optional[List[GpuStats]]:
        return [_read(card) for card in self._find_cards()] or None

    def usage(self, pids: Optional[Collection[int]]) -> Optional[Usage]:
        if pids is None:
            return None             # looking at every process of the machine would take too long
        indexes = {card.pci: card.index for card in self._find_cards()}
        kfd = self._kfd_nodes()
        usage: Usage = {}
        for pid in pids:
            for pci, size in self._drm_memory(pid).items():
                if pci in indexes:
                    add_usage(usage, pid, indexes[pci], size)
            for gpu_id, size in self._kfd_memory(pid):
                pci = kfd.get(gpu_id, ("", ""))[0]
                if pci in indexes:
                    add_usage(usage, pid, indexes[pci], size)
        return usage

    def facts(self) -> List[GpuFacts]:
        targets = dict(self._kfd_nodes().values())
        version = text_of(os.path.join(self._root, "sys/module/amdgpu/version")).strip()
        facts = []
        for card in self._find_cards():
            cap = _number(os.path.join(card.hwmon, "power1_cap")) if card.hwmon else None
            total = _number(os.path.join(card.device, "mem_info_vram_total"))
            # The maker of its memory chips is known only of memory that is the GPU's own.
            maker = text_of(os.path.join(card.device, "mem_info_vram_vendor")).strip()
            facts.append(GpuFacts(
                pci=card.pci, vendor="AMD", model=card.name, architecture=targets.get(card.pci) or None,
                memory_kind="dedicated" if maker not in ("", "unknown") else None, capacity_bytes=total,
                driver_name="amdgpu", driver_version=version or None, power_limit_watts=scaled(cap, 1e-6)))
        return facts

    def abort(self) -> None:
        """Nothing here takes long."""

    def close(self) -> None:
        self._cards, self._seen = [], []

    # --- cards

    def _find_cards(self) -> List[_Card]:
        """In the order of their addresses, as ROCm numbers them, and what was plugged in later behind. Looked for again
        when something has come or gone."""
        seen = list(self._devices())
        if seen != self._seen:
            cards = [_Card(self._root, device) for device, _ in seen if _is_amd(device)]
            for card in sorted(cards, key=lambda card: card.place):
                card.index = self._numbers.setdefault(card.place, len(self._numbers))
            self._cards, self._seen = sorted(cards, key=lambda card: card.index), seen
        return self._cards

    def _devices(self) -> Iterator[Tuple[str, str]]:
        """With where each really is."""
        drm = os.path.join(self._root, "sys/class/drm")
        for name in names_in(drm):
            device = os.path.join(drm, name, "device")
            # card0-DP-1 is a connector
            if name.startswith("card") and name[4:].isdigit() and os.path.exists(device):
                yield device, os.path.realpath(device)

    # --- processes

    def _drm_memory(self, pid: int) -> Dict[str, int]:
        """Bytes by PCI address. A client may be open under several descriptors, each telling the same."""
        clients: Dict[Tuple[str, str], int] = {}
        directory = os.path.join(self._root, "proc", str(pid), "fdinfo")
        descriptors = os.path.join(self._root, "proc", str(pid), "fd")
        for name in names_in(directory):
            if not _may_be_gpu(os.path.join(descriptors, name)):
                continue
            fields = dict(_fields(text_of(os.path.join(directory, name))))
            size = next((_bytes(fields[key]) for key in VRAM_KEYS if key in fields), None)
            if fields.get("drm-driver") == "amdgpu" and size is not None:
                clients[fields.get("drm-pdev", ""), fields.get("drm-client-id", name)] = size
        total: Dict[str, int] = {}
        for (pci, _), size in clients.items():
            total[pci] = total.get(pci, 0) + size
        return total

    def _kfd_memory(self, pid: int) -> Iterator[Tuple[str, int]]:
        """What a compute program (ROCm) holds, by the number KFD gives a GPU."""
        directory = os.path.join(self._root, "sys/class/kfd/kfd/proc", str(pid))
        for name in names_in(directory):
            size = _number(os.path.join(directory, name)) if name.startswith("vram_") else None
            if size is not None:
                yield name[5:], size

    def _kfd_nodes(self) -> Dict[str, Tuple[str, str]]:
        """GPU number of KFD → PCI address and gfx target."""
        nodes = os.path.join(self._root, "sys/class/kfd/kfd/topology/nodes")
        found = {}
        for name in names_in(nodes):
            gpu_id = text_of(os.path.join(nodes, name, "gpu_id")).strip()
            lines = (line.split() for line in text_of(os.path.join(nodes, name, "properties")).splitlines())
            values = {pair[0]: int(pair[1]) for pair in lines if len(pair) == 2 and pair[1].isdigit()}
            place, target = values.get("location_id", 0), values.get("gfx_target_version", 0)
            if gpu_id not in ("", "0") and place:
                pci = f"{values.get('domain', 0):04x}:{place >> 8 & 255:02x}:{place >> 3 & 31:02x}.{place & 7}"
                found[gpu_id] = (pci, _gfx(target) if target else "")
        return found


def _is_amd(device: str) -> bool:
    return (text_of(os.path.join(device, "vendor")).strip() == AMD
            and os.path.exists(os.path.join(device, "mem_info_vram_total")))


def _read(card: _Card) -> GpuStats:
    if text_of(os.path.join(card.device, "power/runtime_status")).strip() == "suspended":
        return GpuStats(id=card.index, name=card.name, uuid=card.uuid)
    used, total = (_number(os.path.join(card.device, f"mem_info_vram_{which}")) for which in ("used", "total"))
    busy = _number(os.path.join(card.device, "gpu_busy_percent"))
    edge = "edge" if "edge" in card.sensors else "junction"
    average = _hwmon(card, "power1_average")
    power = average if average is not None else _hwmon(card, "power1_input")
    return GpuStats(
        id=card.index, name=card.name, uuid=card.uuid, temp_c=_celsius(card, edge), vram_temp_c=_celsius(card, "mem"),
        gpu_util_pct=None if busy is None else float(busy), mem_util_pct=share(used, total),
        mem_used_mb=None if used is None else used // MIB, mem_total_mb=None if total is None else total // MIB,
        fan_speed_pct=_fan(card), power_draw_w=scaled(power, 1e-6),
        power_limit_w=scaled(_hwmon(card, "power1_cap"), 1e-6), temp_limit_c=_celsius(card, edge, "crit"))


def _celsius(card: _Card, sensor: str, what: str = "input") -> Optional[int]:
    # A card with one unlabelled sensor means its edge.
    number = card.sensors.get(sensor) or ("temp1" if sensor != "mem" and not card.sensors else "")
    value = _hwmon(card, f"{number}_{what}") if number else None
    return None if value is None else round(value / 1000)


def _fan(card: _Card) -> Optional[float]:
    pwm, full = _hwmon(card, "pwm1"), _hwmon(card, "pwm1_max")
    if pwm is not None:
        return share(pwm, full or FAN_FULL)
    return share(_hwmon(card, "fan1_input"), _hwmon(card, "fan1_max"))


def _hwmon(card: _Card, name: str) -> Optional[int]:
    return _number(os.path.join(card.hwmon, name)) if card.hwmon else None


def _name_of(root: str, device: str) -> str:
    """As the board names itself, else as the list that comes with Mesa names the chip."""
    name = text_of(os.path.join(device, "product_name")).strip()
    if name:
        return name
    chip, revision = (text_of(os.path.join(device, what)).strip()[2:].upper() for what in ("device", "revision"))
    for line in text_of(os.path.join(root, "usr/share/libdrm/amdgpu.ids")).splitlines():
        parts = [part.strip() for part in line.split(",", 2)]
        if len(parts) == 3 and (parts[0].upper(), parts[1].upper()) == (chip, revision):
            return parts[2]
    return f"AMD GPU {chip}" if chip else "AMD GPU"


def _may_be_gpu(descriptor: str) -> bool:
    """Of the thousands of descriptors a server may have, only those of devices are worth reading."""
    try:
        return os.readlink(descriptor).startswith("/dev/dri/")
    except OSError:
        return False


def _gfx(version: int) -> str:
    """110000 is gfx1100, 90010 is gfx90a."""
    return f"gfx{version // 10000}{version // 100 % 100:x}{version % 100:x}"


def _fields(text: str) -> Iterator[Tuple[str, str]]:
    for line in text.splitlines():
        name, _, value = line.partition(":")
        yield name.strip(), value.strip()


def _bytes(value: str) -> Optional[int]:
    amount, _, unit = value.partition(" ")
    return int(amount) * UNITS[unit.strip()] if amount.isdigit() and unit.strip() in UNITS else None


def _number(path: str) -> Optional[int]:
    text = text_of(path).strip()
    return int(text) if text.isdigit() else None
