"""Logs on a disk that is slow, full, gone and back."""
from __future__ import annotations

import logging
import os
import threading
import time

import pytest

from llamaswap.core.settings import LogFileSettings
from llamaswap.runtime import logfiles
from llamaswap.runtime.logfiles import QUEUE_BYTES, LogFiles, file_name

PATIENCE = 20.0


@pytest.fixture
def files(tmp_path):
    made = LogFiles(gather_pause=0.001, retry_pause=0.02)
    made.folder = tmp_path / "logs"
    made.reconfigure(LogFileSettings(str(made.folder), 1000, 2))
    yield made
    made.close(PATIENCE)
    assert not any(thread.name == "log-files" for thread in threading.enumerate())


def until(question):
    deadline = time.monotonic() + PATIENCE
    while not question():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def content(path):
    return path.read_bytes() if path.exists() else b""


def test_a_file_for_each_source(files):
    files.put("", b"ours\n")
    files.put("m", b"its\n")
    files.put("org/m:7b", b"its\n")
    until(lambda: len(list(files.folder.glob("*"))) == 3 and all(map(content, files.folder.glob("*"))))
    assert content(files.folder / "proxy.log") == b"ours\n"
    assert content(files.folder / "m.log") == content(files.folder / "org%2Fm%3A7b.log") == b"its\n"
    assert (files.folder / "m.log").stat().st_mode & 0o777 == 0o640


def test_closing_writes_what_waits(files):
    for number in range(50):
        files.put("m", b"%d\n" % number)
    assert files.close(PATIENCE)
    assert content(files.folder / "m.log") == b"".join(b"%d\n" % number for number in range(50))


def test_by_default_there_are_none(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files = LogFiles()
    files.reconfigure(LogFileSettings())
    files.put("m", b"x\n")
    assert files.close() and list(tmp_path.iterdir()) == [] and files.dropped == 0


def test_rotation_at_line_ends(files):
    lines = [b"line %03d\n" % number for number in range(400)]
    for line in lines:
        files.put("m", line)
    assert files.close(PATIENCE)
    kept = [content(files.folder / name) for name in ("m.log.2", "m.log.1", "m.log")]
    assert sorted(path.name for path in files.folder.iterdir()) == ["m.log", "m.log.1", "m.log.2"]
    assert all(len(each) <= 1000 and each.endswith(b"\n") for each in kept)
    assert b"".join(lines).endswith(b"".join(kept)) and len(kept[0]) > 980


def test_a_line_longer_than_a_file(files):
    files.put("m", b"x" * 2500 + b"\nnext\n")
    assert files.close(PATIENCE)
    assert [len(content(files.folder / name)) for name in ("m.log.2", "m.log.1", "m.log")] == [1000, 1000, 506]


def test_none_set_aside(tmp_path):
    files = LogFiles(gather_pause=0.001)
    files.reconfigure(LogFileSettings(str(tmp_path), 100, 0))
    files.put("m", b"line\n" * 50)
    assert files.close(PATIENCE)
    assert [path.name for path in tmp_path.iterdir()] == ["m.log"] and len(content(tmp_path / "m.log")) <= 100


def test_a_file_that_was_moved_or_deleted_is_made_anew(files):
    path = files.folder / "m.log"
    files.put("m", b"one\n")
    until(lambda: content(path) == b"one\n")
    path.rename(files.folder / "elsewhere")
    files.put("m", b"two\n")
    until(lambda: content(path) == b"two\n")
    for each in files.folder.iterdir():
        each.unlink()
    files.folder.rmdir()
    files.put("m", b"three\n")
    until(lambda: content(path) == b"three\n")


def test_a_folder_that_changes_with_the_configuration(files, tmp_path):
    files.put("m", b"one\n")
    until(lambda: content(files.folder / "m.log"))
    files.reconfigure(LogFileSettings(str(tmp_path / "other"), 1000, 1))
    files.put("m", b"two\n")
    until(lambda: content(tmp_path / "other" / "m.log") == b"two\n")
    files.reconfigure(LogFileSettings())
    files.put("m", b"three\n")
    assert files.close(PATIENCE) and content(tmp_path / "other" / "m.log") == b"two\n"


def test_a_disk_that_fails_is_said_once_and_tried_again(files, monkeypatch, caplog):
    caplog.set_level(logging.WARNING)
    is_full, write, tries = threading.Event(), os.write, []
    is_full.set()

    def short_write(fd, data):
        if not is_full.is_set():
            return write(fd, data)
        tries.append(1)
        if len(tries) == 1:
            return write(fd, data[:3])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(logfiles.os, "write", short_write)
    files.put("m", b"first\n")
    until(lambda: len(tries) > 3)
    files.put("m", b"second\n")
    files.put("n", b"other\n")
    until(lambda: len(tries) > 8)
    assert [record.getMessage() for record in caplog.records] == [
        "cannot write log files: [Errno 28] No space left on device; trying again every 0 s"]
    is_full.clear()
    until(lambda: content(files.folder / "m.log") == b"first\nsecond\n" and len(caplog.records) == 2)
    assert content(files.folder / "n.log") == b"other\n" and files.dropped == 0
    assert "written again; 0 bytes" in caplog.records[1].getMessage()


def test_one_file_that_fails_does_not_keep_the_others(files, caplog):
    (files.folder / "a.log").mkdir(parents=True)
    files.put("a", b"x\n")
    files.put("b", b"y\n")
    until(lambda: content(files.folder / "b.log") == b"y\n")


def test_a_disk_that_hangs_blocks_nobody(tmp_path, monkeypatch):
    release, entered, write = threading.Event(), threading.Event(), os.write

    def hang(fd, data):
        entered.set()
        release.wait(PATIENCE)
        return write(fd, data)

    monkeypatch.setattr(logfiles.os, "write", hang)
    files = LogFiles(gather_pause=0.001)
    files.reconfigure(LogFileSettings(str(tmp_path), 10 << 20, 1))
    files.put("m", b"first\n")
    assert entered.wait(PATIENCE)
    began_at = time.monotonic()
    for _ in range(1000):
        files.put("m", b"x" * 999 + b"\n")
    assert time.monotonic() - began_at < 5 and files.dropped == 1_000_000 - QUEUE_BYTES // 1000 * 1000
    assert not files.close(0.05)
    release.set()
    until(lambda: files.close(0.1))
    text = content(tmp_path / "m.log")
    assert text.startswith(b"first\n") and b"bytes dropped" in text and text.endswith(b"x\n")


@pytest.mark.parametrize("source", ["..", ".", ".hidden", "/etc/passwd", "a/../b", "proxy", "a\nb", "\udcff", "x" * 500,
                                    "caf\u00e9 " * 60, "C:\\x", "proxy.log"])
def test_names_stay_in_the_folder(source):
    name = file_name(source)
    assert name.endswith(".log") and "/" not in name and not name.startswith(".") and len(name) < 230
    assert name != file_name("") and name.isascii() and name.isprintable() and "\\" not in name


def test_names_are_not_shared():
    names = ["a/b", "a%2Fb", "a_b", "proxy", "", ".a", "%2Ea", "x" * 300, "x" * 301]
    assert len({file_name(name) for name in names}) == len(names)
