"""Management: what runs, what is listed, unload. Plain functions of a request; no route here serves a model."""
from __future__ import annotations

import math
from typing import Any, Callable, Dict, List, Optional
from urllib.parse import parse_qs

from llamaswap import __version__
from llamaswap.core.faults import ClientFault
from llamaswap.core.messages import Request, Response
from llamaswap.core.redaction import redact
from llamaswap.core.routing import Where
from llamaswap.runtime.registry import DRAIN_TIMEOUT, UNLOAD_MODES, Registry
from llamaswap.web.listing import LIVE, find_row, list_models
from llamaswap.web.replies import json_response, now_epoch, text_response
from llamaswap.web.sites import Site

HEARTBEAT = 0.5      # how often an unload looks whether somebody still waits for its answer


class Admin:
    """Collaborators: the registry knows what lives; `site` is the configuration in force. `on_unload`: who waited for a
    model may wait no more, without any change of its state."""

    def __init__(self, registry: Registry, site: Callable[[], Site],
                 on_unload: Callable[[], None] = lambda: None) -> None:
        self._registry = registry
        self._site = site
        self._on_unload = on_unload

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
        self._unload(request, None)
        return text_response("OK")

    def unload_all(self, request: Request, rest: str) -> Response:
        self._unload(request, None)
        return json_response({"msg": "ok"})

    def unload_one(self, request: Request, rest: str) -> Response:
        found = self._site().names.resolve_target(rest)
        if found.where is not Where.LOCAL:
            raise ClientFault("model not found", status=404, code="model_not_found")
        self._unload(request, [found.id])
        return text_response("OK")

    def _unload(self, request: Request, ids: Optional[List[str]]) -> None:
        """Returns when they are gone. A drain may take long, so it also returns when nobody listens any more; what was
        begun goes on."""
        gone = self._registry.begin_unload(ids, **_unload_options(request.query))
        self._on_unload()
        while not (gone.wait(HEARTBEAT) or request.connection.is_gone()):
            pass


def _unload_options(query: str) -> Dict[str, Any]:
    """`mode=now|drain|idle` and `timeout=<seconds>` for drain; of several the last one counts."""
    values = parse_qs(query, keep_blank_values=True)
    mode = values.get("mode", ["now"])[-1]
    if mode not in UNLOAD_MODES:
        raise ClientFault(f"mode must be one of {', '.join(UNLOAD_MODES)}")
    try:
        timeout = float(values.get("timeout", [DRAIN_TIMEOUT])[-1])
    except ValueError:
        timeout = math.nan
    if not 0 <= timeout < math.inf:
        raise ClientFault("timeout must be a number of seconds, 0 or more")
    return {"mode": mode, "drain_timeout": timeout}
