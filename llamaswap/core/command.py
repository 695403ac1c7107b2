"""A command line as llama-swap splits it: POSIX quoting, whole-line comments, backslash at the end of a line.

No shell is involved: nothing is expanded, `|` and `>` are ordinary arguments. A line that starts with `#` is a comment
only outside quotes, so a script or a chat template inside quotes keeps its own `#` lines.
"""
from __future__ import annotations

import re
from dataclasses import dataclass
from typing import List, Optional, Tuple

_SPACE = " \t\n"
_SEPARATOR = re.compile(r"[ \t\n]+")
_QUOTING = re.compile(r"['\"\\]")
_BLANK = " \t\r"
_ESCAPABLE = '$`"\\'


@dataclass(frozen=True)
class Split:
    """`argv` is usable unless `error` is set; `warnings` are things a person should look at."""

    argv: Tuple[str, ...]
    error: Optional[str] = None
    warnings: Tuple[str, ...] = ()


def split(text: str) -> Split:
    argv, is_open = _tokens(_joined(text))
    warnings = []
    if is_open:
        warnings.append("a quote is opened and never closed; the rest of the command became one argument")
    if "#" in argv:
        warnings.append("a lone # is passed to the program as an argument; comments must start their own line")
    if not argv:
        return Split((), "empty command")
    return Split(tuple(argv), None, tuple(warnings))


def without_comments(text: str) -> str:
    """Drop comment lines, leaving everything else, line ends included, as it was."""
    if "#" not in text:
        return text
    kept = []
    quote = ""
    for line in text.split("\n"):
        if not quote and line.strip(_BLANK).startswith("#"):
            continue
        kept.append(line)
        quote = _quote_after(line, quote)
    return "\n".join(kept)


def _joined(text: str) -> str:
    """Resolve line ends: a backslash before one becomes a space, comment lines vanish."""
    lines = []
    for line in without_comments(text).split("\n"):
        bare = line.strip(_BLANK)
        # Two backslashes leave one, which then escapes the added space: odd, but what existing files were read as.
        lines.append(bare[:-1] + " " if bare.endswith("\\") else line)
    return "\n".join(lines)


def _quote_after(line: str, quote: str) -> str:
    """Which quote is open at the end of `line` when `quote` was open at its start."""
    escaped = False
    for char in line:
        if escaped:
            escaped = False
        elif char == "\\" and quote != "'":
            escaped = True
        elif char == quote:
            quote = ""
        elif not quote and char in "'\"":
            quote = char
    return quote


def _tokens(text: str) -> Tuple[List[str], bool]:
    """The arguments, and whether the text ended inside a quote."""
    if not _QUOTING.search(text):
        return [argument for argument in _SEPARATOR.split(text) if argument], False
    argv: List[str] = []
    current: Optional[List[str]] = None
    quote = ""
    at = 0
    while at < len(text):
        char = text[at]
        at += 1
        if not quote and char in _SPACE:
            if current is not None:
                argv.append("".join(current))
            current = None
            continue
        current = [] if current is None else current
        if char == quote:
            quote = ""
        elif not quote and char in "'\"":
            quote = char
        elif char == "\\" and quote != "'" and at < len(text):
            current.append(_escape(text[at], quote))
            at += 1
        else:
            current.append(char)
    if current is not None:
        argv.append("".join(current))
    return argv, bool(quote)


def _escape(char: str, quote: str) -> str:
    if quote == '"' and char not in _ESCAPABLE:
        return "" if char == "\n" else "\\" + char
    return char
