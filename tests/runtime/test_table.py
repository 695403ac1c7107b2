"""Each filter finds the rows it names; a file of somebody else's is taken over or left alone."""
from __future__ import annotations

import json
import math
import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamaswap.core.activity import (
    OUTCOMES,
    SORTS,
    Query,
    Row,
    csv_lines,
    jsonl_lines,
    markdown_lines,
    parse_query,
    row_json,
)
from llamaswap.core.faults import ClientFault
from llamaswap.runtime.table import (
    MOST,
    ROWS_PER_INSERT,
    Unusable,
    conditions,
    insert,
    ordering,
    prepare,
    read_rows,
    values_of,
)
from tests.support.rows import EPOCH, row

# As llama-swap's first migration makes it.
THEIRS = """
CREATE TABLE activity (id INTEGER PRIMARY KEY AUTOINCREMENT, ts_created INTEGER NOT NULL, model_id TEXT NOT NULL,
 req_path TEXT NOT NULL DEFAULT '', resp_content_type TEXT NOT NULL DEFAULT '', resp_status_code INTEGER NOT NULL
 DEFAULT 0, cache_tokens INTEGER NOT NULL DEFAULT 0, draft_tokens INTEGER NOT NULL DEFAULT 0, draft_acc_tokens INTEGER
 NOT NULL DEFAULT 0, input_tokens INTEGER NOT NULL DEFAULT 0, output_tokens INTEGER NOT NULL DEFAULT 0,
 prompt_per_second REAL NOT NULL DEFAULT 0, tokens_per_second REAL NOT NULL DEFAULT 0, duration_ms INTEGER NOT NULL
 DEFAULT 0, error_msg TEXT NOT NULL DEFAULT '', metadata_json TEXT NOT NULL DEFAULT '')
"""


@pytest.fixture
def db():
    made = sqlite3.connect(":memory:", isolation_level=None)
    yield made
    made.close()


def filled(db, *rows):
    prepare(db, 0)
    insert(db, [values_of(row) for row in rows])
    return db


def found(db, query):
    where, values = conditions(query)
    return [each.id for each in read_rows(db, f"{where} {ordering(query)}", values)]


ROWS = [
    row(1, model="a", session="s1", client="::1"),
    row(2, model="b", path="/v1/embeddings", status=404, outcome="error", error="No Such THING"),
    row(3, model="b/c", status=502, outcome="broken", session="s1", output_tokens=None),
    row(4, model="a", status=499, outcome="client_gone", requested="x%_y", output_tokens=5),
    row(5, model="a", status=200, outcome="cancelled", output_tokens=0, duration_ms=1),
]


@pytest.mark.parametrize("query, ids", [
    ("", [5, 4, 3, 2, 1]), ("order=asc", [1, 2, 3, 4, 5]),
    ("model=a", [5, 4, 1]), ("model=b&model=b/c", [3, 2]), ("model=A", []),
    ("status=200", [5, 1]), ("status=4xx", [4, 2]), ("status=5xx,404", [3, 2]), ("status=error", [4, 3, 2]),
    ("status=error&model=a", [4]), ("outcome=ok,cancelled", [5, 1]),
    ("path=embed", [2]), ("path=/V1", []), ("path==/v1/embeddings", [2]), ("path==/v1", []), ("path=%25", []),
    ("client=::1", [1]), ("session=s1", [3, 1]), ("session=s1&model=a", [1]),
    ("q=such", [2]), ("q=EMBED", [2]), ("q=B/C", [3]), ("q=%25_", [4]), ("q=%00", []), ("q='", []),
    ("min_id=2&max_id=4", [4, 3, 2]), ("min_id=999999999999999999", []),
    (f"from={EPOCH + 2}&to={EPOCH + 3}", [3, 2]), (f"from={EPOCH + 2.9}&to={EPOCH + 3.1}", [3, 2]),
    ("sort=generated", [2, 1, 4, 5, 3]), ("sort=generated&order=asc", [5, 4, 1, 2, 3]),
    ("sort=duration&order=asc", [5, 1, 2, 3, 4]), ("sort=time", [5, 4, 3, 2, 1]),
    ("sort=model&order=asc", [1, 4, 5, 2, 3]),
])
def test_filters_and_orders(db, query, ids):
    assert found(filled(db, *ROWS), parse_query(query)) == ids


def test_every_sort_word_sorts(db):
    filled(db, *ROWS)
    for word in SORTS:
        for order in ("asc", "desc"):
            assert sorted(found(db, Query(sort=word, order=order))) == [1, 2, 3, 4, 5]


@given(st.lists(st.tuples(st.sampled_from(["model", "path", "q", "session", "status", "from", "to", "min_id", "sort"]),
                          st.text(max_size=10)), max_size=4))
def test_any_query_is_sql(pairs):
    db = filled(sqlite3.connect(":memory:", isolation_level=None), *ROWS)
    try:
        found(db, parse_query(pairs))
    except ClientFault:
        pass
    finally:
        db.close()


def test_indices_are_used(db):
    filled(db, *ROWS)
    for query, index in (("model=a", "requests_model"), ("session=s", "requests_session"),
                         ("from=1&to=2&sort=time", "requests_at")):
        where, values = conditions(parse_query(query))
        plan = db.execute(f"EXPLAIN QUERY PLAN SELECT count(*) FROM requests {where}", values).fetchall()
        assert index in plan[0][-1]


# --- values


@given(st.integers(), st.floats(), st.text(), st.dictionaries(st.text(), st.text(), max_size=3))
def test_any_row_can_be_stored(number, speed, text, metadata):
    db = filled(sqlite3.connect(":memory:", isolation_level=None),
                row(1, input_tokens=number, tokens_per_second=speed, model=text, metadata=metadata))
    back = read_rows(db, "", [])[0]
    db.close()
    assert back.model == text.encode("utf-8", "replace").decode()
    assert back.input_tokens == max(-MOST, min(MOST, number))
    assert back.tokens_per_second == (speed if math.isfinite(speed) else None)
    assert back.metadata == metadata


def test_a_row_comes_back_as_it_was(db):
    for each in (row(1), row(2, is_stream=True, is_measured=True, metadata={"selector": "x"}, ttft_ms=None,
                             prompt_per_second=None, model="a\ud800b\0c")):
        filled(db, each)
        assert read_rows(db, "WHERE id = ?", [each.id]) == [each._replace(model=each.model.replace("\ud800", "?"))]


def test_junk_in_the_file_is_read_somehow(db):
    filled(db, row(1), row(2))
    db.execute("UPDATE requests SET model = CAST(x'FF41' AS TEXT), at_epoch = NULL, metadata = '[1' WHERE id = 1")
    db.execute("UPDATE requests SET metadata = '{\"a\": 5}' WHERE id = 2")
    first, second = read_rows(db, "ORDER BY id", [])
    assert (first.model, first.at_epoch, first.metadata) == ("\ufffdA", 0.0, {}) and second.metadata == {"a": "5"}


@pytest.mark.parametrize("junk", ["'word'", "x'ff41'", "9e999", "-9e999", "NULL", "1.5", "9223372036854775807", "''"])
def test_one_row_of_junk_costs_no_page_of_them(db, junk):
    filled(db, row(1), row(2), row(3))
    columns = [name for name in Row._fields if name != "id"]
    db.execute(f"UPDATE requests SET {', '.join(f'{name} = {junk}' for name in columns)} WHERE id = 2")
    rows = read_rows(db, "ORDER BY id", [])
    assert [rows[0], rows[2]] == [row(1), row(3)]
    for name in ("model", "error", "client"):
        assert isinstance(getattr(rows[1], name), str)
    for name in ("status", "duration_ms", "resp_bytes", "input_tokens", "ttft_ms"):
        assert isinstance(getattr(rows[1], name), (int, type(None)))
    text = [*csv_lines(rows), *markdown_lines(rows), *jsonl_lines(rows, lambda number: False)]
    assert len(text) == 3 * 3 + 2
    json.dumps([row_json(each, False) for each in rows], allow_nan=False)


# --- whose file it is


def test_a_second_time_nothing_changes(db):
    filled(db, row(1))
    prepare(db, 0)
    assert db.execute("PRAGMA user_version").fetchone() == (1,) and found(db, Query()) == [1]


def test_rows_of_llama_swap_are_copied_once(db):
    db.execute(THEIRS)
    insert = f"INSERT INTO activity VALUES ({', '.join('?' * 16)})"
    db.execute(insert, (1, 1700000000, "p/m", "/v1/x", "application/json", 200, -1, -1, -1, 10, 20, -1.0, 5.5, 70, "",
                        '{"fifo_priority":"0"}'))
    db.execute(insert, (2, 1700000001, "m", "/v1/x", "text/event-stream", 200, 0, 0, 0, 0, 0, 0.0, 0.0, 7, "", ""))
    db.execute(insert, (4, 1700000002, "m", "/v1/x", "", 201, 3, 8, 5, 10, 20, 9.5, 5.5, 7, "", "{}"))
    db.execute(insert, (9, 1700000003, "m", "/v1/x", "", 500, 0, 0, 0, 0, 0, 0.0, 0.0, 7, "500 boom", ""))
    before = db.execute("SELECT * FROM activity").fetchall()
    prepare(db, 3)
    prepare(db, 3)
    second, fourth, ninth = read_rows(db, "ORDER BY id", [])
    assert (second.input_tokens, second.cached_tokens, second.tokens_per_second, second.is_stream) == (
        None, None, None, True)
    assert fourth[21:28] == (10, 3, 20, 8, 5, 9.5, 5.5) and (fourth.outcome, fourth.at_epoch) == ("ok", 1700000002)
    assert (ninth.outcome, ninth.error, ninth.metadata, ninth.is_stream) == ("error", "500 boom", {}, False)
    assert {second.outcome, ninth.outcome} <= set(OUTCOMES)
    assert db.execute("SELECT * FROM activity").fetchall() == before
    db.execute(insert, (10, 1700000003, "m", "/v1/x", "", 500, 0, 0, 0, 0, 0, 0.0, 0.0, 7, "", ""))


def test_all_rows_of_llama_swap_without_a_limit(db):
    db.execute(THEIRS)
    db.executemany("INSERT INTO activity (ts_created, model_id, input_tokens, cache_tokens) VALUES (?, 'm', 5, -1)",
                   [(second,) for second in range(50)])
    prepare(db, 0)
    rows = read_rows(db, "", [])
    assert len(rows) == 50 and (rows[0].input_tokens, rows[0].cached_tokens) == (5, None)


def test_another_table_of_that_name_is_none_of_theirs(db):
    db.execute("CREATE TABLE activity (id INTEGER, what TEXT)")
    prepare(db, 0)
    assert found(db, Query()) == []


@pytest.mark.parametrize("statement", ["PRAGMA user_version = 2", "CREATE TABLE requests (id INTEGER)",
                                       "CREATE TABLE requests (id INTEGER); PRAGMA user_version = 1"])
def test_what_is_not_ours_is_left_alone(db, statement):
    db.executescript(statement)
    before = db.execute("SELECT * FROM sqlite_master").fetchall()
    with pytest.raises(Unusable):
        prepare(db, 0)
    assert db.execute("SELECT * FROM sqlite_master").fetchall() == before and not db.in_transaction


@pytest.mark.parametrize("number", [0, 1, ROWS_PER_INSERT - 1, ROWS_PER_INSERT, 2 * ROWS_PER_INSERT + 3])
def test_any_number_of_rows_at_once_and_those_with_taken_numbers_are_left_out(db, number):
    filled(db, row(1, model="first"))
    insert(db, [values_of(row(each, model="later")) for each in range(1, number + 1)])
    kept = read_rows(db, "ORDER BY id", ())
    assert [each.id for each in kept] == list(range(1, max(1, number) + 1))
    assert [each.model for each in kept] == ["first", *["later"] * (number - 1)]
