"""The machine, measured and described: GET /api/performance, GET /api/hardware, and the `perf` topic.

The shapes are the peer's, with three differences: arrays are never null, an unknown number is null instead of 0, and
there is more in them (disks, limits, energy).
"""
from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import Any, Dict, List, Optional
from urllib.parse import parse_qs

from llamaswap.core.durations import parse_duration
from llamaswap.core.faults import ClientFault, Refused
from llamaswap.core.messages import Request, Response
from llamaswap.runtime.hardware import Hardware
from llamaswap.runtime.monitor import EnergyStats, GpuStats, Monitor, Sample, SysStats
from llamaswap.web.replies import json_response

MAX_RANGE = 24 * 3600.0
MAX_POINTS = 2000
USUAL_POINTS = 300
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(\.\d+)?(?:[Zz]|([+-])(\d\d):(\d\d))", re.ASCII)

View = Dict[str, Any]


class Insight:
    def __init__(self, monitor: Monitor, hardware: Hardware) -> None:
        self._monitor = monitor
        self._hardware = hardware

    def performance(self, request: Request, rest: str) -> Response:
        """`after`: only what is newer. `range` and `step`: averages over up to a day, instead of the last hour."""
        query = parse_qs(request.query)
        after = _after(query)
        span, step = _range_and_step(query, self._monitor.every)
        if not self._monitor.is_enabled:
            return json_response({"enabled": False, "sys_stats": [], "gpu_stats": []}, status=503)
        if span is None or step is None:
            samples = self._monitor.history(after)
        else:
            samples = self._monitor.downsampled(span, step)
            samples = samples if after is None else [sample for sample in samples if sample.at_epoch > after]
        return json_response({"enabled": True, **stats_views(samples), "every": self._monitor.every, "range": span,
                              "step": step, "energy": energy_view(self._monitor.energy())})

    def hardware(self, request: Request, rest: str) -> Response:
        found = self._hardware.snapshot()
        if found is None:
            raise Refused("the hardware of this machine is not known, or not yet", code="hardware_unknown")
        return json_response(found)


def sample_json(sample: Sample) -> View:
    """As the `perf` topic says it."""
    time = format_time(sample.at_epoch)
    return {"at": sample.at_epoch, "sys": sys_view(sample.sys, time),
            "gpus": [gpu_view(gpu, time) for gpu in sample.gpus]}


def stats_views(samples: List[Sample]) -> View:
    times = [format_time(sample.at_epoch) for sample in samples]
    return {"sys_stats": [sys_view(sample.sys, time) for sample, time in zip(samples, times)],
            "gpu_stats": [gpu_view(gpu, time) for sample, time in zip(samples, times) for gpu in sample.gpus]}


def sys_view(sys: SysStats, time: str) -> View:
    return {"timestamp": time, **sys._asdict(), "net_io": [card._asdict() for card in sys.net_io]}


def gpu_view(gpu: GpuStats, time: str) -> View:
    return {"timestamp": time, **gpu._asdict()}


def energy_view(energy: Optional[EnergyStats]) -> Optional[View]:
    """Null when no GPU tells its power."""
    if energy is None:
        return None
    return {**energy._asdict(), "gpus": [gpu._asdict() for gpu in energy.gpus]}


def format_time(epoch: float) -> str:
    """UTC, so that it needs no escaping when a client sends it back in a query."""
    return (EPOCH + timedelta(milliseconds=round(epoch * 1000))).isoformat(timespec="milliseconds")[:23] + "Z"


def parse_time(text: str) -> Optional[float]:
    """RFC 3339, with any number of digits after the second; None when it is none."""
    found = _TIME.fullmatch(text)
    if not found:
        return None
    sign, hours, minutes = found.group(8, 9, 10)
    offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
    try:
        year, month, day, hour, minute, second = map(int, found.group(1, 2, 3, 4, 5, 6))
        whole = datetime(year, month, day, hour, minute, second, tzinfo=timezone.utc)
        moment = whole + offset if sign == "-" else whole - offset
    except (ValueError, OverflowError):
        return None
    return (moment - EPOCH).total_seconds() + float(found.group(7) or 0)


def _after(query: Dict[str, List[str]]) -> Optional[float]:
    text = query.get("after", [""])[-1]
    if not text:
        return None
    epoch = parse_time(text.replace(" ", "+"))      # a "+" that was not escaped
    if epoch is None:
        raise ClientFault("invalid 'after' timestamp, use RFC3339 format")
    return epoch


def _range_and_step(query: Dict[str, List[str]], every: float) -> Any:
    """Seconds; both None when neither is given."""
    span, step = (_seconds(query, name) for name in ("range", "step"))
    if span is None and step is None:
        return None, None
    span = 3600.0 if span is None else span
    step = max(every, span / USUAL_POINTS) if step is None else step
    if span > MAX_RANGE:
        raise ClientFault("range is at most 24h")
    if span / step > MAX_POINTS:
        raise ClientFault(f"range and step ask for more than {MAX_POINTS} points")
    return span, step


def _seconds(query: Dict[str, List[str]], name: str) -> Optional[float]:
    text = query.get(name, [""])[-1]
    if not text:
        return None
    seconds = parse_duration(text if not re.fullmatch(r"[\d.]+", text) else text + "s")
    if seconds is None or seconds <= 0:
        raise ClientFault(f"{name} is not a duration, such as 300, 5m or 24h")
    return seconds
