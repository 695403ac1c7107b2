"""Real processes: start a model, watch it, end it with everything it has started.

One generation of a model is one Running and four short-lived roles:
  wait-<model>   owns the generation from the first look at the port to the last report. It starts the process, then
                 blocks in waitid without reaping. When the leader has exited it ends the rest of the tree, reaps, waits
                 until the port is free and reports on_exit, which is the only source of "it is gone".
  log-<model>    drains the merged output into the log book. Its end of file proves nothing: a grandchild may hold the
                 pipe for ever, and a program may close it and go on.
  probe-<model>  asks until the model is ready, then reports on_ready and ends.
  stop-<model>   runs the stop command, or sends SIGTERM, and ends.

Order at the end, which every path takes, also a failed start: leader exited -> the rest gets what is left of the grace
-> SIGKILL to the tree, found as in proctree.py, while the zombie still holds the pid -> guardian told -> reaped ->
output drained, pipe closed -> port free (bounded) -> probe and stop threads gone -> on_exit.

Deadlines belong to the scheduler: it calls stop(grace), and kill() when the grace is over. The grace is only known here
to decide how long a stop command and a tree without its leader may take.
"""
from __future__ import annotations

import itertools
import logging
import os
import select
import signal
import subprocess
import threading
import time
from typing import IO, Any, Callable, Dict, List, Mapping, Optional, Protocol, Tuple

from llamaswap.core.command import Split, split
from llamaswap.core.config import Model
from llamaswap.core.faults import Fault
from llamaswap.core.reasons import never_starts
from llamaswap.runtime import proctree
from llamaswap.runtime.guardian import Guardian
from llamaswap.runtime.logs import LogBook
from llamaswap.runtime.probe import Port, Probe, shares_cgroup
from llamaswap.runtime.threads import spawn
from llamaswap.runtime.upstream import Endpoint

log = logging.getLogger(__name__)

CRASH_GRACE = 0.2           # for the rest of a tree whose leader went by itself: a crash has to be known within 0.3 s
STOP_COMMAND_SHARE = 0.75   # of the grace; the rest belongs to the SIGTERM that follows a stop command out of time
STOP_COMMAND_TAIL = 0.5     # `docker stop` returns a moment after the container it stopped
SWEEP_PATIENCE = 5.0        # for SIGKILL to take effect; only a process stuck in a driver needs more than moments
DRAIN_PATIENCE = 0.1        # for output that is still in the pipe when nobody of the tree is left to write it
PORT_PATIENCE = 2.0         # for a port to be free after its process is gone
OWN_PORT_PATIENCE = 1.0     # the same, before a start, when the holder may be one of ours on its way out
JOIN_PATIENCE = 1.0
FIRST_PAUSE, LAST_PAUSE = 0.005, 0.05
TAIL_BYTES = 8 * 1024


class Reports(Protocol):
    """Called from `wait-` and `probe-` threads, each at most once per start; on_exit exactly once, and last."""

    def on_ready(self, model_id: str, gen: int) -> None: ...

    def on_exit(self, model_id: str, gen: int, code: Optional[int], why: str) -> None: ...

    def on_start_failed(self, model_id: str, gen: int, why: str) -> None:
        """When a process exists (a stranger on the port, a health check out of time) the receiver has to stop it."""


class Launcher:
    """Makes generations. Without a guardian everything works except dying with a killed llamaswap."""

    def __init__(self, *, logs: LogBook, environ: Mapping[str, str], guardian: Optional[Guardian] = None,
                 pool_factory: Optional[Callable[[Model], Any]] = None) -> None:
        self.logs = logs
        self.environ = dict(environ)
        self.guardian = guardian
        self.make_pool = pool_factory
        self._program = guardian.program if guardian else proctree.program_id()
        self._numbers = itertools.count(1)      # next() on it is atomic

    def start(self, model: Model, gen: int, reports: Reports) -> Running:
        """Returns at once; everything that follows arrives at `reports`."""
        self.logs.begin_run(model.id, gen)
        running = Running(model, gen, launcher=self, reports=reports, tree=f"{self._program}-{next(self._numbers)}")
        spawn(f"wait-{model.id}", running.live)
        return running

    def is_own_tree(self, tree: str) -> bool:
        return tree.startswith(self._program + "-")


class Running:
    """One generation. `pid` is None until the process exists; `pool` is open from then until the leader has exited.

    `_lock` is a leaf. It orders signals against the reaping that frees the pid, and stop() against the start.
    """

    def __init__(self, model: Model, gen: int, *, launcher: Launcher, reports: Reports, tree: str) -> None:
        self.model = model
        self.generation = gen
        self.started_at: Optional[float] = None
        self.exit_code: Optional[int] = None
        self.endpoint: Optional[Endpoint] = None
        self.pool: Any = None
        self.is_ready = False
        self._launcher = launcher
        self._reports = reports
        self._tree = tree
        self._environ = _environment(launcher.environ, model.env, tree)
        self._lock = threading.Lock()
        self._leader: Optional[subprocess.Popen[bytes]] = None
        self._start = 0                                 # the leader's, in clock ticks
        self._is_over = False                           # the leader has exited; its pid is still held
        self._is_reaped = False
        self._stop_deadline: Optional[float] = None
        self._hurry = threading.Event()                 # killed: no more grace for anybody
        self._stop_command: Optional[subprocess.Popen[bytes]] = None
        self._port = Port("", 0)                        # a place nobody can listen on, until the real one is known
        self._probe: Optional[Probe] = None
        self._probed_at = 0.0
        self._latch = (-1, -1)                          # closing the second end tells the pumps that the tree is gone
        self._threads: Dict[str, threading.Thread] = {}
        self._tail = b""

    def __repr__(self) -> str:
        state = "reaped" if self._is_reaped else "over" if self._is_over else "ready" if self.is_ready else "starting"
        return f"Running({self.model.id!r}, gen={self.generation}, pid={self.pid}, {state})"

    # --- for the registry, any thread, never blocking ---

    @property
    def pid(self) -> Optional[int]:
        leader = self._leader
        return leader.pid if leader else None

    def stop(self, grace: float) -> None:
        """Ask the whole tree to end. A second call can only shorten the grace."""
        with self._lock:
            deadline = time.monotonic() + grace
            is_first = self._stop_deadline is None
            if self._stop_deadline is None or deadline < self._stop_deadline:
                self._stop_deadline = deadline
            is_running = self._leader is not None and not self._is_over
        if is_first and is_running:
            self._begin_stop()

    def kill(self) -> None:
        """SIGKILL now; what has left the group follows as soon as the leader is gone."""
        with self._lock:
            self._stop_deadline = time.monotonic()
        self._hurry.set()
        self._signal_group(signal.SIGKILL)

    def adopt(self, model: Model) -> None:
        """Its limits apply from now on. `_prepare` and `_begin_probe` write and read in the opposite order, so what is
        made at the same moment gets them, too."""
        self.model = model
        if self.pool is not None:
            self.pool.timeouts = model.timeouts
        if self._probe is not None:
            self._probe.deadline = self._probed_at + model.health_check_timeout

    def tail(self, n: int = 20) -> str:
        """The last `n` lines this generation has written."""
        return "\n".join(self._tail.decode("utf-8", "replace").splitlines()[-n:])

    # --- thread wait-<model> ---

    def live(self) -> None:
        why = "llamaswap itself failed; see its log"
        try:
            why = self._live()
        finally:
            # Whatever went wrong above: a model that is never reported gone can never be started again.
            self._give_up()
            self._launcher.logs.end_run(self.model.id, self.generation, _with_code(why, self.exit_code))
            self._reports.on_exit(self.model.id, self.generation, self.exit_code, why)

    def _live(self) -> str:
        fault = self._prepare()
        if fault:
            self._fail(fault)
            return fault
        if self._hurry.is_set() or self._stop_deadline is not None:
            self._close_pool()
            return "stopped before it was started"
        leader, fault = self._launch()
        if leader is None:
            self._close_pool()
            self._fail(fault)
            return fault
        # scar: not by the end of its output, which a grandchild held for 10 s more (test_a_crash_is_known_soon...).
        _wait_unreaped(leader)
        with self._lock:
            self._is_over = True
            was_ready, was_stopped = self.is_ready, self._stop_deadline is not None
        if self._probe is not None:
            self._probe.abort()
        self._close_pool()
        self._end_tree(leader, was_stopped=was_stopped)
        if was_ready and not was_stopped:
            self._end_container()
        self._reap(leader)
        why = _ending(self.exit_code, was_ready=was_ready, was_stopped=was_stopped)
        if not was_ready and not was_stopped:
            return self._blame_port(why)
        return why

    def _prepare(self) -> str:
        """What stands in the way of a start; "" when nothing does."""
        model = self.model
        fault_text = never_starts(model)
        if fault_text:
            return fault_text
        try:
            self.endpoint = Endpoint.parse(model.proxy)
        except Fault as fault:
            return f"cannot start: {fault}"
        self._port = Port(self.endpoint.host, self.endpoint.port)
        fault_text = self._claim_port()
        if not fault_text and self._launcher.make_pool is not None:
            self.pool = self._launcher.make_pool(model)
            self.pool.timeouts = self.model.timeouts
        return fault_text

    def _claim_port(self) -> str:
        """Nobody may listen there before we start, or their 200 would be taken for ours.

        A stranger is an error at once. One of ours, dying, gets a moment, and so does what may be a container of ours.
        What a killed llamaswap left behind is ended (test_what_a_killed_program_left_on_the_port_is_ended).
        """
        deadline = time.monotonic() + OWN_PORT_PATIENCE
        while self._port.is_taken() and not self._hurry.is_set():
            holder = self._port.holder()
            trees = proctree.markers_of(holder.pid) if holder else []
            orphaned = [tree for tree in trees if proctree.is_program_gone(tree)]
            for tree in orphaned:
                log.warning("%s: ending what an earlier run left on port %d", self.model.id, self._port.number)
                proctree.kill_tree(0, 0, tree, OWN_PORT_PATIENCE)
            is_passing = bool(orphaned) or any(map(self._launcher.is_own_tree, trees)) or not shares_cgroup(holder)
            if not is_passing or time.monotonic() >= deadline:
                return self._port.taken_fault(holder)
            self._hurry.wait(FIRST_PAUSE)
        return ""

    def _launch(self) -> Tuple[Optional[subprocess.Popen[bytes]], str]:
        argv = list(self.model.argv)
        try:
            self._latch = os.pipe()
            leader = _popen(argv, self._environ)
        except (OSError, ValueError) as error:          # ValueError: a NUL byte in the command or the environment
            self._close_latch()
            return None, f"failed to start command {argv[0]!r}: {error}"
        self.started_at = time.monotonic()
        self._start = proctree.start_of(leader.pid)
        with self._lock:
            self._leader = leader
            is_unwanted = self._stop_deadline is not None
        # Late is early enough: the guardian knows the marker, so it would find the tree without being told.
        if self._launcher.guardian is not None:
            self._launcher.guardian.watch(leader.pid, self._start, stop=self._stop_line().argv, environ=self._environ)
        log.info("%s: started pid %d (generation %d)", self.model.id, leader.pid, self.generation)
        assert leader.stdout is not None
        self._spawn("log", self._pump, leader.stdout, self._latch[0])
        if self._hurry.is_set():
            self._signal_group(signal.SIGKILL)
        elif is_unwanted:
            self._begin_stop()
        else:
            self._begin_probe(leader.pid)
        return leader, ""

    # --- the end of a tree; wait-<model> ---

    def _end_tree(self, leader: subprocess.Popen[bytes], *, was_stopped: bool) -> None:
        """The rest gets what is left of the grace: a wrapper may die first while its server still saves its state."""
        rest = self._rest()
        if rest and not was_stopped:
            # Nobody has asked these yet. A wrapper that leaves its server behind has, by definition, ended the model.
            with self._lock:
                self._stop_deadline = time.monotonic() + CRASH_GRACE
            self._signal_group(signal.SIGTERM)
            proctree.signal_all(rest, signal.SIGTERM)
        pause = FIRST_PAUSE
        while rest or self._is_held_open():
            left = (self._stop_deadline or 0.0) - time.monotonic()
            if left <= 0 or self._hurry.wait(min(pause, left)):
                break
            pause = min(2 * pause, LAST_PAUSE)
            rest = self._rest()
        # The stop thread uses the pid, which is held until the reaping below.
        self._join("stop", min(STOP_COMMAND_TAIL, max(0.0, (self._stop_deadline or 0.0) - time.monotonic())))
        # scar: what outlives its leader keeps memory and port (test_a_grandchild_that_outlives_the_grace_is_swept).
        self._signal_group(signal.SIGKILL)
        stuck = proctree.kill_tree(leader.pid, self._start, self._tree, SWEEP_PATIENCE)
        if stuck:
            log.error("%s: SIGKILL has no effect on %s", self.model.id, stuck)

    def _end_container(self) -> None:
        """It is no child of ours, so it outlives the client that started it (killed for its memory, say), and so would
        its hold on the port: no later start could succeed."""
        if not self.model.cmd_stop or self._hurry.is_set() or not self._port.is_taken():
            return
        log.warning("%s: its port is still in use; running cmdStop", self.model.id)
        with self._lock:
            self._stop_deadline = time.monotonic() + self.model.unload_timeout
        self._run_stop_command()

    def _rest(self) -> List[proctree.Process]:
        """The tree without the stop command, which is ours and not the model's."""
        command = self._stop_command
        own = command.pid if command else -1
        rows = proctree.find_tree(self.pid or 0, self._start, self._tree)
        return [row for row in rows if row.sid != own]

    def _is_held_open(self) -> bool:
        """Without /proc the pipe is the best hint that somebody of the tree is left; the grace bounds it."""
        return not self._start and self._stop_deadline is not None and self._threads["log"].is_alive()

    def _reap(self, leader: subprocess.Popen[bytes]) -> None:
        if self._launcher.guardian is not None:
            self._launcher.guardian.forget(leader.pid)      # order: before the pid can belong to somebody else
        with self._lock:
            self._is_reaped = True
            leader.wait()
        self.exit_code = leader.returncode
        self._close_latch()
        self._await_free_port()
        # order: before on_exit. A late on_ready of this generation must not follow it.
        self._join("probe", JOIN_PATIENCE)
        self._join("stop", JOIN_PATIENCE)

    def _close_latch(self) -> None:
        """The pumps see the hang-up and end, EOF or not."""
        reading, writing = self._latch
        if writing < 0:
            return                          # no descriptor was to be had, so nothing was started either
        os.close(writing)
        if self._join("log", DRAIN_PATIENCE + JOIN_PATIENCE):
            os.close(reading)

    def _give_up(self) -> None:
        """Nothing to do in an ordinary life; after a failure of ours (no thread to be had, say) nothing may live on."""
        leader = self._leader
        if leader is None or self._is_reaped:
            return
        self._signal_group(signal.SIGKILL)
        proctree.kill_tree(leader.pid, self._start, self._tree, SWEEP_PATIENCE)
        self._reap(leader)

    def _await_free_port(self) -> None:
        deadline = time.monotonic() + PORT_PATIENCE
        pause = FIRST_PAUSE
        while self._port.is_taken() and time.monotonic() < deadline:
            # The leader is reaped, so its pid (0 instead) says nothing any more. A stranger here is why the start
            # failed, and will stay; anything else is a container about to go.
            if not self.is_ready and self._port.stranger_fault(0, self._start, self._tree):
                return
            time.sleep(pause)
            pause = min(2 * pause, LAST_PAUSE)

    def _blame_port(self, why: str) -> str:
        """A server that lost the race for its port says so only in its log."""
        holder = self._port.holder()
        return f"{why}; {self._port.taken_fault(holder)}" if holder is not None else why

    def _close_pool(self) -> None:
        if self.pool is not None:
            self.pool.close()

    def _fail(self, why: str) -> None:
        self._reports.on_start_failed(self.model.id, self.generation, why)

    # --- thread log-<model> ---

    def _pump(self, pipe: IO[bytes], latch: int) -> None:
        """Until EOF. Once the tree is gone (the latch hangs up), only what is still in the pipe, for a moment."""
        deadline = 0.0
        poller = select.poll()
        poller.register(pipe.fileno(), select.POLLIN)
        poller.register(latch, 0)                           # POLLHUP is reported without being asked for
        with pipe:
            while True:
                ready = dict(poller.poll())
                if latch in ready and not deadline:
                    deadline = time.monotonic() + DRAIN_PATIENCE
                data = os.read(pipe.fileno(), 65536) if pipe.fileno() in ready else b""
                if not data or (deadline and time.monotonic() >= deadline):
                    return
                self._launcher.logs.add_model_output(self.model.id, data)
                self._tail = (self._tail + data)[-TAIL_BYTES:]

    # --- thread probe-<model> ---

    def _begin_probe(self, leader: int) -> None:
        assert self.endpoint is not None
        self._probed_at = time.monotonic()
        self._probe = Probe(self.endpoint, self.model.check_endpoint, deadline=self._probed_at,
                            find_fault=lambda: self._port.stranger_fault(leader, self._start, self._tree))
        self._probe.deadline = self._probed_at + self.model.health_check_timeout
        self._spawn("probe", self._await_ready, self._probe)

    def _await_ready(self, probe: Probe) -> None:
        outcome = probe.run()
        with self._lock:
            if self._is_over or self._stop_deadline is not None:
                return
            self.is_ready = outcome.is_ready
        # order: reported outside the lock; the wait thread joins this one before it reports on_exit.
        if outcome.is_ready:
            self._reports.on_ready(self.model.id, self.generation)
        elif outcome.fault:
            self._fail(outcome.fault)

    # --- thread stop-<model> ---

    def _begin_stop(self) -> None:
        if self._probe is not None:
            self._probe.abort()
        self._spawn("stop", self._ask_to_stop)

    def _ask_to_stop(self) -> None:
        if self._is_over or (self.model.cmd_stop and self._run_stop_command()):
            return
        self._signal_group(signal.SIGTERM)
        # Who has left the group does not hear a signal to it, yet may be the server itself (`setsid server &`;
        # test_a_daemonised_grandchild_is_asked_too).
        proctree.signal_all([row for row in self._rest() if row.pgid != self.pid], signal.SIGTERM)

    def _stop_line(self) -> Split:
        return split(self.model.cmd_stop.replace("${PID}", str(self.pid)))

    def _run_stop_command(self) -> bool:
        """True when it ran and exited with 0; then it is the model's business to end, and the scheduler's to wait."""
        parsed = self._stop_line()
        if parsed.error:
            log.warning("%s: cmdStop: %s; sending SIGTERM instead", self.model.id, parsed.error)
            return False
        try:
            command = _popen(list(parsed.argv), self._environ)
        except (OSError, ValueError) as error:
            log.warning("%s: cmdStop cannot run (%s); sending SIGTERM instead", self.model.id, error)
            return False
        # scar: a stop command that hung was left running; this one carries the marker and dies with the tree
        # (test_a_hung_stop_command_dies_with_the_model).
        self._stop_command = command
        assert command.stdout is not None
        spawn(f"log-{self.model.id}", self._pump, command.stdout, self._latch[0])
        timeout = max(0.0, ((self._stop_deadline or 0.0) - time.monotonic()) * STOP_COMMAND_SHARE)
        try:
            code = command.wait(timeout)    # polls, so up to 50 ms late: a stop can bear that
        except subprocess.TimeoutExpired:
            _kill_group(command)
            log.warning("%s: cmdStop is still running after %.1fs; sending SIGTERM instead", self.model.id, timeout)
            return False
        if code != 0:
            log.warning("%s: cmdStop failed with exit code %d; sending SIGTERM instead", self.model.id, code)
        return code == 0

    # --- shared ---

    def _signal_group(self, number: int) -> None:
        """ESRCH and EPERM change nothing: that a process is gone is reported by its `wait-` thread alone."""
        with self._lock:
            if self._leader is None or self._is_reaped:
                return
            try:
                os.killpg(self._leader.pid, number)
            except (ProcessLookupError, PermissionError) as error:
                log.debug("%s: signal %d: %s", self.model.id, number, error)

    def _spawn(self, role: str, run: Callable[..., None], *args: Any) -> None:
        self._threads[role] = spawn(f"{role}-{self.model.id}", run, *args)

    def _join(self, role: str, timeout: float) -> bool:
        """True when that thread is not running (any more)."""
        thread = self._threads.get(role)
        if thread is None:
            return True
        thread.join(timeout)
        return not thread.is_alive()


def _popen(argv: List[str], environ: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """No shell, no input, one pipe for both outputs so that their order is kept, a session of its own."""
    return subprocess.Popen(argv, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, bufsize=0, start_new_session=True)


def _environment(parent: Mapping[str, str], entries: Tuple[str, ...], tree: str) -> Dict[str, str]:
    """The parent's, then the model's entries in order, then the marker, which no model may overwrite."""
    environ = dict(parent)
    for entry in entries:
        name, equals, value = entry.partition("=")
        if name and equals:
            environ[name] = value
    environ[proctree.MARKER_NAME] = proctree.marker_value(parent.get(proctree.MARKER_NAME, ""), tree)
    return environ


def _wait_unreaped(leader: subprocess.Popen[bytes]) -> None:
    """Until it has exited. The zombie stays, and with it the certainty whom its pid and its group name."""
    if not hasattr(os, "waitid"):           # macOS before Python 3.13
        leader.wait()
        return
    try:
        os.waitid(os.P_PID, leader.pid, os.WEXITED | os.WNOWAIT)
    except ChildProcessError:
        log.debug("pid %d was reaped by somebody else (SIGCHLD ignored?)", leader.pid)


def _kill_group(command: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(command.pid, signal.SIGKILL)
    except ProcessLookupError:
        log.debug("the stop command had just ended")
    command.wait()


def _with_code(why: str, code: Optional[int]) -> str:
    return why if code is None or code < 0 else why.replace("exited", f"exited with code {code}", 1)


def _ending(code: Optional[int], *, was_ready: bool, was_stopped: bool) -> str:
    """Why it is gone, for people; the exit code travels beside it."""
    how = "exited"
    if code is not None and code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        how = f"was ended by {name}"
    if was_stopped:
        return f"{how} as asked"
    return f"{how} unexpectedly" if was_ready else f"{how} before it was ready"
