"""The way of a request through the table: what is found, who is let in, what is said to whom."""
from __future__ import annotations

import json

import pytest

from llamaswap.core.faults import ClientFault
from llamaswap.core.messages import Response
from llamaswap.core.routing import MODEL_ROUTES
from llamaswap.web.app import App, Parts
from tests.support.asked import asked, header, site_of


class Recorder:
    """Stands for every handler: answers with its own name and what it was given."""

    def __init__(self, part):
        self._part = part

    def __getattr__(self, name):
        def handler(request, rest):
            return Response(200, [], f"{self._part}.{name} {rest}".strip().encode())
        return handler


def make(*, has_admin_listener=False, **keys):
    site = site_of(**keys)
    return App(Parts(*map(Recorder, Parts._fields)), site=lambda: site, has_admin_listener=has_admin_listener,
               own_names=lambda: {"box"})


def went(method, target, app=None, headers=None):
    return (app or make()).handle(asked(method, target, headers=headers)).body.decode()


@pytest.mark.parametrize("method, target, where", [
    ("GET", "/", "pages.root"), ("GET", "/ui", "pages.redirect"), ("GET", "/ui/a/b.js", "pages.asset a/b.js"),
    ("HEAD", "/health", "admin.health"), ("GET", "/v1/models", "admin.models"), ("GET", "/models?x=1", "admin.models"),
    ("GET", "/v1/models/a%2Fb/c", "admin.model a/b/c"), ("GET", "/%76%31/models/x", "admin.model x"),
    ("GET", "/logs/stream", "logs.log_stream"), ("GET", "/logs/stream/a/b", "logs.log_stream a/b"),
    ("GET", "/logs", "logs.log_history"), ("GET", "/api/logs", "logs.list"), ("GET", "/api/models", "models.list"),
    ("GET", "/api/models/a/b", "models.one a/b"),
    ("POST", "/api/models/load/a%2Fb", "models.load a/b"), ("POST", "/api/models/cancel/m", "models.cancel m"),
    ("GET", "/api/plan?model=m", "models.plan"), ("GET", "/api/config", "config.show"),
    ("GET", "/api/events?topics=models", "feed.events"), ("GET", "/api/inflight", "activity.inflight"),
    ("POST", "/api/inflight/7/cancel", "activity.cancel 7/cancel"), ("GET", "/api/captures/7", "activity.capture 7"),
    ("GET", "/api/metrics/activity", "activity.page"), ("GET", "/api/metrics/activity/7", "activity.row 7"),
    ("GET", "/api/metrics/stats", "activity.stats"), ("GET", "/api/performance", "insight.performance"),
    ("GET", "/api/hardware", "insight.hardware"), ("GET", "/metrics", "scrape.metrics"),
    ("POST", "/api/models/unload", "admin.unload_all"),
    ("POST", "/api/models/unload/a%20b", "admin.unload_one a b"), ("GET", "/unload", "admin.unload_all_text"),
    ("POST", "/unload", "admin.unload_all_text"), ("PUT", "/api/profiles/active", "profiles.select"),
    ("GET", "/upstream", "pages.redirect_models"), ("PATCH", "/upstream/m/a%2Fb//c", "inference.upstream m/a%2Fb//c"),
    ("OPTIONS", "/upstream/m/x", "inference.upstream m/x"), ("GET", "/comfyui", "inference.comfyui"),
    ("GET", "/comfyui/a%2Fb", "inference.comfyui a%2Fb"),
    ("POST", "/v1/chat/completions", "inference.serve /v1/chat/completions"),
    ("POST", "/v1/%63hat/completions", "inference.serve /v1/chat/completions"),
    ("POST", "//v1//chat/completions", "inference.serve /v1/chat/completions"),
    ("POST", "/v/chat/completions", "inference.serve /chat/completions"),
    ("POST", "/audioapi/v1/tasks/run", "inference.serve /v1/tasks/run"),
    ("HEAD", "/props", "inference.serve /props"), ("GET", "//running", "admin.running"),
    ("POST", "/v1/moderations", "inference.serve_unknown"), ("GET", "/health/", "inference.serve_unknown"),
    ("GET", "/v1%2Fmodels", "inference.serve_unknown"), ("POST", "/upstream%2Fm", "inference.serve_unknown"),
])
def test_every_path_has_its_place(method, target, where):
    assert went(method, target) == where


@pytest.mark.parametrize("action, where", [("load", "models.load"), ("unload", "admin.unload_one")])
def test_models_are_loaded_and_unloaded_as_clients_of_llama_server_ask(action, where):
    seen = []
    part, name = where.split(".")
    parts = Parts(*map(Recorder, Parts._fields))
    setattr(getattr(parts, part), name, lambda request, rest: seen.append(rest))
    site = site_of()
    app = App(parts, site=lambda: site)
    response = app.handle(asked("POST", f"/models/{action}", b'{"model": "a/b"}'))
    assert (response.status, json.loads(response.body), seen) == (200, {"success": True}, ["a/b"])
    for body in (b"", b"[]", b"{}", b'{"model": 7}', b"\xff", b"[" * 60_000):
        with pytest.raises(ClientFault) as refused:
            app.handle(asked("POST", f"/models/{action}", body))
        assert refused.value.status == 400
    assert seen == ["a/b"]


def test_a_browser_that_asks_for_the_log_gets_the_page():
    assert went("GET", "/logs", headers={"Accept": "text/html"}) == "pages.root"


@pytest.mark.parametrize("method, target, allowed", [
    ("POST", "/v1/models", "GET, HEAD"), ("GET", "/v1/chat/completions", "POST"), ("HEAD", "/unload", "GET, POST"),
    ("DELETE", "/v1/audio/voices", "GET, HEAD, POST"), ("POST", "/api/profiles/active", "PUT"),
    ("PUT", "/ui/x", "GET, HEAD"),
])
def test_wrong_methods_are_told_the_right_ones(method, target, allowed):
    with pytest.raises(ClientFault) as refused:
        make(apiKeys=["k"]).handle(asked(method, target))       # known before any key is asked for
    assert refused.value.status == 405 and ("Allow", allowed) in refused.value.headers


def test_routes_lists_all_of_them():
    listed = dict(make().routes())
    assert set(MODEL_ROUTES) <= set(listed) and listed["/ui/"] == ("GET", "HEAD") and "/api/models/unload/" in listed


# --- keys and origins --------------------------------------------------------------------------------------------

OPEN = {"/", "/ui", "/ui/", "/favicon.ico", "/health", "/wol-health", "/upstream"}


def test_only_these_are_open():
    app = make(apiKeys=["k"])
    for path, methods in make().routes():
        request = asked("GET" if methods == ("*",) else methods[0], path)
        if path in OPEN:
            assert app.handle(request) is not None
        else:
            with pytest.raises(ClientFault) as refused:
                app.handle(request)
            assert refused.value.status == 401, path
    assert went("GET", "/running", app, {"X-Api-Key": "k"}) == "admin.running"


def test_a_page_of_another_site_may_not_change_anything():
    page = {"Host": "box", "Origin": "http://page"}
    for method, path in (("POST", "/api/models/unload"), ("PUT", "/api/profiles/active"), ("GET", "/unload"),
                         ("POST", "/api/models/unload/m")):
        with pytest.raises(ClientFault) as refused:
            make().handle(asked(method, path, headers=page))
        assert (refused.value.status, refused.value.code) == (403, "forbidden") and not refused.value.headers
        assert went(method, path, headers={"Host": "box", "Origin": "http://box"})
    assert went("GET", "/running", headers=page) == "admin.running"


def test_answers_of_models_and_their_errors_may_be_read_by_pages():
    page = {"Host": "box", "Origin": "http://page"}
    for path in ("/v1/models", "/health", "/upstream/m/x"):
        assert header(make().handle(asked("GET", path, headers=page)), "Access-Control-Allow-Origin") == "http://page"
        assert header(make().handle(asked("GET", path)), "Access-Control-Allow-Origin") is None
    assert header(make().handle(asked("GET", "/running", headers=page)), "Access-Control-Allow-Origin") is None
    with pytest.raises(ClientFault) as refused:
        make(apiKeys=["k"]).handle(asked("GET", "/v1/models", headers=page))
    assert ("Access-Control-Allow-Origin", "http://page") in refused.value.headers
    with pytest.raises(ClientFault) as refused:
        make().handle(asked("GET", "/v1/chat/completions", headers=page))
    assert refused.value.status == 405 and refused.value.headers[0] == ("Allow", "POST")
    assert ("Access-Control-Allow-Origin", "http://page") in refused.value.headers
    with pytest.raises(ClientFault) as refused:
        make().handle(asked("DELETE", "/running", headers=page))
    assert [name for name, _ in refused.value.headers] == ["Allow"]


def test_only_listed_pages_may_read_answers():
    page, other = {"Origin": "http://page"}, {"Origin": "http://other"}
    app = make(corsOrigins=["http://page"], apiKeys=["k"])
    for path in ("/v1/models", "/upstream/m/x"):
        with pytest.raises(ClientFault) as refused:
            app.handle(asked("GET", path, headers=page))
        assert ("Access-Control-Allow-Origin", "http://page") in refused.value.headers
        with pytest.raises(ClientFault) as refused:
            app.handle(asked("GET", path, headers=other))
        assert refused.value.headers == ()
    granted = app.handle(asked("OPTIONS", "/v1/chat/completions", headers=page))
    assert header(granted, "Access-Control-Allow-Origin") == "http://page" and header(granted, "Vary") == "Origin"
    for refusing, headers in ((app, other), (make(corsOrigins=[]), page)):
        response = refusing.handle(asked("OPTIONS", "/v1/chat/completions", headers=headers))
        assert response.status == 204 and [name for name, _ in response.headers] == ["X-Request-Id"]
    assert header(make(corsOrigins=[]).handle(asked("GET", "/health", headers=page)),
                  "Access-Control-Allow-Origin") is None


# --- who asks ----------------------------------------------------------------------------------------------------


def from_here(method, path, **headers):
    request = asked(method, path, headers=headers)
    request.client_ip = request.connection.client_ip = "127.0.0.1"
    return request


@pytest.mark.parametrize("method, path", [
    ("POST", "/api/models/unload"), ("GET", "/unload"), ("PUT", "/api/profiles/active")])
def test_nothing_is_changed_under_a_strange_name(method, path):
    stranger = {"Host": "evil.example", "Origin": "http://evil.example"}     # of one site with us, says the browser
    with pytest.raises(ClientFault) as refused:
        make().handle(from_here(method, path, **stranger))
    assert (refused.value.status, refused.value.code) == (403, "forbidden")
    with pytest.raises(ClientFault):
        make().handle_admin(from_here(method, path, **stranger))
    for host in ("localhost:8080", "127.0.0.1", "[::1]:8080", "box", "box.local"):
        assert make().handle(from_here(method, path, Host=host))
    assert make().handle(from_here("GET", "/running", **stranger))
    assert make().handle(asked(method, path, headers=stranger)), "names of other networks are not ours to judge"
    assert make(apiKeys=["k"]).handle(from_here(method, path, **stranger, **{"X-Api-Key": "k"}))


def test_a_page_cannot_pretend_to_be_behind_a_proxy():
    request = from_here("POST", "/api/models/unload", **{"Host": "evil.example", "X-Forwarded-For": "8.8.8.8"})
    with pytest.raises(ClientFault):
        make(trustedProxies=["127.0.0.1"]).handle(request)


def test_clients_behind_trusted_proxies():
    for app, seen in ((make(trustedProxies=["10.0.0.0/8"]), "1.2.3.4"), (make(), "10.0.0.1")):
        for handle in (app.handle, app.handle_admin):
            request = asked("GET", "/health", headers={"X-Forwarded-For": "1.2.3.4"})
            handle(request)
            assert request.client_ip == seen


# --- preflights --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asked_for, names", [
    (None, "Content-Type, Authorization, Accept, X-Requested-With"),
    ("x-one, bad name,,x-two", "x-one, x-two"), ("", ""),
])
def test_any_page_may_ask_a_model(asked_for, names):
    headers = {} if asked_for is None else {"Access-Control-Request-Headers": asked_for}
    response = make(apiKeys=["k"]).handle(asked("OPTIONS", "/v1/chat/completions", headers=headers))
    assert response.status == 204 and header(response, "Access-Control-Allow-Headers") == names
    assert header(response, "Access-Control-Allow-Origin") == "*"
    assert header(response, "Access-Control-Max-Age") == "86400"
    assert header(response, "Access-Control-Allow-Methods") == "GET, POST, PUT, PATCH, DELETE, OPTIONS"


def test_no_page_is_encouraged_to_manage():
    response = make().handle(asked("OPTIONS", "/api/models/unload"))
    assert response.status == 204 and header(response, "Access-Control-Allow-Origin") is None


def test_a_preflight_carries_no_key_so_it_is_answered_here():
    response = make(apiKeys=["k"]).handle(asked("OPTIONS", "/upstream/m/x"))
    assert response.status == 204 and header(response, "Access-Control-Allow-Origin") == "*"
    assert went("OPTIONS", "/upstream/m/x", make(apiKeys=["k"]), {"X-Api-Key": "k"}) == "inference.upstream m/x"


# --- request ids -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("offered, is_kept", [("abc-1", True), ("a b", False), ("x" * 129, False), ("ü", False)])
def test_a_clients_id_is_kept_if_it_can_be(offered, is_kept):
    request = asked("GET", "/health", headers={"X-Request-Id": offered})
    response = make().handle(request)
    assert header(response, "X-Request-Id") == request.id and (request.id == offered) is is_kept


def test_our_own_ids_differ():
    app = make()
    found = {header(app.handle(asked("GET", "/health")), "X-Request-Id") for _ in range(3)}
    assert len(found) == 3


# --- the second address ------------------------------------------------------------------------------------------


def test_with_an_admin_listener_management_is_there_and_only_there():
    app = make(has_admin_listener=True)
    for path in ("/running", "/logs", "/ui/", "/", "/api/version", "/upstream", "//api//version"):
        with pytest.raises(ClientFault) as gone:
            app.handle(asked("GET", path))
        assert gone.value.status == 404
        assert app.handle_admin(asked("GET", path)).status == 200
    for path in ("/v1/models", "/models", "/health", "//v1//models"):
        assert app.handle(asked("GET", path)).status == app.handle_admin(asked("GET", path)).status == 200
    for method, path in (("POST", "/v1/chat/completions"), ("GET", "/upstream/m/"), ("GET", "/comfyui"),
                         ("GET", "/v1/models/m"), ("GET", "/nothing"), ("OPTIONS", "/v1/chat/completions")):
        with pytest.raises(ClientFault) as refused:
            app.handle_admin(asked(method, path))
        assert refused.value.status == 404, path
    assert app.handle_admin(asked("OPTIONS", "/running")).status == 204
