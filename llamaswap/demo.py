"""A fake model server: what `llamaswap --demo` runs and what the tests talk to.

Standard library only and nothing of the rest of llamaswap, so it cannot share its bugs. Answers (demo_answers.py) have
the shape of the real APIs; their content is an echo. Every accident of a real engine is a knob. It is strict about
HTTP, so that what a proxy mangles is answered with 400 and not guessed at.

Owner: the main thread accepts and takes signals; a connection thread owns its socket and its exchange; the counters of
Server are shared, under its lock.
Why raw sockets: http.server and typing would double the start-up time, and tests start this program hundreds of times.
"""
from __future__ import annotations

import _thread
import base64
import hashlib
import itertools
import json
import math
import os
import re
import select
import signal
import socket
import struct
import sys
import time
import types

from llamaswap.demo_answers import (
    CREATED,
    IDLE_TIMEOUT,
    Gone,
    chat,
    completion,
    completions,
    count_tokens,
    dumps,
    echo,
    embeddings,
    health,
    images,
    messages,
    metrics,
    plain_stream,
    props,
    rerank,
    responses,
    speech,
    transcriptions,
)

TYPE_CHECKING = False       # typing.TYPE_CHECKING without the cost of importing typing
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

CRASH_CODE = 7
MAX_HEAD_BYTES = 256 * 1024
MAX_FRAME_BYTES = 64 * 1024 * 1024
CLOSE, PING, PONG = 8, 9, 10        # WebSocket opcodes
BAD_SHAPE = (KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError)


def flag(text: Any) -> bool:
    return str(text).lower() in ("1", "true", "yes", "on")


# name: (type, default, help)
SERVER_KNOBS: dict[str, tuple[Callable[[Any], Any], Any, str]] = {
    "host": (str, "127.0.0.1", "address to listen on"),
    "port": (int, 0, "port to listen on (0, the default: a free one)"),
    "name": (str, "", "model name to answer with (default: the name in the request)"),
    "startup_delay": (float, 0.0, "wait before listening"),
    "unhealthy": (float, 0.0, "answer 503 on /health, and to work, for so long after listening"),
    "no_health": (flag, False, "answer 404 on /health"),
    "hang_health": (flag, False, "accept /health and never answer it"),
    "crash_after": (int, 0, f"exit with code {CRASH_CODE} when request N arrives; /health and its like do not count"),
    "exit_at_start": (int, -1, "after --startup-delay, print an error and exit with this code"),
    "ignore_sigterm": (flag, False, "do not stop on SIGTERM"),
    "stop_delay": (float, 0.0, "take so long to stop on SIGTERM; what is being answered goes on meanwhile"),
    "grandchild": (float, -1.0, "leave a child that holds stdout and outlives SIGTERM by S"),
    "setsid_grandchild": (float, -1.0, "the same, in a session of its own"),
    "grandchild_holds_port": (flag, False, "that child holds the listening socket too"),
    "flood": (float, 0.0, "print so many log lines per second"),
    "ansi": (flag, False, "colour the log"),
    "log_requests": (flag, False, "log the head of every request, /health too"),
}
REQUEST_KNOBS: dict[str, tuple[Callable[[Any], Any], Any, str]] = {
    "prefill_delay": (float, 0.0, "silence before the first byte of an answer"),
    "token_delay": (float, 0.0, "pause between two tokens"),
    "tokens": (int, 0, "answer with exactly N tokens (0: as many as the echo has)"),
    "cached_tokens": (int, 0, "report N prompt tokens as cached"),
    "reasoning": (flag, False, "think aloud before the answer"),
    "tool_call": (flag, False, "call the first tool of a request that offers tools"),
    "crash_mid_stream": (int, -1, f"exit with code {CRASH_CODE} after N tokens of an answer"),
    "close_mid_stream": (int, -1, "close the connection, without the final chunk, after N tokens"),
    "hang_mid_stream": (int, -1, "say nothing more after N tokens, until the client leaves"),
    "close_after_stream": (flag, False, "promise keep-alive but close after each streamed answer"),
    "status": (int, 0, "answer work with this error status"),
}

ABOUT_KNOBS = """
What the second group says, a single request can ask for itself: header 'X-Demo-Token-Delay: 0.1' or
"demo": {"token_delay": 0.1} in its JSON. A chat that offers tools and ends in "call the tool" gets a call."""


def parse_arguments(argv: list[str]) -> types.SimpleNamespace:
    """By hand, because argparse and what it imports would take as long as all the rest of the start."""
    knobs = {**SERVER_KNOBS, **REQUEST_KNOBS}
    found = {name: default for name, (_, default, _) in knobs.items()}
    rest = list(argv)
    while rest:         # --knob VALUE, --knob=VALUE, --flag
        option, equals, value = rest.pop(0).partition("=")
        name = option[2:].replace("-", "_")
        if option in ("-h", "--help"):
            print(usage())
            raise SystemExit(0)
        if option[:2] != "--" or name not in knobs:
            raise ValueError(f"unknown argument {option}; see --help")
        kind = knobs[name][0]
        if not equals and kind is not flag:
            is_optional = name.endswith("grandchild") and (not rest or rest[0].startswith("--"))
            value = "0" if is_optional else rest.pop(0) if rest else ""
        try:
            found[name] = kind(value) if equals or kind is not flag else True
        except ValueError:
            raise ValueError(f"{option}: bad value {value!r}") from None
    return types.SimpleNamespace(**found)


def usage() -> str:
    lines = ["usage: demo-model [--knob VALUE ...]", "", "A fake model server, for trying things out."]
    for knobs in (SERVER_KNOBS, REQUEST_KNOBS):
        lines.append("")
        for name, (kind, _, text) in knobs.items():
            shown = name.replace("_", "-") + {"float": " S", "int": " N", "str": " TEXT"}.get(kind.__name__, "")
            lines.append(f"  --{shown:24} {text}")
    return "\n".join(lines) + "\n" + ABOUT_KNOBS


class Server:
    """What connections share."""

    def __init__(self, args: types.SimpleNamespace) -> None:
        self.args = args
        self.ready_at = math.inf
        self.lock = _thread.allocate_lock()
        self.requests = self.tokens = self.active = self.peak_active = self.cancelled = 0

    def count(self, *, active: int, tokens: int = 0, cancelled: bool = False) -> int:
        with self.lock:
            self.active += active
            self.requests += max(active, 0)
            self.peak_active = max(self.active, self.peak_active)
            self.tokens += tokens
            self.cancelled += cancelled
            return self.requests

    def log(self, line: str, level: str = "I") -> None:
        """One line, at once. A broken stdout is not our problem; a full one blocks us, as it does a real engine."""
        if self.args.ansi:
            line = f"\x1b[{31 if level == 'E' else 32}m{level}\x1b[0m {line}"
        try:    # noqa: SIM105  contextlib is not worth importing for this
            os.write(2 if level == "E" else 1, line.encode("ascii", "backslashreplace") + b"\n")
        except OSError:
            pass


class Connection:
    """Bytes to and from one client."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock, self.buffer = sock, b""
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):     # settimeout() costs a poll before every call
            sock.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", IDLE_TIMEOUT, 0))
        self.poller = select.poll()
        self.poller.register(sock, select.POLLIN)

    def receive(self, size: int) -> bytes:
        received = self.sock.recv(min(size, 1 << 18))
        if not received:
            raise Gone("cancelled")
        return received

    def until(self, mark: bytes) -> bytes:
        """What comes before the mark, which is used up with it."""
        while mark not in self.buffer:
            if len(self.buffer) > MAX_HEAD_BYTES:
                raise ValueError("head or line too long")
            self.buffer += self.receive(65536)
        before, _, self.buffer = self.buffer.partition(mark)
        return before

    def exactly(self, size: int) -> bytes:
        found, self.buffer = bytearray(self.buffer[:size]), self.buffer[size:]
        while len(found) < size:        # grows in place: 20 MB must not be copied again for every piece
            found += self.receive(size - len(found))
        return bytes(found)

    def send(self, data: bytes) -> None:
        sent = self.sock.send(data)
        while sent < len(data):
            sent += self.sock.send(memoryview(data)[sent:])

    def pause(self, seconds: float) -> None:
        """Wait, but notice a client that leaves: engines cancel the work then, and tests look for that."""
        until = time.monotonic() + seconds
        if seconds > 0 and self.poller.poll(seconds * 1000):
            if not self.sock.recv(1, socket.MSG_PEEK):
                raise Gone("cancelled")
            time.sleep(max(0.0, until - time.monotonic()))      # a pipelined request; it waits in the socket


class Exchange:
    """One request and its answer."""

    def __init__(self, server: Server, connection: Connection) -> None:
        self.server, self.connection = server, connection
        self.method, self.target, self.path, self.body = "", "", "", b""
        self.headers: list[tuple[str, str]] = []
        self.fields: dict[str, str] = {}        # by lower-case name
        self.parsed: Any = None
        self.close = True                       # until a whole request was read
        self.status = self.tokens = 0
        self.number = 0                         # 0: about the server, or settled

    def read(self) -> None:
        """Strict: one form of each thing, so that a proxy which passes on another is found out."""
        head = self.connection.until(b"\r\n\r\n").decode("latin-1")
        match = re.fullmatch(r"([!-~]+) ([!-~\x80-\xff]+) HTTP/1\.1((?:\r\n[!-9;-~]+:[^\0\r\n]*)*)", head)
        if match is None:
            raise ValueError(f"bad head {head[:200]!r}")
        self.started_at = time.monotonic()
        self.method, self.target, lines = match.groups()
        self.path = re.sub(r"^https?://[^/?]*", "", self.target).partition("?")[0]
        pairs = (line.partition(":") for line in lines.split("\r\n")[1:])
        self.headers = [(name, value.strip(" \t")) for name, _, value in pairs]
        self.fields = {name.lower(): value for name, value in self.headers}
        if self.fields.get("expect", "").lower() == "100-continue":
            self.connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        self.body = self.read_body()
        self.close = "close" in self.fields.get("connection", "").lower()

    def read_body(self) -> bytes:
        pairs = {(name.lower(), value.lower()) for name, value in self.headers}
        framing = [pair for pair in pairs if pair[0] in ("content-length", "transfer-encoding")]
        if not framing:
            return b""
        name, value = framing[0]
        if len(framing) > 1 or not re.fullmatch("[0-9]+" if name == "content-length" else "chunked", value):
            raise ValueError("ambiguous body length")
        return self.connection.exactly(int(value)) if name == "content-length" else b"".join(self.read_chunks())

    def read_chunks(self) -> Iterator[bytes]:
        while True:
            size = self.connection.until(b"\r\n").partition(b";")[0]
            if not re.fullmatch(b"[0-9a-fA-F]+", size):
                raise ValueError(f"bad chunk size {size[:20]!r}")
            if not int(size, 16):
                break
            yield self.connection.exactly(int(size, 16))
            if self.connection.exactly(2) != b"\r\n":
                raise ValueError("chunk longer than announced")
        while self.connection.until(b"\r\n"):
            pass        # trailers

    @property
    def payload(self) -> dict[str, Any]:
        if self.parsed is None:
            self.parsed = json.loads(self.body or b"{}")
            if not isinstance(self.parsed, dict):
                raise ValueError("the body must be a JSON object")
        return self.parsed

    def knob(self, name: str) -> Any:
        """The header wins, then the JSON field, then the command line."""
        asked = self.fields.get("x-demo-" + name.replace("_", "-"))
        if asked is None and self.body[:1] == b"{" and b'"demo"' in self.body:      # parse only if it may be there
            asked = (self.payload.get("demo") or {}).get(name)
        return getattr(self.server.args, name) if asked is None else REQUEST_KNOBS[name][0](asked)

    @property
    def model(self) -> str:
        return str(self.server.args.name or self.payload.get("model") or "demo")

    def head(self, status: int, kind: str, *more: str) -> bytes:
        # llama-server promises Keep-Alive like this, even where it then closes (see close_after_stream).
        self.status = status
        keep = "Connection: close" if self.close else f"Keep-Alive: timeout={IDLE_TIMEOUT}"
        lines = [f"HTTP/1.1 {status} {'OK' if status == 200 else 'Demo'}", f"Content-Type: {kind}", keep,
                 f"X-Demo-Pid: {os.getpid()}", *more, "", ""]
        return "\r\n".join(lines).encode("latin-1")

    def reply(self, body: bytes, kind: str, status: int = 200) -> None:
        head = self.head(status, kind, f"Content-Length: {len(body)}")
        self.settle()
        self.connection.send(head if self.method == "HEAD" else head + body)

    def json(self, value: Any, status: int = 200) -> None:
        self.reply(dumps(value), "application/json; charset=utf-8", status)

    def error(self, status: int, message: str, kind: str = "invalid_request_error") -> None:
        self.json({"error": {"code": status, "message": message, "type": kind}}, status)

    def stream(self, pieces: Iterable[bytes], kind: str) -> None:
        self.connection.send(self.head(200, kind, "Transfer-Encoding: chunked"))
        if self.method == "HEAD":
            return
        for piece in pieces:
            self.connection.send(b"%x\r\n%b\r\n" % (len(piece), piece))
        self.settle()
        self.connection.send(b"0\r\n\r\n")
        self.close = self.close or self.knob("close_after_stream")

    def events(self, values: Iterable[Any]) -> None:
        """Server-sent events. They are named by their type, in the APIs that have one; None is OpenAI's [DONE]."""
        def encoded() -> Iterator[bytes]:
            for value in values:
                name = f"event: {value['type']}\n" if value and "type" in value else ""
                yield name.encode() + b"data: " + (b"[DONE]" if value is None else dumps(value)) + b"\n\n"
        self.stream(encoded(), "text/event-stream")

    def settle(self, ending: str = "") -> None:
        """Count and log the end. Before the last bytes: whoever has the answer finds counters and log in order."""
        if self.number:
            self.server.count(active=-1, tokens=self.tokens, cancelled=ending == "cancelled")
            took = 1000 * (time.monotonic() - self.started_at)
            self.server.log(f"{self.method} {self.target} {ending or self.status} {took:.0f} ms")
        self.number = 0

    def paced(self, parts: Iterable[Any]) -> Iterator[Any]:
        """Pass the parts on at the pace, and with the accidents, that the knobs ask for."""
        delay, due = self.knob("token_delay"), time.monotonic()
        accidents = {self.knob(name): name for name in ("hang_mid_stream", "close_mid_stream", "crash_mid_stream")}
        for part in itertools.chain(parts, [None]):         # None: the accidents that come after the last part
            if self.tokens in accidents:
                self.suffer(accidents[self.tokens])
            if part is None:
                break
            if self.tokens and delay:
                due += delay        # not now + delay: the rate must be the one asked for
                self.connection.pause(due - time.monotonic())
            self.tokens += 1
            yield part

    def suffer(self, accident: str) -> None:
        self.server.log(f"error: {accident} after {self.tokens} tokens", "E")
        if accident == "crash_mid_stream":
            os._exit(CRASH_CODE)
        if accident == "hang_mid_stream":
            self.connection.pause(IDLE_TIMEOUT)
        raise Gone(accident)


def websocket(x: Exchange) -> None:
    """Echo messages until the client says goodbye."""
    key = (x.fields["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()
    lines = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade",
             "Sec-WebSocket-Accept: " + base64.b64encode(hashlib.sha1(key).digest()).decode()]
    if "sec-websocket-protocol" in x.fields:
        lines.append("Sec-WebSocket-Protocol: " + x.fields["sec-websocket-protocol"].split(",")[0])
    x.status, x.close = 101, True
    x.connection.send("\r\n".join([*lines, "", ""]).encode())
    message, kind, opcode = b"", 0, 0
    while opcode != CLOSE:
        is_final, opcode, data = read_frame(x.connection)
        if opcode in (PING, CLOSE):     # may come between the fragments of a message
            send_frame(x.connection, PONG if opcode == PING else CLOSE, data)
        elif opcode != PONG:
            kind = opcode or kind       # 0 continues the message begun before
            message += data
            if is_final:
                send_frame(x.connection, kind, message)
                message = b""


def read_frame(connection: Connection) -> tuple[bool, int, bytes]:
    first, second = connection.exactly(2)
    size = second & 127
    if size > 125:
        size = int.from_bytes(connection.exactly(2 if size == 126 else 8), "big")
    if second < 128 or size > MAX_FRAME_BYTES:
        send_frame(connection, CLOSE, struct.pack(">H", 1002 if second < 128 else 1009))
        raise Gone("unmasked or huge frame")
    mask, data = connection.exactly(4), connection.exactly(size)
    pattern = int.from_bytes((mask * (size // 4 + 1))[:size], "big")
    return first > 127, first & 15, (int.from_bytes(data, "big") ^ pattern).to_bytes(size, "big")


def send_frame(connection: Connection, opcode: int, data: bytes) -> None:
    size = len(data)
    short, form = (size, ">BB") if size < 126 else (126, ">BBH") if size < 65536 else (127, ">BBQ")
    connection.send(struct.pack(form, 128 | opcode, short, *[size] * (size > 125)) + data)


# Paths without their /v1; they are served with and without. ABOUT is neither counted nor delayed; the rest is work.
ABOUT = {
    "/health": health, "/props": props, "/metrics": metrics,
    "/": lambda x: x.reply(b"<!doctype html><title>demo model</title><h1>demo model</h1>", "text/html; charset=utf-8"),
    "/models": lambda x: x.json({"object": "list", "data": [
        {"id": x.model, "object": "model", "created": CREATED, "owned_by": "demo"}]}),
    "/slots": lambda x: x.json([{"id": n, "is_processing": n < x.server.active} for n in range(4)])}
GET = {
    **ABOUT, "/stream": plain_stream, "/ws": websocket,
    "/audio/voices": lambda x: x.json({"voices": ["alloy", "demo"]}),
    "/sdapi/loras": lambda x: x.json([{"name": "demo", "path": "demo.safetensors"}])}
POST = {
    "/chat/completions": chat, "/completions": completions, "/completion": completion, "/infill": completion,
    "/embeddings": embeddings, "/rerank": rerank, "/reranking": rerank, "/responses": responses, "/messages": messages,
    "/messages/count_tokens": count_tokens,
    "/audio/speech": speech, "/audio/transcriptions": transcriptions, "/images/generations": images,
    "/images/edits": images, "/sdapi/txt2img": images, "/sdapi/img2img": images,
    "/audio/voices": lambda x: x.json({"voice": "demo"}),
    "/tasks/run": lambda x: x.json({"status": "completed", "model": x.model})}


def converse(server: Server, sock: socket.socket) -> None:
    """One connection, in its own thread."""
    connection, close = Connection(sock), False
    try:
        while not close:
            x = Exchange(server, connection)
            try:
                x.read()
                serve(x)
            except ValueError as error:
                x.error(400, str(error))
                sock.shutdown(socket.SHUT_WR)
                connection.pause(0.5)       # closing on unread bytes is a reset, which can overtake the answer
            close = x.close
    except OSError:
        pass                                # the end, from either side
    finally:
        sock.close()


def serve(x: Exchange) -> None:
    server, ending, path = x.server, "cancelled", x.path.replace("/v1/", "/", 1)
    if server.args.log_requests:
        server.log(" ".join([x.method, x.target, *(f"{name}: {value};" for name, value in x.headers)]))
    if path not in ABOUT:
        x.number = server.count(active=1)
        if x.number == server.args.crash_after:
            server.log(f"error: crash at request {x.number}", "E")
            os._exit(CRASH_CODE)
    try:
        perform(x, path)
        ending = ""
    except Gone as error:
        ending = str(error)
        raise
    except BAD_SHAPE as error:
        ending = f"broken: {error!r}"
        if x.status:        # the head is out: all that is left is to break off
            raise Gone(ending) from error
        x.error(400, f"missing or wrong: {error}")
    finally:
        x.settle(ending)


def perform(x: Exchange, path: str) -> None:
    routes = GET if x.method in ("GET", "HEAD") else POST if x.method == "POST" else {}
    route = echo if (path + "/").startswith("/echo/") else routes.get(path)
    if x.number:
        x.connection.pause(x.knob("prefill_delay"))
    if route is None:
        x.error(404, "File Not Found", "not_found_error")
    elif x.number and time.monotonic() < x.server.ready_at:
        x.error(503, "Loading model", "unavailable_error")
    elif x.number and x.knob("status"):
        x.error(x.knob("status"), "as the knob asks", "demo_error")
    else:
        route(x)


def install_signals(server: Server) -> None:
    def stop(number: int, _frame: Any) -> None:
        if select.select([], [1], [], 0)[1]:        # nobody reads our log: then stop without a word
            server.log(f"signal {number}")
        if number == signal.SIGTERM:
            if server.args.ignore_sigterm:
                return
            time.sleep(server.args.stop_delay)
        os._exit(0)         # unwinding would take 10 ms and there is nothing to unwind
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)


GRANDCHILD = """
import os, signal, sys, time
grace, own_session, ready = float(sys.argv[1]), sys.argv[2], int(sys.argv[3])
signal.signal(signal.SIGTERM, lambda *_: (time.sleep(grace), os._exit(0)))
if own_session == "True":
    os.setsid()
os.write(ready, b"!")
os.close(ready)
time.sleep(300)     # the bound on what a failed test leaves behind
"""


def leave_grandchild(server: Server, listener: socket.socket) -> None:
    """Returns when the child has its signal handler, so that a test can signal at once."""
    args, (started, ready) = server.args, os.pipe()
    os.set_inheritable(ready, True)
    listener.set_inheritable(args.grandchild_holds_port)
    grace, own_session = str(max(args.grandchild, args.setsid_grandchild)), str(args.setsid_grandchild >= 0)
    command = [sys.executable, "-I", "-S", "-c", GRANDCHILD, grace, own_session, str(ready)]
    pid = os.posix_spawn(sys.executable, command, os.environ)       # importing subprocess would take 8 ms
    os.close(ready)
    os.read(started, 1)
    server.log(f"grandchild {pid}")


def flood(server: Server, rate: float) -> None:
    burst = max(1, int(rate / 100))
    for number in itertools.count(0, burst):
        server.log("\n".join(f"flood line {number + n}" for n in range(burst)))
        time.sleep(burst / rate)


def listen(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    listener.listen(1024)
    return listener


def accept(server: Server, listener: socket.socket) -> None:
    while True:
        try:
            _thread.start_new_thread(converse, (server, listener.accept()[0]))
        except (OSError, RuntimeError):     # no more descriptors, or no more threads
            time.sleep(0.1)


def main(argv: list[str] | None = None) -> int:
    try:
        args = parse_arguments(sys.argv[1:] if argv is None else argv)
    except ValueError as error:
        print(f"demo-model: {error}", file=sys.stderr)
        return 2
    for fd in (0, 1, 2):        # a closed stdout must not become the number of our first socket
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    server = Server(args)
    install_signals(server)
    server.log(f"demo model server, pid {os.getpid()}, loading {args.name or 'demo'}")
    time.sleep(args.startup_delay)
    if args.exit_at_start >= 0:
        server.log("error: failed to load model", "E")
        return int(args.exit_at_start)
    try:
        listener = listen(args.host, args.port)
    except OSError as error:
        server.log(f"error: cannot listen on {args.host} port {args.port}: {error}", "E")
        return 1
    if max(args.grandchild, args.setsid_grandchild) >= 0:
        leave_grandchild(server, listener)
    server.ready_at = time.monotonic() + args.unhealthy
    host = f"[{args.host}]" if ":" in args.host else args.host
    server.log(f"listening on http://{host}:{listener.getsockname()[1]}")
    if args.flood > 0:          # after that line: a log that nobody reads must not keep us from serving
        _thread.start_new_thread(flood, (server, args.flood))
    accept(server, listener)
    return 0


if __name__ == "__main__":
    sys.exit(main())
