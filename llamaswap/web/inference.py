"""Requests for models: find the name, take a lease, talk to the model server, pass its answer on.

Everything a request may wait for lies behind `lease.wait()`. The body is read once and kept, so that a request whose
model died before it said anything can be sent again to a fresh process.
"""
from __future__ import annotations

from contextlib import ExitStack
from typing import Callable, List, NamedTuple, Optional, Sequence, Tuple
from urllib.parse import unquote

from llamaswap.core.bodies import Named, find_model
from llamaswap.core.config import Model, Selector
from llamaswap.core.faults import ClientFault, Fault, Refused, UpstreamFault
from llamaswap.core.filters import Edit, FilterPlan, rewrite
from llamaswap.core.headers import Headers, forwarded
from llamaswap.core.lifecycle import State
from llamaswap.core.messages import Fields, Request, Response
from llamaswap.core.routing import Resolution, Where, forwarded_path, is_dispatchable, suggest
from llamaswap.runtime import relay
from llamaswap.runtime.breaker import Breakers
from llamaswap.runtime.registry import Lease, Registry
from llamaswap.runtime.reservations import Reservations
from llamaswap.runtime.upstream import Exchange
from llamaswap.web.auth import CREDENTIAL_HEADERS, Origins
from llamaswap.web.loading import loading_stream, wants_loading_stream
from llamaswap.web.sites import PeerLink, Site

CRASH_NEWS = 0.3              # seconds until an exit is known after its connection broke
COMFYUI = "comfyui_auto"


class Call(NamedTuple):
    """What is sent to the model server: path and query behind its base address; the request's own body when None."""

    path: str
    query: str
    body: Optional[bytes] = None
    stream: bool = False


class Inference:
    def __init__(self, registry: Registry, site: Callable[[], Site], reservations: Reservations,
                 breakers: Breakers) -> None:
        self._breakers = breakers
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
        if found.where is Where.SELECTOR:
            return self._serve_selected(request, site, site.config.selectors[found.id], Call(path, "", body), named)
        with ExitStack() as stack:
            return self._serve_found(request, site, found, Call(path, "", body), named, stack)

    def _serve_selected(self, request: Request, site: Site, selector: Selector, call: Call,
                        named: Named) -> Optional[Response]:
        failed: List[str] = []
        while True:
            with ExitStack() as stack:
                chosen = stack.enter_context(self._reservations.choose(selector, self._state_of(site), without=failed))
                found = site.names.resolve_target(chosen)
                try:
                    return self._serve_found(request, site, found, call, named, stack)
                except (Refused, UpstreamFault) as fault:
                    failed.append(chosen)
                    if selector.strategy != "spillover" or len(failed) == len(selector.targets) \
                            or not _may_go_elsewhere(fault, found):
                        raise

    def _serve_found(self, request: Request, site: Site, found: Resolution, call: Call, named: Named,
                     stack: ExitStack) -> Optional[Response]:
        """`stack` is closed when the request is over; a loading stream outlives this call and takes it along."""
        body = call.body or b""
        if found.where is Where.PEER:
            link = site.peers[found.peer]
            edits = link.plan.edits_for(found.id, found.requested, found.peer_model)
            body, query = _filtered(body, request.query, named, found.peer_model, edits)
            self._serve_peer(request, site, link, Call(call.path, query, body))
            return None
        if found.where is not Where.LOCAL:
            raise _unknown(site, found)
        plan: FilterPlan = site.plans[found.id]
        body, query = _filtered(body, request.query, named, plan.use_model_name or found.requested,
                                plan.edits_for(found.requested))
        model = site.config.models[found.id]
        return self._serve_local(request, site, model, Call(call.path, query, body, named.stream), stack)

    # --- pass-through routes

    def upstream(self, request: Request, rest: str) -> Optional[Response]:
        """/upstream/<model>/<anything>, byte for byte. `rest` is raw."""
        site = self._site()
        split = site.names.split_upstream(rest)
        if split is None or not split.resolution.is_served:
            raise ClientFault("model not found", status=404, code="model_not_found")
        found = split.resolution
        if not split.rest:
            return _slash(request, f"/upstream/{rest.rstrip('/')}/")
        call = Call(split.rest, request.query)
        if found.where is Where.PEER:
            call = _with_bare_name(request, found, call, site.config.max_body_bytes)
            self._serve_peer(request, site, site.peers[found.peer], call)
            return None
        model = site.config.models[found.id]
        self._pass_through(request, site, model, call, may_start=not site.is_ignored(unquote(split.rest)),
                           refusal=f"model {model.id} is not loaded; path matches upstream.ignorePaths")
        return None

    def comfyui(self, request: Request, rest: str) -> Optional[Response]:
        """ComfyUI's own page, under a fixed model ID; only its front door starts it. `rest` is raw."""
        site = self._site()
        model = site.config.models.get(COMFYUI)
        if model is None:
            raise ClientFault(f"local model {COMFYUI} not found", status=404, code="model_not_found")
        if not request.path.endswith("/") and not rest:
            return _slash(request, "/comfyui/")
        self._pass_through(request, site, model, Call("/" + rest, request.query), may_start=not rest,
                           refusal=f"model {COMFYUI} is not loaded; only /comfyui/ can start it")
        return None

    def _pass_through(self, request: Request, site: Site, model: Model, call: Call, *, may_start: bool,
                      refusal: str) -> None:
        counted = _is_counted(request, model)
        if not counted:
            refusal = f"model {model.id} is not loaded; ignored websocket requests cannot start it"
        status = self._registry.status(model.id)
        if not (may_start and counted) and (status is None or status.state != State.READY.value):
            raise ClientFault(refusal, status=409, code="conflict")
        with self._registry.lease(model.id, counted=counted, may_start=may_start) as lease:
            self._wait(request, lease)
            self._relay(request, site, lease, call)

    # --- local models

    def _serve_local(self, request: Request, site: Site, model: Model, call: Call,
                     stack: ExitStack) -> Optional[Response]:
        counted = _is_counted(request, model)
        if not counted:
            stack.close()      # it holds nothing, neither of the model nor of a selector
        with ExitStack() as held:
            lease = held.enter_context(self._registry.lease(model.id, counted=counted))
            if not lease.is_granted and call.stream and wants_loading_stream(model, call.path):
                held.push(stack.pop_all())
                return self._loading_stream(request, site, model, call, lease, held.pop_all())
            self._wait(request, lease)
            try:
                self._relay(request, site, lease, call)
                return None
            except UpstreamFault:
                # Nothing was said yet. When the process died of its own, a fresh one may do better; once.
                if not lease.has_crashed(within=CRASH_NEWS):
                    raise
        with self._registry.lease(model.id, counted=counted) as lease:
            self._wait(request, lease)
            self._relay(request, site, lease, call)
        return None

    def _loading_stream(self, request: Request, site: Site, model: Model, call: Call, lease: Lease,
                        held: ExitStack) -> Response:
        leases = [lease]

        def exchange() -> Exchange:
            return self._exchange(request, site, leases[-1], call)

        def renew(fault: UpstreamFault) -> Lease:
            if len(leases) > 1 or not leases[-1].has_crashed(within=CRASH_NEWS):
                raise fault
            leases[-1].cancel()
            leases.append(held.enter_context(self._registry.lease(model.id)))
            return leases[-1]

        return loading_stream(request, model, call.path, lease, exchange=exchange, renew=renew, release=held.close)

    def _wait(self, request: Request, lease: Lease) -> None:
        if not lease.is_granted:
            with request.connection.watch(lease.cancel):
                lease.wait()

    def _relay(self, request: Request, site: Site, lease: Lease, call: Call) -> None:
        _respond(request, self._exchange(request, site, lease, call), site.origins,
                 is_page_of_model=call.body is None, waited=lease.waited)

    def _exchange(self, request: Request, site: Site, lease: Lease, call: Call) -> Exchange:
        process = lease.process
        headers = forwarded(request.headers, request.client_ip, drop=CREDENTIAL_HEADERS if site.keyring else (),
                            upgrade=request.is_websocket)
        if "x-request-id" not in request.headers:
            headers.append(("X-Request-Id", request.id))
        exchange: Exchange = process.pool.exchange(
            request.method, process.endpoint.target(call.path, call.query), headers,
            request.body if call.body is None else call.body, client=request.connection)
        return exchange

    def _state_of(self, site: Site) -> Callable[[str], Optional[State]]:
        def state_of(target: str) -> Optional[State]:
            found = site.names.resolve_target(target)
            status = self._registry.status(found.id) if found.where is Where.LOCAL else None
            return State(status.state) if status is not None else None
        return state_of

    # --- peers

    def _serve_peer(self, request: Request, site: Site, link: PeerLink, call: Call) -> None:
        if link.pool is None or link.endpoint is None:
            raise UpstreamFault(f"peer {link.peer.id} cannot be reached: {link.fault}")
        key = link.peer.api_key
        # Without keys of ours or one for the peer, what the client sends is meant for the peer.
        headers = forwarded(request.headers, request.client_ip, to_peer=True, upgrade=request.is_websocket,
                            drop=CREDENTIAL_HEADERS if key or site.keyring else ())
        if key:
            headers += [("Authorization", f"Bearer {key}"), ("x-api-key", key)]
        if "x-request-id" not in request.headers:
            headers.append(("X-Request-Id", request.id))
        exchange = self._reach(request, link, call, headers)
        try:
            _respond(request, exchange, site.origins, is_page_of_model=call.body is None)
        except UpstreamFault as fault:
            raise _named(link, fault) from None

    def _reach(self, request: Request, link: PeerLink, call: Call, headers: Fields) -> Exchange:
        """A peer that could not be reached several times in a row is not asked for a while."""
        assert link.pool is not None and link.endpoint is not None
        pause = self._breakers.attempt(link.peer.proxy)
        if pause:
            raise Refused(f"peer {link.peer.id} could not be reached lately", code="peer_unreachable",
                          retry_after=pause)
        try:
            exchange = link.pool.exchange(request.method, link.endpoint.target(call.path, call.query), headers,
                                          request.body if call.body is None else call.body, client=request.connection)
        except UpstreamFault as fault:
            if fault.code == "upstream_unreachable":
                self._breakers.failed(link.peer.proxy)
            raise _named(link, fault) from None
        self._breakers.succeeded(link.peer.proxy)
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


def _respond(request: Request, exchange: Exchange, origins: Origins, *, is_page_of_model: bool,
             waited: float = 0.0) -> None:
    extra = [("X-Request-Id", request.id)]
    if waited >= 0.001:
        extra.append(("X-Llamaswap-Waited", f"{waited:.3f}"))
    # A model's own pages know which others may read them. Of an API we decide it, unless any page may read it anyway.
    if not is_page_of_model:
        has_own = "access-control-allow-origin" in exchange.headers
        if has_own and not origins.is_any:
            exchange.headers = Headers([field for field in exchange.headers.fields
                                        if not field[0].lower().startswith("access-control-")])
        if not (has_own and origins.is_any):
            extra += origins.fields(request)
    relay.respond(request, exchange, extra_headers=extra)


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
    except Fault:
        return None      # not one of our routes, so its body need not be in any of our forms
    return named if named.model else None


def _unknown(site: Site, found: Resolution) -> ClientFault:
    if found.where is Where.DISABLED:
        return ClientFault(f'the active profile disables "{found.requested}"', status=404, code="model_not_found")
    close = suggest(found.requested, [*site.config.models, *site.config.aliases])
    hint = f"; did you mean {' or '.join(close)}?" if close else ""
    return ClientFault(f'model "{found.requested}" not found{hint}', status=404, code="model_not_found")


def _slash(request: Request, path: str) -> Response:
    query = f"?{request.query}" if request.query else ""
    return Response(301 if request.method in ("GET", "HEAD") else 308, [("Location", path + query)])
