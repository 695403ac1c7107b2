"""The single file is made of what it should be, and of nothing else, and always the same way."""
from __future__ import annotations

import base64
import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tools import build_single

ROOT = Path(__file__).resolve().parent.parent
MAX_BYTES = 1_500_000
# Imports every dependency from the file and uses it once; -S hides the installed ones.
USE_DEPENDENCIES = """
import sys
def main():
    import prometheus_client, pynvml, waitress, waitress.server, yaml
    from prometheus_client.core import GaugeMetricFamily
    from prometheus_client.openmetrics.exposition import generate_latest
    assert all(module.__file__.startswith(sys.argv[1]) for module in (prometheus_client, pynvml, waitress, yaml))
    assert not yaml.__with_libyaml__
    assert yaml.safe_load("a: [1, {b: two}]") == {"a": [1, {"b": "two"}]}
    registry = prometheus_client.CollectorRegistry()
    prometheus_client.Counter("seen", "Requests seen", registry=registry).inc()
    assert b"seen_total 1.0" in generate_latest(registry)
    assert b"seen_total 1.0" in prometheus_client.generate_latest(registry)
    waitress.create_server(print, port=0, host="127.0.0.1").close()
    print("all used")
"""


@pytest.fixture
def checkout(tmp_path):
    """A small project laid out like ours, with files around that must not be packed."""
    root = tmp_path / "checkout"
    files = {"llamaswap/__init__.py": '__version__ = "9.8.7"\n', "llamaswap/cli.py": USE_DEPENDENCIES,
             "llamaswap/web/__init__.py": "", "static/index.html": "<p>é", "static/js/app.js": "app()",
             "static/.index.html.swp": "junk", "static/notes.md": "junk", "llamaswap/web/left.pyc": "junk",
             "tests/test_x.py": "junk", "LICENSE": "the licence"}
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    shutil.copy(ROOT / "llamaswap.py", root)
    return root


def payload_of(single):
    text = single.decode("ascii").split('PAYLOAD = """')[1].split('"""')[0]
    return base64.b64decode(text)


def archive_of(single):
    return zipfile.ZipFile(io.BytesIO(payload_of(single)))


def test_the_project_goes_in_and_nothing_around_it(checkout):
    with archive_of(build_single.build(checkout)) as archive:
        names = archive.namelist()
        ours = [name for name in names if name.startswith("llamaswap/")]
        assert ours == ["llamaswap/__init__.py", "llamaswap/cli.py", "llamaswap/static/index.html",
                        "llamaswap/static/js/app.js", "llamaswap/web/__init__.py"]
        assert archive.read("llamaswap/static/index.html") == "<p>é".encode()
        assert archive.testzip() is None
        assert names == sorted(names)


def test_the_dependencies_go_in_as_plain_sources_with_their_licences(checkout):
    with archive_of(build_single.build(checkout)) as archive:
        names = archive.namelist()
        assert {name.split("/")[0] for name in names} == {"llamaswap", "licenses", "yaml", "waitress", "pynvml.py",
                                                          "prometheus_client"}
        licences = {name: archive.read(name).decode() for name in names if name.startswith("licenses/")}
    assert {name.split("/")[1] for name in licences} == {"llamaswap", "PyYAML", "waitress", "prometheus_client",
                                                         "nvidia-ml-py"}
    assert "Permission is hereby granted" in licences["licenses/PyYAML/LICENSE"]
    assert "Redistribution and use" in licences["licenses/nvidia-ml-py/LICENSE"]
    assert "Apache License" in licences["licenses/prometheus_client/LICENSE"]
    foreign = [name for name in names if not name.startswith(("licenses/", "llamaswap/")) and not name.endswith(".py")]
    assert foreign == []
    assert not {"example.py", "yaml/cyaml.py", "_yaml/__init__.py"} & set(names)


def test_the_dependencies_work_from_memory(checkout, tmp_path):
    single = tmp_path / "alone" / "llamaswap.py"
    single.parent.mkdir()
    single.write_bytes(build_single.build(checkout))
    done = subprocess.run([sys.executable, "-I", "-S", "-W", "error", str(single), str(single)], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=60, check=False)
    assert done.stdout == "all used\n"
    assert done.returncode == 0
    assert [path.name for path in single.parent.iterdir()] == ["llamaswap.py"]


def test_same_input_same_bytes(checkout):
    first = build_single.build(checkout)
    for age, path in enumerate(checkout.rglob("*")):
        os.utime(path, (age * 1e6, age * 1e6))
        path.chmod(0o700)
    assert build_single.build(checkout) == first


OTHER_PYTHONS = sorted(ROOT.glob(".venv-3.*/bin/python"))


@pytest.mark.skipif(not OTHER_PYTHONS, reason="no .venv-3.X of another Python; `make test-all` makes them")
def test_same_bytes_whichever_python_builds_it(tmp_path):
    outputs = {}
    for python in [sys.executable, *OTHER_PYTHONS]:
        output = tmp_path / "llamaswap.py"
        subprocess.run([str(python), str(ROOT / "tools" / "build_single.py"), "-o", str(output)], check=True,
                       timeout=60, stdout=subprocess.DEVNULL)
        outputs[str(python)] = hashlib.sha256(output.read_bytes()).hexdigest()
    assert len(set(outputs.values())) == 1, outputs


def test_the_header_says_what_is_inside(checkout):
    single = build_single.build(checkout)
    header = single.decode("ascii").split('PAYLOAD = """')[0]
    assert re.search(r"# Contains llamaswap 9\.8\.7, PyYAML \d+\S+, waitress \d\S+, prometheus_client \d\S+, "
                     r"nvidia-ml-py \d+\S+\.\n", header)
    assert f"# SHA-256 of the zip: {hashlib.sha256(payload_of(single)).hexdigest()}\n" in header
    assert max(map(len, single.splitlines())) <= 120


def test_the_rest_of_the_file_is_the_launcher(checkout):
    single = build_single.build(checkout).decode("ascii")
    launcher = (ROOT / "llamaswap.py").read_text(encoding="ascii")
    assert re.sub(r'# Contains .*?PAYLOAD = """.*?"""', 'PAYLOAD = ""', single, flags=re.DOTALL) == launcher


def test_the_real_one_fits_its_budget(tmp_path, capsys):
    output = tmp_path / "dist" / "llamaswap.py"
    assert build_single.main(["-o", str(output)]) == 0
    assert output.stat().st_size <= MAX_BYTES
    assert os.access(output, os.X_OK)
    assert hashlib.sha256(output.read_bytes()).hexdigest() in capsys.readouterr().out


@pytest.mark.parametrize("name, allowed, complaint", [
    ("no-such-distribution", r".*\.py", "is not installed"),
    ("PyYAML", r"renamed/\w+\.py", "no source or no licence"),
])
def test_a_dependency_that_is_not_as_expected_ends_the_build(name, allowed, complaint):
    with pytest.raises(SystemExit, match=complaint):
        build_single.dependency_files(name, allowed)


def test_a_launcher_without_a_place_for_the_payload_ends_the_build(checkout):
    (checkout / "llamaswap.py").write_text("print()\n")
    with pytest.raises(SystemExit, match="PAYLOAD"):
        build_single.build(checkout)


def test_a_package_without_a_version_ends_the_build(checkout):
    (checkout / "llamaswap" / "__init__.py").write_text("")
    with pytest.raises(SystemExit, match="__version__"):
        build_single.build(checkout)
