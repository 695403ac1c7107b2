"""Where a request names its model, and how to change that name and nothing else.

find_model() reads the body once and answers with spans: the places in the untouched bytes where the name stands. To
change the name is then a splice at those spans, so everything else leaves exactly as it came, in every encoding. For
JSON the members of the top-level object are kept too: core/filters.py edits parameters with them, without a new scan.

How JSON is walked. The top level is stepped through in Python, member by member. What a member holds is skipped in C:
- short strings and numbers by the same regex that finds the key;
- long strings by bytes.find for the closing quote (0.5 ms for 20 MB; json.loads takes 40 ms);
- objects and lists by the json module's C scanner, which also validates them. It reads the bytes as latin-1, where
  every index is the same in the text and in the bytes, and what it builds is thrown away;
- but in a large body with few quotes (an image in base64) they are skipped from string to string, again with find.
  There the brackets are counted and nothing more is validated: the model server will judge.
"""
from __future__ import annotations

import json
import re
from enum import Enum
from typing import Iterable, Iterator, List, NamedTuple, Optional, Tuple, Union
from urllib.parse import quote, unquote_to_bytes

from llamaswap.core.faults import ClientFault

CONFLICT = "conflicting_names"   # the code of a request that names two models
MAX_FIELDS = 10_000             # of a query, an urlencoded form or the top level of JSON; more only keeps us busy
MAX_MEMBERS = 1_000_000         # of an object further down that a filter opens
MAX_PARTS = 1000                # of a multipart form, as in Go's parser
MAX_PART_HEAD_BYTES = 16 * 1024
SPARSE_MIN_BYTES = 64 * 1024    # below this the C scanner is fast enough for any body
SAMPLES, SAMPLE_BYTES = 8, 8 * 1024
SPARSE_MAX_QUOTES = 256         # in all samples together; a string costs 0.5 us in Python, a byte 1 ns in the C scanner
ESCAPED_QUOTES_IN_PYTHON = 64   # per string, before the C scanner takes over
STEPS_IN_PYTHON = 10_000        # per value, likewise: the samples may have missed where the strings are

Span = Tuple[int, int]
# (key, begin, start, end, close): the member's text begins after the `{` or `,` before it, its value is start..end, and
# `close` is the `,` or `}` after it. A plain tuple because it is made for every member of every request.
Member = Tuple[str, int, int, int, int]

_OBJECT = re.compile(rb"(?:\xef\xbb\xbf)?[ \t\r\n]*\{")
_BLANK = re.compile(rb"[ \t\r\n]*")
_NUMBER_OR_WORD = rb"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null|NaN|-?Infinity"
_SCALAR = re.compile(_NUMBER_OR_WORD)
_MEMBER = re.compile(rb'[ \t\r\n]*"([^"\\]*)"[ \t\r\n]*:[ \t\r\n]*'
                     rb'(?:("[^"\\]{0,512}"|' + _NUMBER_OR_WORD + rb")[ \t\r\n]*([,}]))?")
_COLON = re.compile(rb"[ \t\r\n]*:[ \t\r\n]*")
_STRUCTURE = re.compile(rb'["{}[\]]')
_QUOTE, _BACKSLASH, _CLOSE_OBJECT, _CLOSE_LIST = b'"\\}]'
# Numbers stay text: int() is slow for long ones and refuses more than 4300 digits. Control characters in strings are
# left to the model server, which may be lenient.
_DECODER = json.JSONDecoder(strict=False, parse_int=str, parse_float=str)


class How(Enum):
    """Where the model name was found."""

    NOWHERE = "nowhere"
    JSON = "json"
    MULTIPART = "multipart"
    URLENCODED = "urlencoded"
    QUERY = "query"


class Container(NamedTuple):
    """A JSON object or list: body[start:end] with its brackets. Keys of list items are empty."""

    start: int
    end: int
    members: List[Member]


class Named(NamedTuple):
    """What find_model() saw. `spans` lie in the query for How.QUERY, else in the body; in JSON they hold the quotes."""

    model: Optional[str] = None
    stream: bool = False
    how: How = How.NOWHERE
    spans: Tuple[Span, ...] = ()
    document: Optional[Container] = None     # set for every JSON object, also when it does not name the model


def find_model(content_type: str, body: bytes, query: str, method: str) -> Named:
    """The body decides; the query is asked when the body names no model, and alone for GET and HEAD.

    JSON is recognised by its first character, whatever the content type says (curl -d sends a form type). A name given
    twice must be the same both times: model servers read the last, proxies the first. ClientFault 400 otherwise, and
    for a body that is not what it claims to be.
    """
    if not body or method in ("GET", "HEAD"):
        return _from_query(query, Named())
    media = content_type.partition(";")[0].strip().lower()
    if media == "multipart/form-data":
        named = _from_multipart(content_type, body)
    elif _OBJECT.match(body):
        named = _from_json(body, media)
    elif media.endswith("json") and not _BLANK.fullmatch(body):
        raise ClientFault("the request body is not a JSON object")
    elif media == "application/x-www-form-urlencoded":
        named = _from_pairs(body.decode("latin-1"), How.URLENCODED)
    else:
        named = Named()
    return named if named.model is not None else _from_query(query, named)


def replace_model(body: bytes, query: str, named: Named, model: str) -> Tuple[bytes, str]:
    """The body and query with `model` in every place of the old name; both as they are when it names no model."""
    if named.how is How.QUERY:
        text = query.encode("latin-1", "replace")
        return body, splice(text, named.spans, _spelled(How.QUERY, model)).decode("latin-1")
    return splice(body, named.spans, _spelled(named.how, model)), query


def splice(body: bytes, spans: Iterable[Span], replacement: bytes) -> bytes:
    """One copy, however large the body. The spans are in order and do not overlap."""
    view, at = memoryview(body), 0
    pieces: List[Union[bytes, memoryview]] = []
    for start, end in spans:
        pieces += [view[at:start], replacement]
        at = end
    return b"".join([*pieces, view[at:]]) if pieces else body


def _spelled(how: How, model: str) -> bytes:
    if how is How.JSON:
        return json.dumps(model).encode("ascii")
    if how is How.MULTIPART:
        return model.encode("utf-8", "replace")
    return quote(model, safe="/:", errors="replace").encode("ascii")


# --- JSON --------------------------------------------------------------------------------------------------------


def _from_json(body: bytes, media: str) -> Named:
    try:
        document = JsonScan(body).document()
    except ClientFault:
        # An upload may begin with a brace by chance; then the name is in the query.
        if media.partition("/")[0] in ("audio", "image", "video") or media == "application/octet-stream":
            return Named()
        raise
    spans: List[Span] = []
    stream = False
    for key, _, start, end, _ in document.members:
        if key == "model":
            spans.append((start, end))
        elif key == "stream":
            stream = _is_truthy(body[start:end])
    if not spans:
        return Named(None, stream, How.NOWHERE, (), document)
    names = [decode_string(body[start:end]) if body[start] == _QUOTE else None for start, end in spans]
    model = _one_of(names)
    return Named(model, stream, How.JSON if model else How.NOWHERE, tuple(spans) if model else (), document)


def _one_of(names: List[Optional[str]]) -> Optional[str]:
    if len(names) > 1 and len(set(names)) > 1:
        raise ClientFault('duplicate "model" key with different values', code=CONFLICT)
    return names[0] or None


def _is_truthy(raw: bytes) -> bool:
    if raw[:1] == b'"':
        return decode_string(raw).lower() in ("true", "1", "t")
    return raw == b"true" or (raw[:1] in b"-0123456789" and float(raw) != 0)


def decode_string(raw: bytes) -> str:
    """The text of a JSON string given with its quotes. What is no Unicode becomes U+FFFD, so that it can be sent."""
    if _BACKSLASH not in raw:
        return raw[1:-1].decode("utf-8", "replace")
    try:
        text: str = json.loads(raw.decode("utf-8", "replace"), strict=False)
    except ValueError:
        raise ClientFault(f"the request body is not valid JSON: bad escape in {raw[:40]!r}") from None
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


class JsonScan:
    """Walks one JSON text by spans. Every index is one of the bytes."""

    __slots__ = ("body", "_text", "_sparse")

    def __init__(self, body: bytes) -> None:
        self.body = body
        self._text: Optional[str] = None
        self._sparse = len(body) >= SPARSE_MIN_BYTES and _has_few_quotes(body)

    def document(self) -> Container:
        """The object that is the whole text; ClientFault when it is not one."""
        opening = _OBJECT.match(self.body)
        if opening is None:
            raise self._invalid("an object", 0)
        found = self.members(opening.end() - 1, most=MAX_FIELDS)
        rest = self._blanks(found.end)
        if rest != len(self.body):
            raise self._invalid("nothing more", rest)
        return found

    def members(self, at: int, *, most: int = MAX_MEMBERS) -> Container:
        """The object whose brace is at `at`; ClientFault when it has more than `most` members."""
        body, match = self.body, _MEMBER.match
        found: List[Member] = []
        begin = at + 1
        first = self._blanks(begin)
        if body[first:first + 1] == b"}":
            return Container(at, first + 1, found)
        while True:
            member = match(body, begin)
            if member is None:
                key, start = self._key(begin)
                end, close = self._value(start, b",}")
            else:
                key = member[1].decode("utf-8", "replace")
                if member.lastindex == 3:       # the usual case: one match for the whole member
                    start, end = member.span(2)
                    close = member.end() - 1
                else:
                    start = member.end()
                    end, close = self._value(start, b",}")
            found.append((key, begin, start, end, close))
            begin = close + 1
            if body[close] == _CLOSE_OBJECT:
                return Container(at, begin, found)
            if len(found) >= most:
                raise ClientFault(f"the request body has more than {most} keys")

    def items(self, at: int) -> Container:
        """The list whose bracket is at `at`."""
        found: List[Member] = []
        begin = at + 1
        first = self._blanks(begin)
        if self.body[first:first + 1] == b"]":
            return Container(at, first + 1, [])
        while True:
            start = self._blanks(begin)
            end, close = self._value(start, b",]")
            found.append(("", begin, start, end, close))
            begin = close + 1
            if self.body[close] == _CLOSE_LIST:
                return Container(at, begin, found)

    def _key(self, begin: int) -> Tuple[str, int]:
        """The slow way: a key with escapes, or no key at all."""
        quoted = self._blanks(begin)
        if self.body[quoted:quoted + 1] != b'"':
            raise self._invalid("a key", quoted)
        end = self._string_end(quoted)
        colon = _COLON.match(self.body, end)
        if colon is None:
            raise self._invalid("a colon", end)
        return decode_string(self.body[quoted:end]), colon.end()

    def _value(self, start: int, closers: bytes) -> Tuple[int, int]:
        """Where the value ends, and where the comma or bracket after it stands."""
        first = self.body[start:start + 1]
        if first == b'"':
            end = self._string_end(start)
        elif first in (b"{", b"["):
            end = self._sparse_end(start) if self._sparse else self._skip(start)
        else:
            scalar = _SCALAR.match(self.body, start)
            if scalar is None:
                raise self._invalid("a value", start)
            end = scalar.end()
        close = self._blanks(end)
        if close == len(self.body) or self.body[close] not in closers:
            raise self._invalid("a comma or the closing bracket", close)
        return end, close

    def _string_end(self, start: int) -> int:
        last = start
        for _ in range(ESCAPED_QUOTES_IN_PYTHON):
            found = self.body.find(b'"', last + 1)
            if found < 0:
                raise self._invalid("the end of a string", start)
            if self.body[found - 1] != _BACKSLASH:
                return found + 1
            # Only the piece since the last quote is looked at: a long run of backslashes must not be counted again.
            piece = self.body[last + 1:found]
            if (len(piece) - len(piece.rstrip(b"\\"))) % 2 == 0:
                return found + 1
            last = found
        return self._skip(start)

    def _skip(self, start: int) -> int:
        if self._text is None:
            self._text = self.body.decode("latin-1")
        try:
            return _DECODER.raw_decode(self._text, start)[1]
        except RecursionError:
            raise ClientFault("the request body is nested too deeply") from None
        except json.JSONDecodeError as error:
            raise ClientFault(f"the request body is not valid JSON: {error.msg} at byte {error.pos}") from None

    def _sparse_end(self, start: int) -> int:
        depth, at = 0, start
        for _ in range(STEPS_IN_PYTHON):
            token = _STRUCTURE.search(self.body, at)
            if token is None:
                raise self._invalid("a closing bracket", len(self.body))
            at = token.end()
            if token[0] == b'"':
                at = self._string_end(at - 1)
                continue
            depth += 1 if token[0] in b"{[" else -1
            if depth == 0:
                return at
        return self._skip(start)

    def _blanks(self, at: int) -> int:
        blank = _BLANK.match(self.body, at)
        return blank.end() if blank is not None else at

    def _invalid(self, expected: str, at: int) -> ClientFault:
        where = f"at byte {at}" if at < len(self.body) else "at its end"
        return ClientFault(f"the request body is not valid JSON: expected {expected} {where}")


def _has_few_quotes(body: bytes) -> bool:
    step = len(body) // SAMPLES
    quotes = sum(body.count(b'"', at, at + SAMPLE_BYTES) for at in range(0, len(body), step))
    return quotes <= SPARSE_MAX_QUOTES


# --- queries and urlencoded forms --------------------------------------------------------------------------------

_PAIR = re.compile(r"([^&=]*)(?:=([^&]*))?(?:&|\Z)")


def _from_query(query: str, found: Named) -> Named:
    """What the body said, completed from the query."""
    if not query:
        return found
    asked = _from_pairs(query, How.QUERY)
    return asked._replace(stream=asked.stream or found.stream, document=found.document)


def _from_pairs(text: str, how: How) -> Named:
    """`text` holds bytes as latin-1, so its indexes are those of the bytes."""
    spans: List[Span] = []
    stream = False
    for count, pair in enumerate(_PAIR.finditer(text)):
        if count >= MAX_FIELDS:
            raise ClientFault(f"more than {MAX_FIELDS} form fields")
        key = pair[1] if "%" not in pair[1] else _plain(pair[1])
        if key == "model" and pair[2] is not None:
            spans.append(pair.span(2))
        elif key == "stream":
            stream = pair[2] == "true"
    if not spans:
        return Named(None, stream)
    model = _one_of([_plain(text[start:end]) for start, end in spans])
    return Named(model, stream, how, tuple(spans)) if model else Named(None, stream)


def _plain(raw: str) -> str:
    return unquote_to_bytes(raw.replace("+", " ").encode("latin-1", "replace")).decode("utf-8", "replace")


# --- multipart forms ---------------------------------------------------------------------------------------------

_BOUNDARY = re.compile(r';[ \t]*boundary=(?:"([^"]{1,200})"|([^\s;,"]{1,200}))', re.IGNORECASE)
_AFTER_DELIMITER = re.compile(rb"--|[ \t]*\r\n")
_DISPOSITION = re.compile(rb"^content-disposition[ \t]*:[ \t]*form-data[ \t]*(;[^\r\n]*)", re.IGNORECASE | re.MULTILINE)
_PARAMETER = re.compile(rb';[ \t]*([^\s=;"]+)[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]*))')


def _from_multipart(content_type: str, body: bytes) -> Named:
    spans: List[Span] = []
    stream = False
    for name, start, end in _form_fields(content_type, body):
        if name == b"model":
            spans.append((start, end))
        elif name == b"stream":
            stream = body[start:end] == b"true"
    if not spans:
        return Named(None, stream)
    model = _one_of([body[start:end].decode("utf-8", "replace") for start, end in spans])
    return Named(model, stream, How.MULTIPART, tuple(spans)) if model else Named(None, stream)


def _form_fields(content_type: str, body: bytes) -> Iterator[Tuple[bytes, int, int]]:
    """(name, start, end) of every part that is a value, not a file."""
    boundary = _BOUNDARY.search(content_type)
    if boundary is None:
        raise ClientFault("the content type multipart/form-data has no boundary")
    dashes = b"--" + (boundary[1] or boundary[2]).encode("latin-1", "replace")
    after = _AFTER_DELIMITER.match(body, len(dashes)) if body.startswith(dashes) else None
    if after is None:
        _, after = _next_delimiter(body, dashes, 0)
    for _ in range(MAX_PARTS):
        if after[0] == b"--":
            return
        head_end, start = _part_head(body, after.end())
        name = _field_name(body[after.end():head_end])
        # From the head's own line end on: a part without a value may have none of its own.
        found, after = _next_delimiter(body, dashes, start - 2)
        if name is not None:
            yield name, start, max(start, found)
    if after[0] != b"--":
        raise ClientFault(f"the multipart body has more than {MAX_PARTS} parts")


def _next_delimiter(body: bytes, dashes: bytes, at: int) -> Tuple[int, re.Match[bytes]]:
    """Where the content before the delimiter ends, and what follows the delimiter: the end of its line, or `--`."""
    delimiter = b"\r\n" + dashes
    while True:
        found = body.find(delimiter, at)
        if found < 0:
            raise ClientFault("the multipart body is cut short or does not contain its boundary")
        at = found + len(delimiter)
        after = _AFTER_DELIMITER.match(body, at)
        if after is not None:      # else the content happens to begin like the boundary
            return found, after


def _part_head(body: bytes, at: int) -> Tuple[int, int]:
    if body.startswith(b"\r\n", at):
        return at, at + 2
    end = body.find(b"\r\n\r\n", at, at + MAX_PART_HEAD_BYTES)
    if end < 0:
        raise ClientFault("a part of the multipart body has no end of headers, or too many of them")
    return end, end + 4


def _field_name(head: bytes) -> Optional[bytes]:
    """None for a file, and for a part that does not say which field it is."""
    disposition = _DISPOSITION.search(head)
    name = None
    for parameter in _PARAMETER.finditer(disposition[1] if disposition is not None else b""):
        key = parameter[1].lower()
        if key in (b"filename", b"filename*"):
            return None
        if key == b"name":
            name = parameter[2] if parameter[2] is not None else parameter[3]
    return name
