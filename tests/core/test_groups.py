"""Who has to go, rule by rule: swap inside a group, exclusive towards others, persistent against others."""
from __future__ import annotations

import itertools

import pytest

from llamaswap.core.groups import Groups
from llamaswap.core.settings import Group

CHAT = Group("chat", swap=True, exclusive=True, members=("c1", "c2"))
SIDE = Group("side", swap=False, exclusive=False, members=("s1", "s2"))
KEEP = Group("keep", swap=False, exclusive=False, persistent=True, members=("k1",))
PAIR = Group("pp", swap=True, exclusive=False, persistent=True, members=("p1", "p2"))
DEFAULT = Group("(default)", members=("d1",))
GROUPS = Groups([CHAT, SIDE, KEEP, PAIR, DEFAULT])


@pytest.mark.parametrize("target, live, evicted", [
    ("c1", "c2", "c2"),
    ("c1", "d1 k1 p1 s1", "d1 s1"),
    ("s1", "c1 k1 s2", ""),
    ("d1", "c1 k1 s1", "c1 s1"),
    ("k1", "c1 s1", ""),
    ("p1", "p2", "p2"),
    ("c1", "c1", ""),
    ("c1", "", ""),
])
def test_who_has_to_go(target, live, evicted):
    assert GROUPS.evict(target, live.split()) == tuple(evicted.split())


def test_the_order_of_the_live_models_is_kept():
    assert GROUPS.evict("c1", ["s2", "d1", "s1"]) == ("s2", "d1", "s1")


def test_a_model_that_a_reload_removed_makes_room():
    assert GROUPS.evict("s1", ["removed", "s2"]) == ("removed",)


@pytest.mark.parametrize("target, live, sentence", [
    ("c1", ["c2"], 'group "chat" swaps: evict c2'),
    ("c1", ["s1", "d1"], 'group "chat" is exclusive: evict s1, d1'),
    ("s1", ["c1"], 'group "side" leaves everything that runs alone'),
])
def test_it_says_why(target, live, sentence):
    assert GROUPS.explain(target, live) == sentence


@pytest.mark.parametrize("models, answer", [
    ((), True), (("c1",), True), (("s1", "s2"), True), (("s1", "k1", "p1"), True),
    (("c1", "c2"), False), (("c1", "s1"), False), (("c1", "k1"), True), (("p1", "p2"), False),
])
def test_who_can_run_together(models, answer):
    assert GROUPS.can_coexist(models) is answer


def test_coexisting_means_that_no_order_of_loading_evicts_anybody():
    names = ("c1", "s1", "s2", "k1", "p1", "d1")
    for models in itertools.combinations(names, 3):
        orders = itertools.permutations(models)
        undisturbed = all(not GROUPS.evict(order[at], order[:at]) for order in orders for at in range(len(order)))
        assert GROUPS.can_coexist(models) is undisturbed, models


def test_it_shows_its_size():
    assert repr(GROUPS) == "Groups(8 models)"
