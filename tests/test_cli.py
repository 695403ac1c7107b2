"""`check`, `schema` and the arguments, in this process and as the command that people type."""
from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from llamaswap import __version__, cli
from llamaswap.core.schema import json_schema
from tests.runtime.test_files import EVIL

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = sys.executable
GOOD = f"models: {{m: {{cmd: '{PROGRAM} -m x', proxy: 'http://h:1'}}}}\n"
DEADLINE = 60


def check(*arguments, text=None, folder=None):
    """Exit code of `llamaswap check`; `text` becomes the file given with -c."""
    if text is not None:
        path = folder / "c.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        arguments = ("-c", str(path), *arguments)
    return cli.main(["check", *arguments])


def run(*arguments, **more):
    """The command itself; an uncaught error would be a traceback on stderr and exit code 1."""
    return subprocess.run([sys.executable, "-m", "llamaswap", *arguments], cwd=ROOT, capture_output=True,
                          timeout=DEADLINE,
                          check=False, **more)


# --- check -----------------------------------------------------------------------------------------------------

def test_a_good_file(tmp_path, capsys):
    assert check(text=GOOD, folder=tmp_path) == 0
    shown = capsys.readouterr()
    assert shown.out == f"{tmp_path}/c.yaml: ok, 1 model, 0 warnings\n"
    assert shown.err == ""


def test_warnings_are_shown_and_strict_fails_on_them(tmp_path, capsys):
    assert check(text=GOOD + "globalTtl: 5", folder=tmp_path) == 0
    shown = capsys.readouterr()
    assert "ok, 1 model, 1 warning" in shown.out
    assert shown.err == f'{tmp_path}/c.yaml:2:1: warning: globalTtl: unknown key "globalTtl"; ' \
                        'did you mean "globalTTL"?\n'
    assert check("--strict", text=GOOD + "globalTtl: 5", folder=tmp_path) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.endswith("llamaswap check: 0 errors, 1 warning\n")
    assert check("--strict", text=GOOD, folder=tmp_path) == 0


def test_errors(tmp_path, capsys):
    assert check(text=GOOD + "globalTTL: x\nlogToStdout: y", folder=tmp_path) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines() == [
        f'{tmp_path}/c.yaml:2:1: globalTTL: expected a whole number, found the text "x"',
        f'{tmp_path}/c.yaml:3:1: logToStdout: unknown value "y"; valid: proxy, upstream, both, none',
        "llamaswap check: 2 errors, 0 warnings"]


def test_json_is_one_object_and_nothing_else(tmp_path, capsys):
    assert check("--json", text=GOOD + "globalTtl: 5\nglobalTTL: 7", folder=tmp_path) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["globalTTL"] == 7
    assert "warning" in shown.err
    for extra in (["--json"], ["--json", "--strict"]):
        assert check(*extra, text=GOOD + "globalTTL: x", folder=tmp_path) == 1
        assert capsys.readouterr().out == ""
    assert check("--json", "--strict", text=GOOD + "globalTtl: 5", folder=tmp_path) == 1
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("text", ["", "# nothing\n", "{}", "~", "---\n"])
def test_an_empty_file_starts_but_is_hardly_meant(text, tmp_path, capsys):
    assert check(text=text, folder=tmp_path) == 1
    assert f"{tmp_path}/c.yaml:" in capsys.readouterr().err
    assert check("--json", text=text, folder=tmp_path) == 0
    assert json.loads(capsys.readouterr().out)["modelCount"] == 0


def test_a_file_without_models_is_only_a_warning(tmp_path, capsys):
    assert check(text="globalTTL: 5", folder=tmp_path) == 0
    assert "there are no models and no peers: nothing can be served" in capsys.readouterr().err
    assert check(text="peers: {p: {proxy: 'http://h', models: [x]}}", folder=tmp_path) == 0
    assert "nothing can be served" not in capsys.readouterr().err


def test_the_store_must_be_writable(tmp_path, capsys):
    assert check(text=GOOD + f"store: {{path: '{tmp_path}/no/x.db'}}", folder=tmp_path) == 1
    assert f"{tmp_path}/c.yaml:2:9: store.path: directory {tmp_path}/no is not writable" in capsys.readouterr().err
    assert not tmp_path.joinpath("no").exists()


def test_the_environment_is_ours(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("LLAMASWAP_T", "41")
    assert check("--json", text=GOOD + "globalTTL: ${env.LLAMASWAP_T}", folder=tmp_path) == 0
    assert json.loads(capsys.readouterr().out)["globalTTL"] == 41


def test_names_the_environment_gives_in_odd_bytes_can_be_shown(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("LLAMASWAP_T", "a\udcff")
    text = f"models: {{'${{env.LLAMASWAP_T}}': {{cmd: '{PROGRAM}', proxy: 'http://h:1', name: '→ ü'}}}}"
    assert check("--json", text=text, folder=tmp_path) == 0
    shown = capsys.readouterr().out
    assert shown.isascii()
    assert list(json.loads(shown)["models"]) == ["a\udcff"]


def test_directories(tmp_path, capsys):
    tmp_path.joinpath("a.yaml").write_text(GOOD)
    tmp_path.joinpath("b.yml").write_text("globalTTL: 3")
    assert check("--config-dir", str(tmp_path)) == 0
    assert capsys.readouterr().out.startswith(f"{tmp_path}: ok, 1 model")
    assert check("-c", str(tmp_path / "a.yaml"), "--config-dir", str(tmp_path)) == 1
    assert "name it once" in capsys.readouterr().err
    assert check("-c", str(tmp_path)) == 1
    assert "is a directory; name a file, or use --config-dir" in capsys.readouterr().err


def test_missing_files(tmp_path, capsys):
    assert check("-c", str(tmp_path / "none")) == 1
    assert check("--config-dir", str(tmp_path / "none")) == 1
    assert check("--config-dir", str(tmp_path)) == 1
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("name", EVIL)
def test_evil_input_in_this_process(name, tmp_path, capsys):
    assert check(text=EVIL[name][0], folder=tmp_path) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert f"{tmp_path}/c.yaml:" in shown.err
    assert shown.err.endswith(("error, 0 warnings\n", "errors, 0 warnings\n", "warning\n", "warnings\n"))


@pytest.mark.parametrize("name", ["null byte", "random bytes", "lists and bombs", "deep flow", "deep through aliases",
                                  "half a character", "object", "huge number", "macro chain", "merges itself"])
def test_evil_input_as_a_command(name, tmp_path):
    path = tmp_path / "c.yaml"
    path.write_bytes(EVIL[name][0])
    done = run("check", "-c", str(path))
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.startswith(f"{path}:".encode())
    assert b"Traceback" not in done.stderr


def test_as_a_command(tmp_path):
    path = tmp_path / "ü.yaml"
    path.write_text(GOOD + "logLevel: '→'")
    for encoding in ("utf-8", "ascii"):
        done = run("check", "-c", str(path), env={**os.environ, "PYTHONIOENCODING": encoding})
        assert done.returncode == 0, done.stderr
        assert b"Traceback" not in done.stderr
        done = run("check", "--json", "-c", str(path), env={**os.environ, "PYTHONIOENCODING": encoding})
        assert json.loads(done.stdout)["logLevel"] == "→"


def test_a_reader_that_leaves_early(tmp_path):
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run([sys.executable, "-m", "llamaswap", "schema"], cwd=ROOT, stdout=writing,
                              stderr=subprocess.PIPE,
                              timeout=DEADLINE, check=False)
    finally:
        os.close(writing)
    assert done.returncode == 1
    assert done.stderr == b""


# --- arguments -------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("spelling", [
    ["-c", "FILE"], ["--config", "FILE"], ["--config=FILE"], ["-config", "FILE"], ["-config=FILE"], ["-c=FILE"],
    ["-cFILE"],
    ["-config", "FILE", "-strict=false"], ["-config", "FILE", "-json=0"], ["--config", "FILE", "--strict=F"]])
def test_every_spelling_of_a_flag(spelling, tmp_path, capsys):
    path = tmp_path / "c.yaml"
    path.write_text(GOOD + "globalTtl: 5")
    assert check(*(part.replace("FILE", str(path)) for part in spelling)) == 0
    assert "ok, 1 model" in capsys.readouterr().out


def test_switches_in_go_spelling(tmp_path, capsys):
    path = tmp_path / "c.yaml"
    path.write_text(GOOD + "globalTtl: 5")
    for switch in ("-strict", "-strict=true", "--strict=1", "-strict=T"):
        assert check("-config", str(path), switch) == 1
    assert check("-config-dir", str(tmp_path)) == 0
    assert check(f"-config-dir={tmp_path}") == 0
    capsys.readouterr()


@pytest.mark.parametrize("arguments", [
    ["check", "--nope"], ["check", "-nope"], ["check", "--conf", "x"], ["check", "file.yaml"], ["check", "-c"],
    ["check", "-config"],
    ["check", "-strict=maybe"], ["check", "--json=2"], ["schema", "x"], ["schema", "--nope"], ["--nope"],
    ["-listn", ":1"]])
def test_wrong_usage_exits_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.parse(cli.build_parser(), arguments) if arguments[0].startswith("-") else cli.main(arguments)
    assert caught.value.code == 2
    assert "usage: llamaswap" in capsys.readouterr().err


def test_no_source_exits_with_1(capsys):
    assert check() == 1
    assert check("--json") == 1
    assert capsys.readouterr().err.count("at least one of --config or --config-dir must be provided") == 2


def test_help_and_version(capsys):
    for arguments in (["check", "--help"], ["check", "-h"], ["schema", "--help"]):
        with pytest.raises(SystemExit) as caught:
            cli.main(arguments)
        assert caught.value.code == 0
    for spelling in ("--version", "-version"):
        with pytest.raises(SystemExit) as caught:
            cli.parse(cli.build_parser(), [spelling])
        assert caught.value.code == 0
    assert f"llamaswap {__version__}" in capsys.readouterr().out


def test_the_flags_of_llama_swap_are_understood():
    options = cli.parse(cli.build_parser(),
                        ["-config=a.yaml", "-config-dir", "d", "-listen", ":9", "-watch-config=true",
                                             "-tls-cert-file=c", "-tls-key-file", "k"])
    assert (options.config, options.config_dir, options.listen, options.watch_config) == ("a.yaml", "d", ":9", True)
    assert (options.tls_cert_file, options.tls_key_file) == ("c", "k")
    assert cli.parse(cli.build_parser(), ["-watch-config=false"]).watch_config is False
    assert cli.parse(cli.build_parser(), ["-listen", "-"]).listen == "-"


# --- the rest --------------------------------------------------------------------------------------------------

def test_schema(capsys):
    assert cli.main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out) == json_schema()


def test_the_program_can_name_itself(monkeypatch):
    main_module = sys.modules["__main__"]
    monkeypatch.setattr(main_module, "__spec__", None, raising=False)
    for script in (ROOT / "llamaswap.py", ROOT / "llama-swap"):
        with monkeypatch.context() as patch:
            patch.setattr(main_module, "PAYLOAD", "", raising=False)
            patch.setattr(main_module, "__file__", str(script), raising=False)
            assert cli.program_command() == [sys.executable, str(script)]
    monkeypatch.setattr(main_module, "__file__", "/somewhere/pytest", raising=False)
    assert cli.program_command() == [sys.executable, "-m", "llamaswap"]

    class Spec:
        name = "llamaswap.__main__"

    monkeypatch.setattr(main_module, "__spec__", Spec, raising=False)
    assert cli.program_command() == [sys.executable, "-m", "llamaswap"]
    assert cli.builtins() == {"llamaswap": f"{sys.executable} -m llamaswap"}


def test_the_console_script_names_itself(monkeypatch, tmp_path):
    script = tmp_path / "llamaswap"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    main_module = sys.modules["__main__"]
    monkeypatch.setattr(main_module, "__spec__", None, raising=False)
    monkeypatch.setattr(main_module, "__file__", str(script), raising=False)
    assert cli.program_command() == [str(script)]


def test_a_demo_model_runs_from_here(monkeypatch):
    monkeypatch.setattr("llamaswap.demo.main", lambda arguments: len(arguments))
    assert cli.main(["demo-model", "--port", "1"]) == 2
