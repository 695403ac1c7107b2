"""HTTP/1.1 heads and body framing for both roles, without I/O.

Strict on purpose. A proxy that guesses what a malformed message meant will one day guess differently from the server
behind it, and the difference is a smuggled request. So there is one accepted spelling of everything that decides
where a message ends: CRLF only, one digits-only Content-Length or one `chunked`, never both. Whatever h11 or waitress
refuses is refused here too (tests/http1/test_differential.py). The one exception to strictness is in answers: a
repeated, identical Content-Length.

A head is matched by a single compiled pattern, which is also its validation, then taken apart by a second one. Every
repeat in them is over a class that excludes what follows it, so a failing match backs out in linear time.
"""
from __future__ import annotations

import re
from dataclasses import dataclass
from typing import List, NamedTuple, Optional, Sequence, Tuple

from llamaswap.core.faults import ClientFault, Fault, UpstreamFault
from llamaswap.core.headers import Headers

# In place of a body length.
CHUNKED = -1
UNTIL_CLOSE = -2

MAX_SIZE_LINE = 280      # of a chunk, extension included
MAX_TRAILERS = 16384

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
_METHOD = rb"[!#$%&'*+\-.^_`|~0-9A-Z]"
_VALUE = rb"[^\x00-\x08\x0a-\x1f\x7f]"
_BLOCK = rb"((?:" + _TOKEN + rb"+:" + _VALUE + rb"*\r\n)*)\r\n"
_REQUEST_LINE = rb"(" + _METHOD + rb"{1,32}) ([\x21\x22\x24-\x7e]+) HTTP/1\.([01])\r\n"
_REQUEST = re.compile(_REQUEST_LINE + _BLOCK)
_RESPONSE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9][0-9])(?: (" + _VALUE + rb"*))?\r\n" + _BLOCK)
_FIELD = re.compile(r"([^:]+):[ \t]*([^\r\n]*)\r\n")
_FIELD_LINES = re.compile(_BLOCK)
_ONE_FIELD = re.compile(_TOKEN + rb"+:" + _VALUE + rb"*\r\n")
_FIRST_LINE = re.compile(_REQUEST_LINE)
_OTHER_VERSION = re.compile(rb"[^ \r\n]+ [^ \r\n]+ HTTP/[0-9.]+\r\n")
_ANSWER_START = b"HTTP/1."
_BARE = re.compile(rb"(?<!\r)\n|\r(?!\n)[\s\S]|\x00")
_ABSOLUTE = re.compile(r"https?://([^/?@]+)(/[^?]*)?(?:\?(.*))?", re.IGNORECASE)
_HOST = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=%\-]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?")
_DIGITS = re.compile(r"[0-9]{1,18}")
_NEXT_SIZE = re.compile(rb"\r\n([0-9A-Fa-f]{1,15})\r\n")
_QUOTED = rb"\"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t\x20-\x7e\x80-\xff])*\""
_EXTENSION = rb";" + _TOKEN + rb"+(?:=(?:" + _TOKEN + rb"+|" + _QUOTED + rb"))?"
_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:" + _EXTENSION + rb")*\r\n")
_FRAMING_TRAILER = re.compile(rb"(?:content-length|transfer-encoding|host|trailer):", re.IGNORECASE)
# What a size line that is not complete may look like, so that garbage is refused before its line ends.
_SIZE_START = re.compile(rb"(?:[0-9A-Fa-f]{1,15}(?:;[\t\x20-\x7e\x80-\xff]{0,256})?\r?)?")


@dataclass(frozen=True)
class Limits:
    """What a client may cost us. Seconds and bytes; 0 means no limit, for max_connections: derived from
    RLIMIT_NOFILE."""

    max_head_bytes: int = 65536
    max_target_bytes: int = 16384
    max_headers: int = 200
    max_connections: int = 0
    idle_timeout: float = 120.0      # between two requests, and before the first
    head_timeout: float = 20.0       # from the first byte of a head to its end
    body_timeout: float = 60.0       # without any byte of an announced body
    write_timeout: float = 120.0     # without any byte accepted by a client that should read
    handshake_timeout: float = 10.0


DEFAULT_LIMITS = Limits()


class RequestHead(NamedTuple):
    method: str
    target: str
    path: str
    query: str
    version: Tuple[int, int]
    headers: Headers
    length: int              # or CHUNKED
    keep_alive: bool
    expects_continue: bool


class ResponseHead(NamedTuple):
    status: int
    reason: str
    headers: Headers
    length: int              # or CHUNKED or UNTIL_CLOSE
    keep_alive: bool


def parse_request(data: bytes, limits: Limits) -> Optional[Tuple[RequestHead, int]]:
    """The head at the start of `data` and where it ends; None when it is not complete. ClientFault when it never can
    be."""
    match = _REQUEST.match(data)
    if match is None:
        if data.find(b"\r\n\r\n") >= 0:
            raise _request_fault(data)
        return None
    if match.end() > limits.max_head_bytes:
        raise _too_large()
    method, target, minor = match[1].decode("ascii"), match[2].decode("ascii"), match[3]
    if len(target) > limits.max_target_bytes:
        raise _target_too_long()
    headers = _headers(match[4])
    if len(headers.fields) > limits.max_headers:
        raise ClientFault("too many header fields", status=431, code="headers_too_large")
    is_new = minor == b"1"
    path, query = _split_target(method, target, headers)
    _check_host(headers, is_new)
    return RequestHead(method, target, path, query, (1, 1 if is_new else 0), headers, _request_length(headers, is_new),
                       _keeps_alive(headers, is_new), _expects_continue(headers, is_new)), match.end()


def parse_response(data: bytes, method: str, max_head_bytes: int) -> Optional[Tuple[ResponseHead, int]]:
    """As parse_request, for the answer to `method`; UpstreamFault when it is malformed."""
    match = _RESPONSE.match(data)
    if match is None:
        if data.find(b"\r\n\r\n") >= 0:
            raise bad_answer("a malformed answer")
        return None
    if match.end() > max_head_bytes:
        raise bad_answer("too large an answer head")
    headers = _headers(match[4])
    status, is_new = int(match[2]), match[1] == b"1"
    length = _response_length(headers, method, status, is_new)
    keep_alive = length != UNTIL_CLOSE and _keeps_alive(headers, is_new)
    return ResponseHead(status, (match[3] or b"").decode("latin-1"), headers, length, keep_alive), match.end()


class HeadBuffer:
    """Collects a head that did not come in one piece. Each byte is looked at once, whatever the size of the pieces: a
    client that drips must cost its own time only (test_a_dripped_head_costs_linear_time)."""

    def __init__(self, limits: Limits, *, is_request: bool = True) -> None:
        self._data = bytearray()
        self._limits = limits
        self._is_request = is_request
        self._line_seen = False

    def feed(self, piece: bytes) -> bool:
        """True when the head is complete and `data` can be parsed. Raises the fault of the sending side."""
        before = len(self._data)
        self._data += piece
        self._check_so_far(before)
        if self._data.find(b"\r\n\r\n", max(0, before - 3)) >= 0:
            return True
        if len(self._data) > self._limits.max_head_bytes:
            raise _too_large() if self._is_request else bad_answer("too large an answer head")
        return False

    @property
    def data(self) -> bytes:
        return bytes(self._data)

    def _check_so_far(self, before: int) -> None:
        """Refuse at once what would otherwise wait for its timeout, or for ever: TLS on a plain port, LF line ends, an
        endless target, an answer that is not HTTP."""
        end_of_head = self._data.find(b"\r\n\r\n", max(0, before - 3))
        bare = _BARE.search(self._data, max(0, before - 1), end_of_head if end_of_head >= 0 else len(self._data))
        if not self._is_request:
            if bare is not None or not _ANSWER_START.startswith(bytes(self._data[:7])):
                raise bad_answer("a malformed answer")
            return
        if bare is not None or not 0x20 < self._data[0] < 0x7f:
            raise ClientFault("malformed request")
        if self._line_seen:
            return
        end = self._data.find(b"\r\n", max(0, before - 1))
        if end < 0:
            if len(self._data) > self._limits.max_target_bytes + 64:
                raise _target_too_long()
            return
        self._line_seen = True
        if _FIRST_LINE.match(self._data) is None:
            raise _request_fault(bytes(self._data[:end + 2]))
        if end > self._limits.max_target_bytes + 64:
            raise _target_too_long()


def _headers(block: bytes) -> Headers:
    text = block.decode("latin-1")
    fields = _FIELD.findall(text)
    if " \r\n" in text or "\t\r\n" in text:
        fields = [(name, value.rstrip(" \t")) for name, value in fields]
    return Headers(fields)


def _too_large() -> ClientFault:
    return ClientFault("request header fields too large", status=431, code="headers_too_large")


def _target_too_long() -> ClientFault:
    return ClientFault("request target too long", status=414, code="uri_too_long")


def bad_answer(what: str) -> UpstreamFault:
    return UpstreamFault(f"the model server sent {what}", code="bad_upstream_answer")


def _request_fault(data: bytes) -> ClientFault:
    """Says which line is wrong, never what is in it: it may hold a key and ends up in logs."""
    if _FIRST_LINE.match(data) is None:
        if _OTHER_VERSION.match(data):
            return ClientFault("unsupported HTTP version or malformed request line")
        return ClientFault("malformed request line")
    for number, line in enumerate(data[:data.find(b"\r\n\r\n") + 2].split(b"\r\n")[1:-1], start=1):
        if not _ONE_FIELD.fullmatch(line + b"\r\n"):
            return ClientFault(f"malformed header field, line {number} after the request line")
    return ClientFault("malformed request")


def _split_target(method: str, target: str, headers: Headers) -> Tuple[str, str]:
    if target[0] == "/":
        path, _, query = target.partition("?")
        return path, query
    if method == "CONNECT" or (target == "*" and method == "OPTIONS"):
        return target, ""
    match = _ABSOLUTE.fullmatch(target)
    if match is None:
        raise ClientFault("malformed request target")
    # A server that trusts one of two different hosts and a proxy that trusts the other is how caches get poisoned.
    if match[1].lower() != (headers.get("host") or "").lower():
        raise ClientFault("the request target and Host disagree")
    return match[2] or "/", match[3] or ""


def _check_host(headers: Headers, is_new: bool) -> None:
    host = headers.get("host")
    if host is None:
        if is_new:
            raise ClientFault("missing Host header")
        return
    if _HOST.fullmatch(host) is None or (headers.has_repeats() and len(headers.get_all("host")) > 1):
        raise ClientFault("malformed or repeated Host header")


def _request_length(headers: Headers, is_new: bool) -> int:
    # Servers that keep headers as CGI variables cannot tell `-` from `_`: these two would frame the body for them only.
    if "content_length" in headers or "transfer_encoding" in headers:
        raise ClientFault("header field name with an underscore would pass for framing")
    coding, length = headers.get("transfer-encoding"), headers.get("content-length")
    if coding is not None:
        if length is not None:
            raise ClientFault("both Transfer-Encoding and Content-Length")
        if not is_new or len(headers.get_all("transfer-encoding")) > 1 or coding.lower() != "chunked":
            raise ClientFault("unsupported Transfer-Encoding")
        return CHUNKED
    if length is None:
        return 0
    if _DIGITS.fullmatch(length) is None or (headers.has_repeats() and len(headers.get_all("content-length")) > 1):
        raise ClientFault("malformed or repeated Content-Length")
    return int(length)


def _response_length(headers: Headers, method: str, status: int, is_new: bool) -> int:
    if status == 200 and method != "HEAD" and "transfer-encoding" not in headers and not headers.has_repeats():
        length = headers.get("content-length")
        if length is not None and _DIGITS.fullmatch(length):
            return int(length)
    coding, lengths = headers.get("transfer-encoding"), headers.get_all("content-length")
    if coding is not None and lengths:
        raise bad_answer("both Transfer-Encoding and Content-Length")
    if len(set(lengths)) > 1 or any(_DIGITS.fullmatch(length) is None for length in lengths):
        raise bad_answer("an unusable Content-Length")
    if coding is not None and (coding.lower() != "chunked" or not is_new
                               or len(headers.get_all("transfer-encoding")) > 1):
        raise bad_answer("an unsupported Transfer-Encoding")
    if method == "HEAD" or status < 200 or status in (204, 304):
        return 0
    if coding is not None:
        return CHUNKED
    return int(lengths[0]) if lengths else UNTIL_CLOSE


def _keeps_alive(headers: Headers, is_new: bool) -> bool:
    value = headers.get("connection")
    if value is None:
        return is_new
    if value == "keep-alive" and not headers.has_repeats():
        return True
    tokens = headers.tokens("connection")
    return "close" not in tokens and (is_new or "keep-alive" in tokens)


def _expects_continue(headers: Headers, is_new: bool) -> bool:
    expect = headers.get("expect")
    if expect is None or not is_new:
        return False
    if expect.lower() != "100-continue" or len(headers.get_all("expect")) > 1:
        raise ClientFault("unsupported Expect", status=417, code="expectation_failed")
    return True


_SIZE, _DATA, _DATA_END, _TRAILERS, _DONE = range(5)


class ChunkReader:
    """Follows a chunked body, for decoding it or for passing it on unchanged but validated.

    `feed` returns the bytes that may be passed on, framing included: `data` itself nearly always. A line that is not
    complete is held back, so whatever has been passed on ends inside chunk data (`left` bytes to go) or after a line.
    What follows the end of the body is in `rest`.
    """

    __slots__ = ("left", "payload_bytes", "rest", "_state", "_held", "_fault")

    def __init__(self, fault: Fault) -> None:
        """`fault` is raised when the framing is wrong: whose fault that is depends on the role."""
        self.left = 0
        self.payload_bytes = 0
        self.rest = b""
        self._state = _SIZE
        self._held = b""
        self._fault = fault

    @property
    def is_done(self) -> bool:
        return self._state == _DONE

    def feed(self, data: bytes, payload: Optional[List[bytes]] = None) -> bytes:
        """Pieces of decoded body are appended to `payload` when given."""
        if self._held:
            data, self._held = self._held + data, b""
        at, end = 0, len(data)
        while at < end:
            if self._state == _DATA:
                at = self._pass_data(data, at, end, payload)
            elif self._state == _SIZE:
                match = _SIZE_LINE.match(data, at, at + MAX_SIZE_LINE)
                if match is None:
                    return self._hold_size(data, at)
                at = match.end()
                self.left = int(match[1], 16)
                self._state = _DATA if self.left else _TRAILERS
            elif self._state == _DATA_END:
                if end - at < 2 and data[at] == 13:
                    self._held = data[at:]
                    return data[:at]
                if not data.startswith(b"\r\n", at):
                    raise self._fault
                at += 2
                self._state = _SIZE
            elif self._state == _TRAILERS:
                at = self._end_of_trailers(data, at)
                if at < 0:
                    return data[:end - len(self._held)]
            else:
                self.rest = data[at:]
                return data[:at]
        return data

    def interject(self, data: bytes) -> bytes:
        """`data` framed so that it can follow what was passed on last, in a body that will not be finished."""
        if self._state == _DATA:
            if len(data) < self.left:
                return data
            return data[:self.left] + b"\r\n" + (chunk(data[self.left:]) if len(data) > self.left else b"")
        if self._state in (_SIZE, _DATA_END):
            return (b"\r\n" if self._state == _DATA_END else b"") + chunk(data)
        return b""

    def _pass_data(self, data: bytes, at: int, end: int, payload: Optional[List[bytes]]) -> int:
        left = self.left
        while True:
            stop = at + left
            if stop > end:
                stop = end
            if payload is not None:
                payload.append(data[at:stop])
            left -= stop - at
            self.payload_bytes += stop - at
            # An unpaced stream brings hundreds of small chunks at once: stay here for as long as they are plain.
            following = None if left else _NEXT_SIZE.match(data, stop)
            if following is None:
                break
            left = int(following[1], 16)
            at = stop = following.end()
            if not left:
                self.left, self._state = 0, _TRAILERS
                return stop
            if at == end:
                break
        self.left = left
        if not left:
            self._state = _DATA_END
        return stop

    def _hold_size(self, data: bytes, at: int) -> bytes:
        self._held = data[at:]
        if _SIZE_START.fullmatch(self._held) is None:
            raise self._fault
        return data[:at]

    def _end_of_trailers(self, data: bytes, at: int) -> int:
        """Where the whole section ends, or -1 with the section held back."""
        match = _FIELD_LINES.match(data, at)
        if match is not None:
            if match.end() - at > MAX_TRAILERS or _FRAMING_TRAILER.search(data, at, match.end()):
                raise self._fault
            self._state = _DONE
            return match.end()
        if data.find(b"\r\n\r\n", at) >= 0 or len(data) - at > MAX_TRAILERS or _BARE.search(data, at):
            raise self._fault
        self._held = data[at:]
        return -1


def chunk(piece: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(piece), piece)


LAST_CHUNK = b"0\r\n\r\n"

REASONS = {
    100: "Continue", 101: "Switching Protocols", 200: "OK", 201: "Created", 202: "Accepted", 204: "No Content",
    206: "Partial Content", 301: "Moved Permanently", 302: "Found", 303: "See Other", 304: "Not Modified",
    307: "Temporary Redirect", 308: "Permanent Redirect", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden",
    404: "Not Found", 405: "Method Not Allowed", 406: "Not Acceptable", 408: "Request Timeout", 409: "Conflict",
    411: "Length Required", 412: "Precondition Failed", 413: "Content Too Large", 414: "URI Too Long",
    415: "Unsupported Media Type", 416: "Range Not Satisfiable", 417: "Expectation Failed",
    422: "Unprocessable Content", 426: "Upgrade Required", 429: "Too Many Requests",
    431: "Request Header Fields Too Large", 499: "Client Closed Request",
    500: "Internal Server Error", 501: "Not Implemented", 502: "Bad Gateway", 503: "Service Unavailable",
    504: "Gateway Timeout", 507: "Insufficient Storage",
}


def request_head(method: str, target: str, fields: Sequence[Tuple[str, str]]) -> bytes:
    return _head(f"{method} {target} HTTP/1.1", fields)


def response_head(status: int, reason: Optional[str], fields: Sequence[Tuple[str, str]]) -> bytes:
    return _head(f"HTTP/1.1 {status} {REASONS.get(status, '') if reason is None else reason}", fields)


def _head(first_line: str, fields: Sequence[Tuple[str, str]]) -> bytes:
    """ValueError when a field would break out of its line: they come from configuration and handlers as well."""
    text = "\r\n".join([first_line, *map(": ".join, fields), "\r\n"])
    breaks = len(fields) + 2
    if text.count("\n") != breaks or text.count("\r") != breaks or "\0" in text:
        raise ValueError("a header field would break the message head")
    return text.encode("latin-1")

