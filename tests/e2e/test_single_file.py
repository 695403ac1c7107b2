"""llamaswap.py in both its lives, on every Python found: the launcher of a checkout, and the whole program in one file.

What Python itself does with a file and a directory of one name decides how the launcher has to be written; those facts
are tests here as well (the table in docs/design.md), so that a Python which changes them is noticed.
"""
from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tools import build_single, test_all

ROOT = Path(__file__).resolve().parent.parent.parent
DEADLINE = 30.0
# tools/test_all.py runs this file once per Python and says so; alone, it covers them all.
PYTHONS = {"this": sys.executable} if os.environ.get("TEST_OWN_PYTHON") else test_all.find_pythons()
OLD_PYTHONS = sorted(Path.home().glob(".pyenv/versions/[23].[0-8].*/bin/python"))
STUB_CLI = """
import inspect, json, os, pkgutil, sys
import llamaswap

def main(argv=None):
    if "fail" in sys.argv:
        import logging
        try:
            raise ValueError("spilt")  # the line a traceback shows
        except ValueError:
            logging.exception("failed")
    if "dependency" in sys.argv:
        import no_such_dependency
    source = inspect.getsource(llamaswap) if "source" in sys.argv else ""
    page = pkgutil.get_data("llamaswap", "static/index.html") if "page" in sys.argv else b""
    print(json.dumps({"from": os.path.dirname(llamaswap.__file__), "argv": sys.argv[1:], "page": page.decode(),
                      "name": llamaswap.NAME, "source": source}))
    return 3
"""


@pytest.fixture(params=PYTHONS)
def run(request, tmp_path):
    """Run this Python as bare as it gets: no site-packages, no settings, nothing but what the arguments name."""

    def run_python(*arguments, cwd=tmp_path, **environ):
        return subprocess.run([PYTHONS[request.param], "-S", "-B", *map(str, arguments)], cwd=cwd, timeout=DEADLINE,
                              env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), **environ},
                              capture_output=True, text=True, check=False)

    return run_python


def write_package(directory, name):
    for path, text in {"__init__.py": f'__version__ = "1.2.3"\nNAME = "{name}"\n', "cli.py": STUB_CLI}.items():
        (directory / "llamaswap").mkdir(parents=True, exist_ok=True)
        (directory / "llamaswap" / path).write_text(text)
    shutil.copy(ROOT / "llamaswap" / "__main__.py", directory / "llamaswap")
    return directory


@pytest.fixture
def checkout(tmp_path):
    root = write_package(tmp_path / "checkout", "checkout")
    (root / "static").mkdir()
    (root / "static" / "index.html").write_text("<p>page")
    shutil.copy(ROOT / "LICENSE", root)
    shutil.copy(ROOT / "llamaswap.py", root)
    return root


@pytest.fixture
def lone(tmp_path):
    """The launcher copied to a directory of its own, without the package."""
    directory = tmp_path / "lone"
    directory.mkdir()
    shutil.copy(ROOT / "llamaswap.py", directory)
    return directory / "llamaswap.py"


@pytest.fixture
def single(checkout, tmp_path):
    """The built file of the small project, alone in a directory."""
    directory = tmp_path / "single"
    directory.mkdir()
    path = directory / "llamaswap.py"
    path.write_bytes(build_single.build(checkout))
    path.chmod(0o755)
    return path


def says(done):
    """What the program printed, after checking that its exit code came through."""
    assert done.returncode == 3, done.stderr
    return json.loads(done.stdout)


def says_from(done, directory):
    assert says(done)["from"] == str(directory / "llamaswap")


# --- what Python does ----------------------------------------------------------------------------------------------


def test_the_directory_beats_the_file(run, checkout):
    done = run("-c", "import llamaswap; print(llamaswap.__file__)", cwd=checkout)
    assert done.stdout.strip() == str(checkout / "llamaswap" / "__init__.py")


def test_the_file_beats_a_directory_without_init(run, checkout):
    (checkout / "llamaswap" / "__init__.py").unlink()
    done = run("-c", "import llamaswap; print(llamaswap.__file__)", cwd=checkout)
    assert done.stdout.strip() == str(checkout / "llamaswap.py")


def test_dash_m_runs_the_package(run, checkout):
    assert says(run("-m", "llamaswap", "a", cwd=checkout))["argv"] == ["a"]


def test_dash_m_elsewhere_finds_nothing(run, tmp_path):
    done = run("-m", "llamaswap")
    assert done.returncode == 1
    assert "No module named llamaswap" in done.stderr


# --- the launcher in a checkout --------------------------------------------------------------------------------------


def test_launcher_by_name_from_its_directory(run, checkout):
    found = says(run("llamaswap.py", "a", "--b", cwd=checkout))
    assert found["argv"] == ["a", "--b"]
    assert found["from"] == str(checkout / "llamaswap")


def test_launcher_by_path_from_elsewhere(run, checkout):
    says_from(run(checkout / "llamaswap.py", cwd="/"), checkout)


def test_launcher_through_a_symlink(run, checkout, tmp_path):
    link = tmp_path / "bin" / "llamaswap"
    link.parent.mkdir()
    link.symlink_to(checkout / "llamaswap.py")
    says_from(run(link, cwd="/"), checkout)
    says_from(run("-I", link, cwd="/"), checkout)


def test_launcher_without_its_directory_on_the_path(run, checkout):
    done = run("-I", checkout / "llamaswap.py", cwd="/")
    says_from(done, checkout)
    if run("-c", "import sys; sys.exit(sys.version_info >= (3, 11))").returncode:
        says_from(run("-P", checkout / "llamaswap.py", cwd="/"), checkout)


def test_launcher_prefers_its_own_package_to_an_installed_one(run, checkout, tmp_path):
    installed = write_package(tmp_path / "site", "installed")
    assert says(run(checkout / "llamaswap.py", PYTHONPATH=str(installed)))["name"] == "checkout"


# --- the launcher copied alone ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [["llamaswap.py"], ["-I", "llamaswap.py"], ["-m", "llamaswap"]], ids=" ".join)
def test_launcher_alone_says_what_to_do(run, lone, how):
    done = run(*how, cwd=lone.parent)
    assert done.returncode == 1
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 2
    assert "make single" in done.stderr
    assert "pip install" in done.stderr


@pytest.mark.parametrize("how", [["llamaswap.py"], ["-m", "llamaswap"]], ids=" ".join)
def test_launcher_alone_finds_an_installed_package(run, lone, tmp_path, how):
    installed = write_package(tmp_path / "site", "installed")
    says_from(run(*how, cwd=lone.parent, PYTHONPATH=str(installed)), installed)


def test_a_missing_dependency_stays_a_missing_dependency(run, checkout):
    done = run("llamaswap.py", "dependency", cwd=checkout)
    assert done.returncode == 1
    assert "No module named 'no_such_dependency'" in done.stderr
    assert "make single" not in done.stderr


@pytest.mark.parametrize("kind", ["lone", "single"])
def test_importing_the_file_has_no_effect(run, kind, request):
    directory = request.getfixturevalue(kind).parent
    done = run("-c", "import sys; before = sys.path[:], sys.meta_path[:]; import llamaswap; "
               "print(before == (sys.path, sys.meta_path), llamaswap.__file__)", cwd=directory)
    assert done.stdout.strip() == f"True {directory / 'llamaswap.py'}"
    assert done.stderr == ""


@pytest.mark.skipif(not OLD_PYTHONS, reason="no Python older than 3.9 on this machine")
@pytest.mark.parametrize("python", OLD_PYTHONS, ids=lambda path: path.parent.parent.name)
def test_an_old_python_is_told_what_is_needed(python, lone):
    done = subprocess.run([str(python), str(lone)], capture_output=True, text=True, timeout=DEADLINE, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("llamaswap needs Python 3.9 or newer; this is " + python.parent.parent.name)


# --- the built file, made of a small project -------------------------------------------------------------------------


@pytest.mark.parametrize("how", [["llamaswap.py"], ["-I", "llamaswap.py"], ["-m", "llamaswap"]], ids=" ".join)
def test_single_runs_where_it_lies(run, single, how):
    found = says(run(*how, "page", cwd=single.parent))
    assert found["from"] == str(single / "llamaswap")
    assert (found["argv"], found["page"], found["name"]) == (["page"], "<p>page", "checkout")
    assert [path.name for path in single.parent.iterdir()] == ["llamaswap.py"]


def test_single_runs_from_elsewhere_and_through_a_symlink(run, single, tmp_path):
    says_from(run("-I", single, cwd="/"), single)
    link = tmp_path / "llamaswap"
    link.symlink_to(single)
    says_from(run("-I", link, cwd="/"), single)


def test_single_prefers_what_it_carries(run, single, tmp_path):
    """Neither an installed llamaswap nor a file beside the single one may get in."""
    installed = write_package(tmp_path / "site", "installed")
    (single.parent / "json.py").write_text("raise SystemExit('a stray file was imported')")
    assert says(run(single, cwd=single.parent, PYTHONPATH=str(installed)))["name"] == "checkout"


def test_single_shows_source_lines_in_tracebacks(run, single):
    done = run("-I", single, "fail")
    assert 'raise ValueError("spilt")  # the line a traceback shows' in done.stderr
    assert f'File "{single}/llamaswap/cli.py", line' in done.stderr


def test_single_can_show_its_own_sources(run, single):
    """A small child process is started from the text of a module of ours: there is no file to name."""
    done = run("-I", single, "source", cwd=single.parent)
    assert says(done)["source"] == (single.parent.parent / "checkout" / "llamaswap" / "__init__.py").read_text()


def test_single_as_an_executable(single):
    done = subprocess.run([str(single)], stdout=subprocess.PIPE, text=True, timeout=DEADLINE, check=False)
    assert says(done)["name"] == "checkout"


# --- the real file ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    path = tmp_path_factory.mktemp("real") / "llamaswap.py"
    path.write_bytes(build_single.build(ROOT))
    return path


@pytest.fixture
def alone(real, tmp_path):
    """A copy of the real file in a directory that holds nothing else."""
    directory = tmp_path / "opt"
    directory.mkdir()
    shutil.copy(real, directory)
    return directory / "llamaswap.py"


def test_real_version(run, alone):
    done = run("-I", alone, "--version", cwd=alone.parent)
    assert done.returncode == 0, done.stderr
    assert build_single.project_version(build_single.project_files(ROOT)) in done.stdout


def test_real_checks_a_configuration(run, alone, tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text("models:\n  one:\n    cmd: serve --port ${PORT}\n")
    done = run("-I", alone, "check", "--json", "-c", config, cwd=alone.parent)
    assert done.returncode == 0, done.stderr
    assert "one" in json.loads(done.stdout)["models"]


@pytest.mark.parametrize("name", ["llama-swap", "llamaswap", "llamaswap-1.0.py"])
def test_real_can_be_started_again_under_any_name(run, alone, tmp_path, name):
    renamed = alone.rename(alone.with_name(name))
    config = tmp_path / "config.yaml"
    config.write_text("models:\n  one:\n    cmd: ${llamaswap} --version ${PORT}\n")
    done = run("-I", renamed, "check", "--json", "-c", config, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    *command, _ = json.loads(done.stdout)["models"]["one"]["argv"]
    assert subprocess.run(command, cwd=tmp_path, timeout=DEADLINE, capture_output=True, check=False).returncode == 0


@pytest.fixture(params=PYTHONS)
def served(request, alone, tmp_path):
    """(port, process) of the demo, served by a bare Python from the single file."""
    port = free_port()
    began = time.monotonic()
    command = [PYTHONS[request.param], "-I", "-S", "llamaswap.py", "--demo", "--listen", f"127.0.0.1:{port}"]
    environ = {name: os.environ[name] for name in ("PATH", "LLAMASWAP_TEST_RUN")}
    with open(tmp_path / "output", "wb") as output:
        process = subprocess.Popen(command, cwd=alone.parent, env={**environ, "HOME": "/nonexistent"}, stdout=output,
                                   stderr=subprocess.STDOUT)
    try:
        wait_for_health(port, process)
        print(f"answers /health after {time.monotonic() - began:.2f} s")
        yield port, process
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE) == 0
    finally:
        process.kill()
        process.wait()
        print((tmp_path / "output").read_text(errors="replace"))


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return sock.getsockname()[1]


def wait_for_health(port, process):
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline and process.poll() is None:
        try:
            assert fetch(port, "GET", "/health")[0] == 200
            return
        except OSError:
            time.sleep(0.01)
    pytest.fail(f"no /health; exit code {process.poll()}; its output is below")


def fetch(port, method, path, body=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE)
    try:
        headers = {"Content-Type": "application/json"} if body else {}
        connection.request(method, path, body and json.dumps(body), headers)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def test_real_serves_the_demo(served, alone):
    port, _ = served
    # An upgrade replaces the file under the running program: everything it needs later must be in memory.
    alone.write_text("raise SystemExit('the file was read again')\n")
    for path, expected in [("/ui/", b"<!doctype html>"), ("/v1/models", b'"data"'), ("/running", b"running")]:
        status, body = fetch(port, "GET", path)
        assert (status, expected in body) == (200, True), (path, body[:200])
    assert [path.name for path in alone.parent.iterdir()] == ["llamaswap.py"]


def test_real_answers_a_chat_completion(served):
    port, _ = served
    model = json.loads(fetch(port, "GET", "/v1/models")[1])["data"][0]["id"]
    ask = {"model": model, "messages": [{"role": "user", "content": "hello"}]}
    status, body = fetch(port, "POST", "/v1/chat/completions", ask)
    assert status == 200, body
    assert json.loads(body)["choices"][0]["message"]["content"]
