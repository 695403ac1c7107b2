"""Which processes belong to a model, read from /proc, and which sockets they hold.

A model's tree is the union of four answers, because each alone misses somebody: the session and the process group of
its leader (they survive the leader), its descendants (they may have left the session), and every process whose
environment carries the tree's marker (a daemonised grandchild has left both). The marker is a list, "outer:inner", so
that a llamaswap run by another llamaswap still belongs to the outer one's tree.

A marker is `<pid namespace>.<pid>.<start time>-<n>`: the program that started the tree and a number. Anybody can tell
from it whether that program still lives, so leftovers of a killed program can be found without any record on disk.
A pid is never trusted alone, only together with its start time (clock ticks since boot, field 22 of /proc/<pid>/stat).

Without /proc (macOS) every table is empty and callers are left with the process group. With it, one escape is left: a
process that starts a new session, clears its environment and outlives its parents.

This file is also the whole program of the guardian's child (guardian.py), which runs it without the package, without
`site` and within a few MB. It therefore imports nothing that is not already loaded by then; `typing` alone costs 2 MB.
"""
from __future__ import annotations

import os
import time

TYPE_CHECKING = False               # as typing does it, without its price
if TYPE_CHECKING:
    from collections.abc import Callable

MARKER_NAME = "LLAMASWAP_TREE"
SIGKILL, SIGTERM = 9, 15            # `signal` costs the guardian 1 MB for these two
GUARD_GRACE = 0.5                   # long enough for `docker run` to pass a SIGTERM on, short enough to free a port
GUARD_PATIENCE = 5.0
GUARD_HEAD_START = 1.0              # of a stop command before the signals: by then its request has been made
GUARD_STOP_PATIENCE = 15.0          # for a stop command; `docker stop` itself gives a container 10 s
GUARD_SETTLE = 0.02                 # a child between fork and exec at the moment of our death shows its marker by then
SWEEP_PAUSE = 0.005


class Process:
    """One row of the process table."""

    __slots__ = ("pid", "ppid", "pgid", "sid", "start", "state")

    def __init__(self, pid: int, ppid: int, pgid: int, sid: int, start: int, state: str) -> None:
        self.pid, self.ppid, self.pgid, self.sid, self.start, self.state = pid, ppid, pgid, sid, start, state

    def __repr__(self) -> str:
        return f"Process({self.pid}, start={self.start}, sid={self.sid}, {self.state})"

    def is_alive(self) -> bool:
        """False for one that has exited and waits for its parent to notice."""
        return self.state not in "ZX"


# --- the process table ---

def read_process(pid: int) -> Process | None:
    try:
        text = read(f"/proc/{pid}/stat")
        # The name, in parentheses, may contain anything, parentheses and spaces included.
        fields = text[text.rindex(b")") + 2:].split()
        return Process(pid, int(fields[1]), int(fields[2]), int(fields[3]), int(fields[19]), fields[0].decode())
    except (OSError, ValueError, IndexError):
        return None


def read_table() -> dict[int, Process]:
    """Every process visible to us; empty without /proc."""
    try:
        names = os.listdir("/proc")
    except OSError:
        return {}
    rows = (read_process(int(name)) for name in names if name.isdigit())
    return {row.pid: row for row in rows if row is not None}


def start_of(pid: int) -> int:
    """The start time that goes with `pid`, 0 when unknown."""
    row = read_process(pid)
    return row.start if row else 0


def described(pid: int) -> str:
    """For people, clients among them: so not its command line, where programs are given their keys."""
    try:
        name = " ".join(read(f"/proc/{pid}/comm").decode("utf-8", "replace").split())
    except OSError:
        name = ""
    return f"pid {pid} ({name})" if name else f"pid {pid}"


# --- markers ---

def program_id() -> str:
    """Names this process for the lifetime of the machine; the namespace keeps containers with equal pids apart."""
    return f"{_namespace()}.{os.getpid()}.{start_of(os.getpid())}"


def marker_value(inherited: str, tree: str) -> str:
    """What to put into a child's environment: its own tree, after those it is nested in."""
    return f"{inherited}:{tree}" if inherited else tree


def markers_of(pid: int) -> list[str]:
    """The trees a process says it belongs to; empty when it does not, or when its environment is not ours to read."""
    try:
        block = b"\0" + read(f"/proc/{pid}/environ")
    except OSError:
        return []
    at = block.find(b"\0" + MARKER_NAME.encode() + b"=")
    if at < 0:
        return []
    at += len(MARKER_NAME) + 2
    end = block.find(b"\0", at)
    return block[at:end if end >= 0 else None].decode("utf-8", "replace").split(":")


def is_program_gone(tree: str) -> bool:
    """True only when we can be sure: the marker was made in our own pid namespace by a process that is no more."""
    namespace, pid, start = (tree.rpartition("-")[0].split(".") + ["", "", ""])[:3]
    if not _namespace() or namespace != _namespace() or not (pid.isdigit() and start.isdigit()):
        return False
    row = read_process(int(pid))
    return row is None or row.start != int(start) or not row.is_alive()


def find_leftovers() -> list[Process]:
    """Live processes whose marker names a program that no longer exists: nobody will ever stop them."""
    verdicts: dict[str, bool] = {}
    found = []
    for row in read_table().values():
        for tree in markers_of(row.pid) if row.is_alive() else ():
            if tree not in verdicts:
                verdicts[tree] = is_program_gone(tree)
            if verdicts[tree] and row not in found:
                found.append(row)
    return found


# --- trees ---

def find_tree(leader: int, start: int, tree: str) -> list[Process]:
    """The live processes of a model, its leader included. `tree` is its marker, or a prefix ending in "-".

    The caller guarantees that `leader` has not been recycled: it has not been reaped, or is known by its start time.
    """
    table = read_table()
    mine = {row.pid for row in table.values() if leader and leader in (row.pid, row.pgid, row.sid)}
    for row in table.values():
        # Whoever is older than the leader cannot have inherited its marker; this skips most of the reading.
        if row.pid not in mine and row.start >= start and _is_marked(row.pid, tree):
            mine.add(row.pid)
    grew = bool(mine)
    while grew:
        children = {row.pid for row in table.values() if row.ppid in mine and row.pid not in mine}
        mine |= children
        grew = bool(children)
    mine -= {os.getpid(), 1}
    return [table[pid] for pid in mine if table[pid].is_alive()]


def _is_marked(pid: int, tree: str) -> bool:
    if tree.endswith("-"):
        return any(one.startswith(tree) for one in markers_of(pid))
    return bool(tree) and tree in markers_of(pid)


def signal_all(rows: list[Process], number: int) -> None:
    """Signal each row that is still the same process. ESRCH and EPERM say nothing new: the next look decides."""
    for row in rows:
        if start_of(row.pid) == row.start:
            try:    # noqa: SIM105 -- contextlib is not loaded in the guardian
                os.kill(row.pid, number)
            except OSError:
                pass


def kill_tree(leader: int, start: int, tree: str, patience: float) -> list[Process]:
    """SIGKILL until nobody is left; returns who still is after `patience` seconds (stuck in the kernel, not ours).

    One pass is not enough: a process may fork between our look and our signal.
    """
    return _kill_all(lambda: find_tree(leader, start, tree), patience)


def _kill_all(find: Callable[[], list[Process]], patience: float) -> list[Process]:
    deadline = time.monotonic() + patience
    while True:
        rows = find()
        signal_all(rows, SIGKILL)
        if not rows or time.monotonic() >= deadline:
            return rows
        time.sleep(SWEEP_PAUSE)


# --- who holds a socket ---

def sockets_of(pid: int) -> set[int]:
    """Inodes of the sockets a process holds; empty when we may not look."""
    try:
        names = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return set()
    targets = (_target(f"/proc/{pid}/fd/{name}") for name in names)
    return {int(target[8:-1]) for target in targets if target.startswith("socket:[")}


def holder_of(inodes: set[int]) -> Process | None:
    """Some process that holds one of these sockets; None when nobody we may look at does."""
    for row in read_table().values():
        if sockets_of(row.pid) & inodes:
            return row
    return None


def cgroup_of(pid: int) -> bytes:
    """Which service, login or container a process runs in; empty when unknown."""
    try:
        return read(f"/proc/{pid}/cgroup")
    except OSError:
        return b""


# --- the guardian's child ---

def keep_watch(fd: int, program: str) -> None:
    """Remember the trees told on `fd` until it ends, then leave none of them alive.

    Lines: "+<pid> <start>" when a model has been started, "!<pid> <hex>" with its stop command if it has one (the words
    of run_stop), "-<pid>" before it is reaped. The program's marker is enough for most of them; the list is for those
    that cleared their environment, for machines without /proc, and for what only a stop command reaches.
    """
    leaders: dict[int, int] = {}
    stops: dict[int, list[bytes]] = {}
    buffer = b""
    while True:
        piece = os.read(fd, 4096)
        if not piece:
            break
        *lines, buffer = (buffer + piece).split(b"\n")
        for line in lines:
            pid, _, rest = line[1:].partition(b" ")
            if line[:1] == b"+":
                leaders[int(pid)] = int(rest)
            elif line[:1] == b"!":
                stops[int(pid)] = bytes.fromhex(rest.decode()).split(b"\0")
            else:
                leaders.pop(int(pid), None)
                stops.pop(int(pid), None)
    _end_trees(leaders, stops, program + "-")


def _end_trees(leaders: dict[int, int], stops: dict[int, list[bytes]], prefix: str) -> None:
    """All at once: stop commands begin, and trees without one are ended. The others have a moment for theirs to work;
    what only a stop command reaches, a container, may take longer than our own processes."""
    time.sleep(GUARD_SETTLE)
    leaders = _still_recorded(leaders)
    stops = {pid: words for pid, words in stops.items() if pid in leaders}
    running = [command for command in map(run_stop, stops.values()) if command]
    began_at = time.monotonic()
    spared = [(pid, leaders[pid], words[0].decode()) for pid, words in stops.items()]
    _end_all({pid: start for pid, start in leaders.items() if pid not in stops}, prefix, spared)
    if spared:
        running = await_all(running, began_at + GUARD_HEAD_START)
        _end_all(leaders, prefix, [])
        finish(running, began_at + GUARD_STOP_PATIENCE)


def run_stop(words: list[bytes]) -> int:
    """Start a stop command in a group of its own; its pid, 0 when that did not work.

    The words: marker of the tree, directory, program, number of arguments, arguments, then what differs from our own
    environment. It does not carry the marker, or it would be ended with those that it ends.
    """
    _, directory, program, count = words[:4]
    argv = words[4:4 + int(count)]
    environ = {**os.environb, **dict(entry.split(b"=", 1) for entry in words[4 + int(count):])}
    try:    # noqa: SIM105 -- contextlib is not loaded in the guardian
        os.chdir(directory)
    except OSError:
        pass
    try:
        # What the guardian ignores (HUP, INT, TERM) and Python does (PIPE, XFSZ), its children would ignore as well.
        return os.posix_spawn(program, argv, environ, setpgroup=0, setsigdef=(1, 2, 13, 15, 25),
                              file_actions=[(os.POSIX_SPAWN_OPEN, 0, b"/dev/null", os.O_RDONLY, 0)])
    except OSError:
        return 0


def await_all(children: list[int], deadline: float) -> list[int]:
    """Until they have ended, or the deadline; those that are left."""
    while children and time.monotonic() < deadline:
        time.sleep(SWEEP_PAUSE)
        children = [child for child in children if not _has_ended(child)]
    return children


def finish(children: list[int], deadline: float) -> None:
    """Until they have ended; SIGKILL to the groups of those that have not by the deadline."""
    left = await_all(children, deadline)
    for child in left:
        _signal_group(child, SIGKILL)
    await_all(left, time.monotonic() + GUARD_HEAD_START)


def _has_ended(child: int) -> bool:
    try:
        return os.waitpid(child, os.WNOHANG)[0] != 0
    except OSError:
        return True


def _end_all(leaders: dict[int, int], prefix: str, spared: list[tuple[int, int, str]]) -> None:
    """SIGTERM, a short grace, SIGKILL. Graceful first: a container client can only pass on a signal it may handle."""
    def find() -> list[Process]:
        rows = find_tree(0, 0, prefix)
        for pid, start in _still_recorded(leaders).items():
            rows += find_tree(pid, start, "")
        kept = {row.pid for tree in spared for row in find_tree(*tree)}
        return [row for row in rows if row.pid not in kept]

    for pid in leaders:
        _signal_group(pid, SIGTERM)
    signal_all(find(), SIGTERM)
    deadline = time.monotonic() + GUARD_GRACE
    while time.monotonic() < deadline and (find() or _is_group_left(leaders)):
        time.sleep(SWEEP_PAUSE)
    for pid in _still_recorded(leaders):
        _signal_group(pid, SIGKILL)
    _kill_all(find, GUARD_PATIENCE)


def _still_recorded(leaders: dict[int, int]) -> dict[int, int]:
    """Without those whose pid is somebody else's by now: their parent is dead, so init has reaped them."""
    return {pid: start for pid, start in leaders.items() if not start or start_of(pid) in (0, start)}


def _is_group_left(leaders: dict[int, int]) -> bool:
    """Without /proc there is nothing else to ask; with it a zombie nobody reaps would keep us waiting."""
    return not start_of(os.getpid()) and any(_signal_group(pid, 0) for pid in leaders)


def _signal_group(pid: int, number: int) -> bool:
    try:
        os.killpg(pid, number)
    except OSError:
        return False
    return True


# --- reading ---

def read(path: str) -> bytes:
    """A whole file. Unbuffered: /proc answers a large read in one call, and io is slow for files this small."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        pieces: list[bytes] = []
        while True:
            piece = os.read(fd, 65536)
            if not piece:
                return b"".join(pieces)
            pieces.append(piece)
    finally:
        os.close(fd)


def _target(link: str) -> str:
    """Where a link of /proc points; empty when it is gone, as descriptors of a busy process are all the time."""
    try:
        return os.readlink(link)
    except OSError:
        return ""


def _namespace() -> str:
    return _target("/proc/self/ns/pid")[5:-1]
