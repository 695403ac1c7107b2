"""Nothing survives us: a small child that outlives this program just long enough to end its models.

Chosen by measurement. One guardian for the whole program is a bare interpreter (`-I -S`) running proctree.py: 10 ms to
start, which nobody waits for, 8.6 MB resident of which 2.8 MB are its own. A shell would take 0.1 MB but cannot
look for markers or check start times. PR_SET_PDEATHSIG belongs to a thread, not to us, and is inherited by nobody's
grandchild. A cgroup needs rights that a plain user does not have; where systemd gives us one, it is a second net.

It reads a pipe that only we hold the other end of, so the end of file means that we are gone, however that happened. It
then ends what carries our marker (known to it before the first model starts, so no start can slip between) and the
sessions it was told of. For what no signal of ours reaches (a container is a child of its daemon) it runs the model's
stop command. It lives in its own session, ignores the signals a terminal or a service manager sends to
everybody, and ends by itself when we close the pipe: a normal exit takes the same path and finds nothing to do.

If even the guardian was killed, the next start calls reap_leftovers() before its first load: processes that carry the
marker of a program that no longer lives, and what a state file recorded, sessions with their start times and stop
commands. That file is worth having where something kills whole control groups, the guardian included. A service manager
does, and it is also who gives us a directory of our own; elsewhere there is none, and nothing is left on disk.
"""
from __future__ import annotations

import fcntl
import inspect
import json
import logging
import marshal
import os
import shutil
import stat
import subprocess
import sys
import threading
import time
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from llamaswap.runtime import proctree
from llamaswap.runtime.threads import spawn

log = logging.getLogger(__name__)
Words = Tuple[bytes, ...]

CLOSE_PATIENCE = 2 * proctree.GUARD_PATIENCE + proctree.GUARD_GRACE + 1.0
REAP_PATIENCE = 5.0
MIN_LIFE = 1.0
PIPE_BYTES = 1 << 20        # room for all stop commands when a lost child is replaced; the usual 64 KiB may be too few
_SET_PIPE_SIZE = 1031       # fcntl.F_SETPIPE_SZ, which has a name since Python 3.10 only
MAX_STOP_BYTES = 16 << 10
STATE_NAME = "running.json"
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
    """Keeps the guardian's child up to date, and replaces it when it is gone. Safe from any thread. `state_path` is by
    default in the directory that a service manager gives us.

    `_lock` is a leaf; a write under it cannot block, since the pipe is non-blocking and a full one counts as broken.
    """

    def __init__(self, *, state_path: Optional[str] = None, executable: Optional[str] = None) -> None:
        self.program = proctree.program_id()
        self._state_path = state_path or default_state_path(os.environ)
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
        self._stops: Dict[int, Words] = {}
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

    def watch(self, pid: int, start: int, *, stop: Sequence[str] = (),
              environ: Optional[Mapping[str, str]] = None) -> None:
        """A leader was started. Its marker covers the time until this call. `stop` is the command that ends what it
        stands for, with the model's environment."""
        words = _stop_words(stop, environ or {}) if stop else ()

        def note() -> None:
            self._trees[pid] = start
            if words:
                self._stops[pid] = words
        self._tell(_watch_lines(pid, start, words), note)

    def forget(self, pid: int) -> None:
        """Its tree is gone. Call before reaping it: afterwards the pid may belong to somebody else."""
        def note() -> None:
            self._trees.pop(pid, None)
            self._stops.pop(pid, None)
        self._tell(b"-%d\n" % pid, note)

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
        record = _read_record(self._state_path) if self._state_path else NOTHING
        # order: commands first; who is killed can no longer be asked to end a container.
        commands = [_run_recorded(words) for words in record.stops]
        began_at = time.monotonic()
        running = proctree.await_all([command for command in commands if command], began_at + proctree.GUARD_HEAD_START)
        leftovers = proctree.find_leftovers() + record.find_processes()
        for row in leftovers:
            log.warning("ending %s, left over from an earlier run", proctree.described(row.pid))
        deadline = time.monotonic() + REAP_PATIENCE
        alive = leftovers
        while alive and time.monotonic() < deadline:
            proctree.signal_all(alive, proctree.SIGKILL)
            time.sleep(proctree.SWEEP_PAUSE)
            alive = [row for row in leftovers if _is_same(row)]
        proctree.finish(running, began_at + proctree.GUARD_STOP_PATIENCE)
        if record is not NOTHING and self._state_path:
            _remove(self._state_path)       # it has served its purpose
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
        _widen(self._child.stdin.fileno())
        told = b"".join(_watch_lines(pid, start, self._stops.get(pid, ())) for pid, start in self._trees.items())
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
                stops = {pid: [word.decode("latin-1") for word in words] for pid, words in self._stops.items()}
            state = {"program": self.program, "boot": _boot_id(), "trees": trees, "stops": stops}
            try:
                # Commands and environments may hold secrets.
                with open(path + ".new", "w", encoding="ascii", opener=_open_private) as file:
                    json.dump(state, file)
                os.replace(path + ".new", path)
            except OSError as error:
                log.warning("cannot write %s: %s", path, error)


class Record(NamedTuple):
    """What a state file says a program that is gone has left."""

    trees: Tuple[Tuple[int, int], ...] = ()
    stops: Tuple[Words, ...] = ()

    def find_processes(self) -> List[proctree.Process]:
        return [row for pid, start in self.trees for row in proctree.find_tree(pid, start, "")]


NOTHING = Record()


def default_state_path(environ: Mapping[str, str]) -> Optional[str]:
    """In the directory a service manager has made for us; None where there is none."""
    directory = environ.get("STATE_DIRECTORY", "").partition(":")[0]
    return os.path.join(directory, STATE_NAME) if directory else None


# --- stop commands ---


def _stop_words(stop: Sequence[str], environ: Mapping[str, str]) -> Words:
    """As proctree.run_stop wants it; () for one that cannot be run. The program is looked up here, because the guardian
    searches its own PATH, and lives in another directory."""
    program = shutil.which(stop[0], path=environ.get("PATH"))
    changed = [f"{name}={value}" for name, value in environ.items()
               if os.environ.get(name) != value and name != proctree.MARKER_NAME]
    tree = environ.get(proctree.MARKER_NAME, "").rpartition(":")[2]
    words = tuple(os.fsencode(word) for word in (tree, _directory(), program or "", str(len(stop)), *stop, *changed))
    if program is None or any(b"\0" in word for word in words) or sum(map(len, words)) > MAX_STOP_BYTES:
        log.warning("cmdStop %r cannot be run if llamaswap is killed: %s", stop[0],
                    "there is no such program" if program is None else "it is too long, or has a null byte")
        return ()
    return words


def _directory() -> str:
    try:
        return os.getcwd()
    except OSError:
        return "/"


def _watch_lines(pid: int, start: int, words: Words) -> bytes:
    stop = b"!%d %s\n" % (pid, b"\0".join(words).hex().encode()) if words else b""
    return b"+%d %d\n" % (pid, start) + stop


def _run_recorded(words: Words) -> int:
    log.warning("running a stop command (%s) that an earlier run had no time for", os.fsdecode(words[4]))
    here = _directory()
    try:
        return proctree.run_stop(list(words))
    finally:
        os.chdir(here)


def _widen(pipe: int) -> None:
    try:
        fcntl.fcntl(pipe, _SET_PIPE_SIZE, PIPE_BYTES)
    except OSError as error:
        log.debug("the guardian's pipe keeps its size: %s", error)


# --- the state file ---


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _read_record(path: str) -> Record:
    """NOTHING when it is not there, not to be trusted, of another boot, or of a program that lives."""
    try:
        with open(path, encoding="ascii") as file:
            status = os.fstat(file.fileno())
            state = json.load(file)
        program = str(state["program"])
        trees = [(int(pid), int(start)) for pid, start in state["trees"]]
        stops = {int(pid): tuple(str(word).encode("latin-1") for word in words)
                 for pid, words in state.get("stops", {}).items()}
        is_whole = all(len(words) > 4 and 0 < int(words[3]) <= len(words) - 4 for words in stops.values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return NOTHING
    is_private = status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    if not (is_whole and is_private and state["boot"] == _boot_id() and proctree.is_program_gone(program + "-0")):
        return NOTHING
    # The leader may be gone while its session lives on; a leader with another start time is a stranger.
    ours = [(pid, start) for pid, start in trees if start and proctree.start_of(pid) in (0, start)]
    return Record(tuple(ours), tuple(stops[pid] for pid, _ in ours if pid in stops))


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
