"""A container as llamaswap sees one: what it starts is a client, and the server is somebody else's child."""
from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

PATIENCE = 20.0

DAEMON = """
trap '' TERM HUP INT
echo $$ > {folder}/pid.new; mv {folder}/pid.new {folder}/pid
while :; do sleep 0.05; done
"""
STOP = """
kill -9 $(cat {folder}/pid)
printf '%s|' "$1" "$2" "$WHERE" "${{EMPTY-unset}}" "$LLAMASWAP_TREE" "$(pwd)" \\
    "$(sed -n s/SigIgn:.//p /proc/self/status)" > {folder}/mark.new
mv {folder}/mark.new {folder}/mark
"""


class Container:
    """The daemon has a session of its own and neither our marker nor an ancestor of ours, and hears no signal but
    SIGKILL. `launch` starts it and returns; `stop` ends it, and writes into `mark` what it saw."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.mark, self._pid_file = folder, folder / "mark", folder / "pid"
        for name, script in (("daemon.sh", DAEMON), ("stop.sh", STOP)):
            (folder / name).write_text(script.format(folder=folder))
        self.launch = f"(setsid env -i /bin/sh {folder}/daemon.sh &)"
        self.stop = f"sh {folder}/stop.sh ${{PID}}"

    @property
    def pid(self) -> int:
        deadline = time.monotonic() + PATIENCE
        while not self._pid_file.exists():
            assert time.monotonic() < deadline, "the container was not started"
            time.sleep(0.01)
        return int(self._pid_file.read_text())

    def remove(self) -> None:
        if self._pid_file.exists():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
