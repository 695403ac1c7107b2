"""Both ends of the proxy as scripts over raw sockets, so that a test decides every byte and every pause."""
from __future__ import annotations

import json
import os
import socket
import threading
import time
from contextlib import contextmanager, suppress

from llamaswap.core.config import Timeouts
from llamaswap.core.headers import forwarded
from llamaswap.core.http1 import DEFAULT_LIMITS
from llamaswap.core.messages import Response
from llamaswap.runtime import relay
from llamaswap.runtime.server import Server
from llamaswap.runtime.upstream import Endpoint, UpstreamPool

PATIENCE = 15.0
TIMEOUTS = Timeouts()


def wait_until(question, *, patience=PATIENCE):
    """Poll, because what is waited for happens in another thread or in the kernel."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if question():
            return True
        time.sleep(0.005)
    return bool(question())


def descriptors():
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0


@contextmanager
def nothing_leaks():
    """Threads and descriptors are back where they were."""
    threads, fds = set(threading.enumerate()), descriptors()
    yield
    assert wait_until(lambda: set(threading.enumerate()) <= threads), set(threading.enumerate()) - threads
    assert wait_until(lambda: descriptors() <= fds), (descriptors(), fds)


def fault_response(request, fault):
    body = json.dumps({"error": {"message": fault.message, "code": fault.code}}).encode()
    return Response(fault.status, [("Content-Type", "application/json")], body)


class Talk:
    """A client or upstream end of a connection. Reads with its own buffer and never blocks for ever."""

    def __init__(self, sock):
        self.sock = sock
        self.buffer = b""
        sock.settimeout(PATIENCE)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def send(self, data):
        self.sock.sendall(data)
        return self

    def _more(self):
        data = self.sock.recv(65536)
        self.buffer += data
        return bool(data)

    def until(self, mark):
        while mark not in self.buffer:
            if not self._more():
                raise EOFError(self.buffer)
        found, _, self.buffer = self.buffer.partition(mark)
        return found + mark

    def exactly(self, size):
        while len(self.buffer) < size:
            if not self._more():
                raise EOFError(self.buffer)
        data, self.buffer = self.buffer[:size], self.buffer[size:]
        return data

    def rest(self):
        """Everything to the end; a reset counts as one."""
        with suppress(ConnectionError):
            while self._more():
                pass
        data, self.buffer = self.buffer, b""
        return data

    def is_reset(self):
        try:
            while self.sock.recv(65536):
                pass
        except ConnectionResetError:
            return True
        return False

    def head(self):
        """(first line, {lower-case name: value}) of a message, with repeats joined by commas."""
        lines = self.until(b"\r\n\r\n").decode("latin-1").split("\r\n")[:-2]
        fields = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            key = name.lower()
            fields[key] = f"{fields[key]}, {value.strip()}" if key in fields else value.strip()
        return lines[0], fields

    def chunked(self):
        """The decoded body; EOFError when it is cut before the last chunk."""
        body = b""
        while True:
            size = int(self.until(b"\r\n").split(b";")[0], 16)
            if not size:
                assert self.until(b"\r\n") == b"\r\n"
                return body
            body += self.exactly(size)
            assert self.exactly(2) == b"\r\n"

    def answer(self, method="GET"):
        """(status, fields, body) of one complete answer, 1xx skipped."""
        while True:
            line, fields = self.head()
            status = int(line.split(" ")[1])
            if status >= 200 or status == 101:
                break
        if method == "HEAD" or status in (101, 204, 304):
            return status, fields, b""
        if fields.get("transfer-encoding") == "chunked":
            return status, fields, self.chunked()
        if "content-length" in fields:
            return status, fields, self.exactly(int(fields["content-length"]))
        return status, fields, self.rest()

    def request(self):
        """(first line, fields, body) as an upstream sees it."""
        line, fields = self.head()
        if fields.get("transfer-encoding") == "chunked":
            return line, fields, self.chunked()
        return line, fields, self.exactly(int(fields.get("content-length", 0)))


class ScriptedUpstream:
    """`script(talk, number)` runs once per accepted connection, in its own thread, and owns the connection."""

    def __init__(self, script):
        self._script = script
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self._listener.getsockname()[1]
        self.accepted = 0
        self.errors = []
        self._talks = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self):
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            talk = Talk(sock)
            self._talks.append(talk)
            thread = threading.Thread(target=self._play, args=(talk, self.accepted), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _play(self, talk, number):
        try:
            with talk:
                self._script(talk, number)
        except (EOFError, ConnectionError, socket.timeout):
            pass
        except Exception as error:
            self.errors.append(error)

    def close(self):
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for talk in self._talks:
            with suppress(OSError):
                talk.sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE)


class Rig:
    """A server whose handler passes everything on to one scripted upstream."""

    def __init__(self, script=None, *, handle=None, limits=DEFAULT_LIMITS, timeouts=TIMEOUTS, ssl_context=None,
                 tap=None):
        self.upstream = ScriptedUpstream(script) if script else None
        self.pool = UpstreamPool(Endpoint("http", "127.0.0.1", self.upstream.port), timeouts) if script else None
        self.outcomes = []
        self.done = []
        self.tap = tap
        self.extra_headers = ()
        self.streams_uploads = False
        self.server = Server(handle or self.pass_on, fault_response=fault_response, limits=limits,
                             ssl_context=ssl_context,
                             on_done=lambda request, status, sent, seconds: self.done.append((request, status, sent)))
        self.server.bind("127.0.0.1", 0)
        self.server.start()

    def pass_on(self, request):
        streams = self.streams_uploads and request.body.length != 0
        body = request.body if streams else request.body.read_all(1 << 30)
        fields = forwarded(request.headers, request.client_ip, upgrade=request.is_websocket)
        exchange = self.pool.exchange(request.method, request.target, fields, body, client=request.connection)
        self.outcomes.append(relay.respond(request, exchange, tap=self.tap, extra_headers=self.extra_headers))

    def talk(self, **options):
        sock = socket.socket()
        for option, value in options.items():
            sock.setsockopt(socket.SOL_SOCKET, getattr(socket, option), value)
        sock.settimeout(PATIENCE)
        sock.connect(self.server.addresses[0])
        return Talk(sock)

    def close(self, grace=0.2):
        clean = self.server.stop(grace)
        if self.upstream:
            self.pool.close()
            self.upstream.close()
            assert not self.upstream.errors, self.upstream.errors
        return clean

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def get(path="/", *fields, version="1.1", method="GET"):
    lines = [f"{method} {path} HTTP/{version}", "Host: test", *fields, "", ""]
    return "\r\n".join(lines).encode("latin-1")


def post(body, path="/", *fields):
    return get(path, f"Content-Length: {len(body)}", *fields, method="POST") + body


def plain(body, *fields, status="200 OK"):
    return "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *fields, "", ""]).encode("latin-1") + body


def chunked_head(*fields):
    return "\r\n".join(["HTTP/1.1 200 OK", "Transfer-Encoding: chunked", *fields, "", ""]).encode("latin-1")


SSE = "Content-Type: text/event-stream"


@contextmanager
def rig(script=None, **options):
    with nothing_leaks():
        built = Rig(script, **options)
        try:
            yield built
        finally:
            built.close()
            if built.upstream:
                assert not built.upstream.errors
