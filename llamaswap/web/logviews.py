"""Logs over HTTP: what was said, and what is being said, by source and by run."""
from __future__ import annotations

from typing import Any, Callable, Dict, Iterator, List
from urllib.parse import parse_qs

from llamaswap.core.faults import ClientFault
from llamaswap.core.messages import Request, Response
from llamaswap.core.routing import Where
from llamaswap.runtime.logruns import Run
from llamaswap.runtime.logs import LogBook, LogRing, Subscription
from llamaswap.web.replies import TEXT, json_response
from llamaswap.web.sites import Site

HEARTBEAT = 0.5      # how often a silent log stream looks whether its reader, and this program, are to stay
HEADERS = [TEXT, ("X-Content-Type-Options", "nosniff"), ("X-Accel-Buffering", "no")]


class LogViews:
    """`is_ending`: whether streams have to end because the program does."""

    def __init__(self, logs: LogBook, site: Callable[[], Site], is_ending: Callable[[], bool]) -> None:
        self._logs = logs
        self._site = site
        self._is_ending = is_ending

    def list(self, request: Request, rest: str) -> Response:
        """What there is to read: sources that are always there, and each model's last runs, newest last."""
        models = [{"id": model_id, "runs": [_run_row(run) for run in self._logs.runs(model_id)]}
                  for model_id in sorted({*self._site().config.models, *self._logs.models()})]
        return json_response({"sources": ["proxy", "upstream"], "models": models})

    def log_history(self, request: Request, rest: str) -> Response:
        return Response(200, HEADERS[:2], self._logs.combined.history())

    def log_stream(self, request: Request, rest: str) -> Response:
        query = parse_qs(request.query, keep_blank_values=True)
        ring = self._find_ring(rest)
        if "run" in query:
            return Response(200, HEADERS[:2], self._find_run(rest, query["run"][-1]))
        subscription = ring.subscribe(with_history=_wants_history(query))
        return Response(200, list(HEADERS), self._follow(subscription, request), on_close=subscription.close,
                        is_watching=True)

    def _find_run(self, name: str, number: str) -> bytes:
        """What is left of its text; the run that goes on has no end yet."""
        found = self._site().names.resolve_target(name)
        text = None
        if found.where is Where.LOCAL and number.isdecimal() and len(number) < 10:
            text = self._logs.run_text(found.id, int(number))
        if text is None:
            raise ClientFault(f'"{name}" has no run "{number}" that is still known', status=404, code="not_found")
        return text

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


def _run_row(run: Run) -> Dict[str, Any]:
    return {"run": run.generation, "started_at": round(run.started_epoch, 3), "reason": run.reason or None,
            "ended_at": None if run.ended_epoch is None else round(run.ended_epoch, 3), "bytes": run.text_bytes}


def _wants_history(query: Dict[str, List[str]]) -> bool:
    """`no-history` alone means without; `no-history=0` and `=false` mean with."""
    values = query.get("no-history")
    return values is None or values[-1].lower() in ("0", "false")
