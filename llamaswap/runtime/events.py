"""Publish and subscribe, for the pages that show what is going on.

A publisher changes its own state first and publishes afterwards; it never waits, and with nobody following it pays for
a dict lookup. What it publishes is data, or a function that makes the data: made and encoded once for everybody, by the
first follower that needs it.

A follower gets a snapshot of each topic and then what happens. It registers first, the number of the newest event is
read, the snapshot is made, and queued events up to that number are thrown away: whatever they told is in the snapshot,
and whatever came later is still in the queue. A follower that is too slow loses its oldest events, is told so, and gets
fresh snapshots of the topics it missed something of.

Topics that begin with `log:` are text: never replayed, bounded by size, and their losses are counted in lines.
"""
from __future__ import annotations

import json
import math
import secrets
import threading
import time
from collections import deque
from typing import Any, Callable, Deque, Dict, Iterable, List, Mapping, Optional, Tuple, Union

Data = Mapping[str, Any]
Source = Union[Data, Callable[[], Data]]
LogSnapshot = Callable[[str], Tuple[List[Data], int]]

MAX_EVENTS = 1024              # a follower that has more waiting for it loses the oldest
MAX_TEXT = 1024 * 1024         # characters of logs among them
LOG = "log:"
NOTHING = 0                    # an id that says: nothing has been delivered completely yet
_FIRST = 1


class Event:
    """One message. `seq` is what a client names to go on from here, `size` the characters of a log and `lines` what
    somebody misses who misses them."""

    __slots__ = ("_data", "_forms", "_lock", "_source", "is_snapshot", "lines", "seq", "size", "topic")

    def __init__(self, seq: int, topic: str, source: Source, *, is_snapshot: bool = False) -> None:
        self.seq = seq
        self.topic = topic
        self.size = self.lines = 0
        self.is_snapshot = is_snapshot
        self._source = source
        self._data: Optional[Data] = None
        self._forms: Dict[str, bytes] = {}
        # Held while data or form is made, so that each is made once. Publishers never take it.
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"Event({self.seq}, {self.topic!r})"

    def data(self) -> Data:
        with self._lock:
            if self._data is None:
                self._data = self._source() if callable(self._source) else self._source
            return self._data

    def form(self, name: str, make: Callable[[Data], bytes]) -> bytes:
        """The bytes that everybody who speaks the protocol of that name is sent."""
        data = self.data()
        with self._lock:
            found = self._forms.get(name)
            if found is None:
                found = self._forms[name] = make(data)
            return found

    def body(self) -> bytes:
        """The lines of an event stream that are the same for everybody."""
        return self.form("", self._encode)

    def _encode(self, data: Data) -> bytes:
        topic = " ".join(self.topic.splitlines())
        return b"event: %b\ndata: %b\n\n" % (topic.encode("utf-8", "replace"), encode(data))


class EventHub:
    """`_lock` is a leaf but for the followers' own, which are taken below it: it puts all events into one order."""

    def __init__(self, *, replay: int = 1024) -> None:
        self.run = secrets.token_hex(4)
        self.seq = _FIRST                       # of the newest event
        self.dropped = 0
        self._max_replay = replay
        self._lock = threading.Lock()
        self._ring: Deque[Event] = deque()
        self._forgotten = _FIRST                # of the newest event that can no longer be replayed
        self._snapshots: Dict[str, Callable[[], Data]] = {}
        self._log_snapshot: Optional[LogSnapshot] = None
        self._followers: Dict[str, Tuple[Subscriber, ...]] = {}      # by topic
        self.subscribers = 0
        self._was_followed = False

    def __repr__(self) -> str:
        return f"EventHub(seq={self.seq}, {self.subscribers} subscribers, dropped={self.dropped})"

    # --- publishers

    def provide(self, topic: str, snapshot: Callable[[], Data]) -> None:
        """How the first message of a topic is made, in the thread of whoever follows."""
        self._snapshots[topic] = snapshot

    def provide_logs(self, snapshot: LogSnapshot) -> None:
        """The same for every `log:` topic; it also gives the number of the newest event that its text contains."""
        self._log_snapshot = snapshot

    def wants(self, topic: str) -> bool:
        """Whether anybody follows, so that a publisher can spare itself the work."""
        return topic in self._followers

    @property
    def topics(self) -> List[str]:
        """Those that are not logs."""
        return list(self._snapshots)

    def log_topics(self) -> List[str]:
        """Those that somebody follows."""
        return [topic for topic in list(self._followers) if topic.startswith(LOG)]

    def publish(self, topic: str, source: Source) -> None:
        """`source` is data that nobody changes any more, or a function that makes it, then or later or never."""
        # Nobody can ask for a replay of what was before the first follower came.
        if topic not in self._followers and (not self._was_followed or topic.startswith(LOG)):
            return
        event = Event(NOTHING, topic, source)
        is_log = topic.startswith(LOG)
        if is_log and not callable(source):
            event.size, event.lines = len(source["text"]), source["text"].count("\n") + source["gap"]
        with self._lock:
            self.seq += 1
            event.seq = self.seq
            if not is_log:
                self._remember(event)
            for follower in self._followers.get(topic, ()):
                self.dropped += follower.put(event)

    def _remember(self, event: Event) -> None:
        self._ring.append(event)
        if len(self._ring) > self._max_replay:
            self._forgotten = self._ring.popleft().seq

    # --- followers

    def subscribe(self, topics: Iterable[str], *, last_id: Optional[str] = None) -> Subscriber:
        """Follow these topics; with `last_id`, from there on if that is still possible. Close it after use."""
        wanted = tuple(dict.fromkeys(topics))
        with self._lock:
            self._was_followed = True
            since = self._parse(last_id)
            missed = [event for event in self._ring if event.topic in wanted and event.seq > since] if since else []
            stale = [topic for topic in wanted if topic.startswith(LOG) or not since]
            subscriber = Subscriber(self, wanted, stale=stale, missed=missed, since=since)
            for topic in wanted:
                self._followers[topic] = (*self._followers.get(topic, ()), subscriber)
            self.subscribers += 1
        return subscriber

    def unsubscribe(self, subscriber: Subscriber) -> None:
        with self._lock:
            found = False
            for topic in subscriber.topics:
                before = self._followers.get(topic, ())
                left = tuple(one for one in before if one is not subscriber)
                found = found or len(left) < len(before)
                if left:
                    self._followers[topic] = left
                else:
                    self._followers.pop(topic, None)
            self.subscribers -= found

    def mark(self) -> int:
        """The newest event that all its followers have in their queues."""
        with self._lock:
            return self.seq

    def snapshot(self, topic: str, seq: int) -> Tuple[List[Event], int]:
        """Messages that replace everything known about the topic, and the newest event they contain."""
        if topic.startswith(LOG):
            if self._log_snapshot is None:
                return [], self.mark()
            texts, mark = self._log_snapshot(topic)
            return [Event(seq, topic, text, is_snapshot=True) for text in texts], mark
        # order: the number before the state, so that a change in between is seen twice and never lost.
        mark = self.mark()
        provider = self._snapshots.get(topic)
        return ([Event(seq, topic, provider, is_snapshot=True)] if provider is not None else []), mark

    def _parse(self, last_id: Optional[str]) -> int:
        """The event to go on after; NOTHING when it is unknown or too long ago. The lock is held."""
        run, _, number = (last_id or "").partition("-")
        if run != self.run or not (number.isascii() and number.isdigit()):
            return NOTHING
        seq = int(number[:20])
        return seq if self._forgotten <= seq <= self.seq else NOTHING


class Subscriber:
    """One follower. `take` and `get` are for its own thread, `put` for the hub, `close` for anybody."""

    def __init__(self, hub: EventHub, topics: Tuple[str, ...], *, stale: List[str], missed: List[Event],
                 since: int) -> None:
        self.topics = topics
        self.delivered = since                  # everything up to here has been taken
        self._hub = hub
        self._changed = threading.Condition(threading.Lock())
        self._queue: Deque[Event] = deque(missed)
        self._text = 0
        self._stale = stale
        self._lost: Dict[str, int] = {}         # topic → events
        self._lost_lines: Dict[str, int] = {}
        self._is_closed = False

    def __repr__(self) -> str:
        return f"Subscriber({', '.join(self.topics)}; {len(self._queue)} waiting)"

    def put(self, event: Event) -> int:
        """How many older ones had to go for it."""
        with self._changed:
            self._queue.append(event)
            self._text += event.size
            lost = 0
            while len(self._queue) > MAX_EVENTS or self._text > MAX_TEXT:
                has_room = len(self._queue) <= MAX_EVENTS
                self._lose(next(index for index, each in enumerate(self._queue) if each.size) if has_room else 0)
                lost += 1
            self._changed.notify()
        return lost

    def take(self, timeout: Optional[float] = None) -> Optional[List[Event]]:
        """Everything that waits, snapshots first; [] when the time is up, None once closed."""
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            while not (self._queue or self._stale or self._is_closed):
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    return []
                self._changed.wait(left)
            if self._is_closed:
                return None
            stale, self._stale = self._stale, []
            first = self._tell_losses(stale)
        marks = {}
        for topic in stale:
            made, marks[topic] = self._hub.snapshot(topic, self.delivered)
            first.extend(made)
        with self._changed:
            rest = [event for event in self._queue if event.seq > marks.get(event.topic, 0)]
            self._queue.clear()
            self._text = 0
        if marks:
            # Only with the last snapshot has everything up to some number arrived: a client that was cut off in
            # between and names what it saw last must not miss the others.
            self.delivered = max(self.delivered, min([*marks.values(), *(event.seq - 1 for event in rest[:1])]))
            if first:
                first[-1].seq = self.delivered
        if rest:
            self.delivered = rest[-1].seq
        return first + rest

    def get(self, timeout: Optional[float] = None) -> Optional[List[bytes]]:
        """The same as frames of an event stream."""
        events = self.take(timeout)
        return None if events is None else [self._frame(event) for event in events]

    def frame(self, name: str, data: Data) -> bytes:
        """A message for this follower alone, at the place it has come to."""
        return self._frame(Event(self.delivered, name, data))

    def close(self) -> None:
        self._hub.unsubscribe(self)
        with self._changed:
            self._is_closed = True
            self._queue.clear()
            self._changed.notify_all()

    def _frame(self, event: Event) -> bytes:
        return b"id: %b-%d\n" % (self._hub.run.encode(), event.seq) + event.body()

    def _lose(self, index: int) -> None:
        event = self._queue[index]
        del self._queue[index]
        self._text -= event.size
        topic = event.topic
        self._lost[topic] = self._lost.get(topic, 0) + 1
        if topic.startswith(LOG):
            self._lost_lines[topic] = self._lost_lines.get(topic, 0) + event.lines
        elif topic not in self._stale:
            self._stale.append(topic)

    def _tell_losses(self, stale: List[str]) -> List[Event]:
        lost, self._lost = self._lost, {}
        lines, self._lost_lines = self._lost_lines, {}
        if not lost:
            return []
        gap = {"topics": sorted(lost), "dropped": sum(lost.values())}
        return [Event(self.delivered, "gap", gap),
                *(Event(self.delivered, topic, {"text": "", "reset": False, "gap": count})
                  for topic, count in lines.items() if topic not in stale)]


def encode(data: Any) -> bytes:
    """Compact JSON. A number that JSON cannot say is unknown, so it becomes null and costs nobody the stream."""
    try:
        text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except ValueError:
        text = json.dumps(_finite(data), ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "replace")


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(each) for key, each in value.items()}
    return [_finite(each) for each in value] if isinstance(value, (list, tuple)) else value
