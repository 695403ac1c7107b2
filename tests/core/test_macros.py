"""References are filled in with their types, by dependency, within bounds. Whole files are in test_config.py."""
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamaswap.core.macros import MAX_DEPTH, MAX_EXPANSION, MacroFault, Scope, declared, substitute_env
from llamaswap.core.tree import ListNode, MapNode, Mark, Scalar, from_plain, to_plain

MARK = Mark("f", 1, 1)


def filled(data, env):
    problems = []
    return to_plain(substitute_env(from_plain(data, "f"), env, problems)), [problem.message for problem in problems]


# --- environment -----------------------------------------------------------------------------------------------

def test_variables_fill_values_and_keys():
    assert filled({"a${env.X}": ["${env.X}", {"b": "-${env.X}-"}]}, {"X": "1"}) == ({"a1": ["1", {"b": "-1-"}]}, [])


def test_what_nothing_changes_stays_the_same_object():
    tree = from_plain({"a": [1, {"b": "x"}]})
    assert substitute_env(tree, {}, []) is tree


def test_a_plain_value_gets_the_type_of_what_is_filled_in():
    for text, value in (("5", 5), ("", None), (" on ", "on"), ("true", True), ("\t7 ", 7)):
        assert substitute_env(Scalar("${env.X}"), {"X": text}, []).value == value
    assert substitute_env(Scalar("${env.X}", plain=False), {"X": " 5 "}, []).value == " 5 "


def test_shared_nodes_stay_shared():
    shared = ListNode([Scalar("${env.X}")], MARK)
    tree = substitute_env(MapNode({"a": shared, "b": shared}), {"X": "1"}, [])
    assert tree.get("a") is tree.get("b")


def test_one_message_for_each_place_of_a_missing_variable():
    assert filled({"a": "${env.X}${env.X}", "b": "${env.Y}"}, {})[1] == \
        ["environment variable 'X' is not set", "environment variable 'Y' is not set"]


def test_variables_may_name_variables_twice():
    env = {"A": "${env.B}", "B": "${env.C}", "C": "c", "LOOP": "${env.LOOP}"}
    assert filled({"x": "${env.B}", "y": "$${env.A}"}, env) == ({"x": "c", "y": "$${env.A}"}, [])
    assert "too many times" in filled({"x": "${env.LOOP}"}, env)[1][0]


def test_comment_lines_of_commands_need_no_variables():
    for key in ("cmd", "cmdStop"):
        assert filled({key: "a\n# ${env.X}\nb"}, {}) == ({key: "a\nb"}, [])
        assert filled({key: "a\n# ${env.X}\nb ${env.Y}"}, {"Y": "y"}) == ({key: "a\nb y"}, [])
    assert filled({"env": "a\n# ${env.X}\nb"}, {})[1] == ["environment variable 'X' is not set"]


def test_a_key_may_not_become_another_one():
    assert filled({"a": 1, "${env.X}": 2},
                  {"X": "a"})[1] == ['the key "a" appears twice once the environment is filled in']


@pytest.mark.parametrize("value", ["a\nb", "a\rb", "a\0b"])
def test_line_ends_are_refused(value):
    assert filled({"a": "${env.X}"}, {"X": value})[1] == ["environment variable 'X' contains newlines or null bytes"]


def test_an_empty_key_would_open_the_server():
    assert filled({"apiKeys": ["${env.X}"]}, {"X": " "})[1] == ["${env.X} is empty, so no API key would be required"]
    assert filled({"apiKeys": ["${env.X}"]}, {"X": "k"})[1] == []


# --- declarations ----------------------------------------------------------------------------------------------

def read(macros):
    problems = []
    return declared(MapNode({"macros": from_plain(macros, "f")}), ("models", "m"), problems), problems


def test_declared_values_keep_their_types():
    assert read({"a": 1, "b": 2.5, "c": True, "d": "x", "e": ""}) == ({"a": 1, "b": 2.5, "c": True, "d": "x", "e": ""},
                                                                      [])
    assert read(None) == ({}, [])
    assert declared(MapNode({}), (), []) == {}


@pytest.mark.parametrize(("macros", "path", "piece"), [
    ([], (), "must be a mapping"), ("x", (), "must be a mapping"), ({"a": None}, ("a",), "must be text"),
    ({"a": []}, ("a",), "must be text"), ({"a": Scalar("2024-01-02")}, ("a",), "quote the date"),
    ({"PID": 1}, ("PID",), "reserved"),
    ({"a b": 1}, ("a b",), "may contain only"), ({"\udcff": 1}, ("\udcff",), "may contain only"),
    ({"x" * 64: 1}, ("x" * 64,), "longer than 63"), ({"a": "1${a}"}, ("a",), "refers to itself")])
def test_declarations_that_cannot_be(macros, path, piece):
    values, (problem,) = read(macros)
    assert values == {}
    assert problem.path == ("models", "m", "macros", *path)
    assert piece in problem.message


def test_an_escaped_reference_to_itself_is_none():
    assert read({"a": "$${a}"}) == ({"a": "$${a}"}, [])


# --- expansion -------------------------------------------------------------------------------------------------

def test_whole_values_keep_their_type_and_parts_are_text():
    scope = Scope({"i": 5, "f": 3000000.0, "b": False, "s": "x", "chain": "${i}", "twice": "${i}${i}"}, {"PORT": 9})
    for text, value in (("${i}", 5), ("${f}", 3000000.0), ("${b}", False), ("${chain}", 5), ("${twice}", "55"),
                        ("${PORT}", 9),
                        ("a${f}", "a3e+06"), ("${b}${s}", "falsex"), ("$${i}", "${i}"), ("$$${i}", "$${i}"),
                        ("${}", "${}"),
                        ("$i", "$i"), ("${a b}", "${a b}"), ("$${", "${")):
        assert scope.expand(text) == value, text
    assert scope.used == {"i", "f", "b", "chain", "twice", "PORT", "s"}


def test_order_does_not_matter_and_circles_are_named():
    scope = Scope({"a": "1${b}", "b": "2${c}", "c": "3", "x": "${y}", "y": "${z}", "z": "${x}"})
    assert scope.expand("${a}") == "123"
    with pytest.raises(MacroFault, match="circle: y -> z -> x -> y"):
        scope.expand("${y}")
    with pytest.raises(MacroFault, match="circle"):
        scope.expand("${y}")      # a failed attempt leaves nothing behind
    assert scope.expand("${a}") == "123"


def test_built_in_values_win_and_copies_are_independent():
    scope = Scope({"PORT": 1, "n": "${PORT}"}, {"PORT": 2})
    copy = scope.copy()
    copy.bind("PORT", 3)
    assert (scope.expand("${n}"), copy.expand("${n}")) == (2, 3)


@pytest.mark.parametrize(("name", "piece"), [
    ("PORT", "only available in a model whose cmd uses it"), ("PID", "only available in cmdStop"),
    ("MODEL_ID", "only available inside a model"), ("HOME", "write $${HOME} to keep ${HOME}")])
def test_unknown_names_say_what_to_do(name, piece):
    with pytest.raises(MacroFault) as caught:
        Scope({}).expand("x ${" + name + "}")
    assert f"unknown macro '${{{name}}}'" in str(caught.value)
    assert piece in str(caught.value)


def test_depth_and_size_are_bounded():
    deep = {f"a{i}": "${a" + str(i + 1) + "}" for i in range(1000)}
    deep["a1000"] = "x"
    with pytest.raises(MacroFault, match=f"more than {MAX_DEPTH} levels"):
        Scope(deep).expand("${a0}")
    assert Scope(deep).expand("${a950}") == "x"
    doubling = {f"a{i}": "${a" + str(i + 1) + "}" * 1 + "${a" + str(i + 1) + "}" for i in range(60)}
    doubling["a60"] = "0123456789"
    with pytest.raises(MacroFault, match=f"more than {MAX_EXPANSION} characters"):
        Scope(doubling).expand("${a0}")


def test_trees_expand_their_values_only():
    problems = []
    tree = from_plain({"${a}": ["${a}", {"b": "x${a}", "c": 5, "d": "${gone}", "e": "${env.X}", "f": "$${env.X}"}]},
                      "f")
    expanded = to_plain(Scope({"a": 7}).node(tree, ("p",), problems))
    assert expanded == {"${a}": [7, {"b": "x7", "c": 5, "d": "${gone}", "e": "${env.X}", "f": "${env.X}"}]}
    assert [problem.path for problem in problems] == [("p", "${a}", 1, "d")]


@given(st.dictionaries(st.sampled_from("abcd"), st.text(alphabet="ab${}cd-", max_size=12)),
       st.text(alphabet="ab${}cd-", max_size=20))
def test_expansion_ends(macros, text):
    try:
        assert isinstance(Scope(macros).expand(text), str)
    except MacroFault as fault:
        assert str(fault)
