"""Request parameters set and removed: what a path means, and that nothing else of the request changes."""
from __future__ import annotations

import json
import time
from typing import Any, Dict, Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llamaswap.core.bodies import find_model
from llamaswap.core.faults import ClientFault, ConfigFault
from llamaswap.core.filters import (
    FilterPlan,
    Part,
    build_plan,
    encode_value,
    parse_path,
    reaches_model,
    rewrite,
    validate_path,
)
from llamaswap.core.settings import Filters


def plan(strip: str = "", by_id: Mapping[str, Mapping[str, Any]] = {}, **sets: Any) -> FilterPlan:  # noqa: B006
    return build_plan(Filters(strip=tuple(strip.split(",")) if strip else (), set_params=sets.pop("sets", sets),
                              set_params_by_id=by_id))


def apply(filters: FilterPlan, body: bytes, requested: str = "m", model: str = "", query: str = "") -> bytes:
    named = find_model("application/json", body, query, "POST")
    return rewrite(body, query, named, model=model or named.model or "", edits=filters.edits_for(requested))[0]


# --- what comes out ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strip, sets, before, after", [
    ("a", {}, '{"a":1,"model":"m"}', '{"model":"m"}'),
    ("a", {}, '{"model":"m","a":1}', '{"model":"m"}'),
    ("a", {}, '{ "model" : "m" ,\n "a" : 1 ,\n "b":2 }', '{ "model" : "m" ,\n "b":2 }'),
    ("a", {}, '{"a":1}', "{}"),
    ("a", {}, '{"a":1,"model":"m","\\u0061":2}', '{"model":"m"}'),
    ("a.b", {}, '{"a":{"b":1,"c":1.50},"model":"m"}', '{"a":{"c":1.50},"model":"m"}'),
    ("a.b,x.y.z", {}, '{"a":"b","x":{"y":[]}}', '{"a":"b","x":{"y":[]}}'),
    ("a.b", {}, '{"a":{"b":1},"a":{"c":1}}', '{"a":{"b":1},"a":{"c":1}}'),
    ("l.1", {}, '{"l":[1, 2 ,3]}', '{"l":[1,3]}'),
    ("l.-1", {}, '{"l":[1,2,3]}', '{"l":[1,2]}'),
    ("l.0,l.-1", {}, '{"l":[7]}', '{"l":[]}'),
    ("l.-1,l.4,l.x", {}, '{"l":[]}', '{"l":[]}'),
    ("l.0.a", {}, '{"l":[{"a":1},{"a":2}]}', '{"l":[{},{"a":2}]}'),
    ("", {"t": 0.5}, '{"model":"m","t":1e-7,"n":123456789012345678}', '{"model":"m","t":0.5,"n":123456789012345678}'),
    ("", {"t": 1}, '{}', '{"t":1}'),
    ("", {"t": 1}, ' { } ', ' {"t":1} '),
    ("", {"b": 2, "a": 1}, '{"x":0.10 }\n', '{"x":0.10 ,"a":1,"b":2}\n'),
    ("", {"t": 1}, '{"t":3,"x":1,"t":4}', '{"x":1,"t":1}'),
    ("", {"a.b.c": True}, '{"x":1}', '{"x":1,"a":{"b":{"c":true}}}'),
    ("", {"a.b": None}, '{"a":{"c":[1, 2]}}', '{"a":{"c":[1, 2],"b":null}}'),
    ("", {"a.b": 1}, '{"a":null}', '{"a":{"b":1}}'),
    ("", {"a.b": 1}, '{"a":"text"}', '{"a":{"b":1}}'),
    ("", {"a\\.b": 1}, '{"a":{}}', '{"a":{},"a.b":1}'),
    ("", {"l.0": 9, "l.-1": 8}, '{"l":[1]}', '{"l":[9,8]}'),
    ("", {"l.2": 9}, '{"l":[1]}', '{"l":[1,null,9]}'),
    ("", {"l.1": 9}, '{}', '{"l":[null,9]}'),
    ("", {"l.-1.k": 9}, '{}', '{"l":[{"k":9}]}'),
    ("", {"b.50256": -100, "c.:7": 1}, '{}', '{"b":{"50256":-100},"c":{"7":1}}'),
    ("", {"b.7": 1, "b.-1": 2}, '{"b":{}}', '{"b":{"-1":2,"7":1}}'),
    ("t,u", {"t": 1}, '{"u":5,"t":0}', '{"t":1}'),
    ("", {"a": {"z": 1, "b": [1.0, "é<"]}, "a.c": 2}, '{}', '{"a":{"b":[1,"\\u00e9<"],"z":1,"c":2}}'),
    ("", {"ä": 1}, '{"ä":0}', '{"ä":1}'),
    ("", {"model": "x", "t": 1}, '{"model":"m"}', '{"model":"m","t":1}'),
])
def test_editing(strip: str, sets: Dict[str, Any], before: str, after: str) -> None:
    assert apply(plan(strip, sets=sets), before.encode()).decode() == after


def test_sets_by_requested_name_come_last() -> None:
    filters = plan("a", {"m:high": {"effort": "high", "t": 2}, "none": {}}, t=1)
    assert apply(filters, b'{"model":"m"}', "m:high") == b'{"model":"m","t":2,"effort":"high"}'
    assert apply(filters, b'{"model":"m"}', "m") == b'{"model":"m","t":1}'
    assert filters.edits_for("typed", "m:high") == filters.edits_for("m:high")
    assert filters.edits_for("none") == filters.always


def test_the_rename_and_the_edits_are_one_pass() -> None:
    body = b'{"model":"alias", "a":1, "mod\\u0065l" : "alias"}'
    assert apply(plan("a", t=1), body, model="real") == b'{"model":"real", "mod\\u0065l" : "real","t":1}'
    assert apply(plan("absent"), body, model="real") == b'{"model":"real", "a":1, "mod\\u0065l" : "real"}'
    assert apply(plan(), body, model="real") == b'{"model":"real", "a":1, "mod\\u0065l" : "real"}'


def test_a_name_in_the_query_is_renamed_there() -> None:
    body, query = b'{"a":1}', "model=alias&x=1"
    named = find_model("application/json", body, query, "POST")
    assert rewrite(body, query, named, model="real", edits=plan("a").always) == (b"{}", "model=real&x=1")


def test_what_needs_no_change_is_the_same_object() -> None:
    body = b'{"model":"m","x":{"y":1}}'
    for filters in (plan(), plan("absent,x.absent,x.y.z,model")):
        assert apply(filters, body) is body
    form = find_model("application/x-www-form-urlencoded", b"model=m&a=1", "", "POST")
    assert rewrite(b"model=m&a=1", "", form, model="m", edits=plan("a").always) == (b"model=m&a=1", "")
    assert rewrite(b"model=m&a=1", "", form, model="r", edits=plan("a").always) == (b"model=r&a=1", "")


def test_a_list_where_an_object_belongs_is_the_clients_fault() -> None:
    with pytest.raises(ClientFault, match='"b"') as caught:
        apply(plan(sets={"a.b": 1}), b'{"a":[1]}')
    assert caught.value.status == 400


def test_is_noop() -> None:
    assert build_plan(Filters()).is_noop() and plan("model", {"x": {}}, model=1).is_noop()
    for filters in (build_plan(Filters(), use_model_name="r"), plan("a"), plan(a=1), plan("", {"x": {"a": 1}})):
        assert not filters.is_noop()


# --- paths -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path, parts", [
    ("a", [Part("a")]), ("a.b", [Part("a"), Part("b")]), ("l.0", [Part("l"), Part("0", 0)]), ("-1", [Part("-1", -1)]),
    ("a\\.b.c", [Part("a.b"), Part("c")]), ("a\\\\.b", [Part("a\\"), Part("b")]), ("a\\", [Part("a")]),
    (":1.:-1", [Part("1"), Part("-1")]), ("::a", [Part(":a")]), ("a:b", [Part("a:b")]), ("\\:1", [Part(":1")]),
    ("\\1", [Part("1", 1)]), ("a..b", [Part("a"), Part(""), Part("b")]), ("007", [Part("007", 7)]),
    ("1000", [Part("1000", 1000)]),
    ("1001", [Part("1001")]), ("99999999999", [Part("99999999999")]), ("-2", [Part("-2")]), ("٣", [Part("٣")])])
def test_parse_path(path: str, parts: object) -> None:
    assert list(parse_path(path)) == parts


@pytest.mark.parametrize("path",
        ["a", "a.b.c", "l.-1", "l.0", "a\\.b", "a\\*b", "\\?", "a!b", "\\!x", "a-b_c:d", "models",
                                  "x.model"])
def test_good_paths(path: str) -> None:
    assert validate_path(path) is None


@pytest.mark.parametrize("path, problem", [
    ("", "empty"), ("*", '"*"'), ("a.*", '"*"'), ("a?", '"?"'), ("l.#", '"#"'), ("l.#(a=1)", '"#"'), ("a|b", '"|"'),
    ("@this", '"@"'), ("a.@x", '"@"'), ("!x", '"!"'), ("a.!x", '"!"'), ("a\\\\*", '"*"'),
    ("model", "useModelName"), ("\\model", "useModelName"), ("m\\odel", "useModelName"), (":model", "useModelName"),
    ("model.x", "useModelName")])
def test_bad_paths(path: str, problem: str) -> None:
    assert problem in (validate_path(path) or "")


@pytest.mark.parametrize("path", ["model", "\\model", "m\\odel", ":model", "model.x", "\\m\\o\\d\\e\\l"])
def test_every_path_to_the_model_is_protected_even_unvalidated(path: str) -> None:
    assert reaches_model(path)
    assert apply(plan(path, {"m": {path: "evil"}}, sets={path: "evil"}), b'{"model":"m"}') == b'{"model":"m"}'


# --- values ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value, text", [
    (None, "null"), (True, "true"), (3, "3"), (10**25, "1" + "0" * 25), (1.0, "1"), (-0.5, "-0.5"), (1e-7, "0.0000001"),
    (1.25e-9, "0.00000000125"), (1e22, "1" + "0" * 22), (0.1, "0.1"), ('"ü', '"\\"\\u00fc"'), ((1, 2.0), "[1,2]"),
    ({"b": 1e-7, "a": {"c": []}, 3: None}, '{"3":null,"a":{"c":[]},"b":0.0000001}')])
def test_encode_value(value: Any, text: str) -> None:
    assert encode_value(value).decode() == text


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {"x": [float("-inf")]}, {1, 2}, b"x"])
def test_values_that_json_cannot_express_are_a_fault_of_the_configuration(value: Any) -> None:
    with pytest.raises(ConfigFault, match='"a.b"'):
        plan(sets={"a.b": value})


@settings(max_examples=200, deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats_keep_their_value_and_have_no_exponent(value: float) -> None:
    text = encode_value(value).decode()
    assert float(text) == value and "e" not in text


# --- random documents --------------------------------------------------------------------------------------------

KEYS = st.sampled_from(["a", "b", "0", "1", "c.d", "ä"])
VALUES = st.recursive(st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5)), lambda inner: st.one_of(
    st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)), max_leaves=10)
PATHS = st.lists(st.sampled_from(["a", "b", "0", "1", "-1", ":0", "c\\.d", "ä"]), min_size=1, max_size=3).map(".".join)


def set_plainly(value: Any, parts: Any, new: Any) -> Any:
    """What _set means, on values."""
    if not parts:
        return new
    part = parts[0]
    if not isinstance(value, (dict, list)):
        value = {} if part.item is None else []
    if isinstance(value, dict):
        return {**value, part.key: set_plainly(value.get(part.key), parts[1:], new)}
    at = len(value) if part.item == -1 else part.item
    if at is None:
        raise ClientFault("")
    padded = value + [None] * (at + 1 - len(value))
    return [*padded[:at], set_plainly(padded[at], parts[1:], new), *padded[at + 1:]]


def remove_plainly(value: Any, parts: Any) -> Any:
    part, rest = parts[0], parts[1:]
    if isinstance(value, dict) and part.key in value:
        if rest:
            return {**value, part.key: remove_plainly(value[part.key], rest)}
        return {key: item for key, item in value.items() if key != part.key}
    if isinstance(value, list) and part.item is not None and part.item < len(value) and value:
        at = part.item % len(value)
        return [*value[:at], *([remove_plainly(value[at], rest)] if rest else []), *value[at + 1:]]
    return value


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(KEYS, VALUES, max_size=4), st.lists(st.tuples(PATHS, VALUES, st.booleans()), max_size=4),
       st.sampled_from([None, 1]))
def test_random_edits_mean_the_same_as_on_values(document: Any, edits: Any, indent: Any) -> None:
    body = json.dumps(document, indent=indent).encode()
    for path, value, is_removal in edits:
        parts = parse_path(path)
        try:
            wanted = remove_plainly(document, parts) if is_removal else set_plainly(document, parts, value)
        except ClientFault:
            with pytest.raises(ClientFault):
                apply(plan(sets={path: value}), body)
            return
        body = apply(plan(path) if is_removal else plan(sets={path: value}), body)
        document = wanted
        assert json.loads(body) == document


def test_print_what_filters_cost() -> None:
    """No limits: pytest -s."""
    filters = plan("top_k,min_p", temperature=0.7, sets={"temperature": 0.7, "chat_template_kwargs.thinking": False})
    for size in (200, 200_000, 20_000_000):
        body = b'{"model":"m","messages":[{"content":"' + b"QUJD" * (size // 4) + b'"}],"top_k":1}'
        named = find_model("application/json", body, "", "POST")
        began = time.perf_counter()
        rewrite(body, "", named, model="real", edits=filters.always)
        print(f"{len(body):>9} bytes: rename and four edits {(time.perf_counter() - began) * 1e3:7.3f} ms")
