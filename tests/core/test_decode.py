"""Trees become values of the table's types, or problems with their path. Whole files are in test_config.py."""
from __future__ import annotations

import pytest

from llamaswap.core.decode import Decoder
from llamaswap.core.fields import Field, Kind
from llamaswap.core.tree import ListNode, MapNode, Problem, Scalar
from llamaswap.runtime.files import parse


def decode(field, written):
    problems = []
    node = parse(f"k: {written}", "f").get("k")
    return Decoder(problems).field(node, field, ("k",)), [problem.message for problem in problems]


def test_absent_and_null_mean_the_default():
    inner = {"a": Field(Kind.INT, "", 3)}
    for field, value in [(Field(Kind.INT, "", 5), 5), (Field(Kind.STR, "", "x"), "x"),
                         (Field(Kind.BOOL, "", True), True),
                         (Field(Kind.STRINGS, "", ("d",)), ("d",)), (Field(Kind.STRUCT, "", fields=inner), {"a": 3}),
                         (Field(Kind.TABLE, "", fields=inner), {}), (Field(Kind.FREE, "", {}), {}),
                         (Field(Kind.INTS, "", {}), {}),
                         (Field(Kind.BOOL, "", None, nullable=True), None),
                         (Field(Kind.STRUCT, "", fields=inner, nullable=True), None),
                         (Field(Kind.DURATION, "", "5s"), "5s"), (Field(Kind.MACROS, "", {}), {})]:
        assert Decoder([]).field(None, field, ()) == value
        assert decode(field, "~") == (value, [])


def test_null_may_empty_a_list():
    field = Field(Kind.STRINGS, "", ("d",), null_empties=True)
    assert Decoder([]).field(None, field, ()) == ("d",)
    assert decode(field, "~") == ((), [])


def test_a_table_reads_its_rows():
    field = Field(Kind.TABLE, "", fields={"a": Field(Kind.INT, "", 3)})
    assert decode(field, "{x: {a: 1}, y: ~}") == ({"x": {"a": 1}, "y": {"a": 3}}, [])
    assert decode(field, "{x: 5}") == ({"x": {"a": 3}}, ["expected a mapping, found the number 5"])


def test_values_outside_become_the_default_or_stay():
    assert decode(Field(Kind.INT, "", 7, minimum=0), "-1") == (7, ["must be at least 0, found -1"])
    assert decode(Field(Kind.INT, "", 7, soft_minimum=0), "-1") == (-1, ["-1 makes no sense; 0 is meant"])
    assert decode(Field(Kind.STR, "", "a", choices=("a", "b")), "c") == ("a", ['unknown value "c"; valid: a, b'])
    assert decode(Field(Kind.STR, "", "a", choices=("a", "b")), '""') == ("a", ['unknown value ""; valid: a, b'])
    assert decode(Field(Kind.STR, "", soft_choices=("", "a")), "c") == ("c", ['"c" is not known and has no effect; '
                                                                              'valid: "", a'])
    assert decode(Field(Kind.STR, "", soft_choices=("a",)), "' A '") == (" A ", [])


@pytest.mark.parametrize(("kind", "written", "message"), [
    (Kind.INT, '"5"', 'expected a whole number, found the text "5"; remove the quotes'),
    (Kind.INT, '"x"', 'expected a whole number, found the text "x"'),
    (Kind.BOOL, '"true"', 'expected true or false, found the text "true"; remove the quotes'),
    (Kind.INT, "true", "expected a whole number, found the switch true"),
    (Kind.STRINGS, "a", 'expected a list of texts, found the text "a"; write [a]'),
    (Kind.STRINGS, '"a, b"', 'expected a list of texts, found the text "a, b"; start items with -'),
    (Kind.STRINGS, "{}", "expected a list of texts, found a mapping"),
    (Kind.STR, "[]", "expected text, found a list"), (Kind.FREE, "5", "expected a mapping, found the number 5")])
def test_a_wrong_type_says_what_to_write(kind, written, message):
    assert decode(Field(kind, "", {Kind.INT: 0, Kind.STR: "", Kind.STRINGS: ()}.get(kind)), written)[1] == [message]


def test_lists():
    assert decode(Field(Kind.STRINGS, "", ()), "[a, ~, 5]") == (("a", "5"), ["empty list item is ignored"])
    assert decode(Field(Kind.STRINGS, "", (), refuse_empty=True), "[~]") == ((), ["empty list item"])
    assert decode(Field(Kind.STRINGS, "", ()), "[[a], {}]")[1] == ["expected text, found a list",
                                                                   "expected text, found a mapping"]


def test_tags_that_do_not_fit_are_reported_in_text_too():
    for kind, written in ((Kind.STR, "!!int x"), (Kind.STRINGS, "[!!int x]"), (Kind.FREE, "{a: [!!int x]}")):
        assert '"x" is not a int' in decode(Field(kind, "", None), written)[1]


def test_free_mappings_must_fit_into_json():
    assert decode(Field(Kind.FREE, "", {}), "{a: {b: [.inf, 1]}}")[1] == [".inf cannot be expressed in JSON"]
    assert decode(Field(Kind.FREE_TABLE, "", {}), "{a: {b: 1}, c: ~}") == ({"a": {"b": 1}, "c": {}}, [])


def test_unknown_and_old_keys_are_warnings():
    problems = []
    fields = {"alpha": Field(Kind.INT, "", 0), "old": Field(Kind.INT, "", 0, deprecated="alpha")}
    tree = MapNode({"alpa": Scalar("1"), "old": Scalar("2"), "x-y": Scalar("3"), "shared": Scalar("4")},
                   anchored=frozenset(["shared"]))
    assert Decoder(problems).struct(tree, fields, ()) == {"alpha": 0, "old": 2}
    assert [problem.message for problem in problems] == ['unknown key "alpa"; did you mean "alpha"?',
                                                         "old is an old key; use alpha"]
    assert not any(problem.is_error() for problem in problems)
    del problems[:]
    Decoder(problems).struct(tree, fields, ("deeper",))
    assert [problem.path[-1] for problem in problems] == ["alpa", "old", "x-y", "shared"]


def test_what_was_reported_before_is_not_reported_again():
    problems = [Problem(("a",), "unknown macro"), Problem(("b",), "only a warning", "warning")]
    decoder = Decoder(problems)
    decoder.error(("a",), "expected a whole number")
    decoder.warn(("a",), "odd")
    decoder.error(("b",), "wrong")
    assert [problem.message for problem in problems] == ["unknown macro", "only a warning", "wrong"]


def test_macros_are_somebody_elses():
    assert decode(Field(Kind.MACROS, "", {}), "{a: 1}") == ({}, [])


def test_a_nullable_mapping_of_the_wrong_type():
    assert decode(Field(Kind.STRUCT, "", fields={}, nullable=True), "x")[0] is None
    assert decode(Field(Kind.STRUCT, "", fields={"a": Field(Kind.INT, "", 3)}), "x")[0] == {"a": 3}
    assert Decoder([]).field(ListNode([]), Field(Kind.TABLE, "", fields={}), ()) == {}
