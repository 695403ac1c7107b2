"""Scripts for the scheduler that read from top to bottom, and the policies they are played with.

    play(s).at(0).submit(a).expect(Start("a", 1)).at(2).on_ready("a", 1).expect(Wake(a))

Every input of the scheduler is a verb of the script, without its `now`. What an input caused has to be expected before
the next input; events (Tell) are kept apart in `.events`.
"""
from __future__ import annotations

from typing import Any, Callable, Dict, Iterable, List

from llamaswap.core.scheduler import Scheduler
from llamaswap.core.tickets import Refuse, Spec, Tell, Ticket


class Playbook:
    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self.now = 0.0
        self.events: List[Any] = []
        self._effects: List[Any] = []

    def __getattr__(self, verb: str) -> Callable[..., Playbook]:
        if verb.startswith("_"):
            raise AttributeError(verb)

        def play_input(*args: Any, **options: Any) -> Playbook:
            assert not self._effects, f"not expected: {self._effects}"
            effects = getattr(self.scheduler, verb)(*args, self.now, **options)
            self._effects = [effect for effect in effects if not isinstance(effect, Tell)]
            self.events += [effect.event for effect in effects if isinstance(effect, Tell)]
            assert_pass_is_settled(self.scheduler, self.now)
            return self
        return play_input

    def at(self, now: float) -> Playbook:
        assert now >= self.now, "time goes forward"
        self.now = float(now)
        return self

    def expect(self, *expected: Any) -> Playbook:
        assert self._effects == list(expected), f"\n got {self._effects}\nnot {list(expected)}"
        self._effects = []
        return self

    def on_deadline(self) -> Playbook:
        """Go to the next deadline and let the timer ring."""
        deadline = self.scheduler.next_deadline()
        assert deadline is not None, "no deadline"
        return self.at(max(self.now, deadline)).on_timer()


def play(scheduler: Scheduler) -> Playbook:
    return Playbook(scheduler)


def assert_pass_is_settled(scheduler: Scheduler, now: float) -> None:
    """A pass that nobody thought necessary must find nothing to do: the shortcut of _settle is right."""
    deadline = scheduler._wake_at
    scheduler._dirty = True
    leftovers = scheduler.on_timer(now)
    assert not leftovers, f"left undone: {leftovers}"
    assert deadline <= scheduler._wake_at, f"would be late: {deadline} instead of {scheduler._wake_at}"
    scheduler._wake_at = deadline


class refused:
    """Equal to the Refuse of this ticket with this status and code, whatever it says."""

    def __init__(self, ticket: Ticket, status: int, code: str) -> None:
        self.key = (ticket, status, code)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Refuse) and self.key == (other.ticket, other.status, other.code)

    def __repr__(self) -> str:
        return f"refused{self.key}"


def exclusive(target: str, live: Iterable[str]) -> List[str]:
    """One model at a time."""
    return [name for name in live if name != target]


def together(target: str, live: Iterable[str]) -> List[str]:
    """Everybody may stay."""
    return []


def rooms(**members: str) -> Callable[[str, Iterable[str]], List[str]]:
    """`rooms(x="ab", y="cd")`: a and b exclude each other, so do c and d; nothing else does."""
    room: Dict[str, str] = {member: name for name, group in members.items() for member in group}

    def evict(target: str, live: Iterable[str]) -> List[str]:
        return [name for name in live if name != target and room.get(name, name) == room.get(target, target)]
    return evict


def one_of(*sets: str) -> Callable[[str, Iterable[str]], List[str]]:
    """`one_of("ab", "bc")`: the live models are always within one of these; the cheapest eviction wins."""
    def evict(target: str, live: Iterable[str]) -> List[str]:
        others = [name for name in live if name != target]
        choices = [[name for name in others if name not in allowed] for allowed in sets if target in allowed]
        return min(choices, key=len, default=others)
    return evict


def specs(names: Iterable[str], **fields: Any) -> Dict[str, Spec]:
    return {name: Spec(**fields) for name in names}


def tickets(models: Iterable[str]) -> List[Ticket]:
    return [Ticket(model) for model in models]
