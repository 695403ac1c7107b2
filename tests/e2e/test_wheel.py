"""The wheel holds the package and its pages and nothing else, and installs where there is no network."""
from __future__ import annotations

import email
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
WHEELHOUSE = ROOT / "dist" / "wheels"
SOURCES = ["llamaswap", "static", "llamaswap.py", "setup.py", "pyproject.toml", "MANIFEST.in", "LICENSE"]
DEADLINE = 180.0
# No index, no cache, no configuration of this machine: pip gets what the arguments name.
OFFLINE = {**{name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "PYTHON"))},
           "PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_NO_CACHE_DIR": "1",
           "PIP_DISABLE_PIP_VERSION_CHECK": "1"}

pytest.importorskip("setuptools", reason="builds a wheel: pip install -r requirements-dev.txt")
pytest.importorskip("wheel", reason="builds a wheel: pip install -r requirements-dev.txt")


def command(*arguments, **options):
    done = subprocess.run(list(map(str, arguments)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=DEADLINE, check=False, **{"env": OFFLINE, **options})
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """A copy of the checkout to build in, with what an earlier build of an older version may have left."""
    copy = tmp_path_factory.mktemp("sources")
    for name in SOURCES:
        path = ROOT / name
        if path.is_dir():
            shutil.copytree(path, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(path, copy)
    (copy / "tests").mkdir()
    (copy / "tests" / "__init__.py").touch()
    stale = copy / "build" / "lib" / "llamaswap" / "removed_long_ago.py"
    stale.parent.mkdir(parents=True)
    stale.touch()
    return copy


@pytest.fixture(scope="module")
def wheel(sources, tmp_path_factory):
    output = tmp_path_factory.mktemp("wheel")
    command(sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-w", output, sources)
    (found,) = output.iterdir()
    return found


def test_wheel_is_for_every_python_and_says_its_version(wheel):
    version = command(sys.executable, "-c", "import llamaswap; print(llamaswap.__version__)", cwd=ROOT).strip()
    assert wheel.name == f"llamaswap-{version}-py3-none-any.whl"


def test_wheel_contents(wheel):
    package = {path.relative_to(ROOT).as_posix() for path in (ROOT / "llamaswap").rglob("*.py")}
    static = [path for path in (ROOT / "static").rglob("*") if path.is_file()]
    pages = {"llamaswap/" + path.relative_to(ROOT).as_posix() for path in static}
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        assert names == package | pages
        assert "llamaswap/static/index.html" in names
        assert any(name.endswith("LICENSE") for name in archive.namelist())


def test_wheel_metadata(wheel):
    with zipfile.ZipFile(wheel) as archive:
        prefix = "-".join(wheel.name.split("-")[:2]) + ".dist-info/"
        metadata = email.message_from_bytes(archive.read(prefix + "METADATA"))
        scripts = archive.read(prefix + "entry_points.txt").decode()
    assert metadata["Requires-Python"] == ">=3.9"
    assert sorted(metadata.get_all("Requires-Dist")) == ["PyYAML", "nvidia-ml-py", "prometheus-client", "waitress"]
    assert "llamaswap = llamaswap.cli:main" in scripts


READ_PAGE = """
import sys, site
site.addsitedir(sys.argv[1])
import llamaswap, pkgutil
from llamaswap.web.assets import read_asset
print(llamaswap.__file__)
assert read_asset("index.html").startswith(b"<!doctype html>")
assert sys.argv[2] == "editable" or pkgutil.get_data("llamaswap", "static/index.html") == read_asset("index.html")
"""


def site_packages(prefix):
    (found,) = prefix.glob("lib/python*/site-packages")
    return found


def test_installed_pages_are_package_data(wheel, tmp_path):
    command(sys.executable, "-m", "pip", "install", "--no-deps", "--prefix", tmp_path, "--ignore-installed", wheel)
    output = command(sys.executable, "-I", "-S", "-c", READ_PAGE, site_packages(tmp_path), "installed", cwd="/")
    assert output.startswith(str(tmp_path))


def test_editable_install_finds_the_pages(sources, tmp_path):
    command(sys.executable, "-m", "pip", "install", "--no-deps", "--no-build-isolation", "--prefix", tmp_path,
            "--ignore-installed", "-e", sources)
    output = command(sys.executable, "-I", "-S", "-c", READ_PAGE, site_packages(tmp_path), "editable", cwd="/")
    assert output.startswith(str(sources / "llamaswap"))


def test_offline_install_runs(wheel, tmp_path):
    tag = f"cp{sys.version_info[0]}{sys.version_info[1]}"
    if not list(WHEELHOUSE.glob(f"*-{tag}-*.whl")):
        pytest.skip(f"no wheels of the dependencies for {tag} in dist/wheels: `make wheelhouse` gets them")
    links = tmp_path / "wheels"
    links.mkdir()
    for path in [wheel, *WHEELHOUSE.glob("*.whl")]:
        if path == wheel or not path.name.startswith("llamaswap-"):
            shutil.copy(path, links)
    command(sys.executable, "-m", "venv", tmp_path / "venv")
    bin_dir = tmp_path / "venv" / "bin"
    command(bin_dir / "python", "-m", "pip", "install", "--no-index", "--find-links", links, "llamaswap", cwd="/")
    version = wheel.name.split("-")[1]
    assert version in command(bin_dir / "python", "-m", "llamaswap", "--version", cwd="/")
    assert version in command(bin_dir / "llamaswap", "--version", cwd="/")
