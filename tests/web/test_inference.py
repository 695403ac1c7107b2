"""The way of a request to its model, over a real registry whose models are fakes."""
from __future__ import annotations

import contextlib
import gc
import json
import weakref

import pytest

from llamaswap.core.faults import ClientFault, Fault, Refused, UpstreamFault
from llamaswap.core.groups import Groups
from llamaswap.runtime.breaker import Breakers
from llamaswap.runtime.current import Current
from llamaswap.runtime.inflight import Inflight
from llamaswap.runtime.registry import Registry
from llamaswap.runtime.relay import Outcome
from llamaswap.runtime.reservations import Reservations
from llamaswap.runtime.threads import spawn
from llamaswap.web import inference as module
from llamaswap.web.inference import Inference
from tests.support.asked import FakeBody, FakeExchange, FakeLauncher, FakePool, asked, header, site_of, whole

MODELS = {
    "m": {"aliases": ["n", "ü ?"]}, "author/model": None, "renamed": {"useModelName": "real"},
    "filtered": {"filters": {"stripParams": "seed", "setParams": {"top_p": 1}, "setParamsByID": {"hot": {"top_p": 2}}}},
    "one": {"concurrencyLimit": 1}, "loud": {"sendLoadingState": True}, "web": {"compat": {"ignoreWebsockets": True}},
    "comfyui_auto": None,
}
PEERS = {
    "p": {"proxy": "http://far/base", "models": ["x", "deep/y"], "apiKey": "theirs",
          "filters": {"stripParams": "seed", "setParamsByID": {"p/x": {"a": 1}}}},
    "open": {"proxy": "http://near", "models": ["z"]},
    "bad": {"proxy": "ftp://bad", "models": ["lost"]},
}
SELECTORS = {"spread": {"strategy": "spillover", "targets": ["one", "m", "x"]},
             "afar": {"strategy": "spillover", "targets": ["z", "m"]},
             "lone": {"strategy": "spillover", "targets": ["z"]},
             "fixed": {"strategy": "pin", "targets": ["z", "m"]},
             "pinned": {"strategy": "pin", "targets": ["one"]},
             "warm": {"strategy": "warm", "targets": ["m", "author/model"]}}
WEBSOCKET = {"Connection": "Upgrade", "Upgrade": "websocket"}
PATIENCE = 20.0


class Rig:
    def __init__(self, **keys):
        self.pool = FakePool()                                     # of every peer
        groups = {"g": {"swap": False, "members": list(MODELS)}}
        self.site = Current(site_of(self.pool, models=MODELS, peers=PEERS, selectors=SELECTORS, groups=groups,
                                    **{"profiles": {"day": {"pins": {"best": "m", "off": None}}}, **keys}))
        self.launcher = FakeLauncher()
        config = self.site().config
        self.registry = Registry(config.models, Groups(config.groups).evict, launcher=self.launcher,
                                 tell=lambda _: None)
        self.reservations = Reservations()
        self.ended = []                                            # visits, in the order of their ends
        self.inflight = Inflight(self.ended.append, session_headers=tuple, is_capturing=lambda: False,
                                 is_watched=lambda: False, publish=lambda lives: None)
        self.inference = Inference(self.registry, self.site, self.reservations, Breakers(), self.inflight)
        self.relayed = []

    def post(self, body, path="/v1/chat/completions", headers=None):
        return self.inference.serve(asked("POST", path, body, headers), path)

    def sent(self, model):
        """What its server was sent last: method, target, headers, body."""
        return self.launcher.pools[model].calls[-1]

    def answers(self, model, *answers):
        self.launcher.pools.setdefault(model, FakePool()).answers.extend(answers)

    def in_flight(self):
        return sum(status.in_flight + status.queued for status in self.registry.snapshot())


@pytest.fixture
def make(monkeypatch):
    made = []

    def build(**keys):
        rig = Rig(**keys)

        def respond(request, exchange, *, tap, extra_headers, last_word):
            rig.relayed.append((exchange, dict(extra_headers)))
            exchange.close()
            return Outcome(exchange.status, complete=True)

        monkeypatch.setattr(module.relay, "respond", respond)
        made.append(rig)
        return rig
    yield build
    for rig in made:
        assert rig.in_flight() == 0 and len(rig.inflight) == 0
        assert rig.registry.close(timeout=PATIENCE)


@pytest.fixture
def rig(make):
    return make()


# --- local models ------------------------------------------------------------------------------------------------


def test_a_request_reaches_its_model(rig):
    body = b'{"model" : "m", "x": 1}'
    request = asked("POST", "/v1/x?q=1", body, {"User-Agent": "u", "Authorization": "Bearer t"})
    assert rig.inference.serve(request, "/v1/x") is None
    method, target, headers, content = rig.sent("m")
    assert (method, target, content) == ("POST", "/v1/x?q=1", body)
    assert headers["authorization"] == "Bearer t" and headers["x-forwarded-for"] == "10.0.0.1"
    assert headers["x-request-id"] == "id-1"
    exchange, extra = rig.relayed[0]
    assert exchange.is_closed and extra["X-Request-Id"] == "id-1"


def test_a_model_is_free_when_its_answer_has_been_read_and_not_when_the_client_has_read_it(rig, monkeypatch):
    def respond(request, exchange, *, tap, extra_headers, last_word):
        assert rig.in_flight() == 1
        rig.launcher.pools["m"].on_read()
        assert rig.in_flight() == 0
        return Outcome(exchange.status, complete=True)
    monkeypatch.setattr(module.relay, "respond", respond)
    rig.post({"model": "m"})
    assert rig.ended[0].outcome == "ok"


@pytest.mark.parametrize("offered", [None, "id-1", "not one", ""])
@pytest.mark.parametrize("model", ["m", "p/x"])
def test_everybody_gets_the_same_request_id(rig, offered, model):
    rig.post({"model": model}, headers={} if offered is None else {"x-request-id": offered})
    fields = (rig.pool.calls[-1] if model == "p/x" else rig.sent(model))[2]
    assert fields["x-request-id"] == rig.relayed[-1][1]["X-Request-Id"] == "id-1"


@pytest.mark.parametrize("model, status", [("nobody", 404), ("one", 429)])
def test_who_is_refused_leaves_no_cycle(rig, model, status):
    with rig.registry.lease("one") as lease:
        lease.wait(PATIENCE)
        gc.disable()          # the program collects so rarely that cycles are as bad as a leak
        try:
            with pytest.raises(Fault) as caught:
                rig.post({"model": model})
            assert caught.value.status == status
            del caught
            seen = weakref.ref(rig.ended.pop())
            assert seen() is None
        finally:
            gc.enable()


def test_credentials_that_open_our_door_stay_here(make):
    rig = make(apiKeys=["k"])
    rig.post({"model": "m"}, headers={"Authorization": "Bearer k", "X-Api-Key": "other", "Cookie": "c"})
    assert not {"authorization", "x-api-key"} & set(rig.sent("m")[2]) and rig.sent("m")[2]["cookie"] == "c"


def test_answers_that_tell_of_tokens_come_in_a_coding_that_can_be_read(rig):
    fields = {"Accept-Encoding": "br, gzip"}
    rig.post({"model": "m"}, headers=fields)
    rig.post({"model": "p/x"}, headers=fields)
    rig.inference.upstream(asked("POST", "/upstream/m/v1/chat/completions", {}, fields), "m/v1/chat/completions")
    rig.inference.upstream(asked("GET", "/upstream/m/", b"", fields), "m/")
    assert [call[2]["accept-encoding"] for call in (*rig.launcher.pools["m"].calls, *rig.pool.calls)] == [
        "gzip", "gzip", "br, gzip", "gzip"]


@pytest.mark.parametrize("asked_for, model, seen", [
    ("n", "m", {"model": "n"}), ("author/model", "author/model", {"model": "author/model"}),
    ("renamed", "renamed", {"model": "real"}), ("filtered", "filtered", {"model": "filtered", "top_p": 1}),
    ("hot", "filtered", {"model": "hot", "top_p": 2})])
def test_names_and_filters(rig, asked_for, model, seen):
    rig.post({"model": asked_for, **({"seed": 7} if model == "filtered" else {})})
    assert json.loads(rig.sent(model)[3]) == seen


def test_a_query_names_a_model_too(rig):
    rig.inference.serve(asked("GET", "/props?b=1&model=renamed&a=2"), "/props")
    assert rig.sent("renamed")[1] == "/props?b=1&model=real&a=2"


@pytest.mark.parametrize("body, message", [
    ({"model": "nobody"}, 'model "nobody" not found'), ({"model": "renamd"}, "did you mean renamed?"),
    ({}, "no model id could be identified"), ({"model": ""}, "no model id could be identified")])
def test_unknown_names(rig, body, message):
    with pytest.raises(ClientFault) as lost:
        rig.post(body)
    assert (lost.value.status, lost.value.code) == (404, "model_not_found") and message in lost.value.message


def test_of_a_name_without_end_the_beginning_is_said_and_kept(rig):
    with pytest.raises(ClientFault) as lost:
        rig.post({"model": "x" * 100_000})
    assert len(lost.value.message) < 1100 and rig.ended[-1].requested == "x" * 1000


def test_pins(rig):
    rig.site.replace(lambda site: site.with_profile("day"))
    rig.post({"model": "best"})
    assert json.loads(rig.sent("m")[3]) == {"model": "m"}
    with pytest.raises(ClientFault, match="the active profile disables"):
        rig.post({"model": "off"})


def test_a_waiting_client_is_watched_and_the_wait_is_told(rig):
    rig.launcher.is_willing = False
    request = asked("POST", "/x", {"model": "m"})
    request.connection.watch = lambda cancel: ready_meanwhile(rig)
    rig.inference.serve(request, "/x")
    assert float(rig.relayed[0][1].get("X-Llamaswap-Waited", 0)) >= 0
    rig.post({"model": "m"})
    assert "X-Llamaswap-Waited" not in rig.relayed[1][1]


class ready_meanwhile:
    """The model becomes ready as soon as somebody waits."""

    def __init__(self, rig):
        self._rig = rig

    def __enter__(self):
        self._rig.launcher.started().ready()

    def __exit__(self, *exc):
        pass


def test_pages_may_read_an_api_that_does_not_say_otherwise(rig):
    page = {"Origin": "http://page"}
    rig.answers("m", FakeExchange(), FakeExchange(headers=[("Access-Control-Allow-Origin", "none")]))
    for _ in range(2):
        rig.post({"model": "m"}, headers=page)
    rig.inference.upstream(asked("GET", "/upstream/m/x", headers=page), "m/x")
    assert [extra.get("Access-Control-Allow-Origin") for _, extra in rig.relayed] == ["http://page", None, None]


def crash(rig):
    rig.launcher.processes[-1].exit(7, "crashed")
    return UpstreamFault("closed")


class Crashing(FakePool):
    """The process dies with its first request, or its first two."""

    def __init__(self, rig, times):
        super().__init__()
        self._rig, self._times = rig, times

    def begin(self, *arguments, **options):
        if self._times:
            self._times -= 1
            self.answers.insert(0, crash(self._rig))
        return super().begin(*arguments, **options)


def test_a_crash_before_the_first_byte_is_tried_once_more(rig):
    rig.launcher.pools["m"] = Crashing(rig, 1)
    rig.post({"model": "m"})
    assert len(rig.launcher.processes) == 2 and len(rig.relayed) == 1
    rig.launcher.pools["author/model"] = Crashing(rig, 2)
    with pytest.raises(UpstreamFault, match="closed"):
        rig.post({"model": "author/model"})
    assert len(rig.launcher.processes) == 4


@pytest.mark.parametrize("rest, body, headers, is_repeated", [
    ("m/slots", b"", {}, True), ("m/ws", b"", WEBSOCKET, True),
    ("m/slots", b"streamed, and gone", {}, False), ("m/a.css", b"", {}, False), ("web/ws", b"", WEBSOCKET, False)])
def test_a_crash_below_upstream_is_tried_once_more_if_nothing_is_lost(rig, rest, body, headers, is_repeated):
    model = rest.partition("/")[0]
    rig.registry.load(model).wait(PATIENCE)
    rig.launcher.pools[model] = Crashing(rig, 1)
    rig.launcher.processes[0].pool = rig.launcher.pools[model]
    request = asked("POST", f"/upstream/{rest}", body, headers)
    if is_repeated:
        rig.inference.upstream(request, rest)
        assert len(rig.relayed) == 1
    else:
        with pytest.raises(UpstreamFault, match="closed"):
            rig.inference.upstream(request, rest)
    assert len(rig.launcher.processes) == 1 + is_repeated


def test_every_request_is_recorded_with_what_became_of_it(rig):
    rig.post({"model": "n", "stream": True})
    rig.post({"model": "spread"})
    with pytest.raises(ClientFault):
        rig.post({"model": "nobody"})
    first, second, unknown = rig.ended
    assert (first.model, first.requested, first.path, first.is_stream) == ("m", "n", "/v1/chat/completions", True)
    assert (first.outcome, first.status, first.body) == ("ok", 200, b'{"model": "n", "stream": true}')
    assert second.model in ("one", "m") and (second.requested, second.metadata["selector"]) == ("spread", "spread")
    assert second.priority == 0
    assert (unknown.model, unknown.requested, unknown.outcome, unknown.status) == ("", "nobody", "error", 404)
    rig.pool.answers.append(UpstreamFault("down", status=502))
    with pytest.raises(UpstreamFault):
        rig.post({"model": "p/x"})
    assert (rig.ended[-1].model, rig.ended[-1].outcome, rig.ended[-1].status) == ("p/x", "error", 502)


def test_a_request_that_is_cancelled_while_it_waits_is_told_so(rig):
    rig.launcher.is_willing = False
    answers = []

    def ask():
        try:
            rig.post({"model": "m"})
        except UpstreamFault as fault:
            answers.append(fault.code)

    thread = spawn("asks", ask)
    rig.launcher.started()
    assert rig.inflight.cancel(rig.inflight.visits()[0].id)
    thread.join(PATIENCE)
    assert answers == ["cancelled"] and rig.ended[0].outcome == "cancelled"
    rig.launcher.processes[0].ready()


def test_a_request_that_is_cancelled_before_it_is_sent_is_not_sent(rig, monkeypatch):
    opened = rig.inflight.open
    monkeypatch.setattr(rig.inflight, "open", lambda *rest: setattr(opened(*rest), "is_cancelled", True) or
                        rig.inflight.visits()[-1])
    with pytest.raises(UpstreamFault, match="cancelled"):
        rig.post({"model": "m"})
    assert not rig.launcher.pools.get("m", FakePool()).calls and rig.ended[0].outcome == "cancelled"


def test_a_fault_without_a_crash_is_not_tried_again(rig, monkeypatch):
    monkeypatch.setattr(module, "CRASH_NEWS", 0.01)
    rig.answers("m", UpstreamFault("slow", status=504))
    with pytest.raises(UpstreamFault, match="slow"):
        rig.post({"model": "m"})
    assert len(rig.launcher.pools["m"].calls) == 1


def test_the_loading_stream_keeps_what_it_needs_until_its_end(rig):
    rig.launcher.is_willing = False
    rig.answers("loud", FakeExchange(pieces=[b"data: [DONE]\n\n"]))
    response = rig.post({"model": "loud", "stream": True})
    assert header(response, "Content-Type") == "text/event-stream" and rig.in_flight() == 1
    frames = iter(response.body)
    assert b"loading model: loud" in next(frames)
    rig.launcher.started().ready()
    assert list(frames)[-1] == b"data: [DONE]\n\n" and rig.relayed == []
    response.on_close()
    assert rig.in_flight() == 0


def test_an_answer_behind_a_loading_stream_comes_without_coding(rig):
    """The head is out and names none, so compressed bytes would be taken for text."""
    rig.launcher.is_willing = False
    response = rig.post({"model": "loud", "stream": True}, headers={"Accept-Encoding": "gzip, deflate"})
    rig.launcher.started().ready()
    assert list(response.body)[-1] == b"data: 1\n\n"
    assert rig.sent("loud")[2]["accept-encoding"] == "identity"
    response.on_close()


def test_the_loading_stream_survives_a_crash(rig):
    rig.launcher.is_willing = False
    rig.launcher.pools["loud"] = Crashing(rig, 1)
    response = rig.post({"model": "loud", "stream": True})
    frames = iter(response.body)
    next(frames)
    first = rig.launcher.started()
    rig.launcher.is_willing = True
    first.ready()
    assert list(frames)[-1] == b"data: 1\n\n" and len(rig.launcher.processes) == 2
    response.on_close()


def test_a_ready_model_needs_no_loading_stream(rig):
    rig.registry.load("loud").wait(PATIENCE)
    assert rig.post({"model": "loud", "stream": True}) is None and len(rig.relayed) == 1


# --- selectors ---------------------------------------------------------------------------------------------------


def test_a_full_target_is_passed_over(rig):
    with rig.registry.lease("one") as busy:
        busy.wait(PATIENCE)
        rig.post({"model": "spread"})
        assert json.loads(rig.sent("m")[3]) == {"model": "m"}
        with pytest.raises(Refused) as full:
            rig.post({"model": "pinned"})
        assert full.value.status == 429
    rig.post({"model": "pinned"})
    assert json.loads(rig.sent("one")[3]) == {"model": "one"} and rig.reservations.held("spread") == {}


def test_warm_prefers_what_runs(rig):
    rig.registry.load("author/model").wait(PATIENCE)
    rig.post({"model": "warm"})
    assert len(rig.launcher.pools["author/model"].calls) == 1 and "m" not in rig.launcher.pools


def test_a_selector_may_lead_to_a_peer(rig):
    with rig.reservations.choose(rig.site().config.selectors["spread"], lambda name: None), \
            rig.reservations.choose(rig.site().config.selectors["spread"], lambda name: None):
        rig.post({"model": "spread"})
    assert json.loads(rig.pool.calls[0][3])["model"] == "x"


# --- peers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["x", "p/x"])
def test_a_peer_gets_its_own_name_and_key(rig, name):
    headers = {"Authorization": "Bearer mine", "X-Forwarded-For": "1.1.1.1", "Host": "us"}
    rig.post({"model": name, "seed": 1}, "/v1/x", headers)
    method, target, headers, content = rig.pool.calls[0]
    assert (method, target) == ("POST", "/base/v1/x") and json.loads(content) == {"model": "x", "a": 1}
    assert headers["authorization"] == "Bearer theirs" and headers["x-api-key"] == "theirs"
    assert headers["x-request-id"] == "id-1" and not {"x-forwarded-for", "host"} & set(headers)


@pytest.mark.parametrize("keys, seen", [({}, "Bearer mine"), ({"apiKeys": ["mine"]}, None)])
def test_a_peer_without_a_key_gets_the_clients_unless_it_is_ours(make, keys, seen):
    rig = make(**keys)
    rig.post({"model": "z"}, headers={"Authorization": "Bearer mine"})
    assert rig.pool.calls[0][2].get("authorization") == seen


def test_the_key_of_a_peer_is_sent_as_it_was_written(make, monkeypatch):
    monkeypatch.setitem(PEERS["p"], "apiKey", "k\u20ac\udcff")
    rig = make()
    rig.post({"model": "x"})
    headers = rig.pool.calls[0][2]
    assert headers["x-api-key"].encode("latin-1") == b"k\xe2\x82\xac\xff"
    assert headers["authorization"] == "Bearer " + headers["x-api-key"]


def test_peer_faults_name_the_peer(rig):
    rig.pool.answers.append(UpstreamFault("refused", status=504, code="upstream_timeout"))
    with pytest.raises(UpstreamFault) as failed:
        rig.post({"model": "z"})
    assert failed.value.message == "peer open: refused"
    assert (failed.value.status, failed.value.code) == (504, "upstream_timeout")
    with pytest.raises(UpstreamFault, match="peer bad cannot be reached: .*ftp://bad"):
        rig.post({"model": "lost"})


# --- pass-through ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rest, model, target", [
    ("m/", "m", "/"), ("n/a%2Fb//c", "m", "/a%2Fb//c"), ("author/model/x", "author/model", "/x"),
    ("author%2Fmodel/x", "author/model", "/x"), ("m%2Fx", None, None), ("nobody/x", None, None),
    ("warm/x", None, None)])
def test_upstream(rig, rest, model, target):
    request = asked("PUT", f"/upstream/{rest}?q=%20", b"raw")
    if model is None:
        with pytest.raises(ClientFault, match="model not found"):
            rig.inference.upstream(request, rest)
    else:
        rig.inference.upstream(request, rest)
        assert rig.sent(model)[:2] == ("PUT", f"{target}?q=%20") and rig.sent(model)[3] == b"raw"
        assert rig.ended[-1].priority == 0 and rig.ended[-1].is_stream


@pytest.mark.parametrize("method, status", [("GET", 301), ("HEAD", 301), ("POST", 308)])
def test_a_slash_is_added(rig, method, status):
    response = rig.inference.upstream(asked(method, "/upstream/n?q=1"), "n")
    assert (response.status, header(response, "Location"), whole(response)) == (status, "/upstream/n/?q=1", b"")
    response = rig.inference.comfyui(asked(method, "/comfyui?q=1"), "")
    assert (response.status, header(response, "Location")) == (status, "/comfyui/?q=1")
    behind = asked(method, "/upstream/n?q=1", headers={"X-Forwarded-Prefix": "/llm"})
    assert header(rig.inference.upstream(behind, "n"), "Location") == "/llm/upstream/n/?q=1"


@pytest.mark.parametrize("target, location", [
    ("author/model", "/upstream/author/model/"), ("n", "/upstream/n/"), ("ü ?", "/upstream/%C3%BC%20%3F/")])
def test_a_pin_shows_whom_it_stands_for(make, target, location):
    rig = make(profiles={"day": {"pins": {"the best": target}}})
    rig.site.replace(lambda site: site.with_profile("day"))
    response = rig.inference.upstream(asked("GET", "/upstream/the%20best?q=1"), "the%20best")
    assert (response.status, header(response, "Location")) == (301, location + "?q=1")


def test_paths_that_start_nothing(rig):
    with pytest.raises(ClientFault) as cold:
        rig.inference.upstream(asked("GET", "/upstream/m/a.css"), "m/a.css")
    assert (cold.value.status, cold.value.message) == (409, "model m is not loaded; path matches upstream.ignorePaths")
    assert rig.launcher.processes == []
    refused, = rig.ended
    assert (refused.model, refused.status, refused.outcome, refused.path) == ("m", 409, "error", "/a.css")
    rig.registry.load("m").wait(PATIENCE)
    rig.inference.upstream(asked("GET", "/upstream/m/a.css"), "m/a.css")
    rig.inference.upstream(asked("GET", "/upstream/x/a.css"), "x/a.css")       # a peer's state is not known
    assert rig.sent("m")[1] == "/a.css" and rig.pool.calls[0][1] == "/base/a.css"


def test_the_files_of_a_page_need_no_place(rig):
    with rig.registry.lease("one") as busy:
        busy.wait(PATIENCE)
        used_at = rig.registry.status("one").last_used_at
        for method in ("GET", "HEAD"):
            rig.inference.upstream(asked(method, "/upstream/one/a.css"), "one/a.css")
        assert rig.sent("one")[1] == "/a.css" and rig.registry.status("one").last_used_at == used_at
        for request in (asked("POST", "/upstream/one/a.json", b"{}"),
                        asked("GET", "/upstream/one/a.json", headers=WEBSOCKET)):
            with pytest.raises(Refused) as full:
                rig.inference.upstream(request, "one/a.json")
            assert full.value.status == 429


def test_comfyui(rig):
    with pytest.raises(ClientFault) as cold:
        rig.inference.comfyui(asked("GET", "/comfyui/api/x"), "api/x")
    assert cold.value.message == "model comfyui_auto is not loaded; only /comfyui/ can start it"
    rig.inference.comfyui(asked("GET", "/comfyui/?a"), "")
    rig.inference.comfyui(asked("GET", "/comfyui/a%2Fb"), "a%2Fb")
    assert [call[1] for call in rig.launcher.pools["comfyui_auto"].calls] == ["/?a", "/a%2Fb"]


def test_no_comfyui():
    site = site_of(models={"m": None})
    with pytest.raises(ClientFault) as lost:
        Inference(None, lambda: site, Reservations(), Breakers(), None).comfyui(asked("GET", "/comfyui"), "")
    assert lost.value.status == 404


def test_ignored_websockets(rig):
    request = asked("GET", "/upstream/web/ws", headers=WEBSOCKET)
    with pytest.raises(ClientFault) as cold:
        rig.inference.upstream(request, "web/ws")
    assert (cold.value.status, "ignored websocket" in cold.value.message) == (409, True)
    with pytest.raises(ClientFault) as cold:
        rig.inference.serve(asked("GET", "/props?model=web", headers=WEBSOCKET), "/props")
    assert cold.value.status == 409
    rig.registry.load("web").wait(PATIENCE)
    rig.inference.upstream(request, "web/ws")
    assert rig.sent("web")[2]["upgrade"] == "websocket"
    rig.inference.upstream(asked("GET", "/upstream/m/ws", headers=WEBSOCKET), "m/ws")      # counted, and starts it
    assert rig.sent("m")[2]["connection"] == "Upgrade"


def test_a_qualified_name_in_the_body_is_shortened_for_a_peer(rig):
    def send(body, headers=None):
        rig.inference.upstream(asked("POST", "/upstream/p/deep/y/z", body, headers), "p/deep/y/z")
        return rig.pool.calls[-1][3]
    assert json.loads(send({"model": "p/deep/y", "x": 1})) == {"model": "deep/y", "x": 1}
    assert send(b'{"model":"p/x"}', {"Content-Type": "application/json"}) == b'{"model":"p/x"}'
    assert send(b"{broken", {"Content-Type": "application/json"}) == b"{broken"
    assert send(b'{"model":"p/deep/y"}') == b'{"model":"p/deep/y"}'
    assert rig.pool.calls[-1][1] == "/base/z"


# --- paths nobody knows ------------------------------------------------------------------------------------------


def test_unknown_paths_go_where_the_request_says(rig):
    request = asked("POST", "/v9/new", {"model": "n"})
    rig.inference.serve_unknown(request, "")
    assert rig.sent("m")[1] == "/v9/new"
    rig.inference.serve_unknown(asked("DELETE", "/v/things?model=x"), "")
    assert rig.pool.calls[0][:2] == ("DELETE", "/base/things?model=x")


@pytest.mark.parametrize("method, path, body", [
    ("POST", "/v9/new", {"model": "nobody"}), ("POST", "/v9/new", b"\xff{"), ("POST", "/v9/new", b'{"model": '),
    ("POST", "/api/new", {"model": "m"}), ("TRACE", "/v9?model=m", b""), ("GET", "/nothing", b"")])
def test_the_rest_is_not_found(rig, method, path, body):
    headers = {"Content-Type": "application/json"} if isinstance(body, bytes) else None
    with pytest.raises(ClientFault) as lost:
        rig.inference.serve_unknown(asked(method, path, body, headers), "")
    assert (lost.value.status, lost.value.code) == (404, "not_found") and rig.launcher.processes == []


# --- peers that are down -----------------------------------------------------------------------------------------

DOWN = UpstreamFault("cannot connect", code="upstream_unreachable")


def test_spillover_goes_past_a_peer_that_is_down(rig):
    for fault in (DOWN, UpstreamFault("late", status=504, code="upstream_timeout")):
        rig.pool.answers = [fault]
        rig.post({"model": "afar"})
        assert json.loads(rig.sent("m")[3]) == {"model": "m"} and rig.reservations.held("afar") == {}
    assert len(rig.launcher.pools["m"].calls) == 2


@pytest.mark.parametrize("selector, fault", [
    ("fixed", DOWN), ("lone", DOWN), ("afar", UpstreamFault("stopped", code="aborted")),
    ("afar", UpstreamFault("odd", status=500, code="odd"))])
def test_what_does_not_go_past_it(rig, selector, fault):
    rig.pool.answers = [fault]
    with pytest.raises(UpstreamFault, match="peer open: "):
        rig.post({"model": selector})
    assert rig.reservations.held(selector) == {} and "m" not in rig.launcher.pools


def test_a_peer_that_stays_down_is_left_alone(rig):
    rig.pool.answers = [DOWN] * 3
    for _ in range(3):
        with pytest.raises(UpstreamFault):
            rig.post({"model": "z"})
    with pytest.raises(Refused) as refused:
        rig.post({"model": "z"})
    assert (refused.value.status, refused.value.code) == (503, "peer_unreachable") and refused.value.retry_after <= 1
    assert len(rig.pool.calls) == 3
    rig.post({"model": "x"})
    rig.post({"model": "afar"})       # refused at once, which is a reason to go elsewhere too
    assert rig.sent("m")


def test_an_answer_ends_the_count_and_other_faults_do_not_count(rig):
    late = UpstreamFault("late", status=504, code="upstream_timeout")
    rig.pool.answers = [DOWN, DOWN, FakeExchange(), DOWN, DOWN, late, late]
    for _ in range(7):
        with contextlib.suppress(UpstreamFault):
            rig.post({"model": "z"})
    rig.post({"model": "z"})


# --- limits and pages --------------------------------------------------------------------------------------------


def test_bodies_are_read_up_to_the_configured_size(make, monkeypatch):
    limits = []
    monkeypatch.setattr(FakeBody, "read_all", lambda body, limit: limits.append(limit) or body.content)
    rig = make(maxBodySize=3)
    rig.post({"model": "m"})
    rig.inference.serve_unknown(asked("POST", "/new", {"model": "m"}), "")
    rig.inference.upstream(asked("POST", "/upstream/z/x", {"model": "z"}), "z/x")
    assert set(limits) == {3 << 20} and len(limits) == 3


@pytest.mark.parametrize("allowed, sent", [(["*"], "http://engine"), (["http://page"], "http://page"), ([], None),
                                           (["http://other"], None)])
def test_of_an_api_we_decide_which_pages_may_read_it(make, allowed, sent):
    rig = make(corsOrigins=allowed)
    own = [("Access-Control-Allow-Origin", "http://engine"), ("Access-Control-Allow-Credentials", "true"),
           ("X-Own", "1")]
    rig.answers("m", FakeExchange(headers=own), FakeExchange(headers=own))
    rig.post({"model": "m"}, headers={"Origin": "http://page"})
    exchange, extra = rig.relayed[0]
    seen = {**{name.lower(): value for name, value in exchange.headers.fields},
            **{name.lower(): value for name, value in extra.items()}}
    assert seen.get("access-control-allow-origin") == sent and seen["x-own"] == "1"
    assert ("access-control-allow-credentials" in seen) is (allowed == ["*"])
    rig.inference.upstream(asked("GET", "/upstream/m/", headers={"Origin": "http://page"}), "m/")
    assert rig.relayed[1][0].headers.get("access-control-allow-origin") == "http://engine"
