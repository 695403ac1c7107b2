"""The demo model server in a process of its own, for tests that want a real upstream.

    with run_demo("--token-delay", "0.1") as demo:
        ask(demo.port, ...)
        demo.wait_for("cancelled")
"""
from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from pathlib import Path

from llamaswap.runtime.threads import spawn

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-S", "-m", "llamaswap.demo"]      # -S: the demo needs no site-packages, and starts sooner


class Demo:
    """A started demo. Its log is read all the time, so a full pipe never holds it up."""

    def __init__(self, args):
        self.process = subprocess.Popen([*COMMAND, *args], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, start_new_session=True)
        self.port = None
        self.lines = deque(maxlen=20_000)
        self._changed = threading.Condition()
        self._reader = spawn("demo-log", self._read)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self):
        with self._changed:
            return "\n".join(self.lines)

    def wait_for(self, pattern, timeout=20.0):
        """The match of `pattern` in the log, as soon as it is there."""
        deadline = time.monotonic() + timeout
        while True:
            is_over = not self._reader.is_alive()       # asked before the log is read, or its last line could be missed
            found = re.search(pattern, self.log)
            if found:
                return found
            if is_over or time.monotonic() > deadline:
                raise AssertionError(f"no {pattern!r} in the log of the demo:\n{self.log[-2000:]}")
            with self._changed:
                self._changed.wait(0.05)

    def stop(self):
        """SIGTERM, then SIGKILL; and the end of whatever it left behind."""
        if self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(5)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(5)
        for pid in re.findall(r"^grandchild (\d+)", self.log, re.MULTILINE):
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        self._reader.join(5)

    def _read(self):
        with self.process.stdout as pipe:
            for line in pipe:
                with self._changed:
                    self.lines.append(line.decode("utf-8", "replace").rstrip("\n"))
                    self._changed.notify_all()


@contextlib.contextmanager
def run_demo(*args, listening=True):
    """A demo on a free port, listening (unless told not to wait for that), and stopped at the end."""
    demo = Demo([str(arg) for arg in args])
    try:
        if listening:
            demo.port = int(demo.wait_for(r"listening on http://\S+:(\d+)")[1])
        yield demo
    finally:
        demo.stop()
