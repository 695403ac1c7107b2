"""Write docs/configuration.md: a hand-written preface (docs/configuration.head.md) and a table for every block.

The tables come from core/fields.py, so the reference always says what the loader does. `--check` only compares.
"""
from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Iterator, List, Mapping, Tuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from llamaswap.core.fields import ROOT_FIELDS, Field, Kind  # noqa: E402

HEAD = ROOT / "docs" / "configuration.head.md"
PAGE = ROOT / "docs" / "configuration.md"

_TYPES = {
    Kind.BOOL: "switch", Kind.INT: "whole number", Kind.STR: "text", Kind.STRINGS: "list of texts",
    Kind.DURATION: "duration", Kind.FREE: "mapping", Kind.FREE_TABLE: "names to mappings",
    Kind.INTS: "names to numbers", Kind.TEXTS: "names to texts", Kind.STRUCT: "block", Kind.TABLE: "names to blocks",
    Kind.MACROS: "names to values",
}


def page() -> str:
    return HEAD.read_text(encoding="utf-8") + "\n" + "\n".join(_sections())


def _sections() -> Iterator[str]:
    yield _section("Top level", ROOT_FIELDS)
    for path, fields in _blocks("", ROOT_FIELDS):
        yield _section(f"`{path}`", fields)


def _blocks(prefix: str, fields: Mapping[str, Field]) -> Iterator[Tuple[str, Mapping[str, Field]]]:
    for key, field in fields.items():
        if field.fields:
            path = f"{prefix}{key}" + (".<name>" if field.kind is Kind.TABLE else "")
            yield path, field.fields
            yield from _blocks(path + ".", field.fields)


def _section(title: str, fields: Mapping[str, Field]) -> str:
    lines: List[str] = [f"## {title}", "", "| key | type | default | meaning |", "|---|---|---|---|"]
    lines += [f"| `{key}` | {_TYPES[field.kind]} | {_default(field)} | {_meaning(field)} |"
              for key, field in fields.items()]
    return "\n".join(lines) + "\n"


def _default(field: Field) -> str:
    if field.kind in (Kind.STRUCT, Kind.TABLE, Kind.FREE, Kind.FREE_TABLE, Kind.INTS, Kind.TEXTS, Kind.MACROS):
        return ""
    value: Any = field.default
    if value in ("", (), None):
        return ""
    if isinstance(value, bool):
        return "`true`" if value else "`false`"
    text = ", ".join(value) if isinstance(value, tuple) else str(value)
    return "`" + text.replace("|", "\\|") + "`"


def _meaning(field: Field) -> str:
    notes = [field.doc.replace("|", "\\|")]
    choices = field.choices or field.soft_choices
    if choices:
        notes.append("One of " + ", ".join(f"`{choice}`" for choice in choices if choice) + ".")
    if field.minimum is not None:
        notes.append(f"At least {field.minimum}.")
    if field.deprecated:
        notes.append(f"Use `{field.deprecated}`.")
    if field.ours:
        notes.append("*Not in llama-swap.*")
    return " ".join(notes)


def main() -> int:
    if "--check" in sys.argv[1:]:
        return 0 if PAGE.read_text(encoding="utf-8") == page() else 1
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
