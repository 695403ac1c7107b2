"""What clients see while a model is loaded, when it fails, when there are too many of them, and when they leave."""
from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import threading
from typing import Any, Dict, List

import pytest

from tests.support.program import (
    PATIENCE,
    Answer,
    Program,
    await_true,
    chat,
    demo,
    is_alive,
    request,
    run_program,
    said,
)


@pytest.fixture(scope="module")
def program():
    models = {
        "slow": demo("--startup-delay", "0.9", sendLoadingState=True),
        "pondering": demo("--startup-delay", "0.3", "--prefill-delay", "20", sendLoadingState=True),
        "quiet": demo("--startup-delay", "0.3"),
        "failing": demo("--startup-delay", "0.2", "--exit-at-start", "3", sendLoadingState=True),
        "missing": {"cmd": "/nowhere/engine --port ${PORT} --api-key hidden"},
        "crashing": demo("--crash-after", "2"),
        "breaking": demo("--token-delay", "0.01"),
        "narrow": demo(concurrencyLimit=1),
        "wide": demo(),
        "stubborn": demo("--ignore-sigterm", unloadTimeout=1),
        "hung": demo(unloadTimeout=1),
    }
    groups = {"all": {"swap": False, "exclusive": False, "members": list(models)}}
    selectors = {"spread": {"strategy": "spillover", "targets": ["narrow", "wide"], "settings": {"spillover": 5}}}
    with run_program({"models": models, "groups": groups, "selectors": selectors}) as running:
        yield running


def events(body: bytes) -> List[Any]:
    found = [line[6:] for line in body.split(b"\n") if line.startswith(b"data: ")]
    return ["[DONE]" if each == b"[DONE]" else json.loads(each) for each in found]


class Pending:
    """A request under way in a thread of its own."""

    def __init__(self, program: Program, *arguments: Any) -> None:
        self._answers: List[Answer] = []
        self._thread = threading.Thread(target=lambda: self._answers.append(program.ask(*arguments)))
        self._thread.start()

    def answer(self) -> Answer:
        self._thread.join(PATIENCE)
        assert self._answers, "no answer"
        return self._answers[0]


# --- loading -----------------------------------------------------------------------------------------------------


def test_the_loading_stream_tells_and_then_answers(program):
    program.ask("POST", "/api/models/unload/slow")
    with program.stream("POST", "/v1/chat/completions", chat("slow", stream=True)) as stream:
        assert stream.status == 200 and stream.getheader("X-Accel-Buffering") == "no"
        assert stream.getheader("X-Request-Id")
        first = json.loads(stream.readline()[6:])
        assert "slow" not in program.running() or program.running()["slow"] == "starting"
        rest = stream.read()
    assert {"id", "object", "created", "model", "choices"} <= set(first)
    found = events(b"data: " + json.dumps(first).encode() + b"\n" + rest)
    told = "".join(each["choices"][0]["delta"].get("reasoning_content", "") for each in found[:-1] if each["choices"])
    assert "llamaswap loading model: slow" in told and "Done! (" in told
    text = "".join(each["choices"][0]["delta"].get("content") or "" for each in found[:-1] if each["choices"])
    assert text == "You said: hello" and found[-1] == "[DONE]"


def test_a_cancel_between_the_loading_stream_and_its_answer(program):
    pending = Pending(program, "POST", "/v1/chat/completions", chat("pondering", stream=True))
    number = await_true(lambda: [each["id"] for each in program.ask("GET", "/api/inflight").json()["requests"]
                                 if each["model"] == "pondering" and each["phase"] == "prompt"])[0]
    assert program.ask("POST", f"/api/inflight/{number}/cancel").status == 200
    *_, error, done = events(pending.answer().body)
    assert error["error"]["code"] == "cancelled" and done == "[DONE]"
    row = await_true(lambda: program.ask("GET", f"/api/metrics/activity?min_id={number}").json()["data"])[-1]
    assert (row["outcome"], row["resp_status_code"]) == ("cancelled", 502) and "by the operator" in row["error_msg"]


@pytest.mark.parametrize("path, body", [
    ("/v1/messages", {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 9}),
    ("/v1/completions", {"prompt": "hello"}), ("/v/responses", {"input": "hello"}),
])
def test_other_streams_get_comments_while_they_wait(program, path, body):
    program.ask("POST", "/api/models/unload/slow")
    answer = program.ask("POST", path, {"model": "slow", "stream": True, **body})
    assert answer.status == 200
    lines = answer.body.split(b"\n")
    assert lines[0].startswith(b": ") and b"llamaswap loading model: slow" in lines[0]
    assert all(line[:1] in (b"", b":", b"d", b"e") for line in lines)
    assert events(answer.body)


def test_a_slow_reader_of_a_loading_stream_delays_nobody():
    """Neither while its model loads nor when the answer, which is larger than any buffer, comes behind it."""
    models = {"slow": demo("--startup-delay", "3", sendLoadingState=True), "warm": demo()}
    groups = {"all": {"swap": False, "exclusive": False, "members": list(models)}}
    with run_program({"models": models, "groups": groups}) as program, socket.socket() as reader:
        program.pid_of("warm")
        body = json.dumps(chat("slow", stream=True, max_tokens=4_000_000, demo={"tokens": 200_000})).encode()
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader.settimeout(PATIENCE)
        reader.connect(("127.0.0.1", program.port))
        reader.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
                       + body)
        assert reader.recv(16).startswith(b"HTTP/1.1 200")
        served = 0
        while program.running().get("slow") == "starting":
            assert said(program.ask("POST", "/v1/chat/completions", chat("warm"), timeout=5)) == "You said: hello"
            served += 1
        assert served >= 3, "it takes three seconds to load"
        await_true(lambda: program.running().get("slow") == "ready")
        for _ in range(30):
            assert said(program.ask("POST", "/v1/chat/completions", chat("warm"), timeout=5)) == "You said: hello"
        found = b""
        while len(found) < 1_000_000:
            piece = reader.recv(65536)
            assert piece, found[-500:]
            found += piece
        assert b"loading model: slow" in found and b"Done! (" in found, "and who reads again gets all of it"


def test_no_loading_stream_for_those_who_do_not_stream(program):
    program.ask("POST", "/api/models/unload/slow")
    answer = program.ask("POST", "/v1/chat/completions", chat("slow"))
    assert said(answer) == "You said: hello"
    assert float(answer.headers["X-Llamaswap-Waited"]) > 0.5


def test_a_start_that_fails_after_the_loading_stream_began(program):
    answer = program.ask("POST", "/v1/chat/completions", chat("failing", stream=True))
    assert answer.status == 200
    found = events(answer.body)
    assert found[-1] == "[DONE]" and found[-2]["error"]["code"] == "model_start_failed"
    assert "failed to load model" in found[-2]["error"]["message"]
    await_true(lambda: "failing" not in program.running())


def test_a_start_that_fails(program):
    body: Dict[str, Any] = chat("failing")
    answer = program.ask("POST", "/v1/chat/completions", body)
    assert answer.status == 503 and int(answer.headers["Retry-After"]) >= 1
    assert answer.error["code"] in ("model_start_failed", "model_crash_loop") and answer.error["type"] == "server_error"
    assert "failed to load model" in answer.error["message"]
    missing = program.ask("POST", "/v1/chat/completions", chat("missing"))
    assert missing.status == 503 and "/nowhere/engine" in missing.error["message"]
    assert "hidden" not in missing.error["message"]


def test_unload_while_loading(program):
    program.ask("POST", "/api/models/unload/slow")
    pending = Pending(program, "POST", "/v1/chat/completions", chat("slow"))
    await_true(lambda: program.running().get("slow") == "starting")
    assert program.ask("POST", "/api/models/unload/slow").body == b"OK"
    answer = pending.answer()
    assert answer.status == 503 and answer.error["code"] != "internal_error"
    assert "slow" not in program.running()


# --- crashes -----------------------------------------------------------------------------------------------------


def test_a_crash_before_the_first_byte_is_not_seen(program):
    program.ask("POST", "/api/models/unload/crashing")
    first = program.ask("POST", "/v1/chat/completions", chat("crashing"))      # the process dies at its second request
    second = program.ask("POST", "/v1/chat/completions", chat("crashing"))
    assert said(first) == said(second) and first.headers["X-Demo-Pid"] != second.headers["X-Demo-Pid"]


ANTHROPIC_ERROR = b'\n\nevent: error\ndata: {"type":"error","error":{'


@pytest.mark.parametrize("accident, path, model, error", [
    ("crash_mid_stream", "/v1/chat/completions", "breaking", b'\n\ndata: {"src":"llama-swap","error":{'),
    ("close_mid_stream", "/v1/chat/completions", "breaking", b'\n\ndata: {"src":"llama-swap","error":{'),
    ("close_mid_stream", "/v1/messages", "breaking", ANTHROPIC_ERROR),
    ("close_mid_stream", "/v/messages", "breaking", ANTHROPIC_ERROR),
    ("close_mid_stream", "/upstream/breaking/v1/messages", "breaking", ANTHROPIC_ERROR),
    ("close_mid_stream", "/v1/messages", "slow", ANTHROPIC_ERROR),       # behind a loading stream
])
def test_a_crash_in_the_middle_never_looks_complete(program, accident, path, model, error):
    if model == "slow":
        program.ask("POST", "/api/models/unload/slow")
    body = json.dumps(chat(model, stream=True, max_tokens=99, demo={accident: 3})).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    found = b""
    with program.open(head + body) as sock, contextlib.suppress(ConnectionError):
        while True:
            piece = sock.recv(65536)
            if not piece:
                break
            found += piece
    assert found.startswith(b"HTTP/1.1 200 ") and b"You" in found
    assert b"[DONE]" not in found and not found.endswith(b"0\r\n\r\n")
    assert error in found
    await_true(lambda: program.ask("POST", "/v1/chat/completions", chat(model)).status == 200)


def test_a_model_killed_while_idle_is_started_again(program):
    pid = int(program.pid_of("breaking"))
    os.kill(pid, signal.SIGKILL)
    assert int(program.pid_of("breaking")) != pid


# --- too many, and gone ------------------------------------------------------------------------------------------


def test_the_concurrency_limit(program):
    hanging = chat("narrow", stream=True, demo={"hang_mid_stream": 1})
    with program.stream("POST", "/v1/chat/completions", hanging) as busy:
        busy.readline()
        answer = program.ask("POST", "/v1/chat/completions", chat("narrow"), {"Accept": "text/plain"})
        assert answer.status == 429 and answer.headers["Retry-After"] == "1"
        assert answer.json() == {"src": "llama-swap", "error": {
            "message": answer.error["message"], "type": "rate_limit_error", "param": None, "code": "concurrency_limit"}}
        # A selector knows another way.
        assert program.pid_of("spread") == program.pid_of("wide")
    await_true(lambda: program.ask("POST", "/v1/chat/completions", chat("narrow")).status == 200,
               "the slot of a client that left is free")


@pytest.mark.parametrize("stream", [False, True])
def test_one_after_the_other_is_never_too_many(program, stream):
    with contextlib.closing(program.connect()) as one, contextlib.closing(program.connect()) as other:
        for _ in range(100):
            for connection in (one, other):
                response = request(connection, "POST", "/v1/chat/completions", chat("narrow", stream=stream))
                assert response.read() and response.status == 200


def test_who_leaves_the_queue_is_forgotten():
    with run_program({"models": {"a": demo(), "b": demo()}}) as program:
        program.pid_of("a")
        busy = chat("a", stream=True, demo={"hang_mid_stream": 1})
        with program.stream("POST", "/v1/chat/completions", busy) as stream:
            stream.readline()
            body = json.dumps(chat("b")).encode()
            waiting = program.open(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
                                   % len(body) + body)
            waiting.close()
            program.wait_for('Request 127.0.0.1 "POST /v1/chat/completions HTTP/1.1" 499')
        await_true(lambda: program.running() == {"a": "ready"})
        assert "b: " not in program.log


def test_who_leaves_in_the_middle_frees_the_model(program):
    pid = program.pid_of("wide")
    hanging = chat("wide", stream=True, demo={"hang_mid_stream": 1})
    with program.stream("GET", "/logs/stream/wide?no-history") as log:
        with program.stream("POST", "/v1/chat/completions", hanging) as stream:
            stream.readline()
        assert any(b"cancelled" in line for line in log)
    assert program.pid_of("wide") == pid


def test_a_model_that_hangs_is_unloaded_within_its_grace(program):
    pid = int(program.pid_of("hung"))
    os.kill(pid, signal.SIGSTOP)
    assert program.ask("POST", "/api/models/unload/hung", timeout=10).body == b"OK" and not is_alive(pid)


def test_a_swap_from_one_that_ignores_sigterm_takes_its_grace_and_no_longer():
    with run_program({"models": {"a": demo("--ignore-sigterm", unloadTimeout=1), "b": demo()}}) as program:
        pid = int(program.pid_of("a"))
        # The bound is far below the 120 s of a health check, which is not the measure of a stop.
        assert said(program.ask("POST", "/v1/chat/completions", chat("b"), timeout=10)) == "You said: hello"
        assert not is_alive(pid) and program.running() == {"b": "ready"}


def test_an_unload_may_wait_for_requests(program):
    pid = int(program.pid_of("breaking"))
    with program.stream("POST", "/v1/chat/completions", chat("breaking", "x " * 60, stream=True)) as stream:
        stream.readline()
        busy = program.ask("POST", "/api/models/unload/breaking?mode=idle")
        assert (busy.status, busy.error["code"]) == (409, "model_busy") and "breaking" in busy.error["message"]
        pending = Pending(program, "POST", "/api/models/unload/breaking?mode=drain")
        later = Pending(program, "POST", "/v1/chat/completions", chat("breaking"))
        assert stream.read().endswith(b"data: [DONE]\n\n")
    assert pending.answer().body == b"OK" and not is_alive(pid)
    assert later.answer().status == 200
    assert program.ask("POST", "/api/models/unload/breaking?mode=gently").status == 400


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/upstream/hung/v1/chat/completions"])
def test_whoever_is_served_while_a_model_is_unloaded_is_told_so(program, path):
    """By a 503 to come back after, as they who wait for it are; a running server that fails is a 502."""
    program.pid_of("hung")
    pending = Pending(program, "POST", path, chat("hung", demo={"prefill_delay": 20}))
    with program.stream("POST", path, chat("hung", stream=True, demo={"hang_mid_stream": 1})) as stream:
        stream.readline()
        await_true(lambda: [each for each in program.ask("GET", "/api/inflight").json()["requests"]
                            if each["model"] == "hung" and each["phase"] == "prompt"])
        assert program.ask("POST", "/api/models/unload/hung").body == b"OK"
        with pytest.raises(http.client.IncompleteRead) as cut:
            stream.read()
    assert events(cut.value.partial)[-1]["error"]["code"] == "model_unloaded"
    answer = pending.answer()
    assert (answer.status, answer.error["code"], answer.headers["Retry-After"]) == (503, "model_unloaded", "1")
    assert "hung was unloaded" in answer.error["message"]


def test_one_that_will_not_stop_delays_nobody_else(program):
    stubborn = int(program.pid_of("stubborn"))
    program.pid_of("wide")
    pending = Pending(program, "POST", "/api/models/unload/stubborn")
    await_true(lambda: program.running().get("stubborn") == "stopping")
    assert said(program.ask("POST", "/v1/chat/completions", chat("wide"), timeout=0.9)) == "You said: hello"
    assert pending.answer().body == b"OK" and not is_alive(stubborn)
