"""The listener and its connections: what a client meets, however it behaves."""
from __future__ import annotations

import errno
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import time

import pytest

from llamaswap.core.faults import ClientFault, Fault, Refused
from llamaswap.core.http1 import Limits
from llamaswap.core.messages import Response
from llamaswap.runtime import server as server_module
from llamaswap.runtime.server import Server
from tests.http1.rig import Talk, chunked_head, fault_response, get, nothing_leaks, plain, post, rig, wait_until


def hello(request):
    return Response(200, [("Content-Type", "text/plain")], b"hello")


def echo(request):
    return Response(200, [], request.body.read_all(1 << 20))


def test_keep_alive_and_the_fields_of_an_answer():
    with rig(handle=hello) as r, r.talk() as client:
        for _ in range(3):
            status, fields, body = client.send(get()).answer()
            assert (status, body) == (200, b"hello")
            assert set(fields) == {"content-type", "date", "content-length"}
            assert fields["date"].endswith(" GMT") and len(fields["date"]) == 29


@pytest.mark.parametrize("fields", [["Connection: close"], ["Connection: keep-alive, Close"]])
def test_a_client_may_ask_for_the_end(fields):
    with rig(handle=hello) as r, r.talk() as client:
        assert client.send(get("/", *fields)).answer()[1]["connection"] == "close"
        assert client.rest() == b""


def test_pipelined_requests_are_answered_in_order():
    with rig(handle=echo) as r, r.talk() as client:
        client.send(b"".join(post(b"%d" % n) for n in range(50)))
        assert [client.answer()[2] for _ in range(50)] == [b"%d" % n for n in range(50)]


def test_head_gets_the_length_and_no_body():
    with rig(handle=hello) as r, r.talk() as client:
        for _ in range(2):
            assert client.send(get(method="HEAD")).answer("HEAD")[1]["content-length"] == "5"
        assert client.send(get()).answer()[2] == b"hello"


@pytest.mark.parametrize("raw", [
    post(b"x" * 300_000),
    get("/", "Transfer-Encoding: chunked", method="POST") + b"186a0\r\n" + b"x" * 100_000 + b"\r\n30d40\r\n"
    + b"x" * 200_000
    + b"\r\n0\r\n\r\n",
])
def test_bodies_larger_than_any_buffer(raw):
    with rig(handle=echo) as r, r.talk() as client:
        for _ in range(2):
            sender = threading.Thread(target=client.send, args=(raw,))
            sender.start()
            assert client.answer()[2] == b"x" * 300_000
            sender.join(10)


def test_a_body_nobody_read_is_skipped_or_ends_the_connection():
    with rig(handle=hello) as r:
        with r.talk() as client:
            for _ in range(3):
                assert client.send(post(b"x" * 40_000)).answer()[2] == b"hello"
            assert r.server.connections == 1
        with r.talk() as client:
            client.send(get("/", "Content-Length: 10000000", method="POST") + b"x" * 1000)
            assert client.answer()[2] == b"hello"
            assert client.rest() == b""


@pytest.mark.parametrize("raw, status", [
    (get("/", "Content-Length: 100000", method="POST") + b"x" * 100_000, 401),
    (get("/", "Transfer-Encoding: chunked", method="POST") + b"5\r\nhello\r\n0\r\n\r\n", 401),
    (get("/cut", "Transfer-Encoding: chunked", method="POST") + b"zz\r\n", 400),
    (get("/", "Content-Length: 40000", method="POST") + b"x" * 40_000, None),
    (get("/"), None),
])
def test_a_client_is_told_when_its_connection_will_not_be_kept(raw, status):
    """Otherwise it sends its next request into a connection that is being closed."""
    def refuse(request):
        if request.path == "/cut":
            request.body.read_all(1 << 20)
        raise ClientFault("no", status=401)
    with rig(handle=refuse) as r, r.talk() as client:
        found, fields, _ = client.send(raw).answer()
        assert (found, fields.get("connection")) == ((status, "close") if status else (401, None))
        if status:
            assert client.rest() == b""
        else:
            assert client.send(raw).answer()[0] == 401


def test_expect_continue_is_answered_when_the_body_is_wanted():
    with rig(handle=echo) as r, r.talk() as client:
        client.send(get("/", "Content-Length: 5", "Expect: 100-continue", method="POST"))
        assert client.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert client.send(b"hello").answer()[2] == b"hello"
        client.send(get("/", "Content-Length: 5", "Expect: 100-Continue", method="POST") + b"hello")
        assert client.head()[0] == "HTTP/1.1 200 OK", "it did not wait, so it needs no invitation"


def test_expect_continue_without_interest_closes():
    with rig(handle=hello) as r, r.talk() as client:
        client.send(get("/", "Content-Length: 5", "Expect: 100-continue", method="POST"))
        status, fields, _ = client.answer()
        assert status == 200 and fields["connection"] == "close"
        assert client.rest() == b""


def test_an_early_refusal_is_readable():
    def refuse(request):
        raise ClientFault("too much", status=413, code="body_too_large")
    with rig(handle=refuse) as r:
        for _ in range(10):
            with r.talk() as client:
                client.send(get("/", "Content-Length: 100000000", method="POST"))
                try:
                    for _ in range(20):
                        client.send(b"x" * 100_000)
                except ConnectionError:
                    pass
                assert client.answer()[0] == 413


def test_who_sends_all_of_a_large_upload_first_reads_its_refusal():
    def refuse(request):
        raise ClientFault("no", status=401, code="unauthorized")
    with rig(handle=refuse) as r:
        for pause in (0, 0.06):       # as fast as can be, and over a network
            with r.talk() as client:
                client.send(get("/", "Content-Length: 40000000", method="POST"))
                for _ in range(20):   # no error on the way: not every client looks for an answer after one
                    client.send(b"x" * 2_000_000)
                    time.sleep(pause)
                assert client.answer()[0] == 401


def test_a_body_over_the_limit():
    with rig(handle=echo) as r:
        with r.talk() as client:
            status, _, body = client.send(get("/", "Content-Length: 2000000", method="POST")).answer()
            assert status == 413 and json.loads(body)["error"]["code"] == "body_too_large"
        with r.talk() as client:
            client.send(get("/", "Transfer-Encoding: chunked", method="POST") + b"200000\r\n" + b"x" * (1 << 20)
                        + b"yy")
            assert client.answer()[0] == 413


def test_faults_become_answers_and_the_connection_goes_on(caplog):
    faults = [ClientFault("no"), Refused("later", retry_after=1), Fault("us"), ValueError("bug")]

    def fail(request):
        request.id = f"r-{request.query}"
        raise faults[int(request.query)]
    with rig(handle=fail) as r, r.talk() as client:
        assert [client.send(get(f"/?{n}")).answer()[0] for n in range(4)] == [400, 503, 500, 500]
    assert [(each.getMessage(), each.fields) for each in caplog.records if each.exc_info] == [
        ("the handler of GET / failed", {"request_id": "r-3"})]


def test_deeply_nested_json_is_survived():
    def parse(request):
        try:
            json.loads(request.body.read_all(1 << 20))
        except RecursionError:
            raise ClientFault("too deep") from None
        return hello(request)
    with rig(handle=parse) as r, r.talk() as client:
        for body in (b"[" * 100_000, b'{"a":' * 100_000):
            assert client.send(post(body)).answer()[0] == 400


def test_no_answer_and_an_impossible_answer_are_500():
    def nothing(request):
        return Response(200, [("X", "a\r\nY: b")]) if request.path == "/broken" else None
    with rig(handle=nothing) as r, r.talk() as client:
        assert client.send(get()).answer()[0] == 500
        assert client.send(get("/broken")).answer()[0] == 500


def test_streams_are_flushed_piece_by_piece():
    go_on = threading.Semaphore(0)

    def pieces():
        for n in range(3):
            yield b"%d" % n
            yield b""
            assert go_on.acquire(timeout=10)
    closed = []
    with rig(handle=lambda request: Response(200, [], pieces(), lambda: closed.append(1))) as r, r.talk() as client:
        client.send(get()).head()
        for n in range(3):
            assert client.exactly(6) == b"1\r\n%d\r\n" % n
            go_on.release()
        assert client.exactly(5) == b"0\r\n\r\n"
        client.send(get(version="1.0")).head()
        for n in range(3):
            assert client.exactly(1) == b"%d" % n
            go_on.release()
        assert client.rest() == b""
        assert wait_until(lambda: closed == [1, 1])


@pytest.mark.parametrize("error", [Fault("late"), ValueError("late")])
@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_a_stream_that_fails_is_not_finished(error, version, caplog):
    closed = []

    def pieces():
        yield b"abc"
        raise error
    with rig(handle=lambda request: Response(200, [], pieces(), lambda: closed.append(1))) as r, r.talk() as client:
        client.send(get(version=version))
        if version == "1.0":
            assert client.is_reset()
        else:
            assert client.rest().endswith(b"3\r\nabc\r\n")
        assert wait_until(lambda: closed == [1])
    told = [each.fields for each in caplog.records if "broke off" in each.getMessage()]
    assert told == ([{"request_id": ""}] if isinstance(error, Fault) else [])


def test_a_stream_whose_client_left_is_closed():
    closed = []

    def pieces():
        try:
            while True:
                yield b"x" * 10000
        finally:
            closed.append("generator")
    with rig(handle=lambda request: Response(200, [], pieces(), lambda: closed.append("response"))) as r:
        with r.talk() as client:
            client.send(get()).head()
        assert wait_until(lambda: closed == ["generator", "response"])
        assert wait_until(lambda: r.done and r.done[0][1] == 200)


def test_idle_and_slow_clients_run_into_their_timeouts():
    limits = Limits(idle_timeout=0.3, head_timeout=0.3, body_timeout=0.3)
    with rig(handle=echo, limits=limits) as r:
        with r.talk() as idle, r.talk() as slow, r.talk() as lazy:
            slow.send(b"GET / HTTP/1.1\r\n")
            lazy.send(get("/", "Content-Length: 5", method="POST") + b"he")
            assert idle.rest() == b""
            assert slow.answer()[0] == 408
            assert lazy.answer()[0] == 408
        with r.talk() as dripping:
            started = time.monotonic()
            try:
                for byte in b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 1000:
                    dripping.send(bytes([byte]))
                    time.sleep(0.01)
                    if time.monotonic() - started > 10:
                        break
            except ConnectionError:
                pass
            assert time.monotonic() - started < 8, "the deadline is for the whole head"


@pytest.mark.parametrize("raw, status", [
    (b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
    (b"GET /" + b"a" * 100_000, 414),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 70_000 + b"\r\n\r\n", 431),
    (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 250 + b"\r\n", 431),
    (b"BAD\r\n\r\n", 400),
])
def test_head_limits(raw, status):
    with rig(handle=hello) as r, r.talk() as client:
        client.send(raw)
        assert client.answer()[0] == status
        assert client.rest() == b""


def test_beyond_the_connection_limit_idle_ones_make_room():
    with rig(handle=hello, limits=Limits(max_connections=4)) as r:
        clients = [r.talk() for _ in range(4)]
        for client in clients:
            assert client.send(get()).answer()[0] == 200
            assert wait_until(lambda: all(connection.is_idle for connection in r.server._copy_of_live()))
        with r.talk() as late:
            assert late.send(get()).answer()[0] == 200
        assert clients[0].rest() == b"", "the one that was idle longest"
        for client in clients:
            client.sock.close()


def test_beyond_the_connection_limit_nobody_idle_is_a_readable_503(caplog):
    release = threading.Event()

    def wait(request):
        release.wait(10)
        return hello(request)
    with rig(handle=wait, limits=Limits(max_connections=2)) as r:
        clients = [r.talk().send(get()) for _ in range(3)]
        assert wait_until(lambda: r.server.connections == 3)
        time.sleep(0.1)
        for _ in range(5):
            with r.talk() as late:
                assert late.answer()[0] == 503
        said = [record.getMessage() for record in caplog.records if "turned" in record.getMessage()]
        assert said == ["more than 2 connections: turned 1 away"], "a flood of clients is not one of lines"
        release.set()
        for client in clients:
            assert client.answer()[0] == 200
            client.sock.close()


def test_many_that_come_at_once_are_served_by_threads_that_are_seen():
    def name(request):
        return Response(200, [], threading.current_thread().name.encode())
    with rig(handle=name) as r:
        clients = [r.talk() for _ in range(server_module.MOST_AT_ONCE + 20)]
        names = {client.send(get()).answer()[2].decode() for client in clients}
        assert len(names) == len(clients) and names <= {thread.name for thread in threading.enumerate()}
        assert all(one.startswith("conn-") for one in names)
        for client in clients:
            client.sock.close()
        assert wait_until(lambda: r.server.connections == 0)


def test_a_connection_for_every_request_needs_few_threads():
    names = set()

    def note(request):
        names.add(threading.current_thread().name)
        return hello(request)
    with rig(handle=note) as r:
        for _ in range(50):
            with r.talk() as client:
                assert client.send(get("/", "Connection: close")).answer()[2] == b"hello"
                assert client.rest() == b""
    assert len(names) < 25, names


def test_running_out_of_descriptors_is_survived(monkeypatch):
    with rig(handle=hello) as r:
        left = [3]

        class Broke:
            def accept(self):
                if left[0]:
                    left[0] -= 1
                    raise OSError(errno.EMFILE, "too many")
                raise BlockingIOError
        monkeypatch.setattr(server_module, "OUT_OF_DESCRIPTORS_PAUSE", 0.01)
        for _ in range(4):
            r.server._accept(Broke())
        assert left == [0]
        with r.talk() as client:
            assert client.send(get()).answer()[0] == 200


def test_a_graceful_stop_lets_running_answers_end():
    entered, release = threading.Event(), threading.Event()

    def wait(request):
        entered.set()
        release.wait(10)
        return hello(request)
    with rig(handle=wait) as r, r.talk() as idle, r.talk() as busy:
        address = r.server.addresses[0]
        busy.send(get())
        assert entered.wait(5)
        results = []
        stopper = threading.Thread(target=lambda: results.append(r.server.stop(10)))
        stopper.start()
        assert idle.rest() == b""
        with pytest.raises(OSError):
            socket.create_connection(address, timeout=5)
        release.set()
        status, fields, _ = busy.answer()
        assert status == 200 and fields["connection"] == "close"
        stopper.join(10)
        assert results == [True]


def test_a_stop_cuts_what_does_not_end():
    release = threading.Event()
    with rig(handle=lambda request: release.wait(10) and hello(request)) as r, r.talk() as busy:
        busy.send(get())
        assert wait_until(lambda: r.server.connections == 1)
        time.sleep(0.05)
        threading.Timer(0.3, release.set).start()
        assert r.server.stop(0.05) is False
        assert busy.rest() == b""
        assert wait_until(lambda: r.server.connections == 0)


@pytest.mark.parametrize("is_watching", [True, False])
def test_a_stop_does_not_wait_for_a_watcher_that_does_not_read(monkeypatch, is_watching):
    monkeypatch.setattr(server_module, "WATCHER_GRACE", 0.1)
    written = []

    def flood():
        while True:
            written.append(1)
            yield b"x" * 65536
    grace = 60 if is_watching else 1
    with rig(handle=lambda request: Response(200, [], flood(), is_watching=is_watching)) as r, r.talk() as stalled:
        stalled.send(get())
        sizes = []
        assert wait_until(lambda: sizes.append(len(written)) or len(written) > 2 and sizes[-20:] == [len(written)] * 20)
        begun = time.monotonic()
        assert r.server.stop(grace) is is_watching
        assert time.monotonic() - begun < 40


def test_watching_and_asking_for_a_client_that_left():
    seen = []
    gone = threading.Event()

    def wait(request):
        seen.append(request.connection.is_gone())
        with request.connection.watch(gone.set):
            assert gone.wait(10)
        seen.append(request.connection.is_gone())
        return hello(request)
    with rig(handle=wait) as r:
        with r.talk() as client:
            client.send(get() + get())
            assert wait_until(lambda: seen)
            time.sleep(0.05)
            assert not gone.is_set(), "pipelined bytes are not a hang-up"
        assert gone.wait(5)
        assert wait_until(lambda: len(seen) >= 2 and seen[:2] == [False, True])


def test_addresses_and_a_taken_port():
    with nothing_leaks():
        first = Server(hello, fault_response=fault_response)
        first.bind("localhost", 0)
        host, port = first.addresses[0]
        second = Server(hello, fault_response=fault_response)
        with pytest.raises(OSError) as caught:
            second.bind(host, port)
        assert caught.value.errno == errno.EADDRINUSE
        everywhere = Server(hello, fault_response=fault_response)
        everywhere.bind("", 0)
        everywhere.start()
        with Talk(socket.create_connection(("127.0.0.1", everywhere.addresses[0][1]))) as client:
            assert client.send(get()).answer()[0] == 200
        for server in (first, second, everywhere):
            assert server.stop(1) and server.stop(1)


def test_a_socket_from_outside():
    with nothing_leaks():
        server = Server(lambda request: Response(200, [], request.client_ip.encode()), fault_response=fault_response)
        server.bind_socket(socket.create_server(("127.0.0.1", 0)))
        server.start()
        with Talk(socket.create_connection(server.addresses[0])) as client:
            assert client.sock.getpeername() == server.addresses[0]
            assert client.send(get()).answer()[2] == b"127.0.0.1"
        server.stop(1)


def test_requests_are_reported_once_with_what_was_sent():
    with rig(handle=echo) as r, r.talk() as client:
        client.send(post(b"hello")).answer()
        client.send(post(b"x" * 2_000_000)).answer()
        assert wait_until(lambda: len(r.done) == 2)
        assert [(request.path, status, sent) for request, status, sent in r.done][0] == ("/", 200, 5)
        assert r.done[1][1] == 413


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    made = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
         "-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")], capture_output=True, timeout=60)
    if made.returncode:
        pytest.skip("no openssl to make a certificate with")
    return folder


def tls_pair(folder):
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    client_side = ssl.create_default_context(cafile=str(folder / "cert.pem"))
    return server_side, client_side


def test_tls(certificate):
    server_side, client_side = tls_pair(certificate)
    raw = b"1\r\na\r\n" * 50_000 + b"0\r\n\r\n"

    def script(talk, number):
        while True:
            line, _, body = talk.request()
            talk.send(plain(body) if "POST" in line else chunked_head() + raw)
    with rig(script, ssl_context=server_side) as r:
        secured = client_side.wrap_socket(socket.create_connection(r.server.addresses[0]), server_hostname="localhost")
        with Talk(secured) as client:
            for _ in range(2):
                client.send(get()).head()
                assert client.exactly(len(raw)) == raw
                big = os.urandom(1 << 20)
                # One thread: an SSLSocket may not be read and written at the same time before Python 3.13.
                assert client.send(post(big)).answer()[2] == big
            assert client.send(get("/", "Connection: close")).head()[0] == "HTTP/1.1 200 OK"
            assert client.rest() == raw


def test_plain_http_on_the_tls_port_and_broken_handshakes(certificate):
    server_side, client_side = tls_pair(certificate)
    with rig(handle=hello, ssl_context=server_side, limits=Limits(handshake_timeout=0.3)) as r:
        with r.talk() as client:
            status, _, body = client.send(get()).answer()
            assert status == 400 and b"HTTP request to an HTTPS server" in body
        with r.talk() as client:
            assert client.send(b"\x16garbage" * 10).rest()[:1] in (b"", b"\x15")
        with r.talk() as silent:
            assert silent.rest() == b""


def test_tls_client_that_leaves_is_noticed(certificate):
    server_side, client_side = tls_pair(certificate)
    gone = threading.Event()

    def wait(request):
        with request.connection.watch(gone.set):
            assert gone.wait(10)
        return hello(request)
    with rig(handle=wait, ssl_context=server_side) as r:
        secured = client_side.wrap_socket(socket.create_connection(r.server.addresses[0]), server_hostname="localhost")
        secured.sendall(get())
        time.sleep(0.1)
        assert not gone.is_set()
        secured.close()
        assert gone.wait(5)


CROWD = """
import resource, sys, threading, time
resource.setrlimit(resource.RLIMIT_NOFILE, (min(8192, resource.getrlimit(resource.RLIMIT_NOFILE)[1]),) * 2)
sys.setswitchinterval(0.0005)
from llamaswap.core.config import Timeouts
from llamaswap.core.headers import forwarded
from llamaswap.core.messages import Response
from llamaswap.runtime import relay
from llamaswap.runtime.server import Server
from llamaswap.runtime.upstream import Endpoint, UpstreamPool
pool = UpstreamPool(Endpoint("http", "127.0.0.1", int(sys.argv[1])), Timeouts())
def handle(request):
    fields = forwarded(request.headers, request.client_ip)
    exchange = pool.exchange("GET", request.target, fields, client=request.connection)
    relay.respond(request, exchange, tap=lambda data: None)
server = Server(handle, fault_response=lambda request, fault: Response(fault.status, [], fault.message.encode()))
server.bind("127.0.0.1", 0)
server.start()
print(server.addresses[0][1], flush=True)
for line in sys.stdin:
    status = open("/proc/self/status").read()
    print(status.partition("VmRSS:")[2].split()[0], threading.active_count(), flush=True)
    if line == "stop\\n":
        break
server.stop(2)
deadline = time.monotonic() + 10
while threading.active_count() > 2 and time.monotonic() < deadline:
    time.sleep(0.01)
print(threading.active_count(), flush=True)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_thousand_idle_connections_and_two_hundred_streams():
    """In a process of its own, as the memory is what is measured."""
    resource = pytest.importorskip("resource")
    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < 3000:
        pytest.skip("needs 3000 descriptors")
    from tests.http1.rig import SSE, ScriptedUpstream
    measured = threading.Event()

    def script(talk, number):
        while True:
            line, _, _ = talk.request()
            if "/stream" not in line:
                talk.send(plain(b"ok"))
                continue
            talk.send(chunked_head(SSE))
            for n in range(20):
                talk.send(b"8\r\ndata: %d\n\r\n" % (n % 10))
                time.sleep(0.02)
                if n == 9:
                    measured.wait(30)
            talk.send(b"0\r\n\r\n")
            return
    upstream = ScriptedUpstream(script)
    process = subprocess.Popen([sys.executable, "-c", CROWD, str(upstream.port)], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE,
                               text=True, cwd=os.getcwd())
    talks = []
    try:
        port = int(process.stdout.readline())
        talks = [Talk(socket.create_connection(("127.0.0.1", port))) for _ in range(1000)]
        for client in talks[:100]:
            assert client.send(get()).answer()[2] == b"ok"
        streams = [Talk(socket.create_connection(("127.0.0.1", port))) for _ in range(200)]
        for client in streams:
            client.send(get("/stream", "Connection: close"))
        talks += streams
        for client in streams:
            client.until(b"data: 9")

        def measure():
            process.stdin.write("measure\n")
            process.stdin.flush()
            return map(int, process.stdout.readline().split())
        kilobytes, threads = measure()
        measured.set()
        print(f"{kilobytes} KiB resident with {threads} threads")
        for client in streams:
            assert client.rest().endswith(b"8\r\ndata: 9\n\r\n0\r\n\r\n")
        for client in talks[:1000]:
            assert client.send(get()).answer()[2] == b"ok"
        assert threads > 1200
        assert kilobytes < 120 * 1024, kilobytes
        process.stdin.write("stop\n")
        process.stdin.flush()
        process.stdout.readline()
        assert int(process.stdout.readline()) <= 2
    finally:
        measured.set()
        for client in talks:
            client.sock.close()
        process.kill()
        process.communicate(timeout=10)
        upstream.close()
    assert not upstream.errors
