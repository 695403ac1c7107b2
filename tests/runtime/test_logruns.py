"""What is kept of a model's last runs."""
from __future__ import annotations

from llamaswap.runtime.logruns import KEPT_BYTES, RUNS_KEPT, Runs
from llamaswap.runtime.logs import LogRing


def one_run(runs, ring, generation, text, reason="exit code 1"):
    runs.begin(generation, ring, epoch=10.0)
    ring.append(text)
    ring.append(runs.end(generation, reason, epoch=12.0))


def test_a_run_from_its_beginning_to_its_end():
    runs, ring = Runs(), LogRing()
    ring.append(b"before\n")
    runs.begin(3, ring, epoch=10.0)
    ring.append(b"words\n")
    run, = runs.list()
    assert (run.generation, run.started_epoch, run.ended_epoch, run.reason, run.text_bytes) == (3, 10.0, None, "", 6)
    assert runs.text(3) == b"words\n"
    line = runs.end(3, "exit code 1", epoch=12.0).decode()
    assert line == "\u2014 run 3 ended: exit code 1 after 0.0 s \u2014\n"
    ring.append(line.encode())
    run, = runs.list()
    assert (run.ended_epoch, run.reason, run.text_bytes) == (12.0, "exit code 1", 6)
    assert runs.text(3) == runs.newest_text() == b"words\n"


def test_the_end_is_marked_on_a_line_of_its_own():
    runs, ring = Runs(), LogRing()
    one_run(runs, ring, 1, b"half a li")
    assert ring.history().startswith("half a li\n\u2014 run 1 ended".encode())
    runs.begin(2, ring, epoch=1.0)
    assert not runs.end(2, "odd \udcff", epoch=2.0).startswith(b"\n")


def test_ends_of_runs_that_are_not_there_say_nothing():
    runs, ring = Runs(), LogRing()
    assert runs.end(1, "x", epoch=1.0) == b"" and runs.text(1) is None and runs.newest_text() == b""
    one_run(runs, ring, 1, b"x\n")
    assert runs.end(1, "again", epoch=1.0) == b"" and runs.list()[0].reason == "exit code 1"


def test_the_last_ones_are_kept():
    runs, ring = Runs(), LogRing()
    for generation in range(1, RUNS_KEPT + 4):
        one_run(runs, ring, generation, b"run %d\n" % generation)
    assert [run.generation for run in runs.list()] == [4, 5, 6, 7, 8]
    assert runs.text(3) is None and runs.text(4) == b"run 4\n" and "[4, 5, 6, 7, 8]" in repr(runs)


def test_the_last_words_of_a_run_outlive_the_ring():
    runs, ring = Runs(), LogRing()
    one_run(runs, ring, 1, b"".join(b"line %05d\n" % number for number in range(10_000)) + b"segfault\n")
    assert len(runs.text(1)) > KEPT_BYTES, "as much as the ring still has"
    runs.begin(2, ring, epoch=1.0)
    ring.append(b"talk\n" * 50_000)
    kept = runs.text(1)
    assert kept.endswith(b"segfault\n") and kept.startswith(b"line ") and KEPT_BYTES - 20 < len(kept) <= KEPT_BYTES
    assert runs.newest_text() == ring.history()


def test_one_line_without_end_keeps_its_end():
    runs, ring = Runs(), LogRing()
    one_run(runs, ring, 1, b"x" * 2 * KEPT_BYTES + b"tail")
    runs.begin(2, ring, epoch=1.0)
    ring.append(b"talk\n" * 50_000)
    assert runs.text(1) == b"x" * (KEPT_BYTES - 4) + b"tail"


def test_of_two_runs_with_one_number_the_newer_counts():
    runs, ring = Runs(), LogRing()
    one_run(runs, ring, 1, b"old\n")
    one_run(runs, ring, 1, b"new\n")
    assert runs.text(1) == b"new\n"
