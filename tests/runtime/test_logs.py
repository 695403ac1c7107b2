from __future__ import annotations

import logging
import os
import threading
import time

import pytest

from llamaswap.runtime.logs import ByteQueue, LogBook, LogBookHandler, LogRing, StdoutSink
from llamaswap.runtime.threads import spawn


@pytest.fixture(autouse=True)
def no_thread_left():
    before = threading.active_count()
    yield
    deadline = time.monotonic() + 3
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() <= before, threading.enumerate()


# --- the ring ---

def test_a_ring_keeps_the_last_bytes_from_a_line_start():
    ring = LogRing(20)
    for number in range(10):
        ring.append(b"line %d\n" % number)
    assert ring.history() == b"line 8\nline 9\n"


def test_a_full_ring_that_ends_on_a_line_start_loses_nothing_more():
    ring = LogRing(14)
    ring.append(b"line 0\nline 1\nline 2\n")
    assert ring.history() == b"line 1\nline 2\n"


def test_a_line_longer_than_the_ring_keeps_its_end():
    ring = LogRing(10)
    ring.append(b"x" * 95 + b"tail!")
    assert ring.history() == b"xxxxxtail!"
    ring.append(b"\nnext\n")
    assert ring.history() == b"next\n"


@pytest.mark.parametrize("more", [b"", b"next\n"])
def test_the_end_of_a_long_line_leaves_the_ring_as_full_as_it_was(more):
    ring = LogRing(1000)
    ring.append(b"before\n")
    for _ in range(50):
        ring.append(b"x" * 100)
    ring.append(b"tail!\n" + more)
    assert ring.history().endswith(b"xxxtail!\n" + more) and len(ring.history()) == 1000


def test_a_long_line_is_not_cut_within_a_character():
    for size in range(100, 105):
        ring = LogRing(size)
        ring.append("€".encode() * 300)
        assert ring.history().decode() == "€" * (size // 3)


def test_history_is_a_copy():
    ring = LogRing(100)
    ring.append(b"one\n")
    history = ring.history()
    ring.append(b"two\n")
    assert history == b"one\n"


def test_size_is_bounded_whatever_the_pieces():
    ring = LogRing(1000)
    for size in [1] * 3000 + [999, 1001, 5000, 7]:
        ring.append(b"a" * (size - 1) + b"\n")
        assert len(ring.history()) <= 1000


# --- followers ---

def test_history_and_what_follows_meet_without_a_gap():
    ring = LogRing(1_000_000)
    stop = threading.Event()

    def produce():
        number = 0
        while not stop.is_set() and number < 20_000:
            ring.append(b"%d\n" % number)
            number += 1

    producer = spawn("producer", produce)
    try:
        for _ in range(20):
            with ring.subscribe(max_bytes=10_000_000) as follower:
                seen = b""
                while seen.count(b"\n") < 200 and (producer.is_alive() or not seen):
                    seen += follower.get(1.0) or b""
                numbers = [int(line) for line in seen.split()]
                assert numbers == list(range(len(numbers))), "a gap or a repetition"
    finally:
        stop.set()
        producer.join(5)


def test_without_history_only_what_follows():
    ring = LogRing()
    ring.append(b"old\n")
    with ring.subscribe(with_history=False) as follower:
        ring.append(b"new\n")
        assert follower.get(1.0) == b"new\n"
        assert follower.get(0.0) == b""


def test_a_slow_follower_loses_the_oldest_and_is_told():
    ring = LogRing()
    with ring.subscribe(max_bytes=16) as slow, ring.subscribe() as quick:
        for number in range(10):
            ring.append(b"line %d\n" % number)
        assert slow.get(1.0).decode() == "\u2014 56 bytes dropped \u2014\nline 8\nline 9\n"
        assert slow.dropped == 56
        ring.append(b"more\n")
        assert slow.get(1.0) == b"more\n"
        assert quick.get(1.0).count(b"\n") == 11


def test_a_piece_larger_than_the_queue_keeps_its_end():
    queue = ByteQueue(10)
    queue.put(b"x" * 100)
    assert queue.get(0.0).endswith(b"x" * 10) and queue.dropped == 90


def test_closing_ends_the_iteration_after_what_waits():
    ring = LogRing()
    follower = ring.subscribe()
    ring.append(b"last\n")
    follower.close()
    ring.append(b"too late\n")
    assert list(follower) == [b"last\n"]
    assert "0 subscribers" in repr(ring)


def test_closing_wakes_a_waiting_follower():
    follower = LogRing().subscribe()
    seen = []
    reader = spawn("reader", lambda: seen.append(follower.get(10.0)))
    time.sleep(0.05)
    follower.close()
    reader.join(5)
    assert seen == [None]


# --- standard output ---

def test_blocked_stdout_blocks_nobody():
    release = threading.Event()
    written = []

    def write(data):
        release.wait(10)
        written.append(data)
        return len(data)

    sink = StdoutSink(write, max_bytes=100_000)
    book = LogBook(to_stdout="both", sink=sink)
    began_at = time.monotonic()
    for _ in range(2000):
        book.add_model_output("m", b"y" * 999 + b"\n")
    assert time.monotonic() - began_at < 5, "appending waited for the reader of standard output"
    assert sink.dropped > 1_500_000
    assert not sink.close(0.05), "close must not wait for a blocked reader for ever"
    release.set()
    assert sink.close(5.0)
    assert "bytes dropped" in b"".join(written).decode()


def test_the_sink_writes_everything_in_order_also_in_short_writes():
    out = bytearray()

    def write(data):
        out.extend(data[:3])
        return len(data[:3])

    sink = StdoutSink(write)
    book = LogBook(sink=sink)
    for number in range(100):
        book.add_proxy_line(b"%d\n" % number)
    assert sink.close(5.0)
    assert out.split() == [b"%d" % number for number in range(100)]


def test_a_reader_that_is_gone_ends_the_sink():
    def write(data):
        raise BrokenPipeError

    sink = StdoutSink(write)
    sink.put(b"x")
    assert sink.close(5.0)
    sink.put(b"y")


def test_by_default_it_is_descriptor_one(monkeypatch):
    seen = []
    monkeypatch.setattr(os, "write", lambda fd, data: seen.append((fd, bytes(data))) or len(data))
    sink = StdoutSink()
    sink.put(b"x\n")
    assert sink.close(5.0)
    assert (1, b"x\n") in seen


# --- the book ---

@pytest.mark.parametrize(("to_stdout", "shown"), [("proxy", b"p\n"), ("upstream", b"m\n"), ("both", b"p\nm\n"),
                                                  ("none", b""), ("nonsense", b"p\n")])
def test_what_the_combined_ring_shows(to_stdout, shown):
    book = LogBook(to_stdout=to_stdout)
    book.add_proxy_line(b"p\n")
    book.add_model_output("m", b"m\n")
    assert book.combined.history() == shown
    assert (book.proxy.history(), book.upstream.history(), book.model("m").history()) == (b"p\n", b"m\n", b"m\n")


def test_what_is_shown_can_change():
    book = LogBook(to_stdout="none")
    book.add_proxy_line(b"1\n")
    book.show("both")
    book.add_proxy_line(b"2\n")
    assert book.combined.history() == b"2\n"


def test_finding_a_source():
    book = LogBook()
    assert book.find("") is book.combined and book.find("proxy") is book.proxy
    assert book.find("upstream") is book.upstream
    assert book.find("a/b") is None
    book.add_model_output("a/b", b"x\n")
    assert book.find("a/b") is book.model("a/b")
    assert book.models() == ["a/b"]


def test_our_own_lines_reach_the_book():
    book = LogBook()
    logger = logging.Logger("test")
    logger.addHandler(LogBookHandler(book))
    logger.warning("%s: caf\u00e9 \udcff", "m")
    assert book.proxy.history() == "[WARNING] m: caf\u00e9 \\udcff\n".encode()


def test_a_log_call_with_wrong_arguments_harms_nobody(capsys):
    book = LogBook()
    logger = logging.Logger("test")
    logger.addHandler(LogBookHandler(book))
    logger.error("%d", "not a number")
    assert book.proxy.history() == b""
    assert "not a number" in capsys.readouterr().err


# --- readers who come by from time to time ---

def test_reading_what_came_since():
    ring = LogRing(20)
    ring.append(b"one\n")
    place = ring.end()
    assert place == (4, 1) and ring.read_since(place) == (b"", place, 0, 0)
    ring.append(b"two\nthr")
    news = ring.read_since(place)
    assert news == (b"two\nthr", (11, 2), 0, 0) and news.place == ring.end()
    assert ring.end_offset == 11 and ring.between(4, 8) == b"two\n"
    ring.append(b"ee\n" + b"line\n" * 5)
    lost = ring.read_since(news.place)
    assert lost == (b"line\n" * 4, (39, 8), 8, 2), "the rest of the third line, and one more"
    assert lost.place == ring.end() and ring.between(0, 24) == b"line\n" and ring.between(0, 5) == b""


def test_lines_are_counted_whatever_the_pieces():
    ring, lines, seen, lost = LogRing(100), 0, 0, 0
    place = ring.end()
    for size in [1, 30, 7, 99, 3, 250, 100, 101, 2] * 20:
        ring.append(b"a" * (size - 1) + b"\n")
        lines += 1
        if lines % 3 == 0:
            data, place, _, lost_lines = ring.read_since(place)
            seen, lost = seen + data.count(b"\n"), lost + lost_lines
    assert (seen + lost, place.line) == (lines, lines)


def test_what_slow_readers_lost_is_counted_also_after_they_left():
    book = LogBook()
    slow = book.proxy.subscribe(max_bytes=10)
    book.add_proxy_line(b"x" * 29 + b"\n")
    assert book.dropped == book.proxy.dropped == 20
    slow.close()
    slow.close()
    assert book.dropped == 20


# --- runs ---

def test_everything_is_in_one_ring_whatever_is_shown():
    book = LogBook(to_stdout="none")
    book.add_proxy_line(b"p\n")
    book.add_model_output("m", b"m\n")
    assert book.everything.history() == b"p\nm\n"


def test_runs_of_a_model():
    book = LogBook()
    assert book.runs("m") == [] and book.run_text("m", 1) is None and book.tail("m", 5) == "" == book.last_line("m")
    book.begin_run("m", 1)
    book.add_model_output("m", b"first\nlast words\n")
    book.end_run("m", 1, "exit code 1")
    assert book.tail("m", 1) == "last words" and book.tail("m", 9) == "first\nlast words" and book.tail("m", 0) == ""
    assert "run 1 ended: exit code 1" in book.model("m").history().decode()
    assert "run 1 ended" not in book.upstream.history().decode()
    book.begin_run("m", 2)
    assert book.tail("m", 5) == "", "a run that has said nothing has no last words of another"
    assert [run.generation for run in book.runs("m")] == [1, 2] and book.run_text("m", 1) == b"first\nlast words\n"
    book.end_run("m", 9, "unknown")


def test_the_last_line_says_something():
    book = LogBook()
    book.begin_run("m", 1)
    book.add_model_output("m", b"loading 1 %\r\x1b[32mloading \x1b]8;;x\x0799 %\x1b[0m\n\n  \x1b[0m\n")
    assert book.last_line("m") == "loading 99 %"
    book.add_model_output("m", b"y" * 1000 + b"\n")
    assert len(book.last_line("m")) == 300


def test_without_a_run_the_tail_is_what_there_is():
    book = LogBook()
    book.add_model_output("m", b"a\nb\n")
    assert book.tail("m", 1) == "b"


def test_files_get_what_the_rings_get():
    seen = []

    class Files:
        dropped = 7

        def put(self, source, data):
            seen.append((source, data))

    book = LogBook(files=Files())
    book.begin_run("m", 1)
    book.add_model_output("m", b"x\n")
    book.add_proxy_line(b"y\n")
    book.end_run("m", 1, "exit code 0")
    assert seen[:2] == [("m", b"x\n"), ("", b"y\n")] and seen[2][0] == "m" and b"run 1 ended" in seen[2][1]
    assert book.dropped == 7
