"""Counters: what is counted where, that labels stay few, and that nothing shrinks."""
from __future__ import annotations

import random

import pytest

from llamaswap.core import tally as counted
from llamaswap.core.activity import CANCELLED, CLIENT_GONE, ERROR
from llamaswap.core.routing import MODEL_ROUTES
from llamaswap.core.scheduler import Scheduler
from llamaswap.core.tally import OTHER_MODELS, Histogram, Tally, api_of
from llamaswap.core.tickets import Completion, Spec, StateChanged, Tell, Ticket
from tests.support import rows


def row(model="m", **changed):
    fields = {"is_stream": True, "queue_ms": 0, "load_ms": 0, "ttft_ms": 40, "duration_ms": 1200, "req_bytes": 10,
              "resp_bytes": 100, "input_tokens": None, "cached_tokens": None, "output_tokens": None,
              "tokens_per_second": None}
    return rows.row(1, **{**fields, "model": model, **changed})


def tally_of(*done):
    tally = Tally()
    for each in done:
        tally.add_row(each)
    return tally


# --- rows ------------------------------------------------------------------------------------------------------------


def test_answers_are_counted_by_api_status_and_outcome():
    traffic = tally_of(row(), row(), row(status=499, outcome=CLIENT_GONE), row(path="/v1/embeddings"),
                       row(status=101), row(status=0, outcome=CANCELLED), row(status=777)).traffic["m"]
    assert traffic.answers == {
        ("chat", "2xx", "ok"): 2, ("chat", "4xx", "client_gone"): 1, ("embeddings", "2xx", "ok"): 1,
        ("chat", "1xx", "ok"): 1, ("chat", "none", "cancelled"): 1, ("chat", "none", "ok"): 1}
    assert (traffic.req_bytes, traffic.resp_bytes) == (70, 700)
    assert "7 requests" in repr(traffic)


def test_tokens_are_summed_and_unknown_ones_add_nothing():
    known = row(input_tokens=10, cached_tokens=4, output_tokens=5, drafted_tokens=3, accepted_tokens=2,
                tokens_per_second=50.0)
    traffic = tally_of(known, row(input_tokens=1), row()).traffic["m"]
    assert dict(zip(counted.TOKEN_KINDS, traffic.tokens)) == {
        "input": 11, "cached": 4, "output": 5, "drafted": 3, "accepted": 2}
    assert sum(traffic.speed.counts) == 1 and traffic.speed.total == 50.0


def test_the_first_token_counts_where_there_was_one_to_wait_for():
    traffic = tally_of(row(), row(status=499, outcome=CLIENT_GONE), row(is_stream=False), row(ttft_ms=None),
                       row(status=503, outcome=ERROR)).traffic["m"]
    assert sum(traffic.first.counts) == 2 and traffic.first.total == 80


def test_waits():
    traffic = tally_of(row(), row(queue_ms=700, load_ms=3000)).traffic["m"]
    assert (sum(traffic.queue.counts), traffic.queue.total) == (2, 700)
    assert (sum(traffic.load.counts), traffic.load.total) == (1, 3000)     # of those that had to
    assert (sum(traffic.duration.counts), traffic.duration.total) == (2, 2400)


@pytest.mark.parametrize("path, api", [
    ("/v1/chat/completions", "chat"), ("/chat/completions", "chat"), ("/v1/completions", "completions"),
    ("/completion", "completions"), ("/v1/messages", "messages"), ("/v1/messages/count_tokens", "tokens"),
    ("/openai/v1/chat/completions", "chat"), ("/some/where/embeddings", "embeddings"), ("/sdapi/v1/txt2img", "images"),
    ("/v1/audio/speech", "speech"), ("/v1/responses/abc", "other"), ("/", "other"), ("", "other"), ("chat", "other"),
    ("/" * 50, "other"), ("/v1/chat/completions/../x", "other"), ("/props", "other")])
def test_api_of(path, api):
    assert api_of(path) == api


def test_most_model_routes_have_a_word_of_their_own():
    others = {route.forward for route in MODEL_ROUTES.values() if api_of(route.forward) == "other"}
    assert others == {"/v1/audio/voices", "/v1/tasks/run", "/sdapi/v1/loras", "/props"}


def test_what_clients_write_makes_no_new_label():
    generator = random.Random(7)
    tally = tally_of(*(row(path="/" + "/".join(generator.choices(("v1", "chat", "completions", "a", "%41"), k=4)),
                           status=generator.randrange(1000)) for _ in range(2000)))
    assert len(tally.traffic["m"].answers) <= len({*counted._API_TAILS, "other"}) * 6


def test_names_that_no_model_has_make_no_new_label_either():
    tally = Tally()
    for name in ("one", "two"):
        tally.add_row(row("", requested=name, status=404, outcome="error"))
    assert list(tally.traffic) == ["(unknown)"]
    assert tally.traffic["(unknown)"].answers == {("chat", "4xx", "error"): 2}


def test_models_beyond_the_bound_share_a_name(monkeypatch):
    monkeypatch.setattr(counted, "MOST_MODELS", 3)
    tally = tally_of(*(row(model=f"m{number}") for number in range(6)), row(model="m0"))
    assert list(tally.traffic) == ["m0", "m1", "m2", OTHER_MODELS]
    assert sum(tally.traffic[OTHER_MODELS].answers.values()) == 3
    assert sum(tally.traffic["m0"].answers.values()) == 2
    for number in range(6):
        tally.add_failure(f"m{number}")
    assert list(tally.lives) == ["m0", "m1", "m2", OTHER_MODELS] and tally.lives[OTHER_MODELS].failures == 3
    assert "4 models asked" in repr(tally)


# --- histograms ------------------------------------------------------------------------------------------------------


def test_a_bound_belongs_to_its_bucket():
    histogram = Histogram((1, 2))
    for value in (0, 1, 1.5, 2, 2.1, 99):
        histogram.add(value)
    assert histogram.counts == [2, 2, 2] and histogram.cumulative() == [2, 4, 6]
    assert histogram.total == pytest.approx(105.6) and "n=6" in repr(histogram)


@pytest.mark.parametrize("bounds", [counted.DURATIONS_MS, counted.WAITS_MS, counted.LOADS_S, counted.SPEEDS])
def test_bounds_rise(bounds):
    assert list(bounds) == sorted(set(bounds))


# --- what models go through ------------------------------------------------------------------------------------------


def live(tally, model, load=2.0, stop=0.5, reason="idle"):
    tally.add_state(model, "stopped", "starting", "requested", 9.0)
    tally.add_state(model, "starting", "ready", "answers its health check", load)
    end(tally, model, stop, reason)


def end(tally, model, stop=0.5, reason="unloaded"):
    tally.add_state(model, "ready", "stopping", reason, 60.0)
    tally.add_state(model, "stopping", "stopped", "exited", stop)


def test_a_life():
    tally = Tally()
    live(tally, "m")
    live(tally, "m", reason="evicted")
    life = tally.lives["m"]
    assert (life.starts, life.restarts, life.failures) == (2, 0, 0) and life.stops == {"idle": 1, "evicted": 1}
    assert life.loading.total == 4.0 and life.stopping.total == 1.0 and sum(life.swapping.counts) == 0
    assert "starts=2" in repr(life)


def test_a_start_after_a_failure_is_a_restart():
    tally = Tally()
    tally.add_state("m", "stopped", "starting", "requested", 1.0)
    tally.add_failure("m")
    tally.add_state("m", "starting", "stopped", "exited (exit code 1)", 1.0)
    live(tally, "m")
    tally.add_failure("m")                                                  # a crash
    tally.add_failure("m")                                                  # and a second report of it
    live(tally, "m")
    live(tally, "m")
    life = tally.lives["m"]
    assert (life.starts, life.restarts, life.failures) == (4, 2, 3)
    assert sum(life.loading.counts) == 3


def test_a_swap_takes_the_slowest_stop_and_the_start():
    tally = Tally()
    tally.add_swap("new", ["a", "b"])
    end(tally, "a", 3.0, "evicted")
    end(tally, "b", 1.0, "evicted")
    live(tally, "new", load=4.0)
    life = tally.lives["new"]
    assert life.swaps == 1 and life.swapping.total == 7.0
    live(tally, "new")                                                      # without anybody in the way
    assert sum(life.swapping.counts) == 1


@pytest.mark.parametrize("ends", [
    lambda tally: tally.add_state("new", "starting", "stopped", "exited", 1.0),
    lambda tally: tally.add_state("new", "starting", "stopping", "unloaded", 1.0),
    lambda tally: tally.add_state("old", "stopped", "starting", "requested", 1.0)])
def test_a_swap_that_came_to_nothing_is_not_timed(ends):
    tally = Tally()
    tally.add_swap("new", ["old"])
    end(tally, "old", 3.0)
    tally.add_state("new", "stopped", "starting", "requested", 1.0)
    ends(tally)
    live(tally, "new")
    assert tally.lives["new"].swaps == 1 and sum(tally.lives["new"].swapping.counts) == 0


def evict_all(target, live):
    return tuple(name for name in live if name != target)


class Machine:
    """A real scheduler, for the sentences it really says."""

    def __init__(self, ttl=0.0):
        self.specs = {name: Spec(ttl=ttl) for name in "ab"}
        self.scheduler = Scheduler(self.specs, evict_all, max_wait=0.0)
        self.reasons = []

    def note(self, effects):
        for effect in effects:
            if isinstance(effect, Tell) and isinstance(effect.event, StateChanged) \
                    and effect.event.new.value == "stopping":
                self.reasons.append(effect.event.cause.value)
        return self

    def serve(self, name, now=0.0):
        ticket = Ticket(name)
        self.note(self.scheduler.submit(ticket, now))
        self.note(self.scheduler.on_ready(name, 1, now))
        return self.note(self.scheduler.release(ticket, now))


def test_the_reasons_of_the_real_scheduler():
    swap = Machine().serve("a")
    swap.note(swap.scheduler.submit(Ticket("b"), 1.0))
    ttl = Machine(ttl=5.0).serve("a")
    ttl.note(ttl.scheduler.on_timer(50.0))
    unload = Machine().serve("a")
    unload.note(unload.scheduler.unload(Completion(), None, 1.0))
    shutdown = Machine().serve("a")
    shutdown.note(shutdown.scheduler.close(Completion(), 0.0, 1.0))
    changed = Machine().serve("a")
    changed.note(changed.scheduler.reconfigure(changed.specs, evict_all, 1.0, unchanged=(), max_wait=0.0))
    slow = Machine()
    slow.note(slow.scheduler.submit(Ticket("a"), 0.0))
    slow.note(slow.scheduler.on_timer(10_000.0))
    assert [machine.reasons for machine in (swap, ttl, unload, shutdown, changed, slow)] == [
        ["evicted"], ["idle"], ["unloaded"], ["shutdown"], ["reload"], ["start_failed"]]
