"""Measures the machine now and then, and remembers.

One thread, `monitor`, which wakes once per interval and not at all while measuring is switched off. Drivers of GPUs are
known to hang, so they are asked aside, on a thread of their own: while one hangs, the rest goes on being measured, and
nothing waits for it, the end of the program included.
"""
from __future__ import annotations

import threading
import time
from typing import Any, Callable, Collection, List, Mapping, Optional, Protocol, Tuple

from llamaswap.core.settings import Performance
from llamaswap.runtime.amdgpu import AmdSysfs
from llamaswap.runtime.energy import EnergyMeter, EnergyStats
from llamaswap.runtime.gpus import Family, GpuReader, GpuStats, Usage
from llamaswap.runtime.gputools import NvidiaSmi, RocmSmi
from llamaswap.runtime.hoststats import HostStats, NetIo, SysStats
from llamaswap.runtime.nvml import Nvml
from llamaswap.runtime.samples import COARSE_SPAN, FINE_SPAN, Rings, Sample, downsample
from llamaswap.runtime.threads import spawn

__all__ = ["COARSE_SPAN", "EnergyStats", "GpuStats", "Monitor", "NetIo", "Sample", "SysStats", "default_gpus"]

FIRST_DELAY = 1.0           # load of processors is a difference, so the first sample needs some time to compare
GPU_PATIENCE = 2.0          # a late answer goes into the next sample
CLOSE_PATIENCE = 1.0
MAX_GAP = 3                 # intervals; a sample older than that is no longer how things are
Clock = Callable[[], float]


class Host(Protocol):
    def read(self) -> SysStats: ...


class Gpus(Protocol):
    def is_resting(self) -> bool: ...
    def read(self) -> List[GpuStats]: ...
    def usage(self, pids: Optional[Collection[int]]) -> Optional[Usage]: ...
    def abort(self) -> None: ...
    def close(self) -> None: ...


def default_gpus(root: str = "/") -> GpuReader:
    return GpuReader([Family([Nvml(), NvidiaSmi()]), Family([AmdSysfs(root), RocmSmi()])])


class Monitor:
    """`pids`: whose GPU memory is wanted, asked before each sample; None for everybody's, which only some sources know.
    `on_sample` is called after each, when everything here already shows it. Both are called on the monitor's thread.
    Everybody may read."""

    def __init__(self, performance: Performance, *, host: Optional[Host] = None, gpus: Optional[Gpus] = None,
                 pids: Callable[[], Optional[Collection[int]]] = lambda: None,
                 on_sample: Callable[[Sample], Any] = lambda sample: None, clock: Clock = time.monotonic,
                 wall: Clock = time.time) -> None:
        self._host: Host = host or HostStats()
        self._gpus: Gpus = gpus or default_gpus()
        self._pids = pids
        self._on_sample = on_sample
        self._clock = clock
        self._wall = wall
        self._aside = Aside("monitor-gpus")
        # Guards what follows. Leaf: nothing is asked or told under it.
        self._changed = threading.Condition()
        self._every = performance.every
        self._is_enabled = not performance.disabled
        self._is_closing = False
        self._holds_driver = False
        self._due = clock() + min(FIRST_DELAY, self._every)
        self._rings = Rings()
        self._latest: Optional[Tuple[float, Sample]] = None
        self._usage: Optional[Usage] = None
        self._meter = EnergyMeter(wall())
        self._energy: Optional[EnergyStats] = None
        self._thread: Optional[threading.Thread] = None

    def __repr__(self) -> str:
        return f"Monitor(every {self._every:g} s, {'on' if self._is_enabled else 'off'}, {len(self._rings)} samples)"

    # --- life

    def start(self) -> None:
        self._thread = spawn("monitor", self._run)

    def close(self) -> None:
        """Bounded: what hangs is left behind."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        self._gpus.abort()
        if self._thread is not None:
            self._thread.join(CLOSE_PATIENCE)

    def reconfigure(self, performance: Performance) -> None:
        """What has been measured is kept."""
        with self._changed:
            was_enabled, self._is_enabled = self._is_enabled, not performance.disabled
            first = self._clock() + min(FIRST_DELAY, performance.every)
            if self._is_enabled and (not was_enabled or performance.every != self._every):
                self._due = first if not was_enabled else min(self._due, self._clock() + performance.every)
            self._every = performance.every
            if was_enabled and not self._is_enabled:
                self._latest = self._usage = None
            self._changed.notify_all()

    # --- reading

    @property
    def is_enabled(self) -> bool:
        return self._is_enabled

    @property
    def every(self) -> float:
        return self._every

    def latest(self) -> Optional[Sample]:
        """None before the first sample, when switched off, and when it is too old to be true."""
        with self._changed:
            if self._latest is None or self._clock() - self._latest[0] > MAX_GAP * self._every + GPU_PATIENCE:
                return None
            return self._latest[1]

    def history(self, after_epoch: Optional[float] = None) -> List[Sample]:
        """The last hour, oldest first; strictly after that time, to the millisecond."""
        with self._changed:
            samples = self._rings.fine()
        return samples if after_epoch is None else [sample for sample in samples if _is_after(sample, after_epoch)]

    def downsampled(self, range_s: float, step_s: float) -> List[Sample]:
        """The last `range_s` seconds, up to a day, in averages of `step_s`; beyond an hour not finer than minutes."""
        with self._changed:
            samples = self._rings.fine() if range_s <= FINE_SPAN else self._rings.coarse()
        since = self._wall() - range_s
        return downsample([sample for sample in samples if sample.at_epoch > since], step_s)

    def process_memory(self) -> Optional[Mapping[int, Mapping[int, int]]]:
        """pid → GPU → bytes, as of the newest sample; None when nobody can tell."""
        with self._changed:
            return self._usage

    def energy(self) -> Optional[EnergyStats]:
        """None when no GPU has told its power."""
        with self._changed:
            return self._energy

    # --- the thread

    def _run(self) -> None:
        while True:
            turn = self._await_turn()
            if turn is None:
                return
            turn()

    def _await_turn(self) -> Optional[Callable[[], None]]:
        """What to do next; None when it is over."""
        with self._changed:
            while not self._is_closing:
                rest = self._due - self._clock() if self._is_enabled else None
                if rest is None and self._holds_driver:
                    self._holds_driver = False
                    return self._release
                if rest is not None and rest <= 0:
                    # Turns that were missed are not made up for.
                    self._due = max(self._due + self._every, self._clock())
                    self._holds_driver = True
                    return self._sample
                self._changed.wait(rest)
            return None

    def _release(self) -> None:
        """Switched off: the driver may go to sleep."""
        self._aside.ask(self._gpus.close, GPU_PATIENCE)

    def _sample(self) -> None:
        sys = self._host.read()
        gpus, usage = self._ask_gpus()
        at, epoch = self._clock(), round(self._wall(), 3)
        sample = Sample(epoch, sys, tuple(gpus))
        self._meter.add(at, time.localtime(epoch)[:3], {gpu.id: gpu.power_draw_w for gpu in gpus},
                        max_gap=MAX_GAP * self._every)
        energy = self._meter.stats()
        with self._changed:
            if not self._is_enabled or self._is_closing:
                return
            self._rings.add(at, sample)
            self._latest, self._usage, self._energy = (at, sample), usage, energy
        self._on_sample(sample)

    def _ask_gpus(self) -> Tuple[List[GpuStats], Optional[Usage]]:
        if self._gpus.is_resting():
            return [], None
        pids = self._pids()
        found = self._aside.ask(lambda: self._measure_gpus(pids), min(GPU_PATIENCE, self._every))
        return found if found is not None else ([], None)

    def _measure_gpus(self, pids: Optional[Collection[int]]) -> Tuple[List[GpuStats], Optional[Usage]]:
        gpus = self._gpus.read()
        if not gpus:
            return [], None
        return gpus, {} if pids is not None and not pids else self._gpus.usage(pids)


class Aside:
    """Has work done that may hang, and waits no longer than told. One piece at a time. For one thread."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._thread: Optional[threading.Thread] = None
        self._answers: List[Any] = []

    def ask(self, work: Callable[[], Any], patience: float) -> Any:
        """The answer; None when there is none yet. One that came late is what the next call gets, if its own is late
        too: so a driver that always takes its time is one interval behind, and not absent."""
        late: List[Any] = []
        if self._thread is None or not self._thread.is_alive():
            late, self._answers = self._answers, []
            # Each thread has its own list: what one answers after being given up on disturbs nobody.
            self._thread = spawn(self._name, _answer_into, self._answers, work)
        self._thread.join(patience)
        if self._answers:
            return self._answers.pop()
        return late.pop() if late else None


def _answer_into(answers: List[Any], work: Callable[[], Any]) -> None:
    answers.append(work())


def _is_after(sample: Sample, epoch: float) -> bool:
    return round(sample.at_epoch * 1000) > round(epoch * 1000)
