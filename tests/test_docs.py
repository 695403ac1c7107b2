"""The pages say what the program does: every route, every key, an example that loads."""
from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Iterator, Mapping, Tuple

import pytest
import yaml

from llamaswap.core.fields import ROOT_FIELDS, Field, Kind
from llamaswap.core.lifecycle import TRANSITIONS
from llamaswap.core.schema import json_schema
from llamaswap.runtime.files import load_config
from llamaswap.web.app import App, Parts
from tests.support.asked import site_of

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "config.example.yaml"
BUILTINS = {"llamaswap": "llamaswap"}


class Anything:
    """Stands for every part of the program: only its names are asked for."""

    def __getattr__(self, name):
        return None


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


# --- routes ------------------------------------------------------------------------------------------------------


def test_every_route_is_in_the_api_page():
    app = App(Parts(*[Anything()] * len(Parts._fields)), site=site_of)
    page = read("docs/api.md")
    for path, methods in app.routes():
        named = [line for line in page.splitlines() if line.startswith("| ") and re.search(
            rf"[ `]{re.escape(path)}" + ("<" if path.endswith("/") and len(path) > 1 else "`"), line)]
        assert named, f"{path} is not in docs/api.md"
        for method in set(methods) - {"HEAD", "*"}:
            assert any(f"`{method} {path}" in line for line in named), f"{method} {path} is not in docs/api.md"


def test_every_path_in_the_api_page_is_answered():
    known = dict(App(Parts(*[Anything()] * len(Parts._fields)), site=site_of).routes())
    for method, path in re.findall(r"`(GET|POST|PUT|DELETE) (/[^`<]*)", read("docs/api.md")):
        assert method in known[path] or known[path] == ("*",), f"{method} {path}"


# --- keys --------------------------------------------------------------------------------------------------------


def keys(fields: Mapping[str, Field], prefix: str = "") -> Iterator[Tuple[str, Field]]:
    """Every key path, with `<name>` where the user's names stand."""
    for key, field in fields.items():
        yield prefix + key, field
        if field.fields:
            yield from keys(field.fields, f"{prefix}{key}." + ("<name>." if field.kind is Kind.TABLE else ""))


def test_every_key_is_in_the_reference():
    page = read("docs/configuration.md")
    sections = {title.strip("`"): text for title, text in re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", page, re.M | re.S)}
    for path, _ in keys(ROOT_FIELDS):
        block, _, key = path.rpartition(".")
        assert f"| `{key}` |" in sections[block or "Top level"], f"{path} is not in docs/configuration.md"


def test_the_reference_is_up_to_date():
    found = subprocess.run([sys.executable, "tools/build_config_reference.py", "--check"], cwd=ROOT, timeout=60)
    assert found.returncode == 0, "run tools/build_config_reference.py"


OLD_SPELLINGS = ("groups", "matrix")      # shown in a comment, because a file cannot have both


def test_every_key_is_in_the_example():
    text = read("config.example.yaml")
    tree = yaml.safe_load(text)
    for path, field in keys(ROOT_FIELDS):
        if field.deprecated:
            continue
        if path.split(".")[0] in OLD_SPELLINGS:
            assert re.search(rf"^#\s+{path.split('.')[0]}:", text, re.M)
        else:
            assert is_there(tree, path.split(".")) or is_commented(text, path), f"{path} is not in config.example.yaml"


def is_there(tree, parts) -> bool:
    if not parts:
        return True
    if parts[0] == "<name>":
        return isinstance(tree, dict) and any(is_there(inner, parts[1:]) for inner in tree.values())
    return isinstance(tree, dict) and parts[0] in tree and is_there(tree[parts[0]], parts[1:])


def is_commented(text: str, path: str) -> bool:
    """Under its block, in a comment: for what cannot be on in an example that runs anywhere."""
    block, _, key = path.rpartition(".")
    return bool(block and re.search(rf"^#\s+{block.rpartition('.')[2]}:\n(?:#.*\n)*?#\s+{key}:", text, re.M))


def test_the_example_loads_without_a_word():
    built = load_config(str(EXAMPLE), None, os.environ, builtins=BUILTINS)
    assert built.config is not None and not built.problems, built.problems


def test_the_example_fits_the_schema():
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.validate(yaml.safe_load(read("config.example.yaml")), json_schema())


# --- the rest ----------------------------------------------------------------------------------------------------


def test_the_states_in_the_design_are_those_of_the_code():
    rows = re.findall(r"^\| (\w+) \| (\w+) \| (\w+) \|$", read("docs/design.md"), re.M)
    assert set(rows) - {("state", "move", "next")} == {
        (state.value, move.value, target.value) for (state, move), target in TRANSITIONS.items()}


@pytest.mark.parametrize("page", sorted(path.name for path in (ROOT / "docs").glob("*.md")))
def test_what_a_page_points_at_is_there(page):
    text = read(f"docs/{page}")
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert (ROOT / "docs" / target).exists(), f"{page} points at {target}"
    for module in re.findall(r"`((?:core|runtime|web)/\w+\.py)`", text):
        assert (ROOT / "llamaswap" / module).exists(), f"{page} names {module}"
