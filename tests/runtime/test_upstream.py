"""The conversation with a model server: sockets that died, answers that come early, waits that end."""
from __future__ import annotations

import gc
import socket
import ssl
import threading
import time
import weakref
from contextlib import contextmanager, suppress

import pytest

from llamaswap.core.config import Timeouts
from llamaswap.core.faults import ClientFault, UpstreamFault
from llamaswap.runtime.turnstile import CROWD
from llamaswap.runtime.upstream import Endpoint, UpstreamPool
from tests.http1.rig import TIMEOUTS, ScriptedUpstream, chunked_head, get, nothing_leaks, plain, rig, wait_until
from tests.support.certificate import make_certificate

HOST = [("Host", "test")]


@contextmanager
def pool(script, timeouts=TIMEOUTS, **options):
    with nothing_leaks():
        upstream = ScriptedUpstream(script)
        built = UpstreamPool(Endpoint("http", "127.0.0.1", upstream.port), timeouts, **options)
        built.upstream = upstream
        try:
            yield built
        finally:
            built.close()
            upstream.close()
        assert not upstream.errors, upstream.errors


def echo(talk, number):
    while True:
        line, fields, body = talk.request()
        talk.send(plain(b"%d:%b" % (number, body)))


def test_sockets_are_reused_last_in_first_out():
    with pool(echo) as p:
        first, second = p.exchange("POST", "/", HOST, b"a"), p.exchange("POST", "/", HOST, b"b")
        assert (first.read_all(99), second.read_all(99)) == (b"1:a", b"2:b")
        first.close()
        second.close()
        with p.exchange("POST", "/", HOST, b"c") as third:
            assert third.read_all(99) == b"2:c"
        assert p.upstream.accepted == 2


def test_an_answer_that_was_not_read_to_its_end_costs_its_socket():
    with pool(echo) as p:
        p.exchange("POST", "/", HOST, b"a").close()
        with p.exchange("POST", "/", HOST, b"b") as second:
            assert second.read_all(99) == b"2:b"


PARTS = (b"one|", b"two|")


@pytest.mark.parametrize("head, parts", [
    (b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n", PARTS),
    (chunked_head(), (b"4\r\none|\r\n", b"4\r\ntwo|\r\n0\r\n\r\n")),
])
def test_who_waits_for_the_end_hears_of_it_before_the_last_piece_is_passed_on(head, parts):
    goes_on = threading.Event()

    def script(talk, number):
        talk.request()
        talk.send(head + parts[0])
        assert goes_on.wait(10)
        talk.send(parts[1])
    heard = []
    with pool(script) as p, p.open() as exchange:
        exchange.on_read = lambda: heard.append(repr(exchange))
        exchange.begin("GET", "/", HOST)
        for piece in exchange.pieces():
            goes_on.set()
            assert bool(heard) is (piece == PARTS[-1]), piece
    assert len(heard) == 1 and "closed" in heard[0]


@pytest.mark.parametrize("answer", [
    plain(b"whole"), plain(b""), b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nwhole",
])
def test_who_waits_for_the_end_hears_of_it_when_all_came_at_once_or_the_connection_ended(answer):
    def script(talk, number):
        talk.request()
        talk.send(answer)
    heard = []
    with pool(script) as p, p.open() as exchange:
        exchange.on_read = lambda: heard.append(1)
        exchange.begin("GET", "/", HOST)
        if exchange.take_whole() is None:
            assert exchange.read_all(9) == b"whole"
        assert heard == [1]


@pytest.mark.parametrize("is_read", [True, False])
def test_an_exchange_and_who_waits_for_its_end_leave_no_cycle(is_read):
    class Waiting:
        def __init__(self, exchange):
            self.exchange, exchange.on_read = exchange, self.hear

        def hear(self):
            pass
    with pool(echo) as p:
        gc.disable()      # the program collects so rarely that cycles are as bad as a leak
        try:
            waiting = Waiting(p.open())
            with waiting.exchange.begin("GET", "/", HOST) as exchange:
                if is_read:
                    exchange.read_all(9)
            seen = weakref.ref(waiting)
            del waiting, exchange
            assert seen() is None
        finally:
            gc.enable()


def test_of_an_answer_that_is_cut_short_nobody_hears_an_end():
    def script(talk, number):
        talk.request()
        talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nwhole")
    with pool(script) as p, p.open() as exchange:
        exchange.on_read = lambda: pytest.fail("it was not read to its end")
        exchange.begin("GET", "/", HOST)
        with pytest.raises(UpstreamFault):
            exchange.read_all(9)


def test_the_host_and_framing_are_ours():
    seen = []

    def script(talk, number):
        while True:
            seen.append(talk.request())
            talk.send(plain(b""))
    with pool(script) as p:
        for method, body in (("GET", b""), ("POST", b""), ("POST", b"x")):
            with p.exchange(method, "/", [], body) as exchange:
                exchange.read_all(9)
        assert seen[0][1] == {"host": p.endpoint.authority}
        assert seen[1][1]["content-length"] == "0" and seen[2][1]["content-length"] == "1"


def test_a_socket_closed_while_idle_is_not_used():
    def script(talk, number):
        talk.request()
        talk.send(plain(b"%d" % number))
    with pool(script) as p:
        for number in (b"1", b"2", b"3"):
            with p.exchange("GET", "/", HOST) as exchange:
                assert exchange.read_all(9) == number
            time.sleep(0.02)


@pytest.mark.parametrize("reset", [False, True])
def test_a_socket_that_dies_on_reuse_is_retried_once_on_a_fresh_one(reset):
    def script(talk, number):
        talk.request()
        talk.send(plain(b"%d" % number))
        if number == 1:
            talk.request()                       # took the request, then died without an answer
            if reset:
                talk.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            return
        talk.request()
    with pool(script) as p:
        for number in (b"1", b"2"):
            with p.exchange("POST", "/", HOST, b"body") as exchange:
                assert exchange.read_all(9) == number


def test_a_fresh_socket_without_an_answer_is_not_retried():
    def script(talk, number):
        talk.request()
    with pool(script) as p:
        with pytest.raises(UpstreamFault) as caught:
            p.exchange("GET", "/", HOST)
        assert caught.value.status == 502 and p.upstream.accepted == 1


def test_what_cannot_be_replayed_goes_out_on_a_fresh_socket():
    with pool(echo) as p:
        for number in (b"1:x", b"2:x"):
            with p.exchange("POST", "/", HOST, b"x", can_replay=False) as exchange:
                assert exchange.read_all(9) == number


def test_a_reader_of_no_body_can_be_replayed():
    class Nothing:
        length = 0
    with pool(echo) as p:
        for _ in range(3):
            with p.exchange("GET", "/", HOST, Nothing()) as exchange:
                assert exchange.read_all(9) == b"1:"


def test_half_an_answer_is_never_retried():
    def script(talk, number):
        talk.request()
        talk.send(plain(b"first"))
        talk.request()
        talk.send(b"HTTP/1.1 200 OK\r\nContent-Le")
    with pool(script) as p:
        with p.exchange("GET", "/", HOST) as exchange:
            exchange.read_all(9)
        with pytest.raises(UpstreamFault):
            p.exchange("GET", "/", HOST)
        assert p.upstream.accepted == 1


def test_unsolicited_bytes_spoil_an_idle_socket():
    def script(talk, number):
        talk.request()
        talk.send(plain(b"%d" % number))
        time.sleep(0.05)
        talk.send(plain(b"evil"))
        talk.request()
    with pool(script) as p:
        with p.exchange("GET", "/", HOST) as exchange:
            exchange.read_all(9)
        time.sleep(0.2)
        with p.exchange("GET", "/", HOST) as exchange:
            assert exchange.read_all(9) == b"2"


def test_old_and_surplus_idle_sockets_are_closed():
    with pool(echo, Timeouts(idle_conn=1), max_idle=2) as p:
        exchanges = [p.exchange("GET", "/", HOST) for _ in range(5)]
        for exchange in exchanges:
            exchange.read_all(9)
            exchange.close()
        assert "2 idle" in repr(p)
        time.sleep(1.1)
        with p.exchange("GET", "/", HOST) as exchange:
            assert exchange.read_all(9) == b"6:"


def test_closing_the_pool_closes_what_is_idle_and_what_comes_back():
    with pool(echo) as p:
        early, late = p.exchange("GET", "/", HOST), p.exchange("GET", "/", HOST)
        early.read_all(9)
        early.close()
        p.close()
        assert late.read_all(9) == b"2:"
        late.close()
        assert repr(p).endswith("0 idle, closed)")


def test_environment_proxies_are_not_asked(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with pool(echo) as p, p.exchange("GET", "/", HOST) as exchange:
        assert exchange.read_all(9) == b"1:"


def test_an_answer_that_does_not_come_in_time():
    def script(talk, number):
        talk.request()
        talk.rest()
    with pool(script, Timeouts(response_header=1)) as p:
        with pytest.raises(UpstreamFault) as caught:
            p.exchange("GET", "/", HOST)
        assert caught.value.status == 504


def test_a_dripping_head_does_not_extend_its_time():
    def script(talk, number):
        talk.request()
        for _ in range(100):
            talk.send(b"H" if _ == 0 else b"T")
            time.sleep(0.1)
    with pool(script, Timeouts(response_header=1)) as p, pytest.raises(UpstreamFault):
        p.exchange("GET", "/", HOST)


def test_a_slow_body_may_take_its_time():
    def script(talk, number):
        talk.request()
        talk.send(chunked_head())
        for _ in range(3):
            time.sleep(0.5)
            talk.send(b"1\r\nx\r\n")
        talk.send(b"0\r\n\r\n")
    with pool(script, Timeouts(response_header=1)) as p, p.exchange("GET", "/", HOST) as exchange:
        assert exchange.read_all(9) == b"xxx"


def test_aborting_from_another_thread_at_any_moment():
    def script(talk, number):
        talk.request()
        if number > 1:
            talk.send(chunked_head() + b"1\r\nx\r\n")
        talk.rest()
    with pool(script) as p:
        before = p.open()
        before.abort()
        waiting = p.open()
        threading.Timer(0.1, waiting.abort).start()
        for exchange in (before, waiting):
            with pytest.raises(UpstreamFault) as caught:
                exchange.begin("GET", "/", HOST)
            assert caught.value.code == "aborted"
        reading = p.exchange("GET", "/", HOST)
        threading.Timer(0.1, reading.abort).start()
        with pytest.raises(UpstreamFault) as caught:
            reading.read_all(99)
        assert caught.value.code == "aborted" and reading.why_aborted == "aborted"
        reading.close()
        reading.abort()


def test_whoever_aborts_it_says_what_is_told_of_it():
    with pool(lambda talk, number: talk.rest()) as p:
        exchange = p.open()
        exchange.abort(UpstreamFault("enough", code="cancelled"))
        exchange.abort()
        with pytest.raises(UpstreamFault, match="enough") as caught:
            exchange.begin("GET", "/", HOST)
        assert caught.value.code == "cancelled"


def test_read_all_is_bounded():
    with pool(echo) as p, p.exchange("POST", "/", HOST, b"x" * 100) as exchange, pytest.raises(UpstreamFault):
        exchange.read_all(50)


@pytest.mark.parametrize("chunked", [False, True])
def test_an_upload_streams_through(chunked):
    received = threading.Event()

    def script(talk, number):
        line, fields = talk.head()
        assert fields.get("transfer-encoding") == ("chunked" if chunked else None)
        if chunked:
            assert talk.until(b"\r\n") == b"5\r\n"
        assert talk.exactly(5) == b"first"
        received.set()
        if chunked:
            assert talk.exactly(2) == b"\r\n"
        assert (talk.chunked() if chunked else talk.exactly(6)) == b"second"
        talk.send(plain(b"done"))
    with rig(script) as r, r.talk() as client:
        r.streams_uploads = True
        framing = "Transfer-Encoding: chunked" if chunked else "Content-Length: 11"
        client.send(get("/", framing, method="POST") + (b"5\r\nfirst\r\n" if chunked else b"first"))
        assert received.wait(10), "the first part must not wait for the second"
        client.send(b"6\r\nsecond\r\n0\r\n\r\n" if chunked else b"second")
        assert client.answer()[2] == b"done"


def test_a_broken_upload_is_not_finished_upstream():
    ends, begun = [], threading.Event()

    def script(talk, number):
        talk.head()
        begun.set()
        ends.append(talk.rest())
    with rig(script) as r, r.talk() as client:
        r.streams_uploads = True
        client.send(get("/", "Transfer-Encoding: chunked", method="POST") + b"5\r\nfirst\r\n")
        assert begun.wait(10)
        client.send(b"zz\r\n")
        assert client.answer()[0] == 400
        assert wait_until(lambda: ends)
        assert b"0\r\n\r\n" not in ends[0]


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("hangs_up", [False, True])
def test_an_early_answer_to_a_large_upload_arrives(streams, hangs_up):
    def script(talk, number):
        talk.head()
        talk.send(plain(b"too large", "Connection: close", status="413 Content Too Large"))
        if not hangs_up:
            time.sleep(1.5)
    with rig(script) as r, r.talk() as client:
        r.streams_uploads = streams
        raw = get("/", "Content-Length: 30000000", method="POST") + b"x" * 30_000_000

        def send():
            with suppress(OSError):
                client.sock.sendall(raw)
        sender = threading.Thread(target=send)
        sender.start()
        status, _, body = client.answer()
        # An upstream that hangs up on unread bytes may destroy its own answer; then there is none to pass on.
        assert status == 413 or (hangs_up and status == 502)
        with suppress(OSError):
            client.sock.shutdown(socket.SHUT_RDWR)
        sender.join(10)


def test_a_client_that_leaves_during_a_stalled_upload_frees_it():
    freed = threading.Event()

    def script(talk, number):
        talk.head()
        freed.wait(20)
    with rig(script) as r:
        with r.talk() as client:
            client.sock.sendall(get("/", "Content-Length: 20000000", method="POST") + b"x" * 20_000_000)
            time.sleep(0.2)
        assert wait_until(lambda: r.done)
        freed.set()
        assert r.done[0][1] == 499


def test_a_faulty_upload_is_the_clients_fault():
    class Upload:
        length = 5

        def chunks(self):
            yield b"12"
            raise ClientFault("cut")

        def read_all(self, max_bytes):
            raise AssertionError

    def script(talk, number):
        talk.rest()
    with pool(script) as p, pytest.raises(ClientFault):
        p.exchange("POST", "/", HOST, Upload())


def test_a_header_cannot_break_out_of_its_line():
    with pool(echo) as p:
        for fields in ([("X", "a\r\nY: b")], [("X\r\nY", "b")], [("X", "a\nb")]):
            with pytest.raises(ValueError):
                p.exchange("GET", "/", fields)
        with pytest.raises(ValueError):
            p.exchange("GET", "/ HTTP/1.1\r\nX: y\r\n\r\n", HOST)
        assert p.upstream.accepted == 0


@contextmanager
def tls_pool(tmp_path, serve):
    """Over TLS to a scripted upstream, which trusts and is trusted; `pool.endpoint` is that of the plain one."""
    certificate = make_certificate(tmp_path)
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(certificate.cert, certificate.key)

    def script(talk, number):
        try:
            talk.sock = server_side.wrap_socket(talk.sock, server_side=True)
        except OSError:
            return
        with talk.sock:
            serve(talk, number)
    with pool(script) as plain_pool:
        endpoint = Endpoint("https", "localhost", plain_pool.upstream.port)
        context = ssl.create_default_context(cafile=str(certificate.cert))
        trusting = UpstreamPool(endpoint, Timeouts(), ssl_context=context)
        try:
            yield trusting
        finally:
            trusting.close()


def test_tls_is_verified(tmp_path):
    with tls_pool(tmp_path, echo) as trusting:
        for size in (1, 200_000):
            with trusting.exchange("POST", "/", HOST, b"x" * size) as exchange:
                assert exchange.read_all(1 << 20) == b"1:" + b"x" * size
        waiting = trusting.open()
        threading.Timer(0.1, waiting.abort).start()
        with pytest.raises(UpstreamFault) as caught:
            UpstreamPool(trusting.endpoint, Timeouts()).exchange("GET", "/", HOST)
        assert "certificate" in caught.value.message.lower()


def test_an_upload_over_tls_is_not_ended_by_a_session_ticket(tmp_path):
    """The ticket comes right after the handshake and makes the socket readable, as an early refusal would."""
    class Upload:
        length = 300

        def chunks(self):
            for _ in range(3):
                yield b"x" * 100
                time.sleep(0.05)

    def refuse(talk, number):
        talk.until(b"\r\n\r\n")
        talk.send(plain(b"no"))
        talk.rest()
    with tls_pool(tmp_path, echo) as p, p.exchange("POST", "/", HOST, Upload()) as exchange:
        assert exchange.read_all(999) == b"1:" + b"x" * 300
    with tls_pool(tmp_path, refuse) as p, p.exchange("POST", "/", HOST, Upload()) as exchange:
        assert exchange.read_all(999) == b"no", "which is an answer all the same, and may come early"


def test_more_than_fit_through_the_turnstile_wait_for_their_answers_side_by_side():
    """Upstream answers nobody before everybody has asked."""
    crowd = 2 * CROWD
    asked, answers = threading.Barrier(crowd), []

    def script(talk, number):
        talk.request()
        asked.wait(20)
        talk.send(plain(b"at last"))
    with pool(script) as p:
        def ask():
            with p.exchange("POST", "/", HOST, b"{}") as exchange:
                answers.append(exchange.read_all(99))
        threads = [threading.Thread(target=ask) for _ in range(crowd)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert answers == [b"at last"] * crowd
        assert not p.is_quick and repr(p.turnstile) == "Turnstile(0 inside, 0 waiting)"


def test_only_quick_answers_are_worth_a_turnstile():
    def script(talk, number):
        while True:
            _, _, body = talk.request()
            time.sleep(0.1 if body == b"slow" else 0)
            talk.send(plain(b"ok"))
    with pool(script) as p:
        for _ in range(2):
            with p.exchange("POST", "/", HOST, b"slow") as exchange:
                assert exchange.read_all(9) == b"ok"
            assert not p.is_quick
        assert wait_until(lambda: is_quick_again(p))


def is_quick_again(p):
    with p.exchange("POST", "/", HOST, b"quick") as exchange:
        exchange.read_all(9)
    return p.is_quick


def test_whatever_becomes_of_an_exchange_its_place_is_free_again():
    def script(talk, number):
        talk.request()
        talk.send(b"nonsense\r\n\r\n" if number % 2 else b"")
    with pool(script) as p:
        for _ in range(4):
            with pytest.raises(UpstreamFault):
                p.exchange("POST", "/", HOST, b"{}")
        assert repr(p.turnstile) == "Turnstile(0 inside, 0 waiting)"
