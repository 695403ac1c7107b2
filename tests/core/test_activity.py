"""What may be asked, with the words that answer a bad question; what a row looks like from outside."""
from __future__ import annotations

import csv
import io
import json
import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamaswap.core.activity import (
    MAX_VALUES,
    SORTS,
    Query,
    csv_cell,
    csv_lines,
    histogram,
    jsonl_lines,
    markdown_lines,
    parse_query,
    percentile,
    row_json,
    timestamp,
)
from llamaswap.core.faults import ClientFault
from tests.support.rows import row

# --- queries


def test_defaults():
    for query in ("", "&&=&x", "page=&limit=&sort=&order=&start=&model=&model=+", [("unknown", "1")]):
        assert parse_query(query) == Query()


def test_everything_at_once():
    assert parse_query("model=a&model=b%2Fc&model=a&page=3&limit=999&sort=gen_speed&order=ASC&min_id=2&max_id=2"
                       "&status=200,5xx&status=ERROR&path=/v1&client=::1&session=s&q=Boom&outcome=ok,broken"
                       "&start=2024-01-01T00:00:00Z&to=1704067201.5&format=csv") == Query(
        models=("a", "b/c"), statuses=((200, 200), (500, 599)), errors=True, outcomes=("ok", "broken"),
        clients=("::1",), sessions=("s",), path="/v1", text="Boom", since=1704067200.0, until=1704067201.5, min_id=2,
        max_id=2, sort="gen_speed", order="asc", page=3, limit=999, format="csv")


@pytest.mark.parametrize("text, epoch", [
    ("2024-01-01T00:00:00Z", 1704067200), ("2024-01-01t02:00:00.999+02:00", 1704067200),
    ("2023-12-31T19:00:00-05:00", 1704067200), ("2024-01-01T02:00:00 02:00", 1704067200),
    ("0001-01-01T00:00:00Z", -62135596800)])
def test_times(text, epoch):
    assert parse_query([("start", text)]).since == epoch
    assert parse_query([("to", text)]).until == epoch


def test_the_narrower_span_counts():
    query = parse_query("from=100&start=1970-01-01T00:01:00Z&to=300&end=1970-01-01T00:10:00Z")
    assert (query.since, query.until) == (100, 300)
    assert parse_query("from=100&to=100").since == 100


def test_the_largest_number():
    found = parse_query(f"max_id={2 ** 63 - 1}&page={2 ** 63 - 1}")
    assert found.max_id == found.page == 2 ** 63 - 1
    with pytest.raises(ClientFault):
        parse_query(f"max_id={2 ** 63}")


LIMIT = "limit must be between 1 and 999"


@pytest.mark.parametrize("query, message", [
    ("limit=0", LIMIT), ("limit=1000", LIMIT), ("limit=-1", LIMIT), ("limit=x", LIMIT), ("limit=1.5", LIMIT),
    ("limit=" + "9" * 5000, LIMIT), ("limit=NaN", LIMIT), ("limit=%00", LIMIT), ("limit=%D9%A3", LIMIT),
    ("page=0", "page must be >= 1"), ("page=-3", "page must be >= 1"),
    ("page=9999999999999999999", "page must be >= 1"),
    ("sort=size", "invalid sort column"), ("sort=id;drop", "invalid sort column"),
    ("order=up", "order must be asc or desc"),
    ("start=2024-01-02T00:00:00Z&end=2024-01-01T00:00:00Z", "start must be before end"),
    ("from=2&to=1", "start must be before end"),
    ("min_id=3&max_id=2", "min_id must be <= max_id"), ("min_id=0", "min_id must be >= 1"),
    ("max_id=99999999999999999999", "max_id must be >= 1"),
    ("start=yesterday", "invalid 'start' timestamp, use RFC3339 format"),
    ("end=1704067200", "invalid 'end' timestamp, use RFC3339 format"),
    ("end=2024-13-01T00:00:00Z", "invalid 'end' timestamp, use RFC3339 format"),
    ("end=2024-01-01T00:00:00%2B99:00", "invalid 'end' timestamp, use RFC3339 format"),
    ("end=0000-01-01T00:00:00Z", "invalid 'end' timestamp, use RFC3339 format"),
    ("start=2024-01-01", "invalid 'start' timestamp, use RFC3339 format"),
    ("from=nan", "invalid 'from' timestamp, use RFC3339 format or epoch seconds"),
    ("to=1e99", "invalid 'to' timestamp, use RFC3339 format or epoch seconds"),
    ("to=1700000000000", "invalid 'to' timestamp, use RFC3339 format or epoch seconds"),
    ("status=6", 'invalid status "6"; use a code such as 404, a class such as 5xx, or error'),
    ("status=200,099", 'invalid status "099"; use a code such as 404, a class such as 5xx, or error'),
    ("outcome=fine", "outcome must be one of ok, error, client_gone, cancelled, broken"),
    ("format=xml", "format must be one of csv, jsonl, md"),
    ("&".join(f"model={n}" for n in range(MAX_VALUES + 1)), f"at most {MAX_VALUES} values of one parameter"),
    ("status=" + "200," * (MAX_VALUES + 1), f"at most {MAX_VALUES} values of one parameter"),
    ("&" * 400 + "a=1" + "&a=1" * 400, "too many parameters"),
])
def test_bad_queries(query, message):
    with pytest.raises(ClientFault) as refused:
        parse_query(query)
    assert (refused.value.status, refused.value.message) == (400, message)


NAMES = ["model", "status", "path", "client", "session", "q", "outcome", "from", "to", "start", "end", "min_id",
         "max_id", "limit", "page", "sort", "order", "format"]


@given(st.lists(st.tuples(st.sampled_from(NAMES), st.text(max_size=12)), max_size=6))
def test_any_query_is_parsed_or_refused(pairs):
    try:
        query = parse_query(pairs)
    except ClientFault as fault:
        assert fault.status == 400
    else:
        assert query.sort in SORTS and 1 <= query.limit <= 999 and query.page >= 1
        str(query).encode()      # no halves of surrogate pairs


# --- rows


def test_row_json_has_the_peers_fields():
    shown = row_json(row(7, error="boom", metadata={"selector": "s"}, cached_tokens=None), True)
    theirs = ("id timestamp model req_path resp_content_type resp_status_code tokens duration_ms has_capture error_msg "
              "metadata")
    ours = ("at requested method outcome client session user_agent request_id queue_ms load_ms ttft_ms req_bytes "
            "resp_bytes measured stream")
    assert set(shown) == {*theirs.split(), *ours.split()}
    assert shown["tokens"] == {
        "cache_tokens": None, "draft_tokens": None, "draft_acc_tokens": None, "input_tokens": 10, "output_tokens": 20,
        "prompt_per_second": 100.0, "tokens_per_second": 50.0}
    assert (shown["id"], shown["has_capture"], shown["error_msg"]) == (7, True, "boom")
    plain = row_json(row(7), False)
    assert "error_msg" not in plain and "metadata" not in plain


@pytest.fixture(params=["UTC", "Europe/Berlin", "America/St_Johns"])
def zone(request, monkeypatch):
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


def test_timestamps_are_local(zone):
    assert timestamp(1704067200.9) == {"UTC": "2024-01-01T00:00:00Z", "Europe/Berlin": "2024-01-01T01:00:00+01:00",
                                       "America/St_Johns": "2023-12-31T20:30:00-03:30"}[zone]


def test_timestamps_of_no_time():
    for epoch in (math.inf, math.nan, 1e30, -1e30):
        assert timestamp(epoch) == "1970-01-01T00:00:00Z"


# --- exports


@pytest.mark.parametrize("cell, text", [
    ("=1+1", "'=1+1"), ("+x", "'+x"), ("-x", "'-x"), ("@x", "'@x"), ("\tx", "'\tx"),
    ("\0=a", "'=a"), ("a=1", "a=1"), ('say "hi"', '"say ""hi"""'), ("a,b", '"a,b"'), ("a\nb", '"a\nb"'),
    ("=a,b", "\"'=a,b\""), (-5, "-5"), (None, ""), (1.5, "1.5"), ("", ""), (" a", '" a"')])
def test_csv_cells(cell, text):
    assert csv_cell(cell) == text


@given(st.lists(st.text(max_size=8), min_size=1, max_size=5))
def test_csv_reads_back(texts):
    lines = "".join(csv_lines(row(number + 1, error=text) for number, text in enumerate(texts)))
    found = list(csv.DictReader(io.StringIO(lines, newline="")))
    assert [entry["error"].lstrip("'") for entry in found] == [text.replace("\0", "").lstrip("'") for text in texts]
    assert lines.count("\r\n") >= len(texts) + 1


def test_csv_can_go_on():
    assert len(list(csv_lines([row(1)], with_head=False))) == 1


def test_jsonl():
    lines = list(jsonl_lines([row(1, model="a\nb"), row(2)], lambda number: number == 2))
    assert [json.loads(line)["has_capture"] for line in lines] == [False, True]
    assert all(line.count("\n") == 1 for line in lines)


def test_markdown():
    head, first = markdown_lines([row(1, model="a|b", error="<b>x</b>\ny")])
    columns = head.splitlines()[0].count("|")
    assert head.splitlines()[1].count("|") == columns
    assert first.replace("\\|", "").count("|") == columns
    assert "&lt;b>x&lt;/b> y" in first and first.endswith("|\n")
    assert next(markdown_lines([], with_head=False), None) is None


# --- histograms


def test_histogram():
    assert histogram([]) is None and histogram([0, -1, math.nan, math.inf]) is None
    assert histogram([5, 5, 0]) == {"bins": [2], "min": 5, "max": 5, "binSize": 0, "p50": 5, "p95": 5, "p99": 5}
    found = histogram(range(1, 101))
    assert found["bins"] == [13, 12, 13, 12, 12, 13, 12, 13] and found["binSize"] == 99 / 8
    assert (found["p50"], found["p95"], found["p99"]) == (50.5, 95.05, 99.01)
    assert len(histogram([1, 2])["bins"]) == 5 and len(histogram(range(1, 10 ** 6 + 1))["bins"]) == 20


@given(st.lists(st.floats(min_value=1e-300, max_value=1e300), min_size=1, max_size=60))
def test_every_speed_is_in_a_bin(speeds):
    found = histogram(speeds)
    assert sum(found["bins"]) == len(speeds)
    assert found["min"] <= found["p50"] <= found["p95"] <= found["p99"] <= found["max"] * (1 + 1e-9)


def test_percentiles():
    assert percentile([1, 2, 3, 4], 50) == 2.5 and percentile([7], 99) == 7 and percentile([1, 2], 100) == 2
