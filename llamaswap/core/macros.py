"""`${name}` and `${env.NAME}`: what a configuration file can leave open until it is read.

Environment references are replaced inside parsed scalars, before their type is decided: `ttl: ${env.T}` is a number
when T holds one, and no value can change the structure of the file. Macros come after that. A macro may use any other
macro in scope, whichever was written first; only a real circle is an error. A string that is exactly one reference
takes the macro's typed value, anything longer takes its text. `$${` stands for a literal `${`.
"""
from __future__ import annotations

import re
from typing import Any, Dict, List, Mapping, Optional, Set, Tuple

from llamaswap.core.command import without_comments
from llamaswap.core.tree import ListNode, MapNode, Node, Path, Problem, Scalar, Stamp, byte_order, number_text

ENV_REFERENCE = re.compile(r"(\$?)\$\{env\.([a-zA-Z_][a-zA-Z0-9_]*)\}")
_REFERENCE = re.compile(r"\$\$\{|\$\{([a-zA-Z0-9_-]+)\}")
_NAME = re.compile(r"[a-zA-Z0-9_-]+\Z")
RESERVED = ("PORT", "MODEL_ID", "PID")
MAX_NAME_LENGTH = 63
MAX_DEPTH = 100           # macros that use macros; far beyond sense, well below the interpreter's stack
MAX_EXPANSION = 1 << 20   # characters in one expanded value; stops macros that double each other
COMMAND_KEYS = ("cmd", "cmdStop")


class MacroFault(ValueError):
    """A reference that cannot be expanded; the message names it."""


# --- environment -----------------------------------------------------------------------------------------------

class _EnvPass:
    """One walk over the tree. Shared nodes (YAML aliases) stay shared, so a file is never expanded by its anchors."""

    def __init__(self, env: Mapping[str, str], problems: List[Problem]) -> None:
        self.env = env
        self.problems = problems
        self.done: Dict[int, Node] = {}
        self.reported: Set[Tuple[str, Any]] = set()

    def node(self, node: Node, path: Path) -> Node:
        known = self.done.get(id(node))
        if known is None:
            known = self.done[id(node)] = self.fresh(node, path)
        if path[:1] == ("apiKeys",) and isinstance(node, Scalar):
            # Here and not where it is filled in: an alias stands for a node that was filled in elsewhere.
            self.check_key(node, known, path)
        return known

    def fresh(self, node: Node, path: Path) -> Node:
        if isinstance(node, Scalar):
            return self.scalar(node, path)
        if isinstance(node, ListNode):
            items = [self.node(item, (*path, index)) for index, item in enumerate(node.items)]
            return node if all(a is b for a, b in zip(items, node.items)) else ListNode(items, node.mark)
        return self.mapping(node, path)

    def mapping(self, node: MapNode, path: Path) -> MapNode:
        entries: Dict[str, Node] = {}
        marks: Dict[str, Any] = {}
        for key, child in node.entries.items():
            mark = node.key_marks.get(key) or child.mark
            name = self.text(key, mark, (*path, key)) if "${env." in key else key
            if name in entries:
                self.problems.append(Problem((*path, name), f'the key "{name}" appears twice once the environment '
                                                            "is filled in", mark=mark))
            entries[name] = self.node(child, (*path, name))
            marks[name] = mark
        same = list(entries) == list(node.entries) and all(entries[k] is node.entries[k] for k in entries)
        return node if same else MapNode(entries, node.mark, marks, node.anchored)

    def scalar(self, node: Scalar, path: Path) -> Scalar:
        if "${env." not in node.text:
            return node
        text = without_comments(node.text) if path and path[-1] in COMMAND_KEYS else node.text
        filled = self.text(text, node.mark, path)
        if node.plain:
            filled = filled.strip(" \t")      # as if it had been written there
        return node.with_text(filled)

    def check_key(self, written: Scalar, filled: Node, path: Path) -> None:
        """Scar: an empty variable used to mean "no keys", which opens the server to everybody."""
        if "${env." in written.text and isinstance(filled, Scalar) and not filled.text.strip():
            self.report(f"{written.text} is empty, so no API key would be required", written.mark, path)

    def text(self, text: str, mark: Any, path: Path) -> str:
        # Twice: a variable may name another one, as far as llama-swap follows them.
        for _ in range(2):
            text = ENV_REFERENCE.sub(lambda found: self.variable(found, mark, path), text)
        left = [found for found in ENV_REFERENCE.finditer(text) if not found.group(1)]
        if left and left[0].group(2) in self.env:
            self.report(f"environment variable '{left[0].group(2)}' refers to further variables too many times",
                        mark, path)
        return text

    def variable(self, found: re.Match[str], mark: Any, path: Path) -> str:
        escaped, name = found.groups()
        if escaped:
            return found.group(0)
        value = self.env.get(name)
        if value is None:
            self.report(f"environment variable '{name}' is not set", mark, path)
            return found.group(0)
        if any(char in value for char in "\n\r\0"):
            self.report(f"environment variable '{name}' contains newlines or null bytes", mark, path)
            return ""
        return value

    def report(self, message: str, mark: Any, path: Path) -> None:
        if (message, mark) not in self.reported:
            self.reported.add((message, mark))
            self.problems.append(Problem(path, message, mark=mark))


def substitute_env(root: Node, env: Mapping[str, str], problems: List[Problem]) -> Node:
    return _EnvPass(env, problems).node(root, ())


# --- declarations ----------------------------------------------------------------------------------------------

def declared(owner: MapNode, path: Path, problems: List[Problem]) -> Dict[str, Any]:
    """The macros of `owner` (the file, or one model), checked."""
    node = owner.get("macros")
    path = (*path, "macros")
    if node is None or (isinstance(node, Scalar) and node.is_null()):
        return {}
    if not isinstance(node, MapNode):
        problems.append(Problem(path, "macros must be a mapping of names to values", mark=node.mark))
        return {}
    values: Dict[str, Any] = {}
    for name, child in node.entries.items():
        value = child.value if isinstance(child, Scalar) else None
        fault = _name_fault(name) or _value_fault(name, value)
        if fault:
            problems.append(Problem((*path, name), fault, mark=node.key_marks.get(name) or child.mark))
        else:
            values[name] = value
    return values


def _name_fault(name: str) -> Optional[str]:
    if len(byte_order(name)) > MAX_NAME_LENGTH:
        return f"macro name '{name}' is longer than {MAX_NAME_LENGTH} characters"
    if not _NAME.match(name):
        return f"macro name '{name}' may contain only letters, digits, _ and -"
    if name in RESERVED:
        return f"macro name '{name}' is reserved"
    return None


def _value_fault(name: str, value: Any) -> Optional[str]:
    if isinstance(value, Stamp) or not isinstance(value, (str, int, float)):
        return f"macro '{name}' must be text, a number or a switch" \
               f"{'; quote the date to make it text' if isinstance(value, Stamp) else ''}"
    if isinstance(value, str) and "${" + name + "}" in value.replace("$${", ""):
        return f"macro '{name}' refers to itself"
    return None


# --- expansion -------------------------------------------------------------------------------------------------

class Scope:
    """The macros one place can see. Values are worked out at first use, so what nobody uses is never checked."""

    def __init__(self, macros: Mapping[str, Any], builtins: Optional[Mapping[str, Any]] = None) -> None:
        self._macros = macros
        self._builtins = dict(builtins or {})
        self._ready: Dict[str, Any] = {}
        self._open: List[str] = []
        self.used: Set[str] = set()

    def copy(self) -> Scope:
        return Scope(self._macros, self._builtins)

    def bind(self, name: str, value: Any) -> None:
        self._builtins[name] = value

    def value(self, name: str) -> Any:
        self.used.add(name)
        if name in self._builtins:
            return self._builtins[name]
        if name in self._ready:
            return self._ready[name]
        if name not in self._macros:
            raise MacroFault(f"unknown macro '${{{name}}}'{_hint(name)}")
        if name in self._open:
            circle = " -> ".join([*self._open[self._open.index(name):], name])
            raise MacroFault(f"macros refer to each other in a circle: {circle}")
        if len(self._open) >= MAX_DEPTH:
            raise MacroFault(f"macros refer to each other more than {MAX_DEPTH} levels deep at '${{{name}}}'")
        self._open.append(name)
        try:
            raw = self._macros[name]
            # Remembered only for this scope: the same macro differs per model through MODEL_ID and PORT.
            self._ready[name] = value = self.expand(raw) if isinstance(raw, str) else raw
        finally:
            self._open.pop()
        return value

    def expand(self, text: str) -> Any:
        """The value of `text`: typed when it is exactly one reference, otherwise a string."""
        if "${" not in text:
            return text
        whole = _REFERENCE.fullmatch(text)
        if whole and whole.group(1):
            return self.value(whole.group(1))
        size = 0

        def replace(found: re.Match[str]) -> str:
            nonlocal size
            shown = number_text(self.value(found.group(1))) if found.group(1) else "${"
            size += len(shown)
            if size > MAX_EXPANSION:
                raise MacroFault(f"expands to more than {MAX_EXPANSION} characters")
            return shown

        return _REFERENCE.sub(replace, text)

    def node(self, node: Node, path: Path, problems: List[Problem]) -> Node:
        """`node` with every value expanded; keys are never touched."""
        if isinstance(node, Scalar):
            return self._scalar(node, path, problems)
        if isinstance(node, ListNode):
            items = [self.node(item, (*path, index), problems) for index, item in enumerate(node.items)]
            return ListNode(items, node.mark)
        return node.replace({key: self.node(child, (*path, key), problems) for key, child in node.entries.items()})

    def _scalar(self, node: Scalar, path: Path, problems: List[Problem]) -> Scalar:
        if "${" not in node.text or not isinstance(node.value, str):
            return node
        if ENV_REFERENCE.search(node.text.replace("$${", "")):
            return node      # already reported as an unset variable
        try:
            return node.with_value(self.expand(node.text))
        except MacroFault as fault:
            problems.append(Problem(path, str(fault), mark=node.mark))
            return node


def _hint(name: str) -> str:
    if name == "PORT":
        return ": it is only available in a model whose cmd uses it"
    if name == "PID":
        return ": it is only available in cmdStop"
    if name == "MODEL_ID":
        return ": it is only available inside a model"
    return f"; write $${{{name}}} to keep ${{{name}}} as it is"
