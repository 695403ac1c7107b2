"""Scalars mean what Go's YAML says, and everything remembers its place. More rows of meanings are in test_config.py."""
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamaswap.core.tree import (
    ListNode,
    MapNode,
    Mark,
    Problem,
    Scalar,
    Stamp,
    TagFault,
    byte_order,
    dotted,
    find_mark,
    from_plain,
    merge_keys,
    node_kind,
    number_text,
    resolve,
    to_plain,
    walk,
)

MARK = Mark("f", 3, 7)


@pytest.mark.parametrize(("path", "shown"), [
    ((), ""), (("a",), "a"), (("a", "b", 0, "c"), "a.b[0].c"), (("models", "x.y"), 'models."x.y"'), (("a b",), '"a b"'),
    (("a", ""), 'a.""'), (("a", "[x]"), 'a."[x]"'), (("a", "org/m:q"), "a.org/m:q"), ((1, 2), "[1][2]")])
def test_paths_can_be_read_back(path, shown):
    assert dotted(path) == shown


def test_a_problem_says_where_and_what():
    assert str(Problem(("a", 0), "no", mark=MARK)) == "f:3:7: a[0]: no"
    assert str(Problem(("a",), "no", "warning")) == "warning: a: no"
    assert str(Problem((), "no")) == "no"
    assert Problem((), "no").is_error()
    assert not Problem((), "no", "warning").is_error()


def test_a_problem_cannot_play_tricks_on_a_terminal():
    shown = str(Problem(("\x1b[2J",), 'found "\n\0\x9b" and ü' + "x" * 5000))
    assert shown.startswith('"\\x1b[2J": found "\\n\\x00\\x9b" and ü')
    assert shown.isprintable()
    assert len(shown) < 1020


def test_quoting_and_tags_decide():
    assert resolve("5", True, None) == 5
    assert resolve("5", False, None) == "5"
    assert resolve("5", True, "!mine") == "5"
    assert resolve("5", False, "tag:yaml.org,2002:int") == 5
    assert resolve("5", True, "tag:yaml.org,2002:str") == "5"
    assert resolve("x", True, "tag:yaml.org,2002:binary") == "x"
    assert resolve("x", True, "tag:yaml.org,2002:null") is None
    assert resolve("5", True, "tag:yaml.org,2002:float") == 5.0
    for text, name in (("x", "int"), ("5.5", "int"), ("true", "int"), ("1", "bool"), ("yes", "bool"),
                       ("true", "float")):
        with pytest.raises(TagFault, match=f'"{text}" is not a {name}'):
            resolve(text, True, "tag:yaml.org,2002:" + name)


def test_a_tag_that_does_not_fit_is_kept_for_the_decoder():
    scalar = Scalar("x", tag="tag:yaml.org,2002:int")
    assert scalar.value == "x"
    assert scalar.fault == '"x" is not a int'


def test_dates_are_text_that_macros_refuse():
    assert isinstance(Scalar("2024-01-02").value, Stamp)
    assert not isinstance(Scalar("2024-01-02", plain=False).value, Stamp)
    assert type(to_plain(Scalar("2024-01-02"))) is str


@pytest.mark.parametrize(("text", "value"), [
    ("2024-01-02T03:04:05Z", "2024-01-02T03:04:05Z"), ("2024-1-2t3:4:5.120+05:30", "2024-01-02T03:04:05.12+05:30"),
    ("2024-01-02T03:04:05-00:00", "2024-01-02T03:04:05Z"), ("2024-01-02  03:04:05.5", "2024-01-02T03:04:05.5Z")])
def test_times_as_go_reads_them(text, value):
    found = Scalar(text).value
    assert isinstance(found, Stamp) and found == value


@pytest.mark.parametrize("text", [
    "2024-01-02T03:04:05", "2024-01-02 03:04:05Z", "2024-01-02 03:04:05 +05:30", "2024-01-02T03:04:05+5:30",
    "2024-01-02\t03:04:05", "2024-01-02T03:04Z", "2024-02-30"])
def test_what_go_does_not_read_as_a_time_stays_text(text):
    found = Scalar(text).value
    assert not isinstance(found, Stamp) and found == text


@given(st.text(max_size=12), st.booleans(), st.sampled_from([None, "!x", "tag:yaml.org,2002:int"]))
def test_every_text_means_something(text, plain, tag):
    scalar = Scalar(text, plain=plain, tag=tag)
    assert scalar.value is None or isinstance(scalar.value, (str, int, float))
    assert isinstance(number_text(scalar.value), str)


@pytest.mark.parametrize(("value", "shown"), [
    (True, "true"), (False, "false"), (None, ""), ("x", "x"), (5, "5"), (5.0, "5"), (-0.25, "-0.25"), (0.0, "0"),
    (1e6, "1e+06"), (999999.0, "999999"), (-1048576.0, "-1.048576e+06"), (1e-4, "0.0001"), (1.5e-5, "1.5e-05"),
    (1e-6, "1e-06"), (1e-5, "1e-05"),
    (1e100, "1e+100"), (1.7976931348623157e308, "1.7976931348623157e+308"), (5e-324, "5e-324"),
    (123456.789, "123456.789"),
    (0.1 + 0.2, "0.30000000000000004"), (float("inf"), "+Inf"), (float("-inf"), "-Inf"), (float("nan"), "NaN")])
def test_numbers_in_texts_look_like_go(value, shown):
    assert number_text(value) == shown


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_the_text_of_a_number_reads_back(value):
    assert float(number_text(value)) == value


def test_values_put_in_keep_their_place():
    scalar = Scalar("${a}", mark=MARK)
    assert scalar.with_value(5).value == 5
    assert scalar.with_value(5).text == "5"
    assert scalar.with_value(5).mark is MARK
    assert scalar.with_text("7").value == 7
    assert repr(scalar) == "Scalar('${a}')"
    assert Scalar("~").is_null()


def test_plain_data_and_back():
    data = {"a": [1, 2.5, True, None, "x"], "b": {"c": {}}, "5": []}
    assert to_plain(from_plain(data)) == data
    assert to_plain(from_plain({5: (1, 2)})) == {"5": [1, 2]}
    tree = from_plain({"a": "true"}, "here")
    assert tree.get("a").value == "true"
    assert str(tree.mark) == "here:1:1"
    assert from_plain(tree) is tree


@pytest.mark.parametrize(("data", "kind"), [
    ({}, "a mapping"), ([], "a list"), (None, "nothing"), (Scalar("yes"), 'the text "yes"'),
    (Scalar("true"), "the switch true"),
    (Scalar("0x10"), "the number 0x10"), ("y" * 60, 'the text "' + "y" * 37 + '..."')])
def test_what_people_call_it(data, kind):
    assert node_kind(from_plain(data)) == kind


def test_mappings():
    inner, other = MapNode({"x": Scalar("1")}), Scalar("2")
    tree = MapNode({"a": inner, "b": other}, MARK, {"a": Mark("f", 4, 1)}, frozenset("a"))
    assert tree.map_at("a") is inner
    assert tree.map_at("b").entries == {}
    assert tree.map_at("c").mark is MARK
    assert tree.replace({}).anchored == {"a"}
    assert repr(tree) == "MapNode({'a': MapNode({'x': Scalar('1')}), 'b': Scalar('2')})"
    assert repr(ListNode([other])) == "ListNode([Scalar('2')])"
    merged = merge_keys([("x", Scalar("9"))], [inner, MapNode({"y": other, "x": other})])
    assert to_plain(MapNode(merged)) == {"x": 9, "y": 2}


def test_the_place_of_a_path_or_of_what_is_nearest():
    item = Scalar("x", mark=Mark("f", 6, 5))
    tree = MapNode({"a": MapNode({"l": ListNode([item, Scalar("y")], Mark("f", 5, 3))}, Mark("f", 4, 3))},
                   Mark("f", 1, 1),
                   {"a": Mark("f", 3, 1)})
    for path, line in (((), 1), (("a",), 3), (("a", "l"), 5), (("a", "l", 0), 6), (("a", "l", 1), 5),
                       (("a", "l", 2), 5),
                       (("a", "gone", "x"), 3), (("a", 0), 3), (("a", "l", "x"), 5), (("a", "l", 0, "x"), 6)):
        assert find_mark(tree, path).line == line, path
    assert find_mark(Scalar("x"), ("a",)) is None


def test_walking_gives_every_scalar_in_order():
    assert [(path, scalar.value) for path, scalar in walk(from_plain({"a": [1, {"b": 2}], "c": 3}))] == \
        [(("a", 0), 1), (("a", 1, "b"), 2), (("c",), 3)]


def test_names_sort_by_bytes_whatever_they_hold():
    in_order = ["Z", "_", "a10", "a9", "ä", "\udcff", "😀"]
    assert sorted(["😀", "a9", "\udcff", "Z", "ä", "_", "a10"], key=byte_order) == in_order
