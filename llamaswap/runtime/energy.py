"""What the GPUs have used, added up from the power they draw.

Power is read every few seconds, and between two readings it is taken to change evenly. A longer gap (a sleeping
machine, a driver that was away) is left out: nobody knows what happened in it, so the sum is never too high.
"""
from __future__ import annotations

from typing import Dict, Mapping, NamedTuple, Optional, Tuple

SECONDS_PER_HOUR = 3600


class GpuEnergy(NamedTuple):
    id: int
    now_w: Optional[float]
    today_wh: float
    total_wh: float


class EnergyStats(NamedTuple):
    """`now_w` is None when no GPU tells its power at present."""

    since_epoch: float
    now_w: Optional[float]
    today_wh: float
    total_wh: float
    gpus: Tuple[GpuEnergy, ...]


class _Meter:
    __slots__ = ("at", "today", "total", "watts")

    def __init__(self) -> None:
        self.at = 0.0
        self.watts: Optional[float] = None
        self.today = self.total = 0.0       # watt seconds

    def add(self, at: float, watts: Optional[float], max_gap: float) -> None:
        passed = at - self.at
        if watts is not None and self.watts is not None and passed <= max_gap:
            used = (watts + self.watts) / 2 * passed
            self.today += used
            self.total += used
        self.at, self.watts = at, watts


class EnergyMeter:
    """Used by the sampling thread; what stats() returned may be read by any."""

    def __init__(self, since_epoch: float) -> None:
        self._since = since_epoch
        self._day: object = None
        self._meters: Dict[int, _Meter] = {}

    def add(self, at: float, day: object, watts: Mapping[int, Optional[float]], *, max_gap: float) -> None:
        """`at` is monotonic; `day` is the local date, and when it changes the sums of today begin anew."""
        if day != self._day:
            self._day = day
            for meter in self._meters.values():
                meter.today = 0.0
        for gpu in (*self._meters, *(gpu for gpu in watts if gpu not in self._meters)):
            self._meters.setdefault(gpu, _Meter()).add(at, watts.get(gpu), max_gap)

    def stats(self) -> Optional[EnergyStats]:
        """None when no GPU has ever told its power."""
        gpus = tuple(GpuEnergy(gpu, meter.watts, _hours(meter.today), _hours(meter.total))
                     for gpu, meter in sorted(self._meters.items()) if meter.watts is not None or meter.total)
        if not gpus:
            return None
        known = [gpu.now_w for gpu in gpus if gpu.now_w is not None]
        today, total = (sum(getattr(meter, name) for meter in self._meters.values()) for name in ("today", "total"))
        return EnergyStats(self._since, round(sum(known), 3) if known else None, _hours(today), _hours(total), gpus)


def _hours(watt_seconds: float) -> float:
    return round(watt_seconds / SECONDS_PER_HOUR, 4)
