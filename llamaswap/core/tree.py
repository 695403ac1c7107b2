"""A parsed configuration file: scalars, lists and mappings that remember where they were written.

The tree keeps the source text of every scalar beside its meaning, because the two are needed at different times: a
number in a text field is what the user wrote (`name: 2.50`), the same number in a numeric field is its value. What a
plain word means follows YAML 1.2 as Go's yaml.v3 reads it, which is what every existing llama-swap file was written
against; PyYAML alone would turn `yes` into a bool, `12:30` into a number and `1e3` into text.
"""
from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, Dict, FrozenSet, Iterable, Iterator, List, Mapping, Optional, Sequence, Tuple, Union

Path = Tuple[Union[str, int], ...]

STR_TAG = "tag:yaml.org,2002:str"
_TAG_PREFIX = "tag:yaml.org,2002:"
_NULLS = frozenset(["", "~", "null", "Null", "NULL"])
_BOOLS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_SPECIAL_FLOATS = {".inf": float("inf"), ".Inf": float("inf"), ".INF": float("inf"),
                   "+.inf": float("inf"), "+.Inf": float("inf"), "+.INF": float("inf"),
                   "-.inf": float("-inf"), "-.Inf": float("-inf"), "-.INF": float("-inf"),
                   ".nan": float("nan"), ".NaN": float("nan"), ".NAN": float("nan")}
_INT = re.compile(r"([-+]?)(?:0[xX]([0-9a-fA-F]+)|0[bB]([01]+)|0[oO]?([0-7]+)|(0|[1-9][0-9]*))\Z")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")
_STAMP = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})"
                    r"(?:([Tt]| +)(\d{1,2}):(\d{1,2}):(\d{1,2})(\.\d{1,9})?(Z|[-+]\d{2}:\d{2})?)?\Z",
                    re.ASCII)
_INT_RANGE = (-(1 << 63), (1 << 64) - 1)
MAX_PROBLEM_LENGTH = 1000     # a value of megabytes may be wrong, too, and is quoted in the message


@dataclass(frozen=True)
class Mark:
    """A place in a file, counted from 1 as editors do."""

    source: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.source}:{self.line}:{self.column}"


@dataclass(frozen=True)
class Problem:
    """One finding. `path` is the key path in the merged configuration; `mark` is where the user can mend it."""

    path: Path
    message: str
    severity: str = "error"
    mark: Optional[Mark] = None

    def is_error(self) -> bool:
        return self.severity == "error"

    def __str__(self) -> str:
        place = [str(self.mark)] if self.mark else []
        where = [dotted(self.path)] if self.path else []
        level = [] if self.is_error() else [self.severity]
        return _printable(": ".join(place + level + where + [self.message]))


def _printable(text: str) -> str:
    """`text` for a terminal or a log: on one line, of bearable length, and unable to move the cursor."""
    shown = text if len(text) <= MAX_PROBLEM_LENGTH else text[:MAX_PROBLEM_LENGTH] + "..."
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in shown)


class Stamp(str):
    """A date or time, held in its RFC 3339 form: text wherever it lands, but not allowed as a macro's value."""

    __slots__ = ()


class Scalar:
    """One value. `text` is what the user wrote, `plain` is true when it stood without quotes."""

    __slots__ = ("_value", "fault", "mark", "plain", "tag", "text")

    def __init__(self, text: str, *, plain: bool = True, tag: Optional[str] = None,
                 mark: Optional[Mark] = None) -> None:
        self.text = text
        self.plain = plain
        self.tag = tag
        self.mark = mark
        self.fault = ""                # why the explicit tag does not fit; the decoder reports it
        self._value: Any = Scalar      # "not resolved yet": the class itself cannot be a value

    @property
    def value(self) -> Any:
        if self._value is Scalar:
            try:
                self._value = resolve(self.text, self.plain, self.tag)
            except TagFault as fault:
                self.fault, self._value = str(fault), self.text
        return self._value

    def with_text(self, text: str) -> Scalar:
        return Scalar(text, plain=self.plain, tag=self.tag, mark=self.mark)

    def with_value(self, value: Any) -> Scalar:
        """The same place holding a computed value, as whole-value macros produce."""
        made = Scalar(number_text(value), plain=False, tag=self.tag, mark=self.mark)
        made._value = value
        return made

    def is_null(self) -> bool:
        return self.value is None

    def __repr__(self) -> str:
        return f"Scalar({self.text!r})"


class ListNode:
    __slots__ = ("items", "mark")

    def __init__(self, items: List[Node], mark: Optional[Mark] = None) -> None:
        self.items = items
        self.mark = mark

    def __repr__(self) -> str:
        return f"ListNode({self.items!r})"


class MapNode:
    """A mapping in the order it was written. Keys are their source text: `yes:` and `7:` are the names yes and 7.

    `anchored` names the keys whose values define YAML anchors: they are used even when nothing else knows them.
    """

    __slots__ = ("anchored", "entries", "key_marks", "mark")

    def __init__(self, entries: Dict[str, Node], mark: Optional[Mark] = None,
                 key_marks: Optional[Dict[str, Optional[Mark]]] = None, anchored: FrozenSet[str] = frozenset()) -> None:
        self.entries = entries
        self.mark = mark
        self.key_marks = key_marks or {}
        self.anchored = anchored

    def get(self, key: str) -> Optional[Node]:
        return self.entries.get(key)

    def map_at(self, key: str) -> MapNode:
        """The mapping under `key`, or an empty one: type errors are the decoder's business."""
        found = self.entries.get(key)
        return found if isinstance(found, MapNode) else MapNode({}, self.mark)

    def replace(self, entries: Dict[str, Node]) -> MapNode:
        return MapNode(entries, self.mark, self.key_marks, self.anchored)

    def __repr__(self) -> str:
        return f"MapNode({self.entries!r})"


Node = Union[Scalar, ListNode, MapNode]


class TagFault(ValueError):
    """A value cannot be what its explicit tag says."""


def dotted(path: Path) -> str:
    """`models.m.aliases[0]`; a key that holds dots or spaces is quoted so that the path can be read back."""
    parts: List[str] = []
    for part in path:
        if isinstance(part, int):
            parts.append(f"[{part}]")
            continue
        shown = part if part and not re.search(r"[\s.\[\]]", part) else '"' + part + '"'
        parts.append("." + shown if parts else shown)
    return "".join(parts)


def resolve(text: str, plain: bool, tag: Optional[str]) -> Any:
    """What a scalar means where no particular type is expected."""
    if tag and tag.startswith(_TAG_PREFIX):
        return _tagged(text, tag[len(_TAG_PREFIX):])
    if not plain or tag:
        return text
    return _plain_value(text)


def _plain_value(text: str) -> Any:
    if text in _NULLS:
        return None
    if text in _BOOLS:
        return _BOOLS[text]
    if text[0] in "+-.0123456789":
        number = _number(text)
        return _stamp(text) if number is None else number
    return text


def _number(text: str) -> Any:
    if text in _SPECIAL_FLOATS:
        return _SPECIAL_FLOATS[text]
    digits = text.replace("_", "")
    found = _INT.match(digits)
    # Longer than any 64-bit number: never int(), because interpreters refuse thousands of digits.
    if found and len(digits) <= 70:
        sign, hexa, binary, octal, decimal = found.groups()
        value = int(hexa, 16) if hexa else int(binary, 2) if binary else int(octal, 8) if octal else int(decimal)
        value = -value if sign == "-" else value
        if _INT_RANGE[0] <= value <= _INT_RANGE[1]:
            return value
    # Past 64 bits a number is a float, and past those it is text.
    value_or_inf = float(digits) if _FLOAT.match(digits) else float("inf")
    return None if math.isinf(value_or_inf) else value_or_inf


def _stamp(text: str) -> str:
    found = _STAMP.match(text)
    if not found:
        return text
    year, month, day, mark, hour, minute, second, fraction, zone = found.groups()
    # Go knows two forms: with a T there is a zone, with a space there is none.
    if (mark in ("T", "t")) != bool(zone):
        return text
    if not (1 <= int(month) <= 12 and 1 <= int(day) <= _days(int(year), int(month)) and int(hour or 0) < 24
            and int(minute or 0) < 60 and int(second or 0) < 60):
        return text
    zone = zone if zone and zone[1:] != "00:00" else "Z"
    fraction = (fraction or "").rstrip("0").rstrip(".")
    return Stamp(f"{year}-{month:0>2}-{day:0>2}T{hour or '':0>2}:{minute or '':0>2}:{second or '':0>2}{fraction}{zone}")


def _days(year: int, month: int) -> int:
    if month == 2:
        return 29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28
    return 30 if month in (4, 6, 9, 11) else 31


def byte_order(name: str) -> bytes:
    """Sort key of names, the same on every system. Names from the environment may hold undecodable bytes."""
    return name.encode("utf-8", "surrogatepass")


def _tagged(text: str, name: str) -> Any:
    if name == "null":
        return None
    if name not in ("int", "float", "bool"):
        return text
    value = _plain_value(text)
    if name == "float" and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value).__name__ != name:
        raise TagFault(f'"{text}" is not a {name}')
    return value


def number_text(value: Any) -> str:
    """The text a macro's value leaves inside a longer string; floats in Go's short form."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, float):
        return "" if value is None else str(value)
    if value != value or value in (float("inf"), float("-inf")):
        return {"inf": "+Inf", "-inf": "-Inf", "nan": "NaN"}[str(value)]
    # repr() gives the fewest digits that read back the same, in either notation; only its layout differs from Go's.
    digits, _, power = repr(abs(value)).partition("e")
    whole, _, fraction = digits.partition(".")
    leading_zeros = len(fraction) - len(fraction.lstrip("0"))
    exponent = int(power or 0) + (len(whole) - 1 if whole != "0" else -1 - leading_zeros)
    if -4 <= exponent < 6 or value == 0:
        return repr(value)[:-2] if value == int(value) else repr(value)
    mantissa = (whole + fraction).strip("0")
    shown = mantissa[0] + ("." + mantissa[1:] if mantissa[1:] else "")
    return f"{'-' if value < 0 else ''}{shown}e{exponent:+03d}"


def from_plain(data: Any, source: str = "") -> Node:
    """Plain Python data as a tree, for callers that have no file; strings count as quoted."""
    if isinstance(data, (Scalar, ListNode, MapNode)):
        return data
    mark = Mark(source, 1, 1) if source else None
    if isinstance(data, Mapping):
        return MapNode({str(k): from_plain(v, source) for k, v in data.items()}, mark)
    if isinstance(data, (list, tuple)):
        return ListNode([from_plain(v, source) for v in data], mark)
    if data is None:
        return Scalar("", mark=mark)
    if isinstance(data, str):
        return Scalar(data, plain=False, mark=mark)
    return Scalar("", mark=mark).with_value(data)


def to_plain(node: Node) -> Any:
    if isinstance(node, Scalar):
        value = node.value
        return str(value) if isinstance(value, Stamp) else value
    if isinstance(node, ListNode):
        return [to_plain(item) for item in node.items]
    return {key: to_plain(child) for key, child in node.entries.items()}


def node_kind(node: Node) -> str:
    """What people call the thing they wrote, for messages."""
    if isinstance(node, MapNode):
        return "a mapping"
    if isinstance(node, ListNode):
        return "a list"
    value = node.value
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return f"the switch {node.text}"
    if isinstance(value, (int, float)):
        return f"the number {_shortened(node.text)}"
    return f'the text "{_shortened(node.text)}"'


def _shortened(text: str) -> str:
    return text if len(text) <= 40 else text[:37] + "..."


def merge_keys(pairs: Sequence[Tuple[str, Node]], merges: Iterable[MapNode]) -> Dict[str, Node]:
    """The entries of a mapping with `<<`: its own keys win wherever they stand, then earlier merged mappings."""
    entries = dict(pairs)
    for merged in merges:
        for key, child in merged.entries.items():
            entries.setdefault(key, child)
    return entries


def find_mark(root: Node, path: Path) -> Optional[Mark]:
    """The place of `path`, or of its deepest ancestor that exists."""
    node, mark = root, root.mark
    for part in path:
        if isinstance(node, MapNode) and isinstance(part, str) and part in node.entries:
            mark = node.key_marks.get(part) or node.entries[part].mark or mark
            node = node.entries[part]
        elif isinstance(node, ListNode) and isinstance(part, int) and part < len(node.items):
            node = node.items[part]
            mark = node.mark or mark
        else:
            break
    return mark


def walk(node: Node, path: Path = ()) -> Iterator[Tuple[Path, Scalar]]:
    """Every scalar with its path, in order."""
    if isinstance(node, Scalar):
        yield path, node
    elif isinstance(node, ListNode):
        for index, item in enumerate(node.items):
            yield from walk(item, (*path, index))
    else:
        for key, child in node.entries.items():
            yield from walk(child, (*path, key))
