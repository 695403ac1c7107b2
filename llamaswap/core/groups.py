"""Who has to go when models are arranged in groups.

`swap` is a rule inside a group: one member at a time. `exclusive` belongs to the group of the model that is wanted: its
loading unloads the other groups. `persistent` protects a group from others, not its members from each other. A target
whose group is not exclusive never evicts another group, not even an exclusive one.
"""
from __future__ import annotations

from typing import Collection, Dict, Iterable, Optional, Sequence, Tuple

from llamaswap.core.settings import Group


class Groups:
    """`groups` includes the implicit one, so every model has a home."""

    def __init__(self, groups: Iterable[Group]) -> None:
        self._home: Dict[str, Group] = {member: group for group in groups for member in group.members}

    def __repr__(self) -> str:
        return f"Groups({len(self._home)} models)"

    def evict(self, target: str, live: Sequence[str]) -> Tuple[str, ...]:
        """The live models that cannot stay when `target` is loaded, in their order."""
        home = self._home[target]
        return tuple(name for name in live if name != target and _must_go(home, self._home.get(name)))

    def explain(self, target: str, live: Sequence[str]) -> str:
        evicted = self.evict(target, live)
        home = self._home[target]
        if not evicted:
            return f'group "{home.name}" leaves everything that runs alone'
        rule = "swaps" if all(self._home.get(name) == home for name in evicted) else "is exclusive"
        return f'group "{home.name}" {rule}: evict {", ".join(evicted)}'

    def can_coexist(self, models: Collection[str]) -> bool:
        """True when none of them would evict another, in whatever order they are loaded."""
        return not any(self.evict(target, [name for name in models if name != target]) for target in models)


def _must_go(home: Group, other: Optional[Group]) -> bool:
    if other is None:
        return True      # a reload has removed it; it lives only until its requests have ended
    if other.name == home.name:
        return home.swap
    return home.exclusive and not other.persistent
