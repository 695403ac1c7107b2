"""Command lines are split exactly as llama-swap splits them, but a # inside quotes is no comment."""
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamaswap.core.command import split, without_comments

# The specification's table, its POSIX column. T10 differs on purpose: the # line stands inside quotes and stays.
TABLE = {
    "T01": ("a 'b c' \"d e\"", ["a", "b c", "d e"]),
    "T02": ("x \"p 'q'\" 'r \"s\"'", ["x", "p 'q'", 'r "s"']),
    "T03": ("x a\\ b", ["x", "a b"]),
    "T04": ('x "q\\"r" "s\\\\t" "u\\n"', ["x", 'q"r', "s\\t", "u\\n"]),
    "T05": ("x 'q\\'r", ["x", "q\\r"]),
    "T06": ("x 'open end", ["x", "open end"]),
    "T07": ("x \"\" ''", ["x", "", ""]),
    "T08": ("pre\"\"post --k='y z'", ["prepost", "--k=y z"]),
    "T09": ("x foo\\\\\n y", ["x", "foo ", "y"]),
    "T10": ("x 'l1\n# l2\nl3' z", ["x", "l1\n# l2\nl3", "z"]),
    "T11": ("x #y\n  # z\nw", ["x", "#y", "w"]),
    "T12": ("run $V ~ *.g | cat && b > c ; d", ["run", "$V", "~", "*.g", "|", "cat", "&&", "b", ">", "c", ";", "d"]),
    "T13": ("C:\\bin\\s.exe -m C:\\m\\f.gguf", ["C:bins.exe", "-m", "C:mf.gguf"]),
    "T14": ('"C:\\Pro Files\\s.exe" --d "C:\\m\\\\"', ["C:\\Pro Files\\s.exe", "--d", "C:\\m\\"]),
    "T15": ('x "b""c"', ["x", "bc"]),
    "T16": ("x --gpus '\"dev=1,2\"'", ["x", "--gpus", '"dev=1,2"']),
    "T17": ("x \\\n   --y 1 \\\n   --z 2", ["x", "--y", "1", "--z", "2"]),
    "T18": ('x "a\rb" c\rd', ["x", "a\rb", "c\rd"]),
    "separators are space, tab and line feed": ("a\tb\nc\rd\ve\ff\u00a0g", ["a", "b", "c\rd\ve\ff\u00a0g"]),
    "a dollar or backtick is escaped in double quotes": ('"\\$x \\`y \\z"', ["$x `y \\z"]),
    "a line end is removed in double quotes only when escaped": ('"a\nb"', ["a\nb"]),
    "a backslash at the end of a line inside quotes becomes a space": ('"a\\\nb"', ["a \nb"]),
    "nothing is escaped in single quotes": ("'a\\n' b", ["a\\n", "b"]),
    "a backslash at the very end goes": ("a b\\", ["a", "b"]),
    "a backslash before trailing blanks is at the end": ("a \\  \n b", ["a", "b"]),
    "indented comment": ("a\n\t # b\n c", ["a", "c"]),
    "comment with a carriage return": ("a\r\n\r# b\r\nc", ["a\r", "c"]),
    "comment with an odd quote": ("a\n# it's\nb 'c d'", ["a", "b", "c d"]),
    "comment after a continuation": ("a \\\n# b\n c", ["a", "c"]),
    "escaped quote opens nothing": ("a \\'\n# b\nc", ["a", "'", "c"]),
    "escaped quote inside quotes closes nothing": ('"a\\"\n# b\n" c', ['a"\n# b\n', "c"]),
    "quotes inside words": ("a'b c'd\"e f\"g", ["ab cde fg"]),
    "a number sign inside a word": ("a#b 'c' #", ["a#b", "c", "#"]),
    "escape without quotes": ("a\\b\\#c", ["ab#c"]),
}


@pytest.mark.parametrize("name", TABLE)
def test_table(name):
    text, argv = TABLE[name]
    assert list(split(text).argv) == argv
    assert split(text).error is None


@pytest.mark.parametrize("text", ["", " \t\n", "# x", "# x\n  # y\n", "\\", "\\\n"])
def test_nothing_to_run(text):
    assert split(text).error == "empty command"
    assert split(text).argv == ()


def test_warnings():
    assert split("a 'b").warnings == ("a quote is opened and never closed; the rest of the command became one argument",
                                      )
    assert split("a # b").warnings[0].startswith("a lone #")
    assert len(split("a # 'b").warnings) == 2
    assert split("a #b 'c'").warnings == ()


def test_comment_lines_vanish_and_the_rest_stays_as_it_was():
    assert without_comments("a\r\n # b\n\n\tc") == "a\r\n\n\tc"
    assert without_comments("a 'b\n# c\n'\n# d") == "a 'b\n# c\n'"
    assert without_comments("no comment") == "no comment"


@given(st.text(alphabet="ab '\"\\#\n\t$|", max_size=30))
def test_any_text_splits_and_dropping_comments_first_changes_nothing(text):
    assert split(without_comments(text)).argv == split(text).argv


@given(st.lists(st.text(alphabet="ab \"\\#\n\t$|;é", max_size=8), min_size=1, max_size=5))
def test_single_quotes_keep_everything_on_one_line(words):
    assume_one_line = [word.replace("\n", "").replace("\\", "/") for word in words]
    assert list(split(" ".join(f"'{word}'" for word in assume_one_line)).argv) == assume_one_line
