"""The machine without its GPUs: processors, memory, load, network, disks; read as text from /proc and /sys.

`root` stands for "/", so that a recorded tree can take its place. What cannot be read is None, or an empty tuple where
several are meant; never 0. On systems without /proc that is nearly everything.
"""
from __future__ import annotations

import os
from typing import Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

SECTOR_BYTES = 512          # what /proc/diskstats counts in, whatever the disk's own blocks are
KIB_PER_MIB = 1024
# Memory and files posing as disks; what is on them is counted where it really is, or nowhere.
NO_DISKS = ("loop", "ram", "zram")
# Percentages in steps of 0.1 share these objects: an hour of samples of 64 cores is 46,000 numbers, at 24 bytes each
# when every one is an object of its own.
PERCENTAGES = tuple(step / 10 for step in range(1001))


class NetIo(NamedTuple):
    """Counted since the machine started."""

    name: str
    bytes_recv: int
    bytes_sent: int


class SysStats(NamedTuple):
    """Percentages of the time since the sample before; MiB; bytes of network and disks since the machine started."""

    cpu_util_per_core: Tuple[float, ...] = ()
    mem_total_mb: Optional[int] = None
    mem_used_mb: Optional[int] = None
    mem_free_mb: Optional[int] = None
    swap_total_mb: Optional[int] = None
    swap_used_mb: Optional[int] = None
    load_avg_1: Optional[float] = None
    load_avg_5: Optional[float] = None
    load_avg_15: Optional[float] = None
    net_io: Tuple[NetIo, ...] = ()
    disk_read_bytes: Optional[int] = None
    disk_written_bytes: Optional[int] = None


class HostStats:
    """Used by one thread. The first read after this has been made covers the time in between."""

    def __init__(self, root: str = "/") -> None:
        self._proc = os.path.join(root, "proc")
        self._blocks = os.path.join(root, "sys/block")
        self._is_disk: Dict[str, bool] = {}
        self._before: Dict[str, Tuple[int, int]] = {}
        self._cores()

    def read(self) -> SysStats:
        memory = read_meminfo(self._path("meminfo"))
        load = self._load()
        read_bytes, written_bytes = self._disks()
        total, available, free = memory.get("MemTotal"), memory.get("MemAvailable"), memory.get("MemFree")
        swap_total, swap_free = memory.get("SwapTotal"), memory.get("SwapFree")
        return SysStats(
            cpu_util_per_core=self._cores(),
            mem_total_mb=_mib(total) if total is not None else _physical_mib(),
            mem_used_mb=_mib(_less(total, available if available is not None else free)),
            mem_free_mb=_mib(free), swap_total_mb=_mib(swap_total), swap_used_mb=_mib(_less(swap_total, swap_free)),
            load_avg_1=load[0], load_avg_5=load[1], load_avg_15=load[2], net_io=tuple(self._interfaces()),
            disk_read_bytes=read_bytes, disk_written_bytes=written_bytes)

    def _path(self, name: str) -> str:
        return os.path.join(self._proc, name)

    def _cores(self) -> Tuple[float, ...]:
        """Busy share per core that was there the last time too: cores may be switched off and on."""
        now: Dict[str, Tuple[int, int]] = {}
        for line in text_of(self._path("stat")).splitlines():
            name, _, fields = line.partition(" ")
            if not name.startswith("cpu"):
                break
            ticks = numbers(fields.split())
            if name != "cpu" and len(ticks) >= 4:
                # The first eight: what guests use is in `user` already. Idle is idle plus waiting for disks.
                total, idle = sum(ticks[:8]), sum(ticks[3:5])
                now[name] = (total, total - idle)
        before, self._before = self._before, now
        return tuple(_share(now[name], before[name]) for name in now if name in before
                     and now[name][0] > before[name][0])

    def _load(self) -> Sequence[Optional[float]]:
        fields = text_of(self._path("loadavg")).split()[:3]
        try:
            return [float(field) for field in fields] if len(fields) == 3 else os.getloadavg()
        except (ValueError, OSError):
            return (None, None, None)

    def _interfaces(self) -> Iterator[NetIo]:
        for line in text_of(self._path("net/dev")).splitlines()[2:]:
            name, _, rest = line.partition(":")
            counts = numbers(rest.split())
            if name.strip() != "lo" and len(counts) >= 9:
                yield NetIo(name.strip(), counts[0], counts[8])

    def _disks(self) -> Tuple[Optional[int], Optional[int]]:
        read = written = 0
        lines = text_of(self._path("diskstats")).splitlines()
        if not lines:
            return None, None
        for line in lines:
            fields = line.split()
            counts = numbers(fields[3:])
            if len(counts) >= 7 and self._counts(fields[2]):
                read += counts[2]
                written += counts[6]
        return read * SECTOR_BYTES, written * SECTOR_BYTES

    def _counts(self, name: str) -> bool:
        """Partitions are not in sys/block. What is built on other disks (LVM, RAID) has them as its slaves."""
        if name not in self._is_disk:
            block = os.path.join(self._blocks, name)
            self._is_disk[name] = (os.path.isdir(block) and not name.startswith(NO_DISKS)
                                   and not names_in(os.path.join(block, "slaves")))
        return self._is_disk[name]


def read_meminfo(path: str) -> Dict[str, int]:
    """KiB by name."""
    found: Dict[str, int] = {}
    for line in text_of(path).splitlines():
        name, _, rest = line.partition(":")
        amount = numbers(rest.split()[:1])
        if amount:
            found[name] = amount[0]
    return found


def text_of(path: str) -> str:
    """A small file of /proc or /sys; empty when it cannot be read. Unbuffered: io costs more than such a read."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        pieces: List[bytes] = []
        while True:
            piece = os.read(fd, 65536)
            if not piece:
                return b"".join(pieces).decode("utf-8", "replace")
            pieces.append(piece)
    except OSError:
        return ""
    finally:
        os.close(fd)


def names_in(path: str) -> List[str]:
    """Sorted; empty when there is no such directory."""
    try:
        return sorted(os.listdir(path))
    except OSError:
        return []


def numbers(fields: Sequence[str]) -> List[int]:
    """As far as they are numbers."""
    found: List[int] = []
    for field in fields:
        if not field.isdecimal():
            break
        found.append(int(field))
    return found


def percentage(value: float) -> float:
    return PERCENTAGES[min(1000, max(0, round(value * 10)))]


def _share(now: Tuple[int, int], before: Tuple[int, int]) -> float:
    """Clamped, because the idle counter of a core may go back a little."""
    return percentage(100 * (now[1] - before[1]) / (now[0] - before[0]))


def _less(total: Optional[int], rest: Optional[int]) -> Optional[int]:
    return None if total is None or rest is None else max(0, total - rest)


def _mib(kib: Optional[int]) -> Optional[int]:
    return None if kib is None else kib // KIB_PER_MIB


def _physical_mib() -> Optional[int]:
    """macOS has this much."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // (1 << 20)
    except (OSError, ValueError):
        return None
