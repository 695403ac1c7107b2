"""Several files into one configuration.

Mappings join, lists follow one another, equal values agree, an empty value yields to the other side. Two files that
define the same model (or group, peer, selector, profile, matrix set) or give one setting two values are a mistake that
is reported, never a silent last-one-wins.
"""
from __future__ import annotations

from typing import Dict, List, Sequence

from llamaswap.core.tree import ListNode, MapNode, Node, Path, Problem, Scalar, dotted, node_kind

# Below these a key names a thing that exists once, so the same key in two files is a duplicate, not a merge.
_MATRIX_PARTS = ("vars", "evict_costs", "sets")
_IDENTITY_PATHS = {
    ("models",): "model", ("groups",): "group", ("profiles",): "profile", ("selectors",): "selector",
    ("peers",): "peer", ("routing", "router", "settings", "groups"): "group",
    **{(*parent, part): f"matrix {part} entry" for part in _MATRIX_PARTS
       for parent in (("matrix",), ("routing", "router", "settings", "matrix"))},
}


def merge_sources(roots: Sequence[Node], problems: List[Problem]) -> MapNode:
    """One tree from the files in order. A root that is not a mapping is a problem of that file."""
    merged = MapNode({}, roots[0].mark if roots else None)
    for root in roots:
        if isinstance(root, MapNode):
            merged = _merge_maps(merged, root, (), problems)
        elif not (isinstance(root, Scalar) and root.is_null()):
            problems.append(Problem((), f"a configuration must be a mapping of keys to values, found {node_kind(root)}",
                                    mark=root.mark))
    return merged


def _merge_maps(left: MapNode, right: MapNode, path: Path, problems: List[Problem]) -> MapNode:
    entries: Dict[str, Node] = dict(left.entries)
    marks = {**right.key_marks, **left.key_marks}
    owner = _IDENTITY_PATHS.get(path)
    for key, child in right.entries.items():
        if key not in entries:
            entries[key] = child
        elif owner is not None:
            first = left.key_marks.get(key)
            problems.append(Problem((*path, key), f'duplicate {owner} "{key}"'
                                    f"{f', already defined at {first}' if first else ''}",
                                    mark=right.key_marks.get(key) or child.mark))
        else:
            entries[key] = _merge_nodes(entries[key], child, (*path, key), problems)
    return MapNode(entries, left.mark or right.mark, marks, left.anchored | right.anchored)


def _merge_nodes(left: Node, right: Node, path: Path, problems: List[Problem]) -> Node:
    if isinstance(right, Scalar) and right.is_null():
        return left
    if isinstance(left, Scalar) and left.is_null():
        return right
    if isinstance(left, MapNode) and isinstance(right, MapNode):
        return _merge_maps(left, right, path, problems)
    if isinstance(left, ListNode) and isinstance(right, ListNode):
        return ListNode(left.items + right.items, left.mark)
    if isinstance(left, Scalar) and isinstance(right, Scalar) and _same(left, right):
        return left
    if type(left) is type(right):
        fault = f'conflict at "{dotted(path)}": a different value was already set'
    else:
        fault = f'conflict at "{dotted(path)}": {node_kind(right)} here, but {node_kind(left)}'
    problems.append(Problem(path, f"{fault}{f' at {left.mark}' if left.mark else ''}", mark=right.mark))
    return left


def _same(left: Scalar, right: Scalar) -> bool:
    return type(left.value) is type(right.value) and (left.text == right.text or bool(left.value == right.value))
