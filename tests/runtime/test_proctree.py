from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional

import pytest

from llamaswap.runtime import proctree

pytestmark = pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="reads /proc")

TREE = proctree.program_id() + "-7001"


def eventually(check: Callable[[], Any], timeout: float = 20.0) -> Any:
    deadline = time.monotonic() + timeout
    while not check():
        assert time.monotonic() < deadline, f"still not: {check}"
        time.sleep(0.01)
    return check()


@contextmanager
def started(*argv: str, tree: Optional[str] = TREE) -> Iterator[subprocess.Popen]:
    environ = dict(os.environ)
    if tree is not None:
        environ[proctree.MARKER_NAME] = tree
    process = subprocess.Popen(argv, env=environ, start_new_session=True)
    start = proctree.start_of(process.pid)
    try:
        yield process
    finally:
        assert proctree.kill_tree(process.pid, start, tree or "", 5.0) == []
        process.wait(5)


def commands(rows: List[proctree.Process]) -> Dict[str, int]:
    found = {}
    for row in rows:
        with suppress(OSError):      # gone since; a shell forks more often than one thinks
            found[proctree.read(f"/proc/{row.pid}/cmdline").rstrip(b"\0").replace(b"\0", b" ").decode()] = row.pid
    return found


def test_a_process_is_read_whatever_its_name():
    with started(sys.executable, "-S", "-c",
                 "open('/proc/self/comm', 'w').write('a) b (c'); import time; time.sleep(60)") as process:
        eventually(lambda: b"a) b (c" in proctree.read(f"/proc/{process.pid}/stat"))
        row = proctree.read_process(process.pid)
    assert (row.pid, row.ppid, row.sid) == (process.pid, os.getpid(), process.pid)
    assert row.is_alive() and row.start > 0


def test_the_table_has_us_and_not_the_dead():
    process = subprocess.Popen(["true"])
    eventually(lambda: not proctree.read_process(process.pid).is_alive())
    process.wait()
    table = proctree.read_table()
    assert os.getpid() in table and process.pid not in table
    assert proctree.read_process(process.pid) is None and proctree.start_of(process.pid) == 0
    assert proctree.described(process.pid) == f"pid {process.pid}" and proctree.markers_of(process.pid) == []


def test_a_process_is_described_without_its_arguments():
    with started("sleep", "61") as process:
        eventually(lambda: proctree.described(process.pid) == f"pid {process.pid} (sleep)")


def test_markers_nest():
    value = proctree.marker_value(proctree.marker_value("", "outer-1"), "inner-2")
    with started("sleep", "60", tree=value) as process:
        eventually(lambda: proctree.markers_of(process.pid) == ["outer-1", "inner-2"])
        start = proctree.start_of(process.pid)
        for tree in ("outer-1", "inner-2", "outer-", "inner-"):
            assert [row.pid for row in proctree.find_tree(0, start, tree)] == [process.pid], tree
        for tree in ("outer-11", "oute", "uter-1", ""):
            assert proctree.find_tree(0, start, tree) == [], tree


def test_a_tree_is_group_session_descendants_and_marked():
    script = ("sleep 61 & env -i sleep 62 & setsid sleep 63 & "           # group; group, no marker; marker alone
              "env -i setsid sh -c 'sleep 64; :' & wait")                  # neither, but a descendant
    with started("sleep", "60", tree=None), started("sh", "-c", script) as process:
        start = proctree.start_of(process.pid)
        wanted = {"sleep 61", "sleep 62", "sleep 63", "sleep 64"}
        found = eventually(lambda: (rows := proctree.find_tree(process.pid, start, TREE))
                           and wanted <= set(commands(rows)) and rows)
        assert process.pid in {row.pid for row in found}
        assert "sleep 60" not in commands(found)
        assert os.getpid() not in {row.pid for row in found}
        assert proctree.kill_tree(process.pid, start, TREE, 5.0) == []
        assert not any(proctree.read_process(pid) and proctree.read_process(pid).is_alive()
                       for command, pid in commands(found).items() if command in wanted)


def test_an_orphan_is_found_by_its_marker():
    with started("sh", "-c", "setsid sh -c 'sleep 61; :' & exit") as process:
        start = proctree.start_of(process.pid)
        eventually(lambda: not proctree.read_process(process.pid).is_alive())
        eventually(lambda: "sleep 61" in commands(proctree.find_tree(process.pid, start, TREE)))


def test_a_recycled_pid_is_not_signalled():
    with started("sleep", "60") as process:
        row = proctree.read_process(process.pid)
        row.start -= 1
        proctree.signal_all([row], signal.SIGKILL)
        time.sleep(0.05)
        assert process.poll() is None


def test_a_program_is_gone_only_when_surely_so():
    mine = proctree.program_id()
    namespace, pid, start = mine.split(".")
    process = subprocess.Popen(["true"])
    process.wait()
    assert not proctree.is_program_gone(mine + "-1")
    assert proctree.is_program_gone(f"{namespace}.{pid}.{int(start) - 1}-1")
    assert proctree.is_program_gone(f"{namespace}.{process.pid}.{start}-1")
    # Another container's processes are visible from the host; its program's pid means nothing there.
    assert not proctree.is_program_gone(f"1{namespace}.{process.pid}.{start}-1")
    for junk in ("", "-", "x-1", "..-1", f"{namespace}.x.y-1", f"{namespace}-1"):
        assert not proctree.is_program_gone(junk), junk


def test_leftovers_are_those_of_dead_programs():
    code = ("import os, subprocess; from llamaswap.runtime import proctree as p; "
            "env = dict(os.environ, **{p.MARKER_NAME: p.program_id() + '-1'}); "
            "print(subprocess.Popen(['setsid', 'sleep', '61'], env=env, stdout=subprocess.DEVNULL).pid)")
    with started("sleep", "60"):
        done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, timeout=20, check=True,
                              env=dict(os.environ, PYTHONPATH=str(Path(proctree.__file__).parents[2])))
        left = int(done.stdout)
        try:
            assert [row.pid for row in eventually(proctree.find_leftovers)] == [left]
        finally:
            os.kill(left, signal.SIGKILL)


def test_sockets_and_their_holder():
    with socket.socket() as sock:
        inode = os.fstat(sock.fileno()).st_ino
        assert inode in proctree.sockets_of(os.getpid())
        assert proctree.holder_of({inode}).pid == os.getpid()
    assert proctree.holder_of({inode}) is None


def test_descriptors_that_vanish_while_we_look_hide_nothing(monkeypatch):
    listed = os.listdir
    monkeypatch.setattr(proctree.os, "listdir", lambda path: ["99999", *listed(path)])
    with socket.socket() as sock:
        assert os.fstat(sock.fileno()).st_ino in proctree.sockets_of(os.getpid())
    assert proctree.sockets_of(0) == set()
