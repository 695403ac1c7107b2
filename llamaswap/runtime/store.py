"""Finished requests in SQLite: a file that outlives us, or memory.

Used by one thread, the recorder's, which also opens it; SQLite itself refuses any other. Nothing a disk does reaches
the caller: when the file cannot be used, rows go to memory, `fault` says why and the log says so once; the file is
tried again later and at the end, and what was kept meanwhile moves into it. A file that somebody has moved or deleted
is made anew.
"""
from __future__ import annotations

import logging
import math
import os
import sqlite3
import time
from operator import itemgetter
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple, TypeVar

from llamaswap.core.activity import Query, Row, histogram
from llamaswap.core.faults import Refused
from llamaswap.runtime.table import (
    MOST,
    Transaction,
    Unusable,
    conditions,
    insert,
    last_number,
    ordering,
    prepare,
    quick_values_of,
    read_rows,
    values_of,
)

log = logging.getLogger(__name__)

T = TypeVar("T")

BUSY_TIMEOUT = 2.0            # seconds; another program may read or copy the file
PEEK_TIMEOUT = 0.5
RETRY_PAUSE = 60.0            # between two looks at a file that could not be used
UPKEEP_PAUSE = 60.0           # between two looks for rows that are too old
QUERY_TIMEOUT = 5.0           # a query holds up the recorder
DELETED_AT_ONCE = 5_000
MAX_SPEEDS = 20_000           # the histograms are of the newest answers; more would be work of Python's, to no use
ROWS_IN_MEMORY = 1_000        # what llama-swap takes for zero and less
_INSTRUCTIONS = 200_000       # of SQLite's machine between two looks at the clock; about 10 ms


class Page(NamedTuple):
    """`total` is of all rows the query matches."""

    rows: List[Row]
    total: int


_number = itemgetter(0)
_TROUBLE = (sqlite3.Error, Unusable, OSError, ValueError, OverflowError)


class Store:
    """`path` None keeps to memory. A limit of 0 is none, but for the rows in memory. `on_fault` is called when `fault`,
    which anybody may read, has come, gone or become another."""

    def __init__(self, path: Optional[str], *, max_rows_in_memory: int = ROWS_IN_MEMORY, max_rows: int = 1_000_000,
                 max_age_days: int = 90, on_fault: Callable[[], Any] = lambda: None) -> None:
        self._path = path
        self._on_fault = on_fault
        self.reconfigure(max_rows_in_memory=max_rows_in_memory, max_rows=max_rows, max_age_days=max_age_days)
        self._db: Optional[sqlite3.Connection] = None
        self._is_file = False
        self._identity: Optional[Tuple[int, int]] = None      # of the file in use: device and inode
        self._count = 0                  # rows in the table
        self._retry_at = self._upkeep_at = math.inf
        self._refused = 0                # rows whose number was taken
        self._said = ""                  # of which fault the log knows
        self.fault = ""                  # why the file is not in use
        self.fault_epoch = 0.0           # since when

    def __repr__(self) -> str:
        return f"Store({self.state}, {self._count} rows)"

    @property
    def state(self) -> str:
        """`file`, `memory` as configured, or `memory: <why not the file>`."""
        if self._is_file:
            return "file"
        return f"memory: {self.fault}" if self.fault else "memory"

    def reconfigure(self, *, max_rows_in_memory: int, max_rows: int, max_age_days: int) -> None:
        """Takes effect with the next rows."""
        self._max_in_memory = max_rows_in_memory if max_rows_in_memory > 0 else ROWS_IN_MEMORY
        self._max_in_file = max_rows
        self._max_age = max_age_days * 86_400.0

    # --- opening and giving up -------------------------------------------------------------------------------------

    def open(self) -> None:
        self._upkeep_at = time.monotonic()
        if self._path is None or not self._try_file():
            self._use_memory()
        if self.fault:
            self._complain()

    def peek(self) -> int:
        """The last number in the file, before it is opened: opening it may take minutes, when llama-swap has written it
        for years. One beyond any when it cannot be told."""
        if self._path is None or not os.path.exists(self._path):
            return 0
        try:
            if not os.access(self._path, os.W_OK):      # see _try_file
                return beyond_any()
            db = sqlite3.connect(self._path, timeout=PEEK_TIMEOUT)
        except _TROUBLE:
            return beyond_any()
        try:
            return last_number(db)
        except _TROUBLE:
            return beyond_any()
        finally:
            _close(db)

    def close(self) -> None:
        self.retry()      # what memory holds would be lost now
        db, self._db = self._db, None
        if db is not None:
            _close(db)

    def move(self, path: Optional[str]) -> bool:
        """Go on in another file, or in memory. A file keeps what it has; what is in memory comes along, unless the new
        file has rows already: theirs would be the same numbers. False when a number may mean another row now."""
        if path == self._path:
            return True
        rows = [] if self.retry() else self._all()
        self.close()
        self._path, self.fault, self._said, self._refused = path, "", "", 0
        self.open()
        comes_along = bool(rows) and not self._count
        if comes_along:
            self.add(rows)
        self._on_fault()
        return comes_along and not self.fault

    def retry(self) -> bool:
        """Whether the file is in use, after another attempt if it was not. Rows in memory move into it."""
        if self._is_file or self._path is None or self._db is None:
            return self._is_file
        memory, rows = self._db, self._all()
        if not self._try_file():
            self._complain()
            return False
        _close(memory)
        self.add(rows)
        if self._is_file:
            self._said = ""
            log.info("the activity file %s is in use again", self._path)
            self._on_fault()
        return self._is_file

    def _try_file(self) -> bool:
        """Sets `fault` when it does not work, and leaves the rest as it was."""
        assert self._path is not None
        db = None
        try:
            # SQLite would leave files beside it that cannot be written either, and stay so when this one can be.
            if os.path.exists(self._path) and not os.access(self._path, os.W_OK):
                raise Unusable("attempt to write a readonly database")
            db = sqlite3.connect(self._path, timeout=BUSY_TIMEOUT, isolation_level=None)
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=NORMAL")      # without a sync for each row; a power cut may cost the last
            prepare(db, self._max_in_file)
            self._count = int(db.execute("SELECT count(*) FROM requests").fetchone()[0])
        except _TROUBLE as fault:
            self._failed(fault)
            if db is not None:
                _close(db)
            return False
        self._db, self._is_file, self.fault, self._retry_at = db, True, "", math.inf
        self._identity = self._find_identity()
        return True

    def _find_identity(self) -> Optional[Tuple[int, int]]:
        """None when there is no such file."""
        try:
            found = os.stat(self._path or "")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError:
            return self._identity      # nobody can tell, and SQLite goes on writing
        return found.st_dev, found.st_ino

    def _begin_anew(self) -> None:
        """SQLite would go on writing, without a complaint, into a file that nobody will ever find."""
        log.warning("the activity file %s was moved or deleted; a new one is begun", self._path)
        # order: the old file's log has the name that the new one's will have. Closing alone would not empty it into a
        # file that is elsewhere by now, and that file would lack its last rows.
        if self._db is not None:
            _checkpoint(self._db)
            _close(self._db)
        if not self._try_file():
            self._use_memory()
            self._complain()

    def _use_memory(self) -> None:
        self._db = sqlite3.connect(":memory:", isolation_level=None)
        self._is_file, self._count = False, 0
        prepare(self._db, 0)

    def _give_up(self, fault: Exception) -> None:
        self._failed(fault)
        if self._db is not None:
            _close(self._db)
        self._use_memory()
        self._complain()

    def _failed(self, fault: Exception) -> None:
        self.fault = str(fault) or type(fault).__name__
        self._retry_at = time.monotonic() + RETRY_PAUSE

    def _complain(self) -> None:
        """Once for each reason, however often the file is tried."""
        if self.fault != self._said:
            self._said, self.fault_epoch = self.fault, time.time()
            log.warning("the activity file %s cannot be used, the history is in memory: %s", self._path, self.fault)
            self._on_fault()

    def _run(self, work: Callable[[sqlite3.Connection], T], nothing: T) -> T:
        """Do it in the file or, if that fails, in memory; `nothing` when it cannot be done at all."""
        for _ in range(2):
            if self._db is None:
                break
            try:
                return work(self._db)
            except _TROUBLE as fault:
                if not self._is_file:
                    log.warning("activity: %s", fault)
                    break
                self._give_up(fault)
        return nothing

    def _ask(self, work: Callable[[sqlite3.Connection], T], nothing: T) -> T:
        """The same for questions, which may not take long: Refused."""
        deadline = time.monotonic() + QUERY_TIMEOUT

        def is_late() -> int:
            return time.monotonic() > deadline

        def timed(db: sqlite3.Connection) -> T:
            db.set_progress_handler(is_late, _INSTRUCTIONS)
            try:
                return work(db)
            except sqlite3.OperationalError as fault:
                if "interrupted" in str(fault):
                    raise Refused("the activity query takes too long; narrow it down", code="query_too_slow") from None
                raise
            finally:
                db.set_progress_handler(None, 0)
        return self._run(timed, nothing)

    # --- writing ---------------------------------------------------------------------------------------------------

    def add(self, rows: Sequence[Row]) -> None:
        if time.monotonic() >= self._retry_at:
            self.retry()
        if rows and self._is_file and self._find_identity() != self._identity:
            self._begin_anew()
        if time.monotonic() >= self._upkeep_at:
            self.prune()
        if rows:
            in_order = sorted(rows, key=_number)
            self._run(lambda db: self._insert_rows(db, in_order), None)

    def _insert_rows(self, db: sqlite3.Connection, rows: List[Row]) -> None:
        try:
            self._insert(db, list(map(quick_values_of, rows)))
        except (TypeError, ValueError, OverflowError, sqlite3.InterfaceError, sqlite3.ProgrammingError):
            self._insert(db, list(map(values_of, rows)))

    def _insert(self, db: sqlite3.Connection, values: List[Tuple[Any, ...]]) -> None:
        with Transaction(db):
            removed, values = self._make_room(db, values)
            before = db.total_changes
            insert(db, values)
            added = db.total_changes - before
        self._count += added - removed
        if added < len(values):
            if not self._refused:
                log.warning("%d requests were not stored, since their numbers are taken; is another program using %s?",
                            len(values) - added, self._path)
            self._refused += len(values) - added

    def _make_room(self, db: sqlite3.Connection,
                   values: List[Tuple[Any, ...]]) -> Tuple[int, List[Tuple[Any, ...]]]:
        """Drop what is oldest of the rows there are and of the new ones, which are in order."""
        limit = self._max_in_file if self._is_file else self._max_in_memory
        excess = self._count + len(values) - limit
        if limit <= 0 or excess <= 0:
            return 0, values
        excess = min(excess, len(values) + DELETED_AT_ONCE)
        oldest = [found for (found,) in db.execute("SELECT id FROM requests ORDER BY id LIMIT ?", (excess,))]
        last = sorted([*oldest, *(value[0] for value in values)])[excess - 1]
        removed = db.execute("DELETE FROM requests WHERE id <= ?", (last,)).rowcount
        return removed, [value for value in values if value[0] > last]

    def prune(self) -> int:
        """Remove rows that are too old or too many, and not so many at once that requests would wait for it. How many
        it were; the next call goes on."""
        self._upkeep_at = time.monotonic() + UPKEEP_PAUSE
        removed = self._run(self._delete_old, 0)
        self._count -= removed
        if removed >= DELETED_AT_ONCE:
            self._upkeep_at = time.monotonic()
        return removed

    def _delete_old(self, db: sqlite3.Connection) -> int:
        removed = 0
        if self._max_age > 0:
            removed = db.execute("DELETE FROM requests WHERE id IN (SELECT id FROM requests WHERE at_epoch < ? "
                                 "ORDER BY at_epoch LIMIT ?)",
                                 (time.time() - self._max_age, DELETED_AT_ONCE)).rowcount
        limit = self._max_in_file if self._is_file else self._max_in_memory
        excess = min(self._count - removed - limit, DELETED_AT_ONCE - removed)
        if limit > 0 and excess > 0:
            removed += db.execute("DELETE FROM requests WHERE id IN (SELECT id FROM requests ORDER BY id LIMIT ?)",
                                  (excess,)).rowcount
        return removed

    # --- reading ---------------------------------------------------------------------------------------------------

    def last_id(self) -> int:
        """0 without rows; numbers go on from here. While the file cannot be read, one beyond any in it, or rows that
        move into it later would meet others of the same numbers."""
        last = int(self._run(lambda db: db.execute("SELECT max(id) FROM requests").fetchone()[0], 0) or 0)
        return max(last, beyond_any()) if self.fault else last

    def row(self, number: int) -> Optional[Row]:
        if not 0 < number <= MOST:
            return None
        nobody: List[Row] = []
        found = self._ask(lambda db: read_rows(db, "WHERE id = ?", [number]), nobody)
        return found[0] if found else None

    def page(self, query: Query) -> Page:
        where, values = conditions(query)
        order = ordering(query)
        skipped = min((query.page - 1) * query.limit, MOST)

        def find(db: sqlite3.Connection) -> Page:
            # Without a condition SQLite counts pages; even one that is always true makes it look at the rows.
            counted = f"SELECT count(*) FROM requests {where if values or query.statuses or query.errors else ''}"
            total = db.execute(counted, values).fetchone()[0]
            # Numbers first: sorting whole rows costs several times as much.
            rows = read_rows(db, f"WHERE id IN (SELECT id FROM requests {where} {order} LIMIT ? OFFSET ?) {order}",
                         [*values, query.limit, skipped]) if skipped < total else []
            return Page(rows, total)
        return self._ask(find, Page([], 0))

    def rows(self, query: Query, after: Optional[int], most: int) -> List[Row]:
        """The next rows of an export, in the order of their numbers; `after` is the last one had, None to begin.

        Rows that arrive meanwhile neither repeat nor hide any.
        """
        where, values = conditions(query)
        if after is not None:
            where += f" AND id {'<' if query.order == 'desc' else '>'} ?"
            values.append(after)
        return self._ask(lambda db: read_rows(db, f"{where} ORDER BY id {query.order} LIMIT ?", [*values, most]), [])

    def stats(self, query: Query) -> Dict[str, Any]:
        """Sums over all rows the query matches; histograms of the newest MAX_SPEEDS of them."""
        where, values = conditions(query)

        def find(db: sqlite3.Connection) -> Dict[str, Any]:
            totals = db.execute("SELECT count(*), total(input_tokens), total(output_tokens), total(cached_tokens) "
                                f"FROM requests {where}", values).fetchone()
            speeds = db.execute(f"SELECT prompt_per_second, tokens_per_second FROM requests {where} "
                                "AND (prompt_per_second > 0 OR tokens_per_second > 0) ORDER BY id DESC LIMIT ?",
                                [*values, MAX_SPEEDS]).fetchall()
            sums = [int(total) if math.isfinite(total) else MOST for total in totals[1:]]
            return {"total_requests": totals[0], "total_input_tokens": sums[0], "total_output_tokens": sums[1],
                    "total_cache_tokens": sums[2],
                    "prompt_histogram": histogram(speed for speed, _ in speeds if isinstance(speed, float)),
                    "gen_histogram": histogram(speed for _, speed in speeds if isinstance(speed, float))}
        return self._ask(find, {"total_requests": 0, "total_input_tokens": 0, "total_output_tokens": 0,
                                "total_cache_tokens": 0, "prompt_histogram": None, "gen_histogram": None})

    def _all(self) -> List[Row]:
        return self._run(lambda db: read_rows(db, "ORDER BY id", []), [])


def beyond_any() -> int:
    """A number that no request has had: there was never one in each millisecond since 1970."""
    return int(time.time() * 1000)


def _checkpoint(db: sqlite3.Connection) -> None:
    try:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.Error as fault:
        log.debug("activity: %s", fault)


def _close(db: sqlite3.Connection) -> None:
    try:
        db.close()
    except sqlite3.Error as fault:
        log.debug("activity: %s", fault)
