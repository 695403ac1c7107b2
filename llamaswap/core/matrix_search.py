"""The heaviest member of a family of model sets, without writing the family out.

An expression stands for a family of *members*, the combinations that may run: 20 brackets of ten models are 10**20.
What makes the search small:

* Only models with a weight (the target and what runs) matter: of members that agree on those the first stands for all.
* A part of an expression is described by its *frontier*, the members that can still win, in the expression's order.
  Member B beats A when it weighs at least as much even if others contributed every *shared* model that B has and A
  lacks. A model is shared when another part that is chosen together with this one could contribute it as well.
  Brackets about different models share nothing, so each is reduced to its one heaviest member, however many there are.
* Brackets that share single models, as in "any three of these", are an assignment problem: which bracket counts for
  which model. Augmenting paths solve it exactly, whatever its size.
* Brackets whose members share several models each are the (NP-hard) problem of maximum coverage, and there a frontier
  could grow without end. The caller holds a lock, so the work is bounded: when the allowance is spent, frontiers are
  cut to the heaviest members. The answer is then a legal member, perhaps not the heaviest, and says so (`is_proven`).
  It takes dozens of running models in brackets that overlap in many ways to get there.
"""
from __future__ import annotations

from math import prod
from typing import Callable, Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Tuple

WIDTH = 1024             # members in a frontier before it is cut
NARROW = 16              # the same once the allowance is spent
ALLOWANCE = 400_000      # comparisons for one question: some tenths of a second

Frontier = Tuple[int, ...]
_Offers = Dict[int, Tuple[int, int]]    # contested model, 0 for none → what it makes the part worth, and the member
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
        choices = [self._frontiers[part] for part in parts]
        # A few combinations are simply tried, in order. Where nothing outside shares a model, one member is enough.
        assigned = None if shared or prod(map(len, choices)) <= WIDTH else self._assign(choices)
        return self._join(choices, shared) if assigned is None else (assigned,)

    def _join(self, choices: Sequence[Frontier], shared: int) -> Frontier:
        # What has been joined so far may still meet everything that later parts contribute.
        after = [shared]
        for choice in reversed(choices[1:]):
            after.append(after[-1] | union(choice) & self._live)
        members: Frontier = (0,)
        for choice in choices:
            joined = [left | right for left in members for right in choice]
            self._allowance -= len(joined)
            members = self._reduce(joined, after.pop())
        return members

    def _assign(self, choices: Sequence[Frontier]) -> Optional[int]:
        """The heaviest union of one member of each, or None when a member holds two models that others hold too."""
        certain = union(choice[0] for choice in choices if len(choice) == 1)
        contested = _in_several(union(choice) for choice in choices) & self._live & ~certain
        offers: List[_Offers] = []
        for choice in choices:
            offer: _Offers = {}
            for member in choice:
                bit = member & contested
                if bit & (bit - 1):
                    return None
                worth = self._weigh(member & self._live & ~contested & ~certain)
                for given, total in ((0, worth), (bit, worth + self._weigh(bit))):
                    if given not in offer or total > offer[given][0]:
                        offer[given] = (total, member)
            offers.append(offer)
        effort = sum(len(offer) for offer in offers) * len(offers)
        if not contested or effort > self._allowance:
            return None
        self._allowance -= effort
        return union(offer[bit][1] for offer, bit in zip(offers, _match(offers)))

    def _reduce(self, members: Sequence[int], shared: int) -> Frontier:
        """Without the beaten ones. An earlier member wins against a later one of equal worth."""
        first: Dict[int, int] = {}
        for member in members:
            first.setdefault(member & self._live, member)
        if len(first) == 1:
            return tuple(first.values())
        unique = list(first)
        # Heaviest first, so that what beats many is met early; sorting is stable, so equals keep their order.
        weighed = sorted([(self._weigh(member), member) for member in unique], key=lambda pair: -pair[0])
        best: List[Tuple[int, int]] = []
        for weight, member in weighed:
            if len(best) >= (WIDTH if self._allowance > 0 else NARROW):
                self._is_proven = False
                break
            self._allowance -= len(best) + 1
            if not any(heavier - self._weigh(rival & shared & ~member) >= weight for heavier, rival in best):
                best.append((weight, member))
        alive = {member for _, member in best}
        return tuple(first[member] for member in unique if member in alive)


def _match(offers: Sequence[_Offers]) -> List[int]:
    """Which contested model each part counts for, 0 for none, so that the total worth is greatest.

    Parts are added one at a time along the best chain of taking over another part's model (Bellman-Ford: `gain` is
    what a chain that leaves this part without its model is worth, `via` says who took that model).
    """
    owner: Dict[int, int] = {}
    for newcomer in range(len(offers)):
        gain, queue = {newcomer: 0}, [newcomer]
        via: Dict[int, Tuple[int, int]] = {}
        best, last = -1, (newcomer, 0)
        for part in queue:      # grows meanwhile
            for bit, (worth, _) in offers[part].items():
                holder = owner.get(bit)
                reached = gain[part] + worth
                if holder is None:
                    if reached > best:
                        best, last = reached, (part, bit)
                elif holder != part:
                    reached -= offers[holder][bit][0]
                    if holder not in gain or reached > gain[holder]:
                        gain[holder], via[holder] = reached, (part, bit)
                        queue.append(holder)
        while True:
            part, bit = last
            if bit:
                owner[bit] = part
            if part == newcomer:
                break
            last = via[part]
    given = {part: bit for bit, part in owner.items()}
    return [given.get(part, 0) for part in range(len(offers))]


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
