"""What one line of our own log looks like: `[time] [LEVEL] message` for people, one JSON object for programs."""
from __future__ import annotations

import json
import logging
import time
from typing import Any, Dict

# Names are those of Go's time package, which existing configuration files use. {…} parts are filled in below: strftime
# knows neither fractions nor zone offsets with a colon.
_FORMATS: Dict[str, str] = {
    "ansic": "%a %b {day} %H:%M:%S %Y",
    "unixdate": "%a %b {day} %H:%M:%S %Z %Y",
    "rubydate": "%a %b %d %H:%M:%S %z %Y",
    "rfc822": "%d %b %y %H:%M %Z",
    "rfc822z": "%d %b %y %H:%M %z",
    "rfc850": "%A, %d-%b-%y %H:%M:%S %Z",
    "rfc1123": "%a, %d %b %Y %H:%M:%S %Z",
    "rfc1123z": "%a, %d %b %Y %H:%M:%S %z",
    "rfc3339": "%Y-%m-%dT%H:%M:%S{zone}",
    "rfc3339nano": "%Y-%m-%dT%H:%M:%S{fraction}{zone}",
    "kitchen": "{hour}:%M%p",
    "stamp": "%b {day} %H:%M:%S",
    "stampmilli": "%b {day} %H:%M:%S.{milli}",
    "stampmicro": "%b {day} %H:%M:%S.{micro}",
    "stampnano": "%b {day} %H:%M:%S.{micro}000",
}
RFC3339, RFC3339_NANO = _FORMATS["rfc3339"], _FORMATS["rfc3339nano"]
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warn": logging.WARNING, "error": logging.ERROR}
# Ours has four words where Python has five.
_NAMES = {logging.DEBUG: "DEBUG", logging.INFO: "INFO", logging.WARNING: "WARN", logging.ERROR: "ERROR",
          logging.CRITICAL: "ERROR"}


def level_of(name: str) -> int:
    """The level a configuration names; anything unknown is info."""
    return _LEVELS.get(name.strip().lower(), logging.INFO)


def make_formatter(log_format: str, time_format: str) -> logging.Formatter:
    return JsonLines() if log_format == "json" else TextLines(time_format)


class TextLines(logging.Formatter):
    def __init__(self, time_format: str) -> None:
        super().__init__()
        self._time_format = _FORMATS.get(time_format.strip().lower(), "")

    def format(self, record: logging.LogRecord) -> str:
        when = format_time(self._time_format, record.created) + " " if self._time_format else ""
        return f"{when}[{_NAMES.get(record.levelno, record.levelname)}] {_message(self, record)}"


class JsonLines(logging.Formatter):
    """Every attribute given as `extra={"fields": {...}}` becomes a key of its own, and so does every value of a message
    that names them (an attribute `names` of the string)."""

    def format(self, record: logging.LogRecord) -> str:
        line: Dict[str, Any] = {
            "time": format_time(RFC3339_NANO, record.created),
            "level": _NAMES.get(record.levelno, record.levelname).lower(), "msg": _message(self, record)}
        if isinstance(record.args, tuple):
            line.update(zip(getattr(record.msg, "names", ()), record.args))
        line.update(getattr(record, "fields", {}))
        return json.dumps(line, ensure_ascii=False, default=str)


def _message(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    message = record.getMessage()
    return f"{message}\n{formatter.formatException(record.exc_info)}" if record.exc_info else message


def format_time(pattern: str, epoch: float) -> str:
    """`epoch` in local time, by one of the patterns above."""
    micros = int(epoch * 1_000_000)
    local = time.localtime(micros // 1_000_000)
    micro = f"{micros % 1_000_000:06d}"
    fraction = micro.rstrip("0")
    offset = time.strftime("%z", local)
    zone = "Z" if offset in ("+0000", "") else f"{offset[:3]}:{offset[3:]}"
    filled = pattern.format(day=f"{local.tm_mday:2d}", hour=local.tm_hour % 12 or 12, milli=micro[:3], micro=micro,
                            fraction="." + fraction if fraction else "", zone=zone)
    return time.strftime(filled, local)
