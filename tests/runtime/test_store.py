"""The store over real files, and over files that cannot be used: what memory can hold is not lost, nothing raises."""
from __future__ import annotations

import logging
import os
import shutil
import sqlite3
import time
from contextlib import closing

import pytest

from llamaswap.core.activity import Query, parse_query
from llamaswap.core.faults import Refused
from llamaswap.runtime import store as module
from llamaswap.runtime.store import Store
from tests.support.rows import EPOCH, row


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "activity.db")


@pytest.fixture
def opened():
    made = []

    def open_store(path=None, **limits):
        store = Store(path, **{"max_age_days": 0, **limits})
        made.append(store)
        store.open()
        return store
    yield open_store
    for store in made:
        store.close()


def ids(store, query=""):
    return [each.id for each in store.page(parse_query(query + "&limit=999")).rows]


def fill(path):
    """Some rows in a file, which is then closed."""
    store = Store(path, max_age_days=0)
    store.open()
    store.add([row(1), row(2)])
    store.close()


# --- as it should be


def test_a_file_outlives_the_store(opened, path):
    store = opened(path)
    assert (store.state, store.last_id(), store.fault) == ("file", 0, "")
    store.add([row(3), row(1)])
    store.add([])
    store.close()
    again = opened(path)
    assert ids(again) == [3, 1] and again.last_id() == 3
    assert again.row(3) == row(3) and again.row(2) is again.row(0) is again.row(2 ** 70) is again.row(-1) is None


def test_memory(opened):
    store = opened()
    store.add([row(1)])
    assert (store.state, ids(store), store.last_id(), store.retry()) == ("memory", [1], 1, False)


def test_a_crash_costs_no_committed_row(opened, path):
    store = opened(path)
    store.add([row(1)])
    other = sqlite3.connect(path)
    assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert other.execute("SELECT count(*) FROM requests").fetchone() == (1,)
    other.close()


def test_pages(opened):
    store = opened()
    store.add([row(number, model="ab"[number % 2]) for number in range(1, 61)])
    page = store.page(Query())
    assert page.total == 60 and [each.id for each in page.rows] == list(range(60, 35, -1))
    assert [each.id for each in store.page(Query(page=3)).rows] == list(range(10, 0, -1))
    assert store.page(Query(page=4)) == store.page(Query(page=10 ** 18 - 1, limit=999)) == ([], 60)
    assert store.page(Query(models=("a",), limit=2)).total == 30
    assert store.page(Query(errors=True)) == ([], 0)


def test_an_export_goes_on_where_it_was(opened):
    store = opened()
    store.add([row(number, model="ab"[number % 2]) for number in range(1, 101)])
    for order, expected in (("desc", list(range(100, 0, -2))), ("asc", list(range(2, 101, 2)))):
        query, got, after = Query(models=("a",), order=order), [], None
        while True:
            rows = store.rows(query, after, 7)
            if not rows:
                break
            got += [each.id for each in rows]
            after = got[-1]
            if len(got) == 7:
                store.add([row(200, model="b")])
        assert got == expected


def test_stats(opened):
    store = opened()
    assert store.stats(Query()) == {
        "total_requests": 0, "total_input_tokens": 0, "total_output_tokens": 0, "total_cache_tokens": 0,
        "prompt_histogram": None, "gen_histogram": None}
    store.add([row(1), row(2, input_tokens=None, cached_tokens=None, prompt_per_second=None), row(3, model="x")])
    found = store.stats(Query(models=("m",)))
    assert (found["total_requests"], found["total_input_tokens"], found["total_output_tokens"],
            found["total_cache_tokens"]) == (2, 10, 40, 4)
    assert found["prompt_histogram"]["bins"] == [1] and found["gen_histogram"]["bins"] == [2]
    store.add([row(4, input_tokens=2 ** 62), row(5, input_tokens=2 ** 62), row(6, input_tokens=2 ** 62)])
    assert store.stats(Query())["total_input_tokens"] > 2 ** 63


@pytest.mark.parametrize("junk", ["'word'", "9e999", "-9e999", "x'ff'", "NULL"])
def test_stats_of_a_file_with_junk(opened, path, junk):
    fill(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute(f"UPDATE requests SET input_tokens = {junk}, prompt_per_second = {junk}, tokens_per_second = {junk} "
                   "WHERE id = 1")
    store = opened(path)
    found = store.stats(Query())
    assert found["total_requests"] == 2 and found["gen_histogram"]["bins"] == [1] and store.state == "file"


# --- bounds


def test_memory_keeps_the_newest(opened):
    store = opened(max_rows_in_memory=5)
    store.add([row(number) for number in range(1, 21)])
    assert ids(store) == [20, 19, 18, 17, 16]
    store.add([row(3), row(18 + 5), row(22)])
    assert ids(store) == [23, 22, 20, 19, 18]
    store.add([row(21)])
    assert ids(store) == [23, 22, 21, 20, 19]
    store.add([row(1)])
    assert ids(store) == [23, 22, 21, 20, 19]
    store.reconfigure(max_rows_in_memory=2, max_rows=0, max_age_days=0)
    store.prune()
    assert ids(store) == [23, 22]


def test_it_moves(opened, tmp_path):
    one, two = str(tmp_path / "one.db"), str(tmp_path / "two.db")
    store = opened()
    store.add([row(1), row(2)])
    store.move(None)
    assert ids(store) == [2, 1]
    store.move(one)
    assert store.state == "file" and ids(store) == [2, 1]
    store.add([row(3)])
    store.move(two)
    assert store.state == "file" and ids(store) == []
    store.add([row(7)])
    store.move(one)
    assert ids(store) == [3, 2, 1] and store.last_id() == 3
    store.move(None)
    assert store.state == "memory" and ids(store) == []
    store.add([row(1, model="other")])
    store.move(two)
    assert ids(store) == [7]


def test_it_moves_away_from_a_file_that_cannot_be_used(opened, tmp_path):
    store = opened(str(tmp_path / "no" / "a.db"))
    store.add([row(1)])
    assert store.fault
    store.move(str(tmp_path / "a.db"))
    assert store.state == "file" and not store.fault and ids(store) == [1]
    store.move(str(tmp_path / "no" / "a.db"))
    assert store.fault and ids(store) == []


def test_no_limit_in_memory_is_the_usual_one(opened):
    for limit in (0, -5):
        store = opened(max_rows_in_memory=limit)
        store.add([row(number) for number in range(1, 1203)])
        assert store.page(Query()).total == 1000


def test_a_file_keeps_max_rows(opened, path):
    store = opened(path, max_rows=10)
    for number in range(1, 31, 3):
        store.add([row(number), row(number + 1), row(number + 2)])
        assert store.page(Query()).total <= 10
    assert ids(store) == list(range(30, 20, -1))
    store.close()
    store = opened(path, max_rows=4)
    store.prune()
    assert ids(store) == [30, 29, 28, 27]


def test_no_limit(opened, path):
    store = opened(path, max_rows=0)
    store.add([row(number, at_epoch=1.0) for number in range(1, 3001)])
    assert (store.prune(), store.page(Query()).total) == (0, 3000)


def test_much_is_removed_piece_by_piece(opened, path, monkeypatch):
    store = opened(path, max_rows=0)
    store.add([row(number) for number in range(1, 101)])
    monkeypatch.setattr(module, "DELETED_AT_ONCE", 30)
    store.reconfigure(max_rows_in_memory=0, max_rows=10, max_age_days=0)
    assert store.prune() == 30
    store.add([row(101)])           # whose upkeep goes on at once, and which makes room besides
    assert store.prune() == 0 and store.page(Query()).total == 10


def test_age(opened, path):
    now = time.time()
    for where in (None, path):
        store = opened(where, max_age_days=1)
        store.add([row(1, at_epoch=now - 86_460), row(2, at_epoch=now - 86_340), row(3, at_epoch=now - 200_000)])
        assert store.prune() == 2 and ids(store) == [2]
        assert store.prune() == 0


def test_upkeep_needs_no_quiet_moment(opened, monkeypatch):
    monkeypatch.setattr(module, "UPKEEP_PAUSE", 0.0)
    store = opened(max_age_days=1)
    store.add([row(1)])
    store.add([row(2, at_epoch=time.time())])
    assert ids(store) == [2]


def test_a_number_is_given_once(opened, path, caplog):
    first, second = opened(path), opened(path)
    first.add([row(1, model="first")])
    with caplog.at_level(logging.WARNING):
        second.add([row(1, model="second"), row(2)])
        second.add([row(2), row(1)])
    assert [each.model for each in first.page(Query(order="asc")).rows] == ["first", "m"]
    assert len(caplog.records) == 1 and "another program" in caplog.text


# --- files that cannot be used


def not_a_database(path):
    with open(path, "wb") as file:
        file.write(b"this is no database at all " * 100)


def newer(path):
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 99")
    db.close()


@pytest.mark.parametrize("spoil", [not_a_database, newer, os.mkdir])
def test_memory_instead(opened, path, caplog, spoil):
    spoil(path)
    with caplog.at_level(logging.WARNING):
        store = opened(path)
        for number in range(5):
            store.add([row(number + 1)])
            assert not store.retry()
    assert ids(store) == [5, 4, 3, 2, 1]
    assert store.state.startswith("memory: ") and store.fault in caplog.text and len(caplog.records) == 1


def test_a_missing_directory_that_is_made_later(opened, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(module, "RETRY_PAUSE", 0.0)
    path = str(tmp_path / "not" / "yet" / "x.db")
    store = opened(path)
    before = int(time.time() * 1000)
    first = store.last_id() + 1
    assert first > before - 60_000       # beyond whatever the file has
    store.add([row(first)])
    assert store.state.startswith("memory: ")
    os.makedirs(os.path.dirname(path))
    fill(path)
    with caplog.at_level(logging.INFO):
        store.add([row(first + 1)])
    assert store.state == "file" and "in use again" in caplog.text
    assert ids(store) == [first + 1, first, 2, 1] and store.last_id() == first + 1


@pytest.mark.parametrize("how", ["deleted", "moved", "replaced"])
def test_a_file_that_is_moved_or_deleted_is_made_anew(opened, path, caplog, how):
    fill(path)
    store = opened(path)
    store.add([row(3)])
    if how == "deleted":
        for name in os.listdir(os.path.dirname(path)):
            os.unlink(os.path.join(os.path.dirname(path), name))
    else:
        os.rename(path, path + ".old")
    if how == "replaced":
        fill(path)
    with caplog.at_level(logging.INFO):
        store.add([row(4)])
        store.add([row(5)])
    expected = [5, 4, 2, 1] if how == "replaced" else [5, 4]
    assert ids(store) == expected and store.state == "file" and len(caplog.records) == 1
    store.close()
    assert ids(opened(path)) == expected
    if how == "moved":
        assert ids(opened(path + ".old")) == [3, 2, 1]


def test_a_directory_that_is_deleted(opened, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "RETRY_PAUSE", 0.0)
    path = str(tmp_path / "sub" / "x.db")
    os.mkdir(os.path.dirname(path))
    store = opened(path)
    store.add([row(1)])
    shutil.rmtree(os.path.dirname(path))
    store.add([row(2)])
    assert store.state.startswith("memory: ") and ids(store) == [2]
    os.mkdir(os.path.dirname(path))
    store.add([row(3)])
    assert store.state == "file" and ids(store) == [3, 2]


def test_a_path_that_is_none(opened):
    for path in ("a\0b", "/proc/nothing/x.db", "/dev/null/x"):
        store = opened(path)
        store.add([row(1)])
        assert store.state.startswith("memory: ") and ids(store) == [1]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_file_that_is_read_only(opened, path):
    fill(path)
    os.chmod(path, 0o400)
    store = opened(path)
    store.add([row(3)])
    assert store.state.startswith("memory: ") and ids(store) == [3]
    os.chmod(path, 0o600)
    assert store.retry() and ids(store) == [3, 2, 1]


def test_a_full_disk(opened, path, caplog, monkeypatch):
    store = opened(path)
    store.add([row(1)])
    pages = store._db.execute("PRAGMA page_count").fetchone()[0]
    store._db.execute(f"PRAGMA max_page_count = {pages}")
    rows = [row(number, error="x" * 500) for number in range(2, 102)]
    with caplog.at_level(logging.WARNING):
        store.add(rows)
        store.add([row(102)])
    assert store.state == "memory: database or disk is full" and store.page(Query()).total == 101
    assert len(caplog.records) == 1
    assert store.retry() and store.page(Query()).total == 102       # there is room again


def test_a_full_disk_is_complained_about_once(opened, path, caplog, monkeypatch):
    def is_full(db, values):
        raise sqlite3.OperationalError("database or disk is full")
    store = opened(path)
    monkeypatch.setattr(module, "RETRY_PAUSE", 0.0)
    monkeypatch.setattr(store, "_insert", lambda db, values, insert=store._insert:
                        is_full(db, values) if store._is_file else insert(db, values))
    with caplog.at_level(logging.INFO):
        for number in range(1, 6):
            store.add([row(number)])
    assert ids(store) == [5, 4, 3, 2, 1] and len(caplog.records) == 1


def test_a_file_that_breaks_while_it_is_read(opened, path):
    fill(path)
    store = opened(path)
    store.add([row(3)])
    store._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    store._db.execute("PRAGMA cache_size = 0")
    with open(path, "r+b") as file:
        file.seek(0)
        file.write(b"\xff" * os.path.getsize(path))
    for ask in (lambda: store.page(Query()), lambda: store.stats(Query()), lambda: store.row(1), store.last_id,
                lambda: store.rows(Query(), None, 5), store.prune, lambda: store.add([row(4)])):
        ask()
    assert store.state.startswith("memory: ") and ids(store) == [4]


def test_a_locked_file(opened, path, monkeypatch):
    monkeypatch.setattr(module, "BUSY_TIMEOUT", 0.05)
    fill(path)
    store = opened(path)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    store.add([row(3)])
    assert store.state == "memory: database is locked" and ids(store) == [3]
    other.execute("COMMIT")
    other.close()
    assert store.retry() and ids(store) == [3, 2, 1]


def test_at_the_end_the_file_is_tried_once_more(opened, path, monkeypatch):
    monkeypatch.setattr(module, "BUSY_TIMEOUT", 0.05)
    fill(path)
    store = opened(path)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    store.add([row(3)])
    other.execute("COMMIT")
    other.close()
    store.close()
    assert ids(opened(path)) == [3, 2, 1]


def test_a_row_that_nobody_can_store_costs_the_others_nothing(opened, caplog):
    store = opened()
    store.add([row(1, model=object())])
    store.add([row(2, metadata={"x": object()}), row(2, model="b", error="other"), row(2, model="b")])
    assert ids(store) == [2] and "activity" in caplog.text


def test_after_the_end_nothing_is_there(opened):
    store = opened()
    store.add([row(1)])
    store.close()
    store.close()
    store.add([row(2)])
    assert (store.page(Query()).total, store.last_id(), store.row(1), store.rows(Query(), None, 5)) == (0, 0, None, [])
    assert store.stats(Query())["total_requests"] == 0 and not store.retry()


def test_a_question_that_takes_too_long_is_refused(opened, path, monkeypatch):
    store = opened(path)
    store.add([row(number) for number in range(1, 501)])
    monkeypatch.setattr(module, "_INSTRUCTIONS", 100)
    monkeypatch.setattr(module, "QUERY_TIMEOUT", -1.0)
    with pytest.raises(Refused) as refused:
        store.page(Query(text="x"))
    assert refused.value.status == 503
    monkeypatch.setattr(module, "QUERY_TIMEOUT", 60.0)
    assert store.page(Query()).total == 500 and store.state == "file"


def test_it_stays_quick_with_many_rows(opened, path):
    """Bounds that only something without an index, or quadratic, would miss."""
    store = opened(path, max_rows=30_000)
    for start in range(1, 40_001, 2_000):
        store.add([row(number, model=f"m{number % 7}", error="x" * (number % 50))
                   for number in range(start, start + 2_000)])
    started = time.monotonic()
    for query in ("", "model=m1", "status=error", "q=nothing", "sort=duration&order=asc", f"from={EPOCH + 39_000}",
                  "page=1000"):
        store.page(parse_query(query))
        store.stats(parse_query(query))
    assert store.page(Query()).total == 30_000
    assert time.monotonic() - started < 20


@pytest.mark.parametrize("table", ["requests", "activity"])
def test_the_last_number_is_known_before_the_file_is_opened(path, table):
    assert Store(None).peek() == Store(path).peek() == 0 and not os.path.exists(path)
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"CREATE TABLE {table} (id INTEGER PRIMARY KEY)")
        assert Store(path).peek() == 0
        db.execute(f"INSERT INTO {table} VALUES (41), (7)")
        db.commit()
    assert Store(path).peek() == 41


def test_the_last_number_of_a_file_that_is_none_is_beyond_any(path, tmp_path):
    with open(path, "wb") as file:
        file.write(b"x" * 5000)
    assert Store(path).peek() > 1_000_000_000_000 and Store(str(tmp_path)).peek() > 1_000_000_000_000
