"""Models as an operator sees them: state, what they cost, why they failed; and loading, cancelling, planning.

The same views are the `models` topic of the event stream, so what a page shows and what it is sent later agree.
"""
from __future__ import annotations

import time
from typing import Any, Callable, Dict, Iterator, List, Optional
from urllib.parse import parse_qs, urlsplit

from llamaswap.core.faults import ClientFault
from llamaswap.core.messages import Request, Response
from llamaswap.core.redaction import redact, redact_values
from llamaswap.core.routing import Where
from llamaswap.core.settings import Capabilities, Config, Model
from llamaswap.core.tickets import ModelStatus
from llamaswap.runtime.costs import Cost
from llamaswap.runtime.histories import Failure, Histories
from llamaswap.runtime.registry import Lease, Registry
from llamaswap.web.listing import flags_of
from llamaswap.web.replies import json_response
from llamaswap.web.sites import Site

View = Dict[str, Any]


class Models:
    """`cost_of` and `last_line` are asked for models that run; they answer from what is known, without waiting.
    `on_order`: an order to load that model waits, or waits no more."""

    def __init__(self, registry: Registry, site: Callable[[], Site], histories: Histories, *,
                 cost_of: Callable[[str], Optional[Cost]], last_line: Callable[[str], str],
                 on_order: Callable[[str], None] = lambda model_id: None) -> None:
        self._registry = registry
        self._site = site
        self._histories = histories
        self._cost_of = cost_of
        self._last_line = last_line
        self._on_order = on_order
        self._orders: Dict[str, Lease] = {}      # the newest one to load each; most are fulfilled

    # --- handlers

    def list(self, request: Request, rest: str) -> Response:
        return json_response({"models": self.views()})

    def one(self, request: Request, rest: str) -> Response:
        model = self._find(rest)
        return json_response({**self._view(model, self._registry.status(model.id), self._groups()),
                              **self._details(model)})

    def load(self, request: Request, rest: str) -> Response:
        """Begin to load, and say so at once; what comes of it is an event, and the state of the model."""
        model = self._find(rest)
        if not self._is_ordered(model.id):
            self._orders[model.id] = self._registry.load(model.id)
            self._on_order(model.id)
        status = self._registry.status(model.id)
        state = status.state if status is not None else "stopped"
        # The run that is being loaded has a number from the start; one that waits for others to go has none yet.
        number = status.generation if status is not None and state in ("starting", "ready") else None
        return json_response({"msg": "ok", "model": model.id, "load": number, "state": state}, status=202)

    def cancel(self, request: Request, rest: str) -> Response:
        """End a load, also one that waits for room; then requests for the model go on waiting. A model that is ready is
        not touched: that is unloading."""
        model = self._find(rest)
        is_ordered = self._is_ordered(model.id)
        if is_ordered:
            self._orders[model.id].cancel()       # first: it could come to its start meanwhile
        if not self._registry.cancel_load(model.id) and not is_ordered:
            raise ClientFault(f"model {model.id} is not being loaded", status=409, code="conflict")
        self._on_order(model.id)
        return json_response({"msg": "ok", "model": model.id})

    def _is_ordered(self, model_id: str) -> bool:
        return model_id in self._orders and self._orders[model_id].is_waiting

    def plan(self, request: Request, rest: str) -> Response:
        """What a request for ?model= would meet now."""
        asked = parse_qs(request.query).get("model", [""])[-1]
        if not asked:
            raise ClientFault("which model? ?model= is missing")
        site = self._site()
        found = site.resolve(asked)
        if found.where is Where.SELECTOR:
            selector = site.config.selectors[found.id]
            return json_response({"model": found.id, "action": "choose", "strategy": selector.strategy,
                                  "targets": [self._plan(target) for target in selector.targets]})
        return json_response(self._plan(asked))

    def _plan(self, name: str) -> View:
        found = self._site().resolve(name)
        if found.where is Where.PEER:
            return {"model": found.id, "action": "serve", "evict": [], "waits_for": [], "peer": found.peer,
                    "reason": f"served by peer {found.peer}", "load_ms": [], "load_estimate_ms": None}
        plan = self._registry.plan(found.id) if found.where is Where.LOCAL else None
        if plan is None:
            raise ClientFault(f'model "{name}" not found', status=404, code="model_not_found")
        history = self._histories.of(plan.model)
        return {"model": plan.model, "action": plan.action, "evict": list(plan.evict),
                "waits_for": list(plan.waits_for), "reason": plan.reason, "load_ms": _millis(history.load_seconds),
                "load_estimate_ms": _milli(history.usual_load_seconds())}

    # --- views

    def views(self) -> List[View]:
        """Ours by ID, then those of peers."""
        statuses = {status.id: status for status in self._registry.snapshot()}
        config, groups = self._site().config, self._groups()
        return [*(self._view(model, statuses.get(model_id), groups)
                  for model_id, model in sorted(config.models.items())), *_peer_views(config)]

    def snapshot(self) -> View:
        return {"op": "snapshot", "models": self.views()}

    def upsert(self, model_id: str) -> Optional[View]:
        model = self._site().config.models.get(model_id)
        if model is None:
            return None
        return {"op": "upsert", "model": self._view(model, self._registry.status(model_id), self._groups())}

    def peer_shapes(self) -> List[View]:
        """As llama-swap's own event stream has them."""
        config = self._site().config
        states = {status.id: status.state for status in self._registry.snapshot()}
        shapes = []
        for model_id, model in sorted(config.models.items()):
            shape = {"id": model_id, "name": model.name, "description": model.description,
                     "state": states.get(model_id, "stopped"), "unlisted": model.unlisted, "peerID": ""}
            if model.aliases:
                shape["aliases"] = sorted(model.aliases)
            flags = flags_of(model.capabilities)
            if flags:
                shape["capabilities"] = flags
            if model.capabilities.context:
                shape["context_length"] = model.capabilities.context
            shapes.append(shape)
        shapes.extend({"id": view["id"], "name": view["name"], "description": "", "state": "", "unlisted": False,
                       "peerID": view["peer"]} for view in _peer_views(config))
        return shapes

    def _view(self, model: Model, status: Optional[ModelStatus], groups: Dict[str, str]) -> View:
        history, wall = self._histories.of(model.id), _wall_clock()
        state = status.state if status is not None else "stopped"
        is_live = status is not None and status.pid is not None and state != "stopped"
        return {
            "id": model.id, "name": model.name, "description": model.description, "aliases": sorted(model.aliases),
            "unlisted": model.unlisted, "kind": "model", "peer": "", "group": groups.get(model.id),
            "capabilities": _capabilities(model.capabilities), "ttl": model.ttl,
            "concurrency": model.concurrency_limit or None, "state": state,
            "since": wall(status.since) if status else None, "generation": status.generation if status else 0,
            "in_flight": status.in_flight if status else 0, "queued": status.queued if status else 0,
            "ordered": self._is_ordered(model.id), "leaving": bool(status and status.leaving),
            "waiting_for": status.waiting_for if status else "",
            "started_at": wall(status.started_at) if status else None,
            "ready_at": wall(status.ready_at) if status else None,
            "unload_at": wall(status.idle_deadline) if status else None,
            "last_used_at": wall(status.last_used_at) if status else None,
            "pid": status.pid if status is not None and is_live else None, "port": _port(model.proxy),
            "proxy": redact(model.proxy), "memory": _memory(self._cost_of(model.id) if is_live else None),
            "load_ms": _millis(history.load_seconds), "load_estimate_ms": _milli(history.usual_load_seconds()),
            "last_line": self._last_line(model.id) if state == "starting" else None,
            "last_error": _failure(history.failure),
        }

    def _details(self, model: Model) -> View:
        plan = self._registry.plan(model.id)
        filters = model.filters
        return {"cmd": redact(model.cmd), "cmd_stop": redact(model.cmd_stop),
                "env": sorted(entry.partition("=")[0] for entry in model.env), "check_endpoint": model.check_endpoint,
                "unload_timeout": model.unload_timeout, "health_check_timeout": model.health_check_timeout,
                "use_model_name": model.use_model_name, "metadata": redact_values(dict(model.metadata)),
                "filters": {"strip": list(filters.strip), "set": redact_values(dict(filters.set_params)),
                            "set_by_id": redact_values({name: dict(params) for name, params
                                                        in filters.set_params_by_id.items()})},
                "evicts": list(plan.evict) if plan is not None else []}

    def _groups(self) -> Dict[str, str]:
        return {member: group.name for group in self._site().config.groups for member in group.members}

    def _find(self, name: str) -> Model:
        found = self._site().resolve(name)
        if found.where is not Where.LOCAL:
            raise ClientFault(f'model "{name}" not found', status=404, code="model_not_found")
        return self._site().config.models[found.id]


def _peer_views(config: Config) -> Iterator[View]:
    for peer in config.peers.values():
        for name in dict.fromkeys(peer.models):
            yield {"id": f"{peer.id}/{name}", "name": f"{peer.id}: {name}", "description": "", "aliases": [],
                   "unlisted": False, "kind": "peer", "peer": peer.id, "group": None, "capabilities": None, "ttl": 0,
                   "concurrency": None, "state": "", "since": None, "generation": 0, "in_flight": 0, "queued": 0,
                   "ordered": False, "leaving": False, "waiting_for": "", "started_at": None, "ready_at": None,
                   "unload_at": None, "last_used_at": None, "pid": None, "port": None, "proxy": redact(peer.proxy),
                   "memory": _memory(None), "load_ms": [], "load_estimate_ms": None, "last_line": None,
                   "last_error": None}


def _wall_clock() -> Callable[[Optional[float]], Optional[float]]:
    """Monotonic instants as wall time, for showing."""
    offset = time.time() - time.monotonic()
    return lambda instant: None if instant is None else round(instant + offset, 3)


def _capabilities(has: Capabilities) -> Optional[View]:
    if has.is_empty():
        return None
    return {"in": list(has.inputs), "out": list(has.outputs), "tools": has.tools, "reranker": has.reranker,
            "context": has.context or None}


def _memory(cost: Optional[Cost]) -> View:
    if cost is None:
        return {"gpus": None, "rss_bytes": None}
    gpus = None if cost.gpus is None else [{"gpu": gpu, "bytes": size} for gpu, size in sorted(cost.gpus.items())]
    return {"gpus": gpus, "rss_bytes": cost.rss_bytes}


def _failure(failure: Optional[Failure]) -> Optional[View]:
    if failure is None:
        return None
    return {"kind": failure.kind, "message": failure.message, "code": failure.code, "signal": failure.signal,
            "at": round(failure.at_epoch, 3), "tail": list(failure.tail)}


def _millis(seconds: Any) -> List[int]:
    return [round(each * 1000) for each in list(seconds)]


def _milli(seconds: Optional[float]) -> Optional[int]:
    return None if seconds is None else round(seconds * 1000)


def _port(proxy: str) -> Optional[int]:
    try:
        return urlsplit(proxy).port
    except ValueError:
        return None
