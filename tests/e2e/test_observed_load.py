"""Many who watch: fifty followers of everything, a model that floods its log, and requests beside them.

The quiet p99 and that under load are printed; with LLAMASWAP_SOAK=<seconds> the run is as long and their ratio counts.
"""
from __future__ import annotations

import http.client
import json
import os
import statistics
import threading
import time
from pathlib import Path
from typing import Any, List

import pytest

from llamaswap.runtime.threads import spawn
from tests.support.program import PATIENCE, chat, demo, run_program, said

SECONDS = float(os.environ.get("LLAMASWAP_SOAK", "6"))
ROUNDS = 3
FOLLOWERS = 50
LINES_PER_SECOND = 5000
CONFIG = {"models": {"calm": demo(), "loud": demo("--flood", str(LINES_PER_SECOND))},
          "groups": {"all": {"swap": False, "members": ["calm", "loud"]}}, "performance": {"every": "5s"}}


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Follower:
    """Reads as fast as it can until told to stop."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        self._connection.request("GET", "/api/events?topics=models,requests,perf,notice,log:loud")
        self._response = self._connection.getresponse()
        self.got = self.gaps = 0
        self.lines = 0
        self._thread = spawn("follower", self._read)

    def _read(self) -> None:
        try:
            while True:
                data = self._response.read1(65536)
                if not data:
                    return
                self.got += len(data)
                self.gaps += data.count(b"event: gap")
                self.lines += data.count(b"\\n")
        except (OSError, ValueError, http.client.HTTPException, AttributeError):
            return      # closed below

    def wait_for_lines(self, number: int) -> None:
        deadline = time.monotonic() + PATIENCE
        while self.lines < number:
            assert self._thread.is_alive() and time.monotonic() < deadline, f"told of {self.lines} lines"
            time.sleep(0.01)

    def close(self) -> None:
        sock = self._connection.sock
        if sock is not None:
            sock.shutdown(2)
        self._thread.join(PATIENCE)
        self._connection.close()


def ask_for(port: int, seconds: float, clients: int = 8) -> List[float]:
    """Latencies of requests, sorted; every one of them answered."""
    latencies: List[float] = []
    failures: List[Any] = []

    def ask() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        body = json.dumps(chat("calm"))
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            begun = time.monotonic()
            connection.request("POST", "/v1/chat/completions", body)
            response = connection.getresponse()
            if response.status != 200 or b"hello" not in response.read():
                failures.append(response.status)
                return
            latencies.append(time.monotonic() - begun)
        connection.close()

    threads = [spawn(f"client-{number}", ask) for number in range(clients)]
    for thread in threads:
        thread.join(seconds + PATIENCE)
    assert not failures and latencies
    return sorted(latencies)


def p99(latencies: List[float]) -> float:
    return latencies[int(len(latencies) * 0.99) - 1]


@pytest.mark.slow
def test_fifty_followers_and_a_flood_of_lines(capsys):
    """Quiet and watched take turns, so that a machine that slows down slows both."""
    with run_program(CONFIG) as program:
        for model in ("calm", "loud"):
            said(program.ask("POST", "/v1/chat/completions", chat(model)))
        pid, threads = program.process.pid, threading.active_count()
        turn = SECONDS / 2 / ROUNDS
        quiet, watched, rates = [], [], []
        told = gaps = before = 0
        for _ in range(ROUNDS + 1):                            # the first fills rings and queues, and does not count
            quiet.append(p99(ask_for(program.port, turn)))
            followers = [Follower(program.port) for _ in range(FOLLOWERS)]
            latencies = ask_for(program.port, turn)
            watched.append(p99(latencies))
            rates.append(len(latencies) / turn)
            for follower in followers:
                follower.wait_for_lines(LINES_PER_SECOND // 10)
                follower.close()
            told += sum(each.got for each in followers)
            gaps += sum(each.gaps for each in followers)
            before = before or resident_bytes(pid)
        grown = resident_bytes(pid) - before
        ratio = statistics.median(after / calm for calm, after in zip(quiet[1:], watched[1:]))
        with capsys.disabled():
            print(f"\nfifty followers: p99 {statistics.median(quiet[1:]) * 1000:.1f} ms quiet, "
                  f"{statistics.median(watched[1:]) * 1000:.1f} ms watched, median of ratios {ratio:.2f}, "
                  f"{statistics.median(rates[1:]):,.0f} requests/s, {told >> 20} MiB told, {gaps} gaps, "
                  f"memory {before >> 20} MiB, grown by {grown >> 10} KiB")
        assert grown < 24 << 20, "nothing but rings may grow"
        assert threading.active_count() <= threads
        assert said(program.ask("POST", "/v1/chat/completions", chat("calm")))
        if "LLAMASWAP_SOAK" in os.environ:
            assert ratio < 1.5
