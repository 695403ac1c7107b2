"""Management: what runs, what is listed, unload, logs. Plain functions of a request; no route here serves a model."""
from __future__ import annotations

from typing import Any, Callable, Dict, Iterator, List
from urllib.parse import parse_qs

from llamaswap import __version__
from llamaswap.core.faults import ClientFault
from llamaswap.core.messages import Request, Response
from llamaswap.core.redaction import redact
from llamaswap.core.routing import Where
from llamaswap.runtime.logs import LogBook, LogRing, Subscription
from llamaswap.runtime.registry import Registry
from llamaswap.web.listing import LIVE, find_row, list_models
from llamaswap.web.replies import TEXT, json_response, now_epoch, text_response
from llamaswap.web.sites import Site

HEARTBEAT = 0.5      # how often a silent log stream looks whether its reader, and this program, are to stay


class Admin:
    """Collaborators: the registry knows what lives, the log book what was said; `site` is the configuration in force.
    `is_ending`: whether streams have to end because the program does."""

    def __init__(self, registry: Registry, logs: LogBook, site: Callable[[], Site],
                 is_ending: Callable[[], bool] = lambda: False) -> None:
        self._registry = registry
        self._logs = logs
        self._site = site
        self._is_ending = is_ending

    def health(self, request: Request, rest: str) -> Response:
        return text_response("OK")

    def version(self, request: Request, rest: str) -> Response:
        return json_response({"version": __version__, "commit": "", "build_date": ""})

    # --- models

    def models(self, request: Request, rest: str) -> Response:
        return json_response({"object": "list", "data": self._rows()})

    def model(self, request: Request, rest: str) -> Response:
        found = self._site().resolve(rest)
        rows = self._rows()
        row = find_row(rows, rest) or (find_row(rows, found.id) if found.where is not Where.NONE else None)
        if row is None:
            raise ClientFault(f'model "{rest}" not found', status=404, code="model_not_found")
        return json_response(row)

    def _rows(self) -> List[Dict[str, Any]]:
        site = self._site()
        states = {status.id: status.state for status in self._registry.snapshot()}
        return list_models(site.config, states, created=now_epoch(), pins=site.pins)

    def running(self, request: Request, rest: str) -> Response:
        models = self._site().config.models
        rows = []
        for status in sorted(self._registry.snapshot(), key=lambda status: status.id.encode("utf-8", "surrogatepass")):
            model = models.get(status.id)
            if status.state in LIVE and model is not None:
                rows.append({"model": model.id, "state": status.state, "cmd": redact(model.cmd), "proxy": model.proxy,
                             "ttl": model.ttl, "name": model.name, "description": model.description})
        return json_response({"running": rows})

    # --- unload

    def unload_all_text(self, request: Request, rest: str) -> Response:
        self._registry.unload()
        return text_response("OK")

    def unload_all(self, request: Request, rest: str) -> Response:
        self._registry.unload()
        return json_response({"msg": "ok"})

    def unload_one(self, request: Request, rest: str) -> Response:
        found = self._site().names.resolve_target(rest)
        if found.where is not Where.LOCAL:
            raise ClientFault("model not found", status=404, code="model_not_found")
        self._registry.unload([found.id])
        return text_response("OK")

    # --- logs

    def log_history(self, request: Request, rest: str) -> Response:
        return Response(200, [TEXT, ("X-Content-Type-Options", "nosniff")], self._logs.combined.history())

    def log_stream(self, request: Request, rest: str) -> Response:
        ring = self._find_ring(rest)
        subscription = ring.subscribe(with_history=_wants_history(request.query))
        headers = [TEXT, ("X-Content-Type-Options", "nosniff"), ("X-Accel-Buffering", "no")]
        return Response(200, headers, self._follow(subscription, request), on_close=subscription.close)

    def _find_ring(self, name: str) -> LogRing:
        names = self._site().names
        if name in ("", "proxy", "upstream"):
            return {"": self._logs.combined, "proxy": self._logs.proxy, "upstream": self._logs.upstream}[name]
        found = names.resolve_target(name)
        if found.where is Where.LOCAL:
            return self._logs.model(found.id)
        before, slash, _ = name.rpartition("/")
        while slash:
            if before in ("proxy", "upstream") or names.resolve_target(before).where is Where.LOCAL:
                raise ClientFault(f'nothing may follow "{before}" here', status=404, code="not_found")
            before, slash, _ = before.rpartition("/")
        raise ClientFault("invalid logger. Use 'proxy', 'upstream' or a model's ID")

    def _follow(self, subscription: Subscription, request: Request) -> Iterator[bytes]:
        """Pieces of a log until it ends, the reader leaves, or the program ends."""
        while not (request.connection.is_gone() or self._is_ending()):
            piece = subscription.get(HEARTBEAT)
            if piece is None:
                return
            if piece:
                yield piece


def _wants_history(query: str) -> bool:
    """`no-history` alone means without; `no-history=0` and `=false` mean with."""
    values = parse_qs(query, keep_blank_values=True).get("no-history")
    return values is None or values[-1].lower() in ("0", "false")
