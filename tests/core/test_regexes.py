"""RE2's expressions, and nothing that RE2 would refuse."""
from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llamaswap.core.regexes import compile_re2


@pytest.mark.parametrize(("source", "yes", "no"), [
    (r".*\.(js|css)$", "/a/x.js", "/a/x.jsx"), ("^/ws$", "/ws", "/ws/"), (r"a\z", "xa", "ab"), ("", "anything", None),
    (r"[[:digit:]]+x", "12x", "ax"), (r"^[a[:upper:]_]$", "Q", "b"), (r"^[[:alpha:][:digit:]]$", "7", "-"),
    (r"^\Qa.b\E+$", "a.b", "axb"), (r"\Qa.", "a.", "ab"), (r"\d", "5", "٣"), (r"^\w+$", "abc_1", "ä"),
    (r"(?P<n>a)", "a", "b"), (r"(?<n>a)", "a", "b"), (r"(?:a|b)c", "bc", "c"), (r"a{2,3}", "aa", "a"),
    (r"x*?y", "y", "x"),
    (r"\\1", r"\1", "1"), (r"[\]]", "]", "["), (r"[]a]", "]", "b"), (r"[^]a]", "b", "]"), (r"\x41", "A", "B"),
    (r"[^/]+/x", "a/x", "/x"), (r"\*+", "**", "a"), (r"}+", "}}", "{"), (r"[(?=]", "(", "a"), (r"[a\\]", "\\", "b"),
    # flags count to the end of their group
    ("(?i)ABC", "xabcx", "ab"), (r"(?s)a.b", "a\nb", "ab"), ("^(?i)/foo", "/FOO", "/bar"), ("a(?i)b|c", "C", "B"),
    ("(a(?i)b)c", "aBc", "aBC"), ("(?i)a(?-i)b", "Ab", "AB"), ("(?i:a)b", "Ab", "AB"), ("(?im)^a$", "x\nA", "x"),
    # what Python reserves for operations on sets
    ("^a{,2}$", "a{,2}", "aa"), ("^(a{2}){2}$", "aaaa", "aaa"), ("(a{500}|b){2}", "bb", "ab"),
    ("[[a]", "[", "b"), ("[a&&b]", "&", "c"), ("[a||b]", "|", "c"), ("[a~~b]", "~", "c"), ("[+--]", ",", "."),
    ("[--0]", ".", ","), ("^[[:^]$", "^", "]")])
def test_matches(source, yes, no):
    assert compile_re2(source).search(yes)
    assert no is None or not compile_re2(source).search(no)


@pytest.mark.parametrize("source", [
    "a(b", "[", "*", "a)", ")", r"(?=x)", r"(?!x)", r"(?<=x)", r"(?<!x)", r"(a)\1", r"(?P=n)", r"(?>a)", r"(?(1)a)",
    r"(?#c)",
    r"\pN", r"\PN", r"\C", r"\K", r"\Z", r"\E", r"[\pL]", "[[:nope:]]", "[[:^digit:]]", "(?U)a", "(?x)a", "(?a)b",
    "(?iL:a)", "a**",
    "x{1001}", "x{0,1001}", "x{1001,}", "(x{100}){11}", "((a{10}){10}){11}", "((x{600})*|y){2}",
    "a{3,2}", "a\\", "(?P<n>a)(?P<n>b)", "(?z)a", "a++", "a?+", "a{2}+", "a*+", "(?P>n)", "a{99999999999999999999}"])
def test_refused(source):
    with pytest.raises(ValueError, match=r"."):
        compile_re2(source)


@pytest.mark.parametrize(("source", "wanted"), [
    (r".*\.js$", r"\.js$"), (r".*.*?a|b", "a|b"), (r"(?i).*a", "(?i:a)"), ("^.*a", "^.*a"), (".*", ""), (".*{", ".*{")])
def test_what_a_search_skips_anyway_is_not_tried_at_every_place(source, wanted):
    assert compile_re2(source).pattern == wanted


def test_the_limit_is_for_what_is_repeated_inside_each_other():
    compile_re2("(x{500}y{500}){2}z{1000}(a{2}){500}(?:b{1000}){1}")


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="ab()[]{}*+?|\\^$.:=!<P>dQE1i:-,&~\0", max_size=14))
def test_any_text_compiles_or_says_why(source):
    try:
        compile_re2(source)
    except ValueError as fault:
        assert str(fault)
