#!/usr/bin/env python3
"""What it costs to watch: the request rate with everything observable switched on, as a ratio to the rate with it off.

    python tools/bench_observing.py [--seconds 1] [--rounds 3] [--restarts 4]

Two whole programs run side by side and are asked in turns; they are started anew several times, since one start of the
same program can be some percent faster than another. On: activity in a file, captures, sampling, logs of every
request, somebody who follows events and a scrape of /metrics each second. Off: none of it, as far as it can be switched
off. Model server and load generator are those of bench_relay.
"""
from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import pathlib
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from typing import Dict, Iterator, List, Tuple

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

import bench_relay  # noqa: E402  the path above comes first

CONNECTIONS = (1, 32)


class Pipe:
    """What bench_relay.upstream() tells its port to; here the port is known before."""

    def send(self, port: int) -> None:
        pass


def serve_model(port: int) -> None:
    create = socket.create_server
    bench_relay.socket.create_server = lambda address, **options: create(("127.0.0.1", port), **options)
    bench_relay.upstream(Pipe())


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


@contextlib.contextmanager
def program(folder: pathlib.Path, name: str, settings: Dict[str, object]) -> Iterator[Tuple[int, int]]:
    """Port and pid."""
    port = free_port()
    model = {"cmd": f"{sys.executable} {__file__} --model ${{PORT}}", "checkEndpoint": "none",
             "concurrencyLimit": 1000}
    config = folder / f"{name}.yaml"
    config.write_text(json.dumps({"startPort": free_port(), "models": {"m": model}, **settings}))
    running = subprocess.Popen([sys.executable, "-m", "llamaswap", "-c", str(config), "--listen", f"127.0.0.1:{port}"],
                               cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            with contextlib.suppress(OSError):
                ask(port, "POST", "/v1/chat/completions", bench_relay.BODY)
                break
            time.sleep(0.1)
        yield port, running.pid
    finally:
        running.terminate()
        running.wait(30)


def ask(port: int, method: str, path: str, body: bytes = b"") -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request(method, path, body)
    answer = connection.getresponse().read()
    connection.close()
    return answer


def watch(port: int) -> None:
    """Until the program ends."""
    def scrape() -> None:
        with contextlib.suppress(OSError):
            while True:
                ask(port, "GET", "/metrics")
                time.sleep(1)

    def follow() -> None:
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection("127.0.0.1", port)
            connection.request("GET", "/api/events?topics=models,requests,perf,notice,log:proxy")
            response = connection.getresponse()
            while response.read1(65536):
                pass

    for work in (scrape, follow):
        threading.Thread(target=work, daemon=True).start()


def rate(port: int, pid: int, connections: int, seconds: float) -> Tuple[float, float]:
    """Requests per second, and CPU seconds of the program for each."""
    begun = bench_relay.cpu_seconds(pid)
    results: List[List[float]] = [[] for _ in range(connections)]
    body = bench_relay.BODY
    threads = [threading.Thread(target=bench_relay.small_requests, args=(port, seconds, result, body, False))
               for result in results]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    number = sum(len(latencies) for result in results for latencies in result)
    time.sleep(1.2)      # what is recorded afterwards belongs to its price
    return number / seconds, (bench_relay.cpu_seconds(pid) - begun) / number


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--restarts", type=int, default=4)
    parser.add_argument("--model", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.model:
        serve_model(options.model)
        return
    found: Dict[int, List[Tuple[float, float, float]]] = {connections: [] for connections in CONNECTIONS}
    for _ in range(options.restarts):
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            on = {"store": {"path": str(folder / "activity.db")}, "captureBuffer": 5, "performance": {"every": "5s"}}
            off = {"captureBuffer": 0, "performance": {"disabled": True}, "logLevel": "error"}
            with program(folder, "off", off) as off_one, program(folder, "on", on) as on_one:
                watch(on_one[0])
                for turn in range(options.rounds):
                    for connections in CONNECTIONS:
                        found[connections].append(compare(off_one, on_one, connections, turn % 2 == 0, options.seconds))
    for connections, results in found.items():
        rates, prices, off_prices = zip(*results)
        print(f"{connections:3} connections: rate on/off median {statistics.median(rates):.3f} (from {min(rates):.2f} "
              f"to {max(rates):.2f}), CPU per request on/off {statistics.median(prices):.3f}, "
              f"off {statistics.median(off_prices) * 1e6:.0f} us")


def compare(off: Tuple[int, int], on: Tuple[int, int], connections: int, is_on_first: bool,
            seconds: float) -> Tuple[float, float, float]:
    """Rate and CPU time on as ratios to off, and the CPU time off."""
    found = {one: rate(*one, connections, seconds) for one in ((on, off) if is_on_first else (off, on))}
    return found[on][0] / found[off][0], found[on][1] / found[off][1], found[off][1]


if __name__ == "__main__":
    main()
