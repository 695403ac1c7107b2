"""The one place where models, tickets and time meet.

Owns: which models live, who is waiting, who is being served, when something is overdue.
Does not own: sockets, processes, threads, the clock. It is told what happened, with the instant it happened at, and
answers with effects, in the order in which they have to be carried out.

Every input ends in `_settle()`, so the policy is written once:
1. what has run out of time is ended (a start, a stop, an idle model, a drain);
2. waiting models are placed, in order: those that already made room, those that waited longer than `max_wait`, then by
   priority and arrival. A blocked one does not hold up a later one, unless it is overdue;
3. a ready model serves without looking at the queue, until somebody overdue needs it gone: then its gate is closed.
   It serves `concurrency` requests at once. Behind an open gate nobody waits while a place is free, so a newcomer who
   finds one overtakes nobody.

A pass over the queue is only made when something it depends on has changed (`_dirty`) or a deadline has passed, so a
request to a ready model costs the same whether nobody waits or five hundred do.
"""
from __future__ import annotations

from typing import Callable, Collection, Dict, Iterable, Iterator, List, Mapping, Optional, Set, Tuple

from llamaswap.core import reasons
from llamaswap.core.lifecycle import LIVE, STAYING, Move, State, next_state
from llamaswap.core.tickets import (
    NEVER,
    Cause,
    Completion,
    Effect,
    Finish,
    Kill,
    ModelFailed,
    ModelStatus,
    Names,
    Place,
    Plan,
    Record,
    Refuse,
    Spec,
    Start,
    StateChanged,
    Stop,
    SwapStarted,
    Tell,
    Ticket,
    TicketState,
    Wake,
)

Evict = Callable[[str, Names], Collection[str]]     # (target, who lives, sorted) -> who has to go; pure, never logs
KILL_AGAIN_AFTER = 5.0      # a kill that had no effect is repeated; a stop has to end


class Scheduler:
    """Every input returns the effects to carry out. Not thread-safe: the registry's lock is held around each call."""

    def __init__(self, specs: Mapping[str, Spec], evict: Evict, *, max_wait: float = 15.0) -> None:
        self._models = {name: Record(name, spec, 0) for name, spec in specs.items()}
        self._evict = evict
        self._max_wait = max_wait
        self._closing = False
        self._live: Dict[str, Record] = {}
        self._waiting: Dict[str, Record] = {}       # exactly the models with a queue
        self._gens: Dict[str, int] = {}             # outlives a removed model: its late reports must stay old
        self._completions: List[Completion] = []
        self._line = 0
        self._effects: List[Effect] = []
        # Results of the last pass, read until the next one.
        self._claims: Dict[str, None] = {}          # made room and are waiting for it, oldest first
        self._gated: Dict[str, str] = {}            # who may not serve newcomers -> for whom
        self._wanted: Set[str] = set()              # busy models that somebody waits for to become idle
        self._obstacles: Dict[str, Tuple[str, Names]] = {}
        self._dirty = False
        self._wake_at = NEVER
        self._decisions: Dict[Tuple[str, Names], Names] = {}
        self._positions: Dict[Ticket, int] = {}     # of all who wait; kept for whoever asks about many, until one moves

    def __repr__(self) -> str:
        return f"<Scheduler live={list(self._live.values())} waiting={list(self._waiting.values())}>"

    # --- inputs: tickets ---------------------------------------------------------------------------------------------

    def submit(self, ticket: Ticket, now: float) -> List[Effect]:
        """Wake or Refuse may be among the effects already; otherwise one of them follows, unless it is cancelled."""
        assert ticket.state is TicketState.NEW, f"submit of {ticket!r}"
        model = self._models.get(ticket.model)
        ticket.queued_at = ticket.left_at = now
        objection = self._objection(ticket, model, now)
        if model is None or objection is not None:
            ticket.state = TicketState.REFUSED
            self._effects.append(objection or reasons.unknown(ticket))
            return self._settle(now)
        ticket.record = model
        if ticket.holds:
            model.admitted += 1
        if not ticket.counted or (self._is_open(model) and (model.has_place() or not ticket.holds)):
            self._grant(model, ticket, now)
        else:
            self._enqueue(model, ticket, now)
        return self._settle(now)

    def load(self, ticket: Ticket, now: float) -> List[Effect]:
        """As submit, for somebody who insists: a pause after failed starts is called off."""
        model = self._models.get(ticket.model)
        if model is not None:
            model.crashes.forgive()
        return self.submit(ticket, now)

    def release(self, ticket: Ticket, now: float) -> List[Effect]:
        """The holder is finished, or no longer wants it. Right in every state but NEW, so a `finally` may call it."""
        assert ticket.state is not TicketState.NEW, f"release of {ticket!r}"
        model = ticket.record
        if ticket.state is TicketState.GRANTED and model is not None:
            ticket.state = TicketState.DONE
            self._end(model, ticket, now)
        elif ticket.state is TicketState.QUEUED and model is not None:
            ticket.state = TicketState.GONE
            self._leave_queue(model, ticket, now)
            self._dirty = True
        return self._settle(now)

    # Grant and cancel happen under one lock, so they cannot cross: a cancel that finds GRANTED is a release.
    cancel = release

    # --- inputs: orders ----------------------------------------------------------------------------------------------

    def unload(self, completion: Completion, names: Optional[Iterable[str]], now: float, *,
               drain_timeout: Optional[float] = None) -> List[Effect]:
        """Stop these models (None = all) whatever they are doing, and refuse who waits for them. With `drain_timeout`
        what they serve may end until then, and who waits is served by the next generation."""
        for model in self._chosen(names):
            if drain_timeout is None:
                message = reasons.unloaded(model, self._obstacle(model)[1])
                self._refuse_waiting(model, now, 503, "model_unloaded", message, 1.0)
                self._stop(model, now, Cause.UNLOADED, reasons.DRAINED[Cause.UNLOADED])
            elif model.state in STAYING:
                self._drain(model, now + drain_timeout, Cause.UNLOADED)
            completion.wait_for(model)
        return self._finish_or_keep(completion, now)

    def cancel_load(self, name: str, now: float) -> List[Effect]:
        """End a start that is under way, and refuse who waits for it. Nobody failed, so nothing is held against the
        model. In any other state nothing happens."""
        model = self._models.get(name)
        if model is not None and model.state is State.STARTING:
            message = f"the load of model {name} was cancelled"
            self._refuse_waiting(model, now, 503, "load_cancelled", message, None)
            self._stop(model, now, Cause.CANCELLED, "load cancelled")
        return self._settle(now)

    def close(self, completion: Completion, drain_timeout: float, now: float) -> List[Effect]:
        """Refuse all that wait and come, let requests end for `drain_timeout`, stop everything. May be called again."""
        self._closing = True
        for model in list(self._models.values()):
            self._refuse_waiting(model, now, 503, "shutting_down", reasons.SHUTTING_DOWN, reasons.RESTART_PAUSE)
            if model.state in LIVE:
                self._drain(model, now + drain_timeout, Cause.SHUTDOWN)
                completion.wait_for(model)
        return self._finish_or_keep(completion, now)

    def reconfigure(self, specs: Mapping[str, Spec], evict: Evict, now: float, *, unchanged: Collection[str],
                    max_wait: float, drain_timeout: float = NEVER) -> List[Effect]:
        """Take over a new configuration. Models named in `unchanged` keep running; others drain, and who waits for
        them is served by their replacement."""
        self._evict, self._max_wait = evict, max_wait
        self._decisions.clear()
        self._positions.clear()
        for model in list(self._models.values()):
            if model.name not in specs:
                self._remove(model, now, now + drain_timeout)
        for name, spec in specs.items():
            known = self._models.get(name)
            if known is None:
                self._models[name] = Record(name, spec, self._gens.get(name, 0))
            else:
                self._replace(known, spec, name in unchanged, now + drain_timeout)
        self._drain_misfits(now + drain_timeout)
        self._dirty = True
        return self._settle(now)

    # --- inputs: reports ---------------------------------------------------------------------------------------------

    def on_ready(self, name: str, gen: int, now: float) -> List[Effect]:
        model = self._reported(name, gen)
        if model is not None and model.state is State.STARTING:
            model.ready_at = model.idle_at = now
            self._move(model, Move.READY, now, Cause.READY, "answers its health check")
            # All of them, even when the gate is about to close: a model that was stopped between ready and first use
            # would be started again for them, and so on (test_a_model_serves_its_batch_before_it_makes_room).
            self._grant_waiting(model, now)
        return self._settle(now)

    def on_start_failed(self, name: str, gen: int, why: str, now: float) -> List[Effect]:
        """on_exit follows; until then the model counts as stopping."""
        model = self._reported(name, gen)
        if model is not None and model.state is State.STARTING:
            self._fail_start(model, why, now)
            self._stop(model, now, Cause.START_FAILED, why)
        return self._settle(now)

    def on_exit(self, name: str, gen: int, code: Optional[int], why: str, now: float) -> List[Effect]:
        model = self._reported(name, gen)
        if model is None or model.state is State.STOPPED:
            return self._settle(now)
        text = reasons.exited(why, code)
        if model.state is State.STARTING:
            self._fail_start(model, text, now, code)
        elif model.state is State.READY:
            self._crash(model, text, now, code)
        elif model.ready_at is not None:
            model.crashes.forgive()
        self._move(model, Move.EXIT, now, model.stopped_by[0], text, model.stopped_by[1], code)
        self._after_exit(model)
        return self._settle(now)

    def on_timer(self, now: float) -> List[Effect]:
        return self._settle(now)

    def next_deadline(self) -> Optional[float]:
        """on_timer wants to be called then. May be too early (it is kept up cheaply), never too late."""
        return None if self._wake_at == NEVER else self._wake_at

    # --- questions ---------------------------------------------------------------------------------------------------

    def statuses(self, names: Optional[Iterable[str]] = None) -> List[ModelStatus]:
        return [model.status(self._obstacle(model)[1] if model.queue else "") for model in self._chosen(names)]

    def in_use(self, names: Optional[Iterable[str]]) -> Names:
        """Those of them (None = all) that serve somebody or that somebody waits for."""
        return tuple(model.name for model in self._chosen(names) if model.serving or model.queue)

    def state_of(self, name: str) -> Optional[State]:
        model = self._models.get(name)
        return None if model is None else model.state

    def is_serving(self, name: str, gen: int) -> bool:
        model = self._reported(name, gen)
        return model is not None and model.state is State.READY

    def place(self, ticket: Ticket) -> Place:
        """Why this ticket waits, in words."""
        model = ticket.record
        if ticket.state is not TicketState.QUEUED or model is None:
            return Place("ready" if ticket.state is TicketState.GRANTED else ticket.state.value, 0, "")
        phase, reason = self._obstacle(model)
        if not self._positions:
            line = sorted((-other.spec.priority, queued.place_in_line, queued)
                          for other in self._waiting.values() for queued in other.queue)
            self._positions = {queued: number for number, (_, _, queued) in enumerate(line, 1)}
        return Place(phase, self._positions[ticket], reason)

    def load_seconds(self, ticket: Ticket, now: float) -> float:
        """Also of one that still waits."""
        if ticket.state is TicketState.QUEUED and ticket.record is not None:
            return ticket.record.load_seconds(ticket.queued_at, now)
        return ticket.load_seconds

    def plan(self, name: str, now: float) -> Optional[Plan]:
        """What a request would meet; None for a model that is not configured."""
        model = self._models.get(name)
        if model is None or model.removed:
            return None
        objection = self._objection(Ticket(name), model, now)
        if objection is not None:
            return Plan(name, "refuse", (), (), objection.message)
        if model.state is not State.STOPPED:
            return reasons.plan_of_live(model, self._obstacle(model)[1], is_open=self._is_open(model))
        evict = self._decide(name, self._staying(self._claims, name))
        ending = tuple(other for other in self._decide(name, tuple(sorted(self._live)))
                       if self._models[other].state is State.STOPPING)
        if model.queue:     # the next one joins those
            return Plan(name, "wait", evict, self._obstacles[name][1], self._obstacle(model)[1])
        return reasons.plan_of_stopped(name, evict, self._busy(evict, False), ending)

    # --- the policy --------------------------------------------------------------------------------------------------

    def _settle(self, now: float) -> List[Effect]:
        if self._dirty or now >= self._wake_at:
            self._end_overdue(now)
            self._make_room(now)
            self._dirty = False
            self._wake_at = min(self._deadlines(now), default=NEVER)
        effects, self._effects = self._effects, []
        return effects

    def _end_overdue(self, now: float) -> None:
        for model in list(self._live.values()):
            if now < model.due_at():
                continue
            if model.state is State.STOPPING:
                model.kill_at = now + KILL_AGAIN_AFTER
                self._effects.append(Kill(model.name, model.gen))
            elif model.draining:
                self._stop(model, now, model.drain_cause, reasons.DRAINED[model.drain_cause])
            elif model.state is State.STARTING:
                why = f"health check timed out after {model.spec.health_check_timeout:g}s"
                self._fail_start(model, why, now)
                self._stop(model, now, Cause.START_FAILED, why)
            else:
                self._stop(model, now, Cause.IDLE, f"idle for {model.spec.ttl:g}s")

    def _deadlines(self, now: float) -> Iterator[float]:
        for model in self._live.values():
            yield model.due_at()
        if self._max_wait > 0:
            for model in self._waiting.values():
                overdue_at = model.head().queued_at + self._max_wait
                if model.state is State.STOPPED and overdue_at > now:
                    yield overdue_at

    def _make_room(self, now: float) -> None:
        self._gated, self._wanted, self._obstacles = {}, set(), {}
        self._claims = {name: None for name in self._claims
                        if name in self._waiting and self._waiting[name].state is State.STOPPED}
        ahead: List[str] = []       # not live yet, but nobody later in the order may take or need their room
        for model in sorted(self._waiting.values(), key=lambda model: self._rank(model, now)):
            if model.state is State.STOPPED:
                self._place(model, ahead, now)
        for model in list(self._waiting.values()):
            if self._is_open(model):
                self._grant_waiting(model, now)

    def _rank(self, model: Record, now: float) -> Tuple[int, int, int]:
        head = model.head()
        if model.name in self._claims:
            return (0, 0, list(self._claims).index(model.name))
        if self._is_overdue(head, now):
            return (1, 0, head.place_in_line)
        return (2, -model.spec.priority, head.place_in_line)

    def _place(self, target: Record, ahead: List[str], now: float) -> None:
        """Start `target`, or make room for it, or note what is in its way."""
        name = target.name
        overdue = self._is_overdue(target.head(), now)
        evict = self._decide(name, self._staying(ahead, name))
        behind = tuple(other for other in ahead
                       if other in evict or name in self._decide(other, self._staying((*ahead, name), other)))
        if behind:
            self._obstacles[name] = ("behind", behind)
            if overdue:
                ahead.append(name)
            return
        busy = self._busy(evict, overdue)
        if busy:
            self._obstacles[name] = ("drain", busy)
            self._wanted.update(busy)
            if overdue:
                # Newcomers wait outside from now on, also of the idle ones: a busy model is never idle by itself, and
                # several of them never at the same time (test_the_gate_closes_on_everybody_in_the_way).
                self._gated.update((victim, name) for victim in evict if victim not in self._gated)
                ahead.append(name)
            return
        self._claim(target, evict, ahead, now)

    def _claim(self, target: Record, evict: Names, ahead: List[str], now: float) -> None:
        if evict:
            self._effects.append(Tell(SwapStarted(target.name, evict)))
        for victim in evict:
            self._stop(self._models[victim], now, Cause.EVICTED, f"making room for {target.name}", target.name)
        # Those on their way out still hold memory: nothing starts before everything in its way is gone.
        if self._decide(target.name, tuple(sorted({*self._live, *ahead}))):
            self._obstacles[target.name] = ("stop", tuple(sorted(
                name for name, model in self._live.items() if model.state is State.STOPPING)))
            self._claims[target.name] = None
            ahead.append(target.name)
            return
        self._claims.pop(target.name, None)
        self._start(target, now)

    def _decide(self, target: str, live: Names) -> Names:
        """The policy is pure, so its answers can be kept: a pass asks the same questions again and again."""
        key = (target, live)
        answer = self._decisions.get(key)
        if answer is None:
            if len(self._decisions) > 4096:
                self._decisions.clear()
            wanted = self._evict(target, live) if live else ()
            answer = self._decisions[key] = tuple(name for name in live if name in wanted)
        return answer

    def _staying(self, ahead: Iterable[str], target: str) -> Names:
        """Who lives, or is about to, as far as `target` is concerned."""
        names = {name for name, model in self._live.items() if model.state in STAYING}
        names.update(ahead)
        names.discard(target)
        return tuple(sorted(names))

    def _busy(self, names: Names, for_overdue: bool) -> Names:
        """Those that cannot be stopped now. A load nobody waits for any more is not busy: it can be abandoned."""
        return tuple(name for name in names if self._models[name].is_busy(for_overdue))

    def _is_open(self, model: Record) -> bool:
        return model.state is State.READY and not model.draining and model.name not in self._gated

    def _is_overdue(self, ticket: Ticket, now: float) -> bool:
        return self._max_wait > 0 and now >= ticket.queued_at + self._max_wait

    # --- tickets -----------------------------------------------------------------------------------------------------

    def _objection(self, ticket: Ticket, model: Optional[Record], now: float) -> Optional[Refuse]:
        name = ticket.model
        if self._closing:
            return Refuse(ticket, 503, "shutting_down", reasons.SHUTTING_DOWN, reasons.RESTART_PAUSE)
        if model is None or model.removed:
            return reasons.unknown(ticket)
        if not ticket.may_start and not (self._is_open(model) if ticket.counted else model.state is State.READY):
            detail = "" if ticket.counted else "; ignored websocket requests cannot start it"
            return Refuse(ticket, 409, "conflict", f"model {name} is not loaded{detail}")
        # Who may not start it may not wait for it either: by then it may have to be started.
        if ticket.holds and (model.is_full() or not (ticket.may_start or model.has_place())):
            message = reasons.too_many(model, self._obstacle(model)[1])
            return Refuse(ticket, 429, "concurrency_limit", message, 1.0)
        pause = model.crashes.pause_left(now)
        if pause and model.state not in STAYING:
            return Refuse(ticket, 503, "model_crash_loop", model.crashes.refusal(name, now), pause)
        return None

    def _enqueue(self, model: Record, ticket: Ticket, now: float) -> None:
        ticket.state = TicketState.QUEUED
        self._line += 1
        ticket.place_in_line = self._line
        if not model.queue:
            self._waiting[model.name] = model
            # Who joins a queue, a load or a stop changes nothing for anybody; a new target does.
            self._dirty = self._dirty or model.state is State.STOPPED
        model.queue[ticket] = None
        self._positions.clear()

    def _leave_queue(self, model: Record, ticket: Ticket, now: float) -> None:
        self._unqueue(model, ticket, now)
        if ticket.holds:
            model.admitted -= 1

    def _unqueue(self, model: Record, ticket: Ticket, now: float) -> None:
        """Its wait is over, whatever follows."""
        ticket.left_at, ticket.load_seconds = now, model.load_seconds(ticket.queued_at, now)
        del model.queue[ticket]
        self._positions.clear()
        if not model.queue:
            del self._waiting[model.name]

    def _grant(self, model: Record, ticket: Ticket, now: float) -> None:
        ticket.gen = model.gen
        ticket.state = TicketState.GRANTED if ticket.holds else TicketState.DONE
        if ticket.holds:
            model.serving.add(ticket)
            model.used_at = now
        elif ticket.counted:
            model.idle_at = now     # a load of what is loaded is a use
        self._effects.append(Wake(ticket))

    def _grant_waiting(self, model: Record, now: float) -> None:
        for ticket in list(model.queue):
            if model.has_place() or not ticket.holds:
                self._unqueue(model, ticket, now)
                self._grant(model, ticket, now)

    def _end(self, model: Record, ticket: Ticket, now: float) -> None:
        model.admitted -= 1
        model.used_at = now
        if ticket not in model.serving:
            return      # its generation is gone
        model.serving.discard(ticket)
        if model.queue and self._is_open(model) and model.has_place():
            # One place became free, so the first in line gets it; all of them are asked only when much has changed.
            following = model.head()
            self._unqueue(model, following, now)
            self._grant(model, following, now)
        if not model.serving:
            model.idle_at = now
            self._dirty = self._dirty or model.draining or model.name in self._wanted
            self._wake_at = min(self._wake_at, model.due_at())

    def _refuse_waiting(self, model: Record, now: float, status: int, code: str, message: str,
                        retry_after: Optional[float], blame: Optional[Tuple[str, int]] = None) -> None:
        for ticket in list(model.queue):
            ticket.state = TicketState.REFUSED
            self._leave_queue(model, ticket, now)
            self._effects.append(Refuse(ticket, status, code, message, retry_after, blame))
            self._dirty = True

    # --- models ------------------------------------------------------------------------------------------------------

    def _chosen(self, names: Optional[Iterable[str]]) -> List[Record]:
        """The models of these names, None = all; unknown ones are left out."""
        return [self._models[name] for name in (self._models if names is None else names) if name in self._models]

    def _reported(self, name: str, gen: int) -> Optional[Record]:
        """The model a report is about, unless the report is about an earlier generation: that one is history."""
        model = self._models.get(name)
        return model if model is not None and model.gen == gen else None

    def _move(self, model: Record, move: Move, now: float, cause: Cause, reason: str, evicted_for: str = "",
              code: Optional[int] = None) -> None:
        """The only writer of a state."""
        old, model.state = model.state, next_state(model.state, move)
        model.since = now
        if model.state in LIVE:
            self._live[model.name] = model
        else:
            del self._live[model.name]
        self._dirty = True
        self._effects.append(Tell(StateChanged(model.name, model.gen, old, model.state, reason, cause, evicted_for,
                                               *reasons.ending_of(code))))

    def _start(self, model: Record, now: float) -> None:
        model.gen += 1
        self._gens[model.name] = model.gen
        model.serving = set()
        model.started_at, model.ready_at = now, None
        self._move(model, Move.START, now, Cause.REQUESTED, "requested")
        self._effects.append(Start(model.name, model.gen))

    def _stop(self, model: Record, now: float, cause: Cause, reason: str, evicted_for: str = "") -> None:
        """Begin to end it; nothing to do when it is not running or already ends."""
        if model.state in STAYING:
            model.kill_at = now + model.spec.unload_timeout
            model.stopped_by = (cause, evicted_for)
            self._move(model, Move.STOP, now, cause, reason, evicted_for)
            self._effects.append(Stop(model.name, model.gen, model.spec.unload_timeout))

    def _fail_start(self, model: Record, why: str, now: float, code: Optional[int] = None) -> None:
        pause = self._note_failure(model, Cause.START_FAILED, why, now, code)
        self._refuse_waiting(model, now, 503, "model_start_failed", f"model {model.name} failed to start: {why}",
                             max(1.0, pause), (model.name, model.gen))

    def _crash(self, model: Record, why: str, now: float, code: Optional[int]) -> None:
        pause = self._note_failure(model, Cause.CRASHED, f"crashed: {why}", now, code)
        if pause:
            self._refuse_waiting(model, now, 503, "model_crash_loop", model.crashes.refusal(model.name, now), pause)

    def _note_failure(self, model: Record, cause: Cause, why: str, now: float, code: Optional[int]) -> float:
        model.stopped_by = (cause, "")
        kind = "exited" if cause is Cause.CRASHED else "start_failed"
        ready_for = 0.0 if model.ready_at is None else now - model.ready_at
        pause = model.crashes.note(why, now, ready_for=ready_for)
        self._effects.append(Tell(ModelFailed(model.name, model.gen, why, model.crashes.failures, pause, kind,
                                              *reasons.ending_of(code))))
        return pause

    def _after_exit(self, model: Record) -> None:
        model.serving = set()
        model.draining, model.drain_until = False, NEVER
        if model.removed:
            del self._models[model.name]
        elif model.next_spec is not None:
            model.spec, model.next_spec = model.next_spec, None
            self._positions.clear()     # its priority may be another
            model.crashes.forgive()
        for completion in self._completions:
            completion.left.discard((model.name, model.gen))
        self._effects.extend(Finish(completion) for completion in self._completions if not completion.left)
        self._completions = [completion for completion in self._completions if completion.left]

    def _finish_or_keep(self, completion: Completion, now: float) -> List[Effect]:
        if completion.left:
            self._completions.append(completion)
        else:
            self._effects.append(Finish(completion))
        return self._settle(now)

    def _drain(self, model: Record, until: float, cause: Cause) -> None:
        model.draining, model.drain_cause = True, cause
        model.drain_until = min(model.drain_until, until)
        self._dirty = True

    def _remove(self, model: Record, now: float, drain_until: float) -> None:
        self._refuse_waiting(model, now, 404, "model_not_found", f"model {model.name} is no longer configured", None)
        if model.state is State.STOPPED:
            del self._models[model.name]
        else:
            model.removed, model.next_spec = True, None
            self._drain(model, drain_until, Cause.RELOAD)

    def _replace(self, model: Record, spec: Spec, is_unchanged: bool, drain_until: float) -> None:
        if model.state is State.STOPPED:
            model.spec = spec
            if not is_unchanged:
                model.crashes.forgive()
        elif is_unchanged and not model.draining:
            model.spec = spec
        else:
            # Also when a removed model is back, or one that drains is called unchanged: what runs is older than that.
            model.removed, model.next_spec = False, spec
            self._drain(model, drain_until, Cause.RELOAD)

    def _drain_misfits(self, until: float) -> None:
        """What runs may not run together any more. Who was loaded later stays, as if all had been loaded just now."""
        staying: Tuple[str, ...] = ()
        live = [model for model in self._live.values() if model.state in STAYING and not model.draining]
        for model in sorted(live, key=lambda model: model.started_at or 0.0):
            gone = self._decide(model.name, staying)
            staying = tuple(sorted({*staying, model.name}.difference(gone)))
            for name in gone:
                self._drain(self._models[name], until, Cause.RELOAD)

    # --- words -------------------------------------------------------------------------------------------------------

    def _obstacle(self, model: Record) -> Tuple[str, str]:
        """Phase and sentence for somebody who waits for `model`."""
        return reasons.obstacle(model, self._gated.get(model.name), self._obstacles.get(model.name, ("behind", ())))
