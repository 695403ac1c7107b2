"""From the end of a request to its row, its capture and those who are told; over a real store and real time."""
from __future__ import annotations

import gzip
import json
import threading
import time

import pytest

from llamaswap.core.activity import Query
from llamaswap.core.faults import Refused, UpstreamFault
from llamaswap.core.headers import Headers
from llamaswap.core.tally import Tally
from llamaswap.runtime import recorder as module
from llamaswap.runtime.captures import Captures
from llamaswap.runtime.inflight import Inflight
from llamaswap.runtime.recorder import Recorder, row_of
from llamaswap.runtime.relay import Outcome
from llamaswap.runtime.store import Store
from tests.support.asked import asked

PATIENCE = 20.0
ANSWER = json.dumps({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3}}).encode()


class FakeExchange:
    def __init__(self, status=200, kind="application/json", encoding=""):
        self.status = status
        self.is_event_stream = kind == "text/event-stream"
        self.headers = Headers([("Content-Type", kind), *([("Content-Encoding", encoding)] if encoding else [])])


class Rig:
    def __init__(self, *, path=None, captured=1 << 20, most_in_memory=1000):
        self.tally, self.told, self.seen = Tally(), [], set()
        self.captures = Captures(captured, shown=frozenset())
        self.store = Store(path, max_rows_in_memory=most_in_memory)
        self.recorder = Recorder(self.store, self.captures, self.tally, self.tell,
                                 session_of=lambda request: request.headers.get("x-session-id") or "")
        self.inflight = Inflight(self.recorder.put, session_headers=tuple, is_capturing=lambda: True,
                                 is_watched=lambda: False, publish=lambda lives: None)

    def tell(self, rows, seen):
        self.told += rows
        self.seen |= seen

    def start(self):
        last = self.recorder.start()
        self.inflight.start(last + 1)
        return last

    def visit(self, body=ANSWER, *, exchange=None, outcome=None, model="m", stream=False, sent=b"{}", headers=None):
        visit = self.inflight.open(asked("POST", "/v1/chat/completions", sent, headers), "/v1/chat/completions")
        visit.model = visit.requested = model
        visit.is_stream, visit.body = stream, sent
        visit.begin_answer(exchange or FakeExchange())
        visit.tap(body)
        visit.end_answer(outcome or Outcome(visit.status, sent_bytes=len(body), complete=True))
        return visit

    def rows(self, **filters):
        return self.recorder.ask(lambda store: store.page(Query(**filters))).rows

    def close(self):
        self.inflight.close()
        assert self.recorder.close(PATIENCE)


@pytest.fixture
def make():
    made = []

    def build(**options):
        made.append(Rig(**options))
        return made[-1]
    yield build
    for rig in made:
        rig.close()


@pytest.fixture
def rig(make):
    found = make()
    found.start()
    return found


def test_a_request_becomes_a_row_a_capture_and_news(rig):
    rig.visit(headers={"X-Session-ID": "abc", "User-Agent": "curl"}).close()
    row, = rig.rows()
    assert (row.id, row.model, row.path, row.status, row.outcome) == (1, "m", "/v1/chat/completions", 200, "ok")
    assert (row.input_tokens, row.output_tokens, row.session, row.user_agent) == (7, 3, "abc", "curl")
    assert (row.resp_bytes, row.req_bytes, row.content_type) == (len(ANSWER), 2, "application/json")
    assert abs(row.at_epoch - time.time()) < PATIENCE and row.duration_ms >= 0 and row.ttft_ms is not None
    assert 1 in rig.captures and [told.id for told in rig.told] == [1]
    assert sum(rig.tally.traffic["m"].answers.values()) == 1


def test_questions_see_what_was_put_before(rig):
    for _ in range(300):
        rig.visit().close()
    assert rig.recorder.ask(lambda store: store.page(Query(limit=1))).total == 300
    assert [row.id for row in rig.told] == list(range(1, 301))


@pytest.mark.parametrize("is_known", [True, False])
def test_nobody_waits_for_a_store_that_takes_long_to_open(make, tmp_path, monkeypatch, caplog, is_known):
    first = make(path=str(tmp_path / "a.db"))
    first.start()
    first.visit().close()
    first.close()
    monkeypatch.setattr(module, "OPEN_PATIENCE", 0.5)
    second, go, opened = make(path=str(tmp_path / "a.db")), threading.Event(), Store.open
    monkeypatch.setattr(second.store, "open", lambda: go.wait(PATIENCE) and opened(second.store))
    if not is_known:
        monkeypatch.setattr(second.store, "peek", lambda: go.wait(PATIENCE) and 1)
    last = second.start()
    assert last == 1 if is_known else last > 1_000_000_000_000
    assert "takes long to open" in caplog.text
    second.visit().close()
    go.set()
    assert [row.id for row in second.rows()] == [last + 1, 1]


def test_numbers_go_on_after_a_restart(make, tmp_path):
    first = make(path=str(tmp_path / "a.db"))
    assert first.start() == 0
    first.visit().close()
    first.close()
    second = make(path=str(tmp_path / "a.db"))
    assert second.start() == 1
    second.visit().close()
    assert [row.id for row in second.rows(order="asc")] == [1, 2]


def test_numbers_go_on_in_another_file(make, tmp_path):
    old = make(path=str(tmp_path / "a.db"))
    old.start()
    for _ in range(3):
        old.visit().close()
    old.close()
    rig = make()
    rig.start()
    rig.visit().close()
    rig.recorder.move(str(tmp_path / "a.db"), rig.inflight.number_from)
    assert len(rig.rows()) == 3
    rig.visit().close()
    found = [row.id for row in rig.rows(order="asc")]
    assert found[:3] == [1, 2, 3] and len(found) == 4 and found[3] > 3


def test_in_another_file_a_number_means_no_other_request(make, tmp_path):
    one, two = str(tmp_path / "one.db"), str(tmp_path / "two.db")
    old = make(path=two)
    old.start()
    for _ in range(5):
        old.visit(sent=b"old").close()
    old.close()
    rig = make(path=one)
    rig.start()
    rig.visit(sent=b"first").close()
    late = rig.visit(sent=b"late")
    late.seen = ()
    rig.recorder.move(two, rig.inflight.number_from)
    assert len(rig.rows()) == 5 and len(rig.captures) == 0
    late.close()
    newest = rig.rows()[0]
    assert newest.id > 5 and rig.captures.get(newest.id)["req_bytes"] == 4 and len(rig.captures) == 1
    assert rig.seen == {2} and rig.visit().id > newest.id
    rig.recorder.move(two, rig.inflight.number_from)
    assert len(rig.rows()) == 6 and newest.id in rig.captures
    for left in rig.inflight.visits():
        left.close()


def test_what_comes_along_into_another_file_keeps_its_captures(make, tmp_path):
    rig = make()
    rig.start()
    rig.visit().close()
    late = rig.visit()
    rig.visit().close()
    rig.recorder.move(str(tmp_path / "a.db"), rig.inflight.number_from)
    assert [row.id for row in rig.rows()] == [3, 1] and 1 in rig.captures
    late.close()
    assert [row.id for row in rig.rows()] == [3, 2, 1] and 2 in rig.captures


def test_what_the_store_raises_comes_back(rig):
    def fail(store):
        raise KeyError("x")
    with pytest.raises(KeyError):
        rig.recorder.ask(fail)
    assert rig.rows() == []


def test_a_busy_store_is_not_waited_for_for_ever(rig):
    free = threading.Event()
    rig.recorder.reconfigure(max_rows_in_memory=5, max_rows=5, max_age_days=1)
    rig.recorder._put_question(lambda store: free.wait(PATIENCE))
    with pytest.raises(Refused) as refused:
        rig.recorder.ask(lambda store: 1, timeout=0.05)
    assert refused.value.code == "store_busy" and refused.value.retry_after
    free.set()
    assert rig.recorder.ask(lambda store: store.state) == "memory"


def test_a_question_knows_of_every_visit_that_ended_before_it_was_asked(rig):
    begun, free = threading.Event(), threading.Event()
    rig.recorder._put_question(lambda store: begun.set() or free.wait(PATIENCE))
    assert begun.wait(PATIENCE)
    rig.visit().close()
    later = rig.recorder._put_question(lambda store: len(store.page(Query()).rows))
    free.set()
    assert later.is_there.wait(PATIENCE) and later.value == 1


def test_a_queue_that_is_full_drops_and_counts(rig, monkeypatch):
    free = threading.Event()
    rig.recorder._put_question(lambda store: free.wait(PATIENCE))
    monkeypatch.setattr(module, "MOST_WAITING", 10)
    for _ in range(15):
        rig.visit().close()
    free.set()
    assert len(rig.rows()) == 10 and rig.recorder.dropped == 5


def test_answers_that_wait_are_bounded(rig, monkeypatch):
    free = threading.Event()
    rig.recorder._put_question(lambda store: free.wait(PATIENCE))
    monkeypatch.setattr(module, "MOST_WAITING_ANSWERS", 1000)
    for _ in range(3):
        rig.visit(b"x" * 400).close()
    free.set()
    assert len(rig.rows()) == 2 and rig.recorder.dropped == 1
    rig.visit(b"x" * 400).close()
    assert len(rig.rows()) == 3 and rig.recorder.dropped == 1


def test_bodies_that_wait_are_bounded(rig, monkeypatch):
    free = threading.Event()
    rig.recorder._put_question(lambda store: free.wait(PATIENCE))
    monkeypatch.setattr(module, "MOST_WAITING_BYTES", 1000)
    for _ in range(3):
        rig.visit(sent=b"x" * 400).close()
    free.set()
    assert len(rig.rows()) == 3
    assert [rig.captures.get(number)["req_body"] is not None for number in (1, 2, 3)] == [True, True, False]
    assert [each.req_bytes for each in rig.rows()] == [400] * 3


def test_one_request_that_cannot_be_recorded_does_not_stop_the_others(rig, caplog):
    broken = rig.visit()
    broken.at = None
    broken.close()
    rig.visit().close()
    assert [row.id for row in rig.rows()] == [2] and "could not be recorded" in caplog.text
    assert caplog.records[0].fields == {"request_id": "id-1"}


def test_what_waits_is_recorded_at_the_end(make, tmp_path):
    rig = make(path=str(tmp_path / "a.db"))
    rig.start()
    rig.visit().close()
    rig.close()
    again = make(path=str(tmp_path / "a.db"))
    assert again.start() == 1


def test_captures_are_compressed_when_there_is_time(rig):
    rig.visit(b"x" * 100_000).close()
    deadline = time.monotonic() + PATIENCE
    while not 0 < rig.captures.held_bytes < 10_000:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert not rig.captures.has_raw()


# --- rows ------------------------------------------------------------------------------------------------------------


def row(visit):
    visit.close()
    return row_of(visit, "")


def test_an_error_says_what_the_engine_said(make):
    rig = make()
    found = row(rig.visit(b'{"error": {"message": "context too long"}}', exchange=FakeExchange(400)))
    assert (found.status, found.outcome, found.error) == (400, "error", "context too long")


def test_a_fault_of_ours(make):
    visit = make().inflight.open(asked("POST", "/v1/x"), "/v1/x")
    visit.fail(UpstreamFault("no memory", status=503))
    found = row(visit)
    assert (found.status, found.outcome, found.error) == (503, "error", "no memory")
    assert found.ttft_ms is found.input_tokens is None and found.content_type == ""


def test_a_stream_that_breaks_has_its_true_status_and_what_was_used(make):
    body = b'data: {"usage": {"prompt_tokens": 5, "completion_tokens": 1}}\n\n'
    found = row(make().visit(body, exchange=FakeExchange(kind="text/event-stream"), stream=True,
                             outcome=Outcome(200, sent_bytes=len(body), why="the connection broke")))
    assert (found.status, found.outcome, found.error, found.input_tokens) == (502, "broken", "the connection broke", 5)


def test_compressed_answers_are_read(make):
    found = row(make().visit(gzip.compress(ANSWER), exchange=FakeExchange(encoding="gzip")))
    assert (found.input_tokens, found.output_tokens) == (7, 3)


def test_speeds_are_measured_when_the_engine_gives_none(make):
    body = b'data: {"usage": {"prompt_tokens": 100, "completion_tokens": 21}}\n\n'
    visit = make().visit(body, exchange=FakeExchange(kind="text/event-stream"), stream=True)
    visit.close()
    visit.at, visit.first_at, visit.end_at, visit.load_seconds = 10.0, 16.0, 18.0, 4.0
    found = row_of(visit, "")
    assert found.is_measured and found.tokens_per_second == pytest.approx(10.0)
    assert found.prompt_per_second == pytest.approx(50.0) and (found.ttft_ms, found.load_ms) == (6000, 4000)
    visit.first_at, visit.end_at = 14.001, 14.002
    found = row_of(visit, "")
    assert (found.is_measured, found.prompt_per_second, found.tokens_per_second) == (False, None, None), "too short"


def test_speeds_of_the_engine_stay(make):
    body = b'{"timings": {"prompt_n": 10, "predicted_n": 5, "prompt_per_second": 3.5, "predicted_per_second": 2.5}}'
    found = row(make().visit(body))
    assert (found.prompt_per_second, found.tokens_per_second, found.is_measured) == (3.5, 2.5, False)
