"""The one lock around the scheduler, the thread that carries out its effects, and the lease that requests hold.

Any thread may call in: it takes the lock, asks the scheduler, wakes whoever has to be woken and leaves. What takes time
(starting, stopping, publishing) goes into `_outbox`; the `timer` thread alone empties it, so effects happen in the
order in which they were decided, and no request runs the errands of another. The same thread sleeps until the
scheduler's next deadline.
"""
from __future__ import annotations

import logging
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import (
    TYPE_CHECKING,
    Any,
    Callable,
    Collection,
    Deque,
    Dict,
    Iterable,
    Iterator,
    List,
    Mapping,
    Optional,
    Protocol,
    Tuple,
)

from llamaswap.core.faults import ClientFault, Fault, Refused, UpstreamFault
from llamaswap.core.lifecycle import State
from llamaswap.core.reasons import never_starts
from llamaswap.core.scheduler import Evict, Scheduler
from llamaswap.core.tickets import (
    NEVER,
    Completion,
    Effect,
    Event,
    Finish,
    ModelStatus,
    Plan,
    Refuse,
    Start,
    Stop,
    Tell,
    Ticket,
    TicketState,
    Wake,
    spec_of,
)
from llamaswap.runtime.threads import spawn

if TYPE_CHECKING:
    from llamaswap.core.settings import Model

log = logging.getLogger(__name__)

TAIL_LINES = 10
LONGEST_WAIT = threading.TIMEOUT_MAX     # a timeout beyond it is an OverflowError
LONGEST_SLEEP = 3600.0      # Condition.wait overflows for a deadline that is years away
UNLOAD_MODES = ("now", "drain", "idle")
DRAIN_TIMEOUT = 60.0
STOP_MARGIN = 5.0           # beyond grace and kill, until close() gives up waiting
# A model that differs in one of these runs something else than the file says; the rest applies to what runs.
LAUNCH_FIELDS = ("argv", "argv_error", "cmd_stop", "env", "proxy", "check_endpoint")


class Reports(Protocol):
    """What a launcher calls, from any thread, at any time after `start` was called, also before it has returned."""

    def on_ready(self, model_id: str, gen: int) -> None: ...

    def on_start_failed(self, model_id: str, gen: int, why: str) -> None: ...

    def on_exit(self, model_id: str, gen: int, code: Optional[int], why: str) -> None:
        """Exactly once for each start, last: no process of it is left and its pool is closed."""


class Running(Protocol):
    """One generation of a model. None of the verbs blocks, and each may be called when everything is over already."""

    @property
    def endpoint(self) -> Any: ...

    @property
    def pool(self) -> Any: ...

    @property
    def pid(self) -> Optional[int]: ...

    def stop(self, grace: float) -> None: ...

    def kill(self) -> None: ...

    def adopt(self, model: Model) -> None:
        """The same model after a reload, alike in LAUNCH_FIELDS."""

    def tail(self, n: int) -> str: ...


class Launcher(Protocol):
    def start(self, model: Model, gen: int, reports: Reports) -> Running: ...


@dataclass(frozen=True)
class Progress:
    """Why a lease is not granted yet. `phase`: queued, draining, stopping or loading."""

    phase: str
    position: int
    reason: str
    elapsed: float


class _Run:
    """One generation, from the decision to start it. Guarded by the registry lock, except `ended`."""

    __slots__ = ("crashed", "early", "ended", "gen", "is_stopped", "model", "process")

    def __init__(self, model: Model, gen: int) -> None:
        self.model = model
        self.gen = gen
        self.process: Optional[Running] = None
        # Reports that came before the launcher's start() returned; None afterwards.
        self.early: Optional[List[Callable[[], None]]] = []
        self.ended = threading.Event()
        self.crashed = False
        self.is_stopped = False         # by us, or about to be

    def adopt(self, model: Model) -> None:
        self.model = model
        if self.process is not None:
            self.process.adopt(model)

    def __repr__(self) -> str:
        return f"<_Run {self.model.id} gen={self.gen} crashed={self.crashed}>"


class Lease:
    """A ticket as its holder sees it. Use with `with`; leaving it gives the model back, whatever happened inside."""

    __slots__ = ("_event", "_fault", "_registry", "_run", "_ticket")

    def __init__(self, registry: Registry, ticket: Ticket) -> None:
        ticket.owner = self
        self._registry = registry
        self._ticket = ticket
        self._run: Optional[_Run] = None
        self._fault: Optional[Fault] = None
        self._event: Optional[threading.Event] = None   # only when there is something to wait for

    def __repr__(self) -> str:
        return f"<Lease {self._ticket!r}>"

    def __enter__(self) -> Lease:
        """Raises Refused or ClientFault when the answer is no at once; then nothing is held."""
        self._registry._submit(self)
        return self

    def __exit__(self, *exc: object) -> None:
        self._registry._release(self)

    def wait(self, timeout: Optional[float] = None) -> Optional[Running]:
        """Block until granted; None when `timeout` passed first. Raises what the ticket was refused with."""
        if self._event is not None and not self._event.wait(timeout):
            return None
        if self._fault is not None:
            raise self._fault.again()
        return self.process

    def progress(self, every: float) -> Iterator[Progress]:
        """Say why we wait, now and then at this interval; ends when granted, raises as `wait` does."""
        while self.wait(0) is None:
            yield self._registry._progress(self._ticket)
            self.wait(every)

    def progress_now(self) -> Progress:
        """Where it stands, for somebody who looks on from another thread; `phase` is ready when it waits no more."""
        return self._registry._progress(self._ticket)

    def cancel(self, fault: Optional[Fault] = None) -> None:
        """A wait in another thread ends with `fault`, by default that the client went away; a granted lease is given
        back."""
        self._registry._release(self, fault)

    @property
    def is_waiting(self) -> bool:
        return self._ticket.state is TicketState.QUEUED

    @property
    def is_granted(self) -> bool:
        return self._run is not None

    @property
    def process(self) -> Running:
        assert self._run is not None and self._run.process is not None, f"{self!r} is not granted"
        return self._run.process

    @property
    def generation(self) -> int:
        return self._ticket.gen

    @property
    def waited(self) -> float:
        """Seconds from asking to the end of the wait, or until now."""
        ticket = self._ticket
        return (self._registry.clock() if ticket.state is TicketState.QUEUED else ticket.left_at) - ticket.queued_at

    @property
    def load_seconds(self) -> float:
        """How much of `waited` its own model was being loaded; 0 when it was ready."""
        ticket = self._ticket
        return self._registry._load_seconds(ticket) if ticket.state is TicketState.QUEUED else ticket.load_seconds

    @property
    def queue_seconds(self) -> float:
        """The rest of `waited`: for others to finish, to stop, or to go first."""
        return max(0.0, self.waited - self.load_seconds)

    def has_crashed(self, within: float = 0.0) -> bool:
        """Did the granted generation die by itself (not: was stopped by us)? Then a request that got no byte back may
        be sent again, with a new lease, after this one is given back. A broken connection is often seen before the
        exit is: `within` is how long to wait for that news."""
        run = self._run
        return run is not None and run.ended.wait(within) and run.crashed

    @property
    def was_stopped(self) -> bool:
        """Did we end the granted generation, with requests under way? Known before they can notice."""
        return self._run is not None and self._run.is_stopped


class Registry:
    """Implements Reports. `tell` gets every event, in order, on the timer thread: it must neither block nor raise."""

    def __init__(self, models: Mapping[str, Model], evict: Evict, *, launcher: Launcher, tell: Callable[[Event], None],
                 max_wait: float = 15.0, priority: Optional[Mapping[str, int]] = None,
                 clock: Callable[[], float] = time.monotonic, on_crash: Optional[Callable[[], Any]] = None) -> None:
        self.clock = clock
        self._launcher = launcher
        self._tell = tell
        self._models = dict(models)
        self._priority = dict(priority or {})
        self._max_wait = max_wait
        # Guards everything below. Leaf locks (an Event's) may be taken under it; nothing that waits, reads or logs.
        self._lock = threading.Lock()
        self._wakeup = threading.Condition(self._lock)
        self._scheduler = Scheduler(self._specs(), evict, max_wait=max_wait)
        self._runs: Dict[str, _Run] = {}
        self._outbox: Deque[Tuple[Effect, Optional[_Run]]] = deque()
        self._sleeping_until: Optional[float] = None    # None while the timer thread is awake
        self._closed = False
        self._timer = spawn("timer", self._run_timer, on_crash=on_crash)

    def __repr__(self) -> str:
        return f"<Registry {self._scheduler!r}>"

    # --- requests ----------------------------------------------------------------------------------------------------

    def lease(self, model_id: str, *, counted: bool = True, may_start: bool = True) -> Lease:
        """Not counted: does not keep the model, never starts it (409), may be cut. `may_start=False`: 409 unless it
        serves now, but holds it like any other."""
        return Lease(self, Ticket(model_id, counted=counted, may_start=may_start))

    def load(self, model_id: str) -> Lease:
        """Begin to load; `wait()` on the result. It holds nothing, so nothing is to be released."""
        lease = Lease(self, Ticket(model_id, holds=False))
        self._submit(lease, insist=True)
        return lease

    def _submit(self, lease: Lease, insist: bool = False) -> None:
        ticket = lease._ticket
        with self._lock:
            submit = self._scheduler.load if insist else self._scheduler.submit
            effects = submit(ticket, self.clock())
            if ticket.state is TicketState.QUEUED:
                lease._event = threading.Event()
            self._take_locked(effects)
            if lease._event is None:
                # Over and done with: a request to a ready model must not leave a reference cycle for the collector.
                ticket.owner = None
        if lease._fault is not None:
            raise lease._fault.again()

    def _release(self, lease: Lease, fault: Optional[Fault] = None) -> None:
        with self._lock:
            was_waiting = lease._ticket.state is TicketState.QUEUED
            self._take_locked(self._scheduler.release(lease._ticket, self.clock()))
            if was_waiting:
                _refuse(lease, fault or ClientFault("the client went away", status=499, code="client_gone"))

    def _load_seconds(self, ticket: Ticket) -> float:
        with self._lock:
            return self._scheduler.load_seconds(ticket, self.clock())

    def _progress(self, ticket: Ticket) -> Progress:
        with self._lock:
            place = self._scheduler.place(ticket)
        return Progress(place.phase, place.position, place.reason, self.clock() - ticket.queued_at)

    # --- operators ---------------------------------------------------------------------------------------------------

    def unload(self, ids: Optional[Iterable[str]] = None, *, mode: str = "now", drain_timeout: float = DRAIN_TIMEOUT,
               timeout: Optional[float] = None) -> bool:
        """Stop these models (None = all) and wait until they are gone; False when `timeout` passed first. `mode` is
        one of UNLOAD_MODES: now; drain: requests may end for `drain_timeout`, who waits gets a new generation; idle:
        ClientFault 409 and nothing happens if one of them is in use."""
        return self.begin_unload(ids, mode=mode, drain_timeout=drain_timeout).wait(timeout)

    def begin_unload(self, ids: Optional[Iterable[str]] = None, *, mode: str = "now",
                     drain_timeout: float = DRAIN_TIMEOUT) -> threading.Event:
        """As unload, without waiting; the result is set when all are gone."""
        assert mode in UNLOAD_MODES, mode
        done = threading.Event()
        names = None if ids is None else list(ids)
        with self._lock:
            busy = self._scheduler.in_use(names) if mode == "idle" else ()
            if not busy:
                self._take_locked(self._scheduler.unload(Completion(owner=done), names, self.clock(),
                                                         drain_timeout=drain_timeout if mode == "drain" else None))
        if busy:
            raise ClientFault(f"in use: {', '.join(busy)}", status=409, code="model_busy")
        return done

    def cancel_load(self, model_id: str) -> bool:
        """End a load; who waits for it is refused (503 load_cancelled). False, and nothing happens, unless the model is
        starting now."""
        with self._lock:
            is_starting = self._scheduler.state_of(model_id) is State.STARTING
            self._take_locked(self._scheduler.cancel_load(model_id, self.clock()))
        return is_starting

    def state_of(self, model_id: str) -> str:
        """As in its status; stopped when it is not configured."""
        with self._lock:
            return (self._scheduler.state_of(model_id) or State.STOPPED).value

    def is_in_use(self) -> bool:
        """Does any model serve somebody, or is anybody waiting for one?"""
        with self._lock:
            return bool(self._scheduler.in_use(None))

    def snapshot(self) -> List[ModelStatus]:
        with self._lock:
            return [self._with_pid_locked(status) for status in self._scheduler.statuses()]

    def status(self, model_id: str) -> Optional[ModelStatus]:
        with self._lock:
            found = self._scheduler.statuses([model_id])
            return self._with_pid_locked(found[0]) if found else None

    def plan(self, model_id: str) -> Optional[Plan]:
        """What a request for it would meet now; None when it is not configured."""
        with self._lock:
            plan = self._scheduler.plan(model_id, self.clock())
            model = self._models.get(model_id)
        if plan is None or model is None or plan.action in ("serve", "refuse"):
            return plan
        fault = never_starts(model)
        return Plan(model_id, "never", (), (), fault) if fault else plan

    def reconfigure(self, models: Mapping[str, Model], evict: Evict, *, max_wait: Optional[float] = None,
                    priority: Optional[Mapping[str, int]] = None, unchanged: Optional[Collection[str]] = None,
                    drain_timeout: float = NEVER) -> None:
        """Take over a new configuration without disturbing what it does not change. `unchanged` is found by comparing
        LAUNCH_FIELDS unless given; what is left out keeps its value."""
        with self._lock:
            if unchanged is None:
                unchanged = [name for name, model in models.items()
                             if name in self._models and launches_alike(self._models[name], model)]
            for run in self._runs.values():
                model = models.get(run.model.id, run.model)
                if launches_alike(run.model, model):
                    run.adopt(model)
            self._models = dict(models)
            self._priority = self._priority if priority is None else dict(priority)
            self._max_wait = self._max_wait if max_wait is None else max_wait
            self._take_locked(self._scheduler.reconfigure(
                self._specs(), evict, self.clock(), unchanged=unchanged, max_wait=self._max_wait,
                drain_timeout=drain_timeout))

    def close(self, drain_timeout: float = 0.0, *, timeout: Optional[float] = None) -> bool:
        """Refuse everything, let requests end for `drain_timeout`, stop all models, end the timer thread. False when
        something still lived after `timeout` (default: after every grace and kill should have worked)."""
        if timeout is None:
            graces = [model.unload_timeout for model in list(self._models.values())]
            timeout = min(LONGEST_WAIT, drain_timeout + max(graces, default=0) + STOP_MARGIN)
        done = threading.Event()
        with self._lock:
            self._take_locked(self._scheduler.close(Completion(owner=done), drain_timeout, self.clock()))
        is_done = done.wait(timeout)
        with self._lock:
            self._closed = True
            self._wakeup.notify()
        self._timer.join(STOP_MARGIN)
        return is_done

    # --- reports (any thread) ----------------------------------------------------------------------------------------

    def on_ready(self, model_id: str, gen: int) -> None:
        def report() -> None:
            self._take_locked(self._scheduler.on_ready(model_id, gen, self.clock()))
        self._report(model_id, gen, report)

    def on_start_failed(self, model_id: str, gen: int, why: str) -> None:
        def report() -> None:
            self._take_locked(self._scheduler.on_start_failed(model_id, gen, why, self.clock()))
        self._report(model_id, gen, report)

    def on_exit(self, model_id: str, gen: int, code: Optional[int], why: str) -> None:
        def report() -> None:
            run = self._runs[model_id]
            run.crashed = self._scheduler.is_serving(model_id, gen)
            self._take_locked(self._scheduler.on_exit(model_id, gen, code, why, self.clock()))
            # The exit may have started the next generation already (somebody waited): that one stays.
            if self._runs[model_id] is run:
                del self._runs[model_id]
            run.ended.set()
        self._report(model_id, gen, report)

    def _report(self, model_id: str, gen: int, report: Callable[[], None]) -> None:
        with self._lock:
            run = self._runs.get(model_id)
            if run is None or run.gen != gen:
                return
            if run.early is None:
                report()
            else:
                # A grant hands out run.process, so nobody may be granted before start() has returned it.
                run.early.append(report)

    # --- effects -----------------------------------------------------------------------------------------------------

    def _take_locked(self, effects: List[Effect]) -> None:
        """Set events now; leave the rest to the timer thread, with the generation it is about."""
        for effect in effects:
            if isinstance(effect, Wake):
                lease = effect.ticket.owner
                lease._run = self._runs[effect.ticket.model]
                if lease._event is not None:
                    lease._event.set()
            elif isinstance(effect, Refuse):
                if effect.blame is None:
                    _refuse(effect.ticket.owner, _fault(effect))
                else:
                    self._outbox.append((effect, self._runs.get(effect.blame[0])))
            elif isinstance(effect, Finish):
                effect.completion.owner.set()
            elif isinstance(effect, Tell):
                self._outbox.append((effect, None))
            else:
                if isinstance(effect, Start):
                    self._runs[effect.model] = _Run(self._models[effect.model], effect.gen)
                else:
                    self._runs[effect.model].is_stopped = True
                self._outbox.append((effect, self._runs[effect.model]))
        if self._sleeping_until is not None:
            deadline = self._scheduler.next_deadline()
            if self._outbox or (deadline is not None and deadline < self._sleeping_until):
                self._wakeup.notify()

    def _run_timer(self) -> None:
        while True:
            with self._lock:
                batch = self._await_batch_locked()
            if not batch:
                return
            for effect, run in batch:
                try:
                    self._act(effect, run)
                except Exception:
                    # One broken effect must not take the others with it: they include everybody's stops.
                    log.exception("could not carry out %r", effect)

    def _await_batch_locked(self) -> List[Tuple[Effect, Optional[_Run]]]:
        """Sleep until there is something to carry out; empty when the registry is closed."""
        while not self._outbox and not self._closed:
            deadline = self._scheduler.next_deadline()
            now = self.clock()
            if deadline is not None and deadline <= now:
                self._take_locked(self._scheduler.on_timer(now))
                continue
            self._sleeping_until = NEVER if deadline is None else deadline
            self._wakeup.wait(min(LONGEST_SLEEP, self._sleeping_until - now))
            self._sleeping_until = None
        batch = list(self._outbox)
        self._outbox.clear()
        return batch

    def _act(self, effect: Effect, run: Optional[_Run]) -> None:
        if isinstance(effect, Tell):
            self._tell(effect.event)
        elif isinstance(effect, Refuse):
            self._refuse_with_output(effect, run)
        elif isinstance(effect, Start) and run is not None:
            self._start(run)
        elif run is not None and run.process is not None:
            if isinstance(effect, Stop):
                run.process.stop(effect.grace)
            else:
                run.process.kill()

    def _start(self, run: _Run) -> None:
        try:
            run.process = self._launcher.start(run.model, run.gen, self)
        finally:
            with self._lock:
                run.adopt(run.model)        # a reload may have come in between
                early, run.early = run.early or [], None
                for report in early:
                    report()
            if run.process is None:
                # It raised, which it should not: nobody else would ever report on this generation.
                self.on_start_failed(run.model.id, run.gen, "the launcher failed; see the log")
                self.on_exit(run.model.id, run.gen, None, "never started")

    def _refuse_with_output(self, effect: Refuse, run: Optional[_Run]) -> None:
        output = ""
        try:
            if run is not None and run.process is not None:
                output = run.process.tail(TAIL_LINES)
        finally:
            _refuse(effect.ticket.owner, _fault(effect, output))

    def _with_pid_locked(self, status: ModelStatus) -> ModelStatus:
        run = self._runs.get(status.id)
        return status if run is None or run.process is None else status._replace(pid=run.process.pid)

    def _specs(self) -> Dict[str, Any]:
        return {name: spec_of(model, self._priority.get(name, 0)) for name, model in self._models.items()}


def launches_alike(old: Model, new: Model) -> bool:
    return all(getattr(old, name) == getattr(new, name) for name in LAUNCH_FIELDS)


def _refuse(lease: Lease, fault: Fault) -> None:
    lease._fault = fault
    if lease._event is not None:
        lease._event.set()


def _fault(effect: Refuse, output: str = "") -> Fault:
    message = f"{effect.message}\nlast output:\n{output}" if output else effect.message
    kind = ClientFault if effect.status in (404, 409) else UpstreamFault if effect.blame else Refused
    # A client library that came back by itself, as they do after a 503, would begin the same load again.
    headers = (("x-should-retry", "false"),) if effect.code == "load_cancelled" else ()
    return kind(message, status=effect.status, code=effect.code, retry_after=effect.retry_after, headers=headers)
