"""Nothing survives us: a small child that outlives this program just long enough to end its models.

Chosen by measurement. One guardian for the whole program is a bare interpreter (`-I -S`) running proctree.py: 10 ms to
start, which nobody waits for, 8.6 MB resident of which 2.8 MB are its own. A shell would take 0.1 MB but cannot
look for markers or check start times. PR_SET_PDEATHSIG belongs to a thread, not to us, and is inherited by nobody's
grandchild. A cgroup needs rights that a plain user does not have; where systemd gives us one, it is a second net.

It reads a pipe that only we hold the other end of, so the end of file means that we are gone, however that happened. It
then ends what carries our marker (known to it before the first model starts, so no start can slip between) and the
sessions it was told of. It lives in its own session, ignores the signals a terminal or a service manager sends to
everybody, and ends by itself when we close the pipe: a normal exit takes the same path and finds nothing to do.

If even the guardian was killed, the next start calls reap_leftovers() before its first load: processes that carry the
marker of a program that no longer lives, and the sessions an optional state file recorded with their start times.
"""
from __future__ import annotations

import inspect
import json
import logging
import marshal
import os
import shutil
import subprocess
import sys
import threading
import time
from typing import Any, Dict, List, Optional, Tuple

from llamaswap.runtime import proctree
from llamaswap.runtime.threads import spawn

log = logging.getLogger(__name__)

CLOSE_PATIENCE = 2 * proctree.GUARD_PATIENCE + proctree.GUARD_GRACE + 1.0
REAP_PATIENCE = 5.0
MIN_LIFE = 1.0
UNGUARDED = "no guardian ({}): a killed llamaswap would leave its models running until the next start"

# The program comes first on the pipe instead of on the command line: `ps` stays readable. The name is set so that
# ending every "python" by name does not take the guardian along with those it guards.
_BOOT = """
import _signal, marshal, os
for number in (1, 2, 15): _signal.signal(number, _signal.SIG_IGN)
source = b""
while len(source) < {size}:
    piece = os.read(0, {size} - len(source))
    if not piece: raise SystemExit
    source += piece
try:
    with open("/proc/self/comm", "w") as name: name.write("model-guardian")
except OSError: pass
space = {{"__name__": "guardian"}}
exec({load}, space)
space["keep_watch"](0, {program!r})
"""


class Guardian:
    """Keeps the guardian's child up to date, and replaces it when it is gone. Safe from any thread.

    `_lock` is a leaf; a write under it cannot block, since the pipe is non-blocking and a full one counts as broken.
    """

    def __init__(self, *, state_path: Optional[str] = None, executable: Optional[str] = None) -> None:
        self.program = proctree.program_id()
        self._state_path = state_path
        self._executable = executable or _find_interpreter()
        # Read once: the file on disk may be another version by the time the child has to be replaced. Compiling in the
        # child would cost it 1.2 MB and 5 ms, but another interpreter than ours needs the source.
        source = inspect.getsource(proctree)
        is_ours = self._executable == sys.executable
        compiled = compile(source, "guardian", "exec", optimize=2)
        self._code = marshal.dumps(compiled) if is_ours else source.encode("utf-8")
        self._load = "marshal.loads(source)" if is_ours else 'compile(source, "guardian", "exec")'
        self._lock = threading.Lock()
        self._file_lock = threading.Lock()      # order of writes; taken before _lock, never inside it
        self._trees: Dict[int, int] = {}
        self._child: Optional[subprocess.Popen[bytes]] = None
        self._is_closed = False

    def __repr__(self) -> str:
        return f"Guardian(pid={self.pid}, watching={sorted(self._trees)})"

    @property
    def pid(self) -> Optional[int]:
        child = self._child
        return child.pid if child else None

    def start(self) -> None:
        """Call before the first model starts. Without an interpreter to run it, says so and does nothing."""
        complaint = ""
        with self._lock:
            if self._child is None and not self._is_closed:
                complaint = self._spawn_locked()
        _warn(complaint)

    def watch(self, pid: int, start: int) -> None:
        """A leader was started. Its marker covers the time until this call."""
        self._tell(b"+%d %d\n" % (pid, start), lambda: self._trees.update({pid: start}))

    def forget(self, pid: int) -> None:
        """Its tree is gone. Call before reaping it: afterwards the pid may belong to somebody else."""
        self._tell(b"-%d\n" % pid, lambda: self._trees.pop(pid, None))

    def close(self) -> None:
        """Let the child end what is left, which is nothing after an orderly stop, and wait for it (bounded)."""
        with self._lock:
            self._is_closed = True
            child, self._child = self._child, None
        if child is None:
            return
        assert child.stdin is not None
        child.stdin.close()
        try:
            child.wait(CLOSE_PATIENCE)
        except subprocess.TimeoutExpired:
            log.warning("the guardian (pid %d) did not end in time and is left behind", child.pid)
        if not self._trees and self._state_path:
            _remove(self._state_path)

    def reap_leftovers(self) -> int:
        """End what an earlier run left alive; returns how many processes that were. Call before the first load."""
        leftovers = proctree.find_leftovers()
        if self._state_path:
            leftovers += _recorded_leftovers(self._state_path)
        for row in leftovers:
            log.warning("ending pid %d, left over from an earlier run: %s", row.pid, proctree.command_of(row.pid))
        deadline = time.monotonic() + REAP_PATIENCE
        alive = leftovers
        while alive and time.monotonic() < deadline:
            proctree.signal_all(alive, proctree.SIGKILL)
            time.sleep(proctree.SWEEP_PAUSE)
            alive = [row for row in leftovers if _is_same(row)]
        return len({row.pid for row in leftovers})

    # --- the child, under the lock ---

    def _tell(self, line: bytes, note: Any) -> None:
        complaint = ""
        with self._lock:
            note()
            if self._child is not None and not self._write_locked(line):
                self._drop_locked()
                complaint = self._spawn_locked() or "the guardian did not listen any more; there is another one now"
        _warn(complaint)
        if self._state_path:
            self._save(self._state_path)

    def _await_loss(self, child: subprocess.Popen[bytes]) -> None:
        """Thread `guardian`, one per child: a lost one is replaced at once, not when the next model starts."""
        spawned_at = time.monotonic()
        child.wait()
        with self._lock:
            if self._child is not child:
                return                              # closed or replaced on purpose
            assert child.stdin is not None
            child.stdin.close()
            self._child = None
            # One that dies at once would die again and again: then better none, and a word about it.
            is_hopeless = time.monotonic() - spawned_at < MIN_LIFE
            complaint = UNGUARDED.format("it ends at once") if is_hopeless else self._spawn_locked()
        _warn(complaint or f"the guardian (pid {child.pid}) was lost; there is another one now")

    def _spawn_locked(self) -> str:
        """What went wrong, to be logged after the lock; "" when nothing did."""
        if not self._executable:
            return UNGUARDED.format("no Python interpreter to be found")
        boot = _BOOT.format(size=len(self._code), load=self._load, program=self.program)
        # Our own marker, if we are nested, must not make the guardian part of the tree it would have to survive.
        environ = {name: value for name, value in os.environ.items() if name != proctree.MARKER_NAME}
        try:
            self._child = subprocess.Popen([self._executable, "-I", "-S", "-c", boot], stdin=subprocess.PIPE,
                                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environ,
                                           start_new_session=True, cwd="/", bufsize=0)
        except OSError as error:
            return UNGUARDED.format(error)
        assert self._child.stdin is not None
        os.set_blocking(self._child.stdin.fileno(), False)
        told = b"".join(b"+%d %d\n" % item for item in self._trees.items())
        if not self._write_locked(self._code + told):
            self._drop_locked()
            return UNGUARDED.format("it does not listen")
        spawn("guardian", self._await_loss, self._child)
        return ""

    def _write_locked(self, block: bytes) -> bool:
        """False when the child is gone or has stopped reading. Atomic up to PIPE_BUF; more only into an empty pipe."""
        assert self._child is not None and self._child.stdin is not None
        try:
            return os.write(self._child.stdin.fileno(), block) == len(block)
        except OSError:
            return False

    def _drop_locked(self) -> None:
        child, self._child = self._child, None
        assert child is not None and child.stdin is not None
        # order: kill, then close. One that was merely stopped would take the closed pipe for our death.
        child.kill()
        child.stdin.close()
        child.wait()

    # --- the state file ---

    def _save(self, path: str) -> None:
        with self._file_lock:
            with self._lock:
                trees = sorted(self._trees.items())
            state = {"program": self.program, "boot": _boot_id(), "trees": trees}
            try:
                with open(path + ".new", "w", encoding="ascii") as file:
                    json.dump(state, file)
                os.replace(path + ".new", path)
            except OSError as error:
                log.warning("cannot write %s: %s", path, error)


def _recorded_leftovers(path: str) -> List[proctree.Process]:
    """Members of the sessions in a state file whose program is gone. The file has then served its purpose."""
    program, trees = _load(path)
    if not proctree.is_program_gone(program + "-0"):
        return []
    found: List[proctree.Process] = []
    for pid, start in trees:
        # The leader may be gone while its session lives on; a leader with another start time is a stranger.
        if start and proctree.start_of(pid) in (0, start):
            found += proctree.find_tree(pid, start, "")
    _remove(path)
    return found


def _find_interpreter() -> str:
    """A frozen program is not an interpreter, and an embedded one may not know its own path."""
    if sys.executable and not getattr(sys, "frozen", False):
        return sys.executable
    return shutil.which("python3") or ""


def _warn(complaint: str) -> None:
    if complaint:
        log.warning("%s", complaint)


def _is_same(row: proctree.Process) -> bool:
    now = proctree.read_process(row.pid)
    return now is not None and now.start == row.start and now.is_alive()


def _load(path: str) -> Tuple[str, List[Tuple[int, int]]]:
    try:
        with open(path, encoding="ascii") as file:
            state = json.load(file)
        if state["boot"] != _boot_id():
            return "", []
        return str(state["program"]), [(int(pid), int(start)) for pid, start in state["trees"]]
    except (OSError, ValueError, KeyError, TypeError):
        return "", []


def _boot_id() -> str:
    """Start times count from boot, so a record from another boot means nothing."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        log.debug("no %s to remove", path)
