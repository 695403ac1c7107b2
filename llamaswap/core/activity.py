"""What is remembered of a finished request, what may be asked about it, and how it is written down.

Unknown is None, never 0: an average over made-up zeros would be a lie.
"""
from __future__ import annotations

import json
import math
import re
from datetime import datetime
from typing import (
    Any,
    Callable,
    Dict,
    Iterable,
    Iterator,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
    Union,
)
from urllib.parse import parse_qsl

from llamaswap.core.faults import ClientFault

OK, ERROR, CLIENT_GONE, CANCELLED, BROKEN = "ok", "error", "client_gone", "cancelled", "broken"
OUTCOMES = (OK, ERROR, CLIENT_GONE, CANCELLED, BROKEN)


class Row(NamedTuple):
    """`model` is the canonical ID, `requested` what the client wrote. `outcome` is one of the words above: what became
    of the answer, which the status alone cannot say when it was already out."""

    id: int
    at_epoch: float                 # when the request arrived
    model: str
    requested: str
    method: str
    path: str                       # as the model server sees it
    content_type: str
    status: int
    outcome: str
    error: str
    client: str
    session: str
    user_agent: str
    request_id: str
    is_stream: bool
    queue_ms: int                   # waiting for others
    load_ms: int                    # waiting for the model to start
    ttft_ms: Optional[int]          # from arrival to the first byte of the answer's body
    duration_ms: int
    req_bytes: int
    resp_bytes: int
    input_tokens: Optional[int]
    cached_tokens: Optional[int]
    output_tokens: Optional[int]
    drafted_tokens: Optional[int]
    accepted_tokens: Optional[int]
    prompt_per_second: Optional[float]
    tokens_per_second: Optional[float]
    is_measured: bool               # the speeds are ours: the engine gave none
    metadata: Mapping[str, str]


# --- questions --------------------------------------------------------------------------------------------------

MAX_LIMIT = 999
DEFAULT_LIMIT = 25
MAX_VALUES = 100                      # of one filter, so that a query stays a query
MAX_FIELDS = 300
# Sort words of the API, and the field of Row each one means.
SORTS: Mapping[str, str] = {
    "id": "id", "time": "at_epoch", "model": "model", "req_path": "path", "resp_status_code": "status",
    "resp_content_type": "content_type", "cached": "cached_tokens", "prompt": "input_tokens",
    "generated": "output_tokens", "drafted": "drafted_tokens", "prompt_speed": "prompt_per_second",
    "gen_speed": "tokens_per_second", "duration": "duration_ms",
}
FORMATS = ("csv", "jsonl", "md")
_STATUS = re.compile(r"([1-9])(xx|[0-9][0-9])", re.IGNORECASE)
_WHOLE = re.compile(r"[0-9]{1,19}")
MOST = 2 ** 63 - 1                    # what clients mean by "all", and what a store can hold
_EPOCH = re.compile(r"[0-9]{1,11}(?:\.[0-9]{1,9})?")
# A plus that was not escaped arrives as a space.
_RFC3339 = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.[0-9]+)?"
                      r"([Zz]|[ +-][0-9]{2}:[0-9]{2})")

Pairs = Sequence[Tuple[str, str]]


class Query(NamedTuple):
    """Which rows, in which order, how many of them. Filters of different kinds are AND-ed, values of one OR-ed; an
    empty one lets everything pass."""

    models: Tuple[str, ...] = ()
    statuses: Tuple[Tuple[int, int], ...] = ()    # first and last of a range
    errors: bool = False                          # one more status: whatever failed
    outcomes: Tuple[str, ...] = ()
    clients: Tuple[str, ...] = ()
    sessions: Tuple[str, ...] = ()
    path: str = ""                                # a part of it, or with = in front the whole
    text: str = ""                                # a part of error, path, model or requested; in any case
    since: Optional[float] = None                 # both inclusive, by whole seconds
    until: Optional[float] = None
    min_id: Optional[int] = None
    max_id: Optional[int] = None
    sort: str = "id"
    order: str = "desc"
    page: int = 1
    limit: int = DEFAULT_LIMIT
    format: str = ""

    def filters_only(self) -> Query:
        """For answers that depend on which rows there are, and not on how they are shown."""
        return self._replace(sort="id", order="desc", page=1, limit=DEFAULT_LIMIT, format="")


def parse_query(query: Union[str, Pairs]) -> Query:
    """ClientFault 400 in llama-swap's words. Blank values count as absent; of a single value the first one does."""
    values = _values(query)
    single = {name: found[0] for name, found in values.items()}
    sort, order = single.get("sort", "id"), single.get("order", "desc").lower()
    page, limit = _whole(single, "page", "page must be >= 1"), _whole(single, "limit", _LIMIT)
    if limit is not None and limit > MAX_LIMIT:
        raise ClientFault(_LIMIT)
    if sort not in SORTS:
        raise ClientFault("invalid sort column")
    if order not in ("asc", "desc"):
        raise ClientFault("order must be asc or desc")
    if single.get("format", "csv") not in FORMATS:
        raise ClientFault(f"format must be one of {', '.join(FORMATS)}")
    since, until = _span(single)
    min_id, max_id = (_whole(single, name, f"{name} must be >= 1") for name in ("min_id", "max_id"))
    if min_id is not None and max_id is not None and min_id > max_id:
        raise ClientFault("min_id must be <= max_id")
    statuses, errors = _statuses(_items(values, "status"))
    return Query(
        models=tuple(values.get("model", ())), statuses=statuses, errors=errors, outcomes=_outcomes(values),
        clients=tuple(values.get("client", ())), sessions=tuple(values.get("session", ())),
        path=single.get("path", ""), text=single.get("q", ""), since=since, until=until, min_id=min_id, max_id=max_id,
        sort=sort, order=order, page=page or 1, limit=limit or DEFAULT_LIMIT, format=single.get("format", ""))


_LIMIT = f"limit must be between 1 and {MAX_LIMIT}"


def _values(query: Union[str, Pairs]) -> Dict[str, List[str]]:
    try:
        pairs = parse_qsl(query, max_num_fields=MAX_FIELDS) if isinstance(query, str) else query
    except ValueError:
        raise ClientFault("too many parameters") from None
    values: Dict[str, List[str]] = {}
    for name, value in pairs:
        # What is no text to SQLite equals nothing that is stored.
        value = value.encode("utf-8", "replace").decode()
        if value.strip() and value not in values.setdefault(name, []):
            values[name].append(value)
    if any(len(found) > MAX_VALUES for found in values.values()):
        raise ClientFault(f"at most {MAX_VALUES} values of one parameter")
    return {name: found for name, found in values.items() if found}


def _items(values: Mapping[str, List[str]], name: str) -> List[str]:
    """Repeated or separated by commas."""
    items = [item.strip() for value in values.get(name, ()) for item in value.split(",") if item.strip()]
    if len(items) > MAX_VALUES:
        raise ClientFault(f"at most {MAX_VALUES} values of one parameter")
    return items


def _whole(single: Mapping[str, str], name: str, complaint: str) -> Optional[int]:
    if name not in single:
        return None
    if not _WHOLE.fullmatch(single[name].strip()) or not 0 < int(single[name]) <= MOST:
        raise ClientFault(complaint)
    return int(single[name])


def _statuses(items: Sequence[str]) -> Tuple[Tuple[Tuple[int, int], ...], bool]:
    ranges: List[Tuple[int, int]] = []
    for item in items:
        found = _STATUS.fullmatch(item)
        if found:
            first, rest = int(found.group(1)) * 100, found.group(2).lower()
            ranges.append((first, first + 99) if rest == "xx" else (first + int(rest), first + int(rest)))
        elif item.lower() != "error":
            raise ClientFault(f'invalid status "{item}"; use a code such as 404, a class such as 5xx, or error')
    return tuple(dict.fromkeys(ranges)), len(ranges) < len(items)


def _outcomes(values: Mapping[str, List[str]]) -> Tuple[str, ...]:
    items = [item.lower() for item in _items(values, "outcome")]
    if not set(items) <= set(OUTCOMES):
        raise ClientFault(f"outcome must be one of {', '.join(OUTCOMES)}")
    return tuple(dict.fromkeys(items))


def _span(single: Mapping[str, str]) -> Tuple[Optional[float], Optional[float]]:
    """`start` and `end` are llama-swap's; `from` and `to` also take seconds since 1970."""
    lower = [parse_time(single[name], name) for name in ("start", "from") if name in single]
    upper = [parse_time(single[name], name) for name in ("end", "to") if name in single]
    since, until = max(lower, default=None), min(upper, default=None)
    if since is not None and until is not None and since > until:
        raise ClientFault("start must be before end")
    return since, until


def parse_time(text: str, name: str) -> float:
    epoch_too = name in ("from", "to")
    found = _RFC3339.fullmatch(text.strip())
    if epoch_too and _EPOCH.fullmatch(text.strip()):
        return float(text)
    try:
        if found:
            day, clock, zone = found.groups()
            zone = "+00:00" if zone in "Zz" else zone.replace(" ", "+")
            return datetime.fromisoformat(f"{day}T{clock}{zone}").timestamp()
    except (ValueError, OverflowError):
        pass
    raise ClientFault(f"invalid '{name}' timestamp, use RFC3339 format" + (" or epoch seconds" if epoch_too else ""))


# --- a row as JSON ----------------------------------------------------------------------------------------------


def row_json(row: Row, has_capture: bool) -> Dict[str, Any]:
    """llama-swap's fields under its names, then ours."""
    shown: Dict[str, Any] = {
        "id": row.id, "timestamp": timestamp(row.at_epoch), "model": row.model, "req_path": row.path,
        "resp_content_type": row.content_type, "resp_status_code": row.status,
        "tokens": {
            "cache_tokens": row.cached_tokens, "draft_tokens": row.drafted_tokens,
            "draft_acc_tokens": row.accepted_tokens, "input_tokens": row.input_tokens,
            "output_tokens": row.output_tokens, "prompt_per_second": row.prompt_per_second,
            "tokens_per_second": row.tokens_per_second,
        },
        "duration_ms": row.duration_ms, "has_capture": has_capture,
        "at": round(row.at_epoch, 3), "requested": row.requested, "method": row.method, "outcome": row.outcome,
        "client": row.client, "session": row.session, "user_agent": row.user_agent, "request_id": row.request_id,
        "queue_ms": row.queue_ms, "load_ms": row.load_ms, "ttft_ms": row.ttft_ms, "req_bytes": row.req_bytes,
        "resp_bytes": row.resp_bytes, "measured": row.is_measured, "stream": row.is_stream,
    }
    if row.error:
        shown["error_msg"] = row.error
    if row.metadata:
        shown["metadata"] = dict(row.metadata)
    return shown


def timestamp(epoch: float) -> str:
    """RFC 3339 in local time, whole seconds."""
    try:
        text = datetime.fromtimestamp(int(epoch)).astimezone().isoformat()
    except (ValueError, OverflowError, OSError):
        return "1970-01-01T00:00:00Z"      # from a file that somebody else wrote
    return text[:-6] + "Z" if text.endswith("+00:00") else text


# --- exports: one piece of text per row ---------------------------------------------------------------------------

_COLUMNS: Tuple[Tuple[str, Callable[[Row], Any]], ...] = (
    ("id", lambda row: row.id), ("timestamp", lambda row: timestamp(row.at_epoch)), ("model", lambda row: row.model),
    ("requested", lambda row: row.requested), ("method", lambda row: row.method), ("path", lambda row: row.path),
    ("status", lambda row: row.status), ("outcome", lambda row: row.outcome), ("error", lambda row: row.error),
    ("input_tokens", lambda row: row.input_tokens), ("cached_tokens", lambda row: row.cached_tokens),
    ("output_tokens", lambda row: row.output_tokens), ("draft_tokens", lambda row: row.drafted_tokens),
    ("draft_accepted_tokens", lambda row: row.accepted_tokens),
    ("prompt_per_second", lambda row: _rounded(row.prompt_per_second)),
    ("tokens_per_second", lambda row: _rounded(row.tokens_per_second)), ("measured", lambda row: int(row.is_measured)),
    ("duration_ms", lambda row: row.duration_ms), ("queue_ms", lambda row: row.queue_ms),
    ("load_ms", lambda row: row.load_ms), ("ttft_ms", lambda row: row.ttft_ms),
    ("req_bytes", lambda row: row.req_bytes), ("resp_bytes", lambda row: row.resp_bytes),
    ("stream", lambda row: int(row.is_stream)), ("content_type", lambda row: row.content_type),
    ("client", lambda row: row.client), ("session", lambda row: row.session),
    ("user_agent", lambda row: row.user_agent), ("request_id", lambda row: row.request_id),
    ("metadata", lambda row: json.dumps(dict(row.metadata), ensure_ascii=False) if row.metadata else ""),
)
_MARKDOWN = ("id", "timestamp", "model", "path", "status", "outcome", "input_tokens", "cached_tokens", "output_tokens",
             "prompt_per_second", "tokens_per_second", "duration_ms", "error")
_QUOTED = re.compile('[",\r\n]|^[ \t]|[ \t]$')
_MARKUP = str.maketrans({"|": "\\|", "\\": "\\\\", "<": "&lt;", "&": "&amp;", "\n": " ", "\r": " ", "`": "\\`",
                         "*": "\\*", "_": "\\_", "[": "\\["})


def csv_lines(rows: Iterable[Row], with_head: bool = True) -> Iterator[str]:
    """RFC 4180."""
    if with_head:
        yield ",".join(name for name, _ in _COLUMNS) + "\r\n"
    for row in rows:
        yield ",".join([csv_cell(read(row)) for _, read in _COLUMNS]) + "\r\n"


def csv_cell(value: Any) -> str:
    """Text that a spreadsheet would take for a formula gets a quote in front, which it does not show: clients choose
    some of this text, and somebody else opens the file."""
    if not isinstance(value, str):
        return "" if value is None else str(value)
    text = value.replace("\0", "")      # at which readers of the format stop
    if text.startswith(("=", "+", "-", "@", "\t", "\r")):
        text = "'" + text
    return '"' + text.replace('"', '""') + '"' if _QUOTED.search(text) else text


def jsonl_lines(rows: Iterable[Row], has_capture: Callable[[int], bool]) -> Iterator[str]:
    for row in rows:
        yield json.dumps(row_json(row, has_capture(row.id)), ensure_ascii=False, separators=(",", ":")) + "\n"


def markdown_lines(rows: Iterable[Row], with_head: bool = True) -> Iterator[str]:
    """The columns people read."""
    if with_head:
        yield "| " + " | ".join(_MARKDOWN) + " |\n" + "|" + " --- |" * len(_MARKDOWN) + "\n"
    columns = [read for name, read in _COLUMNS if name in _MARKDOWN]
    for row in rows:
        cells = ["" if value is None else str(value).translate(_MARKUP) for value in (read(row) for read in columns)]
        yield "| " + " | ".join(cells) + " |\n"


def _rounded(speed: Optional[float]) -> Optional[float]:
    return None if speed is None else round(speed, 2)


# --- speeds -------------------------------------------------------------------------------------------------------


def histogram(speeds: Iterable[float]) -> Optional[Dict[str, Any]]:
    """None without a positive one. As many bins as Sturges' rule gives, 5 to 20; one when all are the same."""
    found = sorted(speed for speed in speeds if 0 < speed < math.inf)
    if not found:
        return None
    low, high = found[0], found[-1]
    shown = {"min": low, "max": high, "p50": percentile(found, 50), "p95": percentile(found, 95),
             "p99": percentile(found, 99)}
    count = min(20, max(5, math.ceil(math.log2(len(found))) + 1))
    width = (high - low) / count
    if width <= 0:
        return {"bins": [len(found)], "binSize": 0, **shown}
    bins = [0] * count
    for speed in found:
        bins[min(count - 1, int((speed - low) / width))] += 1
    return {"bins": bins, "binSize": width, **shown}


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Between two ranks it is interpolated."""
    rank = percent / 100 * (len(ordered) - 1)
    below = int(rank)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (rank - below)
