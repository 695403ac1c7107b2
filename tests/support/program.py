"""A whole llamaswap in a process of its own, with demo models, for tests that want the real thing.

    with run_program({"models": {"a": demo()}}) as program:
        assert program.ask("POST", "/v1/chat/completions", chat("a")).status == 200
"""
from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Union

from llamaswap.runtime.threads import spawn

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "llamaswap"]
# Started hundreds of times, so without the price of site-packages; llamaswap's own command line is tested elsewhere.
DEMO = f"{sys.executable} -S -m llamaswap.demo --port ${{PORT}} --name ${{MODEL_ID}}"
PATIENCE = 30.0      # catches hangs

Json = Dict[str, Any]
Body = Union[Json, bytes, None]


class Answer(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> Json:
        found: Json = self.json()["error"]
        return found

    def text(self) -> str:
        return self.body.decode()


def demo(*knobs: str, **fields: Any) -> Json:
    """A model entry whose server is the demo; `fields` are other keys of the entry."""
    return {"cmd": " ".join([DEMO, *knobs]), **fields}


def chat(model: str, text: str = "hello", **fields: Any) -> Json:
    return {"model": model, "messages": [{"role": "user", "content": text}], **fields}


def said(answer: Answer) -> str:
    assert answer.status == 200, answer
    return str(answer.json()["choices"][0]["message"]["content"])


def free_ports(count: int) -> int:
    """The first of `count` ports in a row. Below the range from which the system takes ports for outgoing
    connections, so that no client of another test gets one of them in between."""
    while True:
        first = random.randrange(12_000, 30_000)
        with contextlib.ExitStack() as stack:
            try:
                for port in range(first, first + count):
                    sock = stack.enter_context(socket.socket())
                    sock.bind(("127.0.0.1", port))
            except OSError:
                continue
            return first


def side_by_side(models: Json, **more: Any) -> Json:
    """A configuration in which no model excludes another."""
    groups = {"all": {"swap": False, "exclusive": False, "members": list(models)}}
    return {"models": models, "groups": groups, **more}


def await_true(question: Any, what: str = "", timeout: float = PATIENCE) -> Any:
    """The first true answer; fails when there is none in time."""
    deadline = time.monotonic() + timeout
    while True:
        found = question()
        if found:
            return found
        assert time.monotonic() < deadline, f"never true: {what or question}"
        time.sleep(0.01)


class Program:
    def __init__(self, arguments: List[str], *, env: Optional[Dict[str, str]] = None, cwd: Path = ROOT,
                 pass_fds: Any = (), command: Optional[List[str]] = None) -> None:
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        environ = {**os.environ, "PYTHONPATH": path, **(env or {})}
        self.process = subprocess.Popen([*(command or COMMAND), *arguments], cwd=cwd, env=environ,
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                        pass_fds=pass_fds, start_new_session=True)
        self.lines: List[str] = []
        self.port = self.admin_port = 0
        self.is_tls = "--tls-cert-file" in arguments
        self._changed = threading.Condition()
        self._reader = spawn("program-log", self._read)

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as pipe:
            for line in pipe:
                with self._changed:
                    self.lines.append(line.decode("utf-8", "replace").rstrip("\n"))
                    self._changed.notify_all()

    @property
    def log(self) -> str:
        with self._changed:
            return "\n".join(self.lines)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def wait_for(self, pattern: str, timeout: float = PATIENCE) -> re.Match[str]:
        deadline = time.monotonic() + timeout
        while True:
            is_over = not self._reader.is_alive()
            found = re.search(pattern, self.log)
            if found:
                return found
            if is_over or time.monotonic() > deadline:
                raise AssertionError(f"no {pattern!r} in the log:\n{self.log[-4000:]}")
            with self._changed:
                self._changed.wait(0.05)

    def wait_listening(self) -> None:
        self.port = int(self.wait_for(r"listening on https?://\S+:(\d+)")[1])
        found = re.search(r"management listening on http://\S+:(\d+)", self.log)
        self.admin_port = int(found[1]) if found else 0

    # --- talking to it

    def connect(self, *, admin: bool = False, timeout: float = PATIENCE) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.admin_port if admin else self.port, timeout=timeout)

    def ask(self, method: str, path: str, body: Body = None, headers: Optional[Dict[str, str]] = None, *,
            admin: bool = False, timeout: float = PATIENCE) -> Answer:
        with contextlib.closing(self.connect(admin=admin, timeout=timeout)) as connection:
            response = request(connection, method, path, body, headers)
            return Answer(response.status, response.headers, response.read())

    @contextlib.contextmanager
    def stream(self, method: str, path: str, body: Body = None,
               headers: Optional[Dict[str, str]] = None) -> Iterator[http.client.HTTPResponse]:
        """The answer as it comes; leaving the block hangs up."""
        with contextlib.closing(self.connect()) as connection:
            response = request(connection, method, path, body, headers)
            with contextlib.closing(response):
                yield response

    def open(self, raw: bytes) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)
        sock.sendall(raw)
        return sock

    def running(self) -> Dict[str, str]:
        return {row["model"]: row["state"] for row in self.ask("GET", "/running").json()["running"]}

    def pid_of(self, model: str) -> str:
        """Of the process that answers for this model now."""
        answer = self.ask("POST", "/v1/chat/completions", chat(model))
        assert answer.status == 200, answer
        return str(answer.headers["X-Demo-Pid"])

    # --- ending it

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def wait(self, timeout: float = PATIENCE) -> int:
        code = self.process.wait(timeout)
        self._reader.join(5)
        return code

    def stop(self) -> int:
        """SIGTERM, then SIGKILL; the exit code."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                return self.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.wait()
                raise AssertionError(f"did not stop:\n{self.log[-4000:]}") from None
        return self.wait()


def request(connection: http.client.HTTPConnection, method: str, path: str, body: Body = None,
            headers: Optional[Dict[str, str]] = None) -> http.client.HTTPResponse:
    fields = dict(headers or {})
    if isinstance(body, dict):
        body = json.dumps(body).encode()
        fields.setdefault("Content-Type", "application/json")
    connection.request(method, path, body, fields)
    return connection.getresponse()


def write_config(path: Path, config: Json, *, first_port: int = 0) -> Json:
    """JSON is YAML. Ports come from a free range unless the configuration says where from."""
    whole = {"startPort": first_port or free_ports(max(1, len(config.get("models", {})))), **config}
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps(whole), encoding="utf-8")
    temporary.replace(path)
    return whole


@contextlib.contextmanager
def run_program(config: Optional[Json], *arguments: str, directory: Optional[Path] = None, listening: bool = True,
                **options: Any) -> Iterator[Program]:
    """Running, listening on a free port unless told otherwise, and stopped at the end. None: no configuration."""
    with contextlib.ExitStack() as stack:
        if config is not None:
            folder = directory or Path(stack.enter_context(tempfile.TemporaryDirectory()))
            path = folder / "config.yaml"
            write_config(path, config)
            arguments = ("-c", str(path), *arguments)
        if "--listen" not in arguments and not options.get("pass_fds"):
            arguments = (*arguments, "--listen", "127.0.0.1:0")
        program = Program(list(arguments), **options)
        try:
            if listening:
                program.wait_listening()
            yield program
        finally:
            program.stop()


def is_alive(pid: int) -> bool:
    """Zombies are not: nobody may have reaped them yet."""
    try:
        stat = Path("/proc", str(pid), "stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def kill_quietly(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
