"""Names resolve in one order, and no two things share one. Refusals are in test_config.py, in whole files."""
from __future__ import annotations

from llamaswap.core.decode import Decoder
from llamaswap.core.names import Directory, build_aliases, resolve_members
from llamaswap.core.settings import Filters, Model, Peer

MODELS = {"a": Model("a", aliases=("x", "shared")),
          "b": Model("b", filters=Filters(set_params_by_id={"v": {}, "b": {}}))}
PEERS = {"p": Peer("p", models=("a", "far", "both")), "q": Peer("q", models=("both", "x/y"))}


def directory():
    return Directory(MODELS, build_aliases(MODELS, Decoder([])), PEERS)


def test_aliases_and_variants():
    assert build_aliases(MODELS, Decoder([])) == {"x": "a", "shared": "a", "v": "b"}


def test_the_first_owner_keeps_a_duplicate():
    problems = []
    models = {"a": Model("a", aliases=("x", "x")),
              "b": Model("b", aliases=("x",), filters=Filters(set_params_by_id={"x": {}, "a": {}}))}
    assert build_aliases(models, Decoder(problems)) == {"x": "a"}
    assert [problem.path for problem in problems] == [
        ("models", "a", "aliases", 1), ("models", "b", "aliases", 0), ("models", "b", "filters", "setParamsByID", "x"),
        ("models", "b", "filters", "setParamsByID", "a")]


def test_local_names_go_before_those_of_peers():
    names = directory()
    assert [names.local(name) for name in ("a", "x", "v", "far", "p/a")] == ["a", "a", "b", None, None]
    assert [names.target(name) for name in ("a", "x", "far", "p/a", "p/far", "q/x/y", "both", "p/both", "gone")] == \
        ["a", "a", "p/far", "p/a", "p/far", "q/x/y", None, "p/both", None]


def test_old_lists_resolve_aliases_and_drop_strangers():
    problems = []
    assert resolve_members({"w": ("x", "a", "b", "gone"), "v": ()}, directory(), Decoder(problems)) == {"w": ("a", "b"),
                                                                                                        "v": ()}
    assert not any(problem.is_error() for problem in problems)
    assert [problem.path for problem in problems] == [("profiles", "w"), ("profiles", "w", 3), ("profiles", "v")]
