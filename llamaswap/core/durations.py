"""Durations as Go writes them: `5s`, `1m30s`, `1.5h`, `250ms`."""
from __future__ import annotations

import re
from typing import Optional

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_WHOLE = re.compile(r"[-+]?(?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+\Z", re.ASCII)


def parse_duration(text: str) -> Optional[float]:
    """Seconds, or None when the text is not a duration. A bare 0 needs no unit."""
    if text in ("0", "+0", "-0"):
        return 0.0
    if not _WHOLE.match(text):
        return None
    seconds = sum(float(amount) * _UNITS[unit] for amount, unit in _PART.findall(text))
    return -seconds if text[0] == "-" else seconds


def format_duration(seconds: float) -> str:
    """Hours, minutes and seconds without leading zero units; below a second in ms, µs or ns."""
    if seconds < 0:
        return "-" + format_duration(-seconds)
    if seconds == 0:
        return "0s"
    if seconds < 1:
        unit = "ms" if seconds >= 1e-3 else "µs" if seconds >= 1e-6 else "ns"
        return _shortest(seconds / _UNITS[unit]) + unit
    whole, rest = divmod(round(seconds, 9), 60)
    hours, minutes = divmod(int(whole), 60)
    shown = f"{hours}h" if hours else ""
    shown += f"{minutes}m" if hours or minutes else ""
    return shown + _shortest(rest) + "s"


def _shortest(number: float) -> str:
    return f"{number:.9f}".rstrip("0").rstrip(".")
