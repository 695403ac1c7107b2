"""Per-model changes to the parameters of a JSON request: some are removed, some are set.

A path is a list of keys joined by dots: `a.b` reaches into objects, `l.0` is an item of a list, `l.-1` appends one (or
removes the last), `a\\.b` is one key with a dot in it, and a part that begins with a colon is a key even if it is a
number. What is missing on the way is made. Every path that reaches `model` is protected: useModelName alone changes it.

The request is never parsed into values and written again, so numbers, key order, spacing and everything else that no
path touches stay byte for byte. Containers are opened along the paths only, into entries that point at the original
bytes, and one join writes the result.
"""
from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import Any, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Tuple, Union

from llamaswap.core.bodies import Container, How, JsonScan, Named, replace_model
from llamaswap.core.faults import ClientFault, ConfigFault
from llamaswap.core.settings import Filters

# A number above this is a key (`logit_bias.50256`) and never makes a list that long.
MAX_INDEX = 1000
_PATTERN_CHARACTERS = "*?#|@"


class Part(NamedTuple):
    """One step of a path. `item` is None for what can only be a key, -1 for "one more item"."""

    key: str
    item: Optional[int] = None


class Edit(NamedTuple):
    """`value` is JSON; None removes."""

    path: Tuple[Part, ...]
    value: Optional[bytes] = None


@dataclass(frozen=True)
class FilterPlan:
    """The filters of one model or peer, ready to be applied. Built once per configuration."""

    use_model_name: str = ""
    always: Tuple[Edit, ...] = ()
    by_name: Mapping[str, Tuple[Edit, ...]] = field(default_factory=dict)

    def edits_for(self, *names: str) -> Tuple[Edit, ...]:
        """For a local model the name as requested, nothing else: its own id and its aliases have sets of their own. For
        a peer's model every spelling of it; the first that has edits wins, so it does not matter which one was typed.
        """
        for name in names:
            if name in self.by_name:
                return self.always + self.by_name[name]
        return self.always

    def is_noop(self) -> bool:
        """No request to this model is ever changed by its filters."""
        return not (self.use_model_name or self.always or self.by_name)


def build_plan(filters: Filters, *, use_model_name: str = "") -> FilterPlan:
    """ConfigFault for a value that JSON cannot express. Paths are expected to have passed validate_path()."""
    strip = [Edit(parse_path(name)) for name in filters.strip if not reaches_model(name)]
    by_name = {name: tuple(_build_sets(params)) for name, params in filters.set_params_by_id.items() if params}
    return FilterPlan(use_model_name, (*strip, *_build_sets(filters.set_params)), by_name)


def _build_sets(params: Mapping[str, Any]) -> List[Edit]:
    edits = []
    for name in sorted(params):
        if not reaches_model(name):
            try:
                edits.append(Edit(parse_path(name), encode_value(params[name])))
            except ValueError as error:
                raise ConfigFault(f'filter parameter "{name}": {error}') from None
    return edits


def rewrite(body: bytes, query: str, named: Named, *, model: str, edits: Sequence[Edit] = ()) -> Tuple[bytes, str]:
    """The body and query to send: with `model` for a name, and edited when the body is JSON.

    What needs no change is returned as it is, the same object. ClientFault when a path of the operator leads through a
    list that the client sent where an object belongs.
    """
    rename = model if named.model is not None and model != named.model else None
    if not edits or named.document is None:
        return (body, query) if rename is None else replace_model(body, query, named, rename)
    if rename is not None and named.how is How.QUERY:
        query = replace_model(b"", query, named, rename)[1]
    name = encode_value(rename) if rename is not None and named.how is How.JSON else None
    return _edit(body, named.document, edits, name), query


# --- paths and values --------------------------------------------------------------------------------------------


def validate_path(path: str) -> Optional[str]:
    """What is wrong with a filter path, or None. Patterns would fit more than one place, so they fit nowhere."""
    if not path:
        return "is empty"
    begins_part, escaped = True, False
    for character in path:
        if not escaped and (character in _PATTERN_CHARACTERS or (begins_part and character == "!")):
            return f'"{character}" has no meaning in a parameter path; write "\\{character}" for the plain character'
        begins_part = character == "." and not escaped
        escaped = character == "\\" and not escaped
    return 'the parameter "model" cannot be filtered; use useModelName' if reaches_model(path) else None


def reaches_model(path: str) -> bool:
    return parse_path(path)[0].key == "model"


def parse_path(path: str) -> Tuple[Part, ...]:
    parts: List[Part] = []
    key = ""
    is_key = escaped = False
    for character in path:
        if escaped or character not in ".\\:" or (character == ":" and (key or is_key)):
            key += character
            escaped = False
        elif character == "\\":
            escaped = True
        elif character == ":":
            is_key = True
        else:
            parts.append(_part(key, is_key))
            key, is_key = "", False
    return (*parts, _part(key, is_key))


def _part(key: str, is_key: bool) -> Part:
    if is_key or not key.isascii():
        return Part(key)
    if key == "-1":
        return Part(key, -1)
    return Part(key, int(key)) if key.isdigit() and len(key) < 5 and int(key) <= MAX_INDEX else Part(key)


def encode_value(value: Any) -> bytes:
    """Compact JSON in ASCII, keys sorted, numbers without exponent and without a needless `.0`."""
    return _encode(value).encode("ascii")


def _encode(value: Any) -> str:
    if isinstance(value, float):
        return _encode_float(value)
    if isinstance(value, Mapping):
        pairs = (f"{json.dumps(str(key))}:{_encode(value[key])}" for key in sorted(value, key=str))
        return "{" + ",".join(pairs) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(_encode, value)) + "]"
    if value is None or isinstance(value, (str, int)):
        return json.dumps(value)
    raise ValueError(f"a {type(value).__name__} cannot be sent as JSON")


def _encode_float(value: float) -> str:
    if not math.isfinite(value):
        raise ValueError("only finite numbers can be sent as JSON")
    if value.is_integer():
        return format(value, ".0f")
    mantissa, _, exponent = repr(value).partition("e-")
    if not exponent:
        return mantissa
    zeros = "0." + "0" * (int(exponent) - 1)
    return ("-" if value < 0 else "") + zeros + mantissa.strip("-").replace(".", "")


# --- editing -----------------------------------------------------------------------------------------------------


class _Slice(NamedTuple):
    """A value as it stands in some text: the request, or the JSON of an edit."""

    scan: JsonScan
    start: int
    end: int


@dataclass(eq=False)
class _Entry:
    """A member of an object or an item of a list, with the blanks, key and colon before it and the blanks after."""

    key: str
    lead: bytes
    value: Union[_Slice, _Tree]
    tail: bytes = b""


@dataclass(eq=False)
class _Tree:
    """A container that an edit goes through."""

    is_object: bool
    entries: List[_Entry] = field(default_factory=list)


def _edit(body: bytes, document: Container, edits: Iterable[Edit], name: Optional[bytes]) -> bytes:
    scan = JsonScan(body)
    root = _tree(scan, document)
    changed = name is not None
    if name is not None:
        for entry in root.entries:
            if entry.key == "model":
                entry.value = _whole(name)
    for path, value in edits:
        if value is None:
            changed = _remove(root, path) or changed
        else:
            _set(root, path, _whole(value))
            changed = True
    if not changed:
        return body
    view = memoryview(body)
    pieces: List[Union[bytes, memoryview]] = [view[:document.start]]
    _write(root, pieces)
    return b"".join([*pieces, view[document.end:]])


def _whole(value: bytes) -> _Slice:
    return _Slice(JsonScan(value), 0, len(value))


def _tree(scan: JsonScan, container: Container) -> _Tree:
    body = scan.body
    return _Tree(body[container.start:container.start + 1] == b"{", [
        _Entry(key, body[begin:start], _Slice(scan, start, end), body[end:close])
        for key, begin, start, end, close in container.members])


def _set(tree: _Tree, path: Tuple[Part, ...], value: _Slice) -> None:
    entry = _find(tree, path[0])
    if entry is None:
        entry = _make(tree, path[0])
    if len(path) == 1:
        entry.value = value
        return
    inner = _open(entry.value)
    if inner is None:      # missing, null or a plain value: what the operator wrote takes its place
        inner = _Tree(is_object=path[1].item is None)
    entry.value = inner
    _set(inner, path[1:], value)


def _remove(tree: _Tree, path: Tuple[Part, ...]) -> bool:
    """False when there was nothing to remove."""
    entry = _find(tree, path[0], last=True)
    if entry is None:
        return False
    if len(path) > 1:
        inner = _open(entry.value)
        if inner is None:
            return False
        entry.value = inner
        return _remove(inner, path[1:])
    tree.entries = [other for other in tree.entries if other is not entry]
    return True


def _find(tree: _Tree, part: Part, *, last: bool = False) -> Optional[_Entry]:
    """The entry that a model server would read; of repeated keys that is the last, and the others are dropped here."""
    if tree.is_object:
        found = [entry for entry in tree.entries if entry.key == part.key]
        if len(found) > 1:
            tree.entries = [entry for entry in tree.entries if entry.key != part.key or entry is found[-1]]
        return found[-1] if found else None
    if part.item == -1:
        return tree.entries[-1] if last and tree.entries else None
    return tree.entries[part.item] if part.item is not None and part.item < len(tree.entries) else None


def _make(tree: _Tree, part: Part) -> _Entry:
    if tree.is_object:
        tree.entries.append(_Entry(part.key, json.dumps(part.key).encode("ascii") + b":", _NULL))
    elif part.item is None:
        raise ClientFault(f'a parameter of this model needs an object where the request has a list ("{part.key}")')
    else:
        missing = 1 if part.item == -1 else part.item + 1 - len(tree.entries)
        tree.entries += [_Entry("", b"", _NULL) for _ in range(missing)]
    return tree.entries[-1]


def _open(value: Union[_Slice, _Tree]) -> Optional[_Tree]:
    """None for what is no container."""
    if isinstance(value, _Tree):
        return value
    scan, start, _ = value
    first = scan.body[start:start + 1]
    if first not in (b"{", b"["):
        return None
    return _tree(scan, scan.members(start) if first == b"{" else scan.items(start))


def _write(tree: _Tree, pieces: List[Union[bytes, memoryview]]) -> None:
    pieces.append(b"{" if tree.is_object else b"[")
    for position, entry in enumerate(tree.entries):
        pieces.append(b"," + entry.lead if position else entry.lead)
        if isinstance(entry.value, _Tree):
            _write(entry.value, pieces)
        else:
            scan, start, end = entry.value
            pieces.append(memoryview(scan.body)[start:end])
        pieces.append(entry.tail)
    pieces.append(b"}" if tree.is_object else b"]")


_NULL = _whole(b"null")
