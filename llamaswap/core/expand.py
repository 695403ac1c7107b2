"""Macros and ports filled in, over the whole tree.

Ports go to the models whose command uses ${PORT}, in byte order of their IDs, one each, so that the same file always
gives the same ports. When a file is read again, who had a port keeps it: a new name in between must not move, and so
restart, the models behind it. The command is expanded first because it alone decides whether the model has a port.
"""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Collection, Dict, List, Mapping, Tuple

from llamaswap.core.command import without_comments
from llamaswap.core.fields import MODEL, ROOT_FIELDS
from llamaswap.core.macros import COMMAND_KEYS, MacroFault, Scope, declared
from llamaswap.core.tree import MapNode, Node, Path, Problem, Scalar, byte_order

_LAST_PORT = 65535


@dataclass(frozen=True)
class Ports:
    """Which model was given which port, counted from `first`."""

    first: int = 0
    given: Mapping[str, int] = field(default_factory=dict)

    def of(self, names: Collection[str]) -> Ports:
        return Ports(self.first, {name: port for name, port in self.given.items() if name in names})

    def joined(self, more: Ports) -> Ports:
        """Where both know a name, `more` counts."""
        return Ports(more.first, {**self.given, **more.given})


NO_PORTS = Ports()


class _Counter:
    """Hands them out. With another `first`, everybody moves; but nobody to where a process of another may still be."""

    def __init__(self, first: int, before: Ports) -> None:
        self._first = first
        self._kept = before.given if before.first == first else {}
        self._taken = frozenset(before.given.values())
        self._next = first
        self._given: Dict[str, int] = {}

    def peek(self) -> int:
        while self._next in self._taken:
            self._next += 1
        return self._next

    def take(self, name: str) -> int:
        port = self._kept.get(name)
        if port is None:
            port, self._next = self.peek(), self._next + 1
        self._given[name] = port
        return port

    def result(self) -> Ports:
        return Ports(self._first, self._given)


def expand(root: MapNode, builtins: Mapping[str, str], problems: List[Problem],
           before: Ports = NO_PORTS) -> Tuple[MapNode, Ports]:
    """The tree with every reference resolved and every model's proxy and port filled in, and those ports. `before` are
    the ones that are in use."""
    global_macros = {**builtins, **declared(root, (), problems)}
    scope = Scope(global_macros)
    entries: Dict[str, Node] = {}
    for key, node in root.entries.items():
        if key not in ("models", "macros"):
            # Unknown keys may hold anything, such as snippets for YAML aliases, so nothing in them is a mistake.
            entries[key] = scope.node(node, (key,), problems if key in ROOT_FIELDS else [])
    models = root.get("models")
    ports = _Counter(_start_port(entries), before)
    if models is not None:
        entries["models"] = _expand_models(models, global_macros, ports, problems)
    return root.replace(entries), ports.result()


def _start_port(entries: Mapping[str, Node]) -> int:
    node = entries.get("startPort")
    value = node.value if isinstance(node, Scalar) else None
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 1 <= value < 1 << 63:
        return int(value)
    return int(ROOT_FIELDS["startPort"].default)


def _expand_models(models: Node, global_macros: Mapping[str, Any], ports: _Counter, problems: List[Problem]) -> Node:
    if not isinstance(models, MapNode):
        return models
    done: Dict[str, Node] = {}
    for model_id in sorted(models.entries, key=byte_order):
        done[model_id] = _expand_model(model_id, models.entries[model_id], global_macros, ports, problems)
    return models.replace({model_id: done[model_id] for model_id in models.entries})


def _expand_model(model_id: str, node: Node, global_macros: Mapping[str, Any], ports: _Counter,
                  problems: List[Problem]) -> Node:
    path: Path = ("models", model_id)
    if isinstance(node, Scalar) and node.is_null():
        node = MapNode({}, node.mark)
    if not isinstance(node, MapNode):
        return node
    scope = Scope({**global_macros, **declared(node, path, problems)}, {"MODEL_ID": model_id})
    entries = {key: child for key, child in node.entries.items() if key != "macros"}
    for key in COMMAND_KEYS:
        command = entries.get(key)
        if isinstance(command, Scalar) and isinstance(command.value, str):
            entries[key] = command.with_text(without_comments(command.text))
    port = _bind_port(scope, entries.get("cmd"), ports, path, problems)
    _default_proxy(entries, node)
    expanded: Dict[str, Node] = {}
    for key, child in entries.items():
        expanded[key] = _field(scope, key, child, (*path, key), port, problems)
    return node.replace(expanded)


def _bind_port(scope: Scope, cmd: Any, ports: _Counter, path: Path, problems: List[Problem]) -> int:
    """The model's port, bound in its scope; 0 when its command does not ask for one, -1 when it cannot be read."""
    if not isinstance(cmd, Scalar) or "${" not in cmd.text:
        return 0
    # A trial run with its own cache: values that mention PORT must not be remembered with the trial's number.
    trial = scope.copy()
    trial.bind("PORT", 0)
    try:
        trial.expand(cmd.text)
    except MacroFault:
        # Reported when the field itself is expanded; a port is assumed so that one mistake stays one message.
        scope.bind("PORT", ports.peek())
        return -1
    if "PORT" not in trial.used:
        return 0
    port = ports.take(str(path[-1]))
    if port > _LAST_PORT:
        problems.append(Problem((*path, "cmd"), f"its port would be {port}, beyond {_LAST_PORT}; lower startPort"))
    scope.bind("PORT", port)
    return port


def _default_proxy(entries: Dict[str, Node], node: MapNode) -> None:
    given = entries.get("proxy")
    if given is None or (isinstance(given, Scalar) and given.is_null()):
        entries["proxy"] = Scalar(MODEL["proxy"].default, plain=False, mark=given.mark if given else node.mark)


def _field(scope: Scope, key: str, node: Node, path: Path, port: int, problems: List[Problem]) -> Node:
    if key == "cmdStop":
        # The process is not known before it runs; the reference stays as text for the supervisor.
        stopping = scope.copy()
        stopping.bind("PID", "${PID}")
        return stopping.node(node, path, problems)
    if key == "proxy" and not port and isinstance(node, Scalar) and _mentions_port(scope, node):
        problems.append(Problem(path, "proxy uses ${PORT} but cmd does not; use ${PORT} in cmd, or give proxy the "
                                      "server's own address", mark=node.mark))
        return node.with_text("")
    expanded = scope.node(node, path, problems)
    if key == "filters" and isinstance(expanded, MapNode):
        return _expand_ids(scope, expanded, path, problems)
    return expanded


def _mentions_port(scope: Scope, node: Scalar) -> bool:
    trial = scope.copy()
    trial.bind("PORT", 0)
    try:
        trial.expand(node.text)
    except MacroFault:
        return False
    return "PORT" in trial.used


def _expand_ids(scope: Scope, filters: MapNode, path: Path, problems: List[Problem]) -> MapNode:
    """Names under setParamsByID are the only keys that may hold macros."""
    table = filters.get("setParamsByID")
    if not isinstance(table, MapNode):
        return filters
    entries: Dict[str, Node] = {}
    written: Dict[str, str] = {}
    marks = {}
    for key, child in table.entries.items():
        at = (*path, "setParamsByID", key)
        name, mark = _expand_key(scope, key, table, at, problems)
        if name in entries:
            problems.append(Problem(at, f'keys "{written[name]}" and "{key}" both become "{name}"', mark=mark))
        entries[name], written[name], marks[name] = child, key, mark
    return filters.replace({**filters.entries, "setParamsByID": MapNode(entries, table.mark, marks)})


def _expand_key(scope: Scope, key: str, table: MapNode, at: Path, problems: List[Problem]) -> Tuple[str, Any]:
    mark = table.key_marks.get(key) or table.entries[key].mark
    expanded = scope.node(Scalar(key, plain=False, mark=mark), at, problems)
    return (expanded.text if isinstance(expanded, Scalar) else key), mark
