"""The wall clock is for people: when somebody sets it, nothing that is waited for comes sooner or later.

The jump is made inside the process, by a clock of our own under `time.time`.
"""
from __future__ import annotations

import json
import sys
import time

import pytest

from tests.support.program import await_true, chat, demo, run_program, said

DAY = 86_400
JUMPING = """
import os, runpy, sys, time
real = time.time
def jumped():
    with open(os.environ["CLOCK"]) as file:
        return real() + float(file.read() or 0)
time.time = jumped
runpy.run_module("llamaswap", run_name="__main__", alter_sys=True)
"""


@pytest.fixture
def clock(tmp_path):
    path = tmp_path / "clock"
    path.write_text("0")

    def jump(seconds):
        (tmp_path / "next").write_text(str(seconds))
        (tmp_path / "next").replace(path)
    jump.path = path
    return jump


@pytest.mark.parametrize("jump", [DAY, -DAY], ids=["forward", "back"])
def test_a_jump_of_the_clock_ends_and_delays_nothing(clock, jump):
    models = {"lasting": demo("--token-delay", "0.05", ttl=3600), "brief": demo(ttl=2),
              "late": demo("--startup-delay", "1.5")}
    config = {"models": models, "healthCheckTimeout": 60,
              "groups": {"all": {"swap": False, "exclusive": False, "members": list(models)}}}
    with run_program(config, command=[sys.executable, "-c", JUMPING], env={"CLOCK": str(clock.path)}) as program:
        pid = program.pid_of("lasting")
        program.pid_of("brief")
        with program.stream("POST", "/v1/chat/completions", chat("lasting", "x " * 30, stream=True)) as stream, \
                program.stream("POST", "/v1/chat/completions", chat("late", stream=True)) as loading:
            stream.readline()
            clock(jump)
            assert stream.read().endswith(b"data: [DONE]\n\n")
            assert loading.read().endswith(b"data: [DONE]\n\n")
        assert said(program.ask("POST", "/v1/chat/completions", chat("late"))) == "You said: hello"
        row = await_true(lambda: newest(program), "the last request is recorded")
        assert abs(row["at"] - (time.time() + jump)) < 600, "what people see follows the clock they set"
        assert 0 <= row["duration_ms"] < 60_000
        await_true(lambda: "brief" not in program.running(), "two seconds are two seconds")
        assert program.running()["lasting"] == "ready" and program.pid_of("lasting") == pid


def newest(program):
    rows = json.loads(program.ask("GET", "/api/metrics/activity").body)
    found = rows if isinstance(rows, list) else rows.get("data") or rows.get("rows") or []
    late = [row for row in found if row["model"] == "late"]
    return max(late, key=lambda row: row["id"]) if len(late) == 2 else None
