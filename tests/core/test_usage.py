"""Answers as engines send them, and what is learned from each; then answers that nobody should send."""
from __future__ import annotations

import gzip
import json
import random
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamaswap.core.usage import MAX_ERROR_BYTES, Collector, Usage, error_text, extract

JSON, EVENTS = "application/json", "text/event-stream; charset=utf-8"
PADDING = {"choices": [{"message": {"role": "assistant", "content": 'He said "usage": {"prompt_tokens": 9}. ' * 9}}]}
OPENAI = {"prompt_tokens": 44, "completion_tokens": 88, "prompt_tokens_details": {"cached_tokens": 3}}
TIMINGS = {"cache_n": 3, "prompt_n": 41, "prompt_ms": 10.0, "prompt_per_second": 500.5, "predicted_n": 88,
           "predicted_ms": 90.5, "predicted_per_second": 98.5, "draft_n": 10, "draft_n_accepted": 7}


def collected(body, *, head=64 * 1024, tail=64 * 1024, step=1000, encoding=""):
    collector = Collector(head, tail)
    collector.encoding = encoding.strip().lower()
    for at in range(0, len(body), step):
        collector.add(body[at:at + step])
    return collector


def usage_of(body, content_type=JSON, *, encoding="", path="/v1/chat/completions", status=200, **sizes):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return extract(content_type=content_type, encoding=encoding, path=path, status=status,
                   collector=collected(data, encoding=encoding, **sizes))


def events(*values):
    return b"".join(b"data: " + (value if isinstance(value, bytes) else json.dumps(value).encode()) + b"\n\n"
                    for value in values)


# --- the collector


@given(st.lists(st.binary(max_size=40), max_size=60), st.integers(0, 30), st.integers(1, 30))
def test_both_ends_are_kept(pieces, head, tail):
    collector, body = Collector(head, tail), b"".join(pieces)
    for piece in pieces:
        collector.add(piece)
    assert (collector.total, collector.pieces) == (len(body), len(pieces))
    if collector.is_whole:
        assert (collector.head, collector.tail) == (body, b"")
    else:
        assert collector.head == body[:head] and collector.tail == body[-tail:]
    if len(body) <= head + tail:
        assert collector.is_whole


def test_memory_is_bounded():
    collector = Collector(1000, 1000)
    for _ in range(10_000):
        collector.add(b"x" * 99)
        assert len(collector._buffer) <= 2100
    collector.add(b"y" * 50_000)
    assert len(collector._buffer) <= 2000 and collector.tail == b"y" * 1000


# --- one JSON text


def test_openai():
    assert usage_of({**PADDING, "usage": OPENAI, "id": "x"}) == Usage(44, 3, 88)
    assert usage_of({"usage": OPENAI, **PADDING}) == Usage(44, 3, 88)
    assert usage_of({"usage": {"prompt_tokens": 5, "total_tokens": 5}, "data": []}) == Usage(5)


def test_llama_cpp_counts_the_whole_prompt():
    assert usage_of({**PADDING, "usage": OPENAI, "timings": TIMINGS}) == Usage(
        44, 3, 88, 10, 7, 500.5, 98.5, 100.5)
    assert usage_of({"content": "", "timings": TIMINGS})[:3] == (44, 3, 88)
    assert usage_of({"timings": {**TIMINGS, "cache_n": None}})[:3] == (41, None, 88)


def test_nothing_in_timings_takes_nothing_away():
    for timings in (None, {}, [], "x", {"prompt_n": None}, {"prompt_n": 0, "predicted_n": 0, "prompt_per_second": 0}):
        assert usage_of({"usage": OPENAI, "timings": timings}) == Usage(44, 3, 88)
    assert usage_of({"usage": None, "timings": TIMINGS})[:3] == (44, 3, 88)


def test_one_draft_number_alone_means_nothing():
    assert usage_of({"timings": {"draft_n": 4}})[3:5] == (None, None)
    assert usage_of({"metrics": {"speculative_decoding": {"num_draft_tokens": 1}}})[3:5] == (None, None)


def test_anthropic_counts_the_cached_part_apart():
    assert usage_of({"type": "message", "usage": {
        "input_tokens": 10, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 5,
        "output_tokens": 7}}) == Usage(115, 100, 7)
    assert usage_of({"usage": {"prompt_tokens": 10, "cache_read_input_tokens": 4, "completion_tokens": 7}}) == Usage(
        10, 4, 7)


def test_responses_api():
    assert usage_of({"object": "response", "output": [], "usage": {
        "input_tokens": 10, "input_tokens_details": {"cached_tokens": 4}, "output_tokens": 7}}) == Usage(10, 4, 7)


def test_vllm():
    assert usage_of({"usage": OPENAI, "metrics": {
        "speculative_decoding": {"num_draft_tokens": 9, "num_accepted_draft_tokens": 0},
        "time_to_first_token_ms": 82, "mean_itl_ms": 4}}) == Usage(44, 3, 88, 9, 0, 500.0, 250.0)
    assert usage_of({"usage": {"prompt_tokens": 3, "prompt_tokens_details": {"cached_tokens": 3}},
                     "metrics": {"time_to_first_token_ms": 8}}).prompt_per_second is None
    assert usage_of({"metrics": {"time_to_first_token_ms": 0, "mean_itl_ms": None}}) == Usage()


def test_infill_tells_in_its_last_element():
    body = [{"content": "a", "timings": {"prompt_n": 1}}, {"content": "b", "timings": TIMINGS, "x": [{"y": 1}]}]
    assert usage_of(body, path="/infill")[:3] == (44, 3, 88)
    assert usage_of(body, path="/v1/infill", step=7)[:3] == (44, 3, 88)
    assert usage_of([*body, {"content": "c"}], path="/infill") == Usage()
    assert usage_of(body, path="/embedding") == Usage()
    assert usage_of({"timings": TIMINGS}, path="/infill")[:3] == (44, 3, 88)


FAKE = {"usage": {"prompt_tokens": 666, "completion_tokens": 666}}


@pytest.mark.parametrize("body", [
    {"choices": [{"message": {"tool_calls": [{"arguments": FAKE}]}}]},
    {"input": FAKE, "x": 1},
    {"a": [FAKE]},
    {"text": json.dumps(FAKE)},
    {"text": '"usage": {"prompt_tokens": 666}'},
    {"text": json.dumps(json.dumps(FAKE))},
    {"text": "\\", "b": FAKE},
])
def test_what_the_model_writes_is_not_believed(body):
    for size in (0, 3_000, 40_000, 300_000):
        padded = {"pad": "x" * size, **body}
        assert usage_of(padded) == Usage()
        assert usage_of({**body, "pad": "x" * size}) == Usage()
        assert usage_of({**padded, "usage": OPENAI}) == Usage(44, 3, 88)
        assert usage_of({"usage": OPENAI, **padded}) == Usage(44, 3, 88)


@pytest.mark.parametrize("numbers", [10, 1000, 5_000, 30_000])
def test_long_answers_are_not_parsed_whole(numbers):
    data = [{"embedding": [0.123456] * numbers, "index": 0, "object": "embedding"}]
    assert usage_of({"object": "list", "data": data, "model": "m", "usage": OPENAI}) == Usage(44, 3, 88)
    assert usage_of({"model": "m", "object": "list", "usage": OPENAI, "data": data}) == Usage(44, 3, 88)


@pytest.mark.parametrize("block, found", [
    ({"prompt_tokens": "12", "completion_tokens": 3.9}, (12, None, 3)),
    ({"prompt_tokens": True, "completion_tokens": -1}, (None, None, None)),
    ({"prompt_tokens": 10 ** 400, "completion_tokens": "1e999"}, (None, None, None)),
    ({"prompt_tokens": "", "completion_tokens": "many"}, (None, None, None)),
    ({"prompt_tokens": [1], "completion_tokens": {}}, (None, None, None)),
    ({"prompt_tokens_details": 5, "completion_tokens": 0}, (None, None, 0)),
    ({"prompt_tokens": float("nan"), "completion_tokens": float("inf")}, (None, None, None)),
    ({"prompt_tokens": 2 ** 62, "completion_tokens": 1}, (None, None, 1)),
])
def test_numbers(block, found):
    assert usage_of({"usage": block})[:3] == found


@pytest.mark.parametrize("status, known", [(200, 44), (201, 44), (206, 44), (101, None), (304, None), (400, None),
                                           (404, None), (499, 44), (502, 44), (503, None)])
def test_every_success_counts_and_so_does_what_was_cut_short(status, known):
    assert usage_of({"usage": OPENAI}, status=status).input_tokens == known


@pytest.mark.parametrize("body", [
    b"", b" ", b"{", b"[", b"null", b"[]", b"{}", b"plain text", b'{"usage":', b"\xff\xfe",
    b'{"usage":{"a":' + b"[" * 100_000, b"\0" * 500, b'{"usage": {"prompt_tokens": ' + b"9" * 60_000 + b"}}",
])
def test_junk_says_nothing(body):
    for content_type in (JSON, EVENTS, "", "\ud800"):
        for path in ("/x", "/infill"):
            assert usage_of(body, content_type, path=path) == Usage()
            assert usage_of(b"data: " + body + b"\n\n", content_type, path=path) == Usage()


def test_a_cut_answer_tells_what_came_before_the_cut():
    assert usage_of(b'{"usage": {"prompt_tokens": 1}, "data": [1, 2', status=502) == Usage(1)


# --- events


def test_openai_stream():
    chunk = {"choices": [{"delta": {"content": "x"}}], "usage": None}
    for count in (1, 50, 2_000):
        body = events(*[chunk] * count, {"choices": [], "usage": OPENAI}, b"[DONE]")
        assert usage_of(body, EVENTS) == Usage(44, 3, 88)
        assert usage_of(body.replace(b"\n", b"\r\n").replace(b"data: ", b"data:"), EVENTS) == Usage(44, 3, 88)


def test_llama_cpp_stream():
    assert usage_of(events({"choices": []}, {"choices": [], "timings": TIMINGS}, b"[DONE]"), EVENTS) == Usage(
        44, 3, 88, 10, 7, 500.5, 98.5, 100.5)


def test_usage_with_every_token():
    chunks = [{"usage": {"prompt_tokens": 5, "completion_tokens": count}} for count in range(3_000)]
    assert usage_of(events(*chunks, b"[DONE]"), EVENTS) == Usage(5, None, 2999)
    assert usage_of(events(*chunks, {"usage": {"completion_tokens": 0}}), EVENTS) == Usage(5, None, 2999)


@pytest.mark.parametrize("count", [1, 100, 5_000])
def test_anthropic_stream(count):
    start = {"type": "message_start", "message": {"usage": {"input_tokens": 10, "cache_read_input_tokens": 7,
                                                            "output_tokens": 1}}}
    body = b"event: message_start\n" + events(
        start, *[{"type": "content_block_delta", "delta": {"text": "hello"}}] * count,
        {"type": "message_delta", "usage": {"output_tokens": 42}}, {"type": "message_stop"})
    assert usage_of(body, EVENTS) == Usage(17, 7, 42)


@pytest.mark.parametrize("size", [10, 7_000, 30_000, 90_000])
@pytest.mark.parametrize("order", ["usage x timings", "timings x usage", "x timings y usage"])
def test_blocks_that_are_far_from_each_other(size, order):
    blocks = {"usage": OPENAI, "timings": TIMINGS, "x": [{"metrics": {"a": "}" * size}}], "y": "y" * (size // 4)}
    assert usage_of({name: blocks[name] for name in order.split()}) == Usage(44, 3, 88, 10, 7, 500.5, 98.5, 100.5)


@pytest.mark.parametrize("size", [10, 7_000, 30_000, 90_000, 300_000])
def test_responses_stream_ends_with_the_whole_answer(size):
    last = {"type": "response.completed", "response": {"id": "r", "output": [{"text": "x" * size}], "usage": {
        "input_tokens": 10, "output_tokens": 7, "input_tokens_details": {"cached_tokens": 4}}, "x": None}}
    body = events({"type": "response.created", "response": {"id": "r", "usage": None}}, *[{"d": "x"}] * 20, last)
    assert usage_of(body, EVENTS) == Usage(10, 4, 7)


@pytest.mark.parametrize("size", [10, 7_000, 30_000, 90_000, 300_000])
@pytest.mark.parametrize("rest", [b"", b"data: [DONE]\n\n", b": beat\n\n\n"])
def test_the_last_event_repeats_the_prompt(size, rest):
    last = {"content": "", "stop": True, "prompt": 'say {"usage": {"prompt_tokens": 9}} ' * (size // 36),
            "generation_settings": {"metrics": {}}, "timings": TIMINGS}
    body = events(*[{"content": "x", "stop": False}] * 20, last) + rest
    found = Usage(44, 3, 88, 10, 7, 500.5, 98.5, 100.5)
    assert usage_of(body, EVENTS, path="/completion") == found
    assert usage_of(gzip.compress(body), EVENTS, path="/completion", encoding="gzip") == found


def test_a_long_last_event_may_be_followed_by_a_mark():
    last = {"type": "response.completed", "response": {"output": "x" * 90_000, "usage": {"input_tokens": 10}}}
    assert usage_of(events({"d": "x"}, last) + b"event: done\r\ndata: [DONE]\r\n\r\n", EVENTS) == Usage(10)


def test_events_that_are_none_are_passed_over():
    body = events(b'{"usage": {', {"usage": OPENAI}, b'["usage"]', b'{"usage": {"prompt_tokens": }}') + b": beat\n\n"
    assert usage_of(body, EVENTS) == Usage(44, 3, 88)


def test_a_client_that_left_still_cost_its_prompt():
    body = events({"type": "message_start", "message": {"usage": {"input_tokens": 10}}}) + b'data: {"type": "cont'
    assert usage_of(body, EVENTS, status=499) == Usage(10)


# --- codings

WHOLE = json.dumps({**PADDING, "usage": OPENAI}).encode()


def raw_deflate(data):
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize("encoding, packed", [
    ("gzip", gzip.compress(WHOLE)), ("X-GZIP ", gzip.compress(WHOLE)), ("deflate", zlib.compress(WHOLE)),
    ("deflate", raw_deflate(WHOLE)), ("identity", WHOLE), ("", WHOLE)])
def test_compressed(encoding, packed):
    assert usage_of(packed, encoding=encoding) == Usage(44, 3, 88)


@pytest.mark.parametrize("encoding, pack", [("gzip", gzip.compress), ("deflate", zlib.compress),
                                            ("deflate", raw_deflate)])
@pytest.mark.parametrize("head", [64 * 1024, 500_000])
def test_compressed_and_too_long_to_be_kept(encoding, pack, head):
    """Of a compressed end alone nothing can be read."""
    numbers = random.Random(1)
    vectors = [numbers.random() for _ in range(100_000)]
    packed = pack(json.dumps({"data": [{"embedding": vectors}], "usage": OPENAI}).encode())
    assert len(packed) > 64 * 1024 + head
    assert usage_of(packed, encoding=encoding, head=head) == Usage(44, 3, 88)
    assert usage_of(packed[:-9000], encoding=encoding, head=head) == Usage()
    if pack is not raw_deflate:      # which has no checksum
        broken = packed[:600_000] + b"???" * 100 + packed[600_300:]
        assert usage_of(broken, encoding=encoding, head=head).error.startswith("response decompression failed: ")


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_compressed_wrongly(encoding):
    assert usage_of(WHOLE, encoding=encoding).error.startswith("response decompression failed: ")
    assert usage_of(gzip.compress(WHOLE)[:40], encoding="gzip") == Usage()          # cut, but right so far
    assert usage_of(b"\x00\x80\x12", encoding="br") == Usage()


def test_a_bomb_is_not_unpacked_whole():
    packed = gzip.compress(b'{"a":"' + b"x" * (80 << 20))
    assert usage_of(packed, encoding="gzip") == Usage()
    assert usage_of(packed + b"more", encoding="gzip") == Usage()


@given(st.binary(max_size=300), st.sampled_from(["", "gzip", "deflate", "br"]), st.sampled_from([JSON, EVENTS]),
       st.sampled_from([200, 404]))
def test_never_raises(body, encoding, content_type, status):
    assert isinstance(usage_of(body, content_type, encoding=encoding, status=status), Usage)
    assert error_text(status, content_type, encoding, body)


# --- errors


@pytest.mark.parametrize("body, text", [
    ({"error": {"message": "too long", "type": "x"}, "message": "other"}, "too long"),
    ({"error": "no"}, "no"), ({"error": {"message": "  "}, "message": "m"}, "m"), ({"detail": "d"}, "d"),
    ({"error": {"message": 5}, "detail": ["x"]}, "404 Not Found"), ({}, "404 Not Found"), ([1], "404 Not Found"),
    ("text", "404 Not Found"), (None, "404 Not Found"),
])
def test_error_text(body, text):
    assert error_text(404, JSON, "", json.dumps(body).encode()) == text
    assert error_text(404, "text/html", "gzip", gzip.compress(json.dumps(body).encode())) == text


def test_error_text_without_a_body():
    assert error_text(503, "", "", b"") == "503 Service Unavailable"
    assert error_text(599, "", "", b"<html>") == "HTTP 599"
    assert error_text(500, JSON, "gzip", b"{}").startswith("response decode failed: ")
    assert error_text(500, EVENTS, "", b'event: error\ndata: {"error": {"message": "boom"}}\n\n') == "boom"


def test_error_text_is_cut_between_characters():
    text = error_text(400, JSON, "", json.dumps({"error": "é" * 400}).encode())
    assert text == "é" * (MAX_ERROR_BYTES // 2) + "..."
    text = error_text(400, JSON, "", json.dumps({"error": "a" + "é" * 400}).encode())
    assert text == "a" + "é" * ((MAX_ERROR_BYTES - 1) // 2) + "..."
    assert error_text(400, JSON, "", json.dumps({"error": "a" * 500}).encode()) == "a" * 500
    assert error_text(400, JSON, "", b'{"error": "a\\ud800b\\u0000c"}') == "a?b\0c"
