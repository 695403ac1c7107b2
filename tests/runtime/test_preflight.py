"""What only this machine can tell: the store, programs, model files, ports and names nobody can reach."""
from __future__ import annotations

import os
import sys

import pytest

from llamaswap.runtime.preflight import machine_problems, store_problems
from tests.support.vectors import load

ENV = {"PATH": os.path.dirname(sys.executable)}
PROGRAM = os.path.basename(sys.executable)


def machine(text, env=ENV):
    loaded = load(text)
    assert loaded.config is not None, [str(problem) for problem in loaded.problems]
    found = machine_problems(loaded.config, env)
    assert not any(problem.is_error() for problem in found)
    return [str(problem) for problem in found]


# --- log files -------------------------------------------------------------------------------------------------

def test_a_folder_for_log_files(tmp_path, monkeypatch):
    def found(folder):
        return machine(f"models: {{m: {{cmd: {PROGRAM}, proxy: 'http://h:1'}}}}\nlogFiles: {{dir: '{folder}'}}")

    tmp_path.joinpath("file").write_text("")
    tmp_path.joinpath("nowhere").symlink_to(tmp_path / "gone")
    monkeypatch.chdir(tmp_path)
    assert [found(folder) for folder in ("", "relative/deep", tmp_path, tmp_path / "new" / "deep")] == [[]] * 4
    for folder, blocker in ((tmp_path / "file" / "x", tmp_path / "file"), (tmp_path / "nowhere", tmp_path / "nowhere")):
        (line,) = found(folder)
        assert line.endswith(f"logFiles.dir: no logs can be written to {folder}: {blocker} is not a directory")
    monkeypatch.setattr(os, "access", lambda name, mode: mode == os.F_OK | os.X_OK)      # root may write everywhere
    assert found(tmp_path / "new")[0].endswith(f"{tmp_path}/new: {tmp_path} is not writable")


# --- the store -------------------------------------------------------------------------------------------------

def store(path):
    return [str(problem) for problem in store_problems(load(f"store: {{path: '{path}'}}").config)]


def test_a_store_that_can_be_made(tmp_path, monkeypatch):
    assert store(tmp_path / "new.db") == []
    tmp_path.joinpath("old.db").write_text("")
    assert store(tmp_path / "old.db") == []
    assert store(f" {tmp_path}/new.db ") == []
    monkeypatch.chdir(tmp_path)
    assert store("relative.db") == []
    assert store_problems(load("").config) == []


def test_a_store_that_cannot(tmp_path):
    assert store(tmp_path) == [f"store.path: {tmp_path} is a directory, not a file"]
    assert store(tmp_path / "no" / "x.db") == [f"store.path: directory {tmp_path}/no is not writable: it does not "
                                               f"exist"]
    loaded = load('store: {path: "a\\0b"}')
    assert str(store_problems(loaded.config)[0]) == "store.path: a path cannot contain a null byte"


def test_a_store_without_permission(tmp_path, monkeypatch):
    path = tmp_path / "x.db"
    path.write_text("")
    monkeypatch.setattr(os, "access", lambda name, _: str(name) != str(path))      # root may write everywhere
    assert store(path) == [f"store.path: {path} is not writable: permission denied"]
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert store(path) == [f"store.path: directory {tmp_path} is not writable: permission denied"]


def test_a_read_only_disk_does_not_keep_models_from_being_served(tmp_path, monkeypatch):
    real = os.statvfs(tmp_path)
    monkeypatch.setattr(os, "access", lambda *_: False)
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result((*real[:8], real.f_flag | os.ST_RDONLY, real[9])))
    assert store(tmp_path / "x.db") == [f"warning: store.path: {tmp_path}/x.db is on a read-only file system; until it "
                                        "can be written, the history is in memory"]
    assert store(tmp_path) == [f"store.path: {tmp_path} is a directory, not a file"]


# --- programs and files ----------------------------------------------------------------------------------------

def test_programs(tmp_path):
    assert machine(f"models: {{m: {{cmd: {PROGRAM} -V, proxy: 'http://h:1'}}}}") == []
    assert machine(f"models: {{m: {{cmd: {PROGRAM} -V, proxy: 'http://h:1'}}}}", {"PATH": str(tmp_path)}) == [
        f"warning: models.m.cmd: the program {PROGRAM} is not on PATH"]
    assert machine("models: {m: {cmd: /no/program, proxy: 'http://h:1'}}") == [
        "warning: models.m.cmd: the program /no/program does not exist or cannot be executed"]
    with_path = f"models: {{m: {{cmd: {PROGRAM}, proxy: 'http://h:1', env: [A, PATH={tmp_path}]}}}}"
    assert machine(with_path)[-1] == f"warning: models.m.cmd: the program {PROGRAM} is not on PATH"


def test_model_files(tmp_path):
    there = tmp_path / "there.gguf"
    there.write_text("")
    text = "models: {{m: {{cmd: '{} -m {}', proxy: 'http://h:1'}}}}"
    for argument in (there, tmp_path / "gone.txt", "gone.gguf", "http://h/gone.gguf", "--model", f"--model={there}"):
        assert machine(text.format(PROGRAM, argument)) == []
    for argument in (tmp_path / "gone.gguf", f"--model={tmp_path}/gone.gguf", "./gone.SAFETENSORS"):
        assert machine(text.format(PROGRAM, argument))[0].endswith("does not exist")


# --- ports -----------------------------------------------------------------------------------------------------

TWO = f"models: {{a: {{cmd: {PROGRAM}, proxy: 'http://localhost:9'}}, " \
      f"b: {{cmd: {PROGRAM}, proxy: 'http://127.0.0.1:9'}}}}\n"
SHARED = 'warning: models.b.proxy: port 9 is also the port of model "a", and both may run together'


@pytest.mark.parametrize(("rule", "found"), [
    ("", []), ("groups: {g: {swap: false, members: [a, b]}}", [SHARED]), ("groups: {g: {members: [a]}}", []),
    ("groups: {g: {persistent: true, members: [a]}}", [SHARED]),
    ("groups: {g: {persistent: true, members: [b]}}", [SHARED]),
    ("groups: {g: {exclusive: false, members: [a]}}", [SHARED]),
    ("groups: {g: {exclusive: false, members: [b]}}", [SHARED]),
    ("groups: {g: {members: [a]}, h: {members: [b]}}", [])])
def test_a_shared_port_matters_when_both_may_run(rule, found):
    assert machine(TWO + rule) == found


def test_a_shared_port_under_a_matrix():
    assert machine(TWO + "matrix: {sets: {s: a | b}}") == []
    assert machine(TWO + "matrix: {sets: {s: a & b}}") == [SHARED]


def test_ports_elsewhere_do_not_collide():
    text = "models: {{a: {{cmd: {0}, proxy: '{1}'}}, b: {{cmd: {0}, proxy: '{1}'}}}}\n" \
           "groups: {{g: {{swap: false, members: [a, b]}}}}"
    for proxy in ("http://far:9", "http://localhost", "http://localhost:99999", "http://[x]:9", "localhost:9"):
        assert machine(text.format(PROGRAM, proxy)) == [], proxy


# --- names -----------------------------------------------------------------------------------------------------

def test_models_nobody_can_reach():
    assert machine(f"models: {{'': {{cmd: {PROGRAM}, proxy: 'http://h'}}}}") == [
        'warning: models."": no request can name this model; give it an ID or an alias']
    assert machine(f"models: {{'': {{cmd: {PROGRAM}, proxy: 'http://h', aliases: [x]}}}}") == []
    assert machine("models: {m: {proxy: 'http://h'}}") == ["warning: models.m: no route can reach this model: it has "
                                                           "no command"]
    assert machine(f"models: {{m: {{cmd: {PROGRAM}, proxy: ''}}}}") == [
        "warning: models.m: no route can reach this model: it has no proxy"]


def test_a_peers_model_behind_a_local_name():
    text = f"models: {{m: {{cmd: {PROGRAM}, proxy: 'http://h', aliases: [al]}}}}\n" \
           "peers: {p: {proxy: 'http://h', models: [m, al, x]}}"
    assert machine(text) == [f'warning: peers.p.models[{index}]: "{name}" means the local model; this one is reached '
                             f'as p/{name} only'
                             for index, name in enumerate(["m", "al"])]
