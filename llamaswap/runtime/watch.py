"""Notices that configuration files have changed, by looking: that works on every file system, bind mounts included.

A change counts once it has been the same for two looks, so that a file is not read while it is being written. A file
that disappears is no change (editors delete and recreate); its return is.
"""
from __future__ import annotations

import hashlib
import os
import stat
import threading
from typing import Callable, Dict, List, Optional, Tuple

# By path: device, inode, time of change and a digest of the content. The digest because a file system may keep times
# by the second, and an edit within it need not change the size.
Signature = Dict[str, Tuple[int, int, int, bytes]]

INTERVAL = 0.5      # seconds between looks; a change is acted on within a second


def signature_of(config: Optional[str], config_dir: Optional[str]) -> Signature:
    """What the sources look like, symlinks followed. Empty while there is nothing to read, or `config` is missing."""
    found: Signature = {}
    for path in [*([config] if config else []), *_files_of(config_dir)]:
        looks = _look_at(path)
        if looks is not None:
            found[path] = looks
        elif path == config:
            return {}
    return found


def _files_of(directory: Optional[str]) -> List[str]:
    if not directory:
        return []
    try:
        names = os.listdir(directory)
    except OSError:
        return []
    return [os.path.join(directory, name) for name in sorted(names) if name.endswith((".yml", ".yaml"))]


def _look_at(path: str) -> Optional[Tuple[int, int, int, bytes]]:
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):      # opening a pipe could wait for ever
            return None
        with open(path, "rb") as file:
            digest = hashlib.sha256(file.read()).digest()
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_mtime_ns, digest


class Watcher:
    """Calls `changed` from its own thread's run(); owner: whoever spawned it. `seen` is what was read last."""

    def __init__(self, look: Callable[[], Signature], changed: Callable[[], object], *,
                 seen: Optional[Signature] = None, interval: float = INTERVAL) -> None:
        self._look = look
        self._changed = changed
        self._interval = interval
        self._ended = threading.Event()
        self._acted_on = look() if seen is None else seen
        self._last = self._acted_on

    def __repr__(self) -> str:
        return f"Watcher({sorted(self._acted_on)})"

    def run(self) -> None:
        while not self._ended.wait(self._interval):
            self.step()

    def step(self) -> None:
        now = self._look()
        settled, self._last = now == self._last, now
        # Nothing at all is what a rename or an unmounted volume looks like halfway through.
        if settled and now and now != self._acted_on:
            self._acted_on = now
            self._changed()

    def close(self) -> None:
        self._ended.set()
