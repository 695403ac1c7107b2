"""llamaswap as its users meet it: a process of its own in front of demo models, and everything a request can meet."""
from __future__ import annotations

import base64
import contextlib
import json
import re
import threading
import time
from typing import Any, Dict, List

import pytest

from llamaswap.core.routing import MODEL_ROUTES, Kind
from tests.support.demo_server import run_demo
from tests.support.program import PATIENCE, Answer, Program, chat, demo, run_program, said

JSON = {"Content-Type": "application/json"}


def together(*names: str) -> Dict[str, Any]:
    """A group whose members run side by side."""
    return {"side-by-side": {"swap": False, "exclusive": False, "members": list(names)}}


@pytest.fixture(scope="module")
def program():
    """One program for all that needs no configuration of its own. `one` and `two` exclude each other."""
    config = {
        "includeAliasesInList": True,
        "models": {
            "one": demo("--token-delay", "0.01", aliases=["uno"]),
            "two": demo(),
            "free": demo(aliases=["gratis"], metadata={"team": "red"}, description=" says it "),
            "author/model": demo(),
            "renamed": demo(useModelName="its-own-name"),
            "filtered": demo(filters={"stripParams": "top_k, seed", "setParams": {"temperature": 0.5, "a.b": 1},
                                      "setParamsByID": {"filtered:hot": {"temperature": 1.5}}}),
            "hidden": demo(unlisted=True),
        },
        "groups": together("free", "author/model", "renamed", "filtered", "hidden"),
        "selectors": {"any-free": {"strategy": "warm", "targets": ["hidden", "free"]},
                      "always-free": {"strategy": "pin", "targets": ["gratis"]},
                      "spread": {"strategy": "spillover", "targets": ["free", "author/model"],
                                 "settings": {"spillover": 1}}},
        "profiles": {"day": {"description": "sun", "pins": {"best": "free", "never": None, "two": "free"}},
                     "night": {"pins": {"best": "any-free"}}},
    }
    with run_program(config) as running:
        yield running


def echo(program: Program, model: str, path: str = "/echo", **fields: Any) -> Any:
    """What the model saw of a request on a path that no route knows."""
    answer = program.ask("POST", path, {"model": model, **fields})
    assert answer.status == 200, answer
    return answer.json()


# --- swapping and streaming --------------------------------------------------------------------------------------


def test_models_take_turns(program):
    program.ask("GET", "/unload")
    pids = [program.pid_of(name) for name in ("one", "one", "two", "one")]
    assert pids[0] == pids[1] and len(set(pids)) == 3
    assert program.running() == {"one": "ready"}


def test_a_stream_passes_through_as_it_comes(program):
    with program.stream("POST", "/v1/chat/completions", chat("one", "a b c d e f g h", stream=True)) as answer:
        assert answer.status == 200 and answer.getheader("X-Accel-Buffering") == "no"
        assert answer.getheader("Content-Type").startswith("text/event-stream")
        seen: List[float] = []
        events = []
        for line in answer:
            if line.startswith(b"data: "):
                seen.append(time.monotonic())
                events.append(line[6:].strip())
    assert events[-1] == b"[DONE]" and len(events) > 8
    assert seen[-1] - seen[0] > 0.04, "the tokens were collected"


def test_swap_waits_for_the_running_stream(program):
    program.pid_of("one")
    with program.stream("POST", "/v1/chat/completions", chat("one", "a b c d e f g h " * 4, stream=True)) as answer:
        answer.readline()
        other: List[Answer] = []
        thread = threading.Thread(target=lambda: other.append(program.ask("POST", "/v1/chat/completions", chat("two"))))
        thread.start()
        assert answer.read().endswith(b"data: [DONE]\n\n")
    thread.join(PATIENCE)
    assert said(other[0]) == "You said: hello"


# --- model routes ------------------------------------------------------------------------------------------------

BODIES: Dict[str, Any] = {
    "chat/completions": {"messages": [{"role": "user", "content": "hello"}]}, "responses": {"input": "hello"},
    "messages": {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 9},
    "messages/count_tokens": {"messages": [{"role": "user", "content": "hello"}]},
    "completions": {"prompt": "hello"}, "completion": {"prompt": "hello"}, "embeddings": {"input": "hello"},
    "audio/speech": {"input": "hello"}, "audio/voices": {}, "images/generations": {"prompt": "x"},
    "rerank": {"query": "x", "documents": ["x", "y"]}, "reranking": {"query": "x", "documents": ["x", "y"]},
    "infill": {"input_prefix": "x", "input_suffix": "y", "prompt": ""}, "tasks/run": {}, "txt2img": {"prompt": "x"},
    "img2img": {"prompt": "x"},
}


@pytest.mark.parametrize("path", [path for path, route in MODEL_ROUTES.items() if route.kind is Kind.JSON])
def test_every_json_route_reaches_the_model(program, path):
    tail = next(tail for tail in sorted(BODIES, key=len, reverse=True) if path.endswith("/" + tail))
    answer = program.ask("POST", path, {"model": "free", **BODIES[tail]})
    assert answer.status == 200, answer
    assert answer.headers["X-Demo-Pid"]
    if not path.startswith("/v1/audio/voices"):
        assert program.ask("GET", path).status == 405


def form(boundary: str, fields: Dict[str, str], *, name: str = "speech.wav") -> bytes:
    parts = [f'--{boundary}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'
             for key, value in fields.items()]
    parts.append(f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
                 f"Content-Type: audio/x-special\r\nX-Part: kept\r\n\r\n\x00\xff--not-it\r\n--{boundary}--\r\n")
    return "".join(parts).encode("latin-1")


@pytest.mark.parametrize("path", [path for path, route in MODEL_ROUTES.items() if route.kind is Kind.FORM])
def test_forms_reach_the_model(program, path):
    headers = {"Content-Type": "multipart/form-data; boundary=here"}
    answer = program.ask("POST", path, form("here", {"prompt": "x", "model": "free"}), headers)
    assert answer.status == 200, answer


def test_a_form_is_renamed_in_place(program):
    sent = form("here", {"first": "1", "model": "renamed", "last": "2"})
    answer = program.ask("POST", "/echo", sent, {"Content-Type": "multipart/form-data; boundary=here"})
    assert answer.json()["body"] == form("here", {"first": "1", "model": "its-own-name", "last": "2"}).decode("latin-1")


@pytest.mark.parametrize("path", [path for path, route in MODEL_ROUTES.items() if "GET" in route.methods])
def test_query_routes_reach_the_model(program, path):
    answer = program.ask("GET", f"{path}?b=2&model=free&a=%20x")
    assert answer.status == 200 and answer.headers["X-Demo-Pid"]
    head = program.ask("HEAD", f"{path}?model=free")
    assert head.status == 200 and head.body == b"" and head.headers["X-Demo-Pid"]


def test_escapes_that_need_not_be_there_still_find_the_route(program):
    assert program.ask("POST", "/v1/%63hat/completions", chat("free")).status == 200
    assert program.ask("POST", "/v1%2Fchat/completions", chat("free")).status != 200


@pytest.mark.parametrize("kind", ["application/JSON", "text/json", "text/plain", ""])
def test_json_is_json_whatever_it_is_called(program, kind):
    answer = program.ask("POST", "/v1/chat/completions", json.dumps(chat("free")).encode(), {"Content-Type": kind})
    assert said(answer) == "You said: hello"


# --- names and filters -------------------------------------------------------------------------------------------


def test_the_body_of_an_unfiltered_request_is_not_touched(program):
    body = b'{ "model" : "free",\t"x": [1.0, 1e3, "\\u00e9"] }'
    seen = program.ask("POST", "/echo", body, JSON).json()
    assert seen["body"].encode("latin-1") == body and seen["target"] == "/echo"


def test_the_model_sees_its_own_name_and_filtered_parameters(program):
    assert json.loads(echo(program, "gratis")["body"])["model"] == "gratis"
    assert json.loads(echo(program, "renamed")["body"])["model"] == "its-own-name"
    body = json.loads(echo(program, "filtered", top_k=4, seed=1, temperature=9, keep=True)["body"])
    assert body == {"model": "filtered", "temperature": 0.5, "keep": True, "a": {"b": 1}}
    hot = json.loads(echo(program, "filtered:hot")["body"])
    assert (hot["temperature"], hot["model"]) == (1.5, "filtered:hot")


def test_an_unknown_path_goes_where_its_body_says(program):
    assert echo(program, "free", "/echo/v7/brand-new")["target"] == "/echo/v7/brand-new"
    seen = program.ask("GET", "/echo/x?model=free&y=1").json()
    assert (seen["method"], seen["target"]) == ("GET", "/echo/x?model=free&y=1")
    assert program.ask("POST", "/echo", {"model": "nobody"}).status == 404
    assert program.ask("POST", "/echo", b"not for us").status == 404
    # What is ours stays ours.
    assert program.ask("POST", "/api/none", {"model": "free"}).status == 404


def test_an_unknown_model_is_404_with_a_hint(program):
    answer = program.ask("POST", "/v1/chat/completions", chat("fre"))
    assert answer.status == 404 and answer.error["code"] == "model_not_found"
    assert "did you mean free?" in answer.error["message"]
    assert answer.error["type"] == "invalid_request_error"
    nameless = program.ask("POST", "/v1/chat/completions", {"messages": []})
    assert nameless.status == 404 and nameless.error["message"] == "no model id could be identified"
    assert program.ask("POST", "/v1/chat/completions", b'{"model": "free"', JSON).status == 400


def test_selectors(program):
    program.ask("POST", "/api/models/unload/hidden")
    program.pid_of("free")
    assert program.pid_of("any-free") == program.pid_of("free")      # hidden comes first but free is warm
    assert program.pid_of("always-free") == program.pid_of("free")
    seen = json.loads(echo(program, "always-free")["body"])
    assert seen["model"] == "gratis"                                  # the target as configured


def test_spillover_takes_the_next_target_when_the_first_is_busy(program):
    free, author = program.pid_of("free"), program.pid_of("author/model")
    busy = chat("spread", stream=True, demo={"hang_mid_stream": 1})
    with program.stream("POST", "/v1/chat/completions", busy) as first:
        first.readline()
        answer = program.ask("POST", "/v1/chat/completions", chat("spread"))
        assert {first.getheader("X-Demo-Pid"), answer.headers["X-Demo-Pid"]} == {free, author}


# --- /upstream ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sent, seen", [
    ("/upstream/free/echo/a%2Fb?x=%20&y", "/echo/a%2Fb?x=%20&y"),
    ("/upstream/free/echo//b/./c/../d", "/echo//b/./c/../d"),
    ("/upstream/free/echo/%2e%2e/x", "/echo/%2e%2e/x"),
    ("/upstream/author/model/echo", "/echo"),
    ("/upstream/author%2Fmodel/echo", "/echo"),
    ("/upstream/gratis/echo", "/echo"),
])
def test_upstream_forwards_the_path_byte_for_byte(program, sent, seen):
    assert program.ask("GET", sent).json()["target"] == seen


def test_upstream_root_redirect_and_unknown(program):
    assert b"demo model" in program.ask("GET", "/upstream/free/").body
    for method, status in (("GET", 301), ("POST", 308)):
        answer = program.ask(method, "/upstream/gratis?x=1", b"")
        assert (answer.status, answer.headers["Location"]) == (status, "/upstream/gratis/?x=1")
    assert program.ask("GET", "/upstream/nobody/x").status == 404
    assert program.ask("GET", "/upstream/any-free/x").status == 404
    assert program.ask("GET", "/upstream").headers["Location"] == "/ui/models"
    body = program.ask("POST", "/upstream/renamed/echo", {"model": "anything"}).json()["body"]
    assert json.loads(body) == {"model": "anything"}


def test_upstream_passes_options_and_other_methods_on(program):
    for method in ("OPTIONS", "PUT", "DELETE", "PATCH"):
        assert program.ask(method, "/upstream/free/echo", b"x").json()["method"] == method


def test_ignored_paths_do_not_start_a_model(program):
    program.ask("POST", "/api/models/unload/free")
    answer = program.ask("GET", "/upstream/free/favicon.ico")
    assert answer.status == 409 and "ignorePaths" in answer.error["message"]
    assert "free" not in program.running()
    program.pid_of("free")
    assert program.ask("GET", "/upstream/free/echo/favicon.ico").status == 200


HANDSHAKE = (b"GET /upstream/free/ws HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
             b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")


def text_frame(text: bytes) -> bytes:
    return bytes([0x81, 0x80 | len(text)]) + b"\0\0\0\0" + text      # a mask of zeros changes nothing


def receive(sock: Any, end: bytes) -> bytes:
    found = b""
    while end not in found:
        piece = sock.recv(65536)
        assert piece, found
        found += piece
    return found


@pytest.mark.parametrize("early", [False, True])
def test_websockets(program, early):
    first = text_frame(b"early")
    with program.open(HANDSHAKE + (first if early else b"")) as sock:
        head = receive(sock, b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ") and b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head
        if not early:
            sock.sendall(first)
        rest = head.partition(b"\r\n\r\n")[2]
        if b"early" not in rest:
            rest += receive(sock, b"early")
        assert b"\x81\x05early" in rest
        sock.sendall(text_frame(b"again"))
        assert receive(sock, b"again") == b"\x81\x05again"


# --- listings, operations, logs ----------------------------------------------------------------------------------


def test_listing(program):
    listed = program.ask("GET", "/v1/models").json()
    assert listed == program.ask("GET", "/models").json() and listed["object"] == "list"
    rows = {row["id"]: row for row in listed["data"]}
    assert list(rows) == sorted(rows) and "hidden" not in rows
    assert rows["free"]["meta"]["llamaswap"] == {"type": "model", "aliases": ["gratis"], "team": "red"}
    assert rows["gratis"]["meta"]["llamaswap"] == {"type": "alias", "modelID": "free", "team": "red"}
    assert rows["free"]["description"] == "says it" and rows["free"]["owned_by"] == "llama-swap"
    assert rows["spread"]["meta"]["llamaswap"]["spillover"] == 1
    assert program.ask("GET", "/v1/models/author/model").json()["id"] == "author/model"
    assert program.ask("GET", "/v1/models/nobody").status == 404


def test_unload_and_running(program):
    program.pid_of("free")
    row = next(row for row in program.ask("GET", "/running").json()["running"] if row["model"] == "free")
    assert row["state"] == "ready" and row["ttl"] == 0 and row["proxy"].startswith("http://localhost:")
    assert set(row) == {"model", "state", "cmd", "proxy", "ttl", "name", "description"}
    answer = program.ask("POST", "/api/models/unload/gratis")
    assert (answer.status, answer.body) == (200, b"OK") and "free" not in program.running()
    assert program.ask("POST", "/api/models/unload/nobody").error["message"] == "model not found"
    assert program.ask("POST", "/api/models/unload/author/model").body == b"OK"
    program.pid_of("free")
    assert program.ask("POST", "/api/models/unload").json() == {"msg": "ok"}
    assert program.ask("GET", "/running").json() == {"running": []}
    assert program.ask("GET", "/unload").body == b"OK"


def test_logs(program):
    program.pid_of("free")
    assert b"listening on" in program.ask("GET", "/logs").body
    browser = program.ask("GET", "/logs", headers={"Accept": "text/html,*/*"})
    assert (browser.status, browser.headers["Location"]) == (302, "/ui/")
    with program.stream("GET", "/logs/stream/author%2Fmodel?no-history") as silent:
        assert silent.status == 200 and silent.getheader("X-Accel-Buffering") == "no"
        assert silent.getheader("Content-Type") == "text/plain; charset=utf-8"
        program.pid_of("author/model")
        assert b"POST" in silent.readline() + silent.readline() + silent.readline()
    with program.stream("GET", "/logs/stream/gratis?no-history=0") as stream:
        assert b"demo model server" in stream.readline()
    for path in ("nobody", "any-free", "free/more"):
        assert program.ask("GET", f"/logs/stream/{path}").status in (400, 404)


@pytest.mark.parametrize("path", ["/logs/stream", "/logs/stream/upstream", "/v1/models", "/running", "/"])
def test_head_ends_at_once(program, path):
    answer = program.ask("HEAD", path, timeout=5)
    assert answer.status < 400 and answer.body == b""


# --- HTTP --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method, path, allowed", [
    ("POST", "/v1/models", "GET, HEAD"), ("GET", "/v1/chat/completions", "POST"), ("DELETE", "/running", "GET, HEAD"),
    ("GET", "/api/models/unload", "POST"), ("PUT", "/v1/audio/voices", "GET, HEAD, POST"),
    ("GET", "/api/profiles/active", "PUT"),
])
def test_wrong_method(program, method, path, allowed):
    answer = program.ask(method, path, b"")
    assert answer.status == 405 and answer.headers["Allow"] == allowed and answer.error["code"] == "method_not_allowed"


def test_unknown_path_and_trailing_slash(program):
    for path in ("/nothing", "/v1/models/", "/health/", "/running/"):
        answer = program.ask("GET", path)
        assert answer.status == 404 and answer.error["type"] == "invalid_request_error"


@pytest.mark.parametrize("line, status", [
    (b"OPTIONS * HTTP/1.1", 200), (b"CONNECT example.com:443 HTTP/1.1", 405), (b"CONNECT / HTTP/1.1", 405)])
def test_what_asks_the_server_itself(program, line, status):
    behind = b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    with program.open(line + b"\r\nHost: x\r\n\r\n" + behind) as sock:
        answer = b"".join(iter(lambda: sock.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 %d " % status) and answer.count(b"HTTP/1.1 200") == 1 + (status == 200)
    assert (b"\r\nAllow: GET, HEAD, POST" in answer) == (status == 405)


@pytest.mark.parametrize("path", ["/%0a[INFO]%20Request%20forged", "/%0D%0A[INFO]%20Request%20forged",
                                  "/upstream/free/%0a[INFO]%20Request%20forged", "/%1b[2J%22%20forged"])
def test_nobody_writes_lines_of_their_own_into_the_log(program, path):
    """Neither for who watches the terminal nor for who follows over HTTP."""
    number = f"forger{len(path)}"
    with program.stream("GET", "/logs/stream/proxy?no-history") as live:
        program.ask("GET", path, headers={"X-Request-Id": number, "User-Agent": 'a" 200 1 "b'})
        seen = next(each for each in live if number.encode() in each).decode().rstrip("\n")
    line = program.wait_for(f"(?m)^.* {number}$")[0]
    assert line.startswith(f'[INFO] Request 127.0.0.1 "GET {path} HTTP/1.1" ') and ' "a%22 200 1 %22b" ' in line
    assert line == seen and "\n[INFO] Request forged" not in program.log and "\x1b[2J" not in program.log


@pytest.mark.parametrize("raw", [b"/a\nb", b"/a\rb", b"/a\x1b[2Jb", b"/a\x00b"])
def test_a_path_with_control_characters_gets_no_further_than_the_parser(program, raw):
    with program.open(b"GET " + raw + b" HTTP/1.1\r\nHost: x\r\n\r\n") as sock:
        assert b"".join(iter(lambda: sock.recv(65536), b"")).startswith(b"HTTP/1.1 400 ")


def test_preflight_and_cors(program):
    for path in ("/v1/chat/completions", "/nothing"):
        answer = program.ask("OPTIONS", path, headers={"Access-Control-Request-Headers": "X-One, bad name, x-two"})
        assert answer.status == 204 and answer.headers["Access-Control-Allow-Origin"] == "*"
        assert answer.headers["Access-Control-Allow-Headers"] == "X-One, x-two"
        assert answer.headers["Access-Control-Max-Age"] == "86400"
    listed = program.ask("GET", "/v1/models", headers={"Origin": "http://page.example"})
    assert listed.headers["Access-Control-Allow-Origin"] == "http://page.example"


@pytest.mark.parametrize("accept, kind", [
    ("application/json, text/plain, */*", "application/json"), ("text/plain", "text/plain"), ("text/html", "text/html"),
    ("", "application/json"),
])
def test_error_bodies_are_what_the_client_reads(program, accept, kind):
    answer = program.ask("POST", "/v1/chat/completions", chat("nobody"), {"Accept": accept})
    assert answer.status == 404 and answer.headers["Content-Type"] == kind


def test_anthropic_errors_have_their_own_shape(program):
    answer = program.ask("POST", "/v1/messages", chat("nobody"))
    assert answer.status == 404 and answer.json()["type"] == "error"
    assert answer.json()["error"]["type"] == "not_found_error"


def test_request_ids(program):
    sent = program.ask("POST", "/echo", {"model": "free"}, {"X-Request-Id": "mine-1"})
    assert sent.headers["X-Request-Id"] == "mine-1"
    assert ["X-Request-Id", "mine-1"] in sent.json()["headers"]
    own = [program.ask("GET", "/health").headers["X-Request-Id"] for _ in range(2)]
    assert own[0] != own[1]
    fresh = program.ask("POST", "/echo", {"model": "free"})
    assert dict(fresh.json()["headers"])["X-Request-Id"] == fresh.headers["X-Request-Id"]
    assert program.ask("GET", "/nothing", headers={"X-Request-Id": "bad one"}).headers["X-Request-Id"] != "bad one"


def test_keep_alive_and_pipelining(program):
    program.pid_of("free")
    with program.open(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n" * 2 + b"GET /v1/models HTTP/1.0\r\n\r\n") as sock:
        found = b""
        with contextlib.suppress(ConnectionError):
            while True:
                piece = sock.recv(65536)
                if not piece:
                    break
                found += piece
    assert found.count(b" 200 OK\r\n") == 3


# --- profiles ----------------------------------------------------------------------------------------------------


@pytest.fixture
def day(program):
    assert program.ask("PUT", "/api/profiles/active", {"name": "day"}).json() == {"active": "day"}
    yield program
    assert program.ask("PUT", "/api/profiles/active", {"name": None}).json() == {"active": None}


def test_profiles(program, day):
    listed = program.ask("GET", "/api/profiles").json()
    assert listed == {"active": "day", "profiles": [
        {"id": "day", "description": "sun", "pins": {"best": "free", "never": "", "two": "free"}},
        {"id": "night", "description": "", "pins": {"best": "any-free"}}]}
    free = program.pid_of("free")
    assert program.pid_of("best") == program.pid_of("two") == free
    assert json.loads(echo(program, "best")["body"])["model"] == "free"
    assert program.ask("GET", "/upstream/best/echo/x").json()["target"] == "/echo/x"
    assert program.ask("POST", "/v1/chat/completions", chat("never")).status == 404
    rows = {row["id"]: row for row in program.ask("GET", "/v1/models").json()["data"]}
    assert rows["best"]["meta"]["llamaswap"] == {"type": "profile"} and "never" not in rows
    assert program.ask("PUT", "/api/profiles/active", {"name": "night"}).status == 200
    assert program.pid_of("best")
    for body, status, message in ((b"{", 400, "invalid profile request"), (b"{}", 400, "profile name is required"),
                                  (b'{"name": 1}', 400, "profile name must be a string or null"),
                                  (b'{"name": "x"}', 404, 'profile "x" not found')):
        answer = program.ask("PUT", "/api/profiles/active", body)
        assert (answer.status, answer.error["message"]) == (status, message)
    assert program.ask("GET", "/api/profiles").json()["active"] == "night"


# --- pages of other sites ----------------------------------------------------------------------------------------


def test_pages_of_other_sites_may_ask_models_and_nothing_else(program):
    page = {"Origin": "http://page.example"}
    for method, path in (("POST", "/api/models/unload"), ("PUT", "/api/profiles/active"), ("GET", "/unload")):
        answer = program.ask(method, path, b"{}", page)
        assert answer.status == 403, (method, path)
        assert "Access-Control-Allow-Origin" not in answer.headers
    assert "Access-Control-Allow-Origin" not in program.ask("OPTIONS", "/api/models/unload", headers=page).headers
    image = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "image"}
    assert program.ask("GET", "/unload", headers=image).status == 403
    own = {"Origin": f"http://127.0.0.1:{program.port}"}
    assert program.ask("POST", "/api/models/unload/free", b"", own).status == 200
    answer = program.ask("POST", "/v1/chat/completions", chat("free"), page)
    assert answer.headers["Access-Control-Allow-Origin"] == "http://page.example"
    lost = program.ask("POST", "/v1/chat/completions", chat("nobody"), page)
    assert lost.status == 404 and lost.headers["Access-Control-Allow-Origin"] == "http://page.example"
    assert program.ask("HEAD", "/unload").status == 405


@pytest.fixture(scope="module")
def careful():
    """One that lets in listed pages only, has proxies in front, and takes small bodies."""
    config = {"corsOrigins": ["http://page.example"], "trustedProxies": ["127.0.0.0/8", "::1"], "maxBodySize": 1,
              "models": {"m": demo()}}
    with run_program(config) as running:
        yield running


def test_only_listed_pages_may_ask_models(careful):
    for origin, granted in (("http://page.example", "http://page.example"), ("http://other.example", None)):
        page = {"Origin": origin}
        preflight = careful.ask("OPTIONS", "/v1/chat/completions", headers=page)
        for answer in (preflight, careful.ask("POST", "/v1/chat/completions", chat("m"), page),
                       careful.ask("POST", "/v1/chat/completions", chat("nobody"), page),
                       careful.ask("GET", "/v1/models", headers=page)):
            assert answer.headers.get("Access-Control-Allow-Origin") == granted
            assert answer.headers.get("Vary") == ("Origin" if granted else None)
        assert preflight.status == 204


def test_clients_behind_trusted_proxies(careful, program):
    behind = {"X-Forwarded-For": "9.9.9.9, 1.2.3.4, 127.0.0.5", "User-Agent": "behind-a-proxy"}
    seen = careful.ask("POST", "/echo", {"model": "m"}, behind).json()
    assert ["X-Forwarded-For", "9.9.9.9, 1.2.3.4"] in seen["headers"]
    careful.wait_for(r'Request 1\.2\.3\.4 "POST /echo [^\n]*behind-a-proxy')
    seen = program.ask("POST", "/echo", {"model": "free"}, behind).json()
    assert ["X-Forwarded-For", "9.9.9.9, 1.2.3.4, 127.0.0.5, 127.0.0.1"] in seen["headers"]
    program.wait_for(r'Request 127\.0\.0\.1 "POST /echo [^\n]*behind-a-proxy')


def test_bodies_have_a_largest_size(careful):
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    for rest in (b"Content-Length: 1048577\r\n\r\n",            # nothing of it is sent: it is refused before
                 b"Transfer-Encoding: chunked\r\n\r\n100001\r\n" + b" " * 0x100001 + b"\r\n0\r\n\r\n"):
        with careful.open(head + rest) as sock:
            answer = sock.recv(65536)
            assert answer.startswith(b"HTTP/1.1 413 ") and b"1048576 bytes" in answer
    assert careful.ask("POST", "/upstream/m/echo", b"x" * 1_100_000).status == 200


def test_nothing_is_changed_under_a_strange_name(careful, locked):
    stranger = {"Host": "evil.example", "Origin": "http://evil.example"}
    for method, path in (("POST", "/api/models/unload"), ("GET", "/unload"), ("PUT", "/api/profiles/active")):
        answer = careful.ask(method, path, b"{}", {**stranger, "X-Forwarded-For": "8.8.8.8"})
        assert answer.status == 403 and answer.error["code"] == "forbidden"
    assert careful.ask("GET", "/running", headers=stranger).status == 200
    assert careful.ask("POST", "/v1/chat/completions", chat("m"), {"Host": "any.example"}).status == 200
    assert careful.ask("POST", "/api/models/unload", b"", {"Host": "localhost:1"}).status == 200
    assert locked.ask("POST", "/api/models/unload", b"", {**stranger, "X-Api-Key": "sesame"}).status == 200


def test_favicon_and_pages(program):
    icon = program.ask("GET", "/favicon.ico")
    assert icon.status == 200 and icon.headers["Content-Type"] == "image/svg+xml"
    page = program.ask("GET", "/ui/")
    assert page.status == 200 and b"llamaswap" in page.body
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert program.ask("GET", "/ui/", headers={"If-None-Match": page.headers["ETag"]}).status == 304
    assert program.ask("GET", "/ui/models").headers["Location"] == "./#/models"
    build = re.search(rb'src="([0-9a-f]{12})/', page.body)[1].decode()
    script = program.ask("GET", f"/ui/{build}/js/main.js", headers={"Accept-Encoding": "gzip"})
    assert "immutable" in script.headers["Cache-Control"] and script.headers["Content-Encoding"] == "gzip"
    assert program.ask("GET", "/ui/nothing.js").status == program.ask("GET", "/ui/%2e%2e/setup.py").status == 404
    assert program.ask("GET", "/ui").headers["Location"] == program.ask("GET", "/").headers["Location"] == "/ui/"


# --- keys --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def locked():
    config = {"apiKeys": ["sesame", "clé:2"], "models": {"m": demo()}}
    with run_program(config) as running:
        yield running


def basic(password: str) -> Dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"user:{password}".encode()).decode()}


@pytest.mark.parametrize("headers", [
    {"Authorization": "Bearer sesame"}, {"Authorization": "bEARER sesame"}, basic("sesame"), basic("clé:2"),
    {"x-api-key": "sesame"}, {"Authorization": "Bearer wrong", "X-Api-Key": "sesame"},
    {"Authorization": "Bearer sesame", "X-Api-Key": "wrong"}, {"Authorization": "Digest x", "X-Api-Key": "sesame"},
])
def test_one_right_key_is_enough_and_goes_no_further(locked, headers):
    seen = locked.ask("POST", "/echo", {"model": "m"}, {**headers, "X-Other": "stays"})
    assert seen.status == 200
    names = {name.lower() for name, _ in seen.json()["headers"]}
    assert "x-other" in names and not names & {"authorization", "x-api-key"}


@pytest.mark.parametrize("headers", [
    {}, {"Authorization": "Bearer wrong"}, {"Authorization": "Bearer  sesame"}, {"Authorization": "sesame"},
    {"Authorization": "Basic !"}, basic(""), {"X-Api-Key": "SESAME"}, {"Cookie": "key=sesame"},
])
def test_no_right_key(locked, headers):
    for method, path in (("POST", "/v1/chat/completions"), ("GET", "/v1/models"), ("GET", "/api/events"),
                         ("GET", "/logs"), ("GET", "/upstream/m/"), ("POST", "/api/models/unload"),
                         ("GET", "/comfyui/")):
        answer = locked.ask(method, path, b"", headers)
        assert answer.status == 401 and answer.headers["WWW-Authenticate"] == 'Basic realm="llama-swap"'
        assert answer.error["code"] == "unauthorized"
    anthropic = locked.ask("POST", "/v1/messages", b"", headers)
    assert anthropic.json()["error"]["type"] == "authentication_error"


def test_open_without_a_key(locked):
    for path, status in (("/", 302), ("/ui/", 200), ("/health", 200), ("/wol-health", 200), ("/favicon.ico", 200),
                         ("/upstream", 302)):
        assert locked.ask("GET", path).status == status
    assert locked.ask("OPTIONS", "/v1/chat/completions").status == 204
    preflight = {"Origin": "http://page.example", "Access-Control-Request-Method": "POST"}
    assert locked.ask("OPTIONS", "/upstream/m/v1/chat/completions", headers=preflight).status == 204


# --- peers -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def peered():
    with run_demo("--name", "peer-demo") as far, run_program({"models": {
            "shared": demo(), "deep/model": demo()}, "apiKeys": ["far-key"]}) as second:
        config = {
            "models": {"local": demo(), "shared": demo()},
            "includeAliasesInList": True,
            "peers": {
                "far": {"proxy": f"{far.url}/echo/base", "models": ["big", "shared", "big"], "apiKey": "secret",
                        "filters": {"stripParams": "seed", "setParams": {"top_p": 0.1}}},
                "plain": {"proxy": far.url, "models": ["small"]},
                "swap": {"proxy": second.url, "models": ["deep/model"], "apiKey": "far-key"},
                "gone": {"proxy": "http://127.0.0.1:9", "models": ["lost"], "timeouts": {"connect": 2}},
            },
            "selectors": {"anywhere": {"strategy": "spillover", "targets": ["lost", "local"]}},
        }
        with run_program(config) as first:
            yield first


def test_peers_see_their_own_names_keys_and_filters(peered):
    for name in ("big", "far/big"):
        headers = {"Authorization": "Bearer mine", "X-Forwarded-For": "1.2.3.4", "Forwarded": "for=me",
                   "Cookie": "kept=1"}
        seen = peered.ask("POST", "/v/embeddings?x=1", {"model": name, "seed": 4}, headers).json()
        fields = {key.lower(): value for key, value in seen["headers"]}
        assert json.loads(seen["body"]) == {"model": "big", "top_p": 0.1}
        assert seen["target"] == "/echo/base/embeddings?x=1"
        assert fields["authorization"] == "Bearer secret" and fields["x-api-key"] == "secret"
        assert fields["cookie"] == "kept=1" and fields["x-request-id"]
        assert not {"x-forwarded-for", "forwarded", "x-forwarded-host"} & set(fields)
        assert fields["host"] != f"127.0.0.1:{peered.port}"


def test_local_models_win_and_qualified_names_reach_the_peer(peered):
    assert echo(peered, "shared")["target"] == "/echo"
    assert echo(peered, "far/shared")["target"] == "/echo/base/echo"


def test_without_keys_a_clients_credentials_are_for_the_peer(peered):
    seen = peered.ask("POST", "/echo", {"model": "small"}, {"Authorization": "Bearer mine"}).json()
    assert ["Authorization", "Bearer mine"] in seen["headers"]


def test_upstream_of_a_peer(peered):
    seen = peered.ask("POST", "/upstream/far/big/a%2Fb?c", {"model": "far/big"}).json()
    assert seen["target"] == "/echo/base/a%2Fb?c" and json.loads(seen["body"]) == {"model": "big"}
    seen = peered.ask("PUT", "/upstream/big/x", b"far/big").json()
    assert seen["body"] == "far/big"


def test_llamaswap_as_a_peer(peered):
    answer = peered.ask("POST", "/v1/chat/completions", chat("swap/deep/model"))
    assert said(answer) == "You said: hello"
    with peered.stream("POST", "/v1/chat/completions", chat("deep/model", stream=True)) as stream:
        assert stream.status == 200 and stream.read().endswith(b"data: [DONE]\n\n")


def test_a_peer_that_is_gone(peered):
    answer = peered.ask("POST", "/v1/chat/completions", chat("lost"))
    assert answer.status == 502 and answer.error["message"].startswith("peer gone: ")
    assert answer.error["type"] == "server_error"


def test_spillover_goes_past_a_peer_that_is_gone(peered):
    peered.ask("GET", "/unload")      # else the local target is warm and the peer not tried
    assert said(peered.ask("POST", "/v1/chat/completions", chat("anywhere"))) == "You said: hello"


def test_a_peer_that_stays_gone_is_left_alone_for_a_while(peered):
    for _ in range(8):      # each failure after the third makes the pause longer, so a slow machine gets there too
        answer = peered.ask("POST", "/v1/chat/completions", chat("lost"))
        if answer.status == 503:
            break
    assert answer.error["code"] == "peer_unreachable" and int(answer.headers["Retry-After"]) >= 1


def test_peers_are_listed_once(peered):
    rows = {row["id"]: row for row in peered.ask("GET", "/v1/models").json()["data"]}
    assert len(peered.ask("GET", "/v1/models").json()["data"]) == len(rows)
    assert rows["far/big"]["name"] == "far: big" and rows["far/big"]["status"] == {"value": "unloaded"}
    assert rows["far/big"]["meta"]["llamaswap"] == {"type": "peer", "peerID": "far", "aliases": ["big"]}
    assert rows["big"]["meta"]["llamaswap"] == {"type": "alias", "modelID": "far/big", "peerID": "far"}
    assert "aliases" not in rows["far/shared"]["meta"]["llamaswap"]
