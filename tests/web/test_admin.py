"""Management answers, over a real registry whose models are fakes."""
from __future__ import annotations

import time

import pytest

from llamaswap.core.faults import ClientFault
from llamaswap.core.groups import Groups
from llamaswap.runtime.registry import Registry
from llamaswap.runtime.threads import spawn
from llamaswap.web.admin import Admin
from tests.support.asked import FakeLauncher, asked, loaded, site_of

MODELS = {"m": {"aliases": ["n"], "cmd": "engine --port ${PORT} --api-key secret", "name": "M", "ttl": 60},
          "a/b": {"description": "d"}, "hidden": {"unlisted": True, "aliases": ["h"]}}
PATIENCE = 20.0


class Rig:
    def __init__(self):
        self.site = site_of(models=MODELS, peers={"p": {"proxy": "http://p", "models": ["x"]}},
                            selectors={"s": {"strategy": "pin", "targets": ["m"]}},
                            groups={"g": {"swap": False, "members": list(MODELS)}},
                            profiles={"day": {"pins": {"m": "a/b"}}})
        config = self.site.config
        self.registry = Registry(config.models, Groups(config.groups).evict, launcher=FakeLauncher(),
                                 tell=lambda _: None)
        self.admin = Admin(self.registry, lambda: self.site)

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


def test_unload_when_requests_have_ended(rig):
    with rig.registry.lease("m") as lease:
        lease.wait(PATIENCE)
        answers = []
        asking = spawn("drain", lambda: answers.append(rig.ask("unload_one", "/?mode=drain&timeout=1e9", "m")))
        deadline = time.monotonic() + PATIENCE
        while not rig.registry.status("m").leaving:
            assert time.monotonic() < deadline
            time.sleep(0.001)
        assert not answers and loaded(rig.ask("running"))["running"][0]["state"] == "ready"
    asking.join(PATIENCE)
    assert answers[0].body == b"OK" and loaded(rig.ask("running")) == {"running": []}


def test_who_leaves_is_not_waited_for_but_the_drain_goes_on(rig):
    with rig.registry.lease("m") as lease:
        lease.wait(PATIENCE)
        request = asked("POST", "/?mode=drain&timeout=1e9")
        request.connection.gone = True
        rig.admin.unload_one(request, "m")
        assert rig.registry.status("m").leaving
    assert rig.registry.unload(["m"], timeout=PATIENCE)


def test_a_drain_has_an_end(rig):
    with rig.registry.lease("m") as lease:
        lease.wait(PATIENCE)
        assert rig.ask("unload_all_text", "/unload?mode=drain&timeout=0").body == b"OK"
        assert rig.registry.status("m").state == "stopped"


def test_unload_what_is_idle(rig):
    with rig.registry.lease("m") as lease:
        lease.wait(PATIENCE)
        for name, rest in (("unload_one", "n"), ("unload_all", ""), ("unload_all_text", "")):
            with pytest.raises(ClientFault) as busy:
                rig.ask(name, "/?mode=idle", rest)
            assert (busy.value.status, busy.value.code) == (409, "model_busy")
    assert rig.ask("unload_one", "/?mode=idle", "n").body == b"OK"
    assert loaded(rig.ask("running")) == {"running": []}


@pytest.mark.parametrize("query", [
    "mode=", "mode=gentle", "mode=NOW", "mode=now&mode=x", "mode=drain&timeout=", "mode=drain&timeout=soon",
    "mode=drain&timeout=-1", "mode=drain&timeout=nan", "mode=drain&timeout=inf", "timeout=-1"])
def test_unloads_that_are_not_understood_do_nothing(rig, query):
    rig.load("m")
    for name, rest in (("unload_one", "m"), ("unload_all", ""), ("unload_all_text", "")):
        with pytest.raises(ClientFault) as refused:
            rig.ask(name, "/?" + query, rest)
        assert refused.value.status == 400
    assert rig.registry.status("m").state == "ready"


def test_profiles_do_not_rename_what_is_managed(rig):
    rig.site = rig.site.with_profile("day")
    rig.load("m")
    rig.ask("unload_one", rest="m")
    assert loaded(rig.ask("running")) == {"running": []}
