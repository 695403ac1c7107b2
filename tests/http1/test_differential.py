"""Whatever h11 or waitress refuses, we refuse too; and where all accept, all read the same message.

Random mutations of sound requests, with a fixed seed and a fixed number, so that a run is repeatable. Being stricter
than either is allowed. The corpus goes through the same comparison.
"""
from __future__ import annotations

import random

import pytest

from llamaswap.core.faults import ClientFault
from llamaswap.core.http1 import CHUNKED, ChunkReader, HeadBuffer, Limits, parse_request
from tests.http1.corpus import INVALID, VALID

h11 = pytest.importorskip("h11")
waitress_parser = pytest.importorskip("waitress.parser")
waitress_adjustments = pytest.importorskip("waitress.adjustments")

ROUNDS = 12000
SEED = 20260101

SEEDS = [raw for raw, *_ in VALID.values()] + [
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost:8080\r\nContent-Type: application/json\r\n"
    b"Content-Length: 2\r\n"
    b"Connection: keep-alive\r\nExpect: 100-continue\r\n\r\n{}",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n"
    b"1\r\na\r\n2;x\r\nbc\r\n0\r\nX: y\r\n\r\n",
]
SPICE = [b"\r", b"\n", b"\r\n", b" ", b"\t", b"\x00", b"\x0b", b"\x7f", b"\x80", b"\xff", b":", b";", b",", b"/",
         b"0", b"5", b"-", b"+",
         b"_", b"\"", b"#", b"?", b"%", b"chunked", b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n",
         b"Host: b\r\n", b"\r\n ",
         b"HTTP/1.0", b"HTTP/1.1", b"http://", b"identity", b"0\r\n\r\n", b"a", b"A", b"[", b"]", b"@", b"*", b"{"]


def mutations(random_, raw):
    data = bytearray(raw)
    for _ in range(random_.choice((1, 1, 1, 2, 3))):
        at = random_.randrange(len(data) + 1)
        kind = random_.randrange(5)
        if kind == 0:
            data[at:at] = random_.choice(SPICE)
        elif kind == 1:
            data[at:at + 1] = random_.choice(SPICE)
        elif kind == 2:
            del data[at:at + random_.choice((1, 1, 2, 5))]
        elif kind == 3:
            data[at:at + 1] = bytes([random_.randrange(256)])
        else:
            end = at + random_.randrange(1, 20)
            data[at:at] = data[at:end]
    return bytes(data)


def ours(raw):
    """"refused", "incomplete", or (method, target, body) of the first request."""
    try:
        buffer = HeadBuffer(Limits())
        if not buffer.feed(raw):
            return "incomplete"
        parsed = parse_request(buffer.data, Limits())
        assert parsed is not None
        head, end = parsed
        if head.length != CHUNKED:
            body = raw[end:end + head.length]
            return (head.method, head.target, body) if len(body) == head.length else "incomplete"
        payload = []
        chunks = ChunkReader(ClientFault("chunks"))
        chunks.feed(raw[end:], payload)
        return (head.method, head.target, b"".join(payload)) if chunks.is_done else "incomplete"
    except ClientFault:
        return "refused"


def theirs_h11(raw):
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    connection.receive_data(raw)
    body, request = b"", None
    try:
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA or event is h11.PAUSED:
                return "incomplete"
            if isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return request.method.decode(), request.target.decode(), body
    except h11.RemoteProtocolError:
        return "refused"


def theirs_waitress(raw):
    parser = waitress_parser.HTTPRequestParser(waitress_adjustments.Adjustments())
    data = raw
    try:
        while data and not parser.completed:
            used = parser.received(data)
            if not used:
                break
            data = data[used:]
        if parser.completed:
            # What reads as "nothing there yet" for it (empty lines before a request) is no verdict.
            if parser.error:
                return "refused"
            if parser.empty:
                return "incomplete"
            stream = parser.get_body_stream()
            return parser.command, None, stream.read()
        return "incomplete"
    except ValueError:
        return "refused"   # it does not catch what urlsplit thinks of brackets
    finally:
        parser.close()


def compare(raw):
    mine = ours(raw)
    for name, theirs in (("h11", theirs_h11(raw)), ("waitress", theirs_waitress(raw))):
        if isinstance(mine, tuple):
            assert theirs != "refused", (name, raw, mine)
            if isinstance(theirs, tuple):
                assert (mine[0], mine[2]) == (theirs[0], theirs[2]), (name, raw, mine, theirs)
                assert theirs[1] is None or mine[1] == theirs[1], (name, raw, mine, theirs)
            # The one that still waits would take the next request for the rest of this one.
            assert theirs != "incomplete", (name, raw, mine)
    return mine


def test_mutations():
    random_ = random.Random(SEED)
    verdicts = [compare(mutations(random_, random_.choice(SEEDS))) for _ in range(ROUNDS)]
    accepted = sum(isinstance(verdict, tuple) for verdict in verdicts)
    refused = verdicts.count("refused")
    assert accepted > ROUNDS // 10 and refused > ROUNDS // 10, "the mutations say nothing when all go one way"


@pytest.mark.parametrize("name", VALID)
def test_the_valid_corpus_reads_the_same(name):
    assert isinstance(compare(VALID[name][0]), tuple)


@pytest.mark.parametrize("name", INVALID)
def test_the_invalid_corpus(name):
    assert not isinstance(compare(INVALID[name]), tuple)
