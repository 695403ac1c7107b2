from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from typing import Any, Callable, List

import pytest

from llamaswap.runtime import probe as probing
from llamaswap.runtime import proctree
from llamaswap.runtime.probe import Port, Probe
from llamaswap.runtime.threads import spawn
from llamaswap.runtime.upstream import Endpoint

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
LOADING = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 7\r\n\r\nloading"

Answer = Callable[[socket.socket], Any]


@pytest.fixture(autouse=True)
def nothing_left():
    def counts() -> Any:
        return threading.active_count(), len(os.listdir("/proc/self/fd"))

    before = counts()
    yield
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and any(now > then for now, then in zip(counts(), before)):
        time.sleep(0.01)
    assert all(now <= then for now, then in zip(counts(), before)), (before, counts(), threading.enumerate())


class Server:
    """Answers request N with answers[N], the last one for ever. Bytes are sent, a callable gets the socket."""

    def __init__(self, *answers: Any, host: str = "127.0.0.1") -> None:
        self.answers = answers
        self.heads: List[bytes] = []
        self.connections = 0
        self._socks: List[socket.socket] = []
        self.sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.sock.bind((host, 0))
        self.port = self.sock.getsockname()[1]

    def __enter__(self) -> Server:
        self.sock.listen()
        self._acceptor = spawn("server", self._accept)
        return self

    def __exit__(self, *_: Any) -> None:
        with suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        # order: join first. A connection accepted at this moment would otherwise be closed by nobody.
        self._acceptor.join(5)
        for sock in [self.sock, *self._socks]:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self.sock.accept()
            except OSError:
                return
            self.connections += 1
            self._socks.append(sock)
            spawn("serve", self._serve, sock)

    def _serve(self, sock: socket.socket) -> None:
        try:
            while True:
                head = sock.recv(65536)
                if not head:
                    return
                self.heads.append(head)
                answer = self.answers[min(len(self.heads), len(self.answers)) - 1]
                if callable(answer):
                    answer(sock)
                else:
                    sock.send(answer)
        except OSError:
            return


def closing(answer: bytes) -> Answer:
    def run(sock: socket.socket) -> None:
        sock.send(answer)
        sock.shutdown(socket.SHUT_RDWR)
    return run


def make(port: int, check: str = "/health", *, timeout: float = 10.0, base: str = "", host: str = "127.0.0.1",
         **more: Any) -> Probe:
    endpoint = Endpoint.parse(f"http://{host}:{port}{base}")
    return Probe(endpoint, check, deadline=time.monotonic() + timeout, **more)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


# --- readiness ---

def test_ready_at_once_costs_one_request():
    with Server(OK) as server:
        assert make(server.port).run().is_ready
        assert server.connections == len(server.heads) == 1


def test_the_request_is_well_formed_and_goes_below_the_base_path():
    with Server(OK) as server:
        assert make(server.port, "/deep/health?a=%20b", base="/base/").run().is_ready
        lines = server.heads[0].split(b"\r\n")
    assert lines[0] == b"GET /base/deep/health?a=%20b HTTP/1.1"
    assert b"Host: 127.0.0.1:%d" % server.port in lines
    assert lines[-2:] == [b"", b""]


def test_the_host_of_an_absolute_check_endpoint_is_ignored():
    with Server(OK) as server:
        assert make(server.port, "http://elsewhere:1/health").run().is_ready
        assert server.heads[0].startswith(b"GET /health HTTP/1.1\r\n")


@pytest.mark.parametrize("endpoint, base, target", [
    ("health", "", b"/health"), ("health", "/v1", b"/v1/health"), ("health", "/v1/", b"/v1/health"), ("", "", b"/"),
    ("", "/v1", b"/v1/"), ("?a=b", "", b"/?a=b"), ("http://elsewhere", "", b"/"), ("http://elsewhere?a", "", b"/?a"),
    ("/health?of=http://x/y", "", b"/health?of=http://x/y")])
def test_there_is_always_a_path(endpoint, base, target):
    with Server(OK) as server:
        assert make(server.port, endpoint, base=base).run().is_ready
        assert server.heads[0].startswith(b"GET " + target + b" HTTP/1.1\r\n")


def test_503_until_200_over_one_connection():
    with Server(*[LOADING] * 5, OK) as server:
        assert make(server.port).run().is_ready
        assert (len(server.heads), server.connections) == (6, 1)


@pytest.mark.parametrize("answer", [
    b"HTTP/1.1 204 No Content\r\n\r\n", b"HTTP/1.1 301 Moved\r\nLocation: /\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 500 Oops\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"HTTP/1.0 404 Not Found\r\n\r\nno",
    b"HTTP/1.1 2000 Odd\r\nContent-Length: 99999999\r\n\r\n", b"HTTP/1.1 xyz\r\n\r\n", b"SSH-2.0-OpenSSH\r\n",
    b"HTTP/1.1 503 Cut\r\nContent-Length: 10\r\nConnection: close\r\n\r\n", closing(b"HTTP/1.1 5"), closing(b""),
])
def test_nothing_but_200_counts(answer):
    with Server(answer, answer, closing(OK)) as server:
        assert make(server.port).run().is_ready
        assert len(server.heads) == 3


def test_a_server_that_closes_kept_connections_is_no_trouble():
    with Server(closing(LOADING), closing(LOADING), closing(OK)) as server:
        assert make(server.port).run().is_ready


def test_refused_until_the_port_opens():
    server = Server(OK)                 # bound, so that nobody else gets the port, but not listening yet
    outcomes: List[Any] = []
    thread = spawn("probe", lambda: outcomes.append(make(server.port).run()))
    time.sleep(0.1)
    assert not outcomes
    with server:
        thread.join(5)
        assert outcomes and outcomes[0].is_ready


def test_localhost_finds_the_family_that_listens(monkeypatch):
    def both(host: str, port: int, **_: Any) -> Any:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)),
                (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", port, 0, 0))]

    monkeypatch.setattr(probing.socket, "getaddrinfo", both)
    with Server(OK, host="::1") as server:
        assert make(server.port, host="localhost").run().is_ready


def test_a_host_that_is_no_name_is_refused():
    assert "refuses connections" in make(1, timeout=0.1, host="x" * 70 + ".invalid").run().fault


def test_none_waits_until_the_port_accepts():
    with Server(OK) as server:
        assert make(server.port, " none ").run().is_ready
        assert server.heads == []
    outcome = make(free_port(), "none", timeout=0.2).run()
    assert not outcome.is_ready and "did not open" in outcome.fault


def test_a_silent_server_stalls_one_probe_only(monkeypatch):
    monkeypatch.setattr(probing, "FIRST_PATIENCE", 0.1)
    with Server(lambda sock: None, OK) as server:
        assert make(server.port).run().is_ready
        assert server.connections == 2


def test_a_slow_health_check_is_slow_and_not_dead(monkeypatch):
    monkeypatch.setattr(probing, "FIRST_PATIENCE", 0.05)
    with Server(lambda sock: (time.sleep(0.3), sock.send(OK))) as server:
        assert make(server.port).run().is_ready


def test_a_trickling_answer_ends_with_its_time(monkeypatch):
    def trickle(sock: socket.socket) -> None:
        for byte in b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100:
            sock.send(bytes([byte]))
            time.sleep(0.02)

    monkeypatch.setattr(probing, "FIRST_PATIENCE", 0.1)
    with Server(trickle, OK) as server:
        assert make(server.port).run().is_ready


@pytest.mark.parametrize(("answer", "words"), [(LOADING, "last status 503"), (lambda sock: None, "no answer")])
def test_the_deadline_ends_it_with_what_was_last_seen(answer, words):
    with Server(answer) as server:
        began_at = time.monotonic()
        outcome = make(server.port, timeout=0.3).run()
        assert 0.25 < time.monotonic() - began_at < 3
    assert not outcome.is_ready and words in outcome.fault and str(server.port) in outcome.fault


def test_the_deadline_of_a_port_that_never_opens():
    assert "refuses connections" in make(free_port(), timeout=0.2).run().fault


@pytest.mark.parametrize("answers", [(lambda sock: None,), (LOADING,), ()])
def test_abort_ends_it_wherever_it_waits(answers):
    with Server(*answers) as server:
        probe = make(server.port if answers else free_port(), timeout=60)
        outcomes: List[Any] = []
        thread = spawn("probe", lambda: outcomes.append(probe.run()))
        time.sleep(0.15)
        probe.abort()
        thread.join(0.9)        # less than the patience of a single probe
        assert outcomes and not outcomes[0].is_ready and outcomes[0].fault == ""


def test_aborted_before_it_began():
    probe = make(free_port())
    probe.abort()
    assert probe.run() == probing.Outcome()


def test_a_fault_of_the_owner_is_no_readiness():
    with Server(OK) as server:
        outcome = make(server.port, find_fault=lambda: "a stranger").run()
    assert outcome == probing.Outcome(False, "a stranger")


def test_pauses_grow_but_never_into_lateness():
    seconds = [0.01 * at for at in range(60_000)]
    for is_answered, limit in ((False, 0.03), (True, 0.05)):
        pauses = [probing._pause(elapsed, is_answered=is_answered) for elapsed in seconds]
        assert pauses == sorted(pauses) and max(pauses) == limit
    assert probing._pause(0.0, is_answered=False) <= 0.005


# --- ports ---

def test_a_free_port_is_not_taken():
    port = Port("127.0.0.1", free_port())
    assert not port.is_taken() and port.holder() is None


@pytest.mark.parametrize(("listener", "host", "is_taken"), [
    ("127.0.0.1", "127.0.0.1", True), ("127.0.0.1", "localhost", True), ("0.0.0.0", "127.0.0.1", True),
    ("::1", "localhost", True), ("::1", "::1", True), ("::", "127.0.0.1", True), ("127.0.0.2", "127.0.0.1", False),
    ("::1", "127.0.0.1", False), ("127.0.0.1", "192.0.2.1", False), ("127.0.0.1", "somewhere.invalid", False),
])
def test_who_would_answer(listener, host, is_taken):
    with Server(OK, host=listener) as server:
        port = Port(host, server.port)
        assert port.is_taken() == is_taken
        if is_taken:
            assert port.holder().pid == os.getpid()
            fault = port.taken_fault(port.holder())
            assert f"port {server.port} " in fault and f"pid {os.getpid()} " in fault


def test_both_ways_to_list_listeners_agree():
    for host in ("127.0.0.1", "::1", "0.0.0.0", "::"):
        with Server(OK, host=host) as server:
            assert list(probing._listening_by_netlink(server.port)) == list(probing._listening_by_proc(server.port))


def test_without_netlink_and_proc_a_connection_tells(monkeypatch):
    monkeypatch.delattr(probing.socket, "AF_NETLINK")
    monkeypatch.setattr(probing.os.path, "exists", lambda path: False)
    with Server(OK, host="::1") as server:
        port = Port("localhost", server.port)
        assert port.is_taken()
        assert port.holder() is None
        assert port.stranger_fault(os.getpid(), 0, "") == ""
    assert not port.is_taken()


def test_our_own_listener_is_no_stranger():
    with Server(OK) as server:
        assert Port("127.0.0.1", server.port).stranger_fault(os.getpid(), 0, "") == ""


def test_a_listener_of_the_tree_is_no_stranger():
    code = "import socket, sys, time; s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen(); " \
           "print(s.getsockname()[1], flush=True); time.sleep(60)"
    process = subprocess.Popen(["sh", "-c", '"$0" -S -c "$1" & wait', sys.executable, code],
                               stdout=subprocess.PIPE, start_new_session=True)
    start = proctree.start_of(process.pid)
    other = subprocess.Popen(["sleep", "60"], start_new_session=True)
    try:
        number = int(process.stdout.readline())
        port = Port("127.0.0.1", number)
        assert port.stranger_fault(process.pid, start, "") == ""
        assert "which is not the model" in port.stranger_fault(other.pid, start, "nobody-1")
    finally:
        other.kill()
        other.wait(5)
        proctree.kill_tree(process.pid, start, "", 5.0)
        process.stdout.close()
        process.wait(5)


@pytest.mark.parametrize(("age", "markers", "cgroup", "is_stranger"), [
    (1, [], b"0::/docker/x", False),        # started after the model, in a control group of its own: a container
    (-1, [], b"0::/docker/x", True), (1, ["other-1"], b"0::/docker/x", True), (1, [], b"0::/ours", True),
])
def test_a_container_is_not_a_stranger(monkeypatch, age, markers, cgroup, is_stranger):
    holder = proctree.Process(999, 1, 999, 999, 100 + age, "S")
    monkeypatch.setattr(proctree, "markers_of", lambda pid: markers)
    monkeypatch.setattr(proctree, "cgroup_of", lambda pid: b"0::/ours" if pid == os.getpid() else cgroup)
    assert probing._is_stranger(holder, 100) == is_stranger
