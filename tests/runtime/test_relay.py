"""What the client sees of an upstream answer, whole or broken."""
from __future__ import annotations

import json
import logging
import socket
import threading
import time

import pytest

from tests.http1.rig import SSE, chunked_head, get, plain, post, rig, wait_until


def each(answer):
    """An upstream that gives every request on every connection the same answer."""
    def script(talk, number):
        while True:
            talk.request()
            talk.send(answer)
    return script


def once(answer, *, then=None):
    """An upstream that answers one request and closes."""
    def script(talk, number):
        talk.request()
        talk.send(answer)
        if then:
            then(talk)
    return script


def test_a_plain_answer_and_keep_alive_on_both_sides():
    answer = plain(b"hello", "Server: llama", "X-A: 1", "X-A: 2", "Connection: keep-alive")
    with rig(each(answer)) as r, r.talk() as client:
        for _ in range(3):
            status, fields, body = client.send(post(b"{}")).answer()
            assert (status, body) == (200, b"hello")
            assert fields["server"] == "llama" and fields["x-a"] == "1, 2" and "date" in fields
            assert "connection" not in fields
        assert r.upstream.accepted == 1
        assert all(outcome.complete and outcome.sent_bytes == 5 for outcome in r.outcomes)


def test_head_and_first_body_bytes_travel_together():
    def script(talk, number):
        talk.request()
        talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
        time.sleep(0.001)
        talk.send(b"hello")
    with rig(script) as r, r.talk() as client:
        client.send(get())
        first = client.sock.recv(65536)
        assert first.endswith(b"\r\n\r\nhello")


def test_a_head_is_not_withheld_while_upstream_thinks():
    go_on = threading.Event()

    def script(talk, number):
        talk.request()
        talk.send(chunked_head(SSE))
        go_on.wait(10)
        talk.send(b"3\r\nabc\r\n0\r\n\r\n")
    with rig(script) as r, r.talk() as client:
        line, fields = client.send(get()).head()
        assert line == "HTTP/1.1 200 OK"
        go_on.set()
        assert client.chunked() == b"abc"


def test_chunked_passes_with_its_own_framing_and_trailers():
    raw = b"3;x=y\r\nabc\r\n00a\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\n"
    with rig(each(chunked_head() + raw)) as r, r.talk() as client:
        client.send(get()).head()
        assert client.exactly(len(raw)) == raw
        client.send(get()).head()
        assert client.exactly(len(raw)) == raw
        assert r.upstream.accepted == 1


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_chunked_in_any_segmentation(size):
    raw = b"3\r\nabc\r\n1;e=1\r\nd\r\n0\r\nT: v\r\n\r\n"

    def script(talk, number):
        talk.request()
        talk.send(chunked_head())
        for at in range(0, len(raw), size):
            talk.send(raw[at:at + size])
            time.sleep(0.001)
        talk.request()
    seen = []
    with rig(script, tap=seen.append) as r, r.talk() as client:
        client.send(get()).head()
        assert client.exactly(len(raw)) == raw
        assert wait_until(lambda: r.outcomes)
        assert b"".join(seen) == b"abcd" and r.outcomes[0].sent_bytes == 4


def test_http_1_0_gets_a_decoded_body_that_ends_with_the_connection():
    with rig(each(chunked_head() + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")) as r, r.talk() as client:
        line, fields = client.send(get(version="1.0")).head()
        assert "transfer-encoding" not in fields and "content-length" not in fields and fields["connection"] == "close"
        assert client.rest() == b"abcde"


def test_http_1_0_keep_alive_when_the_length_is_known():
    with rig(each(plain(b"ab"))) as r, r.talk() as client:
        for _ in range(2):
            status, fields, body = client.send(get("/", "Connection: keep-alive", version="1.0")).answer()
            assert body == b"ab" and fields["connection"] == "keep-alive"
        client.send(get(version="1.0"))
        assert client.rest().endswith(b"\r\n\r\nab")


def test_a_body_that_ends_with_the_connection_becomes_chunked():
    with rig(once(b"HTTP/1.0 200 OK\r\n\r\nabc")) as r, r.talk() as client:
        status, fields, body = client.send(get()).answer()
        assert fields["transfer-encoding"] == "chunked" and body == b"abc"
        assert client.send(get()).answer()[2] == b"abc"
        assert r.upstream.accepted == 2


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_answers_without_a_body(status):
    with rig(each(f"HTTP/1.1 {status}\r\nETag: x\r\n\r\n".encode())) as r, r.talk() as client:
        for _ in range(2):
            assert client.send(get()).answer()[0] == int(status[:3])
        assert r.upstream.accepted == 1


def test_head_keeps_the_length_and_has_no_body():
    with rig(each(b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n")) as r, r.talk() as client:
        for _ in range(2):
            status, fields, _ = client.send(get(method="HEAD")).answer("HEAD")
            assert status == 200 and fields["content-length"] == "1234"
        assert client.buffer == b""


def test_a_head_that_repeats_itself_is_read_for_the_request_it_answers():
    """Heads are remembered per socket; the same one ends elsewhere after HEAD than after GET."""
    def script(talk, number):
        while True:
            line, _, body = talk.request()
            talk.send(plain(b"abc")[:-3] if line.startswith("HEAD") else plain(body[-3:]))
    with rig(script) as r, r.talk() as client:
        for body in (b"abc", b"xyz"):
            assert client.send(get(method="HEAD")).answer("HEAD")[1]["content-length"] == "3"
            assert client.send(post(body)).answer()[2] == body
            assert client.send(post(body)).answer()[2] == body
        assert r.upstream.accepted == 1 and client.buffer == b""


def test_hop_by_hop_fields_stop_here_in_both_directions():
    seen = []

    def script(talk, number):
        seen.append(talk.request())
        talk.send(plain(b"x", "Connection: close, X-Secret", "X-Secret: 1", "Keep-Alive: timeout=5",
                        "Proxy-Authenticate: Basic", "Upgrade: h2c"))
    with rig(script) as r, r.talk() as client:
        status, fields, _ = client.send(get("/", "Connection: X-Mine, keep-alive", "X-Mine: 1", "Keep-Alive: 3",
                                            "TE: trailers, deflate",
                                            "Proxy-Authorization: x", "X-Forwarded-For: 9.9.9.9")).answer()
        assert not {"x-secret", "keep-alive", "proxy-authenticate", "upgrade", "connection"} & set(fields)
        _, sent, _ = seen[0]
        assert not {"x-mine", "keep-alive", "proxy-authorization", "connection"} & set(sent)
        assert sent["te"] == "trailers" and sent["x-forwarded-for"] == "9.9.9.9, 127.0.0.1" and sent["host"] == "test"


def test_what_we_say_of_an_answer_replaces_what_upstream_says_but_for_vary():
    """A cache between us and the client has to know both."""
    said = b"HTTP/1.1 200 OK\r\nVary: Accept-Encoding\r\nX-Request-Id: theirs\r\nContent-Length: 0\r\n\r\n"
    with rig(each(said)) as r, r.talk() as client:
        r.extra_headers = [("X-Request-Id", "ours"), ("Vary", "Origin")]
        _, fields = client.send(get()).head()
        assert (fields["vary"], fields["x-request-id"]) == ("Accept-Encoding, Origin", "ours")


def test_event_streams_are_not_to_be_buffered():
    with rig(each(chunked_head(SSE, "X-Accel-Buffering: yes") + b"0\r\n\r\n")) as r, r.talk() as client:
        for _ in range(2):
            assert client.send(get()).answer()[1]["x-accel-buffering"] == "no"
        assert r.upstream.accepted == 2, "after a stream the next request wants a fresh connection"


def test_pieces_are_passed_on_when_they_come():
    go_on = threading.Semaphore(0)

    def script(talk, number):
        talk.request()
        talk.send(chunked_head(SSE))
        for n in range(5):
            talk.send(b"2\r\n%d\n\r\n" % n)
            assert go_on.acquire(timeout=10)
        talk.send(b"0\r\n\r\n")
    with rig(script) as r, r.talk() as client:
        client.send(get()).head()
        for n in range(5):
            assert client.exactly(7) == b"2\r\n%d\n\r\n" % n   # upstream is waiting for us: nothing may be held back
            go_on.release()
        assert client.exactly(5) == b"0\r\n\r\n"


def decoded(raw):
    """As much of a chunked body as there is."""
    body = b""
    while raw:
        line, _, raw = raw.partition(b"\r\n")
        size = int(line.split(b";")[0], 16)
        body, raw = body + raw[:size], raw[size:]
        assert raw[:2] in (b"", b"\r\n")
        raw = raw[2:]
    return body


def error_in(raw):
    event = raw[raw.index(b"\ndata: {\"error\"") + 7:]
    return json.loads(event[:event.index(b"\n\n")])["error"]


@pytest.mark.parametrize("partial", [
    b"9\r\ndata: 1\n\n\r\n",                      # between two chunks
    b"9\r\ndata: 1\n\n",                          # before the line end of a chunk
    b"9\r\ndata: 1\n\n\r\n1",                     # inside a size line
    b"9\r\ndata: 1\n\n\r",
    b"fff\r\ndata: 1\n\ndata: {",                 # inside a long chunk
    b"14\r\ndata: 1\n\ndata: {",                  # inside a chunk too short for the error
])
def test_a_cut_event_stream_says_so_and_is_not_finished(partial, caplog):
    caplog.set_level(logging.INFO)
    with rig(once(chunked_head(SSE) + partial)) as r, r.talk() as client:
        client.send(get()).head()
        raw = client.rest()
        body = decoded(raw)
        assert body.startswith(b"data: 1\n\n")
        assert error_in(body)["code"] == "upstream_closed"
        assert b"0\r\n\r\n" not in raw and b"[DONE]" not in raw
        assert not r.outcomes[0].complete and "cut" in r.outcomes[0].why
    assert [record.fields for record in caplog.records if "broken off" in record.getMessage()] == [{"request_id": ""}]


@pytest.mark.parametrize("answer", [
    chunked_head() + b"5\r\nhello\r\n",
    chunked_head() + b"5\r\nhel",
    chunked_head() + b"5\r\nhello\r\n0\r\n",
    chunked_head() + b"5\r\nhello\r\n0\r\nX: y\r\n",
    chunked_head() + b"5\r\nhello\r\nzz\r\n",
    chunked_head() + b"5\r\nhelloX\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
])
@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_a_truncated_answer_never_looks_complete(answer, version):
    def reset_or_end(talk):
        time.sleep(0.05)
    with rig(once(answer, then=reset_or_end)) as r, r.talk() as client:
        client.send(get(version=version))
        if b"zz" in answer or b"X\r\n0" in answer:
            assert client.answer()[0] == 502      # seen before anything was passed on
        elif version == "1.0" and b"chunked" in answer:
            assert client.is_reset()
        else:
            with pytest.raises(EOFError):
                status, _, _ = client.answer()
                assert status == 200
        assert wait_until(lambda: r.done)
        assert not r.outcomes or not r.outcomes[0].complete


def test_an_answer_that_dies_before_anything_was_sent_is_a_readable_502():
    with rig(once(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")) as r, r.talk() as client:
        status, fields, body = client.send(get()).answer()
        assert status == 502 and json.loads(body)["error"]["code"] == "upstream_closed"
        assert client.send(get()).answer()[0] == 502


@pytest.mark.parametrize("answer", [
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello",
    b"HTTP/1.1 200 OK\nContent-Length: 0\n\n\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n",
    b"garbage\r\n\r\n",
    b"HTTP/2 200\r\n\r\n",
    b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",      # nothing follows: it has said all, and waits
    b"HTTP/1.1 200 OK\r\nX: a\x00b",
    b"SSH-2.0-OpenSSH_9.2\r\n",
    b"\x15\x03\x01",
])
def test_a_malformed_answer_is_a_502(answer):
    with rig(once(answer)) as r, r.talk() as client:
        assert client.send(get()).answer()[0] == 502


def test_more_than_announced_is_dropped_and_the_socket_not_reused():
    with rig(each(plain(b"hello") + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")) as r, r.talk() as client:
        for _ in range(3):
            assert client.send(get()).answer()[2] == b"hello"
        assert r.upstream.accepted == 3


@pytest.mark.parametrize("before", [b"", chunked_head(SSE), chunked_head(SSE) + b"3\r\nabc\r\n"])
def test_a_client_that_leaves_frees_a_silent_upstream(before):
    freed = threading.Event()

    def script(talk, number):
        talk.request()
        talk.send(before)
        assert talk.rest() == b""
        freed.set()
    with rig(script) as r:
        client = r.talk().send(get())
        if before:
            client.head()
        time.sleep(0.1)
        client.sock.close()
        assert freed.wait(10)
        assert wait_until(lambda: r.done)
        if r.outcomes:
            assert r.outcomes[0].why == "client gone"
        else:
            assert r.done[0][1] == 499


def test_a_client_that_leaves_mid_stream_stops_a_talking_upstream():
    freed = threading.Event()

    def script(talk, number):
        talk.request()
        talk.send(chunked_head(SSE))
        try:
            while True:
                talk.send(b"400\r\n" + b"x" * 1024 + b"\r\n")
                time.sleep(0.001)
        except ConnectionError:
            freed.set()
    with rig(script) as r:
        client = r.talk().send(get())
        client.head()
        client.sock.close()
        assert freed.wait(10)
        assert wait_until(lambda: r.outcomes) and r.outcomes[0].why == "client gone"


def test_pipelined_bytes_are_not_a_hang_up():
    def script(talk, number):
        while True:
            line, _, _ = talk.request()
            time.sleep(0.1)
            talk.send(plain(line.split(" ")[1].encode()))
    with rig(script) as r, r.talk() as client:
        client.send(get("/1") + get("/2") + get("/3"))
        assert [client.answer()[2] for _ in range(3)] == [b"/1", b"/2", b"/3"]


def test_an_exchange_can_be_aborted_from_outside():
    with rig(each(b"")) as r:
        exchanges = []

        def handle(request):
            exchange = r.pool.open(request.connection)
            exchanges.append(exchange)
            exchange.begin("GET", "/", [("Host", "x")])
        r.server._service.__dict__["handle"] = handle
        with r.talk() as client:
            client.send(get())
            assert wait_until(lambda: exchanges)
            time.sleep(0.05)
            exchanges[0].abort()
            status, _, body = client.answer()
            assert status == 502 and json.loads(body)["error"]["code"] == "aborted"


def test_a_client_that_never_reads_stalls_only_itself():
    big = b"x" * (1 << 20)

    def script(talk, number):
        while True:
            line, _, _ = talk.request()
            if "/big" in line:
                talk.send(chunked_head())
                for _ in range(200):
                    talk.send(b"100000\r\n" + big + b"\r\n")
            else:
                talk.send(plain(b"ok"))
    from llamaswap.core.http1 import Limits
    with rig(script, limits=Limits(write_timeout=1.0)) as r, r.talk(SO_RCVBUF=4096) as lazy, r.talk() as client:
        lazy.send(get("/big"))
        time.sleep(0.2)
        for _ in range(20):
            assert client.send(get()).answer()[2] == b"ok"
        assert wait_until(lambda: r.outcomes and any(outcome.why == "client stalled" for outcome in r.outcomes))


def test_a_websocket_tunnel_with_early_bytes_and_half_close():
    def script(talk, number):
        line, fields = talk.head()
        assert fields["upgrade"] == "websocket" and fields["connection"] == "Upgrade"
        talk.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                  b"Sec-WebSocket-Accept: abc\r\n\r\nhello")
        talk.send(b"<" + talk.exactly(5) + b">")
        assert talk.rest() == b"more"
        talk.send(b"bye")
    with rig(script) as r, r.talk() as client:
        client.send(get("/ws", "Connection: keep-alive, Upgrade", "Upgrade: websocket") + b"early")
        line, fields = client.head()
        assert line.startswith("HTTP/1.1 101")
        assert (fields["upgrade"], fields["connection"]) == ("websocket", "Upgrade")
        assert client.exactly(12) == b"hello<early>"
        client.send(b"more")
        client.sock.shutdown(socket.SHUT_WR)
        assert client.rest() == b"bye"
        assert wait_until(lambda: r.outcomes)
        assert r.outcomes[0].complete and r.outcomes[0].status == 101 and r.outcomes[0].sent_bytes == 15
        assert wait_until(lambda: r.done) and r.done[0][1] == 101


def test_a_refused_upgrade_is_an_ordinary_answer():
    with rig(each(plain(b"no", status="403 Forbidden"))) as r, r.talk() as client:
        for _ in range(2):
            assert client.send(get("/ws", "Connection: Upgrade", "Upgrade: websocket")).answer()[::2] == (403, b"no")


def test_an_upgrade_nobody_asked_for_is_refused():
    with rig(once(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\nhello")) as r, r.talk() as client:
        assert client.send(get()).answer()[0] == 502


@pytest.mark.parametrize("who", ["client", "upstream"])
def test_a_tunnel_ends_when_one_end_vanishes(who):
    talks = []

    def script(talk, number):
        talk.head()
        talk.send(b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\n\r\n")
        talks.append(talk)
        talk.rest()
    with rig(script) as r, r.talk() as client:
        client.send(get("/", "Connection: Upgrade", "Upgrade: websocket")).head()
        if who == "client":
            client.sock.close()
        else:
            assert wait_until(lambda: talks)
            talks[0].sock.shutdown(socket.SHUT_RDWR)
            assert client.rest() == b""
            client.sock.close()
        assert wait_until(lambda: r.outcomes)


def test_a_lot_of_data_through_a_tunnel_both_ways():
    size = 8 << 20

    def script(talk, number):
        talk.head()
        talk.send(b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\n\r\n")
        left = size
        while left:
            data = talk.sock.recv(65536)
            left -= len(data)
            talk.send(data)
    with rig(script) as r, r.talk() as client:
        client.send(get("/", "Connection: Upgrade", "Upgrade: websocket")).head()
        sender = threading.Thread(target=client.sock.sendall, args=(b"z" * size,))
        sender.start()
        left = size - len(client.buffer)
        while left:
            left -= len(client.sock.recv(1 << 20))
        sender.join(10)


def test_stopping_the_server_ends_tunnels():
    def script(talk, number):
        talk.head()
        talk.send(b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\n\r\n")
        talk.rest()
    with rig(script) as r, r.talk() as client:
        client.send(get("/", "Connection: Upgrade", "Upgrade: websocket")).head()
        assert r.server.stop(0.1) is False
        assert client.rest() == b""


def test_interim_answers_are_passed_on():
    hints = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    with rig(each(hints + plain(b"x"))) as r, r.talk() as client:
        line, fields = client.send(get()).head()
        assert line == "HTTP/1.1 103 Early Hints" and fields["link"] == "</a>"
        assert client.answer()[2] == b"x"
