"""One line of our log."""
from __future__ import annotations

import json
import logging
import sys
import time

import pytest

from llamaswap.runtime.logformat import _FORMATS, format_time, level_of, make_formatter

EPOCH = 1_700_000_003.25      # a Tuesday in November 2023, 22:13:23 UTC


# A rule instead of a place: not every machine has the names of places.
@pytest.fixture(params=["UTC", "CET-1CEST,M3.5.0,M10.5.0/3"])
def zone(request, monkeypatch):
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


EXPECTED = {
    "ansic": "Tue Nov 14 22:13:23 2023", "unixdate": "Tue Nov 14 22:13:23 UTC 2023",
    "rubydate": "Tue Nov 14 22:13:23 +0000 2023", "rfc822": "14 Nov 23 22:13 UTC", "rfc822z": "14 Nov 23 22:13 +0000",
    "rfc850": "Tuesday, 14-Nov-23 22:13:23 UTC", "rfc1123": "Tue, 14 Nov 2023 22:13:23 UTC",
    "rfc1123z": "Tue, 14 Nov 2023 22:13:23 +0000", "rfc3339": "2023-11-14T22:13:23Z",
    "rfc3339nano": "2023-11-14T22:13:23.25Z", "kitchen": "10:13PM", "stamp": "Nov 14 22:13:23",
    "stampmilli": "Nov 14 22:13:23.250", "stampmicro": "Nov 14 22:13:23.250000",
    "stampnano": "Nov 14 22:13:23.250000000",
}


EXPECTED_IN_CENTRAL_EUROPE = {      # on Saturday, 6 July 2024, at five past twelve in the night
    "ansic": "Sat Jul  6 00:05:09 2024", "unixdate": "Sat Jul  6 00:05:09 CEST 2024",
    "rubydate": "Sat Jul 06 00:05:09 +0200 2024", "rfc822": "06 Jul 24 00:05 CEST", "rfc822z": "06 Jul 24 00:05 +0200",
    "rfc850": "Saturday, 06-Jul-24 00:05:09 CEST", "rfc1123": "Sat, 06 Jul 2024 00:05:09 CEST",
    "rfc1123z": "Sat, 06 Jul 2024 00:05:09 +0200", "rfc3339": "2024-07-06T00:05:09+02:00",
    "rfc3339nano": "2024-07-06T00:05:09.007+02:00", "kitchen": "12:05AM", "stamp": "Jul  6 00:05:09",
    "stampmilli": "Jul  6 00:05:09.007", "stampmicro": "Jul  6 00:05:09.007000",
    "stampnano": "Jul  6 00:05:09.007000000",
}


def test_every_format(zone):
    expected, epoch = (EXPECTED, EPOCH) if zone == "UTC" else (EXPECTED_IN_CENTRAL_EUROPE, 1_720_217_109.007)
    assert {name: format_time(pattern, epoch) for name, pattern in _FORMATS.items()} == expected


@pytest.mark.parametrize("hour, shown", [(0, "12:05AM"), (1, "1:05AM"), (11, "11:05AM"), (12, "12:05PM"),
                                         (13, "1:05PM"), (23, "11:05PM")])
def test_the_kitchen_clock(monkeypatch, hour, shown):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    try:
        assert format_time(_FORMATS["kitchen"], hour * 3600 + 300) == shown
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_whole_second_has_no_fraction(zone):
    assert "." not in format_time(_FORMATS["rfc3339nano"], 1_700_000_003.0)


def line(formatter, level=logging.INFO, message="said %s", args=("so",), error=None, **extra):
    record = logging.LogRecord("x", level, __file__, 1, message, args, error)
    record.created = EPOCH
    record.__dict__.update(extra)
    return formatter.format(record)


@pytest.mark.parametrize("level, name", [(10, "DEBUG"), (20, "INFO"), (30, "WARN"), (40, "ERROR"), (50, "ERROR")])
def test_text(level, name):
    assert line(make_formatter("text", ""), level) == f"[{name}] said so"
    assert line(make_formatter("text", "no such format"), level) == f"[{name}] said so"


def test_text_with_time(zone):
    assert line(make_formatter("text", " RFC3339 ")).endswith(" [INFO] said so")
    assert line(make_formatter("text", "rfc3339")).startswith("2023-11-14T2")


def test_json(zone):
    found = json.loads(line(make_formatter("json", ""), logging.WARNING, fields={"model": "m", "odd": object}))
    assert (found["level"], found["msg"], found["model"]) == ("warn", "said so", "m")
    assert found["time"].startswith("2023-11-14T2")


def test_values_that_a_message_names_are_keys():
    class Named(str):
        names = ("who", "count")

    found = json.loads(line(make_formatter("json", ""), message=Named("%s came %d times"), args=("Eve", 3)))
    assert (found["msg"], found["who"], found["count"]) == ("Eve came 3 times", "Eve", 3)
    assert line(make_formatter("text", ""), message=Named("%s came %d times"), args=("Eve", 3)).endswith("3 times")
    assert json.loads(line(make_formatter("json", ""), args=({"so": 1},)))["msg"].startswith("said")


def test_a_traceback_stays_with_its_line():
    try:
        raise KeyError("lost")
    except KeyError:
        error = sys.exc_info()
    text = line(make_formatter("text", ""), logging.ERROR, error=error)
    assert text.startswith("[ERROR] said so\nTraceback") and "KeyError: 'lost'" in text
    assert "Traceback" in json.loads(line(make_formatter("json", ""), error=error))["msg"]


@pytest.mark.parametrize("name, level", [
    ("debug", 10), (" INFO ", 20), ("Warn", 30), ("error", 40), ("loud", 20), ("", 20)])
def test_levels(name, level):
    assert level_of(name) == level
