"""Logs as events: complete, merged, bounded, and without a thread when nobody reads."""
from __future__ import annotations

import threading
import time
import tracemalloc

import pytest

from llamaswap.runtime.events import EventHub
from llamaswap.runtime.logfeed import FRAME_BYTES, LogFeed
from llamaswap.runtime.logs import LogBook
from llamaswap.runtime.threads import spawn

PATIENCE = 20.0
TICK = 0.01


class Rig:
    def __init__(self, max_bytes=100 * 1024, tick=TICK):
        self.logs = LogBook(max_bytes=max_bytes)
        self.hub = EventHub()
        self.feed = LogFeed(self.logs, self.hub, tick=tick)

    def follow(self, *topics):
        return Reader(self.hub.subscribe(topics))

    def threads(self):
        return [thread for thread in threading.enumerate() if thread.name == "log-feed"]


class Reader:
    """What somebody has seen of one log."""

    def __init__(self, subscriber):
        self.subscriber = subscriber
        self.text, self.gap, self.resets, self.frames = "", 0, 0, []

    def look(self, timeout=0.0):
        for event in self.subscriber.take(timeout):
            data = event.data()
            if event.topic == "gap":
                continue
            self.frames.append(data["text"])
            self.text = data["text"] if data["reset"] else self.text + data["text"]
            self.gap += data["gap"]
            self.resets += data["reset"]
        return self

    def until(self, end):
        deadline = time.monotonic() + PATIENCE
        while not self.text.endswith(end):
            assert time.monotonic() < deadline, self.text[-200:]
            self.look(0.05)
        return self


@pytest.fixture
def rig():
    made = Rig()
    yield made
    made.feed.close()
    assert not made.threads()


def test_history_and_what_follows(rig):
    rig.logs.add_model_output("m", b"old\n")
    rig.logs.add_proxy_line(b"ours\n")
    readers = {name: rig.follow(f"log:{name}").look() for name in ("m", "proxy", "upstream", "all", "silent")}
    assert {name: reader.text for name, reader in readers.items()} == {
        "m": "old\n", "proxy": "ours\n", "upstream": "old\n", "all": "old\nours\n", "silent": ""}
    assert all(reader.resets == 1 for reader in readers.values())
    rig.logs.add_model_output("m", b"new\n")
    rig.logs.add_model_output("silent", b"at last\n")
    assert readers["m"].until("new\n").text == "old\nnew\n"
    assert readers["all"].until("at last\n").text == "old\nours\nnew\nat last\n"
    readers["silent"].until("at last\n")
    assert readers["proxy"].look().text == "ours\n"


def test_a_thread_only_while_somebody_follows(rig):
    assert not rig.threads()
    reader = rig.follow("log:m").look()
    assert len(rig.threads()) == 1
    reader.subscriber.close()
    deadline = time.monotonic() + PATIENCE
    while rig.threads():
        assert time.monotonic() < deadline
        time.sleep(0.005)
    rig.logs.add_model_output("m", b"unseen\n")
    again = rig.follow("log:m").look()
    assert again.text == "unseen\n" and len(rig.threads()) == 1
    rig.logs.add_model_output("m", b"seen\n")
    assert again.until("seen\n").gap == 0


def test_characters_that_are_cut_in_two_stay_whole(rig):
    reader = rig.follow("log:m").look()
    for byte in "caf\u00e9 \u2014 \U0001f600\n".encode():
        rig.logs.add_model_output("m", bytes([byte]))
        time.sleep(TICK * 1.5)
    assert reader.until("\n").text == "caf\u00e9 \u2014 \U0001f600\n"
    rig.logs.add_model_output("m", "half \U0001f600".encode()[:-1])
    newcomer = rig.follow("log:m").look().until("half ")
    rig.logs.add_model_output("m", "\U0001f600\n".encode()[3:])
    assert newcomer.until("\n").text == reader.until("half \U0001f600\n").text


def test_a_newcomer_first_of_a_log_that_ends_in_half_a_character(rig):
    rig.logs.add_model_output("m", "\u00e9\U0001f600".encode()[:-1])
    reader = rig.follow("log:m").look()
    assert reader.text == "\u00e9"
    rig.logs.add_model_output("m", "\U0001f600\n".encode()[3:])
    assert reader.until("\n").text == "\u00e9\U0001f600\n"


def test_bytes_that_are_no_text(rig):
    rig.logs.add_model_output("m", b"\x80\xff ok\n")
    reader = rig.follow("log:m").look()
    assert reader.text == "\ufffd ok\n"
    rig.logs.add_model_output("m", b"\xc3\x28\n")
    assert reader.until("(\n").text.endswith("\ufffd(\n")


def test_a_ring_that_was_overwritten_between_two_looks():
    rig = Rig(max_bytes=1000, tick=3600.0)
    reader = rig.follow("log:m").look()
    rig.logs.add_model_output("m", b"begun")
    rig.feed._tell(rig.hub.log_topics())
    rig.logs.add_model_output("m", b" line\n")
    for number in range(200):
        rig.logs.add_model_output("m", b"line %03d\n" % number)
    rig.feed._tell(rig.hub.log_topics())
    reader.look()
    kept = reader.text.count("\n") - 1
    assert reader.text.startswith("begun\nline ") and reader.text.endswith("line 199\n")
    assert reader.gap == 201 - kept == rig.feed.dropped_lines
    rig.feed.close()


def test_frames_are_bounded_and_what_does_not_fit_is_counted():
    rig = Rig(tick=3600.0)
    reader = rig.follow("log:m").look()
    line = b"0123456789\xc3\xa9\n"
    rig.logs.add_model_output("m", line * 7000)
    rig.feed._tell(rig.hub.log_topics())
    reader.look()
    assert reader.text.startswith("0123456789\u00e9\n") and len(reader.text.encode()) <= FRAME_BYTES
    assert reader.text.count("\n") + reader.gap == 7000
    rig.logs.add_model_output("m", b"y" * 99_000)
    rig.feed._tell(rig.hub.log_topics())
    assert reader.look().frames[-1] == "y" * FRAME_BYTES
    rig.feed.close()


def test_a_long_history_comes_in_several_frames(rig):
    rig.logs.add_model_output("m", b"0123456789\xc3\xa9\n" * 7000)
    reader = rig.follow("log:m").look()
    assert reader.text.encode() == rig.logs.model("m").history()
    assert reader.resets == 1 and len(reader.frames) == 2
    assert all(len(frame.encode()) <= FRAME_BYTES for frame in reader.frames)


def test_who_comes_in_the_middle_of_a_flood_sees_every_line_once(rig):
    over = threading.Event()

    def flood():
        number = 0
        while not over.is_set() and number < 4000:
            rig.logs.add_model_output("m", b"%d\n" % number)
            number += 1
            if number % 50 == 0:
                time.sleep(0.002)
        rig.logs.add_model_output("m", b"end\n")

    producer = spawn("producer", flood)
    readers = []
    for _ in range(12):
        readers.append(rig.follow("log:m").look())
        time.sleep(0.01)
    over.set()
    producer.join(PATIENCE)
    for reader in readers:
        lines = reader.until("end\n").text.split("\n")[:-2]
        assert reader.gap == 0
        assert lines == [str(number) for number in range(int(lines[0]) if lines else 0, int(lines[-1]) + 1)]


def test_fifty_readers_of_a_flood_do_not_grow_memory(capsys):
    """5,000 lines a second for a while; half of the readers have stopped reading."""
    rig = Rig(tick=0.1)
    readers = [rig.follow("log:m").look() for _ in range(50)]
    line = b"x" * 79 + b"\n"
    began_at, cpu = time.monotonic(), time.process_time()

    def second():
        for _ in range(20):
            rig.logs.add_model_output("m", line * 250)
            time.sleep(0.05)
            for reader in readers[:25]:
                reader.subscriber.get(0.0)

    second()
    tracemalloc.start()
    try:
        for _ in range(2):
            second()
        size = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    waiting = max(reader.subscriber._text for reader in readers)
    with capsys.disabled():
        print(f"\n50 readers, 5,000 lines/s: {size / 1e6:.1f} MB grown at most, {waiting / 1e6:.1f} MB wait for each "
              f"of 25 who sleep (shared), {(time.process_time() - cpu) / (time.monotonic() - began_at):.0%} of a core")
    assert size < 8_000_000 and waiting <= 1024 * 1024
    rig.feed.close()


def test_closing_ends_the_thread_and_starts_no_other():
    rig = Rig()
    rig.follow("log:m").look()
    rig.feed.close()
    assert not rig.threads()
    rig.follow("log:x").look()
    assert not rig.threads() and "log:m" in repr(rig.feed)
