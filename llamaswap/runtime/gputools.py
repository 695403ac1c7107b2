"""GPUs through the tools of their vendors, where no library or file tells: nvidia-smi, rocm-smi.

Such a tool may hang in the driver, for ever and beyond the reach of SIGKILL. So it gets a deadline, its whole process
group is killed after it, and as long as one is stuck no second is started: they would pile up.
"""
from __future__ import annotations

import contextlib
import csv
import json
import os
import re
import select
import shutil
import signal
import subprocess
import threading
import time
from typing import Any, Collection, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

from llamaswap.runtime.gpus import (
    GpuFacts,
    GpuStats,
    Usage,
    add_usage,
    number_in,
    pci_address,
    share,
    text_in,
    whole_number_in,
)

TOOL_TIMEOUT = 5.0
REAP_PATIENCE = 0.5             # a killed process is gone at once, or stuck in the kernel
MAX_OUTPUT_BYTES = 1 << 20
MIB = 1 << 20


class Tool:
    """A program asked now and then. run() is for one thread at a time, abort() for any."""

    def __init__(self, name: str, *, timeout: float = TOOL_TIMEOUT) -> None:
        self.name = name
        self._timeout = timeout
        self.timed_out = False          # did the last run? Then asking in other words will not help
        # Guards these two, so that abort() never signals a pid that run() has reaped. Leaf.
        self._lock = threading.Lock()
        self._is_aborted = False
        self._child: Optional[subprocess.Popen[bytes]] = None
        self._stuck: Optional[subprocess.Popen[bytes]] = None

    def __repr__(self) -> str:
        return f"Tool({self.name}{', stuck' if self._stuck else ''})"

    def run(self, *arguments: str) -> Optional[str]:
        """What it printed; None when it is missing, failed, or did not end in time."""
        self.timed_out = False
        path = shutil.which(self.name)
        if path is None or self._is_aborted or self._is_stuck():
            return None
        try:
            child = subprocess.Popen([path, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                     stderr=subprocess.DEVNULL, start_new_session=True, close_fds=True,
                                     env={**os.environ, "LC_ALL": "C"})
        except OSError:
            return None
        with self._lock:
            self._child = child
            if self._is_aborted:
                _kill_group(child)
        deadline = time.monotonic() + self._timeout
        output = _read_until(child, deadline)
        self.timed_out = output is None
        # Having exited is not enough: a child of its own that holds the output is still there.
        is_over = output is not None and _has_ended(child, max(REAP_PATIENCE, deadline - time.monotonic()))
        code = self._end(child, is_over)
        return output.decode("utf-8", "replace") if output is not None and code == 0 else None

    def abort(self) -> None:
        """For good: the program ends."""
        with self._lock:
            self._is_aborted = True
            if self._child is not None:
                _kill_group(self._child)

    def _end(self, child: subprocess.Popen[bytes], is_over: bool) -> Optional[int]:
        """Its exit code; None when it had to be killed. Killing comes before reaping: then the pid is still its own."""
        with self._lock:
            self._child = None
            if not is_over:
                _kill_group(child)
        assert child.stdout is not None
        child.stdout.close()
        try:
            code = child.wait(REAP_PATIENCE)
        except subprocess.TimeoutExpired:
            self._stuck = child
            return None
        return code if is_over else None

    def _is_stuck(self) -> bool:
        if self._stuck is not None and self._stuck.poll() is not None:
            self._stuck = None
        return self._stuck is not None


def _read_until(child: subprocess.Popen[bytes], deadline: float) -> Optional[bytes]:
    """All output; None when it did not end in time or is too much."""
    assert child.stdout is not None
    fd = child.stdout.fileno()
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    pieces: List[bytes] = []
    while sum(map(len, pieces)) <= MAX_OUTPUT_BYTES:
        rest = deadline - time.monotonic()
        if rest <= 0 or not poll.poll(rest * 1000):
            return None
        piece = os.read(fd, 65536)
        if not piece:
            return b"".join(pieces)
        pieces.append(piece)
    return None


def _has_ended(child: subprocess.Popen[bytes], grace: float) -> bool:
    """Looks without reaping, where the system can: what shares its group can then still be killed safely."""
    can_look = hasattr(os, "waitid")
    deadline = time.monotonic() + grace
    while (os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) if can_look else child.poll()) is None:
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.005)
    return True


def _kill_group(child: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(OSError):      # nobody is left in it
        os.killpg(child.pid, signal.SIGKILL)


# --- NVIDIA

_SMI_COMMON = ("index", "uuid", "temperature.gpu", "utilization.gpu", "memory.used", "memory.total", "fan.speed",
               "power.draw")
# The name comes last: it alone may contain commas. The second form is for versions that know fewer fields.
SMI_FIELDS = ((*_SMI_COMMON, "enforced.power.limit", "temperature.memory", "name"), (*_SMI_COMMON, "name"))
SMI_FACTS = ("pci.bus_id", "memory.total", "driver_version", "enforced.power.limit", "compute_cap", "name")
COMPUTE_ARCHITECTURES = (((3, 0), "Kepler"), ((5, 0), "Maxwell"), ((6, 0), "Pascal"), ((7, 0), "Volta"),
                         ((7, 5), "Turing"), ((8, 0), "Ampere"), ((8, 9), "Ada Lovelace"), ((9, 0), "Hopper"),
                         ((10, 0), "Blackwell"))


class NvidiaSmi:
    name = "nvidia-smi"

    def __init__(self, tool: Optional[Tool] = None) -> None:
        self._tool = tool or Tool("nvidia-smi")
        self._fields: Sequence[str] = SMI_FIELDS[0]
        self._indexes: Dict[str, int] = {}      # by uuid

    def read(self) -> Optional[List[GpuStats]]:
        rows = self._query(self._fields)
        if rows is None and not self._tool.timed_out:
            # Learned once: which fields it knows does not change while it works.
            self._fields = SMI_FIELDS[1] if self._fields is SMI_FIELDS[0] else SMI_FIELDS[0]
            rows = self._query(self._fields)
        gpus = [gpu for gpu in map(_smi_stats, rows or ()) if gpu is not None]
        self._indexes = {gpu.uuid: gpu.id for gpu in gpus}
        return gpus or None

    def usage(self, pids: Optional[Collection[int]]) -> Optional[Usage]:
        """Graphics programs are not in it."""
        output = self._tool.run("--query-compute-apps=gpu_uuid,pid,used_memory", "--format=csv,noheader,nounits")
        if output is None:
            return None
        usage: Usage = {}
        for line in output.splitlines():
            uuid, pid, used = (*(part.strip() for part in line.split(",")), "", "", "")[:3]
            size = whole_number_in(used)
            if uuid in self._indexes and pid.isdigit() and size is not None:
                add_usage(usage, int(pid), self._indexes[uuid], size * MIB)
        return usage

    def facts(self) -> List[GpuFacts]:
        return [_smi_facts(row) for row in self._query(SMI_FACTS) or ()]

    def _query(self, fields: Sequence[str]) -> Optional[List[Dict[str, str]]]:
        output = self._tool.run(f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits")
        if output is None:
            return None
        lines = (line.split(",", len(fields) - 1) for line in output.splitlines() if line.strip())
        return [dict(zip(fields, map(str.strip, line))) for line in lines if len(line) == len(fields)]

    def abort(self) -> None:
        self._tool.abort()

    def close(self) -> None:
        """Nothing is kept between two questions."""


def _smi_stats(row: Mapping[str, str]) -> Optional[GpuStats]:
    index = whole_number_in(row["index"])
    if index is None:
        return None
    used, total = whole_number_in(row["memory.used"]), whole_number_in(row["memory.total"])
    return GpuStats(
        id=index, name=text_in(row["name"]) or "NVIDIA GPU", uuid=text_in(row["uuid"]),
        temp_c=whole_number_in(row["temperature.gpu"]),
        vram_temp_c=whole_number_in(row.get("temperature.memory")), gpu_util_pct=number_in(row["utilization.gpu"]),
        mem_util_pct=share(used, total), mem_used_mb=used, mem_total_mb=total,
        fan_speed_pct=number_in(row["fan.speed"]), power_draw_w=number_in(row["power.draw"]),
        power_limit_w=number_in(row.get("enforced.power.limit")))


def _smi_facts(row: Mapping[str, str]) -> GpuFacts:
    total = whole_number_in(row["memory.total"])
    return GpuFacts(
        pci=pci_address(row["pci.bus_id"]), vendor="NVIDIA", model=text_in(row["name"]) or None,
        architecture=architecture_of(row["compute_cap"]), memory_kind=None if total is None else "dedicated",
        capacity_bytes=None if total is None else total * MIB, driver_name="nvidia",
        driver_version=row["driver_version"] if row["driver_version"][:1].isdigit() else None,
        power_limit_watts=number_in(row["enforced.power.limit"]))


def architecture_of(compute_capability: str) -> Optional[str]:
    found = re.match(r"(\d+)\.(\d+)", compute_capability, re.ASCII)
    if not found:
        return None
    version = (int(found.group(1)), int(found.group(2)))
    names = [name for least, name in COMPUTE_ARCHITECTURES if version >= least]
    return names[-1] if names and version < (13, 0) else None


# --- AMD

ROCM_STATS = ("--showproductname", "--showuniqueid", "--showuse", "--showmeminfo", "vram", "--showtemp", "--showfan",
              "--showpower", "--showmaxpower")
# Old versions refuse what they do not know.
ROCM_LEAN = ("--showuse", "--showmeminfo", "vram", "--showtemp")
ROCM_FACTS = ("--showproductname", "--showmeminfo", "vram", "--showbus", "--showmaxpower", "--showdriverversion")
ROCM_POWER = ("average graphics package power (w)", "current socket graphics package power (w)")

Card = Tuple[int, Dict[str, str]]


class RocmSmi:
    name = "rocm-smi"

    def __init__(self, tool: Optional[Tool] = None) -> None:
        self._tool = tool or Tool("rocm-smi")
        self._form: Tuple[Sequence[str], str] = (ROCM_STATS, "--json")

    def read(self) -> Optional[List[GpuStats]]:
        """Starts with the form that worked the last time."""
        forms = [(fields, form) for fields in (ROCM_STATS, ROCM_LEAN) for form in ("--json", "--csv")]
        for fields, form in sorted(forms, key=lambda each: each != self._form):
            output = self._tool.run(*fields, form) or ""
            cards = _cards_of_json(output) if form == "--json" else _cards_of_csv(output)
            if cards:
                self._form = (fields, form)
                return [_rocm_stats(index, card) for index, card in cards]
            if self._tool.timed_out:
                break
        return None

    def usage(self, pids: Optional[Collection[int]]) -> Optional[Usage]:
        return None

    def facts(self) -> List[GpuFacts]:
        output = self._tool.run(*ROCM_FACTS, "--json")
        driver = re.search(r'"Driver version"\s*:\s*"([^"]+)"', output or "")
        cards = _cards_of_json(output or "")
        return [_rocm_facts(card, driver.group(1) if driver else None) for _, card in cards]

    def abort(self) -> None:
        self._tool.abort()

    def close(self) -> None:
        """Nothing is kept between two questions."""


def _cards_of_json(output: str) -> List[Card]:
    """Warnings may stand before it."""
    try:
        found = json.loads(output[output.index("{"):])
    except ValueError:
        return []
    return _cards((name, card) for name, card in found.items() if isinstance(card, dict))


def _cards_of_csv(output: str) -> List[Card]:
    lines = output.splitlines()
    starts = [at for at, line in enumerate(lines) if line.lower().startswith("device,")]
    if not starts:
        return []
    reader = csv.DictReader(lines[starts[0]:], restval="", restkey="more")
    return _cards((row.get(reader.fieldnames[0]) if reader.fieldnames else "", row) for row in reader)


def _cards(rows: Iterator[Tuple[Any, Mapping[str, Any]]]) -> List[Card]:
    """Names differ in case between versions."""
    cards = []
    for name, row in rows:
        number = re.fullmatch(r"card(\d+)", str(name))
        if number:
            cards.append((int(number.group(1)), {str(key).lower(): str(value) for key, value in row.items()}))
    return sorted(cards, key=lambda card: card[0])


def _rocm_stats(index: int, card: Dict[str, str]) -> GpuStats:
    used, total = (whole_number_in(card.get(f"vram total {which}memory (b)")) for which in ("used ", ""))
    power = _first(card, *ROCM_POWER)
    unique = card.get("unique id", "")
    edge, memory = (whole_number_in(card.get(f"temperature (sensor {name}) (c)")) for name in ("edge", "memory"))
    junction = whole_number_in(card.get("temperature (sensor junction) (c)"))
    return GpuStats(
        id=index, name=_rocm_name(card) or "AMD GPU", uuid=f"GPU-{unique[2:]}" if unique.startswith("0x") else "",
        temp_c=edge if edge is not None else junction, vram_temp_c=memory,
        gpu_util_pct=number_in(card.get("gpu use (%)")), mem_util_pct=share(used, total),
        mem_used_mb=None if used is None else used // MIB, mem_total_mb=None if total is None else total // MIB,
        fan_speed_pct=number_in(card.get("fan speed (%)")), power_draw_w=number_in(power),
        power_limit_w=number_in(card.get("max graphics package power (w)")))


def _rocm_name(card: Mapping[str, str]) -> Optional[str]:
    """Either field may be a bare number, depending on version and card."""
    names = (_first(card, "card series"), _first(card, "card model"))
    return next((name for name in names if name and not name.startswith("0x") and name != "N/A"), None)


def _rocm_facts(card: Mapping[str, str], driver: Optional[str]) -> GpuFacts:
    total = whole_number_in(card.get("vram total memory (b)"))
    gfx = card.get("gfx version", "")
    return GpuFacts(
        pci=pci_address(card.get("pci bus", "")), vendor="AMD", model=_rocm_name(card),
        architecture=gfx if gfx.startswith("gfx") else None, capacity_bytes=total, driver_name="amdgpu",
        driver_version=driver, power_limit_watts=number_in(card.get("max graphics package power (w)")))


def _first(card: Mapping[str, str], *names: str) -> Optional[str]:
    return next((card[name] for name in names if name in card), None)
