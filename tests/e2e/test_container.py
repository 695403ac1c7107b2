"""A real container as a model: `cmd` runs it, `cmdStop` ends it, and nothing of it is left afterwards."""
from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import tarfile
import uuid

import pytest

from tests.support.program import PATIENCE, await_true, run_program

PODMAN = ["podman", "--runtime", "runc"]
# What a container needs where it shares our network and may not raise its own limits.
RUN = ["run", "--rm", "--network", "host", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"]
BUSYBOX = shutil.which("busybox")
IMAGE_PATIENCE = 120


def reason_to_skip():
    if os.geteuid() != 0:
        return "podman runs containers as root here"
    for tool in ("podman", "runc", "busybox"):
        if shutil.which(tool) is None:
            return f"{tool} is not installed"
    if b"dynamically" in subprocess.run(["file", "-L", BUSYBOX], capture_output=True, check=False).stdout:
        return "busybox is not linked statically"
    return ""


pytestmark = [pytest.mark.container, pytest.mark.skipif(bool(reason_to_skip()), reason=reason_to_skip() or "-")]


def podman(*arguments, **options):
    done = subprocess.run([*PODMAN, *arguments], capture_output=True, timeout=IMAGE_PATIENCE, check=False, **options)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


@pytest.fixture(scope="module")
def image():
    """A root file system of one program and two answers, imported from a tar."""
    name = f"llamaswap-test-{uuid.uuid4().hex[:12]}"
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        tar.add(BUSYBOX, "bin/busybox")
        for path, text in (("www/health", b"ok\n"), ("www/props", b"from the container\n"), ("tmp/.keep", b"")):
            entry = tarfile.TarInfo(path)
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text))
    podman("import", "-", name, input=packed.getvalue())
    try:
        yield name
    finally:
        podman("rmi", "-f", name)


def container_model(image, name):
    server = ["/bin/busybox", "httpd", "-f", "-p", "${PORT}", "-h", "/www"]
    return {"cmd": " ".join([*PODMAN, *RUN, "--name", name, image, *server]),
            "cmdStop": " ".join([*PODMAN, "stop", "-t", "2", name]), "unloadTimeout": 20}


def running_containers():
    return podman("ps", "--format", "{{.Names}}").split()


def test_containers_swap_and_leave_nothing(image):
    names = [f"llamaswap-{uuid.uuid4().hex[:8]}" for _ in range(2)]
    config = {"models": {"box-a": container_model(image, names[0]), "box-b": container_model(image, names[1])}}
    with run_program(config) as program:
        for model, own, other in (("box-a", *names), ("box-b", *reversed(names)), ("box-a", *names)):
            answer = program.ask("GET", f"/props?model={model}", timeout=IMAGE_PATIENCE)
            assert (answer.status, answer.body) == (200, b"from the container\n"), answer
            alive = running_containers()
            assert own in alive and other not in alive
        assert program.ask("POST", "/api/models/unload/box-a", timeout=PATIENCE).status == 200
        await_true(lambda: names[0] not in running_containers())
    assert not set(names) & set(podman("ps", "-a", "--format", "{{.Names}}").split())


def test_a_container_whose_client_was_killed_does_not_keep_the_port(image):
    name = f"llamaswap-{uuid.uuid4().hex[:8]}"
    with run_program({"models": {"box": container_model(image, name)}}) as program:
        assert program.ask("GET", "/props?model=box", timeout=IMAGE_PATIENCE).status == 200
        os.kill(int(program.wait_for(r"box: started pid (\d+)")[1]), signal.SIGKILL)
        await_true(lambda: not program.running())
        assert name not in running_containers()
        assert program.ask("GET", "/props?model=box", timeout=IMAGE_PATIENCE).status == 200
    assert name not in podman("ps", "-a", "--format", "{{.Names}}").split()
