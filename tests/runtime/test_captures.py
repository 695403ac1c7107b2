"""What is kept of what was said, and how much of it."""
from __future__ import annotations

import base64
import gzip
import json
import zlib

import pytest

from llamaswap.core.headers import Headers
from llamaswap.runtime.captures import HIDDEN, Captures
from llamaswap.runtime.inflight import Inflight
from tests.support.asked import asked


def visit_of(number=1, *, path="/v1/chat/completions", sent=b'{"model": "m"}', got=b'{"ok": true}', headers=None,
             kind="application/json", answered=(), capturing=True):
    inflight = Inflight(lambda visit: None, session_headers=tuple, is_capturing=lambda: capturing,
                        is_watched=lambda: False, publish=lambda lives: None)
    visit = inflight.open(asked("POST", path, sent, {"Content-Type": "application/json", **(headers or {})}), path)
    visit.id, visit.body = number, sent
    visit.response_headers = Headers([("Content-Type", kind), *answered])
    for start in range(0, len(got), 1000):
        visit.tap(got[start:start + 1000])
    return visit


def captures_of(*visits, max_bytes=1 << 20):
    captures = Captures(max_bytes, shown=frozenset())
    for visit in visits:
        captures.add([visit])
    return captures


def body(found, name):
    return None if found[name] is None else base64.b64decode(found[name])


def test_both_bodies_come_back_raw_and_compressed():
    captures = captures_of(visit_of(7, sent=b"question" * 50, got=b"answer" * 5000))
    raw = captures.get(7)
    before = captures.held_bytes
    captures.squeeze(10)
    assert captures.get(7) == raw and captures.held_bytes < before / 10 and not captures.has_raw()
    assert body(raw, "req_body") == b"question" * 50 and body(raw, "resp_body") == b"answer" * 5000
    assert (raw["id"], raw["req_path"], raw["resp_bytes"]) == (7, "/v1/chat/completions", 30000)
    assert raw["req_truncated"] is raw["resp_truncated"] is False
    assert json.loads(json.dumps(raw)) == raw


def test_empty_and_missing_bodies_survive_compression():
    captures = captures_of(visit_of(1, sent=b"", got=b"x" * 3000), visit_of(2, sent=None, got=b"y" * 3000))
    captures.squeeze(2)
    assert body(captures.get(1), "req_body") == b"" and captures.get(2)["req_body"] is None
    assert captures.get(3) is None and 3 not in captures and 2 in captures


def test_a_long_body_that_was_passed_on_shows_its_beginning():
    visit = visit_of(1, sent=b"beginning")
    visit.req_bytes = 5000
    found = captures_of(visit).get(1)
    assert body(found, "req_body") == b"beginning" and found["req_bytes"] == 5000 and found["req_truncated"]


def test_the_oldest_make_room():
    captures = captures_of(*(visit_of(number, got=bytes(1000)) for number in range(1, 101)), max_bytes=40_000)
    assert captures.held_bytes <= 40_000 and 100 in captures and 1 not in captures
    captures.squeeze(1000)
    assert captures.held_bytes <= 40_000 and captures.get(100) is not None
    captures.resize(0, shown=frozenset())
    assert len(captures) == 0 and captures.held_bytes == 0 and not captures.is_on
    captures.add([visit_of(101)])
    assert 101 not in captures


def test_one_that_is_larger_than_everything_is_not_kept():
    captures = captures_of(visit_of(1), visit_of(2, got=bytes(50_000)), max_bytes=20_000)
    assert 2 not in captures and 1 in captures
    captures.add([visit_of(3), visit_of(4, got=bytes(50_000))])
    assert 4 not in captures and 3 in captures


def test_only_harmless_headers_are_shown():
    visit = visit_of(headers={"Authorization": "Bearer s", "X-Api-Key": "s", "Api-Key": "s", "X-Goog-Api-Key": "s",
                              "X-Auth-Token": "s", "X-Anything": "s", "User-Agent": "curl", "X-Session-ID": "abc"},
                     answered=[("Set-Cookie", "s"), ("X-Model", "m"), ("X-Upstream-Token", "s"),
                               ("Content-Encoding", "identity"), ("Content-Length", "12")])
    found = captures_of(visit).get(1)
    assert {name for name, value in found["req_headers"].items() if value == HIDDEN} == {
        "Authorization", "X-Api-Key", "Api-Key", "X-Goog-Api-Key", "X-Auth-Token", "X-Anything"}
    assert found["req_headers"]["User-Agent"] == "curl" and found["req_headers"]["X-Session-ID"] == "abc"
    assert found["resp_headers"] == {"Content-Type": "application/json", "Set-Cookie": HIDDEN, "X-Model": "m",
                                     "X-Upstream-Token": HIDDEN}


def test_headers_of_the_session_are_shown_and_repeats_are_kept():
    captures = Captures(1 << 20, shown=frozenset(["x-my-chat"]))
    captures.add([visit_of(headers={"X-My-Chat": "7"}, answered=[("Link", "a"), ("Link", "b")])])
    assert captures.get(1)["req_headers"]["X-My-Chat"] == "7" and captures.get(1)["resp_headers"]["Link"] == "a, b"


@pytest.mark.parametrize("path, kind, sent, got", [
    ("/v1/audio/speech", "audio/mpeg", True, False), ("/v1/audio/transcriptions", "application/json", False, True),
    ("/v1/audio/voices", "application/json", False, True), ("/v1/images/generations", "application/json", True, False),
    ("/sdapi/v1/txt2img", "application/json", True, False), ("/sdapi/v1/img2img", "application/json", False, False),
    ("/v1/images/edits", "application/json", False, False), ("/v1/tasks/run", "audio/wav", True, False),
    ("/v1/chat/completions", "text/event-stream", True, True), ("/x", "application/octet-stream", True, False)])
def test_what_nobody_reads_is_left_out(path, kind, sent, got):
    found = captures_of(visit_of(path=path, kind=kind)).get(1)
    assert (found["req_body"] is not None, found["resp_body"] is not None) == (sent, got)
    assert found["resp_bytes"] == 12 and found["req_bytes"] == 14


def test_an_upload_of_bytes_is_left_out():
    found = captures_of(visit_of(sent=b"\0" * 10, headers={"Content-Type": "audio/wav"})).get(1)
    assert found["req_body"] is None and found["req_bytes"] == 10


@pytest.mark.parametrize("part, is_shown", [('name="file"; filename="a.wav"', False), ('name="text"', True)])
def test_a_form_with_an_upload_is_left_out_on_any_path(part, is_shown):
    form = f"--X\r\nContent-Disposition: form-data; {part}\r\n\r\nRIFF\r\n--X--\r\n".encode()
    found = captures_of(visit_of(path="/v1/tasks/run", sent=form,
                                 headers={"Content-Type": "multipart/form-data; boundary=X"})).get(1)
    assert (found["req_body"] is not None, found["req_bytes"]) == (is_shown, len(form))


@pytest.mark.parametrize("encoding, pack", [
    ("gzip", gzip.compress), ("deflate", zlib.compress), ("deflate", lambda data: zlib.compress(data)[2:-4])])
def test_compressed_answers_are_shown_plain(encoding, pack):
    found = captures_of(visit_of(got=pack(b"plain" * 100), answered=[("Content-Encoding", encoding)])).get(1)
    assert body(found, "resp_body") == b"plain" * 100 and found["resp_bytes"] == 500
    assert "Content-Encoding" not in found["resp_headers"]


def test_what_cannot_be_read_is_left_out():
    for encoding in ("gzip", "br"):
        found = captures_of(visit_of(got=b"no such thing", answered=[("Content-Encoding", encoding)])).get(1)
        assert found["resp_body"] is None and found["resp_bytes"] == 13


def test_a_long_answer_is_cut_and_says_so():
    found = captures_of(visit_of(got=bytes(3 << 20)), max_bytes=8 << 20).get(1)
    assert len(body(found, "resp_body")) < 3 << 20 and found["resp_truncated"] and found["resp_bytes"] == 3 << 20


@pytest.mark.parametrize("size, told", [(8 << 20, 8 << 20), (20 << 20, 20 << 20), (100 << 20, 64 << 20)])
def test_a_long_answer_in_a_small_package_says_so_too(size, told):
    visit = visit_of(got=gzip.compress(bytes(size), 9), answered=[("Content-Encoding", "gzip")])
    found = captures_of(visit, max_bytes=8 << 20).get(1)
    assert body(found, "resp_body") == bytes(8 << 20)
    assert (found["resp_bytes"], found["resp_truncated"]) == (told, size > 8 << 20)


def test_of_many_at_once_the_newest_are_kept():
    captures = Captures(4 * 7000, shown=frozenset())
    captures.add([visit_of(1)])
    captures.add([visit_of(number) for number in range(2, 12)])
    assert [number for number in range(1, 12) if number in captures] == list(range(12 - len(captures), 12))
    assert 1 <= len(captures) <= 4 and captures.held_bytes <= 4 * 7000
    captures.add([visit_of(20)])
    assert 20 in captures and 8 not in captures and captures.held_bytes <= 4 * 7000
