"""A tree becomes plain Python values, checked against the field table.

Every problem is collected with its path, so one run reports them all; a value that cannot be used is replaced by its
default so that the checks after this one still have something sound to look at. An unknown key is a warning: the file
loads as it does in llama-swap, but a misspelt key no longer costs its meaning in silence.
"""
from __future__ import annotations

import math
from typing import Any, Callable, Dict, List, Mapping, Optional, Set, Tuple

from llamaswap.core.durations import parse_duration
from llamaswap.core.fields import Field, Kind
from llamaswap.core.nearest import nearest
from llamaswap.core.tree import ListNode, MapNode, Node, Path, Problem, Scalar, node_kind, to_plain

_MAX_INT = (1 << 63) - 1
_YES = frozenset(["y", "Y", "yes", "Yes", "YES", "on", "On", "ON"])
_NO = frozenset(["n", "N", "no", "No", "NO", "off", "Off", "OFF"])
_EXPECTED = {
    Kind.BOOL: "true or false", Kind.INT: "a whole number", Kind.STR: "text", Kind.STRINGS: "a list of texts",
    Kind.DURATION: "a duration such as 5s or 1m30s", Kind.FREE: "a mapping", Kind.FREE_TABLE: "a mapping",
    Kind.INTS: "a mapping of names to whole numbers", Kind.TEXTS: "a mapping of names to text",
    Kind.STRUCT: "a mapping", Kind.TABLE: "a mapping", Kind.MACROS: "a mapping",
}


class Decoder:
    def __init__(self, problems: List[Problem]) -> None:
        self._problems = problems
        # What could not be expanded is still a reference and fits nothing: one mistake stays one message.
        self._reported = frozenset(problem.path for problem in problems if problem.is_error())
        # What was replaced by its default. That the default is missing something is no further mistake.
        self._replaced: Set[Path] = set()
        self._readers: Dict[Kind, Callable[[Node, Field, Path], Any]] = {
            Kind.BOOL: self._bool, Kind.INT: self._int, Kind.STR: self._str, Kind.STRINGS: self._strings,
            Kind.DURATION: self._duration, Kind.FREE: self._free, Kind.FREE_TABLE: self._free_table,
            Kind.INTS: self._ints, Kind.TEXTS: self._texts, Kind.STRUCT: self._struct, Kind.TABLE: self._table,
            Kind.MACROS: self._macros,
        }

    def field(self, node: Optional[Node], field: Field, path: Path) -> Any:
        """The value of a key; a missing or null one gets its default."""
        if node is None or _is_null(node):
            if node is None or not field.nullable:
                return self._absent(node, field, path)
            return None
        return self._readers[field.kind](node, field, path)

    def _absent(self, node: Optional[Node], field: Field, path: Path) -> Any:
        if field.nullable:
            return None
        if field.kind is Kind.STRUCT:
            return self.struct(MapNode({}), field.fields or {}, path)
        if field.kind in (Kind.TABLE, Kind.FREE, Kind.FREE_TABLE, Kind.INTS, Kind.TEXTS, Kind.MACROS):
            return {}
        return () if field.null_empties and node is not None else field.default

    # --- mappings

    def struct(self, node: MapNode, fields: Mapping[str, Field], path: Path) -> Dict[str, Any]:
        for key, child in node.entries.items():
            known = fields.get(key)
            if known is None:
                self._unknown(key, node, child, fields, path)
            elif known.deprecated:
                self.warn((*path, key), f"{key} is an old key; use {known.deprecated}")
        return {key: self.field(node.entries.get(key), field, (*path, key)) for key, field in fields.items()}

    def _unknown(self, key: str, node: MapNode, child: Node, fields: Mapping[str, Field], path: Path) -> None:
        # Top-level x-… keys and values with anchors are the usual home of shared YAML snippets.
        if not path and (key.startswith("x-") or key in node.anchored):
            return
        close = nearest(key, fields)
        hint = f'; did you mean "{close[0]}"?' if close else ""
        self.warn((*path, key), f'unknown key "{key}"{hint}')

    def _struct(self, node: Node, field: Field, path: Path) -> Any:
        if not isinstance(node, MapNode):
            self._mismatch(node, field, path)
            return None if field.nullable else self.struct(MapNode({}), field.fields or {}, path)
        return self.struct(node, field.fields or {}, path)

    def _table(self, node: Node, field: Field, path: Path) -> Dict[str, Any]:
        if not isinstance(node, MapNode):
            self._mismatch(node, field, path)
            return {}
        row = Field(Kind.STRUCT, field.doc, fields=field.fields)
        return {key: self.field(child, row, (*path, key)) for key, child in node.entries.items()}

    def _macros(self, node: Node, field: Field, path: Path) -> Dict[str, Any]:
        return {}      # declared and checked by core/macros.py

    def _free(self, node: Node, field: Field, path: Path) -> Dict[str, Any]:
        if not isinstance(node, MapNode):
            self._mismatch(node, field, path)
            return {}
        self._check_free(node, path)
        return dict(to_plain(node))

    def _free_table(self, node: Node, field: Field, path: Path) -> Dict[str, Any]:
        return self._entries(node, field, path, self._free_row)

    def _free_row(self, node: Node, field: Field, path: Path) -> Dict[str, Any]:
        return {} if _is_null(node) else self._free(node, Field(Kind.FREE, field.doc), path)

    def _check_free(self, node: Node, path: Path) -> None:
        """Values pass through to JSON, which has no infinity."""
        if isinstance(node, MapNode):
            for key, child in node.entries.items():
                self._check_free(child, (*path, key))
        elif isinstance(node, ListNode):
            for index, child in enumerate(node.items):
                self._check_free(child, (*path, index))
        elif isinstance(self._value(node, path), float) and not math.isfinite(node.value):
            self.error(path, f"{node.text} cannot be expressed in JSON")

    def _ints(self, node: Node, field: Field, path: Path) -> Dict[str, int]:
        return self._entries(node, field, path,
                             lambda child, _, at: self.field(child, Field(Kind.INT, field.doc, 0), at))

    def _texts(self, node: Node, field: Field, path: Path) -> Dict[str, str]:
        return self._entries(node, field, path,
                             lambda child, _, at: self.field(child, Field(Kind.STR, field.doc, ""), at))

    def _entries(self, node: Node, field: Field, path: Path,
                 read: Callable[[Node, Field, Path], Any]) -> Dict[str, Any]:
        if not isinstance(node, MapNode):
            self._mismatch(node, field, path)
            return {}
        return {key: read(child, field, (*path, key)) for key, child in node.entries.items()}

    # --- scalars

    def _bool(self, node: Node, field: Field, path: Path) -> Any:
        value = self._value(node, path)
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value in _YES | _NO:
            return value in _YES
        return self._mismatch(node, field, path)

    def _int(self, node: Node, field: Field, path: Path) -> int:
        value = self._value(node, path)
        if isinstance(value, float) and math.isfinite(value) and abs(value) < 2 ** 63:
            if value != int(value):
                self.warn(path, f"{value} is cut to the whole number {int(value)}")
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or value > _MAX_INT:
            return int(self._mismatch(node, field, path) or 0)
        if field.minimum is not None and value < field.minimum:
            self._refuse(path, f"must be at least {field.minimum}, found {value}")
            return int(field.default or 0)
        if field.soft_minimum is not None and value < field.soft_minimum:
            self.warn(path, f"{value} makes no sense; {field.soft_minimum} is meant")
        return value

    def _str(self, node: Node, field: Field, path: Path) -> str:
        if not isinstance(node, Scalar):
            return str(self._mismatch(node, field, path))
        self._value(node, path)
        text = node.text
        if field.choices and text not in field.choices and text != field.default:
            self._refuse(path, f'unknown value "{text}"; valid: {", ".join(field.choices)}')
            return str(field.default)
        if field.soft_choices and text.strip().lower() not in field.soft_choices:
            shown = ", ".join(choice or '""' for choice in field.soft_choices)
            self.warn(path, f'"{text}" is not known and has no effect; valid: {shown}')
        return text

    def _strings(self, node: Node, field: Field, path: Path) -> Tuple[str, ...]:
        if not isinstance(node, ListNode):
            self._mismatch(node, field, path)
            return ()
        texts = []
        for index, item in enumerate(node.items):
            at = (*path, index)
            if _is_null(item):
                report = self.error if field.refuse_empty else self.warn
                report(at, "empty list item" + ("" if field.refuse_empty else " is ignored"))
            elif isinstance(item, Scalar):
                self._value(item, at)
                texts.append(item.text)
            else:
                self.error(at, f"expected text, found {node_kind(item)}")
        return tuple(texts)

    def _duration(self, node: Node, field: Field, path: Path) -> str:
        value = self._value(node, path)
        if isinstance(value, str) and parse_duration(value) is not None:
            return value
        return str(self._mismatch(node, field, path))

    def _value(self, node: Node, path: Path) -> Any:
        if not isinstance(node, Scalar):
            return node
        value = node.value
        if node.fault:
            self.error(path, node.fault)
        return value

    # --- reports

    def _mismatch(self, node: Node, field: Field, path: Path) -> Any:
        hint = ""
        if field.kind in (Kind.INT, Kind.BOOL) and isinstance(node, Scalar) and not node.plain:
            hint = "; remove the quotes" if Scalar(node.text).value != node.text else ""
        elif field.kind is Kind.STRINGS and isinstance(node, Scalar):
            hint = f"; write [{node.text}]" if len(node.text) < 40 and "," not in node.text else "; start items with -"
        self._refuse(path, f"expected {_EXPECTED[field.kind]}, found {node_kind(node)}{hint}")
        return field.default

    def _refuse(self, path: Path, message: str) -> None:
        self.error(path, message)
        self._replaced.add(path)

    def error(self, path: Path, message: str) -> None:
        self._report(Problem(path, message))

    def warn(self, path: Path, message: str) -> None:
        self._report(Problem(path, message, "warning"))

    def _report(self, problem: Problem) -> None:
        path = problem.path
        if path not in self._reported and not any(path[:length] in self._replaced for length in range(len(path) + 1)):
            self._problems.append(problem)


def _is_null(node: Node) -> bool:
    return isinstance(node, Scalar) and node.is_null()
