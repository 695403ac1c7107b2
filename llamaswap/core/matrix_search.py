"""The heaviest member of a family of model sets, without writing the family out.

An expression stands for a family of *members*, the combinations that may run: 20 brackets of ten models are 10**20.
What makes the search small:

* Only models with a weight (the target and what runs) matter: of members that agree on those the first stands for all.
* A part of an expression is described by its *frontier*, the members that can still win, in the expression's order.
  Member B beats A when it weighs at least as much even if others contributed every *shared* model that B has and A
  lacks. A model is shared when another part that is chosen together with this one could contribute it as well.
  Brackets about different models share nothing, so each is reduced to its one heaviest member, however many there are.
* Brackets that do share models are the (NP-hard) problem of maximum coverage, and there a frontier could grow without
  end. The caller holds a lock, so the work is bounded: when the allowance is spent, frontiers are cut to the heaviest
  members. The answer is then a legal member, perhaps not the heaviest, and says so (`is_proven`). It takes dozens of
  running models in brackets that overlap in many ways to get there.
"""
from __future__ import annotations

from typing import Callable, Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Tuple

WIDTH = 1024             # members in a frontier before it is cut
NARROW = 16              # the same once the allowance is spent
ALLOWANCE = 400_000      # comparisons for one question: some tenths of a second

Frontier = Tuple[int, ...]
_Place = Tuple[int, int]        # a node, and the models that a member of it must hold


class Node(NamedTuple):
    """Part of an expression. Parts stand before the whole in the list of nodes, so no walk needs recursion."""

    joins: bool                 # True: a member of every part together. False: a member of any one part
    parts: Tuple[int, ...]      # indexes of other nodes; empty for a model
    models: int                 # every model it mentions, one bit each


class Choice(NamedTuple):
    """The root taken, None when no member holds all that is needed, and the member with all of its models."""

    root: Optional[int]
    member: int
    is_proven: bool = True


def union(masks: Iterable[int]) -> int:
    found = 0
    for mask in masks:
        found |= mask
    return found


def find_shared(nodes: Sequence[Node]) -> List[int]:
    """For every node the models that another part, chosen together with it anywhere, could contribute as well."""
    shared = [0] * len(nodes)
    for at in range(len(nodes) - 1, -1, -1):
        node = nodes[at]
        twice = _in_several(nodes[part].models for part in node.parts) if node.joins else 0
        for part in node.parts:
            shared[part] |= (shared[at] | twice) & nodes[part].models
    return shared


def _in_several(masks: Iterable[int]) -> int:
    seen = twice = 0
    for mask in masks:
        twice |= seen & mask
        seen |= mask
    return twice


class Search:
    """One question. `weights` maps single bits to what each is worth; bits that are not listed are worth nothing.

    `shared` is find_shared(nodes), which does not depend on the question.
    """

    def __init__(self, nodes: Sequence[Node], shared: Sequence[int], weights: Mapping[int, int]) -> None:
        self._nodes = nodes
        self._shared = shared
        self._live = union(weights)
        self._weigh = _weigher(weights)
        self._frontiers: Dict[_Place, Frontier] = {}
        self._allowance = ALLOWANCE
        self._is_proven = True

    def heaviest(self, roots: Sequence[int], needed: int) -> Choice:
        """The heaviest member that holds all of `needed`; ties go to the first root, then to the first member."""
        best, best_weight = Choice(None, 0), -1
        for position, root in enumerate(roots):
            if needed & ~self._nodes[root].models:
                continue
            for member in self._frontier((root, needed)):
                weight = self._weigh(member & self._live)
                if weight > best_weight and not needed & ~member:
                    best, best_weight = Choice(position, member), weight
        return best._replace(is_proven=self._is_proven)

    def _frontier(self, root: _Place) -> Frontier:
        """Computed from the parts up; a part that several expressions refer to is computed once."""
        pending = [root]
        while pending:
            place = pending[-1]
            parts = self._parts(place)
            missing = [part for part in parts if part not in self._frontiers]
            if missing:
                pending.extend(missing)
                continue
            pending.pop()
            if place not in self._frontiers:
                self._frontiers[place] = self._combine(place, parts)
        return self._frontiers[root]

    def _parts(self, place: _Place) -> List[_Place]:
        """The parts that matter, each with what only it can contribute to what this place must hold."""
        at, must = place
        node = self._nodes[at]
        if not must:
            return [(part, 0) for part in node.parts]
        if not node.joins:
            return [(part, must) for part in node.parts if not must & ~self._nodes[part].models]
        alone = must & ~_in_several(self._nodes[part].models for part in node.parts)
        return [(part, alone & self._nodes[part].models) for part in node.parts]

    def _combine(self, place: _Place, parts: Sequence[_Place]) -> Frontier:
        at, _ = place
        node = self._nodes[at]
        shared = self._shared[at] & self._live
        if not node.parts:
            return (node.models,)
        if not node.joins:
            return self._reduce([member for part in parts for member in self._frontiers[part]], shared)
        members: Frontier = (0,)
        for position, part in enumerate(parts):
            # What has been joined so far may still meet everything that later parts contribute.
            later = union(self._nodes[each].models for each, _ in parts[position + 1:]) & self._live
            joined = [left | right for left in members for right in self._frontiers[part]]
            members = self._reduce(joined, shared | later)
        return members

    def _reduce(self, members: Sequence[int], shared: int) -> Frontier:
        """Without the beaten ones. An earlier member wins against a later one of equal worth."""
        first: Dict[int, int] = {}
        for member in members:
            first.setdefault(member & self._live, member)
        if len(first) == 1:
            return tuple(first.values())
        unique = list(first)
        width = WIDTH if self._allowance > 0 else NARROW
        if len(unique) > width:
            self._is_proven = False
            kept = set(sorted(unique, key=self._weigh, reverse=True)[:width])
            unique = [member for member in unique if member in kept]
        weighed = [(self._weigh(member), member) for member in unique]
        # Heaviest first, so that what beats many is met early; sorting is stable, so equals keep their order.
        best: List[Tuple[int, int]] = []
        for weight, member in sorted(weighed, key=lambda pair: -pair[0]):
            self._allowance -= len(best) + 1
            if not any(heavier - self._weigh(rival & shared & ~member) >= weight for heavier, rival in best):
                best.append((weight, member))
        alive = {member for _, member in best}
        return tuple(first[member] for member in unique if member in alive)


def _weigher(weights: Mapping[int, int]) -> Callable[[int], int]:
    known: Dict[int, int] = {0: 0}

    def weigh(mask: int) -> int:
        found = known.get(mask)
        if found is None:
            rest, found = mask, 0
            while rest:
                bit = rest & -rest
                found += weights.get(bit, 0)
                rest ^= bit
            known[mask] = found
        return found

    return weigh
