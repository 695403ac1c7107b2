"""Every way in which people change a file, seen; everything that is no change, not."""
from __future__ import annotations

import os

import pytest

from llamaswap.runtime.threads import spawn
from llamaswap.runtime.watch import Watcher, signature_of


class Looker:
    """A watcher whose looks are made by the test."""

    def __init__(self, config, config_dir=None, **options):
        self.fired = 0
        look = lambda: signature_of(config and str(config), config_dir and str(config_dir))  # noqa: E731
        self.watcher = Watcher(look, self._fire, **options)

    def _fire(self):
        self.fired += 1

    def looks(self, times=2):
        """How often it fired in so many looks."""
        before = self.fired
        for _ in range(times):
            self.watcher.step()
        return self.fired - before


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("one")
    return path


def test_nothing_changes(file):
    assert Looker(file).looks(5) == 0


def test_an_edit_counts_once_it_has_settled(file):
    looker = Looker(file)
    file.write_text("two!")
    assert looker.looks(1) == 0
    file.write_text("three")
    assert looker.looks(1) == 0 and looker.looks(1) == 1 and looker.looks(3) == 0


def test_same_size_and_time(file):
    looker, status = Looker(file), file.stat()
    file.write_text("two")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert looker.looks() == 1


def test_touch_is_a_change(file):
    looker = Looker(file)
    os.utime(file, (1, 1))
    assert looker.looks() == 1


def test_rename_over(file, tmp_path):
    looker = Looker(file)
    (tmp_path / "new").write_text("one")
    (tmp_path / "new").replace(file)
    assert looker.looks() == 1


def test_a_missing_file_is_no_change_but_its_return_is(file):
    looker = Looker(file)
    file.unlink()
    assert looker.looks(3) == 0
    file.write_text("back")
    assert looker.looks() == 1


def test_the_file_missing_beside_a_directory(file, tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "a.yaml").write_text("a")
    looker = Looker(file, tmp_path / "d")
    file.unlink()
    assert looker.looks(3) == 0


def test_symlink_swap(file, tmp_path):
    (tmp_path / "other").write_text("one")
    link = tmp_path / "link.yaml"
    link.symlink_to("config.yaml")
    looker = Looker(link)
    (tmp_path / "next").symlink_to("other")
    (tmp_path / "next").replace(link)
    assert looker.looks() == 1


def test_directory(tmp_path):
    (tmp_path / "a.yaml").write_text("a")
    looker = Looker(None, tmp_path)
    (tmp_path / "notes.txt").write_text("x")
    assert looker.looks() == 0
    (tmp_path / "b.yml").write_text("b")
    assert looker.looks() == 1
    (tmp_path / "b.yml").unlink()
    assert looker.looks() == 1
    (tmp_path / "a.yaml").unlink()
    assert looker.looks(3) == 0
    (tmp_path / "a.yaml").write_text("a")
    assert looker.looks() == 1


def test_a_change_between_reading_and_watching_is_not_lost(file):
    seen = signature_of(str(file), None)
    file.write_text("changed meanwhile")
    assert Looker(file, seen=seen).looks() == 1


def test_what_cannot_be_read(tmp_path):
    os.mkfifo(tmp_path / "pipe.yaml")
    assert signature_of(str(tmp_path / "pipe.yaml"), None) == {}
    assert signature_of(None, str(tmp_path / "nowhere")) == {}
    assert signature_of(None, None) == {}


def test_run_ends_when_closed(file):
    looker = Looker(file, interval=0.001)
    thread = spawn("watch", looker.watcher.run)
    looker.watcher.close()
    thread.join(10)
    assert not thread.is_alive() and "config.yaml" in repr(looker.watcher)
