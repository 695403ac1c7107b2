"""The unit in contrib/systemd starts this program with flags that exist, and the program speaks to the manager."""
from __future__ import annotations

import configparser
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from llamaswap import cli

ROOT = Path(__file__).resolve().parent.parent.parent
UNIT = ROOT / "contrib" / "systemd" / "llamaswap.service"
CONTAINERFILE = ROOT / "contrib" / "container" / "Containerfile"
SHUTDOWN_LIMIT = 35.0    # what a stop may take by itself, before a long unloadTimeout
DEADLINE = 30.0


@pytest.fixture(scope="module")
def service():
    parser = configparser.ConfigParser(interpolation=None, strict=True, comment_prefixes=("#",))
    parser.optionxform = str
    parser.read_string(UNIT.read_text(encoding="utf-8"))
    assert parser["Install"]["WantedBy"] == "multi-user.target"
    return parser["Service"]


def test_command_line_is_one_the_program_accepts(service):
    python, isolated, script, *arguments = shlex.split(service["ExecStart"])
    assert (python, isolated, script) == ("/usr/bin/python3", "-I", "/opt/llamaswap/llamaswap.py")
    parsed = cli.build_parser().parse_args(arguments)
    assert "/etc/llamaswap/config.yaml" in str(vars(parsed))
    assert "install -D -m 755 dist/llamaswap.py " + script in UNIT.read_text(encoding="utf-8")


def test_the_group_is_made_before_a_file_is_given_to_it():
    text = UNIT.read_text(encoding="utf-8")
    assert 0 < text.index("#   useradd") < text.index("-g llamaswap")


def test_stopping_has_time_and_then_no_mercy(service):
    assert service["KillMode"] == "mixed"
    assert float(service["TimeoutStopSec"]) > SHUTDOWN_LIMIT
    assert service["ExecReload"].split()[1:] == ["-HUP", "$MAINPID"]
    assert service["Restart"] == "on-failure"


def test_rights_and_limits(service):
    assert service["Type"] == "notify"
    assert float(service["WatchdogSec"]) > SHUTDOWN_LIMIT
    assert int(service["LimitNOFILE"]) >= 65536
    assert service["StateDirectory"] == service["User"] == "llamaswap"
    # What would hide the GPU, or break the engines that compile at run time, is named in comments and not set.
    assert not {"PrivateDevices", "DevicePolicy", "MemoryDenyWriteExecute"} & set(service)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not on this machine")
def test_systemd_itself_accepts_the_unit():
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", str(UNIT)], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=DEADLINE, check=False)
    ours = [line for line in done.stdout.splitlines() if UNIT.name in line]
    assert (done.returncode, ours) == (0, []), done.stdout


def test_container_command_line_is_one_the_program_accepts():
    lines = CONTAINERFILE.read_text(encoding="utf-8").splitlines()
    said = {line.split()[0]: line.split(None, 1)[1] for line in lines if line[:1].isupper()}
    cli.build_parser().parse_args(json.loads(said["CMD"]))
    assert json.loads(said["ENTRYPOINT"]) == ["llamaswap"]
    assert said["USER"].isdecimal()
    assert int(said["USER"]) != 0


@pytest.fixture
def manager(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(0.2)
        yield sock


@pytest.fixture
def running(manager, tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text("models:\n  one:\n    cmd: serve --port ${PORT}\n")
    environ = dict(os.environ, NOTIFY_SOCKET=manager.getsockname(), WATCHDOG_USEC="400000")
    command = [sys.executable, str(ROOT / "llamaswap.py"), "-c", str(config), "--listen", "127.0.0.1:0"]
    with open(tmp_path / "output", "wb") as output:
        process = subprocess.Popen(command, env=environ, stdout=output, stderr=subprocess.STDOUT)
    yield process
    process.kill()
    process.wait()
    print((tmp_path / "output").read_text(errors="replace"))


def hear(manager, running, state):
    """The first message that says `state`; what else is said meanwhile is passed over."""
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        has_ended = running.poll() is not None    # asked first: what it said before its end is still to be read
        try:
            message = manager.recv(4096).decode().split("\n")
        except socket.timeout:
            if has_ended:
                break
            continue
        if state in message:
            return message
    return pytest.fail(f"never heard {state}; exit code {running.poll()}, output below")


def test_the_manager_hears_the_whole_life(manager, running):
    hear(manager, running, "READY=1")
    hear(manager, running, "WATCHDOG=1")
    running.send_signal(signal.SIGHUP)
    assert any(line.startswith("MONOTONIC_USEC=") for line in hear(manager, running, "RELOADING=1"))
    hear(manager, running, "READY=1")
    running.send_signal(signal.SIGTERM)
    hear(manager, running, "STOPPING=1")
    assert running.wait(DEADLINE) == 0
