"""The life of a model: the names of its states, sets of them, and the moves between them. Nothing else.

    stopped -- START --> starting -- READY --> ready
       ^                    |                    |
       |                    +------- STOP -------+--> stopping
       |                    |                    |       |
       +------- EXIT -------+--------------------+-------+

There is no failed state: what failed is stopped, and the scheduler remembers why. A model that may finish its requests
but gets no new ones is still `ready`; that it is leaving is a fact about the queue, not about the process.
"""
from __future__ import annotations

from enum import Enum
from typing import Dict, Tuple


class State(Enum):
    """The values are the words that clients see (`/running`, events)."""

    STOPPED = "stopped"
    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"


class Move(Enum):
    START = "start"     # decided: make a process
    READY = "ready"     # reported: it answers
    STOP = "stop"       # decided: end it
    EXIT = "exit"       # reported: no process of it is left


LIVE = frozenset({State.STARTING, State.READY, State.STOPPING})     # has, or may have, processes and memory
STAYING = frozenset({State.STARTING, State.READY})                  # live, and nobody has decided to end it

TRANSITIONS: Dict[Tuple[State, Move], State] = {
    (State.STOPPED, Move.START): State.STARTING,
    (State.STARTING, Move.READY): State.READY,
    (State.STARTING, Move.STOP): State.STOPPING,
    (State.STARTING, Move.EXIT): State.STOPPED,
    (State.READY, Move.STOP): State.STOPPING,
    (State.READY, Move.EXIT): State.STOPPED,
    (State.STOPPING, Move.EXIT): State.STOPPED,
}


def next_state(state: State, move: Move) -> State:
    """Where `move` leads. A move the table does not know is a defect of the caller, so it says so loudly."""
    target = TRANSITIONS.get((state, move))
    assert target is not None, f"no move {move.value!r} from state {state.value!r}"
    return target
