"""What was asked of the models, and what is being asked right now: pages, sums, exports, captures, cancelling."""
from __future__ import annotations

import re
import time
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Protocol, Sequence, Tuple, TypeVar

from llamaswap.core.activity import Query, Row, csv_lines, jsonl_lines, markdown_lines, parse_query, row_json
from llamaswap.core.faults import ClientFault
from llamaswap.core.messages import Request, Response
from llamaswap.runtime.store import Store
from llamaswap.web.replies import json_response

T = TypeVar("T")

EXPORT_ROWS = 500            # read at once: a client that reads slowly holds these, and nobody up
STATS_AGE = 1.0              # seconds an answer is good for; each open page asks after every request
STATS_SHARE = 10             # and so many times as long as it took: a large store is not summed up all the time
MOST_STATS = 32
_NUMBER = re.compile(r"[0-9]{1,18}")
_EXPORTS = {"csv": "text/csv; charset=utf-8", "jsonl": "application/x-ndjson", "md": "text/markdown; charset=utf-8"}


class Ask(Protocol):
    def __call__(self, question: Callable[[Store], T]) -> T:
        """Its answer, found on the thread that owns the store. Refused when that takes too long."""


class Captures(Protocol):
    def get(self, number: int) -> Optional[Dict[str, Any]]: ...

    def __contains__(self, number: int) -> bool: ...


class Activity:
    """`inflight` lists the requests under way; `cancel` ends one of them, or says that it is not there."""

    def __init__(self, ask: Ask, captures: Captures, inflight: Callable[[], Sequence[Mapping[str, Any]]],
                 cancel: Callable[[int], bool], is_ending: Callable[[], bool] = lambda: False) -> None:
        self._ask = ask
        self._captures = captures
        self._inflight = inflight
        self._cancel = cancel
        self._is_ending = is_ending
        # Until when an answer is good. Owned by the thread that answers, so that the same question from many pages is
        # worked out once.
        self._stats: Dict[Query, Tuple[float, Dict[str, Any]]] = {}

    # --- finished requests

    def page(self, request: Request, rest: str) -> Response:
        query = parse_query(request.query)
        if query.format:
            return self._export(request, query)
        page = self._ask(lambda store: store.page(query))
        return json_response({"data": [row_json(row, row.id in self._captures) for row in page.rows],
                              "page": query.page, "limit": query.limit, "total": page.total,
                              "total_pages": -(-page.total // query.limit)})

    def row(self, request: Request, rest: str) -> Response:
        number = _number(rest)
        row = None if number is None else self._ask(lambda store: store.row(number))
        if row is None:
            raise ClientFault("request not found", status=404, code="not_found")
        return json_response(row_json(row, row.id in self._captures))

    def stats(self, request: Request, rest: str) -> Response:
        query = parse_query(request.query).filters_only()
        return json_response(self._ask(lambda store: self._stats_of(store, query)))

    def _stats_of(self, store: Store, query: Query) -> Dict[str, Any]:
        began_at = time.monotonic()
        good_until, found = self._stats.pop(query, (0.0, {}))
        if began_at >= good_until:
            found = store.stats(query)
            ended_at = time.monotonic()
            good_until = ended_at + max(STATS_AGE, STATS_SHARE * (ended_at - began_at))
        self._stats[query] = (good_until, found)
        if len(self._stats) > MOST_STATS:
            del self._stats[next(iter(self._stats))]
        return found

    # --- exports

    def _export(self, request: Request, query: Query) -> Response:
        """The whole of what the query matches, in the order of the numbers, whatever page was asked for."""
        first = self._rows(query, None)      # before the head, while a failure can still be told
        headers = [("Content-Type", _EXPORTS[query.format]), ("X-Content-Type-Options", "nosniff"),
                   ("Content-Disposition", f'attachment; filename="activity.{query.format}"')]
        return Response(200, headers, self._pieces(request, query, first))

    def _pieces(self, request: Request, query: Query, rows: List[Row]) -> Iterator[bytes]:
        is_first = True
        while True:
            text = "".join(self._lines(query.format, rows, is_first))
            if text:
                yield text.encode("utf-8", "replace")
            if len(rows) < EXPORT_ROWS or request.connection.is_gone() or self._is_ending():
                return
            is_first = False
            rows = self._rows(query, rows[-1].id)

    def _rows(self, query: Query, after: Optional[int]) -> List[Row]:
        return self._ask(lambda store: store.rows(query, after, EXPORT_ROWS))

    def _lines(self, form: str, rows: Sequence[Row], with_head: bool) -> Iterator[str]:
        if form == "jsonl":
            return jsonl_lines(rows, self._captures.__contains__)
        return (csv_lines if form == "csv" else markdown_lines)(rows, with_head)

    # --- what was said

    def capture(self, request: Request, rest: str) -> Response:
        number = _number(rest)
        if number is None:
            raise ClientFault("invalid capture ID")
        found = self._captures.get(number)
        if found is None:
            raise ClientFault("capture not found", status=404, code="not_found")
        return json_response(found)

    # --- requests under way

    def inflight(self, request: Request, rest: str) -> Response:
        return json_response({"requests": list(self._inflight())})

    def cancel(self, request: Request, rest: str) -> Response:
        """`rest` is <number>/cancel."""
        first, _, verb = rest.partition("/")
        number = _number(first)
        if verb != "cancel" or number is None or not self._cancel(number):
            raise ClientFault("inflight request not found", status=404, code="not_found")
        return json_response({"msg": "ok"})


def _number(text: str) -> Optional[int]:
    return int(text) if _NUMBER.fullmatch(text) else None
