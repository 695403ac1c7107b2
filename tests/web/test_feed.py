"""The event stream: our protocol, llama-swap's, and both through real sockets of both servers."""
from __future__ import annotations

import json
import socket
import time
from contextlib import closing, contextmanager

import pytest

from llamaswap.core.faults import ClientFault
from llamaswap.runtime.events import EventHub
from llamaswap.runtime.logfeed import LogFeed
from llamaswap.runtime.logs import LogBook
from llamaswap.runtime.server import Server
from llamaswap.runtime.threads import spawn
from llamaswap.web import feed as feed_module
from llamaswap.web.errors import fault_response
from llamaswap.web.feed import Feed
from llamaswap.web.wsgi import AdminServer
from tests.support.asked import asked, header

PATIENCE = 20.0


class Rig:
    def __init__(self):
        self.hub, self.logs = EventHub(), LogBook()
        self.log_feed = LogFeed(self.logs, self.hub, tick=0.01)
        self.is_ending = False
        self.models = [{"id": "m", "state": "stopped", "peerID": ""}]
        self.inflight = {}
        self.profile = None
        self.asked_for_models = 0
        self.hub.provide("models", lambda: {"op": "snapshot", "models": ["m"]})
        self.hub.provide("requests", lambda: {"op": "snapshot", "requests": []})
        self.hub.provide("profile", lambda: {"active": self.profile, "profiles": []})
        self.feed = Feed(self.hub, hello=lambda: {"build": "b1", "perf": True}, is_model=lambda name: name in (
            "m", "a/b", "a,b"), ui_config=lambda: {"activity": {"session_id": ["X-Session-ID"]}},
            peer_models=self.peer_models, peer_inflight=lambda: list(self.inflight.values()),
            peer_entry=self.inflight.get, is_ending=lambda: self.is_ending)
        self.streams = []

    def peer_models(self):
        self.asked_for_models += 1
        return [dict(model) for model in self.models]

    def ask(self, query="", method="GET", headers=None):
        stream = Stream(self.feed, asked(method, "/api/events" + query, headers=headers))
        self.streams.append(stream)
        return stream

    def close(self):
        for stream in self.streams:
            stream.close()
        self.log_feed.close()
        assert self.hub.subscribers == 0


class Stream:
    """An answer of the handler, read event by event."""

    def __init__(self, feed, request):
        self.request = request
        self.response = feed.events(request, "")
        self._pieces = iter(self.response.body)
        self._text = b""

    def frame(self):
        """The next one, without heartbeats."""
        while True:
            while b"\n\n" not in self._text:
                self._text += next(self._pieces)
            frame, _, self._text = self._text.partition(b"\n\n")
            if not frame.startswith(b":"):
                return frame.decode()

    def event(self):
        """(name, data) of our protocol."""
        lines = self.frame().split("\n")
        assert lines[0].startswith("id: ") and lines[1].startswith("event: ") and lines[2].startswith("data: ")
        return lines[1][7:], json.loads(lines[2][6:])

    def message(self):
        """(type, data) of llama-swap's."""
        head, data = self.frame().split("\n")
        assert head == "event:message" and data.startswith("data:{")
        found = json.loads(data[5:])
        assert set(found) == {"type", "data"} and isinstance(found["data"], str)
        return found["type"], json.loads(found["data"])

    def messages(self, count):
        return [self.message() for _ in range(count)]

    def rest(self):
        return b"".join(self._pieces)

    def close(self):
        if self.response.on_close is not None:
            self.response.on_close()


@pytest.fixture
def rig(monkeypatch):
    monkeypatch.setattr(feed_module, "GATHER", 0.0)
    made = Rig()
    yield made
    made.close()


# --- ours ---

def test_the_head_of_a_stream(rig):
    response = rig.ask("?topics=models").response
    assert response.status == 200 and header(response, "Content-Type") == "text/event-stream"
    assert header(response, "Cache-Control") == "no-cache" and header(response, "X-Accel-Buffering") == "no"
    assert header(response, "X-Content-Type-Options") == "nosniff" and header(response, "Connection") is None


def test_hello_snapshots_and_events(rig):
    stream = rig.ask("?topics=models,profile")
    name, hello = stream.event()
    assert name == "hello" and hello["run"] == rig.hub.run and abs(hello["now"] - time.time()) < PATIENCE
    assert (hello["topics"], hello["build"], hello["perf"]) == (["models", "profile"], "b1", True)
    assert stream.event() == ("models", {"op": "snapshot", "models": ["m"]})
    assert stream.event()[0] == "profile"
    rig.hub.publish("models", {"op": "remove", "id": "m"})
    assert stream.event() == ("models", {"op": "remove", "id": "m"})


@pytest.mark.parametrize("how", ["header", "query"])
def test_resuming(rig, how):
    stream = rig.ask("?topics=models")
    stream.event()
    last_id = stream.frame().split("\n")[0][4:]
    rig.hub.publish("models", {"op": "remove", "id": "x"})
    again = (rig.ask("?topics=models", headers={"Last-Event-ID": last_id}) if how == "header"
             else rig.ask(f"?topics=models&last_event_id={last_id}"))
    assert again.event()[0] == "hello" and again.event() == ("models", {"op": "remove", "id": "x"})
    lost = rig.ask("?topics=models", headers={"Last-Event-ID": "other-1"})
    assert lost.event()[0] == "hello" and lost.event()[1]["op"] == "snapshot"


def test_logs(rig):
    rig.logs.add_model_output("a/b", b"old\n")
    stream = rig.ask("?topics=log:a/b")
    stream.event()
    assert stream.event() == ("log:a/b", {"text": "old\n", "reset": True, "gap": 0})
    rig.logs.add_model_output("a/b", b"new\n")
    assert stream.event() == ("log:a/b", {"text": "new\n", "reset": False, "gap": 0})


@pytest.mark.parametrize("query, topics", [
    ("?topics=models%2Cprofile", ["models", "profile"]), ("?topics=models&topics=profile", ["models", "profile"]),
    ("?topics=log%3Aa%2Fb,log:all", ["log:a/b", "log:all"]), ("?topics=log:a%2Cb", ["log:a,b"]),
    ("?x=1&topics=,models,&topics=models", ["models"]), ("?topics=log:proxy,log:all", ["log:proxy", "log:all"])])
def test_ways_to_name_topics(rig, query, topics):
    assert rig.ask(query).event()[1]["topics"] == topics


@pytest.mark.parametrize("query", ["?topics=", "?topics=,", "?topics=nothing", "?topics=models,log:nobody",
                                   "?topics=log:", "?topics=MODELS", "?topics=" + ",".join(["models"] * 65)])
def test_topics_that_are_not_there(rig, query):
    with pytest.raises(ClientFault) as refused:
        rig.ask(query)
    assert refused.value.status == 400 and rig.hub.subscribers == 0


@pytest.mark.parametrize("query", ["", "?topics=models"])
def test_head_does_not_wait(rig, query):
    stream = rig.ask(query, "HEAD")
    assert stream.response.status == 200 and stream.rest() == b"" and rig.hub.subscribers == 0


@pytest.mark.parametrize("query", ["", "?topics=models"])
def test_a_silent_stream_shows_that_it_lives(rig, query, monkeypatch):
    monkeypatch.setattr(feed_module, "BEAT", 0.05)
    monkeypatch.setattr(feed_module, "LOOK", 0.02)
    stream = rig.ask(query)
    beats, deadline = [], time.monotonic() + PATIENCE
    while len(beats) < 3 and time.monotonic() < deadline:
        beats += [line for line in next(stream._pieces).split(b"\n\n") if line.startswith(b": beat ")]
    assert abs(int(beats[0][7:]) - time.time()) < PATIENCE


@pytest.mark.parametrize("query", ["", "?topics=models"])
def test_a_stream_ends_with_its_reader_and_the_program(rig, query):
    stream = rig.ask(query)
    next(stream._pieces)
    stream.request.connection.gone = True
    assert b"event" not in stream.rest()
    stream = rig.ask(query)
    next(stream._pieces)
    rig.is_ending = True
    stream.rest()
    rig.is_ending = False
    stream = rig.ask(query)
    stream.close()
    assert b"snapshot" not in stream.rest() and rig.hub.subscribers == 2


# --- llama-swap's ---

def test_what_its_clients_are_told_first(rig):
    rig.logs.add_proxy_line(b"ours\n")
    rig.inflight[3] = {"id": "3"}
    assert rig.ask().messages(6) == [
        ("logData", {"data": "ours\n", "source": "proxy"}), ("logData", {"data": "", "source": "upstream"}),
        ("modelStatus", [{"id": "m", "state": "stopped", "peerID": ""}]),
        ("uiConfig", {"activity": {"session_id": ["X-Session-ID"]}}), ("profileChanged", {"active": None}),
        ("inflight", {"operation": "snapshot", "requests": [{"id": "3"}]})]


def test_the_bytes_of_a_message(rig):
    assert rig.ask().frame() == 'event:message\ndata:{"type":"logData","data":"{\\"data\\":\\"\\",\\"source\\":' \
                                '\\"proxy\\"}"}'


def test_models_are_told_when_their_list_has_changed(rig):
    streams = [rig.ask() for _ in range(3)]
    for stream in streams:
        stream.messages(6)
    asked_for, rig.asked_for_models = rig.asked_for_models, 0
    assert asked_for == 3
    rig.hub.publish("models", lambda: pytest.fail("made for nobody"))      # a request came: nothing it would show
    rig.models[0]["state"] = "ready"
    for _ in range(5):
        rig.hub.publish("models", lambda: pytest.fail("made for nobody"))
    rig.hub.publish("profile", {"active": "day", "profiles": []})
    for stream in streams:
        assert stream.message() == ("modelStatus", [{"id": "m", "state": "ready", "peerID": ""}])
        assert stream.message() == ("profileChanged", {"active": "day"})
        assert stream.message()[0] == "modelStatus"
    assert rig.asked_for_models == 1, "made once for all"


def test_a_request_from_its_arrival_to_its_row(rig):
    stream = rig.ask()
    stream.messages(6)
    rig.inflight[4] = {"id": "4", "resp_bytes": 0}
    rig.hub.publish("requests", {"op": "upsert", "request": {"id": 4}})
    rig.hub.publish("requests", {"op": "upsert", "request": {"id": 5}})      # has ended meanwhile
    rig.hub.publish("requests", {"op": "done", "request": {"id": 4}})
    rig.hub.publish("requests", {"op": "gone", "ids": [5, 6]})
    assert stream.messages(7) == [
        ("inflight", {"operation": "upsert", "request": {"id": "4", "resp_bytes": 0}}),
        ("inflight", {"operation": "remove", "id": "4"}), ("activity", {"id": 4}),
        ("inflight", {"operation": "remove", "id": "5"}), ("activity", {"id": 5}),
        ("inflight", {"operation": "remove", "id": "6"}), ("activity", {"id": 6})]


def test_its_logs(rig):
    stream = rig.ask()
    stream.messages(6)
    rig.logs.add_model_output("m", "caf\u00e9\n".encode())
    assert stream.message() == ("logData", {"data": "caf\u00e9\n", "source": "upstream"})
    rig.hub.publish("log:proxy", {"text": "on\n", "reset": False, "gap": 7})
    assert stream.message() == ("logData", {"data": "\u2014 7 lines dropped \u2014\non\n", "source": "proxy"})


def test_a_slow_client_gets_its_requests_afresh(rig):
    stream = rig.ask()
    stream.messages(6)
    for number in range(1500):
        rig.hub.publish("requests", {"op": "gone", "ids": [number]})
    assert stream.message() == ("inflight", {"operation": "snapshot", "requests": []})


# --- through sockets ---

@contextmanager
def serving(rig, kind):
    def handle(request):
        return rig.feed.events(request, "")

    if kind == "ours":
        server = Server(handle, fault_response=fault_response)
        server.bind("127.0.0.1", 0)
    else:
        server = AdminServer(handle, "127.0.0.1", 0, on_crash=lambda: None)
    server.start()
    try:
        yield server.addresses[0]
    finally:
        rig.is_ending = True
        server.stop(5.0)


def await_subscribers(rig, count, within=PATIENCE):
    deadline = time.monotonic() + within
    while rig.hub.subscribers != count:
        assert time.monotonic() < deadline, rig.hub
        time.sleep(0.005)


def read_until(sock, end):
    data = b""
    while end not in data:
        piece = sock.recv(65536)
        assert piece, data
        data += piece
    return data


@pytest.mark.parametrize("kind", ["ours", "waitress"])
def test_through_a_socket(rig, kind):
    with serving(rig, kind) as address, closing(socket.create_connection(address, PATIENCE)) as sock:
        sock.send(b"GET /api/events?topics=models,log:m HTTP/1.1\r\nHost: x\r\n\r\n")
        head = read_until(sock, b"event: log:m").lower()
        assert head.startswith(b"http/1.1 200") and b"transfer-encoding: chunked" in head and b"event: hello" in head
        rig.hub.publish("models", {"op": "remove", "id": "first"})
        read_until(sock, b'"id":"first"')
        rig.logs.add_model_output("m", b"a line\n")
        read_until(sock, b"a line")
        # A reader who leaves is noticed although there is nothing to send.
        sock.close()
        await_subscribers(rig, 0)


@pytest.mark.parametrize("kind", ["ours", "waitress"])
def test_refusals_and_head_through_a_socket(rig, kind):
    with serving(rig, kind) as address:
        for raw, status in ((b"GET /?topics=x", b"400"), (b"HEAD /?topics=models", b"200"), (b"HEAD /", b"200")):
            with closing(socket.create_connection(address, PATIENCE)) as sock:
                sock.send(raw + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                answer = b""
                for piece in iter(lambda sock=sock: sock.recv(65536), b""):
                    answer += piece
                assert answer.startswith(b"HTTP/1.1 " + status)
        await_subscribers(rig, 0)


def test_a_client_that_does_not_read_keeps_nobody_waiting(rig):
    newest = {"n": 0}
    rig.hub.provide("models", lambda: {"op": "snapshot", **newest})
    with serving(rig, "ours") as address, closing(socket.socket()) as slow, \
            closing(socket.create_connection(address, PATIENCE)) as quick:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect(address)
        slow.send(b"GET /?topics=models HTTP/1.1\r\nHost: x\r\n\r\n")
        quick.send(b"GET /?topics=models HTTP/1.1\r\nHost: x\r\n\r\n")
        await_subscribers(rig, 2)
        seen = []
        reader = spawn("reader", lambda: seen.append(read_until(quick, b'"last"')))
        began_at = time.monotonic()
        for number in range(3000):
            newest["n"] = number
            rig.hub.publish("models", {"op": "upsert", "n": number, "fill": "x" * 5000})
            if number % 100 == 0:
                time.sleep(0.01)
        newest["n"] = "last"
        rig.hub.publish("models", {"op": "upsert", "n": "last"})
        assert time.monotonic() - began_at < PATIENCE
        reader.join(PATIENCE)
        assert seen and rig.hub.dropped > 0
