"""Regular expressions as RE2 understands them, run by Python's `re`.

RE2 has no look-around and no back-references; a file that uses them would not load in llama-swap, so it does not load
here. What RE2 has and `re` spells differently is translated; the rest is common to both.
"""
from __future__ import annotations

import re
from typing import List, Pattern

_SET_ITEM = r"(?:\[:\^?\w+:\]|\\.|[^\]\\])"
_TOKEN = re.compile(
    r"\\Q(?P<quoted>.*?)(?:\\E|\Z)"
    r"|\\(?P<escape>.)"
    rf"|(?P<set>\[(?:\^|(?!\^))(?:\]|{_SET_ITEM}){_SET_ITEM}*\])"
    r"|\(\?(?P<flags>[ims]*(?:-[ims]+)?)\)"
    r"|\(\?(?P<foreign><?[=!]|P=|>|\(|#|[ims-]*[a-hj-ln-rt-zA-OQ-Z])"
    r"|(?P<greedy>(?:[*+?]|\{\d+(?:,\d*)?\})\+)"
    r"|\{(?P<least>\d+)(?P<most>,\d*)?(?P<count>\})|(?P<brace>\{(?=,\d*\}))"
    r"|(?P<group>\((?:\?P?<(?=\w))?)|(?P<end>\))|(?P<bar>\|)|(?P<unclosed>\[)", re.DOTALL)
_IN_SET = re.compile(r"\\(?P<escape>.)|\[:(?P<negated>\^?)(?P<name>\w+):\]|(?P<first>(?<=^\[)--)"
                     r"|(?P<twice>--|&&|~~|\|\|)|(?P<bracket>(?!^)\[)", re.DOTALL)
_CLASSES = {"alnum": "0-9A-Za-z", "alpha": "A-Za-z", "ascii": r"\x00-\x7F", "blank": r"\t ", "cntrl": r"\x00-\x1F\x7F",
            "digit": "0-9", "graph": "!-~", "lower": "a-z", "print": " -~", "punct": r"!-/:-@\[-`{-~",
            "space": r"\t\n\v\f\r ", "upper": "A-Z", "word": "0-9A-Za-z_", "xdigit": "0-9A-Fa-f"}
# What a search does anyway. Tried at every place of a long path, it would cost the square of its length.
_SKIPPING = re.compile(r"\A((?:\(\?[ims]+\))*)(?:\.\*\??(?![*+?{]))+")
_MAX_REPEAT = 1000


def compile_re2(source: str) -> Pattern[str]:
    """A pattern whose `search` says whether the source is found, or ValueError with the reason it is not valid."""
    try:
        # re.ASCII: \d, \w and \s mean ASCII in RE2.
        return re.compile(_Translation().of(_SKIPPING.sub(r"\1", source)), re.ASCII)
    except (re.error, OverflowError, RecursionError) as fault:
        raise ValueError(str(fault)) from None


class _Translation:
    """RE2's `(?i)` counts to the end of its group, across `|`; Python wants `(?i:...)`, opened again after each `|`."""

    def __init__(self) -> None:
        self.open: List[List[str]] = [[]]      # per open group, the flags that were set inside it
        self.repeats: List[int] = [1]          # per open group, how often its counts repeat something inside it
        self.closed = (0, 1)                   # where the last group ended, and the same for it

    def of(self, source: str) -> str:
        return _TOKEN.sub(self.piece, source) + ")" * len(self.open[0])

    def piece(self, found: re.Match[str]) -> str:
        kind, text = found.lastgroup or "", found.group(0)
        if kind == "quoted":
            return re.escape(found.group("quoted"))
        if kind == "escape":
            return _escape(found)
        if kind == "set":
            return _IN_SET.sub(_set_piece, text)
        if kind == "foreign":
            return _refuse(f"{text} is not supported: RE2 has no look-around, references or comments")
        if kind == "unclosed":
            return _refuse("a [ is not closed")
        if kind == "greedy":
            return _refuse(f"invalid nested repetition {text}")
        if kind == "count":
            return self.counting(found)
        if kind == "brace":
            return r"\{"      # {,5} is a count only in Python
        return self.grouping(found, kind, text)

    def counting(self, found: re.Match[str]) -> str:
        """RE2 writes repetitions out, so it limits them, and what is in each other is multiplied."""
        most = int((found.group("most") or "")[1:] or found.group("least"))
        end, within = self.closed
        times = most * (within if end == found.start() else 1)
        if max(times, int(found.group("least"))) > _MAX_REPEAT:
            _refuse(f"{found.group(0)} repeats something more than {_MAX_REPEAT} times")
        self.repeats[-1] = max(self.repeats[-1], times)
        return found.group(0)

    def grouping(self, found: re.Match[str], kind: str, text: str) -> str:
        flags = self.open[-1]
        if kind == "flags":
            flags.append(text[:-1] + ":")
            return flags[-1]
        if kind == "bar":
            return ")" * len(flags) + "|" + "".join(flags)
        if kind == "group":
            self.open.append([])
            self.repeats.append(1)
            return text.replace("(?<", "(?P<")
        if len(self.open) > 1:
            self.open.pop()
            within = self.repeats.pop()
            self.repeats[-1] = max(self.repeats[-1], within)
            self.closed = (found.end(), within)
        return ")" * len(flags) + ")"


def _escape(found: re.Match[str]) -> str:
    char = found.group("escape")
    if char in "123456789":
        return _refuse(f"\\{char} is not supported: RE2 has no back-references")
    if char in "pPCKZNuUE":
        return _refuse(f"\\{char} is not supported")
    return r"\Z" if char == "z" else found.group(0)


def _set_piece(found: re.Match[str]) -> str:
    kind, text = found.lastgroup, found.group(0)
    if kind == "escape":
        return _escape(found)
    if kind == "name":
        name = found.group("name")
        if name not in _CLASSES or found.group("negated"):
            return _refuse(f"{text} is not supported")
        return _CLASSES[name]
    # Python reserves these for set operations and warns; in RE2 they are what they look like.
    if kind == "first":
        return r"\--"
    return "\\" + text if kind == "bracket" else text[0] + "\\" + text[1]


def _refuse(why: str) -> str:
    raise ValueError(why)
