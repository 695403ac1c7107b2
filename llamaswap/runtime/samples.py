"""Measurements over time, in bounded memory: every one of the last hour, averages of a minute for the last day."""
from __future__ import annotations

from collections import deque
from itertools import groupby
from typing import Any, Deque, Dict, List, NamedTuple, Optional, Sequence, Tuple

from llamaswap.runtime.gpus import GpuStats
from llamaswap.runtime.hoststats import SysStats, percentage

FINE_SPAN = 3600.0
MAX_FINE = 720              # an hour at the shortest interval that can be configured
COARSE_STEP = 60.0
COARSE_SPAN = 24 * 3600.0
# Counted since the machine started: the newest value says it all.
COUNTERS = ("net_io", "disk_read_bytes", "disk_written_bytes")


class Sample(NamedTuple):
    at_epoch: float         # whole milliseconds
    sys: SysStats
    gpus: Tuple[GpuStats, ...]


class Rings:
    """Not locked: its owner is."""

    def __init__(self) -> None:
        # With the monotonic time of each, by which they age: the wall clock may jump.
        self._fine: Deque[Tuple[float, Sample]] = deque(maxlen=MAX_FINE)
        self._coarse: Deque[Tuple[float, Sample]] = deque(maxlen=int(COARSE_SPAN / COARSE_STEP))
        self._minute: List[Sample] = []

    def __len__(self) -> int:
        return len(self._fine) + len(self._coarse)

    def add(self, at: float, sample: Sample) -> None:
        if self._minute and _bucket(self._minute[0], COARSE_STEP) != _bucket(sample, COARSE_STEP):
            self._coarse.append((at, _average_from(self._minute, COARSE_STEP)))
            self._minute = []
        self._minute.append(sample)
        self._fine.append((at, sample))
        _drop_until(self._fine, at - FINE_SPAN)
        _drop_until(self._coarse, at - COARSE_SPAN)

    def fine(self) -> List[Sample]:
        """Oldest first."""
        return [sample for _, sample in self._fine]

    def coarse(self) -> List[Sample]:
        """Minutes, the current one included as far as it has come."""
        minutes = [sample for _, sample in self._coarse]
        return [*minutes, _average_from(self._minute, COARSE_STEP)] if self._minute else minutes


def downsample(samples: Sequence[Sample], step: float) -> List[Sample]:
    """Averages of equal spans of the wall clock, each at the beginning of its span. Spans without a sample are left
    out."""
    return [_average_from(list(group), step) for _, group in groupby(samples, lambda sample: _bucket(sample, step))]


def average(samples: Sequence[Sample]) -> Sample:
    """Of what is known; as of the last one."""
    last = samples[-1]
    return Sample(last.at_epoch, _average_sys([sample.sys for sample in samples]),
                  tuple(_average_gpus([gpu for sample in samples for gpu in sample.gpus])))


def _average_from(samples: Sequence[Sample], step: float) -> Sample:
    return average(samples)._replace(at_epoch=_bucket(samples[0], step) * step)


def _bucket(sample: Sample, step: float) -> int:
    return int(sample.at_epoch // step)


def _average_sys(rows: Sequence[SysStats]) -> SysStats:
    last = rows[-1]
    plain = [name for name in SysStats._fields if name not in COUNTERS and name != "cpu_util_per_core"]
    # Cores that were switched on or off in between have other positions: only equal rows can be added.
    cores = [row.cpu_util_per_core for row in rows if len(row.cpu_util_per_core) == len(last.cpu_util_per_core)]
    means: Dict[str, Any] = {name: _mean([getattr(row, name) for row in rows]) for name in plain}
    return last._replace(cpu_util_per_core=tuple(percentage(sum(column) / len(column)) for column in zip(*cores)),
                         **means)


def _average_gpus(rows: Sequence[GpuStats]) -> List[GpuStats]:
    by_id: Dict[int, List[GpuStats]] = {}
    for row in rows:
        by_id.setdefault(row.id, []).append(row)
    return [_average_gpu(same) for _, same in sorted(by_id.items())]


def _average_gpu(rows: Sequence[GpuStats]) -> GpuStats:
    plain = [name for name in GpuStats._fields if name not in ("id", "name", "uuid")]
    means: Dict[str, Any] = {name: _mean([getattr(row, name) for row in rows]) for name in plain}
    return rows[-1]._replace(**means)


def _mean(values: Sequence[Optional[float]]) -> Optional[float]:
    """Whole numbers stay whole."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    mean = sum(known) / len(known)
    return round(mean) if all(isinstance(value, int) for value in known) else round(mean, 2)


def _drop_until(ring: Deque[Tuple[float, Sample]], at: float) -> None:
    while ring and ring[0][0] < at:
        ring.popleft()
