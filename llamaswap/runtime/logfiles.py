"""Log files, for those who want logs to outlive the program: one per model and `proxy.log`, rotated by size.

Everybody only queues; one thread writes, and may be blocked by the disk as long as the disk likes. Each file has a
bounded queue that loses its oldest bytes and says in place how many. A disk that fails (full, read-only, gone) is said
once in our log and tried again every few seconds; what waited in the queue by then is written after all.

A file is opened for each batch and closed after it, so a file that somebody has moved or deleted is made anew.
"""
from __future__ import annotations

import logging
import os
import threading
import zlib
from pathlib import Path
from typing import Dict, Optional
from urllib.parse import quote

from llamaswap.core.settings import LogFileSettings
from llamaswap.runtime.logs import ByteQueue
from llamaswap.runtime.threads import spawn

log = logging.getLogger(__name__)

QUEUE_BYTES = 256 * 1024      # per file, while the disk is busy
GATHER_PAUSE = 0.2            # seconds between two rounds of writing
RETRY_PAUSE = 5.0
MAX_NAME = 200                # file systems stop at 255 bytes, rotation adds a few
PROXY = "proxy.log"


class LogFiles:
    """`put` for anybody, never waiting; `reconfigure` and `close` for the main thread; the rest is `log-files`'s."""

    def __init__(self, *, gather_pause: float = GATHER_PAUSE, retry_pause: float = RETRY_PAUSE) -> None:
        self._gather_pause = gather_pause
        self._retry_pause = retry_pause
        self._settings = LogFileSettings()
        self._queues: Dict[str, ByteQueue] = {}         # by source; setdefault on it is atomic
        self._unwritten: Dict[str, bytes] = {}          # taken from a queue, not yet on the disk
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._thread: Optional[threading.Thread] = None
        self._is_failing = False

    def __repr__(self) -> str:
        return f"LogFiles({self._settings.directory!r}, {len(self._queues)} files, dropped={self.dropped})"

    @property
    def dropped(self) -> int:
        """Bytes that came faster than the disk took them."""
        return sum(queue.dropped for queue in list(self._queues.values()))

    def reconfigure(self, settings: LogFileSettings) -> None:
        self._settings = settings
        if settings.directory and self._thread is None:
            self._thread = spawn("log-files", self._run)

    def put(self, source: str, data: bytes) -> None:
        if not self._settings.directory:
            return
        queue = self._queues.get(source) or self._queues.setdefault(source, ByteQueue(QUEUE_BYTES))
        queue.put(data)
        self._wake.set()

    def close(self, timeout: float = 1.0) -> bool:
        """Write what waits, as far as the disk lets us within `timeout`. True when everything got out."""
        self._closing.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout)
        return self._thread is None or not (self._thread.is_alive() or self._is_failing)

    # --- thread log-files

    def _run(self) -> None:
        while not self._closing.is_set():
            self._wake.wait()
            self._wake.clear()
            try:
                self._write_all()
                self._tell_recovery()
                self._closing.wait(self._gather_pause)
            except OSError as error:
                self._tell_failure(error)
                self._wake.set()
                self._closing.wait(self._retry_pause)
        # Whatever came during the last pause.
        try:
            self._write_all()
        except OSError as error:
            self._tell_failure(error)

    def _write_all(self) -> None:
        """OSError when a file could not be written; the others have been then."""
        failure = None
        for source, queue in list(self._queues.items()):
            data = self._unwritten.pop(source, b"") or queue.get(0.0) or b""
            try:
                while data:
                    # order: looked up after the bytes were taken, so what came after a reload goes to the new folder.
                    settings = self._settings
                    if not settings.directory:
                        break
                    data = data[_append(Path(settings.directory, file_name(source)), data, settings):] \
                        or queue.get(0.0) or b""
            except OSError as error:
                self._unwritten[source] = data
                failure = error
        if failure is not None:
            raise failure

    def _tell_failure(self, error: OSError) -> None:
        if not self._is_failing:
            log.warning("cannot write log files: %s; trying again every %.0f s", error, self._retry_pause)
        self._is_failing = True

    def _tell_recovery(self) -> None:
        if self._is_failing:
            log.warning("log files are written again; %d bytes were lost", self.dropped)
        self._is_failing = False


def file_name(source: str) -> str:
    """Of a model, or of our own log when it is empty. Two models never share one, and none leads out of the folder."""
    if not source:
        return PROXY
    name = quote(source, safe="", errors="surrogateescape")
    if len(name) > MAX_NAME:
        name = f"{name[:MAX_NAME]}~{zlib.crc32(name.encode()):08x}"
    if f"{name}.log" == PROXY or name.startswith("."):
        name = f"%{ord(name[0]):02X}{name[1:]}"
    return f"{name}.log"


def _append(path: Path, data: bytes, settings: LogFileSettings) -> int:
    """Write as much as this file takes, and make room for the rest; the bytes written."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
    try:
        size = os.fstat(fd).st_size
        room = max(0, settings.max_bytes - size)
        count = len(data)
        if count > room:
            # In the middle of a line only when a whole file is too small for it.
            count = data.rfind(b"\n", 0, room) + 1 or (room if not size else 0)
        # A disk that fills up takes less than it was given, and fails at the next try.
        written = os.write(fd, data[:count]) if count else 0
    finally:
        os.close(fd)
    if written == count < len(data):
        _rotate(path, settings.keep)
    return written


def _rotate(path: Path, keep: int) -> None:
    """x.log becomes x.log.1, that one x.log.2, and so on; the last one goes."""
    for number in range(keep, 0, -1):
        older = path if number == 1 else path.with_name(f"{path.name}.{number - 1}")
        if older.exists():
            os.replace(older, path.with_name(f"{path.name}.{number}"))
    if not keep:
        path.unlink()
