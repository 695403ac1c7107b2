"""Models as an operator sees them, over a real registry whose models are fakes."""
from __future__ import annotations

import json
import time

import pytest

from llamaswap.core.faults import ClientFault
from llamaswap.core.groups import Groups
from llamaswap.runtime.costs import Cost
from llamaswap.runtime.histories import Histories
from llamaswap.runtime.registry import Registry
from llamaswap.web.models import Models
from tests.support.asked import FakeLauncher, asked, loaded, site_of

MODELS = {"m": {"aliases": ["n"], "cmd": "engine --port ${PORT} --api-key geheim", "name": "M", "ttl": 60,
                "env": ["TOKEN=geheim", "A=b"], "metadata": {"api_key": "geheim", "size": 7},
                "filters": {"setParams": {"top_p": 0.5}, "stripParams": "seed"}},
          "a/b": {"description": "d", "capabilities": {"in": ["text", "image"], "out": ["text"], "context": 4096}},
          "other": {}}
PATIENCE = 20.0


class Rig:
    def __init__(self):
        self.site = site_of(models=MODELS, peers={"p": {"proxy": "http://p", "models": ["x"]}},
                            selectors={"s": {"strategy": "pin", "targets": ["m", "other"]}})
        self.launcher = FakeLauncher()
        config = self.site.config
        self.histories = Histories(lambda model, lines: "last words")
        self.costs, self.orders = {}, []
        self.registry = Registry(config.models, Groups(config.groups).evict, launcher=self.launcher,
                                 tell=self.histories.note)
        self.models = Models(self.registry, lambda: self.site, self.histories, cost_of=self.costs.get,
                             last_line=lambda model: f"{model}: loading weights", on_order=self.orders.append)

    def ask(self, name, rest="", query=""):
        return loaded(getattr(self.models, name)(asked("GET", f"/{query}"), rest))

    def view(self, name):
        return next(view for view in self.models.views() if view["id"] == name)

    def until(self, question, what):
        deadline = time.monotonic() + PATIENCE
        while not question():
            assert time.monotonic() < deadline, f"never: {what}"
            time.sleep(0.01)


@pytest.fixture
def rig():
    made = Rig()
    yield made
    assert made.registry.close(timeout=PATIENCE)


def test_all_of_them_ours_first(rig):
    views = rig.ask("list")["models"]
    assert [view["id"] for view in views] == ["a/b", "m", "other", "p/x"]
    assert views[-1]["kind"] == "peer" and views[-1]["peer"] == "p" and views[-1]["state"] == ""
    assert all(set(view) == set(views[0]) for view in views), "every view has the same keys"
    assert views[0]["capabilities"] == {"in": ["text", "image"], "out": ["text"], "tools": False, "reranker": False,
                                        "context": 4096}


def test_a_stopped_model_knows_nothing_of_a_run(rig):
    view = rig.view("m")
    assert view["state"] == "stopped" and view["group"] == "(default)" and view["ttl"] == 60
    assert [view[name] for name in ("pid", "started_at", "ready_at", "unload_at", "last_used_at", "load_estimate_ms",
                                    "last_error", "last_line")] == [None] * 8
    assert view["memory"] == {"gpus": None, "rss_bytes": None} and view["load_ms"] == []


def test_a_ready_model(rig):
    rig.costs["m"] = Cost({1: 5, 0: 7}, 100)
    rig.registry.load("m").wait(PATIENCE)
    rig.until(lambda: rig.view("m")["load_ms"], "the load is in the history")
    view = rig.view("m")
    now = time.time()
    assert view["state"] == "ready" and view["pid"] == 1001 and isinstance(view["port"], int)
    assert abs(view["ready_at"] - now) < PATIENCE and abs(view["since"] - now) < PATIENCE
    assert 0 < view["unload_at"] - now <= 61 and view["load_estimate_ms"] == view["load_ms"][0] >= 0
    assert view["memory"] == {"gpus": [{"gpu": 0, "bytes": 7}, {"gpu": 1, "bytes": 5}], "rss_bytes": 100}
    assert rig.models.upsert("m")["model"]["state"] == "ready" and rig.models.upsert("gone") is None
    assert rig.models.snapshot()["op"] == "snapshot"


def test_a_failure_says_why(rig):
    rig.registry.load("m").wait(PATIENCE)
    rig.launcher.processes[0].exit(3, "exit code 3")
    rig.until(lambda: rig.view("m")["last_error"], "the failure is shown")
    failure = rig.view("m")["last_error"]
    assert (failure["kind"], failure["code"], failure["signal"]) == ("exited", 3, None)
    assert failure["tail"] == ["last words"] and abs(failure["at"] - time.time()) < PATIENCE


def test_one_of_them_with_secrets_masked(rig):
    view = rig.ask("one", "n")
    assert view["id"] == "m" and "geheim" not in json.dumps(view)
    assert view["cmd"].endswith("--api-key ***") and view["env"] == ["A", "TOKEN"]
    assert view["metadata"] == {"api_key": "***", "size": 7}
    assert view["filters"] == {"strip": ["seed"], "set": {"top_p": 0.5}, "set_by_id": {}} and view["evicts"] == []
    for name in ("nobody", "p/x", "s", ""):
        with pytest.raises(ClientFault) as lost:
            rig.ask("one", name)
        assert (lost.value.status, lost.value.code) == (404, "model_not_found")


def test_load_says_so_at_once(rig):
    rig.launcher.is_willing = False
    response = rig.models.load(asked("POST", "/"), "m")
    assert response.status == 202 and loaded(response)["model"] == "m" and loaded(response)["state"] == "starting"
    assert loaded(response)["load"] == loaded(rig.models.load(asked("POST", "/"), "m"))["load"] == 1
    assert loaded(rig.models.one(asked("GET", "/"), "m"))["generation"] == 1
    assert rig.view("m")["last_line"] == "m: loading weights"
    rig.launcher.started().ready()
    rig.until(lambda: rig.view("m")["state"] == "ready", "it is loaded")
    assert loaded(rig.models.load(asked("POST", "/"), "m"))["state"] == "ready"


def test_cancel_ends_a_load_and_nothing_else(rig):
    with pytest.raises(ClientFault) as refused:
        rig.ask("cancel", "m")
    assert refused.value.status == 409
    rig.launcher.is_willing = False
    rig.models.load(asked("POST", "/"), "m")
    rig.launcher.started()
    assert rig.ask("cancel", "m")["model"] == "m"
    rig.until(lambda: rig.view("m")["state"] == "stopped", "it is stopped")
    assert rig.view("m")["last_error"] is None, "what was cancelled has not failed"


def test_a_load_that_waits_for_room_is_told_and_called_off(rig):
    rig.models.load(asked("POST", "/"), "m")
    rig.until(lambda: rig.view("m")["state"] == "ready", "it is loaded")
    with rig.registry.lease("m"):
        for _ in range(2):
            assert loaded(rig.models.load(asked("POST", "/"), "other"))["state"] == "stopped"
        assert (rig.view("other")["ordered"], rig.view("other")["queued"]) == (True, 1)
        with rig.registry.lease("other") as request:
            assert rig.ask("cancel", "other")["model"] == "other"
            assert (rig.view("other")["ordered"], rig.view("other")["queued"]) == (False, 1) and request.is_waiting
            with pytest.raises(ClientFault, match="is not being loaded"):
                rig.ask("cancel", "other")
        assert rig.orders == ["m", "other", "other"]
    assert rig.view("m")["state"] == "ready" and not rig.view("m")["ordered"]


def test_plans(rig):
    assert rig.ask("plan", query="?model=m")["action"] == "start"
    rig.registry.load("other").wait(PATIENCE)
    plan = rig.ask("plan", query="?model=n")
    assert (plan["model"], plan["action"], plan["evict"]) == ("m", "swap", ["other"]) and plan["reason"]
    assert rig.ask("plan", query="?model=p/x")["action"] == "serve"
    chosen = rig.ask("plan", query="?model=s")
    assert chosen["action"] == "choose" and [plan["model"] for plan in chosen["targets"]] == ["m", "other"]
    for query, status in (("", 400), ("?model=", 400), ("?model=nobody", 404)):
        with pytest.raises(ClientFault) as lost:
            rig.ask("plan", query=query)
        assert lost.value.status == status


def test_the_shapes_of_llama_swap(rig):
    shapes = rig.models.peer_shapes()
    assert [shape["id"] for shape in shapes] == ["a/b", "m", "other", "p/x"]
    assert shapes[1] == {"id": "m", "name": "M", "description": "", "state": "stopped", "unlisted": False,
                         "peerID": "", "aliases": ["n"]}
    assert shapes[0]["capabilities"] == {"vision": True} and shapes[0]["context_length"] == 4096
    assert (shapes[3]["state"], shapes[3]["peerID"]) == ("", "p")
