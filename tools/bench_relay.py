#!/usr/bin/env python3
"""How much the relay costs, as ratios from one interleaved run on this machine.

    python tools/bench_relay.py [--seconds 0.5] [--rounds 9]

Four upstream-and-proxy arrangements take turns, each in its own process: the upstream alone ("direct"), our server
with the upstream pool and the relay ("ours"), and the obvious standard-library proxy ("stdlib": http.server +
http.client). The load generator and the upstream are raw sockets, so that they measure the proxy and not themselves.
Standard library only.
"""
from __future__ import annotations

import argparse
import http.client
import http.server
import multiprocessing
import os
import pathlib
import socket
import statistics
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from llamaswap.core.config import Timeouts
from llamaswap.core.headers import forwarded
from llamaswap.core.messages import Response
from llamaswap.runtime import relay
from llamaswap.runtime.server import Server
from llamaswap.runtime.upstream import Endpoint, UpstreamPool

BODY = b'{"model":"m","messages":[{"role":"user","content":"hello there"}]}'
ANSWER = b'{"id":"x","choices":[{"message":{"role":"assistant","content":"' + b"word " * 20 + b'"}}]}'
EVENT = b'data: {"choices":[{"delta":{"content":"hello"}}]}\n\n'
SDK_HEADERS = (
    b"Host: localhost:8080\r\nAccept: application/json\r\nAccept-Encoding: gzip, deflate\r\nConnection: keep-alive\r\n"
    b"Content-Type: application/json\r\nUser-Agent: OpenAI/Python 1.30.1\r\nX-Stainless-Lang: python\r\n"
    b"X-Stainless-OS: Linux\r\nX-Stainless-Arch: x64\r\nX-Stainless-Runtime: CPython\r\n"
    b"Authorization: Bearer sk-123456\r\n"
)
EVENTS = 20000


def request(path: bytes, body: bytes) -> bytes:
    return b"POST %b HTTP/1.1\r\n%bContent-Length: %d\r\n\r\n%b" % (path, SDK_HEADERS, len(body), body)


# -- the upstream -----------------------------------------------------------------------------------------------------


def upstream(port_pipe) -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    port_pipe.send(listener.getsockname()[1])
    while True:
        sock, _ = listener.accept()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=answer, args=(sock,), daemon=True).start()


def answer(sock: socket.socket) -> None:
    smalls = [b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b%b" % (
        len(ANSWER) + n, b" " * n, ANSWER) for n in range(8)]
    events = b"%x\r\n%b\r\n" % (len(EVENT), EVENT)
    while True:
        data = sock.recv(262144)
        if not data:
            return
        head, _, body = data.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        left = length - len(body)
        while left > 0:
            left -= len(sock.recv(min(left, 1 << 20)))
        if head.startswith(b"POST /stream"):
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
            for _ in range(EVENTS // 20):
                sock.sendall(events * 20)
            sock.sendall(b"0\r\n\r\n")
        else:
            sock.sendall(smalls[length % 8])


# -- the proxies ------------------------------------------------------------------------------------------------------


def ours(port_pipe, upstream_port: int) -> None:
    sys.setswitchinterval(0.0005)
    pool = UpstreamPool(Endpoint("http", "127.0.0.1", upstream_port), Timeouts())

    def handle(incoming):
        body = incoming.body.read_all(1 << 30)
        fields = forwarded(incoming.headers, incoming.client_ip, drop=("authorization",))
        exchange = pool.exchange(incoming.method, incoming.target, fields, body, client=incoming.connection)
        relay.respond(incoming, exchange)

    server = Server(handle, fault_response=lambda _, fault: Response(fault.status, [], fault.message.encode()))
    server.bind("127.0.0.1", 0)
    server.start()
    port_pipe.send(server.addresses[0][1])
    threading.Event().wait()


def stdlib(port_pipe, upstream_port: int) -> None:
    local = threading.local()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if not hasattr(local, "connection"):
                local.connection = http.client.HTTPConnection("127.0.0.1", upstream_port)
            fields = {name: value for name, value in self.headers.items() if name.lower() != "content-length"}
            local.connection.request("POST", self.path, body, fields)
            answered = local.connection.getresponse()
            self.send_response_only(answered.status)
            length = answered.getheader("Content-Length")
            for name, value in answered.getheaders():
                if name.lower() != "connection":
                    self.send_header(name, value)
            self.end_headers()
            if length:
                self.wfile.write(answered.read())
                return
            while True:
                data = answered.read1(65536)
                self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
                if not data:
                    break

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    port_pipe.send(server.server_address[1])
    server.serve_forever()


# -- the load ---------------------------------------------------------------------------------------------------------


def small_requests(port: int, seconds: float, results: list, body: bytes, is_varied: bool) -> None:
    sock = socket.create_connection(("127.0.0.1", port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # Bodies of real conversations differ in length, and with them the heads on both sides.
    requests = [request(b"/v1/chat/completions", body + b" " * n) for n in (range(8) if is_varied else (0,))]
    deadline = time.perf_counter() + seconds
    latencies = []
    while True:
        started = time.perf_counter()
        sock.sendall(requests[len(latencies) % len(requests)])
        got = sock.recv(65536)
        while not got.endswith(ANSWER):
            more = sock.recv(65536)
            if not more:
                raise SystemExit(f"the connection ended after {got!r}")
            got += more
        now = time.perf_counter()
        latencies.append(now - started)
        if now > deadline:
            break
    sock.close()
    results.append(latencies)


def one_stream(port: int) -> float:
    sock = socket.create_connection(("127.0.0.1", port))
    started = time.perf_counter()
    sock.sendall(request(b"/stream", BODY))
    tail = b""
    while not tail.endswith(b"0\r\n\r\n"):
        data = sock.recv(1 << 20)
        if not data:
            raise SystemExit("the stream was cut")
        tail = (tail + data)[-5:]
    sock.close()
    return time.perf_counter() - started


def cpu_seconds(pid: int) -> float:
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(port: int, pid: int, connections: int, seconds: float, body: bytes = BODY,
            is_varied: bool = True) -> dict:
    before = cpu_seconds(pid)
    results: list = []
    threads = [threading.Thread(target=small_requests, args=(port, seconds, results, body, is_varied))
               for _ in range(connections)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - started
    latencies = sorted(value for result in results for value in result)
    return {"rate": len(latencies) / took, "p50": statistics.median(latencies) * 1e6,
            "p99": latencies[int(len(latencies) * 0.99)] * 1e6,
            "cpu": (cpu_seconds(pid) - before) / len(latencies) * 1e6}


def start(target, *args):
    ours_end, theirs_end = multiprocessing.Pipe()
    process = multiprocessing.Process(target=target, args=(theirs_end, *args), daemon=True)
    process.start()
    return process, ours_end.recv()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    back = start(upstream)
    sides = {"direct": back, "ours": start(ours, back[1]), "stdlib": start(stdlib, back[1])}
    loads = (
        ("small JSON, 1 connection", 1, BODY, True),
        ("the same request over and over, 1 connection", 1, BODY, False),
        ("small JSON, 32 connections", 32, BODY, True),
        ("2 MB request, 1 connection", 1, b"x" * 2_000_000, False),
    )
    for label, connections, body, is_varied in loads:
        rounds = {name: [] for name in sides}
        for _ in range(options.rounds):
            for name, (process, port) in sides.items():
                rounds[name].append(measure(port, process.pid, connections, options.seconds, body, is_varied))
        middle = {name: {key: statistics.median(value[key] for value in values) for key in values[0]}
                  for name, values in rounds.items()}
        print(label)
        for name, value in middle.items():
            print(f"  {name:7} {value['rate']:8.0f} req/s   p50 {value['p50']:7.0f} us   p99 {value['p99']:7.0f} us   "
                  f"cpu {value['cpu']:6.0f} us/request")
        # Per round, as the machine's mood outlasts one; the differences to "direct" are what the proxy adds.
        rates = [ours["rate"] / theirs["rate"] for ours, theirs in zip(rounds["ours"], rounds["stdlib"])]
        added = [(ours["p50"] - none["p50"]) / (theirs["p50"] - none["p50"])
                 for none, ours, theirs in zip(rounds["direct"], rounds["ours"], rounds["stdlib"])]
        print(f"  ours / stdlib: {statistics.median(rates):.2f}x the rate, "
              f"{statistics.median(added):.2f}x the added p50")
    print(f"stream of {EVENTS} events, unpaced")
    for name, (process, port) in sides.items():
        before = cpu_seconds(process.pid)
        took = min(one_stream(port) for _ in range(options.rounds))
        cpu = (cpu_seconds(process.pid) - before) / options.rounds
        print(f"  {name:7} {EVENTS / took:9.0f} events/s   cpu {cpu / EVENTS * 1e6:6.2f} s per million")
    for process, _ in sides.values():
        process.terminate()


if __name__ == "__main__":
    main()
