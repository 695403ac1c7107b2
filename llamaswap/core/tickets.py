"""The nouns of the scheduler: tickets that go in, effects and events that come out, and what it says about models.

No policy here. Effects are imperative (the registry carries them out, in order), events are facts to publish.
"""
from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Dict, NamedTuple, Optional, Set, Tuple, Union

from llamaswap.core.crashloop import CrashLoop
from llamaswap.core.lifecycle import LIVE, STAYING, State

if TYPE_CHECKING:
    from llamaswap.core.settings import Model

Names = Tuple[str, ...]
NEVER = math.inf
DEFAULT_CONCURRENCY = 10


class TicketState(Enum):
    NEW = "new"
    QUEUED = "queued"
    GRANTED = "granted"
    DONE = "done"
    GONE = "gone"
    REFUSED = "refused"


class Cause(Enum):
    """Why a model changed its state, in words for programs; they are stable."""

    REQUESTED = "requested"
    READY = "ready"
    IDLE = "idle"                   # its ttl is over
    EVICTED = "evicted"             # for the model in `evicted_for`
    UNLOADED = "unloaded"
    CANCELLED = "cancelled"         # its load was
    START_FAILED = "start_failed"
    CRASHED = "crashed"
    RELOAD = "reload"
    SHUTDOWN = "shutdown"


class Ticket:
    """One request for a model. Written by the scheduler alone; `owner` is for whoever waits and never looked at.

    Not `holds`: over as soon as the model is ready (a preload), nothing to give back. Not `may_start`: refused unless
    the model serves now. Not `counted`: neither of them, so it may be cut at any time (an ignored websocket).
    It waits from `queued_at` to `left_at`, of which `load_seconds` for its own model to load.
    """

    __slots__ = ("counted", "gen", "holds", "left_at", "load_seconds", "may_start", "model", "owner", "place_in_line",
                 "queued_at", "record", "state")

    def __init__(self, model: str, *, counted: bool = True, may_start: bool = True, holds: bool = True,
                 owner: Any = None) -> None:
        self.model = model
        self.counted = counted
        self.may_start = may_start and counted
        self.holds = holds and counted
        self.owner = owner
        self.state = TicketState.NEW
        self.gen = 0
        self.queued_at = self.left_at = 0.0
        self.load_seconds = 0.0
        self.place_in_line = 0
        self.record: Optional[Record] = None

    def __repr__(self) -> str:
        return f"<Ticket {self.model} {self.state.value}>"


class Completion:
    """Ends when every generation in `left` has exited. `owner` as in Ticket."""

    __slots__ = ("left", "owner")

    def __init__(self, *, owner: Any = None) -> None:
        self.left: Set[Tuple[str, int]] = set()
        self.owner = owner

    def wait_for(self, model: Record) -> None:
        if model.state in LIVE:
            self.left.add((model.name, model.gen))

    def __repr__(self) -> str:
        return f"<Completion left={sorted(self.left)}>"


# --- effects: what the core wants done -------------------------------------------------------------------------------

@dataclass(frozen=True)
class Wake:
    ticket: Ticket


@dataclass(frozen=True)
class Refuse:
    """`blame` names the generation whose last output belongs with the message."""

    ticket: Ticket
    status: int
    code: str
    message: str
    retry_after: Optional[float] = None
    blame: Optional[Tuple[str, int]] = None


@dataclass(frozen=True)
class Start:
    model: str
    gen: int


@dataclass(frozen=True)
class Stop:
    model: str
    gen: int
    grace: float


@dataclass(frozen=True)
class Kill:
    model: str
    gen: int


@dataclass(frozen=True)
class Finish:
    completion: Completion


@dataclass(frozen=True)
class Tell:
    event: Event


# --- events: what is published ---------------------------------------------------------------------------------------

@dataclass(frozen=True)
class StateChanged:
    """`reason` is for people. The scheduler always names a `cause`; that of a stop is told again when the process is
    gone, so count where `old` is STARTING or READY. `code` and `signal`: how the process ended, when it is gone."""

    model: str
    gen: int
    old: State
    new: State
    reason: str
    cause: Optional[Cause] = None
    evicted_for: str = ""
    code: Optional[int] = None
    signal: Optional[int] = None


@dataclass(frozen=True)
class SwapStarted:
    """`target` gets the place of `evicted`; they are being stopped."""

    target: str
    evicted: Names


@dataclass(frozen=True)
class ModelFailed:
    """A start that did not work ("start_failed") or a crash ("exited"); `retry_after` > 0 when the next start has to
    wait. `code` or `signal` says how the process ended; neither is known when it has not ended yet or never was."""

    model: str
    gen: int
    why: str
    failures: int
    retry_after: float
    kind: str = "start_failed"
    code: Optional[int] = None
    signal: Optional[int] = None


Event = Union[StateChanged, SwapStarted, ModelFailed]
Effect = Union[Wake, Refuse, Start, Stop, Kill, Finish, Tell]


# --- what the machine is told and tells about models -----------------------------------------------------------------

@dataclass(frozen=True)
class Spec:
    """What the machine has to know of a model. Seconds; a ttl of 0 means never."""

    concurrency: int = DEFAULT_CONCURRENCY      # served at once
    max_waiting: int = 0        # further ones that are let in; 0: a place is taken from asking to the end
    ttl: float = 0.0
    unload_timeout: float = 10.0
    health_check_timeout: float = 120.0
    priority: int = 0


def spec_of(model: Model, priority: int = 0) -> Spec:
    limit = model.concurrency_limit if model.concurrency_limit > 0 else DEFAULT_CONCURRENCY
    return Spec(limit, model.max_waiting, model.ttl, model.unload_timeout, model.health_check_timeout, priority)


class ModelStatus(NamedTuple):
    """Instants are monotonic. `leaving`: finishes what it serves, then it is replaced. `since`: the last change of its
    state. `last_used_at`: when a request began or ended last. The registry fills in `pid`."""

    id: str
    state: str
    generation: int
    in_flight: int
    queued: int
    leaving: bool
    started_at: Optional[float]
    ready_at: Optional[float]
    idle_deadline: Optional[float]
    last_error: Optional[str]
    waiting_for: str = ""
    pid: Optional[int] = None
    since: Optional[float] = None
    last_used_at: Optional[float] = None


@dataclass(frozen=True)
class Place:
    """Where a waiting ticket stands: `phase` for programs (queued, draining, stopping, loading, ready)."""

    phase: str
    position: int       # 1 = next; counts everybody who waits, in the order of priority and arrival; 0 = not waiting
    reason: str


@dataclass(frozen=True)
class Plan:
    """What a request for `model` would meet now. `action`: serve, join (a load under way), start, swap, wait, refuse
    (it gets an error now, perhaps not later), never (no start can work)."""

    model: str
    action: str
    evict: Names = ()
    waits_for: Names = ()
    reason: str = ""


class Record:
    """One configured model, written by the scheduler alone. `gen` numbers its starts; older reports are void."""

    __slots__ = ("admitted", "crashes", "drain_cause", "drain_until", "draining", "gen", "idle_at", "kill_at", "name",
                 "next_spec", "queue", "ready_at", "removed", "serving", "since", "spec", "started_at", "state",
                 "stopped_by", "used_at")

    def __init__(self, name: str, spec: Spec, gen: int) -> None:
        self.name = name
        self.spec = spec
        self.next_spec: Optional[Spec] = None       # applies when the running generation is gone
        self.removed = False
        self.state = State.STOPPED
        self.gen = gen
        # Insertion-ordered, so it is a queue with O(1) removal from the middle (cancel).
        self.queue: Dict[Ticket, None] = {}
        # Replaced at every start: who holds an older generation no longer counts.
        self.serving: Set[Ticket] = set()
        self.admitted = 0
        self.draining = False
        self.drain_until = NEVER
        self.drain_cause = Cause.RELOAD
        self.stopped_by: Tuple[Cause, str] = (Cause.UNLOADED, "")      # and for whom; while it is stopping
        self.started_at: Optional[float] = None
        self.ready_at: Optional[float] = None
        self.idle_at = 0.0
        self.since: Optional[float] = None
        self.used_at: Optional[float] = None
        self.kill_at = NEVER
        self.crashes = CrashLoop()

    def __repr__(self) -> str:
        return (f"<Record {self.name} {self.state.value} gen={self.gen} serving={len(self.serving)} "
                f"queued={len(self.queue)}{' draining' if self.draining else ''}>")

    def is_full(self) -> bool:
        """Nobody more may come in. Who gets a place as soon as the model is ready does not take one of those who wait
        for others to finish, so a cold model lets in as many as a busy one."""
        return self.admitted >= self.spec.concurrency + self.spec.max_waiting

    def has_place(self) -> bool:
        return len(self.serving) < self.spec.concurrency

    def is_busy(self, for_overdue: bool) -> bool:
        """Can it not be stopped now? Who waits for it gives way to somebody overdue once it is ready."""
        if self.state is State.READY:
            return bool(self.serving or (self.queue and not for_overdue))
        return bool(self.queue)

    def head(self) -> Ticket:
        return next(iter(self.queue))

    def due_at(self) -> float:
        """When time alone ends what this model does. Both the check and the alarm ask here, so they cannot differ."""
        if self.state is State.STOPPING:
            return self.kill_at
        if self.draining and (self.state is State.STARTING or not self.serving):
            return -NEVER
        if self.state is State.STARTING:
            return (self.started_at or 0.0) + self.spec.health_check_timeout
        return self.drain_until if self.draining else self.idle_deadline()

    def idle_deadline(self) -> float:
        if self.state is not State.READY or self.serving or self.queue or self.spec.ttl <= 0:
            return NEVER
        return self.idle_at + self.spec.ttl

    def load_seconds(self, asked_at: float, now: float) -> float:
        """How much of the time since `asked_at` the load of this generation has taken."""
        if self.state not in STAYING or self.started_at is None:
            return 0.0
        until = now if self.ready_at is None else self.ready_at
        return max(0.0, until - max(asked_at, self.started_at))

    def status(self, waiting_for: str) -> ModelStatus:
        live = self.state in LIVE
        idle = self.idle_deadline()
        return ModelStatus(
            id=self.name, state=self.state.value, generation=self.gen, in_flight=len(self.serving),
            queued=len(self.queue), leaving=self.draining, started_at=self.started_at if live else None,
            ready_at=self.ready_at if live else None, idle_deadline=None if idle == NEVER else idle,
            last_error=self.crashes.last_error, waiting_for=waiting_for, since=self.since, last_used_at=self.used_at)
