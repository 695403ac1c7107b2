"""The merge table: what two files may say about one path."""
from __future__ import annotations

import pytest

from llamaswap.core.merge import merge_sources
from llamaswap.core.tree import MapNode, Scalar, to_plain
from llamaswap.runtime.files import parse


def merged(*texts):
    problems = []
    tree = merge_sources([parse(text, f"{name}.yaml") for name, text in zip("abc", texts)], problems)
    return to_plain(tree), [str(problem) for problem in problems]


@pytest.mark.parametrize(("left", "right", "value"), [
    ("{x: 1}", "{y: 2}", {"x": 1, "y": 2}), ("{x: {y: 1}}", "{x: {z: 2}}", {"x": {"y": 1, "z": 2}}),
    ("[1, 2]", "[2, 3]", [1, 2, 2, 3]),
    ("1", "1", 1), ('"w"', "w", "w"), ("1", "1.0", None), ('"1"', "1", None), ("true", "True", True),
    ("100", "1_00", 100),
    (".nan", ".nan", "same"), ("a", "b", None), ("~", "5", 5), ("5", "~", 5), ("", "5", 5), ("null", "~", "null"),
    ("~", "{a: 1}", {"a": 1}),
    ("[1]", "~", [1]), ("{a: 1}", "[1]", None), ("[1]", "1", None), ("1", "{a: 1}", None),
    ("2024-01-02", '"2024-01-02"', None),
    ("[]", "[]", []), ("{}", "{}", {})])
def test_two_values_for_one_key(left, right, value):
    result, problems = merged(f"k: {left}", f"k: {right}")
    if value is None:
        assert len(problems) == 1
        assert problems[0].startswith('b.yaml:1:4: k: conflict at "k": ')
        assert "a.yaml:1:4" in problems[0]
    else:
        assert problems == []
        assert value in ("same", "null") or result == {"k": value}


IDENTITIES = ["models", "groups", "profiles", "selectors", "peers", "routing.router.settings.groups", "matrix.vars",
              "matrix.sets",
              "matrix.evict_costs", "routing.router.settings.matrix.sets", "routing.router.settings.matrix.vars",
              "routing.router.settings.matrix.evict_costs"]


def nested(path, value):
    return "".join("{" + part + ": " for part in path.split(".")) + value + "}" * len(path.split("."))


@pytest.mark.parametrize("path", IDENTITIES)
def test_names_exist_once(path):
    assert merged(nested(path, "{x: 1}"), nested(path, "{y: 2}"))[1] == []
    problem, = merged(nested(path, "{x: 1}"), nested(path, "{y: 2, x: 1}"))[1]
    assert problem.startswith("b.yaml:1:")
    assert f'{path}.x: duplicate ' in problem
    assert '"x", already defined at a.yaml:1:' in problem
    assert merged(nested(path, "~"), nested(path, "{x: 1}"))[1] == []


@pytest.mark.parametrize("path", ["macros", "store", "routing", "routing.router", "routing.scheduler.settings.fifo.pri"
                                  "ority",
                                  "performance", "models_", "matrix", "routing.router.settings"])
def test_elsewhere_equal_values_agree(path):
    assert merged(nested(path, "{x: 1}"), nested(path, "{x: 1, y: 2}"))[1] == []
    assert 'x": a different value was already set at a.yaml' in merged(nested(path, "{x: 1}"),
                                                                       nested(path, "{x: 2}"))[1][0]


def test_roots():
    assert merged("", "a: 1", "# nothing") == ({"a": 1}, [])
    assert merged("~", "{}") == ({}, [])
    for text in ("- a", "word", "5"):
        assert merged("a: 1", text)[1][0].startswith("b.yaml:1:1: a configuration must be a mapping")


def test_three_files_and_their_order():
    assert merged("a: [1]\nm: {x: 1}", "a: [2]\nm: {y: 2}", "a: [3]\nm: {z: 3}") == \
        ({"a": [1, 2, 3], "m": {"x": 1, "y": 2, "z": 3}}, [])
    assert list(merged("{b: 1, a: 1}", "{c: 1, a: 1}")[0]) == ["b", "a", "c"]


def test_places_and_anchors_survive():
    tree = merge_sources([parse("a: 1", "f"), parse("\nb: &b 2\nc: 3", "g")], [])
    assert (str(tree.mark), str(tree.key_marks["b"]), tree.anchored) == ("f:1:1", "g:2:1", {"b"})
    assert merge_sources([], []).mark is None


def test_nodes_without_places_merge_as_well():
    problems = []
    merge_sources([MapNode({"models": MapNode({"x": Scalar("1")}), "a": Scalar("1")}),
                   MapNode({"models": MapNode({"x": Scalar("1")}), "a": Scalar("2")})], problems)
    assert [problem.message for problem in problems] == ['duplicate model "x"',
                                                         'conflict at "a": a different value was already set']
