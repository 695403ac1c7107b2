"""The program itself: start, reload, addresses, and the service manager. Its end is in test_shutdown."""
from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import sqlite3
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Dict, Iterator

import pytest

from llamaswap.runtime import watch
from tests.support.program import (
    COMMAND,
    PATIENCE,
    Program,
    await_true,
    chat,
    demo,
    free_ports,
    is_alive,
    run_program,
    said,
    side_by_side,
    write_config,
)

HANG = {"hang_mid_stream": 1}


@contextlib.contextmanager
def reloadable(directory: Path, models: Dict[str, Any], *arguments: str, **more: Any) -> Iterator[Any]:
    """A program and a function that rewrites its file; the ports stay where they are."""
    port = free_ports(8)
    path = directory / "config.yaml"

    def rewrite(models: Dict[str, Any], **more: Any) -> None:
        write_config(path, side_by_side(models, **more), first_port=port)

    rewrite(models, **more)
    with run_program(None, "-c", str(path), *arguments) as program:
        yield program, rewrite, path


# --- start -----------------------------------------------------------------------------------------------------------


def is_reachable(port: int) -> bool:
    with contextlib.suppress(ConnectionError):
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE).close()
        return True
    return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP] * 2)
def test_a_signal_counts_from_the_first_connection_on(number):
    port = free_ports(1)
    with run_program({"models": {}}, "--listen", f"127.0.0.1:{port}", listening=False) as program:
        await_true(lambda: is_reachable(port))
        program.signal(number)
        if number == signal.SIGHUP:
            program.wait_for("configuration reloaded")
        else:
            assert program.wait() == 0 and "shutdown complete" in program.log


# --- reload ------------------------------------------------------------------------------------------------------


def test_a_reload_touches_only_what_changed(tmp_path):
    models = {"a-same": demo("--token-delay", "0.05"), "b-changed": demo(), "c-removed": demo()}
    with reloadable(tmp_path, models) as (program, rewrite, _):
        before = {name: program.pid_of(name) for name in models}
        with program.stream("POST", "/v1/chat/completions", chat("a-same", "x " * 30, stream=True)) as stream:
            stream.readline()
            rewrite({"a-same": {**models["a-same"], "aliases": ["same"]}, "b-changed": demo("--tokens", "1"),
                     "d-new": demo()})
            program.signal(signal.SIGHUP)
            program.wait_for("configuration reloaded")
            assert program.pid_of("same") == before["a-same"]
            assert program.pid_of("b-changed") != before["b-changed"]
            assert program.ask("POST", "/v1/chat/completions", chat("c-removed")).status == 404
            assert said(program.ask("POST", "/v1/chat/completions", chat("d-new")))
            assert stream.read().endswith(b"data: [DONE]\n\n")
        await_true(lambda: not is_alive(int(before["b-changed"])) and not is_alive(int(before["c-removed"])))
        assert program.ask("POST", "/v1/chat/completions", chat("b-changed")).json()["usage"]["completion_tokens"] == 1


def test_a_new_name_before_the_others_moves_nobody(tmp_path):
    models = {"m": demo("--token-delay", "0.05"), "z": demo()}
    with reloadable(tmp_path, models) as (program, rewrite, _):
        before = {name: program.pid_of(name) for name in models}
        with program.stream("POST", "/v1/chat/completions", chat("m", "x " * 30, stream=True)) as stream:
            stream.readline()
            rewrite({"a": demo(), **models})
            program.signal(signal.SIGHUP)
            program.wait_for("configuration reloaded")
            assert said(program.ask("POST", "/v1/chat/completions", chat("a")))
            assert {name: program.pid_of(name) for name in models} == before
            # The next one may not come to where the removed one still is.
            rewrite({"b": demo(), "z": models["z"]})
            program.signal(signal.SIGHUP)
            await_true(lambda: program.log.count("configuration reloaded") == 2)
            rewrite({"c": demo(), "z": models["z"]})
            program.signal(signal.SIGHUP)
            await_true(lambda: program.log.count("configuration reloaded") == 3)
            assert said(program.ask("POST", "/v1/chat/completions", chat("c")))
            assert stream.read().endswith(b"data: [DONE]\n\n")
        assert program.pid_of("z") == before["z"]


def test_new_limits_apply_to_what_runs(tmp_path):
    slow = demo("--prefill-delay", "1.5")
    with reloadable(tmp_path, {"a": {**slow, "timeouts": {"responseHeader": 1}}}) as (program, rewrite, _):
        answer = program.ask("POST", "/v1/chat/completions", chat("a"))
        assert (answer.status, answer.error["code"]) == (504, "upstream_timeout")
        pid = program.ask("GET", "/upstream/a/health").headers["X-Demo-Pid"]
        rewrite({"a": slow})
        program.signal(signal.SIGHUP)
        program.wait_for("configuration reloaded")
        assert program.pid_of("a") == pid


def test_a_reload_may_part_models(tmp_path):
    models = {"a": demo("--token-delay", "0.05"), "b": demo()}
    first = free_ports(4)
    write_config(tmp_path / "config.yaml", side_by_side(models), first_port=first)
    with run_program(None, "-c", str(tmp_path / "config.yaml")) as program:
        program.pid_of("a")
        kept = program.pid_of("b")
        with program.stream("POST", "/v1/chat/completions", chat("a", "x " * 20, stream=True)) as stream:
            stream.readline()
            write_config(tmp_path / "config.yaml", {"models": models}, first_port=first)
            program.signal(signal.SIGHUP)
            program.wait_for("configuration reloaded")
            assert stream.read().endswith(b"data: [DONE]\n\n")
        await_true(lambda: program.running() == {"b": "ready"})
        assert program.pid_of("b") == kept


def test_a_reload_opens_another_store(tmp_path):
    models = {"a": demo()}

    def kept(name: str) -> int:
        with contextlib.closing(sqlite3.connect(tmp_path / name)) as db:
            return int(db.execute("SELECT count(*) FROM requests").fetchone()[0])

    with reloadable(tmp_path, models) as (program, rewrite, _):
        pid = program.pid_of("a")
        for reloads, name, rows in ((1, "one.db", 2), (2, "two.db", 1)):
            rewrite(models, store={"path": f" {tmp_path / name} "})
            program.signal(signal.SIGHUP)
            await_true(lambda reloads=reloads: program.log.count("configuration reloaded") == reloads)
            assert program.pid_of("a") == pid
            await_true(lambda rows=rows: program.ask("GET", "/api/metrics/activity").json()["total"] == rows)
    assert (kept("one.db"), kept("two.db")) == (2, 1)


def test_a_changed_model_finishes_its_stream_before_it_is_replaced(tmp_path):
    models = {"a": demo("--token-delay", "0.03")}
    with reloadable(tmp_path, models) as (program, rewrite, _):
        before = program.pid_of("a")
        with program.stream("POST", "/v1/chat/completions", chat("a", "x " * 20, stream=True)) as stream:
            stream.readline()
            rewrite({"a": demo("--tokens", "2")})
            program.signal(signal.SIGHUP)
            program.wait_for("configuration reloaded")
            assert program.pid_of("a") != before
            assert stream.read().endswith(b"data: [DONE]\n\n")


def listed(program: Program) -> Any:
    return {row["id"] for row in program.ask("GET", "/v1/models").json()["data"]}


def replace_by_pipe(path: Path) -> Path:
    """Whoever reads the configuration now waits until somebody writes it."""
    pipe = path.with_name("pipe")
    os.mkfifo(pipe)
    pipe.replace(path)
    return path


@contextlib.contextmanager
def reading(pipe: Path) -> Iterator[Any]:
    """Write to it; inside the block the reader has opened it and waits for its end."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            end = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
            break
        except OSError:     # nobody reads yet
            assert time.monotonic() < deadline, "the configuration was not read"
            time.sleep(0.01)
    with open(end, "w") as file:
        yield file


def test_signals_that_come_together_are_one_wish(tmp_path):
    with reloadable(tmp_path, {"a": demo("--token-delay", "0.02")}) as (program, rewrite, _):
        pid = program.pid_of("a")
        with program.stream("POST", "/v1/chat/completions", chat("a", "x " * 40, stream=True)) as stream:
            stream.readline()
            for number in range(20):
                rewrite({"a": demo("--token-delay", "0.02"), f"b{number}": demo()})
                program.signal(signal.SIGHUP)
            await_true(lambda: listed(program) == {"a", "b19"})
            assert stream.read().endswith(b"data: [DONE]\n\n")
        assert program.pid_of("a") == pid and said(program.ask("POST", "/v1/chat/completions", chat("b19")))
        assert "failed to reload" not in program.log


@pytest.mark.parametrize("arguments", [(), ("--watch-config",)], ids=["signal", "watched"])
def test_a_change_during_a_reload_is_not_lost(tmp_path, arguments):
    with reloadable(tmp_path, {"a": demo()}, *arguments) as (program, rewrite, path):
        pid = program.pid_of("a")
        rewrite({"a": demo(), "second": demo()})
        second = path.read_text()
        pipe = replace_by_pipe(path)
        kept = path.with_name("kept")
        os.link(pipe, kept)
        program.signal(signal.SIGHUP)
        with reading(kept) as file:
            # The reload is under way: it has the file open, and waits. Now comes the next change.
            rewrite({"a": demo(), "third": demo()})
            if arguments:
                time.sleep(4 * watch.INTERVAL)      # until it has been noticed
            else:
                for _ in range(3):
                    program.signal(signal.SIGHUP)
            assert said(program.ask("POST", "/v1/chat/completions", chat("a"))), "a reload holds nobody up"
            file.write(second)
        await_true(lambda: program.log.count("configuration reloaded") >= 2)
        await_true(lambda: listed(program) == {"a", "third"})
        assert program.pid_of("a") == pid


def test_an_end_during_a_reload_ends(tmp_path):
    with reloadable(tmp_path, {"a": demo()}) as (program, _, path):
        pid, text = int(program.pid_of("a")), path.read_text()
        program.signal(signal.SIGHUP)
        program.wait_for("configuration reloaded")
        pipe = replace_by_pipe(path)
        program.signal(signal.SIGHUP)
        with reading(pipe) as file:
            program.signal(signal.SIGHUP)
            program.signal(signal.SIGTERM)
            file.write(text)
            path.unlink()
        assert program.wait() == 0 and not is_alive(pid)


def test_a_broken_file_changes_nothing(tmp_path):
    with reloadable(tmp_path, {"a": demo()}) as (program, _, path):
        before = program.pid_of("a")
        path.write_text("models: {a: [")
        program.signal(signal.SIGHUP)
        program.wait_for("failed to reload config")
        assert program.pid_of("a") == before


def test_keys_and_the_active_profile_follow_a_reload(tmp_path):
    profiles = {"day": {"pins": {"best": "a"}}}
    with reloadable(tmp_path, {"a": demo()}, profiles=profiles) as (program, rewrite, _):
        program.ask("PUT", "/api/profiles/active", {"name": "day"})
        rewrite({"a": demo()}, profiles={"day": {"pins": {"finest": "a"}}}, apiKeys=["k"])
        program.signal(signal.SIGHUP)
        program.wait_for("configuration reloaded")
        assert program.ask("GET", "/v1/models").status == 401
        key = {"Authorization": "Bearer k"}
        assert program.ask("GET", "/api/profiles", headers=key).json()["active"] == "day"
        assert program.ask("POST", "/v1/chat/completions", chat("finest"), key).status == 200
        rewrite({"a": demo()})
        program.signal(signal.SIGHUP)
        await_true(lambda: program.log.count("configuration reloaded") == 2)
        assert program.ask("GET", "/api/profiles").json() == {"active": None, "profiles": []}


def test_the_file_is_watched_however_it_is_changed(tmp_path):
    def listed() -> Any:
        return {row["id"] for row in program.ask("GET", "/v1/models").json()["data"]}

    with reloadable(tmp_path, {"a": demo()}, "--watch-config") as (program, rewrite, path):
        pid = program.pid_of("a")
        rewrite({"a": demo(), "renamed-over": demo()})
        await_true(lambda: "renamed-over" in listed())

        text = path.read_text().replace("renamed-over", "written-into")
        path.write_text(text)
        await_true(lambda: "written-into" in listed())

        path.unlink()
        time.sleep(1.2)
        assert "failed to reload" not in program.log
        path.write_text(text.replace("written-into", "made-again"))
        await_true(lambda: "made-again" in listed())

        for name in ("first", "second"):
            (tmp_path / name).write_text(text.replace("written-into", name + "-link"))
        path.unlink()
        path.symlink_to("first")
        await_true(lambda: "first-link" in listed())
        (tmp_path / "next").symlink_to("second")
        (tmp_path / "next").replace(path)
        await_true(lambda: "second-link" in listed())
        assert program.pid_of("a") == pid


def test_a_directory_is_watched(tmp_path):
    port = free_ports(4)
    write_config(tmp_path / "one.yaml", {"models": {"a": demo()}}, first_port=port)
    with run_program(None, "--config-dir", str(tmp_path), "--watch-config") as program:
        (tmp_path / "two.yml").write_text(json.dumps({"models": {"b": demo()}}))
        await_true(lambda: program.ask("GET", "/v1/models/b").status == 200)
        (tmp_path / "two.yml").unlink()
        await_true(lambda: program.ask("GET", "/v1/models/b").status == 404)


def test_preload(tmp_path):
    models = {"a": demo(), "b": demo(), "c": demo()}
    with reloadable(tmp_path, models, hooks={"on_startup": {"preload": ["a"]}}) as (program, rewrite, _):
        await_true(lambda: program.running() == {"a": "ready"})
        rewrite(models, hooks={"on_startup": {"preload": ["a", "b"]}})
        program.signal(signal.SIGHUP)
        await_true(lambda: program.running() == {"a": "ready", "b": "ready"})


# --- addresses ---------------------------------------------------------------------------------------------------


def test_a_taken_address_is_reported_before_any_model_starts(tmp_path):
    marker = tmp_path / "started"
    config = {"models": {"a": {"cmd": f"touch {marker}", "proxy": "http://127.0.0.1:9"}},
              "hooks": {"on_startup": {"preload": ["a"]}}}
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        for arguments in (("--listen", address), ("--listen", "127.0.0.1:0", "--admin-listen", address)):
            with run_program(config, *arguments, listening=False) as program:
                assert program.wait() == 1
                assert f"cannot listen: {address}: " in program.log and "Traceback" not in program.log
    assert not marker.exists()


@pytest.mark.parametrize("arguments", [
    ("--listen", "nonsense"), ("--tls-cert-file", "/nowhere", "--tls-key-file", "/nowhere"),
    ("--admin-listen", "127.0.0.1:99999"),
])
def test_what_cannot_be_listened_on(arguments):
    with run_program({"models": {}}, *arguments, listening=False) as program:
        assert program.wait() == 1
        told = program.log.partition("llamaswap: cannot listen: ")[2]
        assert arguments[1] in told and "Traceback" not in program.log


def test_management_on_its_own_address():
    config = {"models": {"a": demo()}}
    with run_program(config, "--admin-listen", "127.0.0.1:0") as program:
        pid = program.pid_of("a")
        for method, path in (("GET", "/running"), ("GET", "/logs"), ("GET", "/ui/"), ("GET", "/"), ("GET", "/unload"),
                             ("POST", "/api/models/unload"), ("PUT", "/api/profiles/active")):
            assert program.ask(method, path, b"{}").status == 404, path
            assert program.ask(method, path, b'{"name": null}', admin=True).status < 400, path
        for path in ("/health", "/v1/models", "/v1/models/a"):
            assert program.ask("GET", path).status == 200
        assert program.ask("GET", "/health", admin=True).body == b"OK"
        assert program.ask("GET", "/v1/models", admin=True).json()["data"][0]["id"] == "a"
        for path in ("/v1/chat/completions", "/upstream/a/", "/nothing"):
            assert program.ask("POST", path, chat("a"), admin=True).status == 404
        assert program.pid_of("a") != pid      # unloaded from there
        assert program.ask("HEAD", "/logs/stream", admin=True, timeout=5).status == 200
        foreign = {"Origin": "http://page.example"}
        assert program.ask("POST", "/api/models/unload", b"", foreign, admin=True).status == 403
        own = {"Origin": f"http://127.0.0.1:{program.admin_port}"}
        assert program.ask("POST", "/api/models/unload", b"", own, admin=True).json() == {"msg": "ok"}
        with contextlib.closing(program.connect(admin=True)) as connection:
            connection.request("GET", "/logs/stream/a?no-history")
            stream = connection.getresponse()
            program.pid_of("a")
            assert b"demo model server" in stream.readline()
            program.signal(signal.SIGTERM)
            stream.read()
        assert program.wait() == 0
        assert "Traceback" not in program.log


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                    "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(folder / "key.pem"),
                    "-out", str(folder / "cert.pem")], check=True, capture_output=True, timeout=PATIENCE)
    return folder


def test_tls(certificate):
    files = ("--tls-cert-file", str(certificate / "cert.pem"), "--tls-key-file", str(certificate / "key.pem"))
    with run_program({"models": {"a": demo()}}, *files) as program:
        context = ssl.create_default_context(cafile=str(certificate / "cert.pem"))
        context.set_alpn_protocols(["h2", "http/1.1"])
        body = json.dumps(chat("a", stream=True)).encode()
        with socket.create_connection(("127.0.0.1", program.port), timeout=PATIENCE) as plain, \
                context.wrap_socket(plain, server_hostname="127.0.0.1") as sock:
            assert sock.selected_alpn_protocol() == "http/1.1"
            sock.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                         b"Content-Length: %d\r\n\r\n" % len(body) + body)
            found = b""
            while not found.endswith(b"0\r\n\r\n"):
                piece = sock.recv(65536)
                assert piece, found
                found += piece
        assert found.startswith(b"HTTP/1.1 200 ") and b"[DONE]" in found
        answer = program.ask("GET", "/health")
        assert answer.status == 400 and b"HTTP request to an HTTPS server" in answer.body


# --- the service manager -----------------------------------------------------------------------------------------

ACTIVATE = "import os, sys; os.environ['LISTEN_PID'] = str(os.getpid()); os.execv(sys.argv[1], sys.argv[1:])"


def test_the_service_manager_hears_and_may_pass_a_socket(tmp_path):
    heard = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    heard.bind(str(tmp_path / "notify"))
    heard.settimeout(PATIENCE)
    with heard, socket.create_server(("127.0.0.1", 0)) as listener, contextlib.ExitStack() as stack:
        port = listener.getsockname()[1]
        path = tmp_path / "config.yaml"
        write_config(path, {"models": {"a": demo()}})
        # The manager passes its sockets from 3 on.
        script = f"import os; os.dup2({listener.fileno()}, 3); " + ACTIVATE
        program = Program(["-c", str(path)], command=[sys.executable, "-c", script, *COMMAND],
                          pass_fds=(listener.fileno(),),
                          env={"NOTIFY_SOCKET": str(tmp_path / "notify"), "LISTEN_FDS": "1", "WATCHDOG_USEC": "400000"})
        stack.callback(program.stop)
        assert heard.recv(4096).startswith(b"READY=1\nSTATUS=serving 1 models")
        program.port = port
        assert said(program.ask("POST", "/v1/chat/completions", chat("a"))) == "You said: hello"
        assert heard.recv(4096) == b"WATCHDOG=1"
        program.signal(signal.SIGHUP)
        states = [heard.recv(4096).split(b"\n")[0] for _ in range(2)]
        while b"READY=1" not in states:
            states.append(heard.recv(4096).split(b"\n")[0])
        assert b"RELOADING=1" in states
        program.signal(signal.SIGTERM)
        while heard.recv(4096) != b"STOPPING=1":
            pass
        assert program.wait() == 0


@pytest.mark.parametrize("is_abstract", [False, True])
def test_a_unix_socket_may_be_passed(tmp_path, is_abstract):
    """What stands in front of us on the same machine needs no port; nothing is known about its clients."""
    address = f"\0{tmp_path}/s" if is_abstract else str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as listener, contextlib.ExitStack() as stack:
        listener.bind(address)
        listener.listen()
        path = tmp_path / "config.yaml"
        write_config(path, {"models": {"a": demo()}})
        script = f"import os; os.dup2({listener.fileno()}, 3); " + ACTIVATE
        program = Program(["-c", str(path)], command=[sys.executable, "-c", script, *COMMAND],
                          pass_fds=(listener.fileno(),), env={"LISTEN_FDS": "1"})
        stack.callback(program.stop)
        program.wait_for(r"listening on http\+unix:" + address.replace("\0", "@"))
        seen = {}
        for sent in ("", "X-Forwarded-For: 192.0.2.7\r\n"):
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(PATIENCE)
                client.connect(address)
                client.sendall(f"GET /upstream/a/echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{sent}\r\n".encode())
                answer = b"".join(iter(lambda: client.recv(65536), b""))
            assert answer.startswith(b"HTTP/1.1 200 ")
            fields = json.loads(answer.partition(b"\r\n\r\n")[2])["headers"]
            seen[sent] = [value for name, value in fields if name.lower() == "x-forwarded-for"]
        assert list(seen.values()) == [[], ["192.0.2.7"]]
        program.wait_for('Request - "GET /upstream/a/echo')
        assert "anybody who reaches this machine" not in program.log


def test_signals_do_not_keep_the_watchdog_waiting(tmp_path):
    """The configuration is touched again and again, each time before the next ping would be due."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(str(tmp_path / "notify"))
        heard.settimeout(PATIENCE)
        environ = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": str(120_000_000)}
        with run_program({"models": {}}, env=environ) as program:
            while not heard.recv(4096).startswith(b"READY=1"):
                pass
            program.signal(signal.SIGHUP)
            states = []
            while states[-2:] != [b"READY=1", b"WATCHDOG=1"]:
                states.append(heard.recv(4096).split(b"\n")[0])
