"""The demo model server: real processes, real sockets, the real SDKs where they are installed."""
from __future__ import annotations

import base64
import contextlib
import http.client
import io
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import time
import wave
import zlib
from collections import namedtuple

import pytest

from tests.support.demo_server import COMMAND, ROOT, run_demo

PATIENCE = 20       # seconds; only a hang takes so long
Reply = namedtuple("Reply", "status headers body")


@pytest.fixture(scope="module")
def demo():
    with run_demo() as running:
        yield running


def ask(demo, path, body=None, *, method=None, headers=()):
    """One request on a connection of its own. A mapping is sent as JSON."""
    data = json.dumps(body).encode() if isinstance(body, dict) else body
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", demo.port, timeout=PATIENCE)) as connection:
        connection.request(method or ("GET" if body is None else "POST"), path, data, dict(headers))
        response = connection.getresponse()
        return Reply(response.status, response.headers, response.read())


def ask_json(demo, path, body=None, **more):
    reply = ask(demo, path, body, **more)
    assert reply.status == 200, reply
    return json.loads(reply.body)


def chat_request(text="hello there", **more):
    return {"model": "m", "messages": [{"role": "user", "content": text}], **more}


def events(body):
    """(name, value) of each server-sent event."""
    found = []
    for record in body.decode().split("\n\n")[:-1]:
        fields = dict(line.split(": ", 1) for line in record.split("\n"))
        value = fields["data"]
        found.append((fields.get("event"), value if value == "[DONE]" else json.loads(value)))
    return found


@contextlib.contextmanager
def raw_connection(demo, data=b""):
    with socket.create_connection(("127.0.0.1", demo.port), timeout=PATIENCE) as sock:
        sock.settimeout(PATIENCE)
        send(sock, data)
        yield sock


def send(sock, data):
    while data:
        data = data[sock.send(data):]


def until(sock, mark):
    received = b""
    while mark not in received:
        piece = sock.recv(65536)
        assert piece, f"closed before {mark!r}: {received!r}"
        received += piece
    return received


def to_end(sock):
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while True:
            piece = sock.recv(65536)
            if not piece:
                break
            received += piece
    return received


def run_to_end(*arguments):
    return subprocess.run([*COMMAND, *arguments], cwd=ROOT, capture_output=True, timeout=PATIENCE, text=True)


def wait_until(is_true):
    deadline = time.monotonic() + PATIENCE
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


class TestAboutTheServer:
    def test_health(self, demo):
        assert ask_json(demo, "/health") == {"status": "ok"}

    @pytest.mark.parametrize("path", ["/models", "/v1/models"])
    def test_models(self, demo, path):
        assert [model["id"] for model in ask_json(demo, path)["data"]] == ["demo"]

    def test_props_count_the_work_but_not_themselves(self):
        with run_demo() as demo:
            ask(demo, "/v1/chat/completions", chat_request("a b"))
            ask(demo, "/health")
            found = ask_json(demo, "/props")["demo"]
        assert found == {"pid": demo.process.pid, "requests": 1, "tokens": 4, "active": 0, "peak_active": 1,
                         "cancelled": 0}

    def test_slots_and_metrics_show_what_is_active(self):
        with run_demo("--hang-mid-stream", 1) as demo, raw_connection(demo, b"GET /stream HTTP/1.1\r\n\r\n") as sock:
            until(sock, b"chunk 0")
            assert [slot["is_processing"] for slot in ask_json(demo, "/slots")] == [True, False, False, False]
            assert b"\nvllm:num_requests_running 1\n" in ask(demo, "/metrics").body

    def test_index_is_html(self, demo):
        assert b"<h1>" in ask(demo, "/").body

    @pytest.mark.parametrize("method, path", [("GET", "/nope"), ("POST", "/v1/nope"), ("GET", "/v1/chat/completions"),
                                              ("DELETE", "/health")])
    def test_unknown_is_404_in_json(self, demo, method, path):
        reply = ask(demo, path, b"", method=method)
        assert (reply.status, json.loads(reply.body)["error"]["code"]) == (404, 404)

    def test_every_answer_says_which_process_gave_it(self, demo):
        assert ask(demo, "/nope").headers["X-Demo-Pid"] == str(demo.process.pid)


class TestText:
    @pytest.mark.parametrize("prefix", ["", "/v1"])
    @pytest.mark.parametrize("path, body, key", [
        ("/chat/completions", chat_request(), "choices"), ("/completions", {"prompt": "a"}, "choices"),
        ("/completion", {"prompt": "a"}, "content"), ("/infill", {"input_prefix": "a"}, "content"),
        ("/embeddings", {"input": "a"}, "data"), ("/rerank", {"query": "a", "documents": ["a"]}, "results"),
        ("/reranking", {"query": "a", "documents": ["a"]}, "results"), ("/responses", {"input": "a"}, "output"),
        ("/messages", chat_request(), "content"), ("/messages/count_tokens", chat_request(), "input_tokens"),
        ("/images/generations", {"prompt": "a"}, "data"), ("/tasks/run", {}, "status"), ("/audio/voices", {}, "voice")])
    def test_is_served_with_and_without_v1(self, demo, prefix, path, body, key):
        assert key in ask_json(demo, prefix + path, body)

    def test_chat_echoes_the_last_user_message(self, demo):
        conversation = [{"role": "user", "content": "first"}, {"role": "assistant", "content": None},
                        {"role": "user", "content": [{"type": "text", "text": "grüße ☃"}, {"type": "image_url"}]}]
        found = ask_json(demo, "/v1/chat/completions", {"model": "its-name", "messages": conversation})
        assert found["choices"][0]["message"]["content"].strip() == "You said: grüße ☃"
        assert found["model"] == "its-name"
        assert found["usage"] == {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7,
                                  "prompt_tokens_details": {"cached_tokens": 0}}
        assert (found["timings"]["prompt_n"], found["timings"]["predicted_n"]) == (3, 4)

    def test_the_limit_is_respected(self, demo):
        found = ask_json(demo, "/v1/chat/completions", chat_request(max_tokens=2))
        assert found["choices"][0]["message"]["content"] == "You said:"
        assert found["choices"][0]["finish_reason"] == "length"

    @pytest.mark.parametrize("with_usage", [False, True])
    def test_chat_stream(self, demo, with_usage):
        request = chat_request(stream=True, stream_options={"include_usage": with_usage})
        reply = ask(demo, "/v1/chat/completions", request)
        assert reply.headers["Content-Type"] == "text/event-stream"
        *found, last = (value for _, value in events(reply.body))
        assert last == "[DONE]"
        choices = [value["choices"][0] for value in found if value["choices"]]
        assert "".join(choice["delta"].get("content") or "" for choice in choices) == "You said: hello there"
        assert [choice["finish_reason"] for choice in choices] == [None] * 5 + ["stop"]
        assert [bool(value.get("usage")) for value in found] == [False] * 6 + [True] * with_usage
        assert ["timings" in value for value in found] == [False] * (len(found) - 1) + [True]

    def test_completion_stream(self, demo):
        found = events(ask(demo, "/v1/completions", {"prompt": "a b", "stream": True}).body)
        assert "".join(value["choices"][0]["text"] for _, value in found[:-1]) == "You said: a b"

    def test_llama_cpp_form(self, demo):
        found = events(ask(demo, "/completion", {"prompt": "a b", "stream": True, "n_predict": 3}).body)
        assert "".join(value["content"] for _, value in found) == "You said: a"
        assert (found[-1][1]["stop_type"], found[-1][1]["timings"]["predicted_n"]) == ("limit", 3)
        several = ask_json(demo, "/infill", {"prompt": ["a", "b"]})
        assert [one["content"] for one in several] == ["You said: a", "You said: b"]

    def test_responses_stream(self, demo):
        found = events(ask(demo, "/v1/responses", {"input": "a", "stream": True}).body)
        assert [name.replace("response.", "") for name, _ in found] == [
            "created", "in_progress", "output_item.added", "content_part.added", *["output_text.delta"] * 3,
            "output_text.done", "content_part.done", "output_item.done", "completed"]
        assert [value["sequence_number"] for _, value in found] == list(range(11))
        assert found[-1][1]["response"]["usage"]["output_tokens"] == 3

    def test_messages_stream(self, demo):
        found = events(ask(demo, "/v1/messages", chat_request("a", stream=True)).body)
        assert [name for name, _ in found] == [
            "message_start", "ping", "content_block_start", *["content_block_delta"] * 3, "content_block_stop",
            "message_delta", "message_stop"]
        assert all(name == value["type"] for name, value in found)
        assert found[-2][1]["usage"]["output_tokens"] == 3

    @pytest.mark.parametrize("path, body", [
        ("/v1/chat/completions", b"{"), ("/v1/chat/completions", b"[]"), ("/v1/chat/completions", b"{}"),
        ("/v1/embeddings", b'{"input": "a", "dimensions": "many"}'), ("/v1/rerank", b'{"query": "a", "documents": 1}')])
    def test_a_wrong_body_is_400(self, demo, path, body):
        reply = ask(demo, path, body)
        assert (reply.status, json.loads(reply.body)["error"]["type"]) == (400, "invalid_request_error")

    def test_embeddings_are_the_same_in_both_encodings(self, demo):
        request = {"input": ["a", "b", "a"], "dimensions": 5}
        plain = ask_json(demo, "/v1/embeddings", request)["data"]
        packed = ask_json(demo, "/v1/embeddings", {**request, "encoding_format": "base64"})["data"]
        assert [list(struct.unpack("<5f", base64.b64decode(row["embedding"]))) for row in packed] == \
            [row["embedding"] for row in plain]
        assert plain[0]["embedding"] == plain[2]["embedding"] != plain[1]["embedding"]

    def test_embeddings_of_token_lists(self, demo):
        assert len(ask_json(demo, "/v1/embeddings", {"input": [1, 2, 3]})["data"]) == 1
        assert len(ask_json(demo, "/v1/embeddings", {"input": [[1, 2], [3]]})["data"]) == 2

    def test_rerank_puts_the_best_first(self, demo):
        request = {"query": "red fox", "documents": ["a dog", "the red fox", "a fox"], "top_n": 2}
        assert ask_json(demo, "/rerank", request)["results"] == [
            {"index": 1, "relevance_score": 1.0}, {"index": 2, "relevance_score": 0.5}]


class TestSoundAndPictures:
    FORM = (b'--B\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n\0\r\n--\xff\r\n'
            b'--B\r\nContent-Disposition: form-data; name="prompt"\r\n\r\nsky\r\n'
            b'--B\r\nContent-Disposition: form-data; name="response_format"\r\n\r\n%b\r\n--B--\r\n')
    KIND = {"Content-Type": "multipart/form-data; boundary=B"}

    @pytest.mark.parametrize("path", ["/audio/speech", "/v1/audio/speech"])
    def test_speech_is_a_wave_file(self, demo, path):
        reply = ask(demo, path, {"input": "a", "voice": "v"})
        with wave.open(io.BytesIO(reply.body)) as sound:
            assert (sound.getframerate(), sound.getnframes()) == (8000, 800)

    @pytest.mark.parametrize("path", ["/audio/voices", "/v1/audio/voices"])
    def test_voices(self, demo, path):
        assert "alloy" in ask_json(demo, path + "?model=m")["voices"]

    def test_transcriptions(self, demo):
        def transcribe(style):
            return ask(demo, "/v1/audio/transcriptions", self.FORM % style, headers=self.KIND).body
        assert json.loads(transcribe(b"json")) == {"text": "You said: 6 bytes"}
        assert transcribe(b"text") == b"You said: 6 bytes\n"
        assert json.loads(transcribe(b"verbose_json"))["segments"][0]["text"] == "You said: 6 bytes"

    def test_a_form_cut_short_is_400(self, demo):
        reply = ask(demo, "/v1/audio/transcriptions", (self.FORM % b"json")[:-5], headers=self.KIND)
        assert reply.status == 400

    @staticmethod
    def assert_png(encoded, width, height):
        data = base64.b64decode(encoded)
        assert data[:16] == b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
        assert struct.unpack(">II", data[16:24]) == (width, height)
        size = struct.unpack(">I", data[33:37])[0]
        assert zlib.crc32(data[37:41 + size]) == struct.unpack(">I", data[41 + size:45 + size])[0]
        assert len(zlib.decompress(data[41:41 + size])) == height * (1 + 3 * width)

    def test_images(self, demo):
        pictures = ask_json(demo, "/v1/images/generations", {"prompt": "sky", "n": 2, "size": "16x9"})["data"]
        assert len(pictures) == 2
        self.assert_png(pictures[0]["b64_json"], 16, 9)
        edited = ask_json(demo, "/v1/images/edits", self.FORM % b"b64_json", headers=self.KIND)["data"]
        self.assert_png(edited[0]["b64_json"], 64, 64)

    @pytest.mark.parametrize("path", ["/sdapi/v1/txt2img", "/sdapi/v1/img2img"])
    def test_stable_diffusion(self, demo, path):
        found = ask_json(demo, path, {"prompt": "sky", "width": 8, "height": 4, "batch_size": 2})
        assert len(found["images"]) == 2
        self.assert_png(found["images"][0], 8, 4)

    def test_loras(self, demo):
        assert ask_json(demo, "/sdapi/v1/loras")[0]["name"] == "demo"


class TestHttp:
    def test_echo_shows_the_request_as_it_came(self, demo):
        request = (b"PATCH /echo/a%2Fb//c?x=%20&y HTTP/1.1\r\nHost: h\r\nx-Two: 1\r\nX-two:  2 \r\nX-Bytes: \xe9\r\n"
                   b"Content-Length: 4\r\nConnection: close\r\n\r\n\0\xff\r\n")
        with raw_connection(demo, request) as sock:
            found = json.loads(to_end(sock).partition(b"\r\n\r\n")[2])
        assert (found["method"], found["target"], found["body"]) == ("PATCH", "/echo/a%2Fb//c?x=%20&y", "\0\xff\r\n")
        assert found["headers"] == [["Host", "h"], ["x-Two", "1"], ["X-two", "2"], ["X-Bytes", "é"],
                                    ["Content-Length", "4"], ["Connection", "close"]]

    def test_a_large_body_is_only_measured(self, demo):
        found = ask_json(demo, "/echo", b"x" * 3_000_000)
        assert found["body_bytes"] == 3_000_000
        assert len(found["body_sha256"]) == 64
        assert "body" not in found

    def test_chunked_body_extensions_and_trailers(self, demo):
        with raw_connection(demo, b"POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
                                  b"3;a=b\r\nabc\r\nA\r\n0123456789\r\n0\r\nX-Trailer: 1\r\n\r\n") as sock:
            assert b'"body":"abc0123456789"' in until(sock, b"}")

    def test_keep_alive_and_pipelining(self, demo):
        one = b"POST /echo HTTP/1.1\r\nContent-Length: 1\r\n\r\n"
        with raw_connection(demo, one + b"1" + one + b"2") as sock:
            until(sock, b'"body":"2"}')
            send(sock, b"GET /health HTTP/1.1\r\nConnection: close\r\n\r\n")
            last = to_end(sock)
        assert b"\r\nConnection: close\r\n" in last
        assert last.endswith(b'{"status":"ok"}')

    def test_expect_continue(self, demo):
        with raw_connection(demo, b"POST /echo HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n") as sock:
            assert until(sock, b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            send(sock, b"ok")
            assert b'"body":"ok"' in until(sock, b"}")

    @pytest.mark.parametrize("path", ["/health", "/echo/x", "/stream"])
    def test_head_has_no_body(self, demo, path):
        with raw_connection(demo, b"HEAD %b HTTP/1.1\r\nConnection: close\r\n\r\n" % path.encode()) as sock:
            assert to_end(sock).partition(b"\r\n\r\n")[2] == b""

    def test_absolute_target(self, demo):
        with raw_connection(demo, b"GET http://h:1/health?x HTTP/1.1\r\n\r\n") as sock:
            until(sock, b'{"status":"ok"}')

    @pytest.mark.parametrize("request_bytes", [
        b"GET /health\r\n\r\n", b"GET /health HTTP/1.0\r\n\r\n", b"GET  /health HTTP/1.1\r\n\r\n",
        b"GET /health HTTP/1.1\r\nX : 1\r\n\r\n", b"GET /health HTTP/1.1\r\n folded\r\n\r\n",
        b"GET /health HTTP/1.1\r\nX: \n\r\n\r\n", b"POST /echo HTTP/1.1\r\nContent-Length: +1\r\n\r\nx",
        b"POST /echo HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        b"POST /echo HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\nx\r\n0\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxyz\r\n0\r\n\r\n"])
    def test_is_strict(self, demo, request_bytes):
        with raw_connection(demo, request_bytes) as sock:
            assert to_end(sock).startswith(b"HTTP/1.1 400 ")

    def test_plain_stream_keeps_its_gaps(self, demo):
        pieces = []
        with raw_connection(demo, b"GET /stream?n=3&gap=0.2&size=12 HTTP/1.1\r\nConnection: close\r\n\r\n") as sock:
            while not pieces or pieces[-1]:
                pieces.append(sock.recv(65536))
        assert b"".join(pieces).endswith(b"\r\nc\r\n....chunk 2\n\r\n0\r\n\r\n")
        assert len(pieces) >= 4     # three chunks and the end of the stream

    def test_a_client_that_leaves_is_noticed_while_nothing_is_sent(self):
        with run_demo("--prefill-delay", 60) as demo:
            with raw_connection(demo, b"GET /echo HTTP/1.1\r\n\r\n"):
                wait_until(lambda: ask_json(demo, "/props")["demo"]["active"] == 1)
            demo.wait_for(r"GET /echo cancelled \d+ ms")
            found = ask_json(demo, "/props")["demo"]
            assert (found["active"], found["cancelled"]) == (0, 1)


class TestWebSocket:
    HANDSHAKE = (b"GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                 b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: chat, other\r\n"
                 b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")

    @staticmethod
    def masked(first, data):
        mask = b"\x01\x02\x03\x04"
        return bytes((first, 128 | len(data))) + mask + bytes(byte ^ mask[n % 4] for n, byte in enumerate(data))

    def test_by_hand(self, demo):
        with raw_connection(demo, self.HANDSHAKE) as sock:
            head = until(sock, b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 101 ")
            assert b"\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in head      # the example of RFC 6455
            assert b"\r\nSec-WebSocket-Protocol: chat\r\n" in head
            send(sock, self.masked(0x01, b"hel") + self.masked(0x89, b"?") + self.masked(0x80, b"lo"))
            assert until(sock, b"hello") == b"\x8a\x01?\x81\x05hello"       # the ping came between two fragments
            send(sock, self.masked(0x82, b"\0\xff") + self.masked(0x88, b"\x03\xe8"))
            assert to_end(sock) == b"\x82\x02\0\xff\x88\x02\x03\xe8"

    def test_an_unmasked_frame_ends_it(self, demo):
        with raw_connection(demo, self.HANDSHAKE) as sock:
            until(sock, b"\r\n\r\n")
            send(sock, b"\x81\x02hi")
            assert to_end(sock) == b"\x88\x02\x03\xea"

    def test_with_a_real_client(self, demo):
        client = pytest.importorskip("websockets.sync.client")
        with client.connect(f"ws://127.0.0.1:{demo.port}/ws", proxy=None, max_size=None, compression=None) as socket_:
            for message in ("grüße", b"\0" * 10, "x" * 200, bytes(range(256)) * 1000, ["three ", "frag", "ments"]):
                socket_.send(message)
                assert socket_.recv(timeout=PATIENCE) == ("".join(message) if isinstance(message, list) else message)
            assert socket_.ping().wait(PATIENCE)


class TestKnobsOfAnAnswer:
    TOOLS = [{"type": "function", "function": {"name": "look", "parameters": {
        "type": "object", "properties": {"at": {"type": "string"}, "times": {"type": "integer"}}}}}]

    def test_header_and_json_field_win_over_the_command_line(self):
        with run_demo("--tokens", 3) as demo:
            def count(request, **headers):
                return ask_json(demo, "/v1/completions", request, headers=headers)["usage"]["completion_tokens"]
            assert count({"prompt": "a b c d"}) == 3
            assert count({"prompt": "a b c d", "demo": {"tokens": 40}}) == 40
            assert count({"prompt": "a b c d", "demo": {"tokens": 40}}, **{"X-Demo-Tokens": "2"}) == 2

    def test_name(self):
        with run_demo("--name", "its own") as demo:
            assert ask_json(demo, "/v1/chat/completions", chat_request())["model"] == "its own"
            assert ask_json(demo, "/v1/models")["data"][0]["id"] == "its own"

    def test_cached_tokens(self, demo):
        found = ask_json(demo, "/v1/chat/completions", chat_request("a b c", demo={"cached_tokens": 2}))
        assert found["usage"]["prompt_tokens_details"]["cached_tokens"] == found["timings"]["cache_n"] == 2
        assert found["timings"]["prompt_n"] == 1

    def test_reasoning(self, demo):
        request = chat_request("a", demo={"reasoning": True})
        message = ask_json(demo, "/v1/chat/completions", request)["choices"][0]["message"]
        assert (message["reasoning_content"], message["content"]) == ("The user spoke. I repeat.", "You said: a")
        stream = events(ask(demo, "/v1/chat/completions", {**request, "stream": True}).body)
        deltas = [value["choices"][0]["delta"] for _, value in stream[:-1]]
        assert "".join(delta.get("reasoning_content", "") for delta in deltas) == "The user spoke. I repeat."

    @pytest.mark.parametrize("more", [{"demo": {"tool_call": True}}, {"tool_choice": "required"}, {}])
    def test_tool_call(self, demo, more):
        request = chat_request("hi" if more else "please call the tool", tools=self.TOOLS, **more)
        choice = ask_json(demo, "/v1/chat/completions", request)["choices"][0]
        function = choice["message"]["tool_calls"][0]["function"]
        assert (choice["finish_reason"], choice["message"]["content"], function["name"]) == ("tool_calls", None, "look")
        assert json.loads(function["arguments"]) == {"at": "demo", "times": 1}
        stream = events(ask(demo, "/v1/chat/completions", {**request, "stream": True}).body)
        calls = [value["choices"][0]["delta"].get("tool_calls", [{}])[0] for _, value in stream[:-1]]
        assert "".join(call["function"]["arguments"] for call in calls if call) == function["arguments"]
        assert stream[-2][1]["choices"][0]["finish_reason"] == "tool_calls"

    def test_no_tool_call_once_the_result_is_there(self, demo):
        request = chat_request("call the tool", tools=self.TOOLS)
        request["messages"].append({"role": "tool", "tool_call_id": "call_1", "content": "42"})
        assert ask_json(demo, "/v1/chat/completions", request)["choices"][0]["finish_reason"] == "stop"

    def test_delays(self, demo):
        started = time.monotonic()
        request = chat_request("a", stream=True, demo={"prefill_delay": 0.2, "token_delay": 0.1})
        with raw_connection(demo, b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (
                len(json.dumps(request)), json.dumps(request).encode())) as sock:
            first = sock.recv(1)
            first_after = time.monotonic() - started
            body = first + until(sock, b"[DONE]")
        assert first_after >= 0.19
        assert time.monotonic() - started >= 0.39
        timings = re.search(rb'"prompt_ms":([\d.]+).*"predicted_ms":([\d.]+)', body)
        assert float(timings[1]) >= 190
        assert float(timings[2]) >= 190

    def test_status(self, demo):
        reply = ask(demo, "/v1/chat/completions", chat_request(), headers={"X-Demo-Status": "429"})
        assert (reply.status, json.loads(reply.body)["error"]["code"]) == (429, 429)

    def test_crash_mid_stream(self):
        with run_demo("--crash-mid-stream", 2) as demo:
            with pytest.raises(http.client.IncompleteRead) as broken:
                ask(demo, "/v1/chat/completions", chat_request(stream=True))
            assert broken.value.partial.count(b"data: ") == 3       # the role and two tokens
            assert demo.process.wait(PATIENCE) == 7
            demo.wait_for("error: crash_mid_stream after 2 tokens")

    @pytest.mark.parametrize("tokens", [0, 4])
    def test_close_mid_stream(self, demo, tokens):
        with pytest.raises(http.client.IncompleteRead) as broken:
            ask(demo, "/v1/chat/completions", chat_request(stream=True, demo={"close_mid_stream": tokens}))
        assert broken.value.partial.count(b"data: ") == 1 + tokens
        assert ask(demo, "/health").status == 200

    def test_hang_mid_stream(self, demo):
        with raw_connection(demo, b"GET /stream?n=3 HTTP/1.1\r\nX-Demo-Hang-Mid-Stream: 2\r\n\r\n") as sock:
            until(sock, b"chunk 1\n\r\n")
            sock.settimeout(0.2)
            with pytest.raises(socket.timeout):
                sock.recv(1)
        wait_until(lambda: ask_json(demo, "/props")["demo"]["active"] == 0)

    def test_close_after_stream(self, demo):
        with raw_connection(demo, b"GET /stream?n=1 HTTP/1.1\r\nX-Demo-Close-After-Stream: 1\r\n\r\n") as sock:
            received = to_end(sock)
        assert received.endswith(b"0\r\n\r\n")
        assert b"Keep-Alive:" in received
        assert b"Connection: close" not in received

    def test_a_bad_knob_is_400(self, demo):
        assert ask(demo, "/echo", headers={"X-Demo-Status": "red"}).status == 400


class TestKnobsOfTheServer:
    def test_startup_delay(self):
        started = time.monotonic()
        with run_demo("--startup-delay", 0.3):
            assert time.monotonic() - started >= 0.3

    def test_stops_in_the_middle_of_its_startup(self):
        with run_demo("--startup-delay", 60, listening=False) as demo:
            demo.wait_for("loading")
            demo.process.terminate()
            assert demo.process.wait(PATIENCE) == 0

    def test_unhealthy(self):
        with run_demo("--unhealthy", 0.6) as demo:
            reply = ask(demo, "/health")
            assert (reply.status, json.loads(reply.body)) == (503, {
                "error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}})
            assert ask(demo, "/v1/chat/completions", chat_request()).status == 503
            wait_until(lambda: ask(demo, "/health").status == 200)
            assert ask(demo, "/v1/chat/completions", chat_request()).status == 200

    def test_no_health(self):
        with run_demo("--no-health") as demo:
            assert ask(demo, "/health").status == 404

    def test_hang_health(self):
        with run_demo("--hang-health") as demo, raw_connection(demo, b"GET /health HTTP/1.1\r\n\r\n") as sock:
            sock.settimeout(0.2)
            with pytest.raises(socket.timeout):
                sock.recv(1)
            assert ask(demo, "/v1/models").status == 200

    def test_crash_after(self):
        with run_demo("--crash-after", 2) as demo:
            for path in ("/health", "/v1/models", "/echo", "/health"):
                assert ask(demo, path).status == 200
            with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
                ask(demo, "/echo")
            assert demo.process.wait(PATIENCE) == 7

    def test_exit_at_start(self):
        done = run_to_end("--exit-at-start", "3")
        assert (done.returncode, done.stderr) == (3, "error: failed to load model\n")

    def test_a_port_in_use(self, demo):
        done = run_to_end("--port", str(demo.port))
        assert done.returncode == 1
        assert "error: cannot listen on 127.0.0.1 port" in done.stderr

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_stops_at_once_even_while_streaming(self, number):
        with run_demo() as demo, raw_connection(demo, b"GET /stream?n=99&gap=1 HTTP/1.1\r\n\r\n") as sock:
            until(sock, b"chunk 0")
            demo.process.send_signal(number)
            assert demo.process.wait(PATIENCE) == 0

    def test_ignore_sigterm(self):
        with run_demo("--ignore-sigterm") as demo:
            demo.process.terminate()
            demo.wait_for("signal 15")
            assert ask(demo, "/health").status == 200
            demo.process.kill()

    def test_stop_delay_lets_answers_end(self):
        with run_demo("--stop-delay", 0.5) as demo, raw_connection(demo) as sock:
            send(sock, b"GET /stream?n=2&gap=0.2 HTTP/1.1\r\n\r\n")
            until(sock, b"chunk 0")
            stopped_at = time.monotonic()
            demo.process.terminate()
            until(sock, b"\r\n0\r\n\r\n")
            assert demo.process.wait(PATIENCE) == 0
            assert time.monotonic() - stopped_at >= 0.5

    @pytest.mark.parametrize("option, same_group", [("--grandchild", True), ("--setsid-grandchild", False)])
    def test_grandchild_outlives_and_holds_stdout(self, option, same_group):
        with run_demo(option, 0.5) as demo:
            pid = int(demo.wait_for(r"grandchild (\d+)")[1])
            assert (os.getpgid(pid) == demo.process.pid) is same_group
            os.kill(demo.process.pid, signal.SIGTERM)
            os.kill(pid, signal.SIGTERM)
            assert demo.process.wait(PATIENCE) == 0
            assert demo._reader.is_alive()
            demo._reader.join(PATIENCE)
            assert not demo._reader.is_alive()

    @pytest.mark.parametrize("holds", [False, True])
    def test_grandchild_holds_port(self, holds):
        with run_demo("--grandchild", *["--grandchild-holds-port"] * holds) as demo:
            demo.process.kill()
            demo.process.wait(PATIENCE)
            with socket.socket() as probe:
                assert (probe.connect_ex(("127.0.0.1", demo.port)) == 0) is holds

    def test_run_demo_ends_what_it_started(self):
        with run_demo("--ignore-sigterm", "--setsid-grandchild", 60) as demo:
            demo.process.kill()
        assert demo.process.returncode == -signal.SIGKILL
        assert not demo._reader.is_alive()      # its pipe is at its end, so nobody holds it

    def test_flood(self):
        with run_demo("--flood", 5000) as demo:
            demo.wait_for("flood line 1000")
            assert ask(demo, "/health").status == 200

    def test_stops_though_nobody_reads_its_log(self):
        command = [*COMMAND, "--flood", "1000000"]
        with TestAsAProgram.started(command[1:], cwd=ROOT, stdout=subprocess.PIPE) as process, process.stdout:
            while b"listening" not in process.stdout.readline():
                pass
            time.sleep(0.1)         # by now the pipe is full
            process.terminate()
            assert process.wait(PATIENCE) == 0

    def test_ansi(self):
        with run_demo("--ansi") as demo:
            demo.wait_for("\x1b\\[32mI\x1b\\[0m listening")

    def test_log(self):
        with run_demo() as demo:
            ask(demo, "/health")
            ask(demo, "/v1/chat/completions", chat_request())
            demo.wait_for(r"\nPOST /v1/chat/completions 200 \d+ ms")
            assert "/health" not in demo.log

    def test_log_requests(self):
        with run_demo("--log-requests") as demo:
            ask(demo, "/health", headers={"X-Seen": "yes"})
            demo.wait_for("GET /health .*X-Seen: yes;")

    @pytest.mark.parametrize("arguments", [["--port", "x"], ["--nonsense"], ["extra"], ["--tokens"]])
    def test_wrong_arguments(self, arguments):
        done = run_to_end(*arguments)
        assert done.returncode == 2
        assert done.stderr.startswith("demo-model: ")

    def test_help_names_every_knob(self):
        done = run_to_end("--help")
        assert done.returncode == 0
        source = (ROOT / "llamaswap" / "demo.py").read_text()
        for name in re.findall(r'^    "([a-z_]+)": \((?:flag|int|float|str),', source, re.MULTILINE):
            assert "--" + name.replace("_", "-") in done.stdout


class TestAsAProgram:
    @staticmethod
    @contextlib.contextmanager
    def started(command, **options):
        process = subprocess.Popen([sys.executable, *command], **options)
        try:
            yield process
        finally:
            process.kill()
            process.wait(PATIENCE)

    @pytest.mark.parametrize("command", [["-m", "llamaswap.demo"], [
        "-c", "import sys; from llamaswap import demo; sys.exit(demo.main(['--port', '0']))"]])
    def test_every_way_to_start_it(self, command):
        with self.started(command, cwd=ROOT, stdout=subprocess.PIPE) as process, process.stdout:
            assert b"loading demo" in process.stdout.readline()
            assert process.stdout.readline().startswith(b"listening on http://127.0.0.1:")
            process.terminate()
            assert process.wait(PATIENCE) == 0

    @pytest.mark.parametrize("stdout", ["closed", "broken"])
    def test_survives_without_stdout(self, stdout):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        close = ["-c", "import os, sys; os.close(1); os.execv(sys.executable, [sys.executable, '-S', '-m', "
                       f"'llamaswap.demo', '--port', '{port}', '--flood', '100'])"]
        command = close if stdout == "closed" else ["-S", "-m", "llamaswap.demo", "--port", str(port), "--flood", "100"]
        reading, writing = os.pipe()
        os.close(reading)
        with self.started(command, cwd=ROOT, stdout=writing) as process:
            os.close(writing)
            demo = namedtuple("Somewhere", "port")(port)

            def is_listening():
                with socket.socket() as probe:
                    return probe.connect_ex(("127.0.0.1", port)) == 0
            wait_until(is_listening)
            for _ in range(3):
                assert ask_json(demo, "/echo")["body"] == ""
            process.terminate()
            assert process.wait(PATIENCE) == 0

    def test_imports_nothing_slow_and_nothing_of_ours(self):
        code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import llamaswap.demo; print(*sys.modules)"
        command = [sys.executable, "-I", "-S", "-c", code]
        done = subprocess.run(command, capture_output=True, timeout=PATIENCE, text=True)
        loaded = set(done.stdout.split())
        ours = {name for name in loaded if name.startswith("llamaswap")}
        assert ours == {"llamaswap", "llamaswap.demo", "llamaswap.demo_answers"}
        assert not loaded & {"typing", "argparse", "subprocess", "threading", "http", "asyncio", "ssl"}


@pytest.fixture(scope="module")
def openai_client(demo):
    openai = pytest.importorskip("openai")
    with openai.OpenAI(base_url=demo.url + "/v1", api_key="none", max_retries=0, timeout=PATIENCE,
                       http_client=openai.DefaultHttpxClient(trust_env=False)) as client:
        yield client


@pytest.fixture(scope="module")
def anthropic_client(demo):
    anthropic = pytest.importorskip("anthropic")
    with anthropic.Anthropic(base_url=demo.url, api_key="none", max_retries=0, timeout=PATIENCE,
                             http_client=anthropic.DefaultHttpxClient(trust_env=False)) as client:
        yield client


class TestOpenAiSdk:
    MESSAGES = [{"role": "user", "content": "hello there"}]

    def test_models(self, openai_client):
        assert [model.id for model in openai_client.models.list()] == ["demo"]

    def test_chat(self, openai_client):
        found = openai_client.chat.completions.create(model="m", messages=self.MESSAGES)
        assert (found.choices[0].message.content, found.usage.total_tokens) == ("You said: hello there", 6)

    def test_chat_stream(self, openai_client):
        stream = openai_client.chat.completions.create(model="m", messages=self.MESSAGES, stream=True,
                                                stream_options={"include_usage": True})
        chunks = list(stream)
        assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "You said: hello there"
        assert chunks[-1].usage.completion_tokens == 4

    def test_tool_call_with_the_stream_helper(self, openai_client):
        with openai_client.chat.completions.stream(model="m", messages=self.MESSAGES, tools=TestKnobsOfAnAnswer.TOOLS,
                                            tool_choice="required") as stream:
            found = stream.get_final_completion()
        assert found.choices[0].message.tool_calls[0].function.name == "look"

    def test_completions(self, openai_client):
        assert openai_client.completions.create(model="m", prompt="a").choices[0].text == "You said: a"

    def test_embeddings(self, openai_client):
        packed = openai_client.embeddings.create(model="m", input=["a", "b"], dimensions=4)      # asks for base64
        plain = openai_client.embeddings.create(model="m", input=["a", "b"], dimensions=4, encoding_format="float")
        assert [row.embedding for row in packed.data] == [row.embedding for row in plain.data]

    def test_responses(self, openai_client):
        found = openai_client.responses.create(model="m", input="a")
        assert (found.output_text, found.status, found.usage.output_tokens) == ("You said: a", "completed", 3)

    def test_responses_stream(self, openai_client):
        tools = [{"type": "function", "name": "look", "parameters": {"properties": {"at": {"type": "string"}}}}]
        for more, kinds in (({}, ["message"]), ({"tools": tools, "tool_choice": "required"}, ["function_call"]),
                            ({"extra_body": {"demo": {"reasoning": True}}}, ["reasoning", "message"])):
            with openai_client.responses.stream(model="m", input="a", **more) as stream:
                found = stream.get_final_response()
            assert [item.type for item in found.output] == kinds

    def test_images(self, openai_client):
        found = openai_client.images.generate(model="m", prompt="sky", size="256x256")
        TestSoundAndPictures.assert_png(found.data[0].b64_json, 256, 256)
        picture = ("a.png", base64.b64decode(found.data[0].b64_json))
        assert openai_client.images.edit(model="m", image=picture, prompt="sea").data[0].b64_json

    def test_audio(self, openai_client):
        sound = openai_client.audio.speech.create(model="m", voice="alloy", input="a").content
        found = openai_client.audio.transcriptions.create(model="m", file=("a.wav", sound))
        assert found.text == f"You said: {len(sound)} bytes"
        as_text = openai_client.audio.transcriptions.create(model="m", file=("a.wav", sound), response_format="text")
        assert as_text.strip() == found.text
        verbose = openai_client.audio.transcriptions.create(model="m", file=("a.wav", sound),
                                                            response_format="verbose_json")
        assert (verbose.duration, verbose.segments[0].text) == (1.0, found.text)

    def test_errors(self, openai_client):
        openai = pytest.importorskip("openai")
        with pytest.raises(openai.RateLimitError, match="as the knob asks"):
            openai_client.chat.completions.create(model="m", messages=self.MESSAGES,
                                                  extra_headers={"X-Demo-Status": "429"})


class TestAnthropicSdk:
    REQUEST = {"model": "m", "max_tokens": 100, "messages": [{"role": "user", "content": "hello there"}]}

    def test_messages(self, anthropic_client):
        found = anthropic_client.messages.create(**self.REQUEST)
        assert (found.content[0].text, found.stop_reason) == ("You said: hello there", "end_turn")
        assert (found.usage.input_tokens, found.usage.output_tokens) == (2, 4)

    def test_limit(self, anthropic_client):
        found = anthropic_client.messages.create(**{**self.REQUEST, "max_tokens": 2})
        assert (found.content[0].text, found.stop_reason) == ("You said:", "max_tokens")

    def test_stream(self, anthropic_client):
        with anthropic_client.messages.stream(**self.REQUEST) as stream:
            assert "".join(stream.text_stream) == "You said: hello there"
            assert stream.get_final_message().usage.output_tokens == 4

    @pytest.mark.parametrize("stream", [False, True])
    def test_thinking_and_tool_use(self, anthropic_client, stream):
        tools = [{"name": "look", "input_schema": {"type": "object", "properties": {"at": {"type": "string"}}}}]
        request = {**self.REQUEST, "tools": tools, "extra_body": {"demo": {"reasoning": True, "tool_call": True}}}
        if stream:
            with anthropic_client.messages.stream(**request) as events_:
                found = events_.get_final_message()
        else:
            found = anthropic_client.messages.create(**request)
        assert [block.type for block in found.content] == ["thinking", "tool_use"]
        assert (found.content[1].input, found.stop_reason) == ({"at": "demo"}, "tool_use")

    def test_count_tokens(self, anthropic_client):
        assert anthropic_client.messages.count_tokens(model="m", messages=self.REQUEST["messages"]).input_tokens == 2
