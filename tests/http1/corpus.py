"""Raw requests nobody may forward, and raw requests everybody must.

INVALID maps a name to bytes a client may send. Each must be answered with a 4xx or have its connection closed, and
must never reach a model server, not even in part. VALID maps a name to (bytes, method, target, decoded body).
"""
from __future__ import annotations

HOST = b"Host: a\r\n"


def _request(line=b"POST / HTTP/1.1", *fields, host=HOST, body=b""):
    return line + b"\r\n" + host + b"".join(field + b"\r\n" for field in fields) + b"\r\n" + body


def _line(line):
    return _request(line)


def _field(field):
    return _request(b"GET / HTTP/1.1", field)


def _framed(*fields, body=b""):
    return _request(b"POST / HTTP/1.1", *fields, body=body)


def _chunks(body):
    return _framed(b"Transfer-Encoding: chunked", body=body)


SMUGGLED = b"GET /admin HTTP/1.1\r\nHost: a\r\n\r\n"

_LINES = {
    "empty line first": b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "two empty lines first": b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "lf first": b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "space first": _line(b" GET / HTTP/1.1"),
    "only crlf": b"\r\n\r\n",
    "nul first": b"\x00" + _line(b"GET / HTTP/1.1"),
    "bom first": b"\xef\xbb\xbf" + _line(b"GET / HTTP/1.1"),
    "no version": b"GET /\r\n\r\n",
    "no version with host": _line(b"GET /"),
    "no target": _line(b"GET HTTP/1.1"),
    "no method": _line(b"/ HTTP/1.1"),
    "only method": _line(b"GET"),
    "two spaces after method": _line(b"GET  / HTTP/1.1"),
    "two spaces before version": _line(b"GET /  HTTP/1.1"),
    "space after version": _line(b"GET / HTTP/1.1 "),
    "tab separated": _line(b"GET\t/\tHTTP/1.1"),
    "vertical tab separated": _line(b"GET\x0b/\x0bHTTP/1.1"),
    "form feed separated": _line(b"GET\x0c/ HTTP/1.1"),
    "no-break space separated": _line(b"GET\xa0/ HTTP/1.1"),
    "space in target": _line(b"GET /a b HTTP/1.1"),
    "tab in target": _line(b"GET /a\tb HTTP/1.1"),
    "nul in target": _line(b"GET /a\x00b HTTP/1.1"),
    "del in target": _line(b"GET /a\x7fb HTTP/1.1"),
    "escape in target": _line(b"GET /a\x1bb HTTP/1.1"),
    "utf-8 in target": _line("GET /ü HTTP/1.1".encode()),
    "latin-1 in target": _line(b"GET /\xfc HTTP/1.1"),
    "fragment in target": _line(b"GET /a#b HTTP/1.1"),
    "relative target": _line(b"GET a/b HTTP/1.1"),
    "question mark target": _line(b"GET ?a HTTP/1.1"),
    "star for get": _line(b"GET * HTTP/1.1"),
    "authority for get": _line(b"GET a:80 HTTP/1.1"),
    "other scheme": _line(b"GET ftp://a/ HTTP/1.1"),
    "scheme without host": _line(b"GET http:///x HTTP/1.1"),
    "scheme with one slash": _line(b"GET http:/a/ HTTP/1.1"),
    "absolute for another host": _line(b"GET http://b/ HTTP/1.1"),
    "absolute with another port": _line(b"GET http://a:81/ HTTP/1.1"),
    "absolute with user": _line(b"GET http://u@a/ HTTP/1.1"),
    "absolute with user and backslash": _line(b"GET http://a\\@b/ HTTP/1.1"),
    "lower-case method": _line(b"get / HTTP/1.1"),
    "mixed-case method": _line(b"Get / HTTP/1.1"),
    "method with colon": _line(b"GET: / HTTP/1.1"),
    "method with parenthesis": _line(b"GE(T / HTTP/1.1"),
    "method with slash": _line(b"GE/T / HTTP/1.1"),
    "method with high byte": _line(b"G\xc9T / HTTP/1.1"),
    "method with nul": _line(b"GE\x00T / HTTP/1.1"),
    "method without end": _line(b"A" * 200 + b" / HTTP/1.1"),
    "lower-case version": _line(b"GET / http/1.1"),
    "version without digits": _line(b"GET / HTTP/"),
    "version without minor": _line(b"GET / HTTP/1"),
    "version with empty minor": _line(b"GET / HTTP/1."),
    "version with two-digit minor": _line(b"GET / HTTP/1.10"),
    "version with leading zero": _line(b"GET / HTTP/01.1"),
    "version 0.9": _line(b"GET / HTTP/0.9"),
    "version 1.2": _line(b"GET / HTTP/1.2"),
    "version 2.0": _line(b"GET / HTTP/2.0"),
    "version 3": _line(b"GET / HTTP/3"),
    "version 1,1": _line(b"GET / HTTP/1,1"),
    "version negative": _line(b"GET / HTTP/-1.1"),
    "version with sign": _line(b"GET / HTTP/+1.1"),
    "version of another protocol": _line(b"GET / RTSP/1.0"),
    "version with garbage": _line(b"GET / HTTP/1.1x"),
    "version with fullwidth digit": _line("GET / HTTP/1.１".encode()),
    "http/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "answer instead of request": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "tls hello": bytes.fromhex("16030100c8010000c40303") + b"\x5a" * 64,
    "ssh hello": b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    "socks hello": b"\x05\x01\x00",
    "proxy protocol": b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" + _line(b"GET / HTTP/1.1"),
    "json": b'{"model":"a"}\r\n\r\n',
    "cr before line end": b"GET / HTTP/1.1\r\r\nHost: a\r\n\r\n",
    "lf line ends": b"GET / HTTP/1.1\nHost: a\n\n",
    "lf after request line": b"GET / HTTP/1.1\nHost: a\r\n\r\n",
    "lf after field": b"GET / HTTP/1.1\r\nHost: a\n\r\n",
    "lf at the end": b"GET / HTTP/1.1\r\nHost: a\r\n\n",
    "cr line ends": b"GET / HTTP/1.1\rHost: a\r\r",
    "cr after request line": b"GET / HTTP/1.1\rHost: a\r\n\r\n",
    "lf cr line ends": b"GET / HTTP/1.1\n\rHost: a\n\r\n\r",
    "target too long": _line(b"GET /" + b"a" * 20000 + b" HTTP/1.1"),
    "query too long": _line(b"GET /?" + b"a" * 20000 + b" HTTP/1.1"),
    "target without end": b"GET /" + b"a" * 70000,
}

_FIELDS = {
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": _request(b"GET / HTTP/1.1", b"Host: b"),
    "two equal hosts": _request(b"GET / HTTP/1.1", b"Host: a"),
    "two hosts in http/1.0": _request(b"GET / HTTP/1.0", b"Host: b"),
    "host list": _request(b"GET / HTTP/1.1", host=b"Host: a, b\r\n"),
    "host with path": _request(b"GET / HTTP/1.1", host=b"Host: a/b\r\n"),
    "host with user": _request(b"GET / HTTP/1.1", host=b"Host: u@a\r\n"),
    "host with space": _request(b"GET / HTTP/1.1", host=b"Host: a b\r\n"),
    "host with high byte": _request(b"GET / HTTP/1.1", host=b"Host: \xfc\r\n"),
    "host with port name": _request(b"GET / HTTP/1.1", host=b"Host: a:http\r\n"),
    "host with two ports": _request(b"GET / HTTP/1.1", host=b"Host: a:1:2\r\n"),
    "host with open bracket": _request(b"GET / HTTP/1.1", host=b"Host: [::1\r\n"),
    "host with query": _request(b"GET / HTTP/1.1", host=b"Host: a?b\r\n"),
    "space before colon": _field(b"X : 1"),
    "tab before colon": _field(b"X\t: 1"),
    "space before colon of length": _framed(b"Content-Length : 5", body=b"hello"),
    "space before colon of coding": _framed(b"Transfer-Encoding : chunked", body=b"0\r\n\r\n"),
    "no colon": _field(b"X"),
    "empty name": _field(b": 1"),
    "only colon": _field(b":"),
    "folded value": _field(b"X: 1\r\n 2"),
    "folded with tab": _field(b"X: 1\r\n\t2"),
    "folded first field": b"GET / HTTP/1.1\r\n X: 1\r\nHost: a\r\n\r\n",
    "folded length": _framed(b"Content-Length:\r\n 5", body=b"hello"),
    "folded coding": _framed(b"Transfer-Encoding:\r\n chunked", body=b"0\r\n\r\n"),
    "space before name": _field(b" X: 1"),
    "space in name": _field(b"X Y: 1"),
    "parenthesis in name": _field(b"X(Y): 1"),
    "slash in name": _field(b"X/Y: 1"),
    "quote in name": _field(b'"X": 1'),
    "comma in name": _field(b"X,Y: 1"),
    "at in name": _field(b"X@Y: 1"),
    "bracket in name": _field(b"[X]: 1"),
    "semicolon in name": _field(b"X;: 1"),
    "nul in name": _field(b"X\x00: 1"),
    "high byte in name": _field(b"\xc3\xbc: 1"),
    "cr in name": _field(b"X\rY: 1"),
    "lf in name": _field(b"X\nY: 1"),
    "nul in value": _field(b"X: a\x00b"),
    "cr in value": _field(b"X: a\rb"),
    "lf in value": _field(b"X: a\nContent-Length: 5"),
    "bell in value": _field(b"X: a\x07b"),
    "escape in value": _field(b"X: \x1b[31m"),
    "del in value": _field(b"X: a\x7fb"),
    "vertical tab in value": _field(b"X: a\x0bb"),
    "form feed in value": _field(b"X: a\x0cb"),
    "cr at end of value": _field(b"X: a\r"),
    "field is a second request": _field(b"GET /admin HTTP/1.1"),
    "too many fields": _request(b"GET / HTTP/1.1", *(b"X-%d: 1" % n for n in range(300))),
    "too large a field": _field(b"X: " + b"a" * 70000),
    "too large a head": _request(b"GET / HTTP/1.1", *(b"X-%d: %b" % (n, b"a" * 4000) for n in range(30))),
    "endless field": b"GET / HTTP/1.1\r\nX: " + b"a" * 140000,
    "endless name": b"GET / HTTP/1.1\r\n" + b"a" * 140000,
    "unknown expectation": _framed(b"Expect: 200-ok", b"Content-Length: 0"),
    "two expectations": _framed(b"Expect: 100-continue, x", b"Content-Length: 0"),
}

_LENGTHS = {
    f"length {value!r}": _framed(b"Content-Length: " + value, body=b"hello" + SMUGGLED)
    for value in (b"", b"-1", b"-0", b"+5", b"5.0", b"5e0", b"0x5", b"5,", b",5", b"5,5", b"5, 5", b"5, 6", b"5;",
                  b"5 5", b"five",
                  b"'5'", b'"5"', b"5\t6", b"5_0", b"0b11", b"1" * 19, b"9" * 40, "５".encode(), "٥".encode(),
                  b"5\xa0", b"\xb2",
                  b"NaN", b"inf", b"5 bytes", b"5\\", b"0,5", b"00x", b"--5", b"5-")
}
_LENGTHS.update({
    "two lengths": _framed(b"Content-Length: 5", b"Content-Length: 6", body=b"hello" + SMUGGLED),
    "two equal lengths": _framed(b"Content-Length: 5", b"Content-Length: 5", body=b"hello"),
    "two lengths in different case": _framed(b"Content-Length: 0", b"CONTENT-length: 5", body=b"hello"),
    "second length empty": _framed(b"Content-Length: 5", b"Content-Length:", body=b"hello"),
    "length with underscore": _framed(b"Content_Length: 5", body=b"hello"),
    "both length spellings": _framed(b"Content-Length: 0", b"Content_Length: 5", body=b"hello"),
    "body shorter than its length": _framed(b"Content-Length: 50", body=b"hello"),
})

_CODINGS = {
    f"coding {value!r}": _framed(b"Transfer-Encoding: " + value, body=b"0\r\n\r\n" + SMUGGLED)
    for value in (b"", b"identity", b"gzip", b"gzip, chunked", b"chunked, gzip", b"chunked, identity",
                  b"identity, chunked",
                  b"chunked, chunked", b"chunked,", b",chunked", b", chunked", b"xchunked", b"chunkedx",
                  b"chunked;q=1", b"chunked ;a",
                  b"'chunked'", b'"chunked"', b"chunk", b"chun ked", b"chunked\x0b", b"\x0bchunked", b"chunked\xa0",
                  b"chunked\x00",
                  b"deflate", b"cow", b"chunked cow", "ｃhunked".encode(), b"chunked\x85", b"trailers",
                  b"compress, chunked")
}
_CODINGS.update({
    "coding and length": _framed(b"Transfer-Encoding: chunked", b"Content-Length: 5", body=b"0\r\n\r\n" + SMUGGLED),
    "length and coding": _framed(b"Content-Length: 5", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n" + SMUGGLED),
    "length zero and coding": _framed(b"Content-Length: 0", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"
                                      + SMUGGLED),
    "length and unknown coding": _framed(b"Content-Length: 5", b"Transfer-Encoding: x", body=b"hello" + SMUGGLED),
    "two codings": _framed(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    "coding hidden by a second": _framed(b"Transfer-Encoding: chunked", b"Transfer-Encoding: cow",
                                         body=b"0\r\n\r\n" + SMUGGLED),
    "coding behind another": _framed(b"Transfer-Encoding: cow", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"
                                     + SMUGGLED),
    "coding in http/1.0": _request(b"POST / HTTP/1.0", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n" + SMUGGLED),
    "coding in http/1.0 kept alive": _request(b"POST / HTTP/1.0", b"Connection: keep-alive",
                                              b"Transfer-Encoding: chunked",
                                             body=b"0\r\n\r\n" + SMUGGLED),
    "coding with underscore": _framed(b"Transfer_Encoding: chunked", body=b"0\r\n\r\n" + SMUGGLED),
    "coding behind nul": _framed(b"X: \x00Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    "coding behind a bare lf": _framed(b"X: y\nTransfer-Encoding: chunked", body=b"0\r\n\r\n" + SMUGGLED),
    "coding behind a bare cr": _framed(b"X: y\rTransfer-Encoding: chunked", body=b"0\r\n\r\n" + SMUGGLED),
    "coding with a quoted name": _framed(b'"Transfer-Encoding": chunked', body=b"0\r\n\r\n"),
    "coding with a space first": _framed(b"X: y", b" Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    "coding in a fold": _framed(b"Transfer-Encoding: x\r\n chunked", body=b"0\r\n\r\n" + SMUGGLED),
})

_CHUNKED = {
    f"chunks {body!r}"[:60]: _chunks(body)
    for body in (b"\r\n", b"x\r\n\r\n", b"-5\r\nhello\r\n0\r\n\r\n", b"+5\r\nhello\r\n0\r\n\r\n",
                 b"0x5\r\nhello\r\n0\r\n\r\n",
                 b" 5\r\nhello\r\n0\r\n\r\n", b"5 \r\nhello\r\n0\r\n\r\n", b"5\t\r\nhello\r\n0\r\n\r\n",
                 b"5 ;a\r\nhello\r\n0\r\n\r\n",
                 b"5\nhello\n0\n\n", b"5\nhello\r\n0\r\n\r\n", b"5\rhello\r\n0\r\n\r\n", b"5\r\nhello\n0\r\n\r\n",
                 b"5\r\nhello\r0\r\n\r\n", b"5\r\nhello0\r\n\r\n", b"5\r\nhelloXX0\r\n\r\n", b"5\r\nhell\r\n0\r\n\r\n",
                 b"5\r\nhello!\r\n0\r\n\r\n", b"5_0\r\nhello\r\n0\r\n\r\n", b"5.0\r\nhello\r\n0\r\n\r\n",
                 b"5,5\r\nhello\r\n0\r\n\r\n",
                 b"5g\r\nhello\r\n0\r\n\r\n", b"ffffffffffffffffff\r\nhello",
                 b"0000000000000000005\r\nhello\r\n0\r\n\r\n",
                 b"5;a\nb\r\nhello\r\n0\r\n\r\n", b"5;a\rb\r\nhello\r\n0\r\n\r\n", b"5;a\x00\r\nhello\r\n0\r\n\r\n",
                 b"5;" + b"a" * 5000 + b"\r\nhello\r\n0\r\n\r\n", b"5;a=\x07\r\nhello\r\n0\r\n\r\n",
                 b"\x005\r\nhello\r\n0\r\n\r\n",
                 b"5\r\nhello\r\n0\r\nX\r\n\r\n", b"5\r\nhello\r\n0\r\nX : y\r\n\r\n",
                 b"5\r\nhello\r\n0\r\nX: a\nY: b\r\n\r\n",
                 b"5\r\nhello\r\n0\r\n X: a\r\n\r\n", b"5\r\nhello\r\n0\r\nX: \x00\r\n\r\n",
                 b"5\r\nhello\r\n0\r\nGET / HTTP/1.1\r\n\r\n",
                 b"5\r\nhello\r\n0\r\nContent-Length: 5\r\n\r\n",
                 b"5\r\nhello\r\n0\r\nX: 1\r\nTransfer-Encoding: chunked\r\n\r\n", b"5\r\nhello\r\n0\r\n\n",
                 b"5\r\nhello\r\n0\n\r\n", b"5\r\nhello\r\n0\r\nX: " + b"a" * 20000 + b"\r\n\r\n",
                 b"5\r\nhello\r\n00x\r\n\r\n", b"5\r\nhello\r\n-0\r\n\r\n", b"5\r\nhello\r\n\r\n",
                 b"\xef\xbc\x95\r\nhello\r\n0\r\n\r\n",
                 b"hello", b"5\r\nhel", b"5\r\nhello\r\n", b"5\r\nhello\r\n0", b"5\r\nhello\r\n0\r\n", b"5;\r")
}

INVALID = {**_LINES, **_FIELDS, **_LENGTHS, **_CODINGS, **_CHUNKED}

VALID = {
    "simplest": (_request(b"GET / HTTP/1.1"), "GET", "/", b""),
    "http/1.0 without host": (b"GET /x HTTP/1.0\r\n\r\n", "GET", "/x", b""),
    "query": (_request(b"GET /a?b=c&d=%20?x HTTP/1.1"), "GET", "/a?b=c&d=%20?x", b""),
    "odd but legal target": (_request(b"GET //a/../b;c=[1]{2}|^`\\\" HTTP/1.1"), "GET", "//a/../b;c=[1]{2}|^`\\\"",
                             b""),
    "absolute target": (_request(b"GET http://a/x?y HTTP/1.1"), "GET", "http://a/x?y", b""),
    "absolute target without path": (_request(b"GET HTTP://A HTTP/1.1"), "GET", "HTTP://A", b""),
    "invented method": (_request(b"M-SEARCH / HTTP/1.1"), "M-SEARCH", "/", b""),
    "no space after colon": (_request(b"GET / HTTP/1.1", b"X:1"), "GET", "/", b""),
    "much space around value": (_request(b"GET / HTTP/1.1", b"X: \t 1 \t "), "GET", "/", b""),
    "empty value": (_request(b"GET / HTTP/1.1", b"X:"), "GET", "/", b""),
    "empty host": (_request(b"GET / HTTP/1.1", host=b"Host:\r\n"), "GET", "/", b""),
    "ipv6 host": (_request(b"GET / HTTP/1.1", host=b"Host: [::1]:8080\r\n"), "GET", "/", b""),
    "high bytes in value": (_request(b"GET / HTTP/1.1", "X: ü".encode()), "GET", "/", b""),
    "repeated ordinary field": (_request(b"GET / HTTP/1.1", b"X: 1", b"x: 2"), "GET", "/", b""),
    "length": (_framed(b"Content-Length: 5", body=b"hello"), "POST", "/", b"hello"),
    "length with zeros": (_framed(b"Content-Length: 005", body=b"hello"), "POST", "/", b"hello"),
    "length with space": (_framed(b"Content-Length:   5  ", body=b"hello"), "POST", "/", b"hello"),
    "get with a body": (_request(b"GET / HTTP/1.1", b"Content-Length: 5", body=b"hello"), "GET", "/", b"hello"),
    "chunked": (_chunks(b"5\r\nhello\r\n0\r\n\r\n"), "POST", "/", b"hello"),
    "chunked in capitals": (_framed(b"TRANSFER-ENCODING: Chunked", body=b"5\r\nhello\r\n0\r\n\r\n"), "POST", "/",
                            b"hello"),
    "chunked empty": (_chunks(b"0\r\n\r\n"), "POST", "/", b""),
    "chunked in pieces": (_chunks(b"1\r\nh\r\n3\r\nell\r\n001\r\no\r\n00\r\n\r\n"), "POST", "/", b"hello"),
    "chunked with extension": (_chunks(b"5;a=b;c=\"d e\"\r\nhello\r\n0;last\r\n\r\n"), "POST", "/", b"hello"),
    "chunked with trailers": (_chunks(b"5\r\nhello\r\n0\r\nX: 1\r\nY:\r\n\r\n"), "POST", "/", b"hello"),
    "chunked hex": (_chunks(b"A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n"), "POST", "/", b"0123456789" * 2),
    "chunk that looks like framing": (_chunks(b"5\r\n0\r\n\r\n\r\n0\r\n\r\n"), "POST", "/", b"0\r\n\r\n"),
}
