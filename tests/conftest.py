"""For every test: nobody leaves a process behind."""
from __future__ import annotations

import os
import time
import uuid
from pathlib import Path
from typing import Dict, Iterator, Set

import pytest

# Every process that the tests start inherits this, so it finds orphans that left their parent and their session too.
MARK = "LLAMASWAP_TEST_RUN=" + uuid.uuid4().hex
END_GRACE = 2.0    # a process that has just been told to stop may need a moment


@pytest.fixture(autouse=True)
def no_child_left():
    """Fails the test that started a process and did not see it end."""
    before = children()
    yield
    deadline = time.monotonic() + END_GRACE
    while children() - before and time.monotonic() < deadline:
        time.sleep(0.02)
    left = {pid: command_line(pid) for pid in children() - before}
    assert not left, f"child processes left behind: {left}"


@pytest.fixture(autouse=True, scope="session")
def no_orphan_left():
    """Fails the run when a grandchild outlived everybody who knew of it."""
    name, value = MARK.split("=")
    os.environ[name] = value
    yield
    deadline = time.monotonic() + END_GRACE
    while marked() and time.monotonic() < deadline:
        time.sleep(0.02)
    left = marked()
    assert not left, f"orphaned processes left behind: {left}"


def children() -> Set[int]:
    """Our direct children, zombies included. Only where there is /proc: runs on Linux watch for the other systems."""
    try:
        # Cheap answer for the many tests that start nothing; WNOWAIT leaves reaping to whoever owns the child.
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return set()
    return {pid for pid in processes() if parent(pid) == os.getpid()}


def marked() -> Dict[int, str]:
    return {pid: command_line(pid) for pid in processes() if pid != os.getpid() and MARK in read(pid, "environ")}


def processes() -> Iterator[int]:
    return (int(path.name) for path in Path("/proc").glob("[0-9]*"))


def parent(pid: int) -> int:
    # The command name, in brackets, may hold spaces and brackets itself: the fields start after the last one.
    fields = read(pid, "stat").rpartition(")")[2].split()
    return int(fields[1]) if len(fields) > 1 else 0


def command_line(pid: int) -> str:
    return read(pid, "cmdline").replace("\0", " ").strip() or "(gone)"


def read(pid: int, name: str) -> str:
    try:
        return Path("/proc", str(pid), name).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
