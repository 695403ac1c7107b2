"""Run the tests of the pure core and of the single file on every Python 3.9-3.13 of this machine.

    python3 tools/test_all.py [PYTEST ARGUMENT ...]

Each Python gets its own environment (.venv-3.X), made once and brought up to date when requirements-test.txt changed.
"""
from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Dict, Iterator, List

ROOT = Path(__file__).resolve().parent.parent
MINORS = range(9, 14)
PROBE = "import sys, venv; print('%d.%d' % sys.version_info[:2]); print(sys.executable)"
REQUIREMENTS = ROOT / "requirements-test.txt"
TESTS = ["tests/core", "tests/test_architecture.py", "tests/test_build_single.py", "tests/e2e/test_single_file.py"]


def main(arguments: List[str]) -> int:
    found = find_pythons()
    failed = []
    for minor in MINORS:
        version = f"3.{minor}"
        if version not in found:
            print(f"== Python {version}: not found, skipped", flush=True)
            continue
        print(f"== Python {version}: {found[version]}", flush=True)
        if not has_passed(version, found[version], arguments):
            failed.append(version)
    print("== failed on " + ", ".join(failed) if failed else "== passed on " + ", ".join(sorted(found, key=minor_of)))
    return 1 if failed or not found else 0


def find_pythons() -> Dict[str, str]:
    """Version → interpreter: what answers to python3.X on the path, or else pyenv's newest."""
    found: Dict[str, str] = {}
    for minor in MINORS:
        for candidate in candidates(f"3.{minor}"):
            # A pyenv shim exists for versions that are not selected, and then only complains: ask instead of looking.
            probe = subprocess.run([candidate, "-c", PROBE], capture_output=True, text=True, check=False)
            if probe.returncode == 0 and probe.stdout.startswith(f"3.{minor}\n"):
                found[f"3.{minor}"] = probe.stdout.splitlines()[1]
                break
    return found


def candidates(version: str) -> Iterator[str]:
    on_path = shutil.which(f"python{version}")
    if on_path:
        yield on_path
    installed = Path.home().joinpath(".pyenv", "versions").glob(version + ".*/bin/python3")
    yield from sorted(map(str, installed), reverse=True)
    yield sys.executable


def minor_of(version: str) -> int:
    return int(version.split(".")[1])


def has_passed(version: str, python: str, arguments: List[str]) -> bool:
    venv = ROOT / f".venv-{version}"
    stamp = venv / "installed"
    if not stamp.exists() or stamp.stat().st_mtime < REQUIREMENTS.stat().st_mtime:
        subprocess.run([python, "-m", "venv", str(venv)], check=True)
        subprocess.run([venv / "bin" / "python", "-m", "pip", "install", "-q", "-r", str(REQUIREMENTS)], check=True)
        stamp.touch()
    command = [str(venv / "bin" / "python"), "-m", "pytest", "-q", "-p", "no:cacheprovider", *TESTS, *arguments]
    # Tests that would try every Python themselves leave that to us.
    return subprocess.run(command, cwd=ROOT, env={**os.environ, "TEST_OWN_PYTHON": "1"}, check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
