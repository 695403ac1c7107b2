"""One lock, one errand thread, many callers. Every wait here has a deadline; no process and no socket is used."""
from __future__ import annotations

import gc
import random
import threading
import time
from collections import Counter
from typing import Any, Dict, List, Optional, Tuple

import pytest

from llamaswap.core.faults import ClientFault, Refused, UpstreamFault
from llamaswap.core.settings import Model
from llamaswap.core.tickets import ModelFailed, Plan, StateChanged, SwapStarted, Ticket
from llamaswap.runtime.registry import Lease, Registry, launches_alike
from llamaswap.runtime.threads import spawn
from tests.support.playbook import exclusive, together

PATIENCE = 20.0     # catches hangs; nothing here takes a second


class FakeProcess:
    """Does what it is told by the test, or by itself when `launcher.is_willing`."""

    def __init__(self, launcher: FakeLauncher, model: Model, gen: int, reports: Any) -> None:
        self.launcher, self.model, self.gen, self.reports = launcher, model, gen, reports
        self.endpoint, self.pool, self.pid = (model.id, gen), object(), 1000 + gen
        self.stops: List[float] = []
        self.kills = 0
        self._over = threading.Lock()

    def ready(self) -> None:
        self.reports.on_ready(self.model.id, self.gen)

    def exit(self, code: Optional[int] = 0, why: str = "exited") -> None:
        if self._over.acquire(blocking=False):
            self.launcher.gone(self)
            self.reports.on_exit(self.model.id, self.gen, code, why)

    def stop(self, grace: float) -> None:
        self.stops.append(grace)
        if self.launcher.is_willing:
            spawn("fake-stop", self.exit)

    def kill(self) -> None:
        self.kills += 1
        spawn("fake-kill", self.exit, -9)

    def adopt(self, model: Any) -> None:
        self.model = model

    def tail(self, n: int) -> str:
        return "out of memory"


class FakeLauncher:
    """Counts what lives. `is_willing`: becomes ready, or fails, and stops by itself."""

    def __init__(self, *, is_willing: bool = True, crash_rate: float = 0.0) -> None:
        self.is_willing = is_willing
        self.crash_rate = crash_rate
        self.lock = threading.Lock()
        self.alive: Dict[str, FakeProcess] = {}
        self.started: List[Tuple[str, int]] = []
        self.most_alive = 0
        self.changed = threading.Condition(self.lock)

    def start(self, model: Model, gen: int, reports: Any) -> FakeProcess:
        process = FakeProcess(self, model, gen, reports)
        with self.lock:
            assert model.id not in self.alive, "two of one model"
            self.alive[model.id] = process
            self.most_alive = max(self.most_alive, len(self.alive))
            self.started.append((model.id, gen))
            self.changed.notify_all()
        if self.is_willing:
            spawn("fake-start", self._run, process)
        return process

    def _run(self, process: FakeProcess) -> None:
        if random.random() < self.crash_rate:
            process.exit(1)
            return
        process.ready()
        if random.random() < self.crash_rate:
            process.exit(1)

    def gone(self, process: FakeProcess) -> None:
        with self.lock:
            del self.alive[process.model.id]
            self.changed.notify_all()

    def process(self, name: str, gen: int = 1) -> FakeProcess:
        with self.changed:
            assert self.changed.wait_for(
                lambda: name in self.alive and self.alive[name].gen == gen, PATIENCE), f"{name} was not started"
            return self.alive[name]


class Hearing:
    """What the registry told."""

    def __init__(self) -> None:
        self.events: List[Any] = []
        self.changed = threading.Condition()

    def __call__(self, event: Any) -> None:
        with self.changed:
            self.events.append(event)
            self.changed.notify_all()

    def await_state(self, name: str, state: str) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: any(
                isinstance(event, StateChanged) and (event.model, event.new.value) == (name, state)
                for event in self.events), PATIENCE), f"{name} never was {state}: {self.events}"


def models(names: str, **fields: Any) -> Dict[str, Model]:
    return {name: Model(name, **{"argv": (name,), "proxy": "http://127.0.0.1:1", **fields}) for name in names}


@pytest.fixture
def make():
    made: List[Registry] = []

    def build(names="ab", evict=exclusive, *, launcher=None, tell=None, max_wait=15.0, priority=None, **fields):
        registry = Registry(models(names, **fields), evict, launcher=launcher or FakeLauncher(),
                            tell=tell or (lambda event: None), max_wait=max_wait, priority=priority)
        made.append(registry)
        return registry
    yield build
    for registry in made:
        launcher = registry._launcher
        launcher.is_willing = True
        for process in list(getattr(launcher, "alive", {}).values()):
            process.stop(0)
        assert registry.close(timeout=PATIENCE)
        assert not registry._timer.is_alive()


def manual() -> FakeLauncher:
    return FakeLauncher(is_willing=False)


def test_a_lease_waits_for_the_model_and_gives_it_back(make):
    registry = make()
    with registry.lease("a") as lease:
        process = lease.wait(PATIENCE)
        assert process is lease.process and process.endpoint == ("a", 1)
        assert lease.is_granted and lease.generation == 1 and lease.waited >= 0
        assert registry.status("a").in_flight == 1
    status = registry.status("a")
    assert (status.in_flight, status.state, status.pid) == (0, "ready", 1001)
    assert registry.status("nobody") is None
    assert "granted" not in repr(lease)


def test_the_answer_no_comes_at_once(make):
    registry = make("a", launcher=manual(), concurrency_limit=1)
    with pytest.raises(ClientFault) as unknown, registry.lease("nobody"):
        pass
    assert (unknown.value.status, unknown.value.code) == (404, "model_not_found")
    with registry.lease("a"):
        with pytest.raises(Refused) as full, registry.lease("a"):
            pass
        assert (full.value.status, full.value.code, full.value.retry_after) == (429, "concurrency_limit", 1.0)
    with pytest.raises(ClientFault) as cold, registry.lease("a", counted=False):
        pass
    assert cold.value.status == 409


def test_wait_gives_up_after_its_timeout_and_may_be_called_again(make):
    launcher = manual()
    registry = make(launcher=launcher)
    with registry.lease("a") as lease:
        assert lease.wait(0.01) is None
        assert not lease.is_granted and lease.waited > 0
        launcher.process("a").ready()
        assert lease.wait(PATIENCE) is not None


def test_a_failed_start_is_told_with_its_last_output(make):
    launcher = manual()
    heard = Hearing()
    registry = make(launcher=launcher, tell=heard)
    with registry.lease("a") as lease:
        launcher.process("a").exit(3, "exited before it was ready")
        with pytest.raises(UpstreamFault) as failed:
            lease.wait(PATIENCE)
    assert (failed.value.status, failed.value.code, failed.value.retry_after) == (503, "model_start_failed", 1.0)
    assert failed.value.message == ("model a failed to start: exited before it was ready (exit code 3)\n"
                                    "last output:\nout of memory")
    heard.await_state("a", "stopped")
    assert [event.failures for event in heard.events if isinstance(event, ModelFailed)] == [1]


def test_a_waiter_is_refused_even_when_the_output_cannot_be_read(make, caplog):
    launcher = manual()
    registry = make(launcher=launcher)
    with registry.lease("a") as lease:
        process = launcher.process("a")
        process.tail = None
        process.exit(3)
        with pytest.raises(UpstreamFault):
            lease.wait(PATIENCE)


def test_a_report_about_an_earlier_generation_is_dropped(make):
    registry = make()
    assert registry.load("a").wait(PATIENCE)
    assert registry.unload(timeout=PATIENCE)
    registry.on_ready("a", 1)
    assert registry.load("a").wait(PATIENCE)
    registry.on_exit("a", 1, 0, "")
    registry.on_start_failed("nobody", 1, "")
    assert (registry.status("a").state, registry.status("a").generation) == ("ready", 2)
    assert repr(registry._runs["a"]) == "<_Run a gen=2 crashed=False>"


def test_a_request_to_a_ready_model_leaves_no_garbage(make):
    registry = make()
    assert registry.load("a").wait(PATIENCE)
    gc.collect()
    gc.disable()

    def held():
        return [thing for thing in gc.get_objects() if isinstance(thing, (Lease, Ticket))]
    before = held()      # by threads of other tests that have not quite ended
    try:
        for _request in range(100):
            with registry.lease("a") as lease:
                lease.wait()
        del lease
        assert len(held()) <= len(before)
    finally:
        gc.enable()


def test_a_launcher_that_raises_fails_the_start(make, caplog):
    class Broken(FakeLauncher):
        def start(self, model, gen, reports):
            raise OSError("no more processes")
    registry = make(launcher=Broken())
    for _attempt in range(2):
        with registry.lease("a") as lease, pytest.raises(UpstreamFault) as failed:
            lease.wait(PATIENCE)
        assert failed.value.code == "model_start_failed"
    assert "no more processes" in caplog.text


def test_reports_that_come_before_start_returned_are_kept(make):
    class Hasty(FakeLauncher):
        def start(self, model, gen, reports):
            process = super().start(model, gen, reports)
            process.ready()
            return process
    registry = make(launcher=Hasty(is_willing=False))
    with registry.lease("a") as lease:
        assert lease.wait(PATIENCE).endpoint == ("a", 1)


def test_a_failure_that_comes_before_start_returned_is_kept(make):
    class Hopeless(FakeLauncher):
        def start(self, model, gen, reports):
            process = super().start(model, gen, reports)
            reports.on_start_failed(model.id, gen, "no such file")
            process.exit(None, "never ran")
            return process
    registry = make(launcher=Hopeless(is_willing=False))
    with registry.lease("a") as lease, pytest.raises(UpstreamFault, match="no such file"):
        lease.wait(PATIENCE)
    assert registry.status("a").pid is None


def test_another_thread_may_cancel_a_wait(make):
    launcher = manual()
    registry = make(launcher=launcher)
    with registry.lease("a") as lease:
        spawn("hangup", lease.cancel)
        with pytest.raises(ClientFault) as gone:
            lease.wait(PATIENCE)
        assert gone.value.status == 499
        lease.cancel()
    assert registry.status("a").queued == 0


def test_a_wait_ends_with_the_fault_of_who_ended_it(make):
    registry = make(launcher=manual())
    with registry.lease("a") as lease:
        lease.cancel(UpstreamFault("by the operator", code="cancelled"))
        with pytest.raises(UpstreamFault) as ended:
            lease.wait(PATIENCE)
    assert ended.value.code == "cancelled"


def test_a_load_is_cancelled_for_everybody_who_waits(make):
    launcher, heard = manual(), Hearing()
    registry = make(launcher=launcher, tell=heard)
    load = registry.load("a")
    with registry.lease("a") as lease:
        process = launcher.process("a")
        assert not registry.cancel_load("b") and not registry.cancel_load("nobody")
        assert registry.cancel_load("a") and not registry.cancel_load("a")
        for waiting in (load, lease):
            with pytest.raises(Refused) as refused:
                waiting.wait(PATIENCE)
            assert (refused.value.status, refused.value.code) == (503, "load_cancelled")
            assert ("x-should-retry", "false") in refused.value.headers and refused.value.retry_after is None
    heard.await_state("a", "stopping")
    process.exit(-15)
    heard.await_state("a", "stopped")
    assert process.stops == [10] and registry.status("a").last_error is None
    assert not any(isinstance(event, ModelFailed) for event in heard.events)
    with registry.lease("a") as lease:
        launcher.process("a", 2).ready()
        assert lease.wait(PATIENCE) and not registry.cancel_load("a")
        assert registry.status("a").state == "ready"


def held_back(launcher):
    """The events that its next start has begun, and that it may go on."""
    begun, go_on = threading.Event(), threading.Event()
    start = launcher.start

    def slow_start(*arguments):
        begun.set()
        assert go_on.wait(PATIENCE)
        return start(*arguments)
    launcher.start = slow_start
    return begun, go_on


def test_a_load_cancelled_before_its_process_exists(make):
    """The launcher is still at it; what it makes is stopped as soon as it is there."""
    launcher = manual()
    begun, go_on = held_back(launcher)
    registry = make(launcher=launcher)
    load = registry.load("a")
    assert begun.wait(PATIENCE) and registry.cancel_load("a")
    with pytest.raises(Refused):
        load.wait(PATIENCE)
    launcher.is_willing = True      # it stops when told to
    go_on.set()
    deadline = time.monotonic() + PATIENCE
    while registry.status("a").state != "stopped":
        assert time.monotonic() < deadline
        time.sleep(0.001)
    assert not launcher.alive and registry.status("a").last_error is None


def test_cancel_of_a_granted_lease_is_a_release(make):
    registry = make()
    with registry.lease("a") as lease:
        lease.wait(PATIENCE)
        lease.cancel()
        assert registry.status("a").in_flight == 0
        assert lease.wait(0) is lease.process
    assert registry.status("a").in_flight == 0


def test_leaving_by_an_exception_gives_the_model_back(make):
    registry = make()
    with pytest.raises(ZeroDivisionError), registry.lease("a") as lease:
        lease.wait(PATIENCE)
        raise ZeroDivisionError
    assert registry.status("a").in_flight == 0


def test_progress_says_why(make):
    launcher = manual()
    registry = make(launcher=launcher)
    with registry.lease("a") as first:
        launcher.process("a").ready()
        first.wait(PATIENCE)
        with registry.lease("b") as second:
            steps = second.progress(0.01)
            step = next(steps)
            assert (step.phase, step.position, step.reason) == ("draining", 1, "waiting for a to finish")
            assert next(steps).elapsed >= step.elapsed >= 0
            first.cancel()
            launcher.process("a").exit()
            launcher.process("b").ready()
            rest = list(steps)
            assert second.wait(0) is not None
            assert {step.phase for step in rest} <= {"draining", "stopping", "loading"}


def test_others_see_at_once_where_a_lease_stands(make):
    launcher = manual()
    registry = make(launcher=launcher)
    with registry.lease("a") as lease:
        seen = lease.progress_now()
        assert (seen.phase, seen.position, seen.reason) == ("loading", 1, "a is loading") and seen.elapsed >= 0
        launcher.process("a").ready()
        lease.wait(PATIENCE)
        assert (lease.progress_now().phase, lease.progress_now().position) == ("ready", 0)
    assert lease.progress_now().phase == "done"
    unasked = registry.lease("a")
    assert (unasked.progress_now().phase, unasked.waited, unasked.load_seconds) == ("new", 0, 0)


def test_a_wait_is_divided(make):
    launcher = manual()
    registry = make(launcher=launcher)
    now = [0.0]
    registry.clock = lambda: now[0]
    with registry.lease("a") as first:
        now[0] = 2.0
        assert (first.waited, first.queue_seconds, first.load_seconds) == (2, 0, 2)
        launcher.process("a").ready()
        first.wait(PATIENCE)
        with registry.lease("b") as second:
            now[0] = 5.0
            assert (second.waited, second.queue_seconds, second.load_seconds) == (3, 3, 0)
            first.cancel()
            launcher.process("a").exit()
            launcher.process("b")
            now[0] = 9.0
            launcher.process("b").ready()
            second.wait(PATIENCE)
            now[0] = 50.0
            assert (second.waited, second.queue_seconds, second.load_seconds) == (7, 3, 4)
        assert (first.waited, first.queue_seconds, first.load_seconds) == (2, 0, 2)
        with registry.lease("b") as third:
            assert (third.waited, third.queue_seconds, third.load_seconds) == (0, 0, 0)


def test_progress_raises_when_refused(make):
    registry = make(launcher=manual())
    with registry.lease("a") as lease:
        steps = lease.progress(0.01)
        next(steps)
        registry.begin_unload()
        with pytest.raises(Refused) as refused:
            list(steps)
    assert refused.value.code == "model_unloaded"


def test_the_granted_generation_may_crash(make):
    launcher = manual()
    registry = make(launcher=launcher)
    with registry.lease("a") as lease:
        assert not lease.has_crashed()
        process = launcher.process("a")
        process.ready()
        lease.wait(PATIENCE)
        assert not lease.has_crashed(0.01)
        spawn("crash", process.exit, 1)
        assert lease.has_crashed(PATIENCE)
    with registry.lease("a") as again:
        launcher.process("a", 2).ready()
        assert again.wait(PATIENCE).endpoint == ("a", 2)
        assert not again.has_crashed()


def test_a_model_that_was_stopped_has_not_crashed(make):
    registry = make()
    with registry.lease("a") as lease:
        lease.wait(PATIENCE)
        assert registry.unload(["a"], timeout=PATIENCE)
        assert not lease.has_crashed(PATIENCE)


def test_unload_waits_only_as_long_as_asked_and_a_kill_follows(make):
    launcher = manual()
    registry = make(launcher=launcher, unload_timeout=0.05)
    load = registry.load("a")
    process = launcher.process("a")
    process.ready()
    load.wait(PATIENCE)
    assert not registry.unload(timeout=0)
    assert registry.unload(timeout=PATIENCE)
    assert (process.stops, process.kills) == ([0.05], 1)


def test_a_drain_waits_for_requests_and_who_comes_gets_the_next_generation(make):
    registry = make()
    with registry.lease("a") as lease:
        lease.wait(PATIENCE)
        gone = registry.begin_unload(["a"], mode="drain")
        assert not gone.is_set() and registry.status("a").leaving
        with registry.lease("a") as later:
            assert next(later.progress(0.01)).reason == "a finishes its requests to be unloaded"
            lease.cancel()
            assert later.wait(PATIENCE).endpoint == ("a", 2)
            assert gone.wait(PATIENCE)
        assert not lease.has_crashed(PATIENCE)


def test_a_drain_has_an_end(make):
    registry = make()
    with registry.lease("a") as lease:
        lease.wait(PATIENCE)
        assert registry.unload(mode="drain", drain_timeout=0.01, timeout=PATIENCE)
    assert registry.status("a").state == "stopped"


def test_what_is_in_use_is_not_unloaded_as_idle(make):
    registry = make(evict=together)
    assert registry.load("b").wait(PATIENCE)
    with registry.lease("a") as lease:
        lease.wait(PATIENCE)
        with pytest.raises(ClientFault) as busy:
            registry.unload(mode="idle")
        assert (busy.value.status, busy.value.code, busy.value.message) == (409, "model_busy", "in use: a")
        assert registry.status("b").state == "ready", "all or nothing"
    assert registry.unload(iter("ab"), mode="idle", timeout=PATIENCE)
    assert not registry._launcher.alive


def test_the_waiting_room(make):
    registry = make("a", concurrency_limit=1, max_waiting=3)
    served: List[int] = []

    def client(number: int) -> None:
        with registry.lease("a") as lease:
            lease.wait(PATIENCE)
            assert registry.status("a").in_flight == 1
            served.append(number)
    with registry.lease("a") as first:
        first.wait(PATIENCE)
        threads = [spawn(f"client-{number}", client, number) for number in range(3)]
        deadline = time.monotonic() + PATIENCE
        while registry.status("a").queued < 3:
            assert time.monotonic() < deadline
            time.sleep(0.001)
        with pytest.raises(Refused, match="waiting room of a is full") as full, registry.lease("a"):
            pass
        assert full.value.status == 429
    for thread in threads:
        thread.join(PATIENCE)
    assert sorted(served) == [0, 1, 2]


def test_load_holds_nothing(make):
    registry = make()
    load = registry.load("a")
    assert load.wait(PATIENCE).endpoint == ("a", 1)
    assert registry.status("a").in_flight == 0
    with pytest.raises(ClientFault):
        registry.load("nobody")


def test_a_load_can_be_given_up(make):
    registry = make(launcher=manual())
    load = registry.load("a")
    load.cancel()
    with pytest.raises(ClientFault):
        load.wait(PATIENCE)


def test_ttl_is_kept_by_the_timer(make):
    heard = Hearing()
    registry = make(tell=heard, ttl=0.05)
    with registry.lease("a") as lease:
        lease.wait(PATIENCE)
    heard.await_state("a", "stopped")
    assert [event.reason for event in heard.events if getattr(event, "new", None)
            and event.new.value == "stopping"] == ["idle for 0.05s"]


def test_the_ttl_never_ends_a_request(make):
    """Grant and expiry are decided under one lock: at the very moment of expiry it is either served or started anew."""
    launcher = FakeLauncher()
    registry = make("a", launcher=launcher, ttl=0.002)
    rng = random.Random(1)
    for _request in range(300):
        with registry.lease("a") as lease:
            process = lease.wait(PATIENCE)
            with launcher.lock:
                assert launcher.alive.get("a") is process and not process.stops
        time.sleep(0.002 + rng.uniform(-0.0005, 0.0005))
    assert registry.status("a").generation > 1, "it never expired, so nothing was tried"


def test_times_beyond_all_measure(make):
    registry = make("a", ttl=2 ** 62, unload_timeout=2 ** 62, health_check_timeout=2 ** 62)
    assert registry.load("a").wait(PATIENCE)
    assert registry._timer.is_alive()
    assert registry.close(2.0 ** 62)


def test_a_start_out_of_time_is_stopped(make):
    registry = make(health_check_timeout=0.05)
    registry._launcher.is_willing = False
    with registry.lease("a") as lease, pytest.raises(UpstreamFault, match="timed out after 0.05s"):
        lease.wait(PATIENCE)


def test_an_event_that_cannot_be_told_does_not_stop_the_others(make, caplog):
    def tell(event):
        raise ValueError("deaf")
    registry = make(tell=tell)
    with registry.lease("a") as lease:
        assert lease.wait(PATIENCE)
    assert registry.unload(timeout=PATIENCE)
    assert "could not carry out" in caplog.text


def test_events_come_in_order(make):
    heard = Hearing()
    registry = make(tell=heard)
    for name in "aba":
        with registry.lease(name) as lease:
            lease.wait(PATIENCE)
    assert registry.unload(timeout=PATIENCE)
    with heard.changed:
        assert heard.changed.wait_for(
            lambda: sum(isinstance(event, StateChanged) for event in heard.events) == 12, PATIENCE)
    for name, times in (("a", 2), ("b", 1)):
        words = [event.new.value for event in heard.events if isinstance(event, StateChanged) and event.model == name]
        assert words == ["starting", "ready", "stopping", "stopped"] * times
    assert [event for event in heard.events if isinstance(event, SwapStarted)] == [
        SwapStarted("b", ("a",)), SwapStarted("a", ("b",))]


def test_snapshot_and_plan(make):
    registry = make()
    with registry.lease("a") as lease:
        lease.wait(PATIENCE)
        a, b = registry.snapshot()
        assert (a.id, a.state, a.generation, a.pid, a.in_flight) == ("a", "ready", 1, 1001, 1)
        assert (b.id, b.state, b.pid) == ("b", "stopped", None)
        assert registry.plan("b") == Plan("b", "wait", ("a",), ("a",), "b has to wait for a to finish")
        assert (registry.state_of("a"), registry.state_of("b"), registry.state_of("nobody")) == (
            "ready", "stopped", "stopped")
    assert "ready" in repr(registry) and registry.plan("nobody") is None
    status = registry.status("a")
    assert status.since == status.ready_at <= status.last_used_at <= registry.clock()


def test_the_plan_for_what_can_never_run(make):
    registry = make("a", argv=(), argv_error="a quote too many")
    assert registry.plan("a") == Plan("a", "never", (), (), "cannot start: a quote too many")


def test_the_plan_for_what_runs_and_could_not_be_started_again(make):
    registry = make("ab", together)
    with registry.lease("a") as lease:
        lease.wait(PATIENCE)
        registry.reconfigure(models("a", argv=()), together, unchanged=["a"])
        assert registry.plan("a").action == "serve" and registry.plan("b") is None


def test_priority_reaches_the_queue(make):
    launcher = manual()
    registry = make("abc", launcher=launcher, priority={"c": 1})
    with registry.lease("a") as first, registry.lease("b") as low, registry.lease("c") as high:
        launcher.process("a").ready()
        first.wait(PATIENCE)
        assert [next(lease.progress(1)).position for lease in (low, high)] == [2, 1]


def test_reload_leaves_alone_what_did_not_change(make):
    registry = make("abc", together)
    leases = [registry.lease(name) for name in "abc"]
    for lease in leases:
        lease.__enter__()
        lease.wait(PATIENCE)
    registry.reconfigure({**models("a", ttl=99), **models("b", argv=("b", "--new"))}, together, max_wait=5,
                         priority={"a": 1})
    assert [(status.id, status.leaving) for status in registry.snapshot()] == [("a", False), ("b", True), ("c", True)]
    for lease in leases:
        lease.__exit__(None, None, None)
    with registry.lease("b") as lease:
        assert lease.wait(PATIENCE).model.argv == ("b", "--new")
    with pytest.raises(ClientFault), registry.lease("c"):
        pass
    assert registry.status("a").generation == 1
    registry.reconfigure(models("a", argv=("other",)), together, unchanged=["a"])
    assert not registry.status("a").leaving


def test_what_goes_on_adopts_a_reload(make):
    registry = make("ab", together)
    with registry.lease("a") as one, registry.lease("b") as other:
        one, other = one.wait(PATIENCE), other.wait(PATIENCE)
        registry.reconfigure({**models("a", ttl=7), **models("b", argv=("b", "--new"), ttl=7)}, together)
        assert (one.model.ttl, other.model.ttl) == (7, 0)
        # To the file, b is as before; what runs is older.
        registry.reconfigure({**models("a", ttl=8), **models("b", argv=("b", "--new"), ttl=8)}, together)
        assert (one.model.ttl, other.model.ttl) == (8, 0)


def test_a_reload_while_the_launcher_is_at_work(make):
    launcher = FakeLauncher(is_willing=False)
    registry = make("a", launcher=launcher)
    begun, go_on = held_back(launcher)
    with registry.lease("a") as lease:
        assert begun.wait(PATIENCE)
        registry.reconfigure(models("a", ttl=7), together)
        go_on.set()
        launcher.process("a").ready()
        assert lease.wait(PATIENCE).model.ttl == 7


def test_launches_alike_looks_at_what_runs():
    one = Model("m", argv=("x",), ttl=1)
    assert launches_alike(one, Model("m", argv=("x",), ttl=2))
    assert not launches_alike(one, Model("m", argv=("y",)))
    assert not launches_alike(one, Model("m", argv=("x",), env=("A=1",)))


def test_close_drains_then_stops_and_refuses(make):
    registry = make()
    lease = registry.lease("a").__enter__()
    lease.wait(PATIENCE)
    closed = []
    closing = spawn("close", lambda: closed.append(registry.close(PATIENCE)))
    deadline = time.monotonic() + PATIENCE
    while not registry.status("a").leaving and time.monotonic() < deadline:
        time.sleep(0.001)
    with pytest.raises(Refused) as late, registry.lease("a"):
        pass
    assert late.value.code == "shutting_down"
    assert registry.status("a").state == "ready"
    lease.__exit__(None, None, None)
    closing.join(PATIENCE)
    assert closed == [True]


def test_close_says_when_something_lives_on(make):
    launcher = manual()
    registry = make(launcher=launcher)
    registry.load("a")
    launcher.process("a")
    assert not registry.close(timeout=0.01)
    launcher.process("a").exit()


def test_a_timer_that_breaks_is_vital():
    broken = threading.Event()
    registry = Registry(models("a"), exclusive, launcher=FakeLauncher(), tell=lambda event: None, on_crash=broken.set)
    registry._scheduler.next_deadline = lambda: 1 / 0
    registry._wakeup.acquire()
    registry._wakeup.notify()
    registry._wakeup.release()
    assert broken.wait(PATIENCE)


def test_hammer(make):
    """32 threads over four exclusive models, clients that give up, starts and models that crash: nothing is left."""
    launcher = FakeLauncher(crash_rate=0.02)
    registry = make("abcd", launcher=launcher, max_wait=0.02, concurrency_limit=32)
    outcomes: Counter = Counter()
    count = threading.Lock()

    def one_request(rng: random.Random, name: str) -> str:
        with registry.lease(name) as lease:
            is_leaving = rng.random() < 0.1
            if is_leaving:
                spawn("hangup", lease.cancel)
            if lease.wait(PATIENCE) is None:
                return "stuck"
            with launcher.lock:
                is_alive = launcher.alive.get(name) is lease.process
            # While a lease is held, only a crash may end its process.
            return "served" if is_alive or is_leaving or lease.has_crashed(PATIENCE) else "cut"

    def client(number: int) -> None:
        rng = random.Random(number)
        for turn in range(60):
            try:
                outcome = one_request(rng, "abcd"[(number + turn) % 4])
            except (Refused, ClientFault, UpstreamFault) as fault:
                outcome = fault.code
            with count:
                outcomes[outcome] += 1

    threads = [spawn(f"client-{number}", client, number) for number in range(32)]
    for thread in threads:
        thread.join(4 * PATIENCE)
    assert not any(thread.is_alive() for thread in threads), registry
    assert sum(outcomes.values()) == 32 * 60
    assert launcher.most_alive == 1
    assert set(outcomes) <= {"served", "client_gone", "model_start_failed", "model_crash_loop"}, outcomes
    assert outcomes["served"] > 100, outcomes
    assert all((status.in_flight, status.queued) == (0, 0) for status in registry.snapshot())
    assert all(record.admitted == 0 for record in registry._scheduler._models.values())
    assert registry.unload(timeout=PATIENCE)
    assert not launcher.alive
