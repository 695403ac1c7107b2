"""Logs as events: what came since the last look, ten times a second, once for everybody who follows.

Pulled, not pushed: those who write lines pay nothing for those who read them, and there is a thread only while somebody
follows a log. What is lost on the way (a ring that was overwritten between two looks, more than a frame holds) is told
to the readers as a number of lines and counted; it is never logged, or a flood would feed itself.
"""
from __future__ import annotations

import codecs
import threading
from typing import Dict, List, Optional, Tuple

from llamaswap.runtime.events import LOG, Data, EventHub
from llamaswap.runtime.logs import LogBook, LogRing
from llamaswap.runtime.threads import spawn

TICK = 0.1
FRAME_BYTES = 64 * 1024


class Cursor:
    """How far one log has been told. A character that is split between two looks waits for its other half."""

    def __init__(self, ring: LogRing) -> None:
        self._ring = ring
        self._place = ring.end()
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._decoder.decode(ring.between(self._place.offset - 3, self._place.offset).lstrip(_CONTINUATION))
        self._is_line_start = ring.between(self._place.offset - 1, self._place.offset) in (b"", b"\n")

    def news(self) -> Optional[Data]:
        news = self._ring.read_since(self._place)
        self._place = news.place
        data, lost = _newest(news.data)
        gap = lost + news.lost_lines
        is_cut = len(data) < len(news.data) or news.lost_bytes > 0
        if is_cut:
            self._decoder.reset()
            data = data.lstrip(_CONTINUATION)
            gap = max(gap, 1)
        if not data:
            return None
        text = self._decoder.decode(data)
        if is_cut and not self._is_line_start:
            text = "\n" + text          # the rest of the line before is gone
        self._is_line_start = data.endswith(b"\n")
        return {"text": text, "reset": False, "gap": gap} if text else None

    def history(self) -> List[Data]:
        """Up to what has been told and not further, in as many frames as it takes."""
        data = self._ring.between(0, self._place.offset).lstrip(_CONTINUATION)
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        pieces = [decoder.decode(data[begin:begin + FRAME_BYTES]) for begin in range(0, len(data), FRAME_BYTES)] or [""]
        return [{"text": text, "reset": not index, "gap": 0} for index, text in enumerate(pieces)]


class LogFeed:
    """`log:all`, `log:proxy`, `log:upstream` and `log:<model>`. Who lets people ask has seen to it that the model
    exists: its ring is made here when it has not said anything yet.

    `_lock` makes what is told and what a newcomer gets as history meet exactly; below it the rings' and the hub's.
    """

    def __init__(self, logs: LogBook, hub: EventHub, *, tick: float = TICK) -> None:
        self.dropped_lines = 0
        self._logs = logs
        self._hub = hub
        self._tick = tick
        self._lock = threading.Lock()
        self._cursors: Dict[str, Cursor] = {}
        self._thread: Optional[threading.Thread] = None
        self._closing = threading.Event()
        hub.provide_logs(self._snapshot)

    def __repr__(self) -> str:
        return f"LogFeed({sorted(self._cursors)}, dropped_lines={self.dropped_lines})"

    def close(self) -> None:
        self._closing.set()
        with self._lock:
            thread = self._thread
        if thread is not None:
            thread.join(2.0)

    def _snapshot(self, topic: str) -> Tuple[List[Data], int]:
        with self._lock:
            cursor = self._cursors.get(topic)
            if cursor is None:
                cursor = self._cursors[topic] = Cursor(self._ring(topic))
            if self._thread is None and not self._closing.is_set():
                self._thread = spawn("log-feed", self._run)
            return cursor.history(), self._hub.mark()

    def _ring(self, topic: str) -> LogRing:
        name, logs = topic[len(LOG):], self._logs
        fixed = {"all": logs.everything, "proxy": logs.proxy, "upstream": logs.upstream}
        return fixed.get(name) or logs.model(name)

    def _run(self) -> None:
        while not self._closing.wait(self._tick):
            with self._lock:
                if not self._tell(self._hub.log_topics()):
                    # order: inside the lock, where a newcomer looks whether there is a thread.
                    self._thread = None
                    return

    def _tell(self, wanted: List[str]) -> bool:
        """False when nobody wants to know any more."""
        for topic in set(self._cursors) - set(wanted):
            del self._cursors[topic]
        for topic, cursor in self._cursors.items():
            news = cursor.news()
            if news is not None:
                self.dropped_lines += news["gap"]
                self._hub.publish(topic, news)
        return bool(wanted)


_CONTINUATION = bytes(range(0x80, 0xC0))       # no character begins with one of these


def _newest(data: bytes) -> Tuple[bytes, int]:
    """What fits into a frame, from a line start on where there is one, and the number of lines that do not."""
    excess = len(data) - FRAME_BYTES
    if excess <= 0:
        return data, 0
    line_end = data.find(b"\n", excess - 1, -1)
    cut = line_end + 1 if line_end >= 0 else excess
    return data[cut:], data.count(b"\n", 0, cut)
