"""The object graph, built in this process: what is loaded, bound, reloaded and let go. tests/e2e runs it whole."""
from __future__ import annotations

import json
import logging
import os
import select
import signal
import socket
import time
from pathlib import Path

import pytest

from llamaswap import program as module
from llamaswap.cli import build_parser, parse
from llamaswap.program import EXIT_FAILED, EXIT_OK, Program, demo_config, load, run
from tests.support.program import await_true, chat, demo, free_ports, is_alive, write_config

BUILTINS = {"llamaswap": "llamaswap"}


def options(*arguments):
    return parse(build_parser(), list(arguments))


@pytest.fixture
def make(tmp_path, monkeypatch, capfd):
    """A program over a configuration, bound but not serving; closed at the end."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    spawn = module.spawn
    # A thread that waits for the second signal would wait for ever here.
    monkeypatch.setattr(module, "spawn", lambda name, *rest: name == "hurry" or spawn(name, *rest))
    made = []

    def build(config, *arguments):
        write_config(tmp_path / "config.yaml", config)
        chosen = options("-c", str(tmp_path / "config.yaml"), "--listen", "127.0.0.1:0", *arguments)
        built, seen = load(chosen, BUILTINS)
        assert built.config is not None, built.problems
        program = Program(chosen, built, BUILTINS, seen=seen)
        made.append(program)
        program.bind()
        program._server.start()
        return program
    yield build
    for program in made:
        if not program._is_ending:
            program._shut_down()
        os.close(program._wake_read)
        os.close(program._wake_write)
    root.handlers[:], level = before
    root.setLevel(level)


def rewrite(program, config):
    path = Path(program._options.config)
    write_config(path, config, first_port=json.loads(path.read_text())["startPort"])


def test_the_demo_has_three_models_on_ports_of_their_own():
    models = demo_config()["models"]
    assert len(models) == 3 and len({entry["proxy"] for entry in models.values()}) == 3
    built, seen = load(options("--demo"), BUILTINS)
    assert built.config is not None and not built.problems and seen == {}


def test_what_was_read_is_remembered(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("models: {}")
    built, seen = load(options("-c", str(path)), BUILTINS)
    assert built.config is not None and list(seen) == [str(path)]


@pytest.mark.parametrize("text, said", [("models: [", "config.yaml:"), ("store: {path: /nowhere/x.db}", "store.path")])
def test_a_configuration_that_is_wrong_starts_nothing(tmp_path, capfd, text, said):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    assert run(options("-c", str(path)), builtins=BUILTINS) == EXIT_FAILED
    error = capfd.readouterr().err
    assert said in error and "failed to load the configuration" in error


def test_a_port_that_two_models_want_is_said_at_the_start(tmp_path):
    models = {"a": {"cmd": "x ${PORT}"}, "b": {"cmd": "x", "proxy": "http://127.0.0.1:5800"}}
    write_config(tmp_path / "config.yaml", {"models": models, "groups": {"g": {"swap": False, "members": ["a", "b"]}}},
                 first_port=5800)
    built, _ = load(options("-c", str(tmp_path / "config.yaml")), BUILTINS)
    assert built.config is not None
    assert 'models.b.proxy: port 5800 is also the port of model "a"' in "\n".join(map(str, built.problems))


@pytest.mark.parametrize("signals", [[signal.SIGTERM] * 2, [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]])
def test_signals_that_come_together_are_one_wish(make, signals):
    program = make({"models": {}})
    os.write(program._wake_write, bytes(signals))
    assert program._wait() == EXIT_OK
    assert select.select([program._wake_read], [], [], 0)[0] == [], "the second one would skip the waiting"


@pytest.mark.parametrize("main, admin, said", [
    ("127.0.0.1", "127.0.0.1", []), ("192.0.2.1", "127.0.0.1", ["use"]), ("127.0.0.1", "192.0.2.1", ["manage"]),
    ("::", "0.0.0.0", ["use", "manage"]),
])
@pytest.mark.parametrize("keys", [[], ["k"]])
def test_what_is_open_to_other_machines_is_said(make, capfd, monkeypatch, main, admin, said, keys):
    program = make({"models": {}, "apiKeys": keys}, "--admin-listen", "127.0.0.1:0")
    monkeypatch.setattr(type(program._server), "addresses", [(main, 1)])
    monkeypatch.setattr(type(program._admin_server), "addresses", [(admin, 2)])
    program._announce()
    program._shut_down()
    told = capfd.readouterr().out
    assert [word for word in ("use", "manage") if f"can {word} it: no apiKeys" in told] == ([] if keys else said)
    assert ("--admin-listen 127.0.0.1:PORT" in told) == ("manage" in said and not keys)


def test_profiles_are_chosen_and_kept(make):
    program = make({"models": {"m": demo()}, "profiles": {"day": {"pins": {"x": "m"}}, "night": {"pins": {"x": "m"}}}})
    assert program._select_profile("day") and not program._select_profile("day")
    with pytest.raises(KeyError):
        program._select_profile("noon")
    program.reload()
    assert program._site().profile == "day"
    rewrite(program, {"models": {}})
    program.reload()
    assert program._site().profile is None


def test_a_reload_takes_over_what_can_be(make, capfd):
    program = make({"models": {}})
    rewrite(program, {"models": {"new": demo()}, "logLevel": "debug", "adminListen": "127.0.0.1:1", "apiKeys": ["k"]})
    program.reload()
    assert logging.getLogger().level == logging.DEBUG and program._site().resolve("new").is_served
    assert bool(program._site().keyring)
    program._shut_down()
    assert "adminListen takes effect at the next start" in capfd.readouterr().out


def test_a_store_that_has_gone_stops_no_reload(make, tmp_path):
    folder = tmp_path / "kept"
    folder.mkdir()
    store = {"path": str(folder / "activity.db")}
    program = make({"models": {}, "store": store})
    folder.rmdir()
    rewrite(program, {"models": {"new": demo()}, "store": store})
    program.reload()
    assert program._site().resolve("new").is_served
    rewrite(program, {"models": {}, "store": {"path": str(folder / "other.db")}})
    program.reload()
    assert program._site().resolve("new").is_served and not program._reading.is_valid


def test_a_reload_with_an_error_changes_nothing(make, capfd):
    program = make({"models": {"old": demo()}})
    before = program.config
    Path(program._options.config).write_text("models: {x: {cmd: [}}")
    program.reload()
    assert program.config is before and program._site().resolve("old").is_served


def test_preloading_more_than_fits_is_said(make, capfd):
    program = make({"models": {"a": demo(), "b": demo()}, "hooks": {"on_startup": {"preload": ["a", "b"]}}})
    program._preload(())
    program._shut_down()
    assert "not all models under hooks.on_startup.preload" in capfd.readouterr().out


def test_a_preload_that_is_refused_is_said_and_nothing_more(make, capfd):
    program = make({"models": {"a": demo()}})
    program._registry.close()
    program._preload(("a",))
    program._shut_down()
    assert "failed to preload model a" in capfd.readouterr().out


def test_draining_has_a_deadline(make, monkeypatch):
    """A stream without an end is cut, its model ended."""
    monkeypatch.setattr(module, "DRAIN_TIMEOUT", 0.5)
    program = make({"models": {"a": demo()}})
    body = json.dumps(chat("a", stream=True, demo={"hang_mid_stream": 1})).encode()
    with socket.create_connection(program._server.addresses[0], timeout=20) as sock:
        sock.send(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        assert sock.recv(65536).startswith(b"HTTP/1.1 200")
        pid = program._registry.status("a").pid
        begun = time.monotonic()
        program._shut_down()
        assert time.monotonic() - begun < 15
        found = b""
        while True:
            try:
                piece = sock.recv(65536)
            except ConnectionError:
                break
            if not piece:
                break
            found += piece
    assert not found.endswith(b"0\r\n\r\n") and b"[DONE]" not in found
    await_true(lambda: not is_alive(pid))


def test_who_still_waits_at_the_end_of_the_drain_is_told(make, monkeypatch):
    monkeypatch.setattr(module, "DRAIN_TIMEOUT", module.LAST_WORD + 0.5)
    program = make({"models": {"a": demo("--startup-delay", "60")}})
    body = json.dumps(chat("a")).encode()
    with socket.create_connection(program._server.addresses[0], timeout=20) as sock:
        sock.send(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        await_true(program._registry.is_in_use)
        program._shut_down()
        found = sock.recv(65536)
    assert found.startswith(b"HTTP/1.1 503") and b'"shutting_down"' in found


def test_a_vital_thread_that_dies_ends_the_program(make):
    program = make({"models": {}})
    program._crashed()
    assert program._wait() == EXIT_FAILED


def test_signals_become_events(make):
    program = make({"models": {}})
    os.write(program._wake_write, bytes([signal.SIGHUP, signal.SIGTERM]))
    assert program._wait() == 0


@pytest.mark.parametrize("address", ["nonsense", "127.0.0.1:99999"])
def test_no_address(tmp_path, capfd, address):
    path = tmp_path / "config.yaml"
    path.write_text(json.dumps({"models": {}, "startPort": free_ports(1)}))
    handlers = logging.getLogger().handlers[:]
    try:
        assert run(options("-c", str(path), "--listen", address), builtins=BUILTINS) == EXIT_FAILED
    finally:
        logging.getLogger().handlers[:] = handlers
    assert "is not an address" in capfd.readouterr().err
