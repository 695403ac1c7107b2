"""The control plane behind any WSGI server, and behind waitress."""
from __future__ import annotations

import http.client
import io
import json
import socket
import threading
from contextlib import closing
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest
import waitress.adjustments

from llamaswap.core.faults import ClientFault, Refused
from llamaswap.core.messages import Response
from llamaswap.web.wsgi import AdminServer, application


def call(handle, method="GET", path="/", body=b"", on_done=None, **environ):
    """Through wsgiref's validator, which knows the rules."""
    told = {}
    written = []

    def start_response(status, headers, exc_info=None):
        told["status"], told["headers"] = status, dict(headers)
        return written.append

    path, _, query = path.partition("?")
    filled = {"REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": query, "wsgi.input": io.BytesIO(body),
              "CONTENT_LENGTH": str(len(body)), "REMOTE_ADDR": "10.0.0.1", "SCRIPT_NAME": "", **environ}
    setup_testing_defaults(filled)
    answer = validator(application(handle, on_done))(filled, start_response)
    try:
        return told["status"], told["headers"], b"".join([*written, *answer])
    finally:
        answer.close()


def test_a_request_becomes_ours():
    seen = []

    def handle(request):
        seen.append(request)
        assert request.body.read_all(100) == request.body.read_all(100) == b"hello"
        return Response(201, [("Content-Type", "text/plain")], b"done")

    status, headers, body = call(handle, "PUT", "/a b/\u00c3\u00a9%?x=%20", b"hello", HTTP_X_API_KEY="k",
                                 CONTENT_TYPE="text/x", HTTP_HOST="box")
    assert (status, body, headers["Content-Length"]) == ("201 Created", b"done", "4")
    request = seen[0]
    assert (request.method, request.path, request.query) == ("PUT", "/a%20b/%C3%A9%25", "x=%20")
    assert request.target == request.path + "?x=%20" and request.client_ip == "10.0.0.1" and not request.is_tls
    assert [request.headers.get(name) for name in ("x-api-key", "content-type", "host")] == ["k", "text/x", "box"]
    assert request.body.length == 5 and not request.connection.is_gone()


def test_a_body_in_pieces_and_one_that_is_too_large():
    def handle(request):
        assert b"".join(request.body.chunks()) == b"x" * 100_000
        return Response(200, [("Content-Type", "text/plain")])
    assert call(handle, "POST", "/", b"x" * 100_000)[0] == "200 OK"

    def greedy(request):
        request.body.read_all(10)
        raise AssertionError
    assert call(greedy, "POST", "/", b"x" * 11)[0].startswith("413 ")


def test_a_fault_is_answered():
    def handle(request):
        raise ClientFault("no", status=404, code="not_found")
    status, headers, body = call(handle)
    assert status == "404 Not Found" and headers["Content-Type"] == "application/json" and b'"no"' in body


def test_a_defect_is_answered_and_logged(caplog):
    def handle(request):
        request.id = "id-1"
        raise RuntimeError("oh")
    done = []
    status, headers, body = call(handle, path="/a\nb", on_done=lambda request, *rest: done.append(rest[0]))
    assert status.startswith("500 ") and b'"internal_error"' in body and headers["X-Request-Id"] == "id-1"
    record, = caplog.records
    assert record.getMessage() == "the handler of GET /a%0Ab failed" and "RuntimeError" in caplog.text and done == [500]
    assert record.fields == {"request_id": "id-1"}


def test_an_unusual_status_has_a_reason_too():
    def handle(request):
        raise ClientFault("left", status=499)
    assert call(handle)[0].startswith("499 ")


@pytest.mark.parametrize("method, expected", [("GET", b"one two"), ("HEAD", b"")])
def test_streams_end_for_those_who_only_ask_for_the_head(method, expected):
    closed = []

    def handle(request):
        return Response(200, [("Content-Type", "text/plain")], iter([b"one ", b"two"]),
                        on_close=lambda: closed.append(1))
    status, headers, body = call(handle, method)
    assert (status, body) == ("200 OK", expected) and "Content-Length" not in headers and closed == [1]


def test_the_end_is_reported():
    done = []

    def handle(request):
        return Response(200, [("Content-Type", "text/plain")], iter([b"one ", b"two"]))
    call(handle, path="/x", on_done=lambda request, *rest: done.append((request.path, *rest)))
    (path, status, sent_bytes, seconds), = done
    assert (path, status, sent_bytes) == ("/x", 200, 7) and 0 <= seconds < 20


def test_a_client_that_left_before_its_stream_began():
    class Left(Exception):
        pass

    def write(data):
        raise Left
    ended, environ = [], {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "wsgi.input": io.BytesIO()}
    app = application(lambda request: Response(200, [], iter([b"x"]), on_close=lambda: ended.append("closed")),
                      lambda *rest: ended.append("done"))
    with pytest.raises(Left):
        app(environ, lambda status, headers: write)
    assert ended == ["closed", "done"]


def test_what_relays_cannot_be_served_here():
    with pytest.raises(AssertionError, match="relays"):
        call(lambda request: None)


# --- waitress ----------------------------------------------------------------------------------------------------


def answer(request):
    if request.path == "/stream":
        return Response(200, [("Content-Type", "text/plain")], slowly(request))
    if request.path == "/breaking":
        return Response(200, [("Content-Type", "text/plain")], breaking())
    said = request.path.encode() + b" " + request.body.read_all(1 << 16)
    return Response(200, [("Content-Type", "text/plain")], said)


def breaking():
    yield b"one"
    raise Refused("the activity store is busy")


RELEASED = threading.Event()


def slowly(request):
    while not RELEASED.wait(0.02):
        if request.connection.is_gone():
            return
    yield b"now"


@pytest.fixture
def server():
    crashes = []
    made = AdminServer(answer, "127.0.0.1", 0, on_crash=lambda: crashes.append(1))
    made.start()
    yield made
    made.stop()
    assert crashes == []


def connect(server):
    return closing(http.client.HTTPConnection(*server.addresses[0], timeout=20))


def test_waitress_serves(server):
    with connect(server) as connection:
        for body in (b"", b"hello"):
            connection.request("POST", "/x%2Fy", body)
            response = connection.getresponse()
            assert (response.status, response.read()) == (200, b"/x/y " + body)
            assert response.getheader("Server") is None or "waitress" not in response.getheader("Server")


def test_a_silent_stream_begins_at_once(server):
    RELEASED.clear()
    with connect(server) as connection:
        connection.request("GET", "/stream")
        response = connection.getresponse()
        assert response.status == 200
        RELEASED.set()
        assert response.read() == b"now"


def test_a_stream_that_breaks_off_is_cut_and_said_in_one_line(server, caplog):
    with connect(server) as connection:
        connection.request("GET", "/breaking")
        response = connection.getresponse()
        with pytest.raises(http.client.IncompleteRead) as cut:
            response.read()
        assert cut.value.partial == b"one"
    record, = [each for each in caplog.records if each.levelname in ("WARNING", "ERROR")]
    assert record.getMessage() == "stream of GET /breaking broke off: the activity store is busy"
    assert not record.exc_info


def test_many_streams_leave_room_for_others(server):
    RELEASED.clear()
    streams = [http.client.HTTPConnection(*server.addresses[0], timeout=20) for _ in range(60)]
    try:
        for stream in streams:
            stream.request("GET", "/stream")
            stream.getresponse()
        with connect(server) as connection:
            connection.request("GET", "/other")
            assert connection.getresponse().status == 200
    finally:
        RELEASED.set()
        for stream in streams:
            stream.close()


@pytest.mark.parametrize("sent, status, code", [
    (b"\x16\x03\x01\r\n\r\n", 400, "bad_request"),
    (b"GET / HTTP/1.1\r\nno header\r\n\r\n", 400, "bad_request"),
    (b"GET http://[::1/ HTTP/1.1\r\nHost: x\r\n\r\n", 400, "bad_request"),
    (b"PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nxx\r\n", 400, "bad_request"),
    (b"GET / HTTP/1.1\r\nHost: x\r\nhost: y\r\n\r\n", 400, "bad_request"),
    (b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400,
     "bad_request"),
    (b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999\r\n\r\n", 413, "body_too_large"),
    (b"GET / HTTP/1.1\r\nHost: " + b"x" * 300_000 + b"\r\n\r\n", 431, "headers_too_large"),
    (b"PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 501, "internal_error"),
])
def test_what_waitress_refuses_is_said_in_our_words(server, caplog, sent, status, code):
    with socket.create_connection(server.addresses[0], timeout=20) as connection:
        connection.sendall(sent)
        response = http.client.HTTPResponse(connection)
        response.begin()
        error = json.loads(response.read())["error"]
    assert (response.status, error["code"]) == (status, code) and error["message"]
    assert response.getheader("Content-Type") == "application/json" and response.getheader("Connection") == "close"
    assert not [each for each in caplog.records if each.levelname == "ERROR"]


def test_a_taken_address_is_an_error_at_once():
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError):
        AdminServer(answer, "127.0.0.1", taken.getsockname()[1], on_crash=lambda: None)


def test_a_waitress_that_cannot_look_ahead(monkeypatch):
    adjustments = waitress.adjustments.Adjustments
    known = {name: cast for name, cast in adjustments._param_map.items() if name != "channel_request_lookahead"}
    monkeypatch.setattr(adjustments, "_param_map", known)
    monkeypatch.delattr(adjustments, "channel_request_lookahead", raising=False)
    made = AdminServer(answer, "127.0.0.1", 0, on_crash=lambda: None)
    assert made.addresses
    made.stop()


def test_stopped_without_having_been_started():
    made = AdminServer(answer, "127.0.0.1", 0, on_crash=lambda: None)
    port = made.addresses[0][1]
    made.stop()
    socket.create_server(("127.0.0.1", port)).close()


def test_every_interface():
    made = AdminServer(answer, "", 0, on_crash=lambda: None)
    assert {host for host, _ in made.addresses} <= {"0.0.0.0", "::"}
    made.start()
    made.stop()
