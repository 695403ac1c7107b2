"""The event stream of a whole program: what a page sees of a model's life, on both listeners, and what llama-swap's
clients see."""
from __future__ import annotations

import json
import time

import pytest

from tests.support.program import PATIENCE, await_true, chat, demo, run_program


class Events:
    """Reads an open stream; collects (name, data), heartbeats left out."""

    def __init__(self, response):
        assert response.status == 200 and response.headers["Content-Type"] == "text/event-stream"
        self._response = response
        self._text = b""
        self.seen = []

    def until(self, question):
        deadline = time.monotonic() + PATIENCE
        while not any(question(*each) for each in self.seen):
            assert time.monotonic() < deadline, self.seen
            self._text += self._response.read1(65536)
            *frames, self._text = self._text.split(b"\n\n")
            self.seen.extend(parsed(frame.decode()) for frame in frames if frame and not frame.startswith(b":"))
        return self


def parsed(frame):
    fields = dict(line.partition(":")[::2] for line in frame.split("\n"))
    data = json.loads(fields["data"])
    if fields["event"] == "message":
        return data["type"], json.loads(data["data"])
    return fields["event"].strip(), data


def is_state(state):
    return lambda name, data: name == "models" and data["op"] == "upsert" and data["model"]["state"] == state


@pytest.mark.parametrize("is_admin", [False, True])
def test_what_a_page_sees(is_admin):
    options = ["--admin-listen", "127.0.0.1:0"] if is_admin else []
    with run_program({"models": {"org/a": demo("--startup-delay", "0.3")}}, *options) as program:
        connection = program.connect(admin=is_admin)
        connection.request("GET", "/api/events?topics=models,requests,profile,log:proxy,log:org%2Fa")
        response = connection.getresponse()
        events = Events(response)
        events.until(lambda name, data: name == "log:org/a")
        assert events.seen[0][0] == "hello" and events.seen[0][1]["topics"][0] == "models"
        assert program.ask("POST", "/v1/chat/completions", chat("org/a")).status == 200
        for state in ("starting", "ready"):
            events.until(is_state(state))
        events.until(lambda name, data: name == "requests" and data["op"] == "done"
                     and data["request"]["model"] == "org/a")
        events.until(lambda name, data: name == "log:org/a" and "listening" in data["text"])
        program.ask("POST", "/api/models/unload", admin=is_admin)
        events.until(is_state("stopped"))
        events.until(lambda name, data: name == "log:org/a" and "run 1 ended" in data["text"])
        response.close()
        connection.close()
        # Its end is noticed although nothing happens any more.
        program.wait_for(r'"GET /api/events HTTP/1.1" (200|499)')
        run, = program.ask("GET", "/api/logs", admin=is_admin).json()["models"][0]["runs"]
        assert run["run"] == 1 and run["ended_at"] >= run["started_at"]
        told = program.ask("GET", "/logs/stream/org/a?run=1", admin=is_admin).text()
        assert "listening" in told and "run 1 ended" not in told


def test_what_clients_of_llama_swap_see():
    with run_program({"models": {"a": demo()}}) as program, program.stream("GET", "/api/events") as response:
        events = Events(response).until(lambda name, data: name == "inflight")
        assert [name for name, _ in events.seen[:6]] == ["logData", "logData", "modelStatus", "uiConfig",
                                                        "profileChanged", "inflight"]
        assert program.ask("POST", "/v1/chat/completions", chat("a")).status == 200
        events.until(lambda name, data: name == "modelStatus" and data[0]["state"] == "ready")
        events.until(lambda name, data: name == "inflight" and data["operation"] == "remove")
        events.until(lambda name, data: name == "activity" and data["id"] == 1)
        events.until(lambda name, data: name == "logData" and data["source"] == "upstream" and data["data"])


def test_a_stop_ends_the_streams():
    with run_program({"models": {"a": demo()}}) as program, program.stream("GET", "/api/events") as response:
        Events(response).until(lambda name, data: name == "inflight")
        began_at = time.monotonic()
        assert program.stop() == 0 and time.monotonic() - began_at < 10
        while response.read1(65536):
            pass


def test_log_files_follow_the_configuration(tmp_path):
    config = {"models": {"org/a": demo()}, "logFiles": {"dir": str(tmp_path / "logs")}}
    with run_program(config) as program:
        program.pid_of("org/a")
        await_true(lambda: (tmp_path / "logs" / "org%2Fa.log").exists())
    assert "listening" in (tmp_path / "logs" / "org%2Fa.log").read_text()
    assert "shutdown complete" in (tmp_path / "logs" / "proxy.log").read_text()
