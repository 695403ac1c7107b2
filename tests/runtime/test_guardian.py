from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any, Callable, List

import pytest

from llamaswap.runtime import guardian as guarding
from llamaswap.runtime import proctree, threads
from llamaswap.runtime.guardian import Guardian
from tests.support.container import Container

pytestmark = pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="reads /proc")

ROOT = str(Path(guarding.__file__).parents[2])
# A shell wrapper, a grandchild deaf to SIGTERM, one in a session of its own, and one without our environment.
FAMILY = ("(trap '' TERM; while :; do sleep 1; done) & setsid sh -c 'trap \"\" TERM; while :; do sleep 1; done' & "
          "env -i sleep 61 & wait")

# What a small program around the launcher looks like; it prints its guardian's pid and the model's, then waits.
PARENT = """
import os, sys, time
from llamaswap.core.config import Model
from llamaswap.runtime.guardian import Guardian
from llamaswap.runtime.logs import LogBook
from llamaswap.runtime.process import Launcher

class Reports:
    def on_ready(self, *a): pass
    def on_exit(self, *a): pass
    def on_start_failed(self, *a): pass

guardian = Guardian(state_path=sys.argv[2] or None)
guardian.start()
launcher = Launcher(logs=LogBook(), environ=os.environ, guardian=guardian)
model = Model(id="m", argv=("sh", "-c", sys.argv[1]), proxy="http://192.0.2.1:9", cmd_stop=sys.argv[3],
              env=("WHERE=with spaces\\nand lines", "EMPTY="))
running = launcher.start(model, 1, Reports())
while running.pid is None: time.sleep(0.005)
time.sleep(0.3)
print(guardian.pid, running.pid, guardian.program, flush=True)
sys.stdin.readline()
"""


def eventually(check: Callable[[], Any], timeout: float = 8.0) -> Any:
    deadline = time.monotonic() + timeout
    while not check():
        assert time.monotonic() < deadline, f"still not: {check}"
        time.sleep(0.01)
    return check()


def is_alive(pid: int) -> bool:
    row = proctree.read_process(pid)
    return row is not None and row.is_alive()


@pytest.fixture
def start_parent():
    """(parent, guardian pid, pids of the model's tree) of a PARENT that runs the given shell script."""
    parents: List[subprocess.Popen] = []
    started = set()

    def start(script: str = FAMILY, state_path: str = "", stop: str = "", cwd: str = ROOT) -> Any:
        parent = subprocess.Popen([sys.executable, "-c", PARENT, script, state_path, stop], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, env=dict(os.environ, PYTHONPATH=ROOT), cwd=cwd)
        parents.append(parent)
        guard, leader, program = parent.stdout.readline().decode().split()
        start = proctree.start_of(int(leader))
        rows = proctree.find_tree(int(leader), start, program + "-")
        tree = {row.pid for row in rows}
        started.update(tree, {int(guard)})
        return parent, int(guard), tree

    yield start
    for parent in parents:
        parent.kill()
        parent.stdin.close()
        parent.stdout.close()
        parent.wait(5)
    eventually(lambda: not any(map(is_alive, started)))


def end(parent: subprocess.Popen) -> None:
    parent.kill()
    parent.wait(5)


# --- our death ---

def test_nothing_survives_a_killed_parent(start_parent):
    parent, guard, tree = start_parent()
    assert len(tree) >= 5
    began_at = time.monotonic()
    end(parent)
    eventually(lambda: not any(map(is_alive, tree)))
    print(f"\nwhole tree of {len(tree)} gone {time.monotonic() - began_at:.3f} s after SIGKILL to the parent")
    eventually(lambda: not is_alive(guard))


def test_those_who_listen_to_sigterm_get_the_chance(start_parent, tmp_path):
    mark = tmp_path / "saved"
    trap = f"exec 2>/dev/null; trap 'echo saved > {mark}; exit' TERM"
    parent, guard, tree = start_parent(trap + "; while :; do sleep 0.05; done")
    end(parent)
    eventually(mark.exists)
    eventually(lambda: not any(map(is_alive, tree | {guard})))


def test_a_parent_that_just_exits_leaves_nothing(start_parent):
    parent, guard, tree = start_parent()
    parent.stdin.write(b"\n")
    parent.stdin.flush()
    parent.wait(5)
    eventually(lambda: not any(map(is_alive, tree | {guard})))


def test_strangers_live_on(start_parent):
    stranger = subprocess.Popen(["sleep", "60"], start_new_session=True)
    try:
        parent, guard, tree = start_parent("sleep 60")
        end(parent)
        eventually(lambda: not any(map(is_alive, tree | {guard})))
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait(5)


# --- what only a stop command reaches ---

@pytest.fixture
def container(tmp_path):
    made = Container(tmp_path)
    yield made
    made.remove()


def test_a_container_does_not_survive_a_killed_parent(start_parent, container):
    # By a relative path: from where llamaswap was started.
    parent, guard, tree = start_parent(container.launch + "; exec sleep 300", stop="sh stop.sh ${PID} 'an argument'",
                                       cwd=str(container.folder))
    (leader,) = tree
    assert container.pid not in tree
    end(parent)
    eventually(lambda: not any(map(is_alive, tree | {guard, container.pid})))
    *seen, ignored, _ = container.mark.read_text().split("|")
    assert seen == [str(leader), "an argument", "with spaces\nand lines", "", "", str(container.folder)]
    assert not any(int(ignored, 16) >> (number - 1) & 1 for number in (1, 2, 13, 15, 25))


def test_without_its_stop_command_the_container_would_live(start_parent, container):
    parent, guard, tree = start_parent(container.launch + "; exec sleep 300")
    assert is_alive(container.pid)
    end(parent)
    eventually(lambda: not any(map(is_alive, tree | {guard})))
    assert is_alive(container.pid) and not container.mark.exists()


@pytest.fixture
def marked(tmp_path):
    """Starts what carries a marker of this living process, so that no other llamaswap on the machine ends it. With it
    the pid and its stop command as the guardian knows them, and the end of everything."""
    processes: List[subprocess.Popen] = []

    class Marked:
        def __init__(self, script: str, stop: str = "") -> None:
            ready = tmp_path / f"ready{len(processes)}"
            tree = f"{proctree.program_id()}-{1000 + len(processes)}"
            environ = dict(os.environ, LLAMASWAP_TREE=tree)
            self.process = subprocess.Popen(["sh", "-c", script.replace("READY", f"touch {ready}")], env=environ,
                                            start_new_session=True, stderr=subprocess.DEVNULL)
            processes.append(self.process)
            eventually(ready.exists)
            self.pid, self.start = self.process.pid, proctree.start_of(self.process.pid)
            self.words = list(guarding._stop_words(["sh", "-c", stop], environ)) if stop else []

    def end(*them: Marked) -> None:
        here = os.getcwd()
        try:
            proctree._end_trees({each.pid: each.start for each in them},
                                {each.pid: each.words for each in them if each.words}, proctree.program_id() + "-")
        finally:
            os.chdir(here)
    Marked.end = staticmethod(end)
    yield Marked
    for process in processes:
        process.kill()
        process.wait(5)


def test_a_stop_command_that_hangs_does_not_keep_the_tree_alive(marked, tmp_path, monkeypatch):
    monkeypatch.setattr(proctree, "GUARD_HEAD_START", 0.3)
    monkeypatch.setattr(proctree, "GUARD_STOP_PATIENCE", 0.5)
    deaf = marked("trap '' TERM; READY; exec sleep 300", f"echo $$ > {tmp_path}/pid; exec sleep 300")
    marked.end(deaf)
    assert deaf.process.wait(5) == -signal.SIGKILL
    assert not is_alive(int((tmp_path / "pid").read_text())), "it has an end itself"


def test_those_without_a_stop_command_do_not_wait_for_the_others(marked, tmp_path, monkeypatch):
    """The deaf one is gone before the other hears of a signal."""
    monkeypatch.setattr(proctree, "GUARD_STOP_PATIENCE", 1.1)
    deaf = marked("trap '' TERM; READY; exec sleep 300")
    other = marked(f"heard() {{ grep -q '^State:.[RSD]' /proc/{deaf.pid}/status || touch {tmp_path}/last; exit; }}; "
                   "trap heard TERM; READY; while :; do sleep 0.05; done", "exec sleep 300")
    marked.end(other, deaf)
    assert deaf.process.wait(20) == -signal.SIGKILL
    other.process.wait(20)      # with 0 or 143, as the signal finds it between two sleeps or in one
    assert (tmp_path / "last").exists()


def test_a_container_may_take_longer_than_our_own_processes(marked, tmp_path, monkeypatch):
    monkeypatch.setattr(proctree, "GUARD_HEAD_START", 0.05)
    tree = marked("READY; exec sleep 300",
                  f"until [ -e {tmp_path}/gone ]; do sleep 0.05; done; sleep 0.1; touch {tmp_path}/stopped")
    watch = threads.spawn("watch", lambda: (tree.process.wait(8), (tmp_path / "gone").touch()))
    marked.end(tree)
    watch.join(5)
    assert (tmp_path / "stopped").exists()


def test_a_stop_command_goes_before_the_signals(start_parent, tmp_path):
    parent, guard, tree = start_parent(
        f"exec 2>/dev/null; trap 'touch {tmp_path}/disturbed; exit' TERM; while :; do sleep 0.05; done",
        stop=f"sh -c 'sleep 0.2; [ -e {tmp_path}/disturbed ] || touch {tmp_path}/first'")
    end(parent)
    eventually((tmp_path / "first").exists)
    eventually(lambda: not any(map(is_alive, tree | {guard})))


def test_a_stop_command_is_run_for_a_leader_that_is_gone(tmp_path):
    """What it stood for may not be."""
    words = guarding._stop_words(["touch", str(tmp_path / "run")], dict(os.environ))
    proctree._end_trees({1_000_000_000: 5}, {1_000_000_000: list(words)}, "nobody-")
    assert (tmp_path / "run").exists()


def test_a_stop_command_is_not_run_for_a_recycled_pid(tmp_path):
    words = guarding._stop_words(["touch", str(tmp_path / "run")], dict(os.environ))
    proctree._end_trees({os.getpid(): 5}, {os.getpid(): list(words)}, "nobody-")
    assert not (tmp_path / "run").exists()


def test_a_stop_command_that_cannot_be_started_spares_nobody(start_parent, tmp_path):
    program = tmp_path / "stop"
    program.write_text("no program")
    program.chmod(0o755)
    parent, guard, tree = start_parent("sleep 300", stop=str(program))
    program.unlink()
    end(parent)
    eventually(lambda: not any(map(is_alive, tree | {guard})))


def test_stop_commands_are_told_again_to_the_next_child(start_parent, container):
    parent, guard, tree = start_parent(container.launch + "; exec sleep 300", stop=container.stop)
    time.sleep(guarding.MIN_LIFE)        # younger ones are not replaced
    os.kill(guard, signal.SIGKILL)
    eventually(lambda: any(proctree.read(f"/proc/{pid}/comm") == b"model-guardian\n"
                           for pid in all_children(parent.pid) if pid != guard))
    end(parent)
    eventually(lambda: not any(map(is_alive, tree | {container.pid})))


def all_children(parent: int) -> List[int]:
    return [row.pid for row in proctree.read_table().values() if row.ppid == parent and row.is_alive()]


def test_what_has_ended_is_not_stopped_again(tmp_path):
    """Not even when its pid comes back, for a model without a stop command."""
    state = tmp_path / "state.json"
    guardian = Guardian(state_path=str(state))
    guardian.start()
    sleeper = subprocess.Popen(["sleep", "60"], start_new_session=True)
    try:
        start = proctree.start_of(sleeper.pid)
        guardian.watch(sleeper.pid, start, stop=["touch", str(tmp_path / "run")])
        assert len(json.loads(state.read_text())["stops"]) == 1
        guardian.forget(sleeper.pid)
        guardian.watch(sleeper.pid, start)
        assert json.loads(state.read_text())["stops"] == {}
        guardian.close()
        assert sleeper.wait(5) and not (tmp_path / "run").exists()
    finally:
        sleeper.kill()
        sleeper.wait(5)


@pytest.mark.parametrize("stop", [["/nonexistent/stop"], ["sh", "-c", "x" * 20_000], ["sh", "a\0b"]])
def test_stop_commands_that_cannot_be_passed_on(stop, caplog):
    assert guarding._stop_words(stop, dict(os.environ)) == ()
    assert "cannot be run if llamaswap is killed" in caplog.text


def test_the_path_of_a_stop_command_is_that_of_the_model(tmp_path):
    (tmp_path / "halt-it").write_text("#!/bin/sh\n")
    (tmp_path / "halt-it").chmod(0o755)
    words = guarding._stop_words(["halt-it", "now"], {**os.environ, "PATH": str(tmp_path), "LLAMASWAP_TREE": "x-1:y-2"})
    assert words == (b"y-2", os.fsencode(os.getcwd()), os.fsencode(tmp_path / "halt-it"), b"2", b"halt-it", b"now",
                     b"PATH=" + os.fsencode(tmp_path))


# --- the child itself ---

@pytest.fixture
def guardian():
    made = Guardian()
    made.start()
    yield made
    made.close()


def has_settled(guardian: Guardian) -> bool:
    return proctree.read(f"/proc/{guardian.pid}/comm") == b"model-guardian\n"


def test_it_is_small_and_ends_promptly(guardian):
    eventually(lambda: has_settled(guardian))
    status = proctree.read(f"/proc/{guardian.pid}/status").decode()
    resident = int(status.split("VmRSS:")[1].split()[0])
    print(f"\nguardian: {resident} kB resident")
    assert resident < 16_000
    pid = guardian.pid
    began_at = time.monotonic()
    guardian.close()
    assert time.monotonic() - began_at < 3 and not is_alive(pid) and guardian.pid is None
    guardian.close()
    guardian.start()
    assert guardian.pid is None, "a closed guardian stays closed"


def test_signals_meant_for_everybody_do_not_end_it(guardian):
    eventually(lambda: has_settled(guardian))
    row = proctree.read_process(guardian.pid)
    assert row.sid == row.pid != os.getsid(0)
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        os.kill(guardian.pid, number)
    time.sleep(0.05)
    assert is_alive(guardian.pid)


def test_a_lost_one_is_replaced_and_told_everything(guardian, monkeypatch):
    monkeypatch.setattr(guarding, "MIN_LIFE", 0.0)
    sleeper = subprocess.Popen(["sleep", "60"], start_new_session=True)
    try:
        guardian.watch(sleeper.pid, proctree.start_of(sleeper.pid))
        for _ in range(2):
            first = guardian.pid
            os.kill(first, signal.SIGKILL)
            eventually(lambda first=first: guardian.pid not in (None, first))
        guardian.close()
        assert sleeper.wait(5) in (-signal.SIGTERM, -signal.SIGKILL)
    finally:
        sleeper.kill()
        sleeper.wait(5)


def test_who_was_forgotten_is_not_touched(guardian):
    sleeper = subprocess.Popen(["sleep", "60"], start_new_session=True)
    try:
        guardian.watch(sleeper.pid, proctree.start_of(sleeper.pid))
        guardian.forget(sleeper.pid)
        guardian.watch(sleeper.pid, proctree.start_of(sleeper.pid) - 1)      # a recycled pid: not that process
        guardian.close()
        assert sleeper.poll() is None
    finally:
        sleeper.kill()
        sleeper.wait(5)


def test_one_that_stopped_reading_is_replaced_without_harm(guardian, monkeypatch):
    sleeper = subprocess.Popen(["sleep", "60"], start_new_session=True)
    try:
        guardian.watch(sleeper.pid, proctree.start_of(sleeper.pid))
        eventually(lambda: has_settled(guardian))
        first = guardian.pid
        os.kill(first, signal.SIGSTOP)
        for _ in range(200_000):
            guardian.forget(1_000_000)
            if guardian.pid != first:
                break
        assert guardian.pid not in (None, first) and not is_alive(first)
        time.sleep(0.1)
        assert sleeper.poll() is None
    finally:
        sleeper.kill()
        sleeper.wait(5)


def test_another_interpreter_compiles_the_source_itself(tmp_path):
    other = tmp_path / "python-elsewhere"
    other.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    other.chmod(0o755)
    guardian = Guardian(executable=str(other))
    guardian.start()
    try:
        eventually(lambda: has_settled(guardian))
    finally:
        guardian.close()


def test_it_starts_from_an_archive_and_isolated(tmp_path):
    package = Path(guarding.__file__).parents[1]
    archive = tmp_path / "llamaswap.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for name in ("__init__.py", "runtime/__init__.py", "runtime/guardian.py", "runtime/proctree.py",
                     "runtime/threads.py"):
            file.write(package / name, f"llamaswap/{name}")
    code = f"import sys, time; sys.path.insert(0, {str(archive)!r})\n" \
           "from llamaswap.runtime.guardian import Guardian, proctree\n" \
           "guardian = Guardian(); guardian.start(); deadline = time.monotonic() + 10\n" \
           "while proctree.read(f'/proc/{guardian.pid}/comm') != b'model-guardian\\n':\n" \
           "    assert time.monotonic() < deadline and guardian._child.poll() is None\n" \
           "guardian.close(); print(proctree.__file__)"
    done = subprocess.run([sys.executable, "-I", "-c", code], stdout=subprocess.PIPE, timeout=30, check=True)
    assert str(archive) in done.stdout.decode()


def test_without_an_interpreter_the_program_goes_on(monkeypatch, caplog):
    monkeypatch.setattr(guarding.sys, "executable", "")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    guardian = Guardian()
    guardian.start()
    guardian.watch(1, 1)
    guardian.close()
    assert "would leave its models running" in caplog.text
    guardian = Guardian(executable="/nonexistent/python")
    guardian.start()
    assert guardian.pid is None
    guardian.close()


def test_one_that_ends_at_once_is_not_tried_for_ever(caplog):
    guardian = Guardian(executable="/bin/false")
    guardian.start()
    eventually(lambda: "it ends at once" in caplog.text or "it does not listen" in caplog.text)
    assert guardian.pid is None
    guardian.close()


def test_a_frozen_program_looks_for_an_interpreter(monkeypatch):
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setattr(shutil, "which", lambda name: f"/found/{name}")
    assert guarding._find_interpreter() == "/found/python3"


# --- leftovers ---

@pytest.mark.parametrize("script", ["sleep 61 & setsid sleep 62 & wait", "exec env -i sh -c 'sleep 61 & wait'"])
def test_the_next_start_reaps_what_even_the_guardian_could_not(start_parent, tmp_path, script):
    state = tmp_path / "state.json"
    parent, guard, tree = start_parent(script, str(state))
    os.kill(guard, signal.SIGKILL)
    end(parent)
    assert all(map(is_alive, tree)) and len(tree) >= 2
    # The leader of the second family carries no marker any more: only the record knows it.
    guardian = Guardian(state_path=str(state))
    assert guardian.reap_leftovers() >= len(tree)
    assert not any(map(is_alive, tree))
    assert not state.exists()
    assert guardian.reap_leftovers() == 0


def test_the_next_start_runs_the_stop_commands_that_nobody_could(start_parent, container, tmp_path, monkeypatch):
    """A service manager kills the whole control group, the guardian included, and keeps our directory."""
    state = guarding.default_state_path({"STATE_DIRECTORY": f"{tmp_path}:/elsewhere"})
    parent, guard, tree = start_parent(container.launch + "; exec sleep 300", state, container.stop,
                                       str(container.folder))
    os.kill(guard, signal.SIGKILL)
    end(parent)
    for pid in tree:
        os.kill(pid, signal.SIGKILL)
    assert is_alive(container.pid) and os.stat(state).st_mode & 0o777 == 0o600
    here = os.getcwd()
    assert Guardian(state_path=state).reap_leftovers() == 0
    assert not is_alive(container.pid) and not os.path.exists(state) and os.getcwd() == here
    container.mark.unlink()
    assert Guardian(state_path=state).reap_leftovers() == 0 and not container.mark.exists()


def test_a_state_directory_is_only_used_when_there_is_one():
    assert guarding.default_state_path({}) is None
    assert guarding.default_state_path({"STATE_DIRECTORY": ""}) is None
    assert guarding.default_state_path({"STATE_DIRECTORY": "/var/lib/llamaswap"}) == "/var/lib/llamaswap/running.json"


@pytest.mark.parametrize("change", [
    "writable", {"stops": None}, {"stops": {"1000000000": []}}, {"boot": "another"}, {"trees": [[1, 5]]},
    {"stops": {"1000000000": ["t", "/", "/bin/touch", "9", "touch"]}},
    {"stops": {"1000000000": ["t", "/", "/bin/touch", "x", "touch"]}}])
def test_commands_of_a_record_that_cannot_be_trusted_are_not_run(tmp_path, change):
    state = tmp_path / "state.json"
    namespace, pid, start = proctree.program_id().split(".")
    touch = ["t", str(tmp_path), shutil.which("touch"), "2", "touch", "run"]
    record = {"program": f"{namespace}.{pid}.{int(start) - 1}", "boot": guarding._boot_id(),
              "trees": [[1_000_000_000, 5]], "stops": {"1000000000": touch}}
    state.write_text(json.dumps(record if change == "writable" else dict(record, **change)))
    state.chmod(0o622 if change == "writable" else 0o600)
    assert Guardian(state_path=str(state)).reap_leftovers() == 0
    assert not (tmp_path / "run").exists()
    state.write_text(json.dumps(record))
    state.chmod(0o600)
    assert Guardian(state_path=str(state)).reap_leftovers() == 0
    assert (tmp_path / "run").exists() and not state.exists()


def test_a_living_program_loses_nothing(start_parent, tmp_path):
    state = tmp_path / "state.json"
    parent, guard, tree = start_parent("sleep 61", str(state))
    assert json.loads(state.read_text())["trees"]
    copy = tmp_path / "copy.json"
    shutil.copy(state, copy)
    assert Guardian(state_path=str(copy)).reap_leftovers() == 0
    assert copy.exists(), "the record of a living program is its own"
    assert all(map(is_alive, tree))


@pytest.mark.parametrize("change", [{"boot": "another"}, {"trees": None}, {"trees": [["x", 1]]}, {"program": "x"}])
def test_a_record_that_cannot_be_trusted_harms_nobody(tmp_path, change):
    sleeper = subprocess.Popen(["sleep", "60"], start_new_session=True)
    try:
        state = tmp_path / "state.json"
        namespace, pid, start = proctree.program_id().split(".")
        record = {"program": f"{namespace}.{pid}.{int(start) - 1}", "boot": guarding._boot_id(),
                  "trees": [[sleeper.pid, proctree.start_of(sleeper.pid)]]}
        for content in (json.dumps(dict(record, **change)), "not json", "[]"):
            state.write_text(content)
            assert Guardian(state_path=str(state)).reap_leftovers() == 0
        state.write_text(json.dumps(dict(record, trees=[[sleeper.pid, 1]])))
        assert Guardian(state_path=str(state)).reap_leftovers() == 0
        assert sleeper.poll() is None
        state.write_text(json.dumps(record))
        assert Guardian(state_path=str(state)).reap_leftovers() == 1
        sleeper.wait(5)
    finally:
        sleeper.kill()
        sleeper.wait(5)


def test_the_record_goes_when_nothing_is_left(tmp_path):
    state = tmp_path / "state.json"
    guardian = Guardian(state_path=str(state))
    guardian.start()
    guardian.watch(os.getpid(), 1)
    assert json.loads(state.read_text())["trees"] == [[os.getpid(), 1]]
    guardian.forget(os.getpid())
    guardian.close()
    assert list(tmp_path.iterdir()) == []


def test_a_record_that_cannot_be_written_is_said_so(tmp_path, caplog):
    guardian = Guardian(state_path=str(tmp_path / "missing" / "state.json"))
    guardian.watch(1_000_000, 1)
    assert "cannot write" in caplog.text
