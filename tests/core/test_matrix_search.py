"""The heaviest member, against writing every family out, and fast where that cannot be written out."""
from __future__ import annotations

import random
import time

import pytest

from llamaswap.core import matrix_search
from llamaswap.core.matrix_search import Choice, Node, Search, find_shared, union


def search(nodes, weights):
    return Search(nodes, find_shared(nodes), weights)


class Family:
    """Builds nodes and, beside them, the members they stand for."""

    def __init__(self):
        self.nodes = []
        self.members = []

    def model(self, bit):
        return self._add(Node(True, (), bit), [bit])

    def any_of(self, *parts):
        return self._add(Node(False, parts, self._models(parts)), [m for part in parts for m in self.members[part]])

    def all_of(self, *parts):
        members = [0]
        for part in parts:
            members = [left | right for left in members for right in self.members[part]]
        return self._add(Node(True, parts, self._models(parts)), members)

    def _models(self, parts):
        return union(self.nodes[part].models for part in parts)

    def _add(self, node, members):
        self.nodes.append(node)
        self.members.append(list(dict.fromkeys(members)))
        return len(self.nodes) - 1

    def heaviest(self, roots, weights, needed):
        best, best_weight = Choice(None, 0), -1
        for position, root in enumerate(roots):
            for member in self.members[root]:
                weight = sum(worth for bit, worth in weights.items() if bit & member)
                if not needed & ~member and weight > best_weight:
                    best, best_weight = Choice(position, member), weight
        return best, best_weight


def random_family(dice, models):
    family = Family()
    leaves = [family.model(1 << index) for index in range(models)]
    nodes = list(leaves)
    for _ in range(dice.randrange(1, 7)):
        parts = [dice.choice(nodes) for _ in range(dice.randrange(2, 5))]
        nodes.append((family.all_of if dice.random() < 0.5 else family.any_of)(*dict.fromkeys(parts)))
    return family, [dice.choice(nodes) for _ in range(dice.randrange(1, 4))]


@pytest.mark.parametrize("seed", range(40))
def test_it_agrees_with_writing_the_family_out(seed):
    dice = random.Random(seed)
    for _ in range(60):
        models = dice.randrange(2, 9)
        family, roots = random_family(dice, models)
        if max(len(members) for members in family.members) > 3000:
            continue
        weights = {1 << index: dice.choice((1, 1, 1, 2, 5, 40)) for index in range(models) if dice.random() < 0.7}
        needed = 1 << dice.randrange(models)
        weights[needed] = sum(weights.values()) + 1
        choice = search(family.nodes, weights).heaviest(roots, needed)
        expected, weight = family.heaviest(roots, weights, needed)
        assert choice.is_proven and choice.root == expected.root
        if choice.root is not None:
            assert not needed & ~choice.member
            assert sum(worth for bit, worth in weights.items() if bit & choice.member) == weight
            assert any(choice.member | member == member for member in family.members[roots[choice.root]])


def brackets(family, groups):
    return family.all_of(*(family.any_of(*(family.model(bit) for bit in group)) for group in groups))


def test_brackets_about_different_models_are_settled_one_by_one():
    family = Family()
    family._add = lambda node, members: family.nodes.append(node) or family.members.append([]) or len(family.nodes) - 1
    groups = [[1 << (ten * 10 + index) for index in range(10)] for ten in range(20)]
    root = brackets(family, groups)      # 10 ** 20 members
    weights = {bit: 1 + number % 7 for number, bit in enumerate(bit for group in groups for bit in group)}
    weights[groups[0][0]] = 1000
    choice = search(family.nodes, weights).heaviest([root], groups[0][0])
    assert choice.is_proven
    assert bin(choice.member).count("1") >= 19
    assert all(max(weights[bit] for bit in group) == max(weights[bit] for bit in group if bit & choice.member)
               for group in groups[1:])


def test_overlapping_brackets_end_and_say_when_they_are_not_sure():
    dice = random.Random(7)
    family = Family()
    family._add = lambda node, members: family.nodes.append(node) or family.members.append([]) or len(family.nodes) - 1
    bits = [1 << index for index in range(60)]
    pairs = [family.any_of(*(family.all_of(*(family.model(bit) for bit in dice.sample(bits, 3))) for _ in range(8)))
             for _ in range(20)]
    root = family.all_of(*pairs)
    begun = time.process_time()
    choice = search(family.nodes, dict.fromkeys(bits, 1)).heaviest([root], 0)
    print(f"[20 overlapping brackets: {time.process_time() - begun:.2f} s]", end=" ")
    assert choice.root == 0 and not choice.is_proven
    assert bin(choice.member).count("1") >= 20
    assert time.process_time() - begun < 20      # catches an explosion


def test_a_spent_allowance_narrows_the_search(monkeypatch):
    monkeypatch.setattr(matrix_search, "ALLOWANCE", 0)
    monkeypatch.setattr(matrix_search, "NARROW", 1)
    family = Family()
    root = brackets(family, [[1, 2], [2, 4]])
    choice = search(family.nodes, {1: 1, 2: 1, 4: 1}).heaviest([root], 0)
    assert choice.root == 0 and not choice.is_proven


def test_a_root_that_lacks_what_is_needed_is_not_looked_at():
    family = Family()
    roots = [family.model(1), family.model(2)]
    assert search(family.nodes, {2: 1}).heaviest(roots, 2) == Choice(1, 2)
    assert search(family.nodes, {4: 1}).heaviest(roots, 4) == Choice(None, 0)


@pytest.mark.parametrize("seed", range(20))
def test_brackets_that_share_single_models_are_settled_exactly(seed, monkeypatch):
    monkeypatch.setattr(matrix_search, "WIDTH", 8)      # so that small ones are not simply tried
    dice = random.Random(seed)
    for _ in range(20):
        family = Family()
        leaves = [family.model(1 << index) for index in range(7)]
        private = [family.model(1 << 7 + index) for index in range(12)]
        brackets = []
        for _ in range(dice.randrange(4, 6)):
            options = dice.sample(leaves, dice.randrange(1, 4))
            options.append(family.all_of(dice.choice(leaves), private.pop()) if dice.random() < 0.5 else private.pop())
            brackets.append(family.any_of(*options))
        root = family.all_of(*brackets)
        weights = {1 << index: dice.randrange(1, 9) for index in range(19)}
        choice = search(family.nodes, weights).heaviest([root], 0)
        _, weight = family.heaviest([root], weights, 0)
        assert choice.is_proven and choice.member in family.members[root]
        assert sum(worth for bit, worth in weights.items() if bit & choice.member) == weight


def test_any_five_of_two_hundred():
    family = Family()
    family._add = lambda node, members: family.nodes.append(node) or family.members.append([]) or len(family.nodes) - 1
    bits = [1 << index for index in range(200)]
    pool = family.any_of(*(family.model(bit) for bit in bits))
    root = family.all_of(*[pool] * 5)
    weights = {bit: 1 + index % 50 for index, bit in enumerate(bits)}
    weights[bits[0]] = 10_000
    choice = search(family.nodes, weights).heaviest([root], bits[0])
    assert choice.is_proven
    assert sum(worth for bit, worth in weights.items() if bit & choice.member) == 10_000 + 4 * 50
