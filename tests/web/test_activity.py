"""Handlers over a real store. Whatever a client writes is answered or refused, never an accident."""
from __future__ import annotations

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamaswap.core.faults import ClientFault, Refused
from llamaswap.runtime.store import Store
from llamaswap.web import activity as module
from llamaswap.web.activity import Activity
from tests.support.asked import asked, header, loaded, whole
from tests.support.rows import row


class Rig:
    def __init__(self):
        self.store = Store(None, max_rows_in_memory=10_000, max_age_days=0)
        self.store.open()
        self.captures = {3: {"id": 3, "req_path": "/x"}}
        self.live = [{"id": 9}]
        self.asked = 0
        self.refuses_after = 10 ** 9
        self.is_ending = False
        self.activity = Activity(self.ask, self.captures, lambda: self.live, lambda number: number == 9,
                                 lambda: self.is_ending)

    def ask(self, question):
        self.asked += 1
        if self.asked > self.refuses_after:
            raise Refused("busy")
        return question(self.store)

    def get(self, name, query="", rest="", method="GET"):
        return getattr(self.activity, name)(asked(method, "/x?" + query), rest)


@pytest.fixture
def rig():
    made = Rig()
    yield made
    made.store.close()


def refusal(rig, *args, **more):
    with pytest.raises(ClientFault) as refused:
        rig.get(*args, **more)
    return refused.value.status, refused.value.message


def test_an_empty_page(rig):
    assert loaded(rig.get("page")) == {"data": [], "page": 1, "limit": 25, "total": 0, "total_pages": 0}


def test_a_page(rig):
    rig.store.add([row(number, model="ab"[number % 2]) for number in range(1, 8)])
    found = loaded(rig.get("page", "model=b&limit=3&page=1"))
    assert [(each["id"], each["has_capture"]) for each in found["data"]] == [(7, False), (5, False), (3, True)]
    assert (found["page"], found["limit"], found["total"], found["total_pages"]) == (1, 3, 4, 2)
    assert loaded(rig.get("page", "page=99"))["data"] == []


def test_one_row(rig):
    rig.store.add([row(3), row(4)])
    assert [loaded(rig.get("row", rest=rest))["has_capture"] for rest in ("3", "4")] == [True, False]
    for rest in ("5", "", "x", "-3", "3/", "3.0", "9" * 400, "\udcff", "\0", "٣"):
        assert refusal(rig, "row", rest=rest) == (404, "request not found")


def test_captures(rig):
    assert loaded(rig.get("capture", rest="3"))["req_path"] == "/x"
    assert refusal(rig, "capture", rest="4") == (404, "capture not found")
    for rest in ("x", "", "-1", "3/x", "9" * 400, "\udcff", "1e3"):
        assert refusal(rig, "capture", rest=rest) == (400, "invalid capture ID")


def test_requests_under_way(rig):
    assert loaded(rig.get("inflight")) == {"requests": [{"id": 9}]}
    rig.live = ()
    assert loaded(rig.get("inflight")) == {"requests": []}
    assert loaded(rig.get("cancel", rest="9/cancel", method="POST")) == {"msg": "ok"}
    for rest in ("8/cancel", "9", "9/", "9/cancel/", "x/cancel", "/cancel", "9" * 99 + "/cancel", "\udcff/cancel"):
        assert refusal(rig, "cancel", rest=rest, method="POST")[0] == 404


def test_stats_take_every_filter(rig):
    rig.store.add([row(1), row(2, model="x"), row(3, status=500, outcome="error", output_tokens=None)])
    assert loaded(rig.get("stats"))["total_requests"] == 3
    assert loaded(rig.get("stats", "model=x"))["total_requests"] == 1
    found = loaded(rig.get("stats", "status=error"))
    assert set(found) == {"total_requests", "total_input_tokens", "total_output_tokens", "total_cache_tokens",
                          "prompt_histogram", "gen_histogram"}
    assert (found["total_requests"], found["total_output_tokens"]) == (1, 0)


def test_stats_are_worked_out_once_a_second(rig, monkeypatch):
    rig.store.add([row(1)])
    assert loaded(rig.get("stats", "page=2"))["total_requests"] == 1
    rig.store.add([row(2)])
    assert loaded(rig.get("stats", "limit=3"))["total_requests"] == 1
    assert loaded(rig.get("stats", "min_id=1"))["total_requests"] == 2
    monkeypatch.setattr(module, "STATS_AGE", 0.0)
    monkeypatch.setattr(module, "STATS_SHARE", 0)
    rig.activity._stats.clear()
    for number in (3, 4):
        assert loaded(rig.get("stats"))["total_requests"] == number - 1
        rig.store.add([row(number)])
    monkeypatch.setattr(module, "STATS_SHARE", 10 ** 9)
    assert loaded(rig.get("stats"))["total_requests"] == loaded(rig.get("stats"))["total_requests"] == 4
    rig.store.add([row(5)])
    assert loaded(rig.get("stats"))["total_requests"] == 4
    for number in range(1, 100):
        rig.get("stats", f"min_id={number}")
    assert len(rig.activity._stats) <= module.MOST_STATS


# --- exports


@pytest.mark.parametrize("form, kind", [("csv", "text/csv"), ("jsonl", "application/x-ndjson"),
                                        ("md", "text/markdown")])
def test_exports_have_every_row_that_matches(rig, form, kind, monkeypatch):
    monkeypatch.setattr(module, "EXPORT_ROWS", 7)
    rig.store.add([row(number, model="ab"[number % 2]) for number in range(1, 43)])
    for query, count in (("", 42), ("&model=b", 21), ("&model=b&max_id=14&order=asc", 7), ("&model=c", 0)):
        response = rig.get("page", f"format={form}&limit=2&page=9{query}")
        assert header(response, "Content-Type").startswith(kind)
        assert header(response, "Content-Disposition") == f'attachment; filename="activity.{form}"'
        text = whole(response).decode()
        assert len(text.splitlines()) - {"csv": 1, "jsonl": 0, "md": 2}[form] == count


def test_csv_reads_back(rig):
    rig.store.add([row(1, error='=1+1, "x"'), row(2)])
    found = list(csv.DictReader(io.StringIO(whole(rig.get("page", "format=csv")).decode(), newline="")))
    assert [each["id"] for each in found] == ["2", "1"] and found[1]["error"] == "'=1+1, \"x\""


def test_jsonl_knows_of_captures(rig):
    rig.store.add([row(2), row(3)])
    lines = whole(rig.get("page", "format=jsonl&order=asc")).decode().splitlines()
    assert [json.loads(line)["has_capture"] for line in lines] == [False, True]


@pytest.mark.parametrize("why", ["gone", "ending"])
def test_an_export_ends_when_nobody_reads_it(rig, monkeypatch, why):
    monkeypatch.setattr(module, "EXPORT_ROWS", 5)
    rig.store.add([row(number) for number in range(1, 101)])
    request = asked("GET", "/x?format=jsonl")
    pieces = iter(rig.activity.page(request, "").body)
    next(pieces)
    request.connection.gone, rig.is_ending = why == "gone", why == "ending"
    assert list(pieces) == []


def test_an_export_that_fails_is_cut_and_not_ended(rig, monkeypatch):
    monkeypatch.setattr(module, "EXPORT_ROWS", 5)
    rig.store.add([row(number) for number in range(1, 101)])
    rig.refuses_after = 2
    pieces = iter(rig.get("page", "format=csv").body)
    with pytest.raises(Refused):
        list(pieces)
    with pytest.raises(Refused):
        rig.get("page", "format=csv")


# --- bad questions


@pytest.mark.parametrize("query", ["limit=1000", "page=0", "start=x", "sort=x", "order=x", "status=x", "format=x",
                                   "min_id=5&max_id=1", "outcome=x", "page=" + "9" * 5000, "x&" * 400])
def test_bad_queries(rig, query):
    assert refusal(rig, "page", query)[0] == refusal(rig, "stats", query)[0] == 400


@given(st.lists(st.tuples(st.sampled_from(["model", "status", "q", "path", "from", "limit", "page", "order", "format"]),
                          st.text(alphabet=st.characters(), max_size=8)), max_size=4))
def test_any_query_is_answered_or_refused(pairs):
    rig = Rig()
    rig.store.add([row(1)])
    query = "&".join(f"{name}={value}" for name, value in pairs)
    for handler in ("page", "stats"):
        try:
            whole(rig.get(handler, query))
        except ClientFault as fault:
            assert fault.status == 400
    rig.store.close()
