"""Management answers, over a real registry whose models are fakes."""
from __future__ import annotations

import pytest

from llamaswap.core.faults import ClientFault
from llamaswap.core.groups import Groups
from llamaswap.runtime.logs import LogBook
from llamaswap.runtime.registry import Registry
from llamaswap.web.admin import Admin
from tests.support.asked import FakeLauncher, asked, header, loaded, site_of

MODELS = {"m": {"aliases": ["n"], "cmd": "engine --port ${PORT} --api-key secret", "name": "M", "ttl": 60},
          "a/b": {"description": "d"}, "hidden": {"unlisted": True, "aliases": ["h"]}}
PATIENCE = 20.0


class Rig:
    def __init__(self):
        self.site = site_of(models=MODELS, peers={"p": {"proxy": "http://p", "models": ["x"]}},
                            selectors={"s": {"strategy": "pin", "targets": ["m"]}},
                            groups={"g": {"swap": False, "members": list(MODELS)}},
                            profiles={"day": {"pins": {"m": "a/b"}}})
        self.logs = LogBook()
        self.is_ending = False
        config = self.site.config
        self.registry = Registry(config.models, Groups(config.groups).evict, launcher=FakeLauncher(),
                                 tell=lambda _: None)
        self.admin = Admin(self.registry, self.logs, lambda: self.site, lambda: self.is_ending)

    def load(self, name):
        self.registry.load(name).wait(PATIENCE)

    def ask(self, name, target="/", rest=""):
        return getattr(self.admin, name)(asked("GET", target), rest)


@pytest.fixture
def rig():
    made = Rig()
    yield made
    assert made.registry.close(timeout=PATIENCE)


def test_health_and_version(rig):
    assert rig.ask("health").body == b"OK"
    assert set(loaded(rig.ask("version"))) == {"version", "commit", "build_date"}


def test_models(rig):
    rig.load("m")
    listed = loaded(rig.ask("models"))
    assert listed["object"] == "list"
    assert {row["id"]: row["status"]["value"] for row in listed["data"]} == {
        "m": "loaded", "a/b": "unloaded", "p/x": "unloaded", "s": "loaded"}
    assert [loaded(rig.ask("model", rest=name))["id"] for name in ("m", "n", "a/b", "x", "p/x", "s")] == [
        "m", "m", "a/b", "p/x", "p/x", "s"]
    for name in ("hidden", "h", "nobody", ""):
        with pytest.raises(ClientFault) as lost:
            rig.ask("model", rest=name)
        assert (lost.value.status, lost.value.code) == (404, "model_not_found")


def test_running(rig):
    assert loaded(rig.ask("running")) == {"running": []}
    rig.load("m")
    rig.load("a/b")
    first, second = loaded(rig.ask("running"))["running"]
    assert first["model"] == "a/b" and first["description"] == "d"
    assert second == {"model": "m", "state": "ready", "ttl": 60, "name": "M", "description": "",
                      "cmd": "engine --port 5802 --api-key ***", "proxy": "http://localhost:5802"}


def test_unload(rig):
    rig.load("m")
    rig.load("a/b")
    assert rig.ask("unload_one", rest="n").body == b"OK"
    assert [row["model"] for row in loaded(rig.ask("running"))["running"]] == ["a/b"]
    assert rig.ask("unload_one", rest="n").body == b"OK"                # also when it does not run
    assert loaded(rig.ask("unload_all")) == {"msg": "ok"} and loaded(rig.ask("running")) == {"running": []}
    assert rig.ask("unload_all_text").body == b"OK"
    for name in ("nobody", "s", "x", "p/x"):
        with pytest.raises(ClientFault, match="model not found"):
            rig.ask("unload_one", rest=name)


def test_profiles_do_not_rename_what_is_managed(rig):
    rig.site = rig.site.with_profile("day")
    rig.load("m")
    rig.ask("unload_one", rest="m")
    assert loaded(rig.ask("running")) == {"running": []}


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
    response = rig.admin.log_stream(request, "a/b")     # silent: it has to look for itself
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
