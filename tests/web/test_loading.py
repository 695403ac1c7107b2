"""Frames while a model loads, and what follows them."""
from __future__ import annotations

import json

import pytest

from llamaswap.core.faults import UpstreamFault
from llamaswap.core.settings import Model
from llamaswap.runtime.inflight import Inflight
from llamaswap.runtime.registry import Progress
from llamaswap.web.loading import HEADERS, loading_stream, wants_loading_stream
from tests.support.asked import FakeExchange, asked

MODEL = Model("m", send_loading_state=True)


class FakeLease:
    """Waits for as many ticks as it is given, then is granted or raises."""

    queue_seconds = load_seconds = 0.0
    was_stopped = False

    def __init__(self, *ticks, fault=None):
        self._ticks, self._fault = ticks, fault

    def progress(self, every):
        yield from self._ticks
        if self._fault is not None:
            raise self._fault

    def wait(self):
        if self._fault is not None:
            raise self._fault

    def cancel(self):
        pass


class Rig:
    def __init__(self, lease, *outcomes, path="/v1/chat/completions", renewed=None):
        self.outcomes, self.renewed, self.ended = list(outcomes), renewed, []
        self.request = asked("POST", path)
        inflight = Inflight(self.ended.append, session_headers=tuple, is_capturing=lambda: False,
                            is_watched=lambda: False, publish=lambda lives: None)
        self.visit = inflight.open(self.request, path)
        self.visit.lease = lease
        self.response = loading_stream(self.visit, MODEL, path, exchange=self.exchange, renew=self.renew)

    def exchange(self):
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def renew(self, fault):
        if self.renewed is None:
            raise fault
        return self.renewed

    def frames(self):
        frames = list(self.response.body)
        self.response.on_close()
        return frames


def loading(reason="loading", position=1, elapsed=0.0):
    return Progress("loading", position, reason, elapsed)


def told(frames):
    return "".join(json.loads(frame[6:])["choices"][0]["delta"]["reasoning_content"] for frame in frames)


def test_a_model_that_is_ready_in_time_gets_no_frames():
    exchange = FakeExchange(pieces=[b"data: a\n\n", b"data: [DONE]\n\n"])
    rig = Rig(FakeLease(), exchange)
    assert (rig.response.status, rig.response.headers) == (200, HEADERS)
    assert rig.frames() == [b"data: a\n\n", b"data: [DONE]\n\n"] and exchange.is_closed


def test_frames_are_complete_chunks_and_say_why_and_how_long():
    ticks = [loading("waiting for x", 3), loading("waiting for x", 3), *[loading()] * 9, loading(elapsed=8.2)]
    rig = Rig(FakeLease(*ticks), FakeExchange())
    *frames, answer = rig.frames()
    assert answer == b"data: 1\n\n" and rig.request.connection.watched == 1
    first = json.loads(frames[0][6:])
    assert (first["object"], first["model"]) == ("chat.completion.chunk", "m") and first["id"] and first["created"]
    assert first["choices"][0]["index"] == 0 and first["choices"][0]["finish_reason"] is None
    text = told(frames)
    assert text.startswith("━━━━━\nllamaswap loading model: m\n\nQueue position: #3, waiting for x .\nloading .......")
    assert ". (0 s) " in text and text.endswith("s)\n━━━━━\n \n") and "\nDone! (0." in text


@pytest.mark.parametrize("phase, position, text", [
    ("queued", 1, "\nQueue position: #1, why "), ("draining", 1, "\nQueue position: #1, why "),
    ("loading", 1, "\nwhy "),
    ("loading", 2, "\nQueue position: #2, why "), ("ready", 0, "\nwhy ")])
def test_whoever_waits_in_the_queue_is_told_the_place(phase, position, text):
    _, frame, *_ = Rig(FakeLease(Progress(phase, position, "why", 0.0)), FakeExchange()).frames()
    assert told([frame]) == text


@pytest.mark.parametrize("path, error", [
    ("/v1/chat/completions", b'data: {"src":'), ("/responses", b'data: {"src":'),
    ("/v1/messages", b"event: error\ndata: ")])
def test_a_failed_start_ends_the_stream_in_order(path, error):
    rig = Rig(FakeLease(loading(), fault=UpstreamFault("no\nmemory", code="model_start_failed")), path=path)
    *_, last = rig.frames()
    assert last.startswith(error) and b"no\\nmemory" in last
    assert last.endswith(b"data: [DONE]\n\n") is ("messages" not in path)


def test_others_get_comments():
    frames = Rig(FakeLease(loading("a\nb")), FakeExchange(), path="/v1/messages").frames()
    assert frames[0] == ": ━━━━━ llamaswap loading model: m\n\n".encode() and frames[1] == b": a b\n\n"
    assert all(frame.startswith(b": ") and frame.endswith(b"\n\n") and frame.count(b"\n") == 2 for frame in frames[:-1])


def test_a_crash_before_the_answer_is_tried_once_more():
    crash = UpstreamFault("gone")
    rig = Rig(FakeLease(), crash, FakeExchange(), renewed=FakeLease(loading()))
    frames = rig.frames()
    assert frames[-1] == b"data: 1\n\n" and "loading model" in told(frames[:-1])
    assert b'"gone"' in Rig(FakeLease(), crash, crash, renewed=FakeLease()).frames()[-1]
    assert b'"gone"' in Rig(FakeLease(), crash).frames()[-1]


@pytest.mark.parametrize("exchange, status", [
    (FakeExchange(400, [b"bad ", b"prompt"], kind="application/json"), 400),
    (FakeExchange(500, [b"bad prompt"], kind="text/plain"), 500),
    (FakeExchange(200, [b"bad prompt"], kind="application/json"), 200)])
def test_an_answer_that_is_no_stream_becomes_an_error(exchange, status):
    last = Rig(FakeLease(), exchange).frames()[-1]
    assert f"the model server answered {status}: bad prompt".encode() in last and last.endswith(b"data: [DONE]\n\n")
    assert exchange.is_closed


def test_what_is_held_is_let_go_when_the_client_leaves():
    rig = Rig(FakeLease(*[loading()] * 5), FakeExchange())
    next(rig.response.body)
    rig.response.body.close()
    rig.response.on_close()
    assert rig.ended == [rig.visit] and len(rig.outcomes) == 1
    assert (rig.visit.outcome, rig.visit.status) == ("client_gone", 499)


def test_what_became_of_it_is_recorded():
    answered = Rig(FakeLease(loading()), FakeExchange(pieces=[b"data: 1\n\n", b"data: 2\n\n"]))
    answered.frames()
    assert (answered.visit.outcome, answered.visit.status, answered.visit.sent_bytes) == ("ok", 200, 18)
    failed = Rig(FakeLease(fault=UpstreamFault("no memory", status=503)))
    failed.frames()
    assert (failed.visit.outcome, failed.visit.status, failed.visit.why) == ("error", 503, "no memory")
    left = Rig(FakeLease(), FakeExchange(pieces=[b"data: 1\n\n", b"data: 2\n\n"]))
    next(left.response.body)
    left.response.body.close()
    left.response.on_close()
    assert (left.visit.outcome, left.visit.collector.total) == ("client_gone", 0)


@pytest.mark.parametrize("path, wanted", [
    ("/v1/chat/completions", True), ("/chat/completions", True), ("/v1/messages", True), ("/v1/responses", True),
    ("/completions", True), ("/v1/embeddings", False), ("/v1/messages/count_tokens", False)])
def test_who_gets_one(path, wanted):
    assert wants_loading_stream(MODEL, path) is wanted
    assert not wants_loading_stream(Model("m"), path)
