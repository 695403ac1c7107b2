"""The table of finished requests: its columns, its rows as values, and queries as SQL.

It is our own, `requests`. A file written by llama-swap has a table `activity`, of which the rows are copied once; the
table itself is never written, so that going back works. `user_version`, which llama-swap does not use, is the version
of our table; a file with one that we do not know is left alone.
"""
from __future__ import annotations

import json
import math
import sqlite3
from functools import lru_cache
from itertools import chain
from typing import Any, Dict, List, Sequence, Tuple

from llamaswap.core.activity import BROKEN, ERROR, OK, SORTS, Query, Row

SCHEMA_VERSION = 1
MOST = 2 ** 63 - 1            # SQLite's integers

# In the order of Row's fields; the columns have their names.
_TYPES: Dict[str, str] = {
    "id": "INTEGER PRIMARY KEY", "at_epoch": "REAL", "is_stream": "INTEGER", "is_measured": "INTEGER",
    "prompt_per_second": "REAL", "tokens_per_second": "REAL",
    **dict.fromkeys(("status", "queue_ms", "load_ms", "ttft_ms", "duration_ms", "req_bytes", "resp_bytes",
                     "input_tokens", "cached_tokens", "output_tokens", "drafted_tokens", "accepted_tokens"), "INTEGER"),
}
_KINDS = tuple({"INTEGER PRIMARY KEY": int, "INTEGER": int, "REAL": float}.get(_TYPES.get(name, ""), str)
               for name in Row._fields)
_UNKNOWABLE = frozenset(("ttft_ms", "input_tokens", "cached_tokens", "output_tokens", "drafted_tokens",
                         "accepted_tokens", "prompt_per_second", "tokens_per_second"))
_SCHEMA = (
    "CREATE TABLE requests (" + ", ".join(f"{name} {_TYPES.get(name, 'TEXT')}" for name in Row._fields) + ")",
    "CREATE INDEX requests_at ON requests (at_epoch)",
    "CREATE INDEX requests_model ON requests (model)",
    "CREATE INDEX requests_session ON requests (session) WHERE session <> ''",
)
# Two programs on one file would give the same numbers; neither may overwrite what the other has stored.
_PLACES = f"({', '.join('?' * len(Row._fields))})"
INSERT = f"INSERT OR IGNORE INTO requests VALUES {_PLACES}"
# The interpreter is given away and taken again once for each statement, which among busy threads costs more than a row.
# Older SQLite takes 999 values at most.
ROWS_PER_INSERT = 999 // len(Row._fields)
INSERT_MANY = f"INSERT OR IGNORE INTO requests VALUES {', '.join([_PLACES] * ROWS_PER_INSERT)}"
# llama-swap writes -1 for unknown, and zeros where nothing could be read.
_IMPORT = f"""
INSERT INTO requests ({', '.join(Row._fields)})
SELECT id, ts_created, model_id, model_id, 'POST', req_path, resp_content_type, resp_status_code,
       CASE WHEN resp_status_code BETWEEN 200 AND 399 THEN '{OK}' ELSE '{ERROR}' END, error_msg, '', '', '', '',
       resp_content_type LIKE '%event-stream%', 0, 0, NULL, duration_ms, 0, 0,
       CASE WHEN input_tokens > 0 OR output_tokens > 0 THEN input_tokens END,
       CASE WHEN cache_tokens >= 0 AND (input_tokens > 0 OR output_tokens > 0) THEN cache_tokens END,
       CASE WHEN input_tokens > 0 OR output_tokens > 0 THEN output_tokens END,
       CASE WHEN draft_tokens > 0 THEN draft_tokens END,
       CASE WHEN draft_tokens > 0 THEN draft_acc_tokens END,
       CASE WHEN prompt_per_second > 0 THEN prompt_per_second END,
       CASE WHEN tokens_per_second > 0 THEN tokens_per_second END, 0, metadata_json
FROM activity WHERE id > 0 ORDER BY id DESC LIMIT ?"""
_THEIRS = frozenset((
    "id", "ts_created", "model_id", "req_path", "resp_content_type", "resp_status_code", "cache_tokens", "draft_tokens",
    "draft_acc_tokens", "input_tokens", "output_tokens", "prompt_per_second", "tokens_per_second", "duration_ms",
    "error_msg", "metadata_json"))


class Unusable(Exception):
    """The file is sound, but not ours to write."""


class Transaction:
    """All or nothing. `with connection` would not begin one by itself."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: Any, fault: Any, trace: Any) -> None:
        if kind is None:
            self._db.execute("COMMIT")
        elif self._db.in_transaction:      # a full disk may have rolled it back already
            self._db.execute("ROLLBACK")


def prepare(db: sqlite3.Connection, max_rows: int) -> None:
    """Create what is missing, in one transaction. Unusable when it is somebody else's file."""
    db.text_factory = _text      # a file of llama-swap's may hold any bytes
    with Transaction(db):
        version = db.execute("PRAGMA user_version").fetchone()[0]
        tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if version == SCHEMA_VERSION and "requests" in tables:
            if _columns(db, "requests") != Row._fields:
                raise Unusable("its table requests is not ours")
        elif version or "requests" in tables:
            raise Unusable("it was written by a newer version of this program, or by another one")
        else:
            for statement in _SCHEMA:
                db.execute(statement)
            if _THEIRS.issubset(_columns(db, "activity")):      # any other table is none of theirs, or a later one
                db.execute(_IMPORT, (max_rows if max_rows > 0 else -1,))
        # Also when it is there: a disk that is full or read-only is to be found now, not with the first row.
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def last_number(db: sqlite3.Connection) -> int:
    """Of our rows, and of those of llama-swap that may not have been copied yet. 0 without any."""
    tables = [table for table in ("requests", "activity") if "id" in _columns(db, table)]
    found = [db.execute(f"SELECT max(id) FROM {table}").fetchone()[0] for table in tables]
    return max([0, *(number for number in found if isinstance(number, int))])


def _columns(db: sqlite3.Connection, table: str) -> Tuple[str, ...]:
    return tuple(column[1] for column in db.execute(f"PRAGMA table_info({table})"))


# --- rows to values and back -----------------------------------------------------------------------------------------


def quick_values_of(row: Row) -> Tuple[Any, ...]:
    """For rows as they should be. SQLite refuses others, and then values_of() is for all of them."""
    return (*row[:-1], _metadata_text(tuple(row.metadata.items())) if row.metadata else "")


@lru_cache(maxsize=256)
def _metadata_text(items: Tuple[Tuple[str, Any], ...]) -> str:
    return json.dumps(dict(items))


def values_of(row: Row) -> Tuple[Any, ...]:
    return (*[_value(value) for value in row[:-1]], json.dumps(dict(row.metadata), default=str) if row.metadata else "")


def _value(value: Any) -> Any:
    """As SQLite can hold it: no halves of surrogate pairs, nothing over 64 bits, no infinity."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "replace").decode()
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int):
        return max(-MOST, min(MOST, value))
    return value if not isinstance(value, float) or math.isfinite(value) else None


def insert(db: sqlite3.Connection, values: Sequence[Tuple[Any, ...]]) -> None:
    """Rows whose numbers are taken are left out."""
    whole = len(values) - len(values) % ROWS_PER_INSERT
    db.executemany(INSERT_MANY, (tuple(chain.from_iterable(values[first:first + ROWS_PER_INSERT]))
                                 for first in range(0, whole, ROWS_PER_INSERT)))
    db.executemany(INSERT, values[whole:])


def read_rows(db: sqlite3.Connection, rest: str, values: Sequence[Any]) -> List[Row]:
    return [_row(found) for found in db.execute(f"SELECT * FROM requests {rest}", values)]


def _row(found: Tuple[Any, ...]) -> Row:
    if not _is_sound(tuple(map(type, found))) or math.inf in found or -math.inf in found:
        found = tuple(map(_repaired, Row._fields, _KINDS, found))
    row = Row._make(found)
    return row._replace(is_stream=bool(row.is_stream), is_measured=bool(row.is_measured), metadata=_metadata(found[-1]))


@lru_cache(maxsize=1024)
def _is_sound(types: Tuple[type, ...]) -> bool:
    """SQLite keeps to no types, and one row that somebody else has written must not cost a page of them."""
    return all(found is kind or found is type(None) and name in _UNKNOWABLE
               for name, kind, found in zip(Row._fields, _KINDS, types))


def _repaired(name: str, kind: type, value: Any) -> Any:
    if kind is str:
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else "" if value is None else str(value)
    if not isinstance(value, (int, float)) or not math.isfinite(value):
        return None if name in _UNKNOWABLE else kind()
    return kind(value)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _metadata(text: Any) -> Dict[str, str]:
    if not text or text == "{}":
        return {}
    try:
        found = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        return {}
    return {str(key): str(value) for key, value in found.items()} if isinstance(found, dict) else {}


# --- queries to SQL --------------------------------------------------------------------------------------------------


def conditions(query: Query) -> Tuple[str, List[Any]]:
    """Always a WHERE, so that more can be AND-ed to it."""
    parts: List[str] = ["1"]
    values: List[Any] = []

    def add(part: str, *more: Any) -> None:
        parts.append(part)
        values.extend(more)

    for column, wanted in (("model", query.models), ("outcome", query.outcomes), ("client", query.clients),
                           ("session", query.sessions)):
        if wanted:
            add(f"{column} IN ({', '.join('?' * len(wanted))})", *wanted)
    if query.sessions:
        add("session <> ''")      # or SQLite does not see that the index has them all
    if query.statuses or query.errors:
        codes = [f"status BETWEEN {first:d} AND {last:d}" for first, last in query.statuses]
        failed = [f"status >= 400 OR outcome IN ('{ERROR}', '{BROKEN}')"] if query.errors else []
        add(f"({' OR '.join(codes + failed)})")
    if query.path.startswith("="):
        add("path = ?", query.path[1:])
    elif query.path:
        add("instr(path, ?) > 0", query.path)
    if query.text:
        columns = ("error", "path", "model", "requested")
        add(f"({' OR '.join(f'instr(lower({column}), lower(?)) > 0' for column in columns)})",
            *[query.text] * len(columns))
    if query.since is not None:
        add("at_epoch >= ?", math.floor(query.since))
    if query.until is not None:
        add("at_epoch < ?", math.floor(query.until) + 1)
    if query.min_id is not None:
        add("id >= ?", query.min_id)
    if query.max_id is not None:
        add("id <= ?", query.max_id)
    return "WHERE " + " AND ".join(parts), values


def ordering(query: Query) -> str:
    """Ties are in the order of their numbers, in the same direction. Unknown is last in both."""
    column = SORTS[query.sort]
    known = f"{column} IS NULL, " if column.endswith(("_tokens", "_per_second")) else ""
    return f"ORDER BY {known}{column} {query.order}, id {query.order}"
