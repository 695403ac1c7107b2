"""Every route in one table, and the order in which a request passes through: route, key, origin, handler.

A handler returns a Response, or None when the answer has already been relayed to the client. Faults are answered by
whoever runs the server, through web/errors.py.
"""
from __future__ import annotations

import itertools
import json
import re
import secrets
from typing import Any, Callable, Collection, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple
from urllib.parse import unquote

from llamaswap.core.faults import ClientFault, Fault
from llamaswap.core.messages import Request, Response
from llamaswap.core.routing import MODEL_ROUTES, find_route
from llamaswap.web.activity import Activity
from llamaswap.web.admin import Admin
from llamaswap.web.auth import comes_from_elsewhere, is_named_like_us
from llamaswap.web.configview import ConfigView
from llamaswap.web.feed import Feed
from llamaswap.web.inference import Inference
from llamaswap.web.insight import Insight
from llamaswap.web.logviews import LogViews
from llamaswap.web.models import Models
from llamaswap.web.profiles import MAX_REQUEST_BYTES, Profiles
from llamaswap.web.replies import json_response
from llamaswap.web.scrape import Scrape
from llamaswap.web.sites import Site
from llamaswap.web.ui import Pages

Handler = Callable[[Request, str], Optional[Response]]

ANY = ("*",)
GET = ("GET", "HEAD")
POST = ("POST",)
PUT = ("PUT",)
_READING = frozenset(("GET", "HEAD", "OPTIONS"))
_REQUEST_ID = re.compile(r"[!-~]{1,128}\Z")
_SLASHES = re.compile("//+")
# What lies behind these belongs to a model: its path stays as it was sent, and it answers OPTIONS itself.
_RAW = ("/upstream/", "/comfyui/")


class Route(NamedTuple):
    methods: Tuple[str, ...]
    handler: Handler
    is_open: bool = False          # answered without a key
    is_management: bool = True     # moves to the admin address when there is one
    changes_by_get: bool = False   # a GET that does something; any other method than GET and HEAD is taken to do so


class Parts(NamedTuple):
    """Whose handlers the table names."""

    admin: Admin
    profiles: Profiles
    inference: Inference
    pages: Pages
    models: Models
    logs: LogViews
    feed: Feed
    activity: Activity
    insight: Insight
    scrape: Scrape
    config: ConfigView


class App:
    def __init__(self, parts: Parts, *, site: Callable[[], Site], has_admin_listener: bool = False,
                 own_names: Callable[[], Collection[str]] = tuple) -> None:
        self._site = site
        self._own_names = own_names
        self._has_admin_listener = has_admin_listener
        self._run = secrets.token_hex(4)
        self._numbers = itertools.count(1)      # next() on it is atomic
        self._exact = _exact_routes(parts)
        self._prefixes = _prefix_routes(parts)
        self._shared = frozenset(("/v1/models", "/models", "/health", "/wol-health"))      # on both addresses
        self._model_route = Route(ANY, parts.inference.serve, is_management=False)
        self._unknown = Route(ANY, parts.inference.serve_unknown, is_management=False)

    def routes(self) -> Iterator[Tuple[str, Tuple[str, ...]]]:
        """Path (a prefix when it ends in a slash) and methods of everything that is answered."""
        for path, route in (*self._exact.items(), *self._prefixes):
            yield path, route.methods
        for path, model_route in MODEL_ROUTES.items():
            yield path, model_route.methods

    def handle(self, request: Request) -> Optional[Response]:
        """Main listener: everything, or inference alone when management has its own address."""
        self._identify(request)
        return _marked(request, self._dispatch(request))

    def handle_admin(self, request: Request) -> Optional[Response]:
        """The admin listener: management and what anybody may ask, no inference."""
        self._identify(request)
        return _marked(request, self._dispatch_admin(request))

    def _identify(self, request: Request) -> None:
        """The client's own ID, if it is one a log and a header can carry; otherwise one that no other run gives."""
        offered = request.headers.get("x-request-id")
        request.id = offered if offered and _REQUEST_ID.match(offered) else f"{self._run}-{next(self._numbers):x}"
        proxies = self._site().proxies
        if proxies:
            proxies.unmask(request)

    # --- finding the route

    def _dispatch(self, request: Request) -> Optional[Response]:
        path = _joined(request.path)
        model_route = find_route(request.method, path)
        if model_route is not None:
            return self._admit(request, self._model_route, model_route.forward)
        route, rest = self._find(path)
        if request.method == "OPTIONS" and not self._is_for_model(request, route):
            # No page of another site may ask management.
            return Response(204, [] if route.is_management else self._site().origins.preflight(request))
        if route.is_management and self._has_admin_listener:
            raise _not_found(request)
        return self._admit(request, route, rest)

    def _dispatch_admin(self, request: Request) -> Optional[Response]:
        path = _joined(request.path)
        route, rest = self._find(path)
        if not (route.is_management or path in self._shared):
            raise _not_found(request)
        if request.method == "OPTIONS":
            return Response(204)
        return self._admit(request, route, rest)

    def _is_for_model(self, request: Request, route: Route) -> bool:
        """Browsers send no key with a preflight, so where one is needed the preflight has to be answered here."""
        return request.path.startswith(_RAW) and self._may_pass(request, route)

    def _find(self, path: str) -> Tuple[Route, str]:
        plain = _decoded(path) if "%" in path else path
        route = self._exact.get(plain)
        if route is not None:
            return route, ""
        for prefix, route in self._prefixes:
            # The segments of a prefix may be escaped too, so what follows is found by counting them.
            if (path if prefix in _RAW else plain).startswith(prefix):
                rest = path.split("/", prefix.count("/"))[-1]
                return route, rest if prefix in _RAW else unquote(rest, errors="surrogateescape")
        if plain in MODEL_ROUTES:
            return Route(MODEL_ROUTES[plain].methods, self._unknown.handler, is_management=False), ""
        return self._unknown, ""

    # --- letting it in

    def _admit(self, request: Request, route: Route, rest: str) -> Optional[Response]:
        if route.is_management:
            self._check(request, route)
            return route.handler(request, rest)
        try:
            self._check(request, route)
            response = route.handler(request, rest)
        except Fault as fault:
            fault.headers = (*fault.headers, *self._site().origins.fields(request))
            raise
        if response is not None:
            response.headers.extend(self._site().origins.fields(request))
        return response

    def _check(self, request: Request, route: Route) -> None:
        if route.methods is not ANY and request.method not in route.methods:
            raise _method_not_allowed(request, route.methods)
        if not self._may_pass(request, route):
            raise ClientFault("unauthorized: invalid or missing API key", status=401, code="unauthorized")
        changes = route.changes_by_get or request.method not in _READING
        if route.is_management and changes and comes_from_elsewhere(request.headers):
            raise ClientFault("a page of another site may not change anything here", status=403, code="forbidden")
        if route.is_management and changes and not self._site().keyring and _is_local(request) \
                and not is_named_like_us(request.headers, self._own_names):
            raise ClientFault(f'"{request.headers.get("host")}" is no name of this machine: without apiKeys nothing '
                              "is changed under it", status=403, code="forbidden")

    def _may_pass(self, request: Request, route: Route) -> bool:
        return route.is_open or self._site().keyring.admits(request.headers)


def _exact_routes(parts: Parts) -> Dict[str, Route]:
    admin, pages, profiles, models, activity = parts.admin, parts.pages, parts.profiles, parts.models, parts.activity
    return {
        "/": Route(GET, pages.root, is_open=True),
        "/ui": Route(GET, pages.redirect, is_open=True),
        "/favicon.ico": Route(GET, pages.favicon, is_open=True),
        "/health": Route(GET, admin.health, is_open=True, is_management=False),
        "/wol-health": Route(GET, admin.health, is_open=True, is_management=False),
        "/v1/models": Route(GET, admin.models, is_management=False),
        "/models": Route(GET, admin.models, is_management=False),
        "/models/load": Route(POST, _named_in_body(models.load)),
        "/models/unload": Route(POST, _named_in_body(admin.unload_one)),
        "/running": Route(GET, admin.running),
        "/unload": Route(("GET", "POST"), admin.unload_all_text, changes_by_get=True),
        "/metrics": Route(GET, parts.scrape.metrics),
        "/logs": Route(GET, _page_or_text(pages, parts.logs)),
        "/logs/stream": Route(GET, parts.logs.log_stream),
        "/api/logs": Route(GET, parts.logs.list),
        "/api/version": Route(GET, admin.version),
        "/api/models": Route(GET, models.list),
        "/api/models/unload": Route(POST, admin.unload_all),
        "/api/plan": Route(GET, models.plan),
        "/api/profiles": Route(GET, profiles.list),
        "/api/profiles/active": Route(PUT, profiles.select),
        "/api/config": Route(GET, parts.config.show),
        "/api/events": Route(GET, parts.feed.events),
        "/api/inflight": Route(GET, activity.inflight),
        "/api/metrics/activity": Route(GET, activity.page),
        "/api/metrics/stats": Route(GET, activity.stats),
        "/api/performance": Route(GET, parts.insight.performance),
        "/api/hardware": Route(GET, parts.insight.hardware),
        "/upstream": Route(GET, pages.redirect_models, is_open=True),
        "/comfyui": Route(ANY, parts.inference.comfyui, is_management=False),
    }


def _prefix_routes(parts: Parts) -> List[Tuple[str, Route]]:
    """The first that fits counts."""
    return [
        ("/ui/", Route(GET, parts.pages.asset, is_open=True)),
        ("/v1/models/", Route(GET, parts.admin.model, is_management=False)),
        ("/logs/stream/", Route(GET, parts.logs.log_stream)),
        ("/api/models/unload/", Route(POST, parts.admin.unload_one)),
        ("/api/models/load/", Route(POST, parts.models.load)),
        ("/api/models/cancel/", Route(POST, parts.models.cancel)),
        ("/api/models/", Route(GET, parts.models.one)),
        ("/api/inflight/", Route(POST, parts.activity.cancel)),
        ("/api/metrics/activity/", Route(GET, parts.activity.row)),
        ("/api/captures/", Route(GET, parts.activity.capture)),
        ("/upstream/", Route(ANY, parts.inference.upstream, is_management=False)),
        ("/comfyui/", Route(ANY, parts.inference.comfyui, is_management=False)),
    ]


def _named_in_body(handler: Handler) -> Handler:
    """As clients of llama-server's router ask and expect to be answered."""
    def answer(request: Request, rest: str) -> Optional[Response]:
        try:
            asked: Any = json.loads(request.body.read_all(MAX_REQUEST_BYTES))
        except (ValueError, RecursionError):
            asked = None
        name = asked.get("model") if isinstance(asked, dict) else None
        if not isinstance(name, str):
            raise ClientFault('which model? {"model": "..."} is expected')
        handler(request, name)
        return json_response({"success": True})
    return answer


def _page_or_text(pages: Pages, logs: LogViews) -> Handler:
    def answer(request: Request, rest: str) -> Optional[Response]:
        wants_page = "text/html" in (request.headers.get("accept") or "")    # a browser's address bar
        return pages.root(request, rest) if wants_page else logs.log_history(request, rest)
    return answer


def _marked(request: Request, response: Optional[Response]) -> Optional[Response]:
    """Relayed answers were marked on their way."""
    if response is not None:
        response.headers.append(("X-Request-Id", request.id))
    return response


def _is_local(request: Request) -> bool:
    """Asked of the connection: what a proxy, or a page, says about the client does not count here."""
    address = str(request.connection.client_ip)
    return address.startswith("127.") or address == "::1"


def _joined(path: str) -> str:
    """A base URL may end in a slash, and the path after it begin with one."""
    return _SLASHES.sub("/", path) if "//" in path and not path.startswith(_RAW) else path


def _decoded(path: str) -> str:
    """Without needless escapes. `%2F` never becomes a separator."""
    return "/".join(unquote(part, errors="surrogateescape").replace("/", "%2F") for part in path.split("/"))


def _not_found(request: Request) -> ClientFault:
    return ClientFault(f"{request.path} is not served here", status=404, code="not_found")


def _method_not_allowed(request: Request, allowed: Sequence[str]) -> ClientFault:
    return ClientFault(f"{request.method} is not possible here; allowed: {', '.join(allowed)}", status=405,
                       code="method_not_allowed", headers=(("Allow", ", ".join(allowed)),))
