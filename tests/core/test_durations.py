"""Durations are read and written as Go does."""
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamaswap.core.durations import format_duration, parse_duration


@pytest.mark.parametrize(("text", "seconds"), [
    ("5s", 5), ("1m30s", 90), ("1.5h", 5400), ("250ms", 0.25), ("+2s", 2), ("-2s", -2), ("0", 0), ("+0", 0), ("-0", 0),
    ("0s", 0), (".5s", 0.5), ("1.s", 1), ("2us", 2e-6), ("2µs", 2e-6), ("2μs", 2e-6), ("3ns", 3e-9), ("1s1s", 2),
    ("1h1m1s1ms", 3661.001), ("100000000h", 3.6e11)])
def test_read(text, seconds):
    assert parse_duration(text) == pytest.approx(seconds, rel=1e-12)


@pytest.mark.parametrize("text", ["", "5", "s", "5 s", " 5s", "5s ", "5S", "1d", "--5s", "5s-1s", ".s", "5s\n", "1e3s",
                                  "٣s"])
def test_not_a_duration(text):
    assert parse_duration(text) is None


@pytest.mark.parametrize(("seconds", "text"), [
    (0, "0s"), (5, "5s"), (90, "1m30s"), (5400, "1h30m0s"), (3600, "1h0m0s"), (0.25, "250ms"), (4.999, "4.999s"),
    (2e-6, "2µs"), (3e-9, "3ns"), (-1.5, "-1.5s"), (59.9999999999, "1m0s"), (3661.5, "1h1m1.5s"), (0.0015, "1.5ms")])
def test_write(seconds, text):
    assert format_duration(seconds) == text


@given(st.integers(min_value=1, max_value=10 ** 14))
def test_what_is_written_reads_back(microseconds):
    assert parse_duration(format_duration(microseconds / 1e6)) == pytest.approx(microseconds / 1e6, rel=1e-12)
