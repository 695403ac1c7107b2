"""What the files of the pages may weigh and say."""
from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any, Dict, List

MOST_BYTES = 340_000
STATIC = Path(__file__).resolve().parents[2] / "static"
FIRST_SHEETS = ["css/tokens.css", "css/base.css", "css/layout.css", "css/parts.css"]


def all_files(*suffixes: str) -> Dict[str, str]:
    return {str(path.relative_to(STATIC)): path.read_text(encoding="utf-8")
            for path in sorted(STATIC.rglob("*")) if path.suffix in suffixes}


def graph(*roots: str) -> List[str]:
    """These modules and what they import, not what they load on demand."""
    found: List[str] = []

    def walk(name: str) -> None:
        if name in found:
            return
        found.append(name)
        source = (STATIC / name).read_text(encoding="utf-8")
        for other in re.findall(r"^(?:import|export)\b[^;]*?\bfrom '(\.[^']+)'", source, re.MULTILINE):
            walk(posixpath.normpath(posixpath.join(posixpath.dirname(name), other)))
    for root in roots:
        walk(root)
    return found


def size(names: Any) -> int:
    return sum((STATIC / name).stat().st_size for name in names)


def first_page() -> List[str]:
    return graph("js/main.js", "js/pages/overview.js")


def test_the_preload_list_is_the_first_page():
    listed = re.findall(r'rel="modulepreload" href="([^"]+)"', (STATIC / "index.html").read_text(encoding="utf-8"))
    assert sorted(listed) == sorted(set(first_page()) - {"js/main.js"})
    assert len(listed) == len(set(listed))


def test_the_first_page_is_small():
    names = {*first_page(), *graph("js/core/hub.js"), *FIRST_SHEETS, "boot.js"}
    print(f"first page: {size(names)} bytes in {len(names)} files")
    assert size(names) <= 140_000


def test_all_files_together_are_small():
    total = size(all_files(".js", ".css"))
    print(f"all JavaScript and CSS: {total} bytes")
    assert total <= MOST_BYTES


def test_no_module_is_large():
    for name, source in all_files(".js").items():
        assert len(source.encode()) <= 14_000 and source.count("\n") <= 350, name


def test_no_file_names_another_origin():
    allowed = ("http://www.w3.org/2000/svg", "http://www.w3.org/1998/Math/MathML")
    for name, source in all_files(".js", ".css", ".html", ".svg").items():
        found = [each for each in re.findall(r"https?://[^\s'\"`)]+", source) if each not in allowed]
        assert not found, f"{name}: {found}"


def test_no_file_makes_markup_or_code_from_text():
    refused = re.compile(r"\.(?:innerHTML|outerHTML)|insertAdjacentHTML|document\.write|\beval\(|new Function"
                         r"|\bstyle=\"|\bon[a-z]+=\"")
    for name, source in all_files(".js", ".html").items():
        assert not refused.search(source), f"{name}: {refused.search(source)}"
