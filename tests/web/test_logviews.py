"""Logs as clients get them: by source, with or without what was, and by run."""
from __future__ import annotations

import pytest

from llamaswap.core.faults import ClientFault
from llamaswap.runtime.logs import LogBook
from llamaswap.web.logviews import LogViews
from tests.support.asked import asked, header, loaded, site_of

MODELS = {"m": {"aliases": ["n"]}, "a/b": {}}


class Rig:
    def __init__(self):
        self.site = site_of(models=MODELS, peers={"p": {"proxy": "http://p", "models": ["x"]}},
                            selectors={"s": {"strategy": "pin", "targets": ["m"]}})
        self.logs = LogBook()
        self.is_ending = False
        self.views = LogViews(self.logs, lambda: self.site, lambda: self.is_ending)

    def ask(self, name, target="/", rest=""):
        return getattr(self.views, name)(asked("GET", target), rest)


@pytest.fixture
def rig():
    return Rig()


def test_log_history(rig):
    rig.logs.add_proxy_line(b"hello\n")
    response = rig.ask("log_history")
    assert response.body == b"hello\n" and header(response, "X-Content-Type-Options") == "nosniff"


def stream(rig, rest="", query=""):
    return rig.ask("log_stream", "/logs/stream" + query, rest)


@pytest.mark.parametrize("rest, line", [
    ("", b"ours\n"), ("proxy", b"ours\n"), ("upstream", b"its\n"), ("m", b"its\n"), ("n", b"its\n")])
def test_log_streams(rig, rest, line):
    rig.logs.add_proxy_line(b"ours\n")
    rig.logs.add_model_output("m", b"its\n")
    response = stream(rig, rest)
    assert header(response, "X-Accel-Buffering") == "no" and header(response, "Content-Type").startswith("text/plain")
    assert next(iter(response.body)) == line
    response.on_close()


@pytest.mark.parametrize("query, has_history", [
    ("", True), ("?no-history", False), ("?no-history=1", False), ("?no-history=", False), ("?no-history=0", True),
    ("?no-history=False", True), ("?x=no-history", True)])
def test_history_can_be_left_out(rig, query, has_history):
    rig.logs.add_proxy_line(b"old\n")
    response = stream(rig, "", query)
    rig.logs.add_proxy_line(b"new\n")
    assert next(iter(response.body)) == (b"old\nnew\n" if has_history else b"new\n")
    response.on_close()


def test_a_log_stream_ends_with_its_reader_its_source_and_the_program(rig):
    request = asked("GET", "/logs/stream/a/b")
    response = rig.views.log_stream(request, "a/b")     # silent: it has to look for itself
    request.connection.gone = True
    assert list(response.body) == []
    response = stream(rig, "a/b")
    rig.is_ending = True
    assert list(response.body) == []
    rig.is_ending = False
    response = stream(rig)
    response.on_close()
    assert list(response.body) == []


@pytest.mark.parametrize("rest, status", [
    ("nobody", 400), ("s", 400), ("p/x", 400), ("m/x", 404), ("a/b/c/d", 404), ("proxy/x", 404), ("nobody/x", 400)])
def test_logs_that_are_not_there(rig, rest, status):
    with pytest.raises(ClientFault) as lost:
        stream(rig, rest)
    assert lost.value.status == status


def test_runs_of_a_model(rig):
    for gen, words in ((1, b"first\n"), (2, b"second\n")):
        rig.logs.begin_run("m", gen)
        rig.logs.add_model_output("m", words)
        if gen == 1:
            rig.logs.end_run("m", 1, "exit code 3")
    listed = loaded(rig.ask("list"))
    assert listed["sources"] == ["proxy", "upstream"] and [model["id"] for model in listed["models"]] == ["a/b", "m"]
    first, second = listed["models"][1]["runs"]
    assert (first["run"], first["reason"], second["run"], second["reason"]) == (1, "exit code 3", 2, None)
    assert first["ended_at"] >= first["started_at"] and second["ended_at"] is None
    assert rig.ask("log_stream", "/logs/stream/n?run=1", "n").body == b"first\n"
    assert rig.ask("log_stream", "/logs/stream/m?run=2", "m").body == b"second\n"


@pytest.mark.parametrize("rest, number", [
    ("m", "7"), ("m", "x"), ("m", ""), ("m", "9" * 50), ("proxy", "1"), ("", "1")])
def test_runs_that_are_not_there(rig, rest, number):
    rig.logs.begin_run("m", 1)
    with pytest.raises(ClientFault) as lost:
        rig.ask("log_stream", f"/logs/stream/{rest}?run={number}", rest)
    assert lost.value.status == 404
