"""Which rule decides, and what the rules say. Refusals are in test_config.py, in whole files."""
from __future__ import annotations

import pytest

from llamaswap.core.policy import did_you_mean
from llamaswap.core.settings import DEFAULT_GROUP, Group
from tests.support.vectors import load

MODELS = "models: {" + ", ".join(f'{name}: {{cmd: x, proxy: "http://h:1"}}' for name in ("b", "a", "Z", "ä")) + "}\n"


def built(text):
    loaded = load(MODELS + text)
    assert loaded.config is not None, [str(problem) for problem in loaded.problems]
    return loaded.config


def test_everybody_is_in_the_default_group_in_byte_order():
    group, = built("").groups
    assert group == Group(DEFAULT_GROUP, members=("Z", "a", "b", "ä"))


def test_the_default_group_comes_last_and_keeps_its_own_flags():
    groups = built("groups: {(default): {swap: false, persistent: true, members: [a]}, g: {members: [b], exclusive: "
                   "false}}").groups
    assert groups == (Group("g", exclusive=False, members=("b",)), Group(DEFAULT_GROUP, swap=False, persistent=True,
                                                                         members=("Z", "a", "ä")))


@pytest.mark.parametrize(("router", "kind"), [
    ("", "group"), ("settings: {groups: {g: ~}}", "group"), ("settings: {matrix: {sets: {s: a}}}", "matrix"),
    ("settings: {groups: {g: ~}, matrix: {sets: {s: a}}}", "group"),
    ("use: group, settings: {matrix: {sets: {s: a}}}", "group"),
    ("use: matrix, settings: {groups: {g: ~}, matrix: {sets: {s: a}}}", "matrix")])
def test_which_rule_decides(router, kind):
    config = built("routing: {router: {" + router + "}}")
    assert config.router == kind
    assert (config.matrix is not None) == (kind == "matrix")
    assert bool(config.groups) == (kind == "group")


def test_old_lists_are_sets_that_run_together():
    config = built("profiles: {w: [a, b], v: [ä], u: []}")
    assert config.router == "matrix"
    assert config.matrix.can_coexist(["a", "b"])
    assert not config.matrix.can_coexist(["a", "ä"])
    assert config.member_lists == {"w": ("a", "b"), "v": ("ä",), "u": ()}


def test_priorities_are_by_id():
    text = 'models: {m: {cmd: x, proxy: "http://h", aliases: [al]}, n: {cmd: x, proxy: "http://h", aliases: [bl]}}\n' \
           "routing: {scheduler: {settings: {fifo: {priority: {al: 1, m: 2, bl: 3}}}}}"
    assert load(text).config.priority == {"m": 2, "n": 3}


def test_suggestions():
    assert did_you_mean("aple", {"apple": 1}) == '; did you mean "apple"?'
    assert did_you_mean("aple", {}) == ""
