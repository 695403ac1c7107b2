"""The sentences of the scheduler: why somebody waits, what a request would meet, how a process ended.

Pure words; what is true was decided before. Programs go by phases, actions and causes, so a sentence may be improved.
"""
from __future__ import annotations

from typing import TYPE_CHECKING, Optional, Tuple

from llamaswap.core.lifecycle import State
from llamaswap.core.tickets import Cause, Names, Plan, Record, Refuse, Ticket

if TYPE_CHECKING:
    from llamaswap.core.settings import Model

DRAINED = {Cause.UNLOADED: "unload", Cause.RELOAD: "configuration changed", Cause.SHUTDOWN: "shutdown"}
SHUTTING_DOWN = "llamaswap is shutting down"
RESTART_PAUSE = 5.0     # seconds until it may be worth trying again: mostly an end is half of a restart


def obstacle(model: Record, gated_for: Optional[str], in_the_way: Tuple[str, Names]) -> Tuple[str, str]:
    """Phase and sentence for somebody who waits for `model`. `gated_for`: who closed its gate. `in_the_way`: what kept
    it from starting at the last look."""
    name = model.name
    if model.state is State.STARTING:
        return "loading", f"{name} is loading"
    if model.state is State.STOPPING:
        return "stopping", f"{name} is stopping"
    if model.state is State.READY:
        if not model.draining and gated_for is None:
            return "queued", f"{name} serves as many requests as it may ({model.spec.concurrency})"
        end = "unloaded" if model.drain_cause is Cause.UNLOADED else "replaced"
        cause = f"to be {end}" if model.draining else f"so that {gated_for} can run"
        return "draining", f"{name} finishes its requests {cause}"
    kind, names = in_the_way
    listed = ", ".join(names)
    if kind == "stop":
        return "stopping", f"waiting for {listed} to stop"
    if kind == "drain":
        return "draining", f"waiting for {listed} to finish"
    return "queued", f"waiting for {listed}, which goes first"


def plan_of_live(model: Record, why: str, *, is_open: bool) -> Plan:
    """For a model that has a process. `why` is what a request would wait for."""
    if model.state is State.STARTING:
        return Plan(model.name, "join", (), (), why)
    if is_open and model.has_place():
        return Plan(model.name, "serve", (), (), f"{model.name} is ready")
    return Plan(model.name, "wait", (), (model.name,), why)


def plan_of_stopped(name: str, evict: Names, busy: Names, ending: Names) -> Plan:
    """`busy` are those of `evict` that cannot go yet; `ending` are those on their way out whose place it needs."""
    if busy or ending:
        waits = [f"for {', '.join(names)} to {verb}" for names, verb in ((busy, "finish"), (ending, "stop")) if names]
        return Plan(name, "wait", evict, tuple(sorted({*busy, *ending})), f"{name} has to wait {' and '.join(waits)}")
    if evict:
        verb = "has" if len(evict) == 1 else "have"
        return Plan(name, "swap", evict, (), f"{', '.join(evict)} {verb} to make room for {name}")
    return Plan(name, "start", (), (), f"nothing is in the way of {name}")


def never_starts(model: Model) -> str:
    """Why no start of this model can work until its entry is changed; "" when one might."""
    if model.argv_error or not model.argv:
        return f"cannot start: {model.argv_error or 'empty command'}"
    return "" if model.proxy else "cannot start: upstream proxy missing"


def too_many(model: Record, why: str) -> str:
    if not model.spec.max_waiting or not model.queue:
        return "Too many requests"
    return f"Too many requests: the waiting room of {model.name} is full; {why}"


def unloaded(model: Record, why: str) -> str:
    return f"model {model.name} was unloaded{f'; the request was waiting: {why}' if model.queue else ''}"


def exited(why: str, code: Optional[int]) -> str:
    return why if code is None else f"{why or 'exited'} (exit code {code})"


def ending_of(code: Optional[int]) -> Tuple[Optional[int], Optional[int]]:
    """Exit code and signal, from a code that is negative when a signal ended the process."""
    if code is None or code >= 0:
        return code, None
    return None, -code


def unknown(ticket: Ticket) -> Refuse:
    return Refuse(ticket, 404, "model_not_found", "no local server found for requested model")
