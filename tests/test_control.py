"""What watches the program, put together: what is told, to whom, and what survives a reload."""
from __future__ import annotations

import time
from typing import Any, List

import pytest

from llamaswap.control import Control
from llamaswap.core.groups import Groups
from llamaswap.core.headers import Headers
from llamaswap.core.tree import Mark, Problem
from llamaswap.runtime import store
from llamaswap.runtime.current import Current
from llamaswap.runtime.logs import LogBook
from llamaswap.runtime.registry import Registry
from llamaswap.runtime.relay import Outcome
from llamaswap.web.configview import Reading
from tests.support.asked import FakeLauncher, asked, loaded, site_of, whole

PATIENCE = 20.0


class FakeServer:
    connections = 3


class Rig:
    def __init__(self, **keys: Any) -> None:
        self.site = Current(site_of(models={"m": None, "n": None}, profiles={"day": {"pins": {"best": "m"}}}, **keys))
        config = self.site().config
        self.logs = LogBook()
        self.reading = Reading(config, ["/etc/c.yaml"], (), True, 10.0, 10.0)
        self.launcher = FakeLauncher()
        self.registry = Registry(config.models, Groups(config.groups).evict, launcher=self.launcher,
                                 tell=lambda event: self.control.note(event))
        self.control = Control(config, lambda: self.reading, site=self.site, registry=self.registry, logs=self.logs,
                               is_ending=lambda: False, build=lambda: "abc")
        self.control.start(lambda: None)
        self.followers: List[Any] = []

    def follow(self, *topics: str) -> Any:
        found = self.control.hub.subscribe(topics)
        self.followers.append(found)
        return found

    def visit(self) -> Any:
        visit = self.control.inflight.open(asked("POST", "/v1/x", b"{}"), "/v1/x")
        visit.model = visit.requested = "m"
        visit.status, visit.response_headers, visit.body = 200, Headers([("Content-Type", "application/json")]), b"{}"
        return visit

    def close(self) -> None:
        for follower in self.followers:
            follower.close()
        assert self.registry.close(timeout=PATIENCE)
        self.control.close()


@pytest.fixture
def make():
    made = []

    def build(**keys):
        made.append(Rig(performance={"disabled": True}, **keys))
        return made[-1]
    yield build
    for rig in made:
        rig.close()


def told(follower: Any, topic: str, wanted: Any) -> Any:
    """The first event of the topic that is wanted."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        for event in follower.take(0.2) or ():
            data = event.data()
            if event.topic == topic and wanted(data):
                return data
    raise AssertionError(f"never told of {topic}")


def test_a_request_from_its_arrival_to_its_row(make):
    rig = make()
    follower = rig.follow("requests")
    assert told(follower, "requests", lambda data: data["op"] == "snapshot") == {"op": "snapshot", "requests": []}
    visit = rig.visit()
    assert told(follower, "requests", lambda data: data["op"] == "upsert")["request"]["id"] == visit.id
    assert [live["id"] for live in loaded(rig.control.activity.inflight(asked("GET", "/"), ""))["requests"]] == [1]
    visit.tap(b'{"usage": {"prompt_tokens": 5, "completion_tokens": 2}}')
    visit.end_answer(Outcome(200, sent_bytes=10, complete=True))
    visit.close()
    done = told(follower, "requests", lambda data: data["op"] == "done")["request"]
    assert (done["id"], done["tokens"]["input_tokens"], done["has_capture"]) == (1, 5, True)
    assert loaded(rig.control.activity.page(asked("GET", "/"), ""))["total"] == 1
    assert loaded(rig.control.activity.capture(asked("GET", "/"), "1"))["req_path"] == "/v1/x"


def test_of_a_flood_the_newest_rows_and_the_ends_of_those_that_were_seen(make):
    rig = make()
    follower = rig.follow("requests")
    seen = rig.visit()
    told(follower, "requests", lambda data: data["op"] == "upsert")
    others = [rig.visit() for _ in range(200)]
    for visit in (seen, *others):
        visit.end_answer(Outcome(200, complete=True))
        visit.close()
    gone, rows = [], []
    deadline = time.monotonic() + PATIENCE
    while not (gone and others[-1].id in rows) and time.monotonic() < deadline:
        for event in follower.take(0.2):
            gone += event.data().get("ids", ())
            rows += [event.data()["request"]["id"]] if event.data()["op"] == "done" else []
    assert gone == [seen.id] and rows[-1] == others[-1].id and seen.id not in rows and len(rows) < len(others)


def test_models_are_told_of_as_they_change(make):
    rig = make()
    follower = rig.follow("models")
    told(follower, "models", lambda data: data["op"] == "snapshot")
    rig.registry.load("m").wait(PATIENCE)
    assert told(follower, "models", lambda data: data["op"] == "upsert" and data["model"]["state"] == "ready")
    rig.launcher.processes[0].exit(3, "exit code 3")
    failed = told(follower, "models", lambda data: data["op"] == "upsert" and data["model"]["last_error"])
    assert failed["model"]["last_error"]["code"] == 3
    text = whole(rig.control.scrape(FakeServer()).metrics(asked("GET", "/metrics"), "")).decode()
    assert 'llamaswap_model_starts_total{model="m"} 1.0' in text and "llamaswap_open_connections 3.0" in text
    assert 'llamaswap_model_failures_total{model="m"} 1.0' in text


def test_requests_for_other_models_change_nothing_about_models(make):
    rig = make(peers={"far": {"proxy": "http://127.0.0.1:1", "models": ["x"]}})
    follower, watching = rig.follow("models"), rig.follow("requests")
    first = told(follower, "models", lambda data: data["op"] == "snapshot")["models"]
    assert "far/x" in [each["id"] for each in first]
    for name in ("far/x", "", "m"):
        visit = rig.visit()
        visit.model = name
        told(watching, "requests", lambda data, number=visit.id: data.get("request", {}).get("id") == number)
        visit.close()
    assert told(follower, "models", lambda data: True)["model"]["id"] == "m"


def test_what_is_wrong_with_the_files_is_a_notice_until_it_is_right(make):
    rig = make()
    follower = rig.follow("notice")
    assert told(follower, "notice", lambda data: True) == {"op": "snapshot", "notices": []}
    problem = Problem(("models",), "must be a mapping", mark=Mark("/etc/c.yaml", 3, 1))
    rig.reading = rig.reading._replace(problems=[problem], is_valid=False)
    rig.control.tell_reading()
    notice, = told(follower, "notice", lambda data: data["notices"])["notices"]
    assert notice["severity"] == "error" and "/etc/c.yaml:3:1" in notice["text"]
    rig.reading = rig.reading._replace(problems=[], is_valid=True)
    rig.control.tell_reading()
    assert told(follower, "notice", lambda data: True) == {"op": "snapshot", "notices": []}


def test_a_store_that_cannot_be_used_is_a_notice_until_it_can(make, tmp_path, monkeypatch):
    monkeypatch.setattr(store, "RETRY_PAUSE", 0.0)
    folder = tmp_path / "later"
    rig = make(store={"path": str(folder / "activity.db")})
    follower = rig.follow("notice")
    notice, = told(follower, "notice", lambda data: data["notices"])["notices"]
    assert (notice["id"], notice["severity"]) == ("store", "warning") and "unable to open" in notice["text"]
    assert abs(notice["at"] - time.time()) < PATIENCE
    folder.mkdir()
    rig.visit().close()
    assert told(follower, "notice", lambda data: True) == {"op": "snapshot", "notices": []}


def test_profiles(make):
    rig = make()
    follower = rig.follow("profile")
    assert told(follower, "profile", lambda data: True)["active"] is None
    rig.site.replace(lambda site: site.with_profile("day"))
    rig.control.tell_profile()
    active = told(follower, "profile", lambda data: True)
    assert active == {"active": "day", "profiles": [{"id": "day", "description": "", "pins": {"best": "m"}}]}


def test_a_reload_keeps_captures_and_numbers(make):
    rig = make()
    visit = rig.visit()
    visit.tap(b"x")
    visit.close()
    assert loaded(rig.control.activity.page(asked("GET", "/"), ""))["total"] == 1
    rig.control.reconfigure(rig.site().config)
    assert loaded(rig.control.activity.capture(asked("GET", "/"), "1"))["id"] == 1 and rig.visit().id == 2
    for left in rig.control.inflight.visits():
        left.close()


def test_the_first_words_of_a_stream(make):
    rig = make()
    response = rig.control.feed.events(asked("GET", "/api/events?topics=models"), "")
    first = next(iter(response.body)).decode()
    response.on_close()
    for part in ('"build":"abc"', '"config_path":"/etc/c.yaml"', '"perf":false', '"session_headers":["X-Session-ID"'):
        assert part in first
