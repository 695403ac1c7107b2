"""What is known about GPUs, and whom to ask.

A *source* is one way to learn it: NVML, a vendor's tool, sysfs. It answers None when it is absent or broken. Sources of
one vendor form a family, best first: the first that answers counts, and the others are not asked. One that does not
answer rests, longer each time, so that a missing tool costs nothing and a driver that comes back is noticed.
"""
from __future__ import annotations

import logging
import re
import time
from typing import Callable, Collection, Dict, List, NamedTuple, Optional, Protocol, Sequence, Tuple, TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")

FIRST_REST = 15.0
MAX_REST = 240.0


class GpuStats(NamedTuple):
    """None is unknown. `mem_util_pct` is the share of the memory that is in use."""

    id: int
    name: str
    uuid: str = ""
    temp_c: Optional[int] = None
    vram_temp_c: Optional[int] = None
    gpu_util_pct: Optional[float] = None
    mem_util_pct: Optional[float] = None
    mem_used_mb: Optional[int] = None
    mem_total_mb: Optional[int] = None
    fan_speed_pct: Optional[float] = None
    power_draw_w: Optional[float] = None
    power_limit_w: Optional[float] = None
    temp_limit_c: Optional[int] = None


class GpuFacts(NamedTuple):
    """What does not change while the machine runs. `pci` is the address as Linux writes it, "" when unknown."""

    pci: str = ""
    vendor: Optional[str] = None
    model: Optional[str] = None
    architecture: Optional[str] = None
    memory_kind: Optional[str] = None
    capacity_bytes: Optional[int] = None
    driver_name: Optional[str] = None
    driver_version: Optional[str] = None
    power_limit_watts: Optional[float] = None
    kind: str = "gpu"


# pid → GPU → bytes of its memory
Usage = Dict[int, Dict[int, int]]


class Source(Protocol):
    """Used by one thread at a time, but for abort()."""

    name: str

    def read(self) -> Optional[List[GpuStats]]:
        """Every GPU, numbered from 0; None when this source cannot tell."""

    def usage(self, pids: Optional[Collection[int]]) -> Optional[Usage]:
        """Memory held by these processes and perhaps by others, as far as they hold any; None when this source cannot
        tell. Not every source can without `pids`."""

    def facts(self) -> List[GpuFacts]:
        """Empty when it cannot tell."""

    def abort(self) -> None:
        """The program ends: cut short what another thread waits for, if possible. Never blocks."""

    def close(self) -> None:
        """Let go of the driver; a later read() begins anew."""


class Family:
    """The sources of one vendor."""

    def __init__(self, sources: Sequence[Source], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._sources = sources
        self._clock = clock
        self._rests: Dict[str, Tuple[float, float]] = {}     # source → (until, how long the rest is)
        self.asked: Optional[Source] = None                  # who answered last
        self.width = 0                                       # beyond every number seen, so that others' numbers stay

    def is_resting(self) -> bool:
        """Is there nobody to ask now?"""
        return not any(self._is_ready(source) for source in self._sources)

    def read(self) -> List[GpuStats]:
        for source in self._sources:
            if not self._is_ready(source):
                continue
            found = _answer_of(source, source.read)
            if found is not None:
                self._rests.pop(source.name, None)
                self.asked = source
                self.width = max([self.width, *(gpu.id + 1 for gpu in found)])
                return found
            self._put_to_rest(source)
        self.asked = None
        return []

    def facts(self) -> List[GpuFacts]:
        answers = (_answer_of(source, source.facts) for source in self._sources)
        return [facts for answer in answers for facts in answer or ()]

    def usage(self, pids: Optional[Collection[int]]) -> Optional[Usage]:
        """By the source that read() has just heard."""
        asked = self.asked
        return None if asked is None else _answer_of(asked, lambda: asked.usage(pids))

    def _is_ready(self, source: Source) -> bool:
        return self._clock() >= self._rests.get(source.name, (0.0, 0.0))[0]

    def _put_to_rest(self, source: Source) -> None:
        rest = min(MAX_REST, 2 * self._rests.get(source.name, (0.0, FIRST_REST / 2))[1])
        self._rests[source.name] = (self._clock() + rest, rest)

    def abort(self) -> None:
        for source in self._sources:
            source.abort()

    def close(self) -> None:
        for source in self._sources:
            source.close()


class GpuReader:
    """All GPUs of the machine in one numbering. Used by one thread at a time, but for abort()."""

    def __init__(self, families: Sequence[Family]) -> None:
        self._families = families

    def is_resting(self) -> bool:
        return all(family.is_resting() for family in self._families)

    def read(self) -> List[GpuStats]:
        gpus: List[GpuStats] = []
        offset = 0
        for family in self._families:
            gpus.extend(gpu._replace(id=gpu.id + offset) for gpu in family.read())
            offset += family.width
        return gpus

    def usage(self, pids: Optional[Collection[int]]) -> Optional[Usage]:
        """Call after read(): asks those who answered. None when none of them can tell."""
        merged: Usage = {}
        is_known = False
        offset = 0
        for family in self._families:
            found = family.usage(pids)
            is_known = is_known or found is not None
            for pid, by_gpu in (found or {}).items():
                merged.setdefault(pid, {}).update({gpu + offset: size for gpu, size in by_gpu.items()})
            offset += family.width
        return merged if is_known else None

    def facts(self) -> List[GpuFacts]:
        """Of every source, not only of those that answer first: one may know what another does not."""
        return [facts for family in self._families for facts in family.facts()]

    def abort(self) -> None:
        """Any thread."""
        for family in self._families:
            family.abort()

    def close(self) -> None:
        for family in self._families:
            family.close()


def _answer_of(source: Source, question: Callable[[], Optional[T]]) -> Optional[T]:
    """What a driver's library raises or a tool prints is anybody's guess, and the other sources can do without it."""
    try:
        return question()
    except Exception as error:
        log.warning("GPUs: %s cannot be used: %r", source.name, error)
        return None


# --- for those who parse


def number_in(text: object) -> Optional[float]:
    """The number a tool printed, None for `[N/A]`, `ERR!` and the like."""
    found = re.match(r"\s*(-?\d+(?:\.\d+)?)", str(text), re.ASCII)
    return float(found.group(1)) if found else None


def text_in(text: str) -> str:
    """Empty for `[N/A]`, `[GPU is lost]` and the like."""
    return "" if text.startswith("[") or text in ("N/A", "ERR!") else text


def whole_number_in(text: object) -> Optional[int]:
    value = number_in(text)
    return None if value is None else round(value)


def scaled(value: Optional[float], factor: float) -> Optional[float]:
    return None if value is None else round(value * factor, 3)


def share(used: Optional[float], total: Optional[float]) -> Optional[float]:
    """In percent."""
    return round(100 * used / total, 1) if used is not None and total else None


def pci_address(text: str) -> str:
    """`00000000:01:00.0` and `0000:01:00.0` are one; "" for what is no address."""
    found = re.match(r"\s*([0-9a-fA-F]+):([0-9a-fA-F]{2}):([0-9a-fA-F]{2})\.([0-9a-fA-F])\s*\Z", text, re.ASCII)
    if not found:
        return ""
    domain, bus, device, function = found.groups()
    return f"{int(domain, 16):04x}:{bus}:{device}.{function}".lower()


def add_usage(into: Usage, pid: int, gpu: int, size: Optional[int]) -> None:
    """The larger of what two lists say of the same process: each says all that it holds."""
    if size is not None:
        by_gpu = into.setdefault(pid, {})
        by_gpu[gpu] = max(by_gpu.get(gpu, 0), size)
