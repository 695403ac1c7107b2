"""GET /api/events: what happens, as it happens.

One handler and two protocols: ours with `?topics=`, and without it the one that clients of llama-swap speak, made from
the same events. A stream is a thread of the server; it sends what has gathered, looks twice a second whether its reader
is still there, and shows every two seconds that it is.
"""
from __future__ import annotations

import json
import time
from typing import Any, Callable, Dict, Iterator, List, Optional
from urllib.parse import parse_qs, unquote_plus

from llamaswap.core.faults import ClientFault
from llamaswap.core.messages import Fields, Request, Response
from llamaswap.runtime.events import LOG, Data, Event, EventHub, Subscriber

BEAT = 2.0
LOOK = 0.4
# Events that come together travel together. Longer than the tick of the log feed: readers of a flood then look each at
# their own moment, where fifty that all wake at the tick would be fifty in the way of requests.
GATHER = 0.125
MAX_TOPICS = 64
FIXED_LOGS = ("all", "proxy", "upstream")
PEER_TOPICS = ("log:proxy", "log:upstream", "models", "profile", "requests")      # in the order in which it tells them

View = Dict[str, Any]


class Feed:
    """`hello` begins every stream of ours; `is_model` knows whose logs can be followed. The others give llama-swap's
    shapes: of its models, of what its pages are told, of requests under way."""

    def __init__(self, hub: EventHub, *, hello: Callable[[], View], is_model: Callable[[str], bool],
                 ui_config: Callable[[], View], peer_models: Callable[[], List[View]],
                 peer_inflight: Callable[[], List[View]], peer_entry: Callable[[int], Optional[View]],
                 is_ending: Callable[[], bool]) -> None:
        self._hub = hub
        self._hello = hello
        self._is_model = is_model
        self._ui_config = ui_config
        self._peer_models = peer_models
        self._peer_inflight = peer_inflight
        self._peer_entry = peer_entry
        self._is_ending = is_ending
        self._models = (0, b"")                 # the newest event it contains, and the message

    def events(self, request: Request, rest: str) -> Response:
        topics = self._topics(request.query)
        if request.method == "HEAD":
            return Response(200, _headers(), iter(()))
        if topics is None:
            subscriber = self._hub.subscribe(PEER_TOPICS)
            stream = self._peer_stream(request, subscriber)
        else:
            subscriber = self._hub.subscribe(topics, last_id=_last_id(request))
            stream = self._stream(request, subscriber)
        return Response(200, _headers(), stream, on_close=subscriber.close, is_watching=True)

    # --- which topics

    def _topics(self, query: str) -> Optional[List[str]]:
        """None without the parameter. Commas separate; in the name of a model they may be escaped."""
        values = [value for name, _, value in (part.partition("=") for part in query.split("&"))
                  if unquote_plus(name) == "topics"]
        if not values:
            return None
        topics: List[str] = []
        for name in (unquote_plus(part, errors="surrogateescape") for value in values for part in value.split(",")):
            # Some escape the whole list, commas and all.
            topics.extend(filter(None, [name] if self._is_topic(name) else name.split(",")))
        for name in topics:
            if not self._is_topic(name):
                raise ClientFault(f'there is no topic "{name}"; there are {", ".join(self._hub.topics)}, '
                                  "log:all, log:proxy, log:upstream and log:<model>", code="unknown_topic")
        if not 0 < len(topics) <= MAX_TOPICS:
            raise ClientFault(f"topics: between 1 and {MAX_TOPICS} of them")
        return topics

    def _is_topic(self, name: str) -> bool:
        if not name.startswith(LOG):
            return name in self._hub.topics
        return name[len(LOG):] in FIXED_LOGS or self._is_model(name[len(LOG):])

    # --- our protocol

    def _stream(self, request: Request, subscriber: Subscriber) -> Iterator[bytes]:
        yield subscriber.frame("hello", {"run": self._hub.run, "now": round(time.time(), 3),
                                         "topics": list(subscriber.topics), **self._hello()})
        yield from self._follow(request, lambda: subscriber.get(LOOK))

    def _follow(self, request: Request, get: Callable[[], Optional[List[bytes]]]) -> Iterator[bytes]:
        """What `get` gives until there is nobody to give it to, with a sign of life from time to time."""
        beat_at = time.monotonic() + BEAT
        while not (self._is_ending() or request.connection.is_gone()):
            pieces = get()
            if pieces is None:
                return
            if time.monotonic() >= beat_at:
                beat_at = time.monotonic() + BEAT
                pieces.append(b": beat %d\n\n" % time.time())
            data = b"".join(pieces)
            if data:
                yield data
                time.sleep(GATHER)

    # --- llama-swap's

    def _peer_stream(self, request: Request, subscriber: Subscriber) -> Iterator[bytes]:
        told = _Told()

        def get() -> Optional[List[bytes]]:
            events = subscriber.take(LOOK)
            return None if events is None else [self._translated(event, told) for event in events]

        return self._follow(request, get)

    def _translated(self, event: Event, told: _Told) -> bytes:
        if event.topic == "models":
            return told.if_new(self._models_since(event))
        message = event.form("peer", lambda data: self._translate(event, data))
        if event.topic == "profile" and not event.is_snapshot:
            message += self._models_since(event)
        return message

    def _models_since(self, event: Event) -> bytes:
        """The list as it is after the event, made once for all who follow."""
        seq, message = self._models
        if event.is_snapshot or event.seq > seq:
            seq = self._hub.mark()
            message = _message("modelStatus", self._peer_models())
            self._models = (seq, message)
        return message

    def _translate(self, event: Event, data: Data) -> bytes:
        topic = event.topic
        if topic.startswith(LOG):
            return _message("logData", {"data": _with_gap(data), "source": topic[len(LOG):]})
        if topic == "profile":
            settings = _message("uiConfig", self._ui_config()) if event.is_snapshot else b""
            return settings + _message("profileChanged", {"active": data["active"]})
        return self._translate_request(data) if topic == "requests" else b""

    def _translate_request(self, data: Data) -> bytes:
        if data["op"] == "snapshot":
            return _inflight("snapshot", requests=self._peer_inflight())
        if data["op"] == "upsert":
            entry = self._peer_entry(data["request"]["id"])      # None: it has ended meanwhile
            return _inflight("upsert", request=entry) if entry is not None else b""
        numbers = [data["request"]["id"]] if data["op"] == "done" else data["ids"]
        return b"".join(_inflight("remove", id=str(each)) + _message("activity", {"id": each}) for each in numbers)


class _Told:
    """What one client of llama-swap's protocol has last been told of its models: its events change with every request,
    that list seldom."""

    def __init__(self) -> None:
        self._models = b""

    def if_new(self, models: bytes) -> bytes:
        if models == self._models:
            return b""
        self._models = models
        return models


def _headers() -> Fields:
    return [("Content-Type", "text/event-stream"), ("Cache-Control", "no-cache"),
            ("X-Content-Type-Options", "nosniff"), ("X-Accel-Buffering", "no")]


def _last_id(request: Request) -> Optional[str]:
    return request.headers.get("last-event-id") or parse_qs(request.query).get("last_event_id", [None])[-1]


def _with_gap(data: Data) -> str:
    return f"\u2014 {data['gap']} lines dropped \u2014\n{data['text']}" if data["gap"] else str(data["text"])


def _inflight(operation: str, **fields: Any) -> bytes:
    return _message("inflight", {"operation": operation, **fields})


def _message(kind: str, value: Any) -> bytes:
    return b"event:message\ndata:%b\n\n" % _json({"type": kind, "data": _json(value)}).encode("utf-8", "replace")


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
