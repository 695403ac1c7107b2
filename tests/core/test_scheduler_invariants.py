"""Whatever happens in whatever order, the machine keeps its promises.

A `World` plays the part of everything outside: it carries out effects, keeps its own books and checks after every input
that they agree with the machine's. It is driven twice: by a seeded random walk for bulk (LLAMASWAP_STEPS, repeat a
failure with LLAMASWAP_SEED) and by Hypothesis, which finds short examples.
"""
from __future__ import annotations

import os
import random
from typing import Callable, Dict, List, Optional, Set

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from llamaswap.core.lifecycle import State
from llamaswap.core.scheduler import Scheduler
from llamaswap.core.tickets import (
    Cause,
    Completion,
    Finish,
    Kill,
    Refuse,
    Spec,
    Start,
    StateChanged,
    Stop,
    Tell,
    Ticket,
    TicketState,
    Wake,
)
from tests.support.playbook import assert_pass_is_settled, exclusive, one_of, refused, rooms, together

STEPS = int(os.environ.get("LLAMASWAP_STEPS", "200000"))
SEED = int(os.environ.get("LLAMASWAP_SEED", "0")) or random.randrange(1, 2 ** 32)
WALK = 400
NAMES = "abcde"
ENDED = {TicketState.DONE, TicketState.GONE, TicketState.REFUSED}


def loners(target, live):
    """Not symmetric, as groups are: a and b clear the table, the others join whoever is there."""
    return [name for name in live if target in "ab"]


POLICIES = [exclusive, together, rooms(x="abc", y="de"), one_of("ab", "bc", "cde", "ae"), loners]


class Process:
    def __init__(self, gen: int) -> None:
        self.gen = gen
        self.state = State.STARTING
        self.used_at = 0.0                          # max(ready, last end)
        self.stop_due: Optional[float] = None


class World:
    def __init__(self, pick: Callable[[List], object]) -> None:
        self.pick = pick
        self.now = self.seen_at = 0.0
        self.evict = pick(POLICIES)
        self.specs = {name: self.spec() for name in NAMES}
        self.scheduler = Scheduler(self.specs, self.evict, max_wait=pick([0.0, 3.0, 15.0]))
        self.alive: Dict[str, Process] = {}
        self.told: Dict[str, State] = {}
        self.since: Dict[str, float] = {}
        self.stopped_by: Dict[str, Cause] = {}
        self.waiting: Set[Ticket] = set()
        self.serving: Set[Ticket] = set()
        self.ended: List[Ticket] = []
        self.completions: Dict[Completion, Set] = {}

    def spec(self) -> Spec:
        return Spec(concurrency=self.pick([1, 3, 10]), max_waiting=self.pick([0, 0, 1, 4]),
                    ttl=self.pick([0, 2, 20]), unload_timeout=self.pick([1, 5]),
                    health_check_timeout=self.pick([10, 60]), priority=self.pick([0, 0, 1]))

    # --- books -------------------------------------------------------------------------------------------------------

    def put(self, verb: str, *args, **options) -> List:
        effects = getattr(self.scheduler, verb)(*args, self.now, **options)
        self.seen_at = self.now
        for effect in effects:
            getattr(self, "see_" + type(effect).__name__.lower())(effect)
        self.audit()
        return effects

    def see_wake(self, effect: Wake) -> None:
        ticket = effect.ticket
        self.waiting.remove(ticket)                                             # I3: woken once
        process = self.alive[ticket.model]
        assert (process.gen, process.state) == (ticket.gen, State.READY), "granted means ready"
        if ticket.holds:
            self.serving.add(ticket)
            spec = self.scheduler._models[ticket.model].spec
            assert len(self.held(ticket.model)) <= spec.concurrency, "served at once"
        else:
            process.used_at = self.now if ticket.counted else process.used_at
            self.ended.append(ticket)

    def see_refuse(self, effect: Refuse) -> None:
        self.waiting.remove(effect.ticket)
        self.ended.append(effect.ticket)

    def see_start(self, effect: Start) -> None:
        assert effect.model not in self.alive, "I2: two of one model"
        assert not self.evict(effect.model, sorted(self.alive)), "I1: started beside something in its way"
        self.alive[effect.model] = Process(effect.gen)

    def see_stop(self, effect: Stop) -> None:
        process = self.alive[effect.model]
        assert process.gen == effect.gen and process.stop_due is None, "stopped once"
        process.stop_due = self.now + effect.grace

    def see_kill(self, effect: Kill) -> None:
        process = self.alive[effect.model]
        assert process.gen == effect.gen and process.stop_due is not None and self.now >= process.stop_due

    def see_finish(self, effect: Finish) -> None:
        due = self.completions.pop(effect.completion)
        assert not due & {(name, process.gen) for name, process in self.alive.items()}

    def see_tell(self, effect: Tell) -> None:
        event = effect.event
        if not isinstance(event, StateChanged):
            return
        assert event.old is self.told.get(event.model, State.STOPPED) and event.old is not event.new, "I8"
        self.told[event.model] = event.new
        self.since[event.model] = self.now
        if event.new is State.STOPPED:
            alone = {State.STARTING: Cause.START_FAILED, State.READY: Cause.CRASHED}.get(event.old)
            assert event.cause is self.stopped_by.pop(event.model, alone)
        elif event.new is State.STOPPING:
            self.stopped_by[event.model] = event.cause
            assert (event.cause is Cause.EVICTED) == bool(event.evicted_for)
        if event.new is State.STOPPING:
            process = self.alive[event.model]
            process.state = State.STOPPING
            waiting = [ticket for ticket in self.waiting if ticket.model == event.model]
            if event.reason.startswith(("making room", "idle")):
                assert not self.held(event.model), "never stop while busy"
            if event.reason.startswith("making room") and event.old is State.STARTING:
                assert not waiting, "a load somebody waits for"
            if event.reason.startswith("idle"):
                ttl = self.scheduler._models[event.model].spec.ttl
                assert not waiting and ttl > 0 and self.now >= process.used_at + ttl, "I5"

    def held(self, name: str) -> List[Ticket]:
        gen = self.alive[name].gen if name in self.alive else 0
        return [ticket for ticket in self.serving if (ticket.model, ticket.gen) == (name, gen)]

    def audit(self) -> None:
        assert_pass_is_settled(self.scheduler, self.now)
        deadline = self.scheduler.next_deadline()
        assert deadline is None or deadline > self.now, "the timer would spin"
        for status in self.scheduler.statuses():
            process = self.alive.get(status.id)
            assert status.state == (process.state if process else State.STOPPED).value
            assert status.in_flight == len(self.held(status.id))
            assert status.queued == sum(ticket.model == status.id for ticket in self.waiting)
            assert status.since is None or status.since == self.since[status.id]
            self.check_plan(status.id, process)
        for record in self.scheduler._models.values():
            if record.queue and self.scheduler._is_open(record):
                assert len(record.serving) >= record.spec.concurrency, "somebody waits although a place is free"
        assert all(ticket.state is TicketState.QUEUED for ticket in self.waiting)
        assert all(ticket.state is TicketState.GRANTED for ticket in self.serving)
        line = sorted(self.waiting, key=lambda ticket: (-ticket.record.spec.priority, ticket.place_in_line))
        assert [self.scheduler.place(ticket).position for ticket in line] == list(range(1, len(line) + 1))
        for ticket in (*self.waiting, *self.ended[-3:]):
            self.check_wait(ticket)

    def check_plan(self, name: str, process: Optional[Process]) -> None:
        """What is planned names only who lives or waits; whoever is evicted is in the way."""
        plan = self.scheduler.plan(name, self.now)
        if plan is None:
            return
        assert plan.reason and plan.action in ("serve", "join", "start", "swap", "wait", "refuse")
        assert {*plan.evict, *plan.waits_for} <= {*self.alive, *(ticket.model for ticket in self.waiting)}
        assert set(plan.evict) <= set(self.evict(name, sorted({*self.alive, *plan.evict})))
        if plan.action == "start":
            assert process is None and not self.evict(name, sorted(self.alive))

    def check_wait(self, ticket: Ticket) -> None:
        loading = self.scheduler.load_seconds(ticket, self.now)
        until = self.now if ticket.state is TicketState.QUEUED else ticket.left_at
        assert 0 <= loading <= until - ticket.queued_at, "a share of the wait"

    # --- what may happen ---------------------------------------------------------------------------------------------

    def submit(self) -> None:
        kind = self.pick([{}] * 8 + [{"counted": False}, {"may_start": False}])
        ticket = Ticket(self.pick([*NAMES, "unknown"]), **kind)
        overdue = self.overdue()
        has_room = ticket.may_start and not self.is_full(ticket.model)
        self.waiting.add(ticket)
        effects = self.put("submit", ticket)
        assert not has_room or refused(ticket, 429, "concurrency_limit") not in effects, "refused in spite of room"
        if ticket in self.serving and self.evict is exclusive:
            assert not overdue - {ticket.model}, "a newcomer was served before somebody overdue"

    def is_full(self, name: str) -> bool:
        """I3: neither more nor fewer are let in than the two numbers say."""
        model = self.scheduler._models.get(name)
        return model is not None and model.admitted >= model.spec.concurrency + model.spec.max_waiting

    def overdue(self) -> Set[str]:
        """Whose patience was at an end when the machine last looked, and who waits for nothing but room."""
        max_wait = self.scheduler._max_wait
        return {ticket.model for ticket in self.waiting if ticket.model not in self.alive
                and max_wait > 0 and ticket.queued_at + max_wait <= self.seen_at}

    def load(self) -> None:
        ticket = Ticket(self.pick([*NAMES]), holds=False)
        self.waiting.add(ticket)
        self.put("load", ticket)

    def release(self) -> None:
        if self.serving:
            self.give_back(self.pick(sorted(self.serving, key=lambda ticket: ticket.place_in_line)))

    def give_back(self, ticket: Ticket) -> None:
        self.serving.remove(ticket)
        self.ended.append(ticket)
        process = self.alive.get(ticket.model)
        if process is not None and process.gen == ticket.gen:
            process.used_at = self.now
        self.put("release", ticket)

    def cancel(self) -> None:
        if self.waiting:
            ticket = self.pick(sorted(self.waiting, key=lambda ticket: ticket.place_in_line))
            self.waiting.remove(ticket)
            self.ended.append(ticket)
            self.put("cancel", ticket)

    def end_again(self) -> None:
        if self.ended:
            self.put("on_timer")        # what is overdue is not this ticket's doing
            assert not self.put("release", self.pick(self.ended[-5:])), "a ticket ends once"

    def become_ready(self) -> None:
        starting = [name for name, process in self.alive.items() if process.state is State.STARTING]
        if starting:
            self.make_ready(self.pick(starting))

    def make_ready(self, name: str) -> None:
        process = self.alive[name]
        if process.state is State.STARTING:     # else it comes too late, which changes nothing
            process.state, process.used_at = State.READY, self.now
        self.put("on_ready", name, process.gen)

    def exit(self) -> None:
        """A stop that works, mostly; now and then a crash or a start that fails."""
        stopping = [name for name, process in self.alive.items() if process.state is State.STOPPING]
        chosen = stopping if stopping and self.pick([True, True, False]) else list(self.alive)
        if chosen:
            self.bury(self.pick(chosen))

    def bury(self, name: str) -> None:
        process = self.alive.pop(name)
        self.put("on_exit", name, process.gen, self.pick([0, 1, None]), "")

    def fail_start(self) -> None:
        if self.alive:
            name = self.pick(list(self.alive))
            self.put("on_start_failed", name, self.alive[name].gen, "no such file")

    def report_late(self) -> None:
        """I7: what an earlier generation has to say changes nothing."""
        name = self.pick([*NAMES, "unknown"])
        gen = self.scheduler._gens.get(name, 1) - 1
        self.put("on_timer")
        for effects in (self.put("on_ready", name, gen), self.put("on_start_failed", name, gen, ""),
                        self.put("on_exit", name, gen, 1, "")):
            assert not effects

    def wait(self) -> None:
        self.advance(self.pick([0.0, 0.1, 1.0, 5.0, 30.0]))

    def advance(self, seconds: float) -> None:
        target = self.now + seconds
        while True:
            deadline = self.scheduler.next_deadline()
            if deadline is None or deadline > target:
                break
            self.now = deadline
            self.put("on_timer")
        self.now = target

    def oversleep(self) -> None:
        """The timer is late; whatever comes first has to do its work."""
        self.now += self.pick([0.5, 20.0])

    def unload(self) -> None:
        self.end_models()

    def drain(self) -> None:
        self.end_models(drain_timeout=self.pick([0.0, 2.0, 1000.0]))

    def end_models(self, **options) -> None:
        names = self.pick([None, ["a"], ["b", "c"], ["d", "unknown"]])
        due = {(name, process.gen) for name, process in self.alive.items() if names is None or name in names}
        completion = Completion()
        self.completions[completion] = due
        self.put("unload", completion, names, **options)

    def cancel_load(self) -> None:
        name = self.pick([*NAMES, "unknown"])
        self.put("on_timer")        # what is overdue is not this order's doing
        process = self.alive.get(name)
        failures = self.failures(name)
        if process is None or process.state is not State.STARTING:
            assert not self.put("cancel_load", name), "only a load is cancelled"
            return
        waiting = [ticket for ticket in self.waiting if ticket.model == name]
        effects = self.put("cancel_load", name)
        assert process.state is State.STOPPING and self.stopped_by[name] is Cause.CANCELLED
        assert all(refused(ticket, 503, "load_cancelled") in effects for ticket in waiting)
        assert self.failures(name) == failures, "nobody failed"

    def failures(self, name: str) -> int:
        model = self.scheduler._models.get(name)
        return 0 if model is None else model.crashes.failures

    def reload(self) -> None:
        kept = [name for name in NAMES if self.pick([True, True, True, False])]
        self.specs = {name: self.spec() for name in kept or NAMES}
        self.put("reconfigure", self.specs, self.evict, unchanged=[name for name in kept if self.pick([True, False])],
                 max_wait=self.pick([0.0, 3.0]), drain_timeout=self.pick([2.0, 1000.0]))

    # --- the end -----------------------------------------------------------------------------------------------------

    def settle_down(self) -> None:
        """Everybody behaves from now on: then everybody who waits is served, and nothing is left over."""
        for _round in range(12 * len(NAMES)):
            for ticket in list(self.serving):
                self.give_back(ticket)
            for name in [name for name, process in self.alive.items() if process.state is State.STARTING]:
                self.make_ready(name)
            for name in [name for name, process in self.alive.items() if process.state is State.STOPPING]:
                self.bury(name)
            if not self.waiting and not self.serving:
                break
        assert not self.waiting and not self.serving, f"stuck: {self.scheduler!r} {self.waiting}"
        self.close()

    def close(self) -> None:
        completion = Completion()
        self.completions[completion] = set()
        self.put("close", completion, 5.0)
        for ticket in list(self.serving):
            self.give_back(ticket)
        for name in list(self.alive):
            self.bury(name)
        assert not self.alive and not self.waiting and not self.completions
        assert all(ticket.state in ENDED for ticket in self.ended), "I3"
        assert all(record.admitted == 0 for record in self.scheduler._models.values()), "I3"
        assert self.scheduler.next_deadline() is None


ACTIONS = [World.submit] * 10 + [World.release] * 8 + [World.become_ready] * 5 + [World.exit] * 4 + [World.wait] * 3 + [
    World.cancel, World.cancel, World.load, World.end_again, World.fail_start, World.report_late, World.oversleep,
    World.cancel_load]
RARE = [World.unload, World.drain, World.reload]


def test_random_walk():
    print(f"LLAMASWAP_SEED={SEED}")
    for walk in range(max(1, STEPS // WALK)):
        rng = random.Random(SEED + walk)
        world = World(rng.choice)
        try:
            for _step in range(WALK):
                rng.choice(RARE if rng.random() < 0.02 else ACTIONS)(world)
            rng.choice([World.settle_down, World.settle_down, World.close])(world)
        except Exception as error:
            raise AssertionError(f"repeat with LLAMASWAP_SEED={SEED + walk}") from error


INDEX = st.lists(st.integers(0, 59), min_size=16, max_size=16)


class Machine(RuleBasedStateMachine):
    """The same world; Hypothesis chooses, so what it finds it also makes short."""

    def choose(self, sequence: List) -> object:
        self.drawn += 1
        return sequence[self.draws[self.drawn % len(self.draws)] % len(sequence)]

    @initialize(draws=INDEX)
    def begin(self, draws):
        self.draws, self.drawn = draws, 0
        self.world = World(self.choose)

    @rule(action=st.sampled_from([*ACTIONS, *RARE]), draws=INDEX)
    def act(self, action, draws):
        self.draws, self.drawn = draws, 0
        action(self.world)

    def teardown(self):
        if hasattr(self, "world"):
            self.world.settle_down()


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=max(5, min(100, STEPS // 2000)), stateful_step_count=40, deadline=None,
                                database=None, suppress_health_check=list(HealthCheck))
