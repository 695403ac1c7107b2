"""The end of the program: who is served to the end, who is not waited for, and what must be gone afterwards."""
from __future__ import annotations

import contextlib
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Dict

import pytest

from tests.support.container import Container
from tests.support.program import (
    PATIENCE,
    await_true,
    chat,
    demo,
    is_alive,
    kill_quietly,
    run_program,
    said,
    side_by_side,
)

HANG = {"hang_mid_stream": 1}


def test_sigterm_lets_a_stream_finish():
    with run_program({"models": {"a": demo("--token-delay", "0.05")}}) as program:
        pid = int(program.pid_of("a"))
        with program.stream("GET", "/logs/stream") as log, \
                program.stream("POST", "/v1/chat/completions", chat("a", "x " * 20, stream=True)) as stream:
            stream.readline()
            program.signal(signal.SIGTERM)
            program.wait_for("received SIGTERM, shutting down")
            assert stream.read().endswith(b"data: [DONE]\n\n")
            assert b"listening on" in log.read()           # ended in order
            with pytest.raises(OSError):
                socket.create_connection(("127.0.0.1", program.port), timeout=2).close()
        assert program.wait() == 0 and not is_alive(pid)
        assert "shutdown complete" in program.log


def test_the_end_does_not_wait_for_a_websocket():
    """It may stay open for ever. Those who speak through one are cut after a moment, others are served to the end."""
    handshake = (b"GET /upstream/a/ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                 b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
    with run_program({"models": {"a": demo()}}) as program, program.open(handshake) as sock:
        assert sock.recv(65536).startswith(b"HTTP/1.1 101 ")
        began_at = time.monotonic()
        program.signal(signal.SIGTERM)
        assert program.wait(PATIENCE) == 0 and time.monotonic() - began_at < 20


def test_sigterm_serves_who_waits():
    models = {"a": demo("--prefill-delay", "1"), "b": demo("--startup-delay", "0.5")}
    with run_program({"models": models}) as program, ThreadPoolExecutor() as pool:
        program.pid_of("a")
        answers = [pool.submit(program.ask, "POST", "/v1/chat/completions", chat(name)) for name in ("a", "b", "b")]
        await_true(lambda: sum(row["in_flight"] + row["queued"] for row in
                               program.ask("GET", "/api/models").json()["models"]) == 3)
        program.signal(signal.SIGTERM)
        assert [answer.result(PATIENCE).status for answer in answers] == [200] * 3
        assert program.wait() == 0


def test_a_load_that_no_client_waits_for_does_not_delay_the_end():
    config = {"models": {"a": demo("--startup-delay", "60")}, "hooks": {"on_startup": {"preload": ["a"]}}}
    with run_program(config) as program:
        await_true(lambda: program.running() == {"a": "starting"})
        program.signal(signal.SIGTERM)
        assert program.wait(20) == 0


def test_a_second_signal_does_not_wait():
    with run_program({"models": {"a": demo("--ignore-sigterm")}}) as program:
        pid = int(program.pid_of("a"))
        with program.stream("POST", "/v1/chat/completions", chat("a", stream=True, demo=HANG)) as stream:
            stream.readline()
            program.signal(signal.SIGTERM)
            program.wait_for("received SIGTERM")
            program.signal(signal.SIGTERM)
            assert program.wait(5) == 1
        await_true(lambda: not is_alive(pid), timeout=2)


def test_nothing_survives_sigkill():
    def wrapped(*knobs: str) -> Dict[str, Any]:
        entry = demo(*knobs)
        return {**entry, "cmd": f"sh -c '{entry['cmd']} & wait'"}

    models = {"a": wrapped("--grandchild", "60"), "b": wrapped("--setsid-grandchild", "60"),
              "c": demo("--ignore-sigterm")}
    with run_program(side_by_side(models)) as program:
        pids = {int(program.pid_of(name)) for name in models}
        with program.stream("GET", "/logs/stream/upstream") as log:
            grandchildren = set()
            while len(grandchildren) < 2:
                line = log.readline()
                if line.startswith(b"grandchild "):
                    grandchildren.add(int(line.split()[1]))
        shells = {ppid for ppid in map(parent_of, pids) if ppid != program.process.pid}
        assert len(shells) == 2
        program.signal(signal.SIGKILL)
        program.wait()
        everybody = pids | grandchildren | shells
        await_true(lambda: not any(map(is_alive, everybody)), f"one of {everybody} lives", timeout=2)


def test_a_container_does_not_survive_sigkill(tmp_path):
    container, entry = Container(tmp_path), demo()
    model = {**entry, "cmd": f"sh -c '{container.launch}; exec {entry['cmd']}'", "cmdStop": container.stop,
             "env": ["WHERE=env", "EMPTY="]}
    with contextlib.ExitStack() as stack:
        stack.callback(container.remove)
        program = stack.enter_context(run_program({"models": {"boxed": model}}, directory=tmp_path))
        pid = int(program.pid_of("boxed"))
        assert is_alive(container.pid)
        program.signal(signal.SIGKILL)
        program.wait()
        await_true(lambda: not is_alive(container.pid) and not is_alive(pid), timeout=4)
    assert container.mark.read_text().startswith(f"{pid}||env|||")


def test_what_a_killed_control_group_left_is_ended_at_the_next_start(tmp_path):
    """As a service manager does it: everything is killed, the guardian first, and our directory is kept."""
    container, entry = Container(tmp_path), demo()
    model = {**entry, "cmd": f"sh -c '{container.launch}; exec {entry['cmd']}'", "cmdStop": container.stop}
    state = {"STATE_DIRECTORY": str(tmp_path)}
    with contextlib.ExitStack() as stack:
        stack.callback(container.remove)
        with run_program({"models": {"boxed": model}}, directory=tmp_path, env=state) as program:
            pid = int(program.pid_of("boxed"))
            program.signal(signal.SIGSTOP)      # so that no other guardian is made
            for each in [*children_of(program.process.pid), pid, program.process.pid]:
                kill_quietly(each)
            program.wait()
        await_true(lambda: not is_alive(pid))
        left = container.pid
        assert is_alive(left)
        with run_program(None, "-c", str(tmp_path / "config.yaml"), env=state) as program:
            assert not is_alive(left), "before the first request"
            assert said(program.ask("POST", "/v1/chat/completions", chat("boxed")))
            await_true(lambda: container.pid != left)
            assert is_alive(container.pid)
        assert not is_alive(container.pid) and not (tmp_path / "running.json").exists()


def children_of(pid: int) -> Any:
    numbers = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    return [number for number in numbers if parent_of(number) == pid]


def parent_of(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0
