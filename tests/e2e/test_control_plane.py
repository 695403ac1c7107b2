"""Management over the wire, through both servers: our own on the main address, waitress on the admin address."""
from __future__ import annotations

import base64
import json
import re
import threading
import time
from urllib.parse import quote

import pytest

from llamaswap.runtime.threads import spawn
from tests.support.program import PATIENCE, await_true, chat, demo, run_program, said

MODELS = {"fast": demo(ttl=600, aliases=["quick"]), "slow": demo("--startup-delay", "1.5"),
          "broken": demo("--exit-at-start", "3"), "a/b": demo("--prefill-delay", "0.2")}
CONFIG = {"models": MODELS, "groups": {"all": {"swap": False, "members": [*MODELS]}},
          "performance": {"every": "5s"}, "profiles": {"day": {"pins": {"best": "fast"}}}}


class Door:
    """The program, asked for management at one of its addresses."""

    def __init__(self, program, admin):
        self.program, self._admin = program, admin

    def ask(self, method, path, body=None, headers=None):
        return self.program.ask(method, path, body, headers, admin=self._admin)

    def json(self, path):
        answer = self.ask("GET", path)
        assert answer.status == 200, (path, answer)
        return answer.json()

    def model(self, name):
        return self.json("/api/models/" + quote(name))

    def stream(self, path, headers=None):
        connection = self.program.connect(admin=self._admin)
        connection.request("GET", path, headers=headers or {})
        return connection, connection.getresponse()


@pytest.fixture(scope="module", params=["one address", "admin address"])
def door(request):
    admin = request.param == "admin address"
    with run_program(CONFIG, *(["--admin-listen", "127.0.0.1:0"] if admin else [])) as program:
        yield Door(program, admin)


def events_of(response, most=200):
    """(topic, data, id) as they come."""
    fields = {}
    for _ in range(most * 5):
        line = response.fp.readline().decode().rstrip("\n")
        if not line:
            if "data" in fields:
                yield fields.get("event", "message"), json.loads(fields["data"]), fields.get("id")
            fields = {}
        elif not line.startswith(":"):
            name, _, value = line.partition(":")
            fields[name] = value.lstrip(" ")


def first(events, wanted):
    deadline = time.monotonic() + PATIENCE
    for topic, data, number in events:
        assert time.monotonic() < deadline, "it never came"
        if wanted(topic, data):
            return data, number
    raise AssertionError("the stream ended")


# --- requests --------------------------------------------------------------------------------------------------------


def test_a_request_leaves_a_row_and_a_capture(door):
    answer = door.program.ask("POST", "/v1/chat/completions", chat("quick", "remember me"),
                              {"X-Session-ID": "s-1", "Authorization": "Bearer secret", "User-Agent": "test/1"})
    assert said(answer)
    row = await_true(lambda: door.json("/api/metrics/activity?session=s-1")["data"])[0]
    assert (row["model"], row["requested"], row["req_path"]) == ("fast", "quick", "/v1/chat/completions")
    assert row["resp_status_code"] == 200 and row["outcome"] == "ok" and row["has_capture"]
    assert row["tokens"]["input_tokens"] > 0 and row["tokens"]["output_tokens"] > 0
    assert row["request_id"] == answer.headers["X-Request-Id"] and row["user_agent"] == "test/1"
    assert door.json(f"/api/metrics/activity/{row['id']}")["id"] == row["id"]
    found = door.json(f"/api/captures/{row['id']}")
    assert b"remember me" in base64.b64decode(found["req_body"])
    assert b"remember me" in base64.b64decode(found["resp_body"])
    assert found["req_headers"]["Authorization"] == "[REDACTED]" and "secret" not in json.dumps(found)


@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_request_below_upstream_leaves_its_body_too(door, is_chunked):
    sent, session = json.dumps(chat("fast", "remember me")).encode(), f"below-{is_chunked}"
    answer = door.program.ask("POST", "/upstream/fast/v1/chat/completions",
                              iter([sent[:7], sent[7:]]) if is_chunked else sent,
                              {"Content-Type": "application/json", "X-Session-ID": session})
    assert answer.status == 200
    row = await_true(lambda: door.json(f"/api/metrics/activity?session={session}")["data"])[0]
    assert (row["model"], row["req_path"], row["req_bytes"]) == ("fast", "/v1/chat/completions", len(sent))
    assert base64.b64decode(door.json(f"/api/captures/{row['id']}")["req_body"]) == sent


def test_exports(door):
    said(door.program.ask("POST", "/v1/chat/completions", chat("fast"), {"X-Session-ID": "=1+1"}))
    await_true(lambda: door.json("/api/metrics/activity?session=" + quote("=1+1"))["data"])
    for form, start in (("csv", "id,timestamp,"), ("jsonl", "{"), ("md", "| id |")):
        answer = door.ask("GET", f"/api/metrics/activity?format={form}&session=" + quote("=1+1"))
        assert answer.status == 200 and answer.text().startswith(start)
    assert ",'=1+1," in door.ask("GET", "/api/metrics/activity?format=csv&session=" + quote("=1+1")).text()


def test_totals(door):
    said(door.program.ask("POST", "/v1/chat/completions", chat("fast")))
    stats = await_true(lambda: (found := door.json("/api/metrics/stats?model=fast"))["total_requests"] and found)
    assert stats["total_output_tokens"] > 0 and stats["gen_histogram"]["p50"] > 0


def test_a_request_under_way_can_be_seen_and_cancelled(door):
    answers = []
    body = chat("fast", "x", stream=True, demo={"token_delay": 0.2, "tokens": 200})
    asking = spawn("asks", lambda: answers.append(door.program.ask("POST", "/v1/chat/completions", body,
                                                                   {"X-Session-ID": "cancel"})))
    live = await_true(lambda: [each for each in door.json("/api/inflight")["requests"]
                               if each["session"] == "cancel" and each["phase"] == "generating"])[0]
    assert live["model"] == "fast" and live["stream"] and live["resp_bytes"] > 0 and live["ttft_ms"] is not None
    assert door.ask("POST", f"/api/inflight/{live['id']}/cancel").json() == {"msg": "ok"}
    asking.join(PATIENCE)
    assert not asking.is_alive()
    row = await_true(lambda: door.json("/api/metrics/activity?session=cancel")["data"])[0]
    assert (row["id"], row["outcome"]) == (live["id"], "cancelled")
    assert door.ask("POST", f"/api/inflight/{live['id']}/cancel").status == 404


def test_a_request_that_waits_says_for_what_and_its_client_may_leave(door):
    door.ask("POST", "/api/models/unload/slow")
    connection = door.program.connect()
    connection.request("POST", "/v1/chat/completions", json.dumps(chat("slow")), {"X-Session-ID": "leaver"})
    live = await_true(lambda: [each for each in door.json("/api/inflight")["requests"] if each["session"] == "leaver"])
    assert live[0]["phase"] in ("loading", "queued") and live[0]["reason"]
    connection.close()
    row = await_true(lambda: door.json("/api/metrics/activity?session=leaver")["data"])[0]
    assert (row["outcome"], row["resp_status_code"]) == ("client_gone", 499)


# --- models ----------------------------------------------------------------------------------------------------------


def test_what_a_running_model_costs(door):
    said(door.program.ask("POST", "/v1/chat/completions", chat("fast")))
    # The answer is out before its request is over; only then the time begins that the model may be idle.
    model = await_true(lambda: (found := door.model("fast"))["unload_at"] and found)
    assert model["state"] == "ready" and model["pid"] > 0 and model["load_ms"] and model["unload_at"] > time.time()
    assert "demo" in model["cmd"] and model["last_error"] is None
    assert await_true(lambda: door.model("fast")["memory"]["rss_bytes"]) > 1 << 20


def test_a_load_can_be_begun_and_cancelled(door):
    door.ask("POST", "/api/models/unload/slow")
    assert door.ask("POST", "/api/models/load/slow").status == 202
    assert door.model("slow")["state"] == "starting"
    assert door.ask("POST", "/api/models/cancel/slow").status == 200
    await_true(lambda: door.model("slow")["state"] == "stopped")
    assert door.model("slow")["last_error"] is None
    assert door.ask("POST", "/api/models/cancel/slow").status == 409


def test_a_failure_says_why(door):
    assert door.program.ask("POST", "/v1/chat/completions", chat("broken")).status == 503
    failure = await_true(lambda: door.model("broken")["last_error"])
    assert failure["code"] == 3 and failure["kind"] in ("start_failed", "exited") and failure["tail"]


def test_plans(door):
    assert door.json("/api/plan?model=quick")["model"] == "fast"
    assert door.ask("GET", "/api/plan").status == 400 and door.ask("GET", "/api/plan?model=x").status == 404


# --- events ----------------------------------------------------------------------------------------------------------


def test_topics_begin_with_snapshots_and_go_on(door):
    connection, response = door.stream("/api/events?topics=models,requests,profile,notice,perf")
    events = events_of(response)
    hello = next(events)
    assert hello[0] == "hello" and hello[1]["version"] and hello[1]["build"] and hello[1]["run"]
    seen = {next(events)[0] for _ in range(5)}
    assert seen == {"models", "requests", "profile", "notice", "perf"}
    said(door.program.ask("POST", "/v1/chat/completions", chat("fast"), {"X-Session-ID": "followed"}))
    done, _ = first(events, lambda topic, data: topic == "requests" and data["op"] == "done"
                    and data["request"]["session"] == "followed")
    assert done["request"]["resp_status_code"] == 200
    connection.close()


def test_a_load_that_waits_for_room_and_is_unloaded_is_seen_to_be_over():
    with run_program({"models": {"busy": demo(), "next": demo()}, "performance": {"disabled": True}}) as program:
        body = chat("busy", stream=True, demo={"token_delay": 0.2, "tokens": 500})
        with program.stream("POST", "/v1/chat/completions", body) as answer:
            assert answer.read(1)
            connection, response = Door(program, False).stream("/api/events?topics=models")
            told = []
            reader = spawn("reads", lambda: told.extend(
                each["ordered"] for _, data, _ in events_of(response)
                for each in data.get("models") or [data.get("model", {})] if each.get("id") == "next"))
            await_true(lambda: told == [False])
            program.ask("POST", "/api/models/load/next")
            await_true(lambda: told[-1])
            program.ask("POST", "/api/models/unload/next")
            await_true(lambda: not told[-1])
        connection.close()
    reader.join(PATIENCE)


def test_who_comes_back_gets_what_was_missed(door):
    connection, response = door.stream("/api/events?topics=requests")
    events = events_of(response)
    _, seen = first(events, lambda topic, data: topic == "requests")
    connection.close()
    said(door.program.ask("POST", "/v1/chat/completions", chat("fast"), {"X-Session-ID": "missed"}))
    await_true(lambda: door.json("/api/metrics/activity?session=missed")["data"])
    connection, response = door.stream("/api/events?topics=requests", {"Last-Event-ID": seen})
    again = events_of(response)
    assert next(again)[0] == "hello"
    topic, data, _ = next(again)
    assert data["op"] != "snapshot", "nothing was lost, so nothing is told anew"
    connection.close()


def test_logs_as_events_without_gap_or_repetition(door):
    connection, response = door.stream("/api/events?topics=log:fast")
    events = events_of(response)
    history, _ = first(events, lambda topic, data: topic == "log:fast")
    assert history["reset"]
    marks = [f"mark-{number}" for number in range(20)]
    for mark in marks:
        said(door.program.ask("POST", "/v1/chat/completions", chat("fast", mark)))
    text = ""
    deadline = time.monotonic() + PATIENCE
    while text.count("POST /v1/chat/completions") < len(marks):
        assert time.monotonic() < deadline, text
        text += next(events)[1]["text"]
    assert text.count("POST /v1/chat/completions") == len(marks)
    connection.close()


def test_clients_of_llama_swap_get_its_events(door):
    connection, response = door.stream("/api/events")
    assert response.getheader("Content-Type") == "text/event-stream"
    events = events_of(response)
    kinds = []
    while "inflight" not in kinds:
        topic, data, _ = next(events)
        assert topic == "message" and isinstance(data["data"], str)
        kinds.append(data["type"])
        json.loads(data["data"])
    assert kinds == ["logData", "logData", "modelStatus", "uiConfig", "profileChanged", "inflight"]
    said(door.program.ask("POST", "/v1/chat/completions", chat("fast")))
    first(events, lambda topic, data: data["type"] == "activity" and json.loads(data["data"])["id"] > 0)
    connection.close()


def test_followers_leave_nothing_behind(door):
    before = threading.active_count()
    streams = [door.stream("/api/events?topics=models,log:proxy") for _ in range(20)]
    for _, response in streams:
        assert next(events_of(response))[0] == "hello"
    for connection, _ in streams:
        connection.close()
    assert threading.active_count() == before
    assert said(door.program.ask("POST", "/v1/chat/completions", chat("fast")))


# --- the rest --------------------------------------------------------------------------------------------------------


def test_configuration_logs_and_measurements(door):
    shown = door.json("/api/config")
    assert shown["valid"] and shown["paths"] and "fast" in shown["config"]["models"]
    logs = door.json("/api/logs")
    runs = next(model["runs"] for model in logs["models"] if model["id"] == "broken")
    assert runs == [] or runs[-1]["reason"]
    performance = await_true(lambda: (found := door.json("/api/performance"))["sys_stats"] and found)
    assert performance["enabled"] and performance["sys_stats"][0]["mem_total_mb"] > 0 and performance["gpu_stats"] == []
    hardware = await_true(lambda: (found := door.ask("GET", "/api/hardware")).status == 200 and found.json())
    assert hardware["cpu"]["logical_thread_count"] > 0
    metrics = door.ask("GET", "/metrics")
    assert metrics.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert re.search(r'llamaswap_requests_total\{[^}]*model="fast"', metrics.text())
    assert "llamaswap_memory_total_bytes" in metrics.text()


BAD = ["/api/metrics/activity?limit=0", "/api/metrics/activity?limit=x", "/api/metrics/activity?page=0",
       "/api/metrics/activity?page=-1", "/api/metrics/activity?sort=password", "/api/metrics/activity?order=up",
       "/api/metrics/activity?start=yesterday", "/api/metrics/activity?min_id=5&max_id=2", "/api/captures/x",
       "/api/metrics/activity?start=2025-01-02T00:00:00Z&end=2025-01-01T00:00:00Z", "/api/captures/1e5",
       "/api/metrics/activity?format=exe", "/api/metrics/activity?status=999999", "/api/metrics/activity?status=%00",
       "/api/metrics/activity?limit=99999999999999999999999", "/api/metrics/stats?outcome=fine",
       "/api/events?topics=", "/api/events?topics=nothing", "/api/events?topics=log:", "/api/events?topics=log:nobody",
       "/api/performance?after=soon", "/api/captures/99999999999999999999999999",
       "/api/performance?range=-1&step=0", "/api/plan?model=", "/api/plan",
       "/logs/stream/nobody", "/logs/stream/%ff%fe", "/api/metrics/activity?page=%F0%9F%98%80"]
MISSING = ["/api/captures/999999999", "/api/metrics/activity/999999999",
           "/api/models/nobody", "/api/models/%00", "/logs/stream/fast?run=999", "/api/plan?model=%00",
           "/api/metrics/activity/0"]


@pytest.mark.parametrize("path", [*BAD, *MISSING])
def test_bad_questions_are_told_so(door, path):
    answer = door.ask("GET", path)
    assert answer.status == (404 if path in MISSING else 400), answer
    assert answer.error["message"] and answer.headers["X-Request-Id"]


@pytest.mark.parametrize("method, path, body, status", [
    ("POST", "/api/inflight/x/cancel", b"", 404), ("POST", "/api/inflight/999999/cancel", b"", 404),
    ("POST", "/api/inflight/1", b"", 404), ("POST", "/api/models/load/nobody", b"", 404),
    ("POST", "/api/models/cancel/nobody", b"", 404), ("POST", "/api/models/unload/nobody", b"", 404),
    ("POST", "/api/models/unload?mode=softly", b"", 400), ("POST", "/api/models/unload?mode=drain&timeout=x", b"", 400),
    ("PUT", "/api/profiles/active", b"{", 400), ("PUT", "/api/profiles/active", b'{"name": 7}', 400),
    ("PUT", "/api/profiles/active", b'{"name": "night"}', 404), ("POST", "/api/metrics/activity", b"", 405),
    ("DELETE", "/api/captures/1", b"", 405), ("GET", "/api/models/load/fast", b"", 405)])
def test_bad_orders_are_refused(door, method, path, body, status):
    answer = door.ask(method, path, body)
    assert answer.status == status and answer.error["message"], answer


def test_nothing_of_this_was_an_error_of_ours(door):
    assert "Traceback" not in door.program.log and "internal error" not in door.program.log
