"""How many requests each target of a selector holds through it, and with that which target the next one gets."""
from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import Callable, Collection, Dict, Iterator, List, Optional

from llamaswap.core.faults import Refused
from llamaswap.core.lifecycle import State
from llamaswap.core.routing import Target, choose_target
from llamaswap.core.settings import Selector

StateOf = Callable[[str], Optional[State]]


class Reservations:
    """Counts belong to the selector's name, not to a configuration, so that they survive a reload."""

    def __init__(self) -> None:
        self._lock = threading.Lock()      # guards both; leaf
        self._held: Dict[str, Dict[str, int]] = {}
        self._last: Dict[str, str] = {}      # the target chosen last

    def __repr__(self) -> str:
        return f"Reservations({self._held})"

    @contextmanager
    def choose(self, selector: Selector, state_of: StateOf, *, without: Collection[str] = ()) -> Iterator[str]:
        """The target for one request, held until the block is left. `without` are those that have refused it."""
        names = [name for name in selector.targets if name not in without]
        states = [state_of(name) for name in names]
        with self._lock:
            chosen = self._choose_locked(selector, names, states)
            held = self._held.setdefault(selector.id, {})
            held[chosen] = held.get(chosen, 0) + 1
        try:
            yield chosen
        finally:
            with self._lock:
                held[chosen] -= 1

    def held(self, selector_id: str) -> Dict[str, int]:
        """Requests by target, for tests and listings."""
        with self._lock:
            return {name: count for name, count in self._held.get(selector_id, {}).items() if count}

    def _choose_locked(self, selector: Selector, names: List[str], states: List[Optional[State]]) -> str:
        held = self._held.get(selector.id, {})
        targets = [Target(state, held.get(name, 0)) for name, state in zip(names, states)]
        index = choose_target(selector.strategy, targets, spillover=selector.spillover,
                              last=self._place_locked(selector, names))
        if index is None:
            raise Refused(f'selector "{selector.id}" has no available targets: all of them are being unloaded',
                          code="no_available_target", retry_after=1)
        self._last[selector.id] = names[index]
        return names[index]

    def _place_locked(self, selector: Selector, names: List[str]) -> int:
        """Up to which of `names` it was anybody's turn: the one chosen last may not be among them now, or any more."""
        last = self._last.get(selector.id)
        if last not in selector.targets:
            return -1
        had_their_turn = selector.targets[:selector.targets.index(last) + 1]
        return sum(name in had_their_turn for name in names) - 1
