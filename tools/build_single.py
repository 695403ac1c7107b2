"""Write dist/llamaswap.py: the launcher with the package, its web pages and its dependencies inside.

    python tools/build_single.py [-o FILE]

Runs with any Python that has the dependencies installed. The same input gives the same bytes, whoever builds it and
whenever, as long as they compress with the same zlib: names are sorted, dates and modes are fixed, and only what the
lists below allow goes in.
"""
from __future__ import annotations

import argparse
import base64
import hashlib
import io
import re
import sys
import zipfile
from importlib import metadata
from pathlib import Path
from typing import Dict, List, Tuple

ROOT = Path(__file__).resolve().parent.parent
LINE_CHARS = 120
EPOCH = (1980, 1, 1, 0, 0, 0)    # the first date a zip can express
STATIC_SUFFIXES = {".html", ".css", ".js", ".mjs", ".svg", ".png", ".ico", ".json", ".txt", ".woff2", ".webmanifest"}

# An allow-list per distribution, not a deny-list: nvidia-ml-py also installs a top-level example.py, PyYAML a compiled
# parser for one Python version, prometheus-client bridges to frameworks nobody here imports. A name that a new
# release adds is missed by the build's own import check (tests/e2e/test_single_file.py), one it removes by the build.
DEPENDENCIES: Dict[str, str] = {
    "PyYAML": r"yaml/(?!cyaml)\w+\.py",
    "waitress": r"waitress/(?!__main__|runner)\w+\.py",
    "prometheus_client": r"prometheus_client/(openmetrics/)?\w+\.py",
    "nvidia-ml-py": r"pynvml\.py",
}
LICENCE_NAME = re.compile(r"[^/]+\.dist-info/(?:licen[cs]es/)?((?:LICEN[CS]E|NOTICE|COPYING)[\w.]*)$", re.IGNORECASE)


def main(argv: List[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "dist" / "llamaswap.py")
    output = parser.parse_args(argv).output
    text = build(ROOT)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_bytes(text)
    output.chmod(0o755)
    print(f"{output}: {len(text):,} bytes, sha256 {hashlib.sha256(text).hexdigest()}")
    return 0


def build(root: Path) -> bytes:
    """The single file for the checkout at `root`, with the dependencies installed in this Python."""
    files = project_files(root)
    versions = [("llamaswap", project_version(files))]
    for name, allowed in DEPENDENCIES.items():
        version, found = dependency_files(name, allowed)
        versions.append((name, version))
        files.update(found)
    return fill_launcher((root / "llamaswap.py").read_text(encoding="utf-8"), zip_bytes(files), versions)


def project_files(root: Path) -> Dict[str, bytes]:
    package = {path.relative_to(root).as_posix(): path for path in (root / "llamaswap").rglob("*.py")}
    static = {"llamaswap/" + path.relative_to(root).as_posix(): path for path in (root / "static").rglob("*")
              if path.suffix in STATIC_SUFFIXES}
    paths = {**package, **static, "licenses/llamaswap/LICENSE": root / "LICENSE"}
    return {name: path.read_bytes() for name, path in paths.items()}


def project_version(files: Dict[str, bytes]) -> str:
    found = re.search(rb'^__version__ = "([^"]+)"$', files["llamaswap/__init__.py"], re.MULTILINE)
    if found is None:
        raise SystemExit("llamaswap/__init__.py does not say __version__")
    return found[1].decode()


def dependency_files(name: str, allowed: str) -> Tuple[str, Dict[str, bytes]]:
    """Version, and the allowed sources plus licence texts, of an installed distribution."""
    try:
        distribution = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        raise SystemExit(f"{name} is not installed in {sys.executable}; pip install -r requirements-dev.txt") from None
    files = {}
    for entry in distribution.files or ():
        licence = LICENCE_NAME.match(entry.as_posix())
        if licence:
            files[f"licenses/{name}/{licence[1]}"] = entry.read_binary()
        elif re.fullmatch(allowed, entry.as_posix()):
            files[entry.as_posix()] = entry.read_binary()
    if name == "nvidia-ml-py" and "pynvml.py" in files:
        # This distribution ships no licence file: its terms are the comment that opens the module.
        files[f"licenses/{name}/LICENSE"] = leading_comment(files["pynvml.py"])
    if len({member.startswith("licenses/") for member in files}) != 2:
        raise SystemExit(f"{name} {distribution.version}: no source or no licence text among its files")
    return distribution.version, files


def leading_comment(source: bytes) -> bytes:
    lines = []
    for line in source.splitlines():
        if not line.startswith(b"#"):
            break
        lines.append(line.lstrip(b"# "))
    return b"\n".join(lines).strip() + b"\n"


def zip_bytes(files: Dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3             # Unix, also when built elsewhere
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, files[name], compresslevel=9)
    return buffer.getvalue()


def fill_launcher(launcher: str, payload: bytes, versions: List[Tuple[str, str]]) -> bytes:
    text = base64.b64encode(payload).decode("ascii")
    lines = [text[start:start + LINE_CHARS] for start in range(0, len(text), LINE_CHARS)]
    header = ["# Contains " + ", ".join(f"{name} {version}" for name, version in versions) + ".",
              "# PAYLOAD is a zip of plain sources, in base64; the licences of all of them lie in it under licenses/.",
              f"# SHA-256 of the zip: {hashlib.sha256(payload).hexdigest()}"]
    blank = 'PAYLOAD = ""\n'
    if launcher.count(blank) != 1:
        raise SystemExit("llamaswap.py must hold exactly one empty PAYLOAD")
    filled = "\n".join(header) + '\nPAYLOAD = """\n' + "\n".join(lines) + '\n"""\n'
    return launcher.replace(blank, filled).encode("utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
