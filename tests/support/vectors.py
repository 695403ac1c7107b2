"""Loaded configurations compared the way the specification compares them: by path, numbers by value, empties alike."""
from __future__ import annotations

import json
from typing import Any, Dict, Iterable, List, Mapping, Optional, Tuple

from llamaswap.core.config import Build, build
from llamaswap.core.effective import effective
from llamaswap.runtime.files import FileFault, parse

# Paths whose objects may carry more keys than a vector names.
OPEN_OBJECTS = ("timeouts", "capabilities", "performance")


def load(*texts: str, env: Optional[Mapping[str, str]] = None) -> Build:
    """The configuration in YAML texts, merged in order; no file is touched."""
    try:
        return build([parse(text, f"{name}.yaml") for name, text in zip("abcdef", texts)], env or {})
    except FileFault as fault:
        return Build(None, (fault.problem,))


def shown(loaded: Build) -> Dict[str, Any]:
    """What `check --json` prints, after a trip through JSON."""
    assert loaded.config is not None, [str(problem) for problem in loaded.problems]
    return dict(json.loads(json.dumps(effective(loaded.config), allow_nan=False)))


def lookup(data: Any, path: str) -> Any:
    """Dots separate keys, the longest key that fits wins, a number addresses a list element."""
    parts = path.split(".")
    while parts:
        if isinstance(data, list):
            data, parts = data[int(parts[0])], parts[1:]
            continue
        for end in range(len(parts), 0, -1):
            if ".".join(parts[:end]) in data:
                data, parts = data[".".join(parts[:end])], parts[end:]
                break
        else:
            raise KeyError(path)
    return data


def same(got: Any, wanted: Any, path: str = "") -> bool:
    if got in (None, [], {}) and wanted in (None, [], {}):
        return True
    if isinstance(got, bool) != isinstance(wanted, bool):
        return False
    if isinstance(got, dict) and isinstance(wanted, dict):
        parts = path.split(".")
        is_open = any(name in parts for name in OPEN_OBJECTS) or (parts[0] == "groups" and len(parts) == 2)
        return (is_open or got.keys() == wanted.keys()) and all(
            key in got and same(got[key], value) for key, value in wanted.items())
    if isinstance(got, list) and isinstance(wanted, list):
        return len(got) == len(wanted) and all(map(same, got, wanted))
    return bool(got == wanted)


def differences(loaded: Build, values: Iterable[Tuple[str, Any]]) -> List[str]:
    result = shown(loaded)
    return [f"{path}: got {lookup(result, path)!r}, wanted {wanted!r}" for path, wanted in values
            if not same(lookup(result, path), wanted, path)]
