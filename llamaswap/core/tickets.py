"""The nouns of the scheduler: tickets that go in, effects and events that come out, and what it says about models.

No policy here. Effects are imperative (the registry carries them out, in order), events are facts to publish.
"""
from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Dict, NamedTuple, Optional, Set, Tuple, Union

from llamaswap.core.crashloop import CrashLoop
from llamaswap.core.lifecycle import LIVE, State

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


class Ticket:
    """One request for a model. Written by the scheduler alone; `owner` is for whoever waits and never looked at.

    Not `holds`: over as soon as the model is ready (a preload), nothing to give back. Not `may_start`: refused unless
    the model serves now. Not `counted`: neither of them, so it may be cut at any time (an ignored websocket).
    """

    __slots__ = ("counted", "gen", "granted_at", "holds", "may_start", "model", "owner", "place_in_line", "queued_at",
                 "record", "state")

    def __init__(self, model: str, *, counted: bool = True, may_start: bool = True, holds: bool = True,
                 owner: Any = None) -> None:
        self.model = model
        self.counted = counted
        self.may_start = may_start and counted
        self.holds = holds and counted
        self.owner = owner
        self.state = TicketState.NEW
        self.gen = 0
        self.queued_at = 0.0
        self.granted_at = 0.0
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
    model: str
    gen: int
    old: State
    new: State
    reason: str


@dataclass(frozen=True)
class SwapStarted:
    """`target` gets the place of `evicted`; they are being stopped."""

    target: str
    evicted: Names


@dataclass(frozen=True)
class ModelFailed:
    """A start that did not work or a crash; `retry_after` > 0 when the next start has to wait."""

    model: str
    gen: int
    why: str
    failures: int
    retry_after: float


Event = Union[StateChanged, SwapStarted, ModelFailed]
Effect = Union[Wake, Refuse, Start, Stop, Kill, Finish, Tell]


# --- what the machine is told and tells about models -----------------------------------------------------------------

@dataclass(frozen=True)
class Spec:
    """What the machine has to know of a model. Seconds; a ttl of 0 means never."""

    concurrency: int = DEFAULT_CONCURRENCY      # counts who waits as well as who is served
    ttl: float = 0.0
    unload_timeout: float = 10.0
    health_check_timeout: float = 120.0
    priority: int = 0


def spec_of(model: Model, priority: int = 0) -> Spec:
    limit = model.concurrency_limit if model.concurrency_limit > 0 else DEFAULT_CONCURRENCY
    return Spec(limit, model.ttl, model.unload_timeout, model.health_check_timeout, priority)


class ModelStatus(NamedTuple):
    """Instants are monotonic. `leaving`: finishes what it serves, then it is replaced. The registry fills in `pid`."""

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


@dataclass(frozen=True)
class Place:
    """Where a waiting ticket stands: `phase` for programs (queued, draining, stopping, loading, ready)."""

    phase: str
    position: int       # 1 = next; counts everybody who waits, in the order of priority and arrival; 0 = not waiting
    reason: str


@dataclass(frozen=True)
class Plan:
    """What a request for `model` would meet now. `action`: serve, join, start, swap or wait."""

    model: str
    action: str
    evict: Names = ()
    waits_for: Names = ()


class Record:
    """One configured model, written by the scheduler alone. `gen` numbers its starts; older reports are void."""

    __slots__ = ("admitted", "crashes", "drain_until", "draining", "gen", "idle_at", "kill_at", "name", "next_spec",
                 "queue", "ready_at", "removed", "serving", "spec", "started_at", "state")

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
        self.started_at: Optional[float] = None
        self.ready_at: Optional[float] = None
        self.idle_at = 0.0
        self.kill_at = NEVER
        self.crashes = CrashLoop()

    def __repr__(self) -> str:
        return (f"<Record {self.name} {self.state.value} gen={self.gen} serving={len(self.serving)} "
                f"queued={len(self.queue)}{' draining' if self.draining else ''}>")

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

    def status(self, waiting_for: str) -> ModelStatus:
        live = self.state in LIVE
        idle = self.idle_deadline()
        return ModelStatus(
            id=self.name, state=self.state.value, generation=self.gen, in_flight=len(self.serving),
            queued=len(self.queue), leaving=self.draining, started_at=self.started_at if live else None,
            ready_at=self.ready_at if live else None, idle_deadline=None if idle == NEVER else idle,
            last_error=self.crashes.last_error, waiting_for=waiting_for)
