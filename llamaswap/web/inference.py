"""Requests for models: find the name, take a lease, talk to the model server, pass its answer on.

Everything a request may wait for lies behind `lease.wait()`. The body is read once and kept, so that a request whose
model died before it said anything can be sent again to a fresh process.
"""
from __future__ import annotations

from typing import Callable, List, NamedTuple, Optional, Sequence, Tuple
from urllib.parse import quote, unquote

from llamaswap.core.bodies import CONFLICT, Named, find_model
from llamaswap.core.config import Model, Selector
from llamaswap.core.faults import ClientFault, Fault, Refused, UpstreamFault, cancelled
from llamaswap.core.filters import Edit, FilterPlan, rewrite
from llamaswap.core.headers import Headers, forwarded
from llamaswap.core.lifecycle import State
from llamaswap.core.messages import Fields, Request, Response
from llamaswap.core.routing import Resolution, Where, forwarded_path, is_dispatchable, suggest
from llamaswap.runtime import relay
from llamaswap.runtime.breaker import Breakers
from llamaswap.runtime.connection import ClientGone
from llamaswap.runtime.inflight import Inflight, Visit
from llamaswap.runtime.registry import Lease, Registry
from llamaswap.runtime.reservations import Reservations
from llamaswap.runtime.upstream import Endpoint, Exchange, UpstreamPool
from llamaswap.web.auth import CREDENTIAL_HEADERS, Origins
from llamaswap.web.errors import sse_error_event
from llamaswap.web.loading import loading_stream, wants_loading_stream
from llamaswap.web.replies import prefix_of
from llamaswap.web.sites import PeerLink, Site

CRASH_NEWS = 0.3              # seconds until an exit is known after its connection broke
COMFYUI = "comfyui_auto"
MAX_NAME = 1000               # characters that are kept, and said, of a name that may be any


class Call(NamedTuple):
    """What is sent to the model server: path and query behind its base address; the request's own body when None."""

    path: str
    query: str
    body: Optional[bytes] = None
    stream: bool = False


class Inference:
    def __init__(self, registry: Registry, site: Callable[[], Site], reservations: Reservations,
                 breakers: Breakers, inflight: Inflight) -> None:
        self._breakers = breakers
        self._inflight = inflight
        self._registry = registry
        self._site = site
        self._reservations = reservations

    # --- model routes

    def serve(self, request: Request, path: str) -> Optional[Response]:
        """A request that names its model in the body, a form or the query. `path` is what the model server sees."""
        body = request.body.read_all(self._site().config.max_body_bytes)
        named = find_model(request.headers.get("content-type") or "", body, request.query, request.method)
        if not named.model:
            raise ClientFault("no model id could be identified", status=404, code="model_not_found")
        return self._serve_named(request, path, body, named)

    def serve_unknown(self, request: Request, rest: str) -> Optional[Response]:
        """A path we do not know, which may still name a model we do: engines grow new endpoints all the time."""
        if is_dispatchable(request.method, request.path):
            body = request.body.read_all(self._site().config.max_body_bytes)
            named = _named_or_none(request, body)
            if named is not None and self._site().resolve(named.model or "").where is not Where.NONE:
                return self._serve_named(request, forwarded_path(request.path), body, named)
        raise ClientFault(f"{request.path} is not a known path and the request names no known model", status=404,
                          code="not_found")

    def _serve_named(self, request: Request, path: str, body: bytes, named: Named) -> Optional[Response]:
        site = self._site()
        found = site.resolve(named.model or "")
        call = Call(path, "", body)
        if found.where is Where.SELECTOR:
            selector = site.config.selectors[found.id]
            return self._visit(request, path, named.model,
                               lambda visit: self._serve_selected(visit, site, selector, call, named))
        # A name that nobody has is recorded too: who asks for it wants to be found.
        return self._visit(request, path, named.model,
                           lambda visit: self._serve_found(visit, site, found, call, named))

    def _visit(self, request: Request, path: str, requested: Optional[str],
               serve: Callable[[Visit], Optional[Response]]) -> Optional[Response]:
        """Whatever becomes of the request, it is recorded once and holds nothing afterwards. A stream that is still to
        be sent takes its visit along."""
        visit = self._inflight.open(request, path)
        visit.requested = (requested or "")[:MAX_NAME]
        response = None
        try:
            response = serve(visit)
            return response
        except Fault as fault:
            raise visit.fail(fault) from None
        except ClientGone:
            visit.leave()
            raise
        finally:
            if response is None:
                visit.close()

    def _serve_selected(self, visit: Visit, site: Site, selector: Selector, call: Call,
                        named: Named) -> Optional[Response]:
        failed: List[str] = []
        visit.metadata = {"selector": selector.id}
        while True:
            chosen = visit.hold(self._reservations.choose(selector, self._state_of(site), without=failed))
            found = site.names.resolve_target(chosen)
            try:
                return self._serve_found(visit, site, found, call, named)
            except (Refused, UpstreamFault) as fault:
                visit.let_go()
                failed.append(chosen)
                if visit.is_cancelled or selector.strategy != "spillover" or len(failed) == len(selector.targets) \
                        or not _may_go_elsewhere(fault, found):
                    raise

    def _serve_found(self, visit: Visit, site: Site, found: Resolution, call: Call, named: Named) -> Optional[Response]:
        body, request = call.body or b"", visit.request
        visit.model, visit.is_stream = found.id, named.stream
        if found.where is Where.PEER:
            link = site.peers[found.peer]
            edits = link.plan.edits_for(found.id, found.requested, found.peer_model)
            body, query = _filtered(body, request.query, named, found.peer_model, edits)
            self._serve_peer(visit, site, link, Call(call.path, query, body))
            return None
        if found.where is not Where.LOCAL:
            raise _unknown(site, found)
        plan: FilterPlan = site.plans[found.id]
        body, query = _filtered(body, request.query, named, plan.use_model_name or found.requested,
                                plan.edits_for(found.requested))
        return self._serve_local(visit, site, site.config.models[found.id], Call(call.path, query, body, named.stream))

    # --- pass-through routes

    def upstream(self, request: Request, rest: str) -> Optional[Response]:
        """/upstream/<model>/<anything>, byte for byte. `rest` is raw."""
        site = self._site()
        split = site.names.split_upstream(rest)
        if split is None or not split.resolution.is_served:
            raise ClientFault("model not found", status=404, code="model_not_found")
        found = split.resolution
        if not split.rest:
            typed = "/".join(unquote(part) for part in rest.split("/") if part)
            # An alias stays as it was typed; a pin shows whom it stands for.
            name = rest.rstrip("/") if typed == found.requested else quote(found.requested)
            return _slash(request, f"/upstream/{name}/")
        call = Call(split.rest, request.query)
        if found.where is Where.PEER:
            call = _with_bare_name(request, found, call, site.config.max_body_bytes)
            link = site.peers[found.peer]
            return self._visit(request, call.path, found.requested,
                               lambda visit: self._pass_to_peer(visit, site, link, found.id, call))
        model = site.config.models[found.id]
        is_ignored = site.is_ignored(unquote(split.rest))
        # The files of a page are no work: dozens come at once, and a page left open is no use of the model.
        is_asset = is_ignored and request.method in ("GET", "HEAD") and not request.is_websocket
        return self._pass_through(request, site, model, call, may_start=not is_ignored, is_asset=is_asset,
                                  refusal=f"model {model.id} is not loaded; path matches upstream.ignorePaths")

    def comfyui(self, request: Request, rest: str) -> Optional[Response]:
        """ComfyUI's own page, under a fixed model ID; only its front door starts it. `rest` is raw."""
        site = self._site()
        model = site.config.models.get(COMFYUI)
        if model is None:
            raise ClientFault(f"local model {COMFYUI} not found", status=404, code="model_not_found")
        if not request.path.endswith("/") and not rest:
            return _slash(request, "/comfyui/")
        return self._pass_through(request, site, model, Call("/" + rest, request.query), may_start=not rest,
                                  refusal=f"model {COMFYUI} is not loaded; only /comfyui/ can start it")

    def _pass_through(self, request: Request, site: Site, model: Model, call: Call, *, may_start: bool,
                      refusal: str, is_asset: bool = False) -> Optional[Response]:
        counted = _is_counted(request, model)
        if not counted:
            refusal = f"model {model.id} is not loaded; ignored websocket requests cannot start it"
        counted = counted and not is_asset

        def pass_on(visit: Visit) -> None:
            visit.model, visit.priority = model.id, site.config.priority.get(model.id, 0)
            status = self._registry.status(model.id)
            if not (may_start and counted) and (status is None or status.state != State.READY.value):
                raise ClientFault(refusal, status=409, code="conflict")
            visit.take(self._registry.lease(model.id, counted=counted, may_start=may_start))
            self._answer(visit, site, model, call, may_start=may_start and counted)
        return self._visit(request, call.path, model.id, pass_on)

    def _pass_to_peer(self, visit: Visit, site: Site, link: PeerLink, model_id: str, call: Call) -> None:
        visit.model = model_id
        self._serve_peer(visit, site, link, call)

    # --- local models

    def _serve_local(self, visit: Visit, site: Site, model: Model, call: Call) -> Optional[Response]:
        counted = _is_counted(visit.request, model)
        visit.priority = site.config.priority.get(model.id, 0)
        if not counted:
            visit.let_go()      # it holds nothing, neither of the model nor of a selector
        lease = visit.take(self._registry.lease(model.id, counted=counted))
        if not lease.is_granted and call.stream and wants_loading_stream(model, call.path):
            return self._loading_stream(visit, site, model, call)
        self._answer(visit, site, model, call)
        return None

    def _answer(self, visit: Visit, site: Site, model: Model, call: Call, *, may_start: bool = True) -> None:
        """Wait for the lease, and pass on what the model server says; from a fresh process if need be, once."""
        self._wait(visit)
        try:
            self._relay(visit, site, call)
            return
        except UpstreamFault:
            # Nothing was said yet. When the process died of its own and nothing is lost, a fresh one may do better.
            is_whole = call.body is not None or visit.request.body.length == 0
            if visit.is_cancelled or not (is_whole and may_start) or not visit.lease.has_crashed(within=CRASH_NEWS):
                raise
        self._lease_again(visit, model)
        self._wait(visit)
        self._relay(visit, site, call)

    def _lease_again(self, visit: Visit, model: Model) -> Lease:
        """After the process of the first lease has died; what is left of that one is given back."""
        visit.lease.cancel()
        visit.exchange = None
        lease: Lease = visit.take(self._registry.lease(model.id, counted=_is_counted(visit.request, model)))
        return lease

    def _loading_stream(self, visit: Visit, site: Site, model: Model, call: Call) -> Response:
        leases = [visit.lease]

        def exchange() -> Exchange:
            # Its body follows frames of ours, behind a head that names no coding.
            return self._exchange(visit, site, call, is_plain=True)

        def renew(fault: UpstreamFault) -> Lease:
            if visit.is_cancelled or len(leases) > 1 or not leases[-1].has_crashed(within=CRASH_NEWS):
                raise fault
            leases.append(self._lease_again(visit, model))
            return leases[-1]

        return loading_stream(visit, model, call.path, exchange=exchange, renew=renew)

    def _wait(self, visit: Visit) -> None:
        lease = visit.lease
        if not lease.is_granted:
            with visit.request.connection.watch(lease.cancel):
                lease.wait()

    def _relay(self, visit: Visit, site: Site, call: Call) -> None:
        exchange = self._exchange(visit, site, call)
        _respond(visit, exchange, site.origins, call, waited=visit.waited)

    def _exchange(self, visit: Visit, site: Site, call: Call, *, is_plain: bool = False) -> Exchange:
        request, process = visit.request, visit.lease.process
        headers = forwarded(request.headers, request.client_ip, drop=CREDENTIAL_HEADERS if site.keyring else (),
                            upgrade=request.is_websocket, is_read=_is_read(request, call), is_plain=is_plain)
        return _converse(visit, process.pool, process.endpoint, call, _identified(headers, request))

    def _state_of(self, site: Site) -> Callable[[str], Optional[State]]:
        def state_of(target: str) -> Optional[State]:
            found = site.names.resolve_target(target)
            status = self._registry.status(found.id) if found.where is Where.LOCAL else None
            return State(status.state) if status is not None else None
        return state_of

    # --- peers

    def _serve_peer(self, visit: Visit, site: Site, link: PeerLink, call: Call) -> None:
        if link.pool is None or link.endpoint is None:
            raise UpstreamFault(f"peer {link.peer.id} cannot be reached: {link.fault}")
        # As the text of all header fields: its bytes, one to a character.
        key, request = link.peer.api_key.encode("utf-8", "surrogateescape").decode("latin-1"), visit.request
        # Without keys of ours or one for the peer, what the client sends is meant for the peer.
        headers = forwarded(request.headers, request.client_ip, to_peer=True, upgrade=request.is_websocket,
                            drop=CREDENTIAL_HEADERS if key or site.keyring else (), is_read=_is_read(request, call))
        if key:
            headers += [("Authorization", f"Bearer {key}"), ("x-api-key", key)]
        exchange = self._reach(visit, link, call, _identified(headers, request))
        try:
            _respond(visit, exchange, site.origins, call)
        except UpstreamFault as fault:
            raise _named(link, fault) from None

    def _reach(self, visit: Visit, link: PeerLink, call: Call, headers: Fields) -> Exchange:
        """A peer that could not be reached several times in a row is not asked for a while."""
        assert link.pool is not None and link.endpoint is not None
        pause = self._breakers.attempt(link.peer.proxy)
        if pause:
            raise Refused(f"peer {link.peer.id} could not be reached lately", code="peer_unreachable",
                          retry_after=pause)
        try:
            exchange = _converse(visit, link.pool, link.endpoint, call, headers)
        except UpstreamFault as fault:
            if fault.code == "upstream_unreachable":
                self._breakers.failed(link.peer.proxy)
            raise _named(link, fault) from None
        self._breakers.succeeded(link.peer.proxy)
        return exchange


def _identified(fields: Fields, request: Request) -> Fields:
    """With the ID that the client and the log get. The client's own may have been none that we could use."""
    offered = request.headers.get("x-request-id")
    if offered == request.id:
        return fields
    kept = fields if offered is None else [field for field in fields if field[0].lower() != "x-request-id"]
    return [*kept, ("X-Request-Id", request.id)]


def _converse(visit: Visit, pool: UpstreamPool, endpoint: Endpoint, call: Call, headers: Fields) -> Exchange:
    """Send the call, and read up to the end of the answer's head."""
    request = visit.request
    opened = visit.exchange = pool.open(request.connection)
    # order: who cancels looks for an exchange after setting the flag, so one of the two always notices.
    if visit.is_cancelled:
        raise cancelled()
    opened.on_read = visit.let_go
    visit.body = call.body
    exchange = opened.begin(request.method, endpoint.target(call.path, call.query), headers,
                            visit.passing(request.body) if call.body is None else call.body)
    visit.begin_answer(exchange)
    return exchange


def _named(link: PeerLink, fault: UpstreamFault) -> UpstreamFault:
    return UpstreamFault(f"peer {link.peer.id}: {fault.message}", status=fault.status, code=fault.code,
                         retry_after=fault.retry_after)


def _may_go_elsewhere(fault: Fault, found: Resolution) -> bool:
    """Others use the model directly, so a target can be full without its selector knowing; and a peer can be down.
    Either way nothing has been said to the client, and the body is still there."""
    if found.where is Where.PEER:
        return fault.code != "aborted" and fault.status in (502, 503, 504)
    return fault.code == "concurrency_limit"


def _respond(visit: Visit, exchange: Exchange, origins: Origins, call: Call, *, waited: float = 0.0) -> None:
    request = visit.request
    extra = [("X-Request-Id", request.id)]
    if waited >= 0.001:
        extra.append(("X-Llamaswap-Waited", f"{waited:.3f}"))
    # A model's own pages know which others may read them. Of an API we decide it, unless any page may read it anyway.
    if call.body is not None:
        has_own = "access-control-allow-origin" in exchange.headers
        if has_own and not origins.is_any:
            exchange.headers = Headers([field for field in exchange.headers.fields
                                        if not field[0].lower().startswith("access-control-")])
        if not (has_own and origins.is_any):
            extra += origins.fields(request)
    visit.end_answer(relay.respond(request, exchange, tap=visit.tap, extra_headers=extra,
                                   last_word=lambda fault: sse_error_event(visit.explain(fault), call.path)))


def _is_read(request: Request, call: Call) -> bool:
    """Whether the answer may tell of tokens. A model's own pages are its own business."""
    return call.body is not None or request.method == "POST"


def _is_counted(request: Request, model: Model) -> bool:
    return not (request.is_websocket and model.ignore_websockets)


def _filtered(body: bytes, query: str, named: Named, model: str, edits: Sequence[Edit]) -> Tuple[bytes, str]:
    if not edits and model == named.model:
        return body, query
    return rewrite(body, query, named, model=model, edits=edits)


def _with_bare_name(request: Request, found: Resolution, call: Call, max_bytes: int) -> Call:
    """A peer does not know our name for it, which clients that use one name everywhere put into the body as well."""
    if "json" not in (request.headers.get("content-type") or "").lower():
        return call
    body = request.body.read_all(max_bytes)
    named = _named_or_none(request, body)
    if named is not None and named.model == found.id:
        body, _ = rewrite(body, "", named, model=found.peer_model, edits=())
    return call._replace(body=body)


def _named_or_none(request: Request, body: bytes) -> Optional[Named]:
    try:
        named = find_model(request.headers.get("content-type") or "", body, request.query, request.method)
    except Fault as fault:
        if fault.code == CONFLICT:
            raise        # it does name models, and we cannot know which one is meant
        return None      # not one of our routes, so its body need not be in any of our forms
    return named if named.model else None


def _unknown(site: Site, found: Resolution) -> ClientFault:
    name = found.requested[:MAX_NAME]
    if found.where is Where.DISABLED:
        return ClientFault(f'the active profile disables "{name}"', status=404, code="model_not_found")
    close = suggest(found.requested, [*site.config.models, *site.config.aliases])
    hint = f"; did you mean {' or '.join(close)}?" if close else ""
    return ClientFault(f'model "{name}" not found{hint}', status=404, code="model_not_found")


def _slash(request: Request, path: str) -> Response:
    query = f"?{request.query}" if request.query else ""
    return Response(301 if request.method in ("GET", "HEAD") else 308,
                    [("Location", prefix_of(request) + path + query)])
