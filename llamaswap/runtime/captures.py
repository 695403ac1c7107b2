"""What was said: headers and bodies of the last requests, compressed, in memory only.

Written by the recorder's thread, read by any. A request is kept as it is until there is time to make a capture of it
and compress that, so a burst is not slowed down; the limit counts the bytes that are really held, in either form.
"""
from __future__ import annotations

import base64
import json
import re
import threading
import time
import zlib
from collections import OrderedDict
from typing import Any, Collection, Dict, List, NamedTuple, Optional, Sequence, Tuple

from llamaswap.core.headers import Headers
from llamaswap.runtime.inflight import Visit
from llamaswap.runtime.logformat import RFC3339_NANO, format_time

HIDDEN = "[REDACTED]"
LEVEL = 1                     # of zlib: event streams shrink to a tenth, at 100 MB/s
OVERHEAD_BYTES = 400          # of one capture: the objects around its bytes
MOST_UNPACKED = 8 << 20       # of an answer that came compressed
MOST_COUNTED = 64 << 20
UNPACKED_AT_ONCE = 1 << 20
VISIT_BYTES = 6000            # of a request as it is: its headers and all that hangs on it (measured: 3,500 to 5,500)
# Request headers that say nothing in confidence. All others are shown by name only.
_HARMLESS = re.compile(
    r"(?:accept(?:-.*)?|anthropic-(?:version|beta|dangerous.*)|cache-control|connection|content-(?:encoding|language|"
    r"length|type)|date|dnt|host|http-referer|if-(?:modified-since|none-match)|openai-(?:beta|organization|project)|"
    r"origin|pragma|priority|range|referer|sec-.*|te|transfer-encoding|traceparent|tracestate|upgrade.*|user-agent|"
    r"via|x-forwarded-(?:for|host|proto)|x-llamaswap-.*|x-real-ip|x-request-id|x-requested-with|x-stainless-.*|"
    r"x-title|x-(?:[a-z]+-)?session-id)\Z")
_SECRET = re.compile(r"auth|cookie|key|token|secret|password|credential|signature")
# Bodies that nobody reads as text. The answers of these paths are JSON around a picture.
_BINARY = re.compile(r"(?:audio|image|video|font)/|application/(?:octet-stream|zip|pdf|x-tar|gzip)", re.IGNORECASE)
_PICTURES = re.compile(r"/(?:images/(?:generations|edits|variations)|sdapi/v1/(?:txt2img|img2img))\Z")
_UPLOADS = re.compile(r"/(?:audio/(?:transcriptions|translations|voices)|images/edits|sdapi/v1/img2img)\Z")

Fields = List[List[str]]


class Capture(NamedTuple):
    """`…_total` is the size of the whole body, of which a part may have been kept."""

    path: str
    req_headers: Fields
    req_body: Optional[bytes]
    req_total: int
    resp_headers: Fields
    resp_body: Optional[bytes]
    resp_total: int


class Captures:
    def __init__(self, max_bytes: int, *, shown: Collection[str]) -> None:
        """`shown`: more request headers that may be read, by lower-case name (those that carry the session)."""
        self._lock = threading.Lock()     # guards everything below; leaf
        self._max_bytes = max_bytes
        self.shown = shown
        self._kept: OrderedDict[int, Any] = OrderedDict()     # a Visit, or what _pack() made of it
        self._raw: OrderedDict[int, None] = OrderedDict()     # which are not compressed yet, oldest first
        self._bytes = 0

    def __repr__(self) -> str:
        return f"Captures({len(self._kept)} kept, {self._bytes} of {self._max_bytes} bytes)"

    def __contains__(self, number: int) -> bool:
        return number in self._kept

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def is_on(self) -> bool:
        return self._max_bytes > 0

    @property
    def held_bytes(self) -> int:
        return self._bytes

    def has_raw(self) -> bool:
        return bool(self._raw)

    def resize(self, max_bytes: int, *, shown: Collection[str]) -> None:
        """After a reload. What is kept stays, as far as there is room."""
        with self._lock:
            self._max_bytes, self.shown = max_bytes, shown
            self._evict_locked(max_bytes)

    def clear(self) -> None:
        """Their numbers mean other requests from now on."""
        with self._lock:
            self._evict_locked(-1)

    def add(self, visits: Sequence[Visit]) -> None:
        """They have ended, oldest first, and stay as they are."""
        if not self._max_bytes:
            return
        chosen, needed = [], 0
        for visit in reversed(visits):
            size = _size_of(visit)
            if size > self._max_bytes:
                continue
            if needed + size > self._max_bytes:      # it and those before it would leave again at once
                break
            needed += size
            chosen.append(visit)
        with self._lock:
            self._evict_locked(self._max_bytes - needed)
            for visit in reversed(chosen):
                self._kept[visit.id] = visit
                self._raw[visit.id] = None
            self._bytes += needed

    def squeeze(self, most: int) -> None:
        """Compress the oldest of those that are not yet; called when there is time."""
        for _ in range(most):
            with self._lock:
                number = next(iter(self._raw), None)
                if number is None:
                    return
                del self._raw[number]
                visit = self._kept[number]
            packed = _pack(capture_of(visit, self.shown))
            with self._lock:
                # It may have been evicted meanwhile.
                if self._kept.get(number) is visit:
                    self._kept[number] = packed
                    self._bytes -= _size_of(visit) - _size_of(packed)

    def get(self, number: int) -> Optional[Dict[str, Any]]:
        """As JSON has it, bodies in base64."""
        with self._lock:
            kept = self._kept.get(number)
        if kept is None:
            return None
        capture = _unpack(kept) if isinstance(kept, bytes) else capture_of(kept, self.shown)
        return {
            "id": number, "req_path": capture.path, "req_headers": _joined(capture.req_headers),
            "req_body": _text(capture.req_body), "resp_headers": _joined(capture.resp_headers),
            "resp_body": _text(capture.resp_body), "req_bytes": capture.req_total, "resp_bytes": capture.resp_total,
            "req_truncated": _is_cut(capture.req_body, capture.req_total),
            "resp_truncated": _is_cut(capture.resp_body, capture.resp_total),
        }

    def _evict_locked(self, limit: int) -> None:
        while self._bytes > limit and self._kept:
            number, kept = self._kept.popitem(last=False)
            self._raw.pop(number, None)
            self._bytes -= _size_of(kept)


def _size_of(kept: Any) -> int:
    if isinstance(kept, bytes):
        return OVERHEAD_BYTES + len(kept)
    return VISIT_BYTES + len(kept.body or b"") + int(kept.collector.held_bytes)


def peer_entry(visit: Visit, shown: Collection[str]) -> Dict[str, Any]:
    """A request under way in llama-swap's shape, with no more of its headers than a capture shows."""
    entry: Dict[str, Any] = {
        "id": str(visit.id), "timestamp": format_time(RFC3339_NANO, visit.at_epoch), "model": visit.model,
        "req_path": visit.path, "method": visit.request.method,
        "req_headers": _joined(_shown_fields(visit.request.headers, shown)), "remote_ip": visit.request.client_ip,
        "resp_headers": _joined(_answer_fields(visit.response_headers or Headers([]))),
        "resp_bytes": visit.collector.total, "elapsed_ms": round((time.monotonic() - visit.at) * 1000)}
    if visit.metadata:
        entry["metadata"] = dict(visit.metadata)
    return entry


def capture_of(visit: Visit, shown: Collection[str]) -> Capture:
    request, headers = visit.request, visit.response_headers or Headers([])
    body = visit.body
    sent = body
    if body is not None and (_UPLOADS.search(visit.path) or _is_binary(request.headers) or _has_file(request, body)):
        sent = None
    total, got, decoded = visit.collector.total, None, None
    if not (_PICTURES.search(visit.path) or _is_binary(headers)):
        decoded = _decoded(visit.collector.head, headers.get("content-encoding") or "", visit.collector.is_whole)
    if decoded is not None:
        got, size = decoded
        total = size if visit.collector.is_whole else total
    fields = _shown_fields(request.headers, shown)
    came = max(visit.req_bytes, len(body or b""))
    return Capture(visit.path, fields, sent, came, _answer_fields(headers), got, total)


def _shown_fields(headers: Headers, shown: Collection[str]) -> Fields:
    return [[name, value if _HARMLESS.match(name.lower()) or name.lower() in shown else HIDDEN]
            for name, value in headers]


def _answer_fields(headers: Headers) -> Fields:
    """Framing and coding are those of the way, not of what is shown."""
    return [[name, HIDDEN if _SECRET.search(name.lower()) else value] for name, value in headers
            if name.lower() not in ("content-encoding", "content-length", "transfer-encoding")]


def _is_binary(headers: Headers) -> bool:
    return bool(_BINARY.match(headers.get("content-type") or ""))


def _has_file(request: Any, body: bytes) -> bool:
    """A form with an upload in it, whatever its path."""
    content_type = request.headers.get("content-type") or ""
    return content_type.lower().startswith("multipart/") and b"filename=" in body


def _decoded(body: bytes, encoding: str, is_whole: bool) -> Optional[Tuple[bytes, int]]:
    """What is kept of it, and the size of all."""
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return body, len(body)
    if encoding not in ("gzip", "x-gzip", "deflate") or not is_whole:
        return None
    for window in (47, -15):      # with any header, then without one
        try:
            return _unpacked(body, window)
        except zlib.error:
            continue
    return None


def _unpacked(packed: bytes, window: int) -> Tuple[bytes, int]:
    """A small body may unpack to gigabytes: beyond MOST_UNPACKED it is only counted, and beyond MOST_COUNTED not even
    that."""
    kept, total = bytearray(), 0
    unpacker = zlib.decompressobj(window)
    while total < MOST_COUNTED:
        piece = unpacker.decompress(packed, UNPACKED_AT_ONCE)
        packed = unpacker.unconsumed_tail
        total += len(piece)
        kept += piece[:MOST_UNPACKED - len(kept)]
        if unpacker.eof or not (piece or packed):
            break
    return bytes(kept), total


def _pack(capture: Capture) -> bytes:
    bodies = (capture.req_body, capture.resp_body)
    head = json.dumps([*capture[:2], capture.req_total, capture.resp_headers, capture.resp_total,
                       *(None if body is None else len(body) for body in bodies)]).encode("ascii")
    return zlib.compress(head + b"\n" + b"".join(body or b"" for body in bodies), LEVEL)


def _unpack(packed: bytes) -> Capture:
    head, _, rest = zlib.decompress(packed).partition(b"\n")
    path, req_headers, req_total, resp_headers, resp_total, req_size, resp_size = json.loads(head)
    sent = None if req_size is None else rest[:req_size]
    got = None if resp_size is None else rest[req_size or 0:]
    return Capture(path, req_headers, sent, req_total, resp_headers, got, resp_total)


def _joined(fields: Fields) -> Dict[str, str]:
    """Repeated fields in one, as HTTP allows."""
    found: Dict[str, str] = {}
    for name, value in fields:
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def _text(body: Optional[bytes]) -> Optional[str]:
    return None if body is None else base64.b64encode(body).decode("ascii")


def _is_cut(body: Optional[bytes], total: int) -> bool:
    return body is not None and len(body) < total
