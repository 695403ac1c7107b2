"""The `routing` block and its older spellings: which models may run together and which request goes first."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Dict, Mapping, Optional, Tuple

from llamaswap.core.decode import Decoder
from llamaswap.core.matrix import Matrix, compile_matrix
from llamaswap.core.nearest import nearest
from llamaswap.core.settings import DEFAULT_GROUP, Group, Model, Strings
from llamaswap.core.tree import MapNode, Node, Path, Scalar, byte_order

Row = Mapping[str, Any]
Reporter = Callable[[Path, str], None]
_NEW_SETTINGS: Path = ("routing", "router", "settings")
_MIGRATE = ("the file uses both the top-level matrix/groups keys and the routing.router block; move the top-level keys "
            "into routing.router.settings and remove them")


@dataclass(frozen=True)
class Policy:
    router: str
    groups: Tuple[Group, ...]
    matrix: Optional[Matrix]


@dataclass(frozen=True)
class _Source:
    """Where the rules were written: the values, and the path their problems are reported under."""

    groups: Row
    groups_path: Path
    matrix: Optional[Row]
    matrix_path: Path


def build_policy(root: MapNode, row: Row, models: Mapping[str, Model], aliases: Mapping[str, str],
                 member_lists: Mapping[str, Strings], report: Decoder) -> Policy:
    router = row["routing"]["router"]
    new = root.map_at("routing").map_at("router")
    new_matrix = _given(new.map_at("settings").get("matrix"))
    old_groups, old_matrix = bool(row["groups"]), _given(root.get("matrix"))
    is_new = bool(router["use"] or new_matrix or router["settings"]["groups"])
    if is_new and (old_groups or old_matrix):
        report.error(("groups",) if old_groups else ("matrix",), _MIGRATE)
    if is_new:
        settings = router["settings"]
        source = _Source(settings["groups"], (*_NEW_SETTINGS, "groups"), settings["matrix"] if new_matrix else None,
                         (*_NEW_SETTINGS, "matrix"))
    else:
        if old_groups and old_matrix:
            report.error(("matrix",), "groups and matrix cannot both be used; keep one")
        source = _Source(row["groups"], ("groups",), row["matrix"] if old_matrix else None, ("matrix",))
    use = router["use"] or _inferred(source, report)
    if use == "matrix" and source.matrix is None:
        report.error(("routing", "router", "use"), "use is matrix, but routing.router.settings.matrix is not set")
    if not source.groups and source.matrix is None and not router["use"] and member_lists:
        return _from_member_lists(member_lists, models, report)
    # Both sides are checked even though one is in force: the other would fail on the day somebody switches. Until then
    # its mistakes are only warnings, because llama-swap does not look at it.
    groups = _groups(source, models, aliases, report.error if use == "group" else report.warn, report)
    matrix = _matrix(source, models, report.error if use == "matrix" else report.warn, report)
    return Policy("matrix", (), matrix) if use == "matrix" else Policy("group", groups, None)


def _given(node: Optional[Node]) -> bool:
    return node is not None and not (isinstance(node, Scalar) and node.is_null())


def _inferred(source: _Source, report: Decoder) -> str:
    """What `use` means when it is left out: the only side that is present, groups when both are."""
    if source.matrix is None:
        return "group"
    if source.groups:
        report.warn(source.matrix_path, "is not used while groups are set as well; say routing.router.use")
        return "group"
    return "matrix"


def _matrix(source: _Source, models: Mapping[str, Model], error: Reporter, report: Decoder) -> Optional[Matrix]:
    row = source.matrix
    if row is None:
        return None
    matrix, problems = compile_matrix(row["vars"], row["evict_costs"], row["sets"], list(models))
    for problem in problems:
        reporter = error if problem.is_error() else report.warn
        reporter((*source.matrix_path, *problem.path), problem.message)
    return matrix


def _from_member_lists(member_lists: Mapping[str, Strings], models: Mapping[str, Model], report: Decoder) -> Policy:
    """Old list profiles meant "these run together, anything else alone", which a matrix of one set each says."""
    names = {f"m{index}": model_id for index, model_id in enumerate(models)}
    short = {model_id: name for name, model_id in names.items()}
    sets = {f"p{index}": " & ".join(short[member] for member in members)
            for index, members in enumerate(member_lists.values()) if members}
    if not sets:
        return Policy("group", _default_groups({}, models), None)
    matrix, _ = compile_matrix(names, {}, sets, list(models))
    return Policy("matrix", (), matrix)


# --- groups ----------------------------------------------------------------------------------------------------

def _groups(source: _Source, models: Mapping[str, Model], aliases: Mapping[str, str], error: Reporter,
            report: Decoder) -> Tuple[Group, ...]:
    owner: Dict[str, str] = {}
    table: Dict[str, Group] = {}
    for name, row in source.groups.items():
        path = (*source.groups_path, name)
        members = []
        for index, member in enumerate(row["members"]):
            found = _member(member, models, aliases, (*path, "members", index), error)
            if found is None:
                continue
            if found in owner:
                same = owner[found] == name
                error((*path, "members", index), f'"{member}" is listed twice' if same else
                      f'"{member}" is already a member of group "{owner[found]}"')
                continue
            owner[found] = name
            members.append(found)
        if name == DEFAULT_GROUP:
            report.warn(path, f'"{DEFAULT_GROUP}" is the group of all models that are in no other; they join it')
        table[name] = Group(name, row["swap"], row["exclusive"], row["persistent"], tuple(members))
    return _default_groups(table, models)


def _default_groups(table: Mapping[str, Group], models: Mapping[str, Model]) -> Tuple[Group, ...]:
    """The table with the implicit group: every model that no other group lists."""
    listed = {member for name, group in table.items() if name != DEFAULT_GROUP for member in group.members}
    rest = sorted((model_id for model_id in models if model_id not in listed), key=byte_order)
    mine = table.get(DEFAULT_GROUP, Group(DEFAULT_GROUP))
    default = Group(DEFAULT_GROUP, mine.swap, mine.exclusive, mine.persistent, tuple(rest))
    return (*(group for name, group in table.items() if name != DEFAULT_GROUP), default)


def _member(name: str, models: Mapping[str, Model], aliases: Mapping[str, str], path: Path,
            error: Reporter) -> Optional[str]:
    if name in models:
        return name
    if name in aliases:
        return aliases[name]
    error(path, f'no model "{name}"{did_you_mean(name, models)}')
    return None


def did_you_mean(name: str, known: Mapping[str, Any]) -> str:
    close = nearest(name, known)
    return f'; did you mean "{close[0]}"?' if close else ""


# --- order -----------------------------------------------------------------------------------------------------

def build_priority(row: Row, models: Mapping[str, Model], aliases: Mapping[str, str],
                   report: Decoder) -> Dict[str, int]:
    """Priorities by model ID; an alias stands for its model unless the model is listed itself."""
    written = row["routing"]["scheduler"]["settings"]["fifo"]["priority"]
    path: Path = ("routing", "scheduler", "settings", "fifo", "priority")
    resolved: Dict[str, int] = {}
    for name, level in written.items():
        if name in models:
            resolved[name] = level
        elif name in aliases:
            resolved.setdefault(aliases[name], level)
        else:
            report.error((*path, name), f'no model "{name}"{did_you_mean(name, models)}')
    return resolved
