"""Visits: what they hold, what becomes of them, what others see of them."""
from __future__ import annotations

import threading
import time

import pytest

from llamaswap.core.faults import ClientFault, UpstreamFault
from llamaswap.core.headers import Headers
from llamaswap.runtime.inflight import Inflight
from llamaswap.runtime.registry import Progress
from llamaswap.runtime.relay import Outcome
from tests.support.asked import asked

PATIENCE = 20.0


class FakeLease:
    def __init__(self, progress=None):
        self._progress = progress
        self.is_granted = progress is None
        self.waited, self.queue_seconds, self.load_seconds = 1.5, 1.0, 0.5
        self.cancelled_with = None

    def progress_now(self):
        return self._progress

    def cancel(self, fault=None):
        self.cancelled_with = fault


class FakeExchange:
    headers = Headers([("Content-Type", "text/event-stream")])

    def __init__(self, status=200, *, is_event_stream=False):
        self.status, self.is_event_stream = status, is_event_stream
        self.aborted_with = None

    def abort(self, fault):
        self.aborted_with = fault


class Held:
    def __init__(self, log, name):
        self.log, self.name = log, name

    def __enter__(self):
        self.log.append(f"+{self.name}")
        return self.name

    def __exit__(self, *exc):
        self.log.append(f"-{self.name}")


def make(record=None, *, is_watched=lambda: False, publish=lambda lives: None, session=("X-Session-ID",)):
    return Inflight(record or (lambda visit: None), session_headers=lambda: session, is_capturing=lambda: False,
                    is_watched=is_watched, publish=publish)


def open_one(inflight, **headers):
    visit = inflight.open(asked("POST", "/v1/chat/completions", b"{}", headers), "/v1/chat/completions")
    visit.model = visit.requested = "m"
    return visit


def test_numbers_only_go_up():
    inflight = make()
    first = inflight.open(asked("GET", "/"), "/").id
    inflight.number_from(first)
    second = inflight.open(asked("GET", "/"), "/").id
    inflight.number_from(second + 100_000)
    assert first < second < second + 100_000 <= inflight.open(asked("GET", "/"), "/").id


def test_what_is_held_is_given_back_last_first_and_once():
    ended, log = [], []
    visit = open_one(make(ended.append))
    assert visit.hold(Held(log, "target")) == "target" and visit.hold(Held(log, "lease")) == "lease"
    visit.close()
    visit.close()
    assert log == ["+target", "+lease", "-lease", "-target"] and ended == [visit]


def test_numbers_go_on_and_the_table_empties():
    inflight = make()
    inflight._numbers = iter([7, 8])
    first, second = open_one(inflight), open_one(inflight)
    assert (first.id, second.id, len(inflight)) == (7, 8, 2) and inflight.visits() == [first, second]
    first.close()
    assert inflight.find(7) is None and inflight.find(8) is second and len(inflight) == 1
    second.close()


@pytest.mark.parametrize("outcome, word, status", [
    (Outcome(200, complete=True), "ok", 200), (Outcome(404, complete=True), "error", 404),
    (Outcome(200, why="client gone"), "client_gone", 499), (Outcome(200, why="client stalled"), "client_gone", 499),
    (Outcome(200, why="the model server cut its answer short"), "broken", 502),
    (Outcome(204, complete=True), "ok", 204), (Outcome(304, complete=True), "ok", 304)])
def test_what_became_of_an_answer(outcome, word, status):
    visit = open_one(make())
    exchange = FakeExchange()
    exchange.status = outcome.status
    visit.begin_answer(exchange)
    visit.end_answer(outcome)
    visit.close()
    assert (visit.outcome, visit.status) == (word, status)


def test_faults_and_clients_that_leave():
    refused, left, gone = open_one(make()), open_one(make()), open_one(make())
    refused.fail(UpstreamFault("no memory", status=503))
    left.fail(ClientFault("the client went away", status=499))
    gone.leave()
    assert (refused.outcome, refused.status, refused.why) == ("error", 503, "no memory")
    assert (left.outcome, left.status) == (gone.outcome, gone.status) == ("client_gone", 499)


def test_cancelled_while_waiting():
    inflight = make()
    visit = open_one(inflight)
    visit.lease = FakeLease(Progress("queued", 2, "waits for x", 1.0))
    assert inflight.cancel(visit.id) and visit.lease.cancelled_with.code == "cancelled"
    visit.fail(visit.lease.cancelled_with)
    visit.close()
    assert (visit.outcome, visit.status) == ("cancelled", 502) and not inflight.cancel(visit.id)


def test_cancelled_while_answering():
    inflight = make()
    visit, exchange = open_one(inflight), FakeExchange()
    visit.lease = FakeLease()
    visit.begin_answer(exchange)
    assert inflight.cancel(visit.id) and visit.lease.cancelled_with is None
    assert exchange.aborted_with.code == "cancelled"
    visit.end_answer(Outcome(200, why="aborted"))
    visit.close()
    assert visit.outcome == "cancelled" and "by the operator" in visit.why


def test_cancelled_before_there_was_anything_to_cancel():
    inflight, log = make(), []
    visit, lease = open_one(inflight), FakeLease(Progress("loading", 1, "loading", 0.0))
    assert inflight.cancel(visit.id)
    held = Held(log, lease)
    assert visit.take(held) is visit.lease is lease and lease.cancelled_with.code == "cancelled"
    visit.close()
    assert len(log) == 2 and visit.outcome == "cancelled"


def test_who_waited_twice_has_waited_for_both():
    """After a crash the request gets a second lease."""
    visit = open_one(make())
    visit.take(Held([], FakeLease()))
    visit.take(Held([], FakeLease()))
    assert (visit.waited, visit.live()["wait_ms"]) == (3.0, 3000)
    visit.close()
    assert (visit.queue_seconds, visit.load_seconds, visit.waited) == (2.0, 1.0, 3.0)


def test_a_cancel_that_comes_too_late_changes_nothing():
    visit = open_one(make())
    visit.begin_answer(FakeExchange())
    visit.cancel()
    visit.end_answer(Outcome(200, complete=True))
    visit.close()
    assert visit.outcome == "ok"


def test_phases_as_others_see_them():
    inflight = make()
    visit = open_one(inflight, **{"X-Session-ID": "abc", "User-Agent": "curl"})
    visit.is_stream = True
    seen = visit.live()
    assert (seen["phase"], seen["position"], seen["session"], seen["user_agent"]) == ("prompt", None, "abc", "curl")
    visit.lease = FakeLease(Progress("stopping", 3, "waits for x to stop", 1.0))
    seen = visit.live()
    assert (seen["phase"], seen["position"], seen["reason"]) == ("queued", 3, "waits for x to stop")
    assert seen["wait_ms"] == 1500
    visit.lease = FakeLease(Progress("loading", 1, "loading", 1.0))
    assert (visit.live()["phase"], visit.phase) == ("loading", "loading")
    visit.lease = FakeLease()
    visit.begin_answer(FakeExchange())
    assert (visit.live()["phase"], visit.live()["status"], visit.live()["ttft_ms"]) == ("prompt", 200, None)
    visit.tap(b"data: 1\n\n")
    seen = visit.live()
    assert (seen["phase"], seen["tokens"], seen["resp_bytes"]) == ("generating", 1, 9) and seen["ttft_ms"] >= 0
    assert visit.phase == "generating" and inflight.snapshot()[0]["id"] == visit.id


def test_what_the_answer_shows_of_itself():
    """Below /upstream nobody has looked into the request, and of a tunnel nothing is seen after its head."""
    stream, tunnel = open_one(make()), open_one(make())
    stream.begin_answer(FakeExchange(is_event_stream=True))
    tunnel.begin_answer(FakeExchange(101))
    assert (stream.is_stream, stream.phase, tunnel.is_stream, tunnel.phase) == (True, "prompt", False, "generating")
    assert tunnel.live()["ttft_ms"] >= 0


class PassedOn:
    def __init__(self, *pieces):
        self.pieces = pieces
        self.length = len(b"".join(pieces))

    def read_all(self, max_bytes):
        return b"".join(self.pieces)

    def chunks(self):
        yield from self.pieces


def test_a_body_that_is_passed_on_is_counted_and_its_beginning_kept():
    visit, body = open_one(make()), PassedOn(b"one", b"two", b"three")
    passing = visit.passing(body)
    assert passing.length == 11 and passing.read_all(100) == b"onetwothree"
    assert list(passing.chunks()) == [b"one", b"two", b"three"]
    assert (visit.req_bytes, visit.body) == (11, None)
    visit = open_one(make())
    visit.kept_bytes = 5
    assert b"".join(visit.passing(body).chunks()) == b"onetwothree" and (visit.req_bytes, visit.body) == (11, b"onetw")


def test_a_body_whose_model_server_answers_early():
    visit = open_one(make())
    visit.kept_bytes = 5
    chunks = visit.passing(PassedOn(b"one", b"two")).chunks()
    next(chunks)
    chunks.close()
    assert (visit.req_bytes, visit.body) == (3, b"one")


def test_no_body_is_passed_on_as_it_is():
    body = PassedOn()
    assert open_one(make()).passing(body) is body


def test_sessions():
    inflight = make(session=("X-A", "X-B"))
    assert open_one(inflight, **{"x-b": "2"}).live()["session"] == "2"
    assert open_one(inflight, **{"X-A": "1", "X-B": "2"}).live()["session"] == "1"
    assert open_one(inflight).live()["session"] == ""


def test_those_who_watch_are_told_of_changes_only():
    told, watched = [], threading.Event()
    inflight = make(is_watched=watched.is_set, publish=lambda lives: told.extend(lives))
    inflight.start(100)
    try:
        open_one(inflight).close()
        watched.set()
        visit = open_one(inflight)
        assert visit.id == 101
        wait_for(lambda: told)
        time.sleep(0.6)
        assert [live["id"] for live in told] == [101], "nothing changed, and yet it was told again"
        visit.tap(b"x")
        wait_for(lambda: len(told) == 2)
        assert told[1]["phase"] == "generating"
        visit.close()
    finally:
        inflight.close()


def test_who_begins_to_watch_in_the_middle_is_told_how_it_goes_on():
    told, watched = [], threading.Event()
    inflight = make(is_watched=watched.is_set, publish=lambda lives: told.extend(lives))
    inflight.start(1)
    try:
        visit = open_one(inflight)
        watched.set()
        assert inflight.snapshot()[0]["phase"] == "prompt"
        visit.tap(b"x")
        wait_for(lambda: told and told[-1]["phase"] == "generating")
        visit.close()
    finally:
        inflight.close()


def wait_for(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)
