"""The service manager hears the right lines, and its variables and sockets reach nobody else."""
from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import uuid

import pytest

from llamaswap.runtime.systemd import Notifier, take_notifier, take_sockets

# Runs in a process of its own because passed sockets have fixed numbers, which in the test's process are taken.
ACTIVATED = """
import json, os, sys
from llamaswap.runtime.systemd import take_sockets
environ = dict(os.environ, LISTEN_PID=sys.argv[1] if sys.argv[1] else str(os.getpid()))
found = take_sockets(environ)
print(json.dumps({"sockets": [[name, sock.getsockname()[1], os.get_inheritable(sock.fileno())] for name, sock in found],
                  "left": sorted(key for key in environ if key.startswith("LISTEN_"))}))
"""


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path):
    """A service manager's end: (address as in the environment, socket)."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.settimeout(5)
        if request.param == "path":
            address = str(tmp_path / "notify")
            sock.bind(address)
        elif sys.platform == "linux":
            address = "@llamaswap-test-" + uuid.uuid4().hex
            sock.bind("\0" + address[1:])
        else:
            pytest.skip("abstract sockets exist on Linux only")
        yield address, sock


def test_each_message(manager):
    address, sock = manager
    notifier = take_notifier({"NOTIFY_SOCKET": address})

    def heard():
        return sock.recv(4096).decode()

    assert notifier.ready("serving 3 models")
    assert heard() == "READY=1\nSTATUS=serving 3 models"
    assert notifier.ready()
    assert heard() == "READY=1"
    assert notifier.reloading()
    first, second = heard().split("\n")
    assert first == "RELOADING=1"
    assert int(second.split("MONOTONIC_USEC=")[1]) > 0
    assert notifier.status("two\nlines")
    assert heard() == "STATUS=two lines"
    assert notifier.ping()
    assert heard() == "WATCHDOG=1"
    assert notifier.stopping("draining")
    assert heard() == "STOPPING=1\nSTATUS=draining"


@pytest.mark.parametrize("address", ["", "vsock:2:1234", "relative/path"])
def test_without_a_usable_address_nothing_is_sent(address):
    notifier = take_notifier({"NOTIFY_SOCKET": address} if address else {})
    assert not notifier.ready()
    assert notifier.address == ""


def test_a_manager_that_is_gone_is_no_error(tmp_path):
    assert not Notifier(str(tmp_path / "nobody")).ready()


def test_an_empty_status_says_nothing(manager):
    assert not Notifier(manager[0]).status("")


def test_the_variables_are_taken_away():
    environ = {"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid()), "HOME": "/"}
    notifier = take_notifier(environ)
    assert environ == {"HOME": "/"}
    assert notifier.watchdog_timeout == 3.0
    assert "/run/x" in repr(notifier)


@pytest.mark.parametrize("environ", [{}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "soon"},
                                     {"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}])
def test_no_pings_unless_asked_of_this_process(environ):
    assert take_notifier(dict(environ)).watchdog_timeout == 0


def activated(pid, count, names):
    """What a process finds that was started with `count` passed sockets; also their true ports."""
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    # The shell puts them at 3 and 4; from numbers high enough not to be overwritten on the way.
    high = [os.dup2(listener.fileno(), 100 + index) for index, listener in enumerate(listeners)]
    redirect = " ".join(f"{3 + index}<&{number}" for index, number in enumerate(high))
    try:
        environ = dict(os.environ, LISTEN_FDS=count, LISTEN_FDNAMES=names)
        done = subprocess.run(["bash", "-c", f'exec "$@" {redirect}', "bash", sys.executable, "-c", ACTIVATED, pid],
                              env=environ, pass_fds=high, stdout=subprocess.PIPE, timeout=30, check=True)
        return json.loads(done.stdout), [listener.getsockname()[1] for listener in listeners]
    finally:
        for number in high:
            os.close(number)
        for listener in listeners:
            listener.close()


def test_passed_sockets_are_named_ours_and_not_inherited():
    found, ports = activated("", "2", "http:admin")
    assert found == {"sockets": [["http", ports[0], False], ["admin", ports[1], False]], "left": []}


def test_a_socket_without_a_name_has_an_empty_one():
    found, ports = activated("", "1", "")
    assert found["sockets"] == [["", ports[0], False]]


@pytest.mark.parametrize("pid, count", [("1", "2"), ("", "many"), ("", "0")])
def test_sockets_meant_for_another_process_stay_untouched(pid, count):
    assert activated(pid, count, "")[0] == {"sockets": [], "left": []}


def test_nothing_passed():
    assert take_sockets({}) == []
