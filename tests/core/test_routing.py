"""Paths that belong to models, names that mean models, and selectors that choose among them."""
from __future__ import annotations

from typing import List, Optional

import pytest

from llamaswap.core.lifecycle import State
from llamaswap.core.routing import (
    MODEL_ROUTES,
    Kind,
    Names,
    Resolution,
    Target,
    Where,
    choose_target,
    find_route,
    forwarded_path,
    is_anthropic,
    is_dispatchable,
    is_own_path,
    suggest,
)

# --- paths -------------------------------------------------------------------------------------------------------


def test_the_table_has_every_route_once() -> None:
    by_method = {method: [path for path, route in MODEL_ROUTES.items() if method in route.methods]
                 for method in ("POST", "GET", "HEAD")}
    assert [len(by_method[method]) for method in ("POST", "GET", "HEAD")] == [28, 3, 3]
    assert MODEL_ROUTES["/v1/audio/voices"].methods == ("GET", "HEAD", "POST")
    assert MODEL_ROUTES["/v1/images/edits"][:3] == (("POST",), Kind.FORM, "/v1/images/edits")
    assert MODEL_ROUTES["/props"].kind is Kind.QUERY


@pytest.mark.parametrize("path, forward", [
    ("/v1/chat/completions", "/v1/chat/completions"), ("/v/chat/completions", "/chat/completions"),
    ("/v/messages/count_tokens", "/messages/count_tokens"), ("/audioapi/v1/tasks/run", "/v1/tasks/run"), ("/vx", "/vx"),
    ("/v", "/v"), ("/audioapi", "/audioapi")])
def test_forwarded_path(path: str, forward: str) -> None:
    assert forwarded_path(path) == forward


@pytest.mark.parametrize("method, path, forward", [
    ("POST", "/v1/chat/completions", "/v1/chat/completions"),
    ("POST", "/v1/%63hat/completions", "/v1/chat/completions"),
    ("POST", "/v/rerank", "/rerank"), ("HEAD", "/props", "/props"), ("GET", "/v1/audio/voices", "/v1/audio/voices"),
    ("GET", "/v1/chat/completions", None), ("POST", "/props", None), ("POST", "/v1/chat%2Fcompletions", None),
    ("POST", "/v1/chat/completions/", None), ("POST", "/V1/chat/completions", None), ("PUT", "/rerank", None)])
def test_find_route(method: str, path: str, forward: Optional[str]) -> None:
    route = find_route(method, path)
    assert (route.forward if route else None) == forward


def test_anthropic_routes() -> None:
    assert [path for path, route in MODEL_ROUTES.items() if route.is_anthropic] == [
        "/v1/messages", "/v1/messages/count_tokens", "/v/messages", "/v/messages/count_tokens"]
    assert is_anthropic("/messages") and not is_anthropic("/v1/messages/batches")
    assert is_anthropic("//v1/messages") and is_anthropic("/v1/%6Dessages") and not is_anthropic("/v1%2Fmessages")


@pytest.mark.parametrize("path", [
    "/", "/ui", "/ui/models", "/api", "/api/version", "/%61pi/x", "//api/x", "/logs", "/logs/stream/m", "/running",
    "/running/", "/unload", "/health", "/metrics", "/favicon.ico", "/upstream/m/x", "/comfyui", "/v1/models",
    "/models", "/models/load", "/models/unload/"])
def test_own_paths_are_never_dispatched(path: str) -> None:
    assert is_own_path(path) and not is_dispatchable("POST", path)


@pytest.mark.parametrize("method, path, expected", [
    ("POST", "/v1/moderations", True), ("GET", "/slots", True), ("POST", "/apix", True),
    ("DELETE", "/v1/files/1", True),
    ("OPTIONS", "/v1/moderations", False), ("POST", "*", False), ("CONNECT", "/x", False)])
def test_any_other_path_may_go_to_a_model(method: str, path: str, expected: bool) -> None:
    assert is_dispatchable(method, path) is expected


# --- names -------------------------------------------------------------------------------------------------------

NAMES = Names(
    ["a", "b", "org/big", "org", "p1/own"], {"al": "a", "variant": "a", "b": "a", "org/big/fast": "org/big"},
    {"p1": ["z", "only1", "z", "a", "s"], "p2": ["z", "deep/er", "p1/only1"], "p3": ["p1/z"]}, ["s", "s/x"])
PINNED = NAMES.with_pins({"a": "b", "b": "s", "off": "", "none": None, "peer": "p2/z", "gone": "nobody",
        "deep/pin": "al"})


@pytest.mark.parametrize("name, where, model_id, peer, peer_model", [
    ("a", Where.LOCAL, "a", "", ""), ("al", Where.LOCAL, "a", "", ""), ("b", Where.LOCAL, "b", "", ""),
    ("org/big", Where.LOCAL, "org/big", "", ""), ("s", Where.SELECTOR, "s", "", ""),
    ("p1/z", Where.PEER, "p1/z", "p1", "z"), ("p2/z", Where.PEER, "p2/z", "p2", "z"), ("z", Where.NONE, "", "", ""),
    ("only1", Where.PEER, "p1/only1", "p1", "only1"), ("deep/er", Where.PEER, "p2/deep/er", "p2", "deep/er"),
    ("p1/only1", Where.PEER, "p1/only1", "p1", "only1"), ("p2/p1/only1", Where.PEER, "p2/p1/only1", "p2", "p1/only1"),
    ("A", Where.NONE, "", "", ""), ("a ", Where.NONE, "", "", ""), ("", Where.NONE, "", "", "")])
def test_resolve(name: str, where: Where, model_id: str, peer: str, peer_model: str) -> None:
    found = NAMES.resolve(name)
    assert found == Resolution(where, name, model_id, peer, peer_model)
    assert found.is_served is (where in (Where.LOCAL, Where.PEER))


@pytest.mark.parametrize("name, where, requested, model_id", [
    ("a", Where.LOCAL, "b", "b"), ("b", Where.SELECTOR, "s", "s"), ("off", Where.DISABLED, "off", ""),
    ("none", Where.DISABLED, "none", ""), ("peer", Where.PEER, "p2/z", "p2/z"), ("gone", Where.NONE, "nobody", ""),
    ("al", Where.LOCAL, "al", "a")])
def test_a_pin_is_applied_first_and_once(name: str, where: Where, requested: str, model_id: str) -> None:
    found = PINNED.resolve(name)
    assert (found.where, found.requested, found.id) == (where, requested, model_id)


def test_targets_know_neither_pins_nor_selectors() -> None:
    assert PINNED.resolve_target("a").id == "a" and PINNED.resolve_target("s").where is Where.PEER
    assert PINNED.with_pins({}).resolve("off").where is Where.NONE
    assert repr(NAMES) == "Names(19 names, 2 selectors, 0 pins)"


@pytest.mark.parametrize("path, model_id, rest", [
    ("a", "a", ""), ("a/", "a", "/"), ("a/v1/x%2Fy", "a", "/v1/x%2Fy"), ("a//x/../y", "a", "//x/../y"),
    ("al/x", "a", "/x"),
    ("org/big/x", "org/big", "/x"), ("org%2Fbig/x", "org/big", "/x"), ("org%2fbig", "org/big", ""),
    ("org/bigger/x", "org", "/bigger/x"),
    ("org/big/fast/x", "org/big", "/x"), ("org//big/x", "org/big", "/x"), ("/a/x", "a", "/x"),
    ("p1/z/v1", "p1/z", "/v1"),
    ("deep/er/x", "p2/deep/er", "/x"), ("p2/p1/only1/q", "p2/p1/only1", "/q"), ("%61/x", "a", "/x")])
def test_the_longest_name_behind_upstream(path: str, model_id: str, rest: str) -> None:
    found = NAMES.split_upstream(path)
    assert found is not None and (found.resolution.id, found.rest) == (model_id, rest)


@pytest.mark.parametrize("path", ["", "/", "nobody/x", "s/x", "a%2Fx", "z/x", "x/" * 5000])
def test_nobody_behind_upstream(path: str) -> None:
    found = NAMES.split_upstream(path)
    assert found is None or found.resolution.id == "p1/s"


def test_pins_behind_upstream() -> None:
    def found(path: str) -> Optional[tuple]:
        split = PINNED.split_upstream(path)
        return split and (split.resolution.where, split.resolution.requested, split.rest)
    assert found("a/x") == (Where.LOCAL, "b", "/x")
    assert found("deep/pin/x") == (Where.LOCAL, "al", "/x")
    assert found("off/x") == found("none/x")[:1] + ("off", "/x") == (Where.DISABLED, "off", "/x")
    assert found("gone/x") == (Where.NONE, "nobody", "/x")


def test_no_names_at_all() -> None:
    assert Names([], {}, {}).split_upstream("a/b") is None and Names([], {}, {}).resolve("a").where is Where.NONE


def test_suggest() -> None:
    assert suggest("qwen3-8", ["qwen3-8b", "qwen2-8b", "llama"]) == ["qwen3-8b", "qwen2-8b"]
    assert suggest("", ["a"]) == [] and suggest("x" * 121, ["x" * 121]) == []


# --- selectors ---------------------------------------------------------------------------------------------------


def spill(count: int, spillover: int, states: List[Optional[State]]) -> str:
    """Requests that never finish; the letters of the targets they got."""
    held, last, got = [0] * len(states), -1, ""
    for _ in range(count):
        targets = [Target(state, reservations) for state, reservations in zip(states, held)]
        last = choose_target("spillover", targets, spillover=spillover, last=last)
        assert last is not None
        held[last] += 1
        got += "abc"[last]
    return got


COLD = State.STOPPED


@pytest.mark.parametrize("count, spillover, states, expected", [
    (7, 2, [COLD, COLD], "aabbaba"),          # R01
    (4, 1, [COLD, COLD], "abab"),             # R02
    (4, 1, [COLD, State.READY], "baba"),
    (5, 2, [State.STARTING, State.READY], "ababa"),
    (3, 1, [State.STOPPING, COLD], "bbb"),
    (4, 1, [None, COLD], "abab"),             # a peer's model is active through its reservations only
    (6, 1, [COLD, COLD, COLD], "abcabc"),
])
def test_spillover(count: int, spillover: int, states: List[Optional[State]], expected: str) -> None:
    assert spill(count, spillover, states) == expected


def test_spillover_takes_turns_among_idle_targets() -> None:
    idle = [Target(State.READY), Target(State.READY)]
    assert [choose_target("spillover", idle, last=last) for last in (-1, 0, 1)] == [0, 1, 0]


def test_spillover_without_a_usable_target() -> None:
    assert choose_target("spillover", [Target(State.STOPPING, 3)]) is None


@pytest.mark.parametrize("states, expected", [
    ([COLD, State.READY], 1), ([State.STARTING, COLD], 0), ([COLD, COLD], 0),          # R03
    ([State.STARTING, State.READY], 1), ([State.STOPPING, COLD], 0)])
def test_warm(states: List[State], expected: int) -> None:
    assert choose_target("warm", [Target(state) for state in states]) == expected


def test_pin_is_the_first_target() -> None:
    assert choose_target("pin", [Target(State.STOPPING), Target(State.READY)]) == 0
    assert choose_target("pin", []) is None and choose_target("warm", []) is None
