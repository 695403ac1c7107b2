"""Where an endpoint is, and what happens when nobody is there."""
from __future__ import annotations

import socket
import threading

import pytest

from llamaswap.core.config import Timeouts
from llamaswap.core.faults import ConfigFault, UpstreamFault
from llamaswap.runtime.upstream import Endpoint, UpstreamPool
from tests.http1.rig import nothing_leaks, plain

HOST = [("Host", "test")]


@pytest.mark.parametrize("url, expected", [
    ("http://localhost:5800", Endpoint("http", "localhost", 5800)),
    ("http://localhost:5800/base/?x=1", Endpoint("http", "localhost", 5800, "/base/", "x=1")),
    ("https://api.example.com/v1", Endpoint("https", "api.example.com", 443, "/v1")),
    ("http://[::1]:80", Endpoint("http", "::1", 80)),
])
def test_endpoints(url, expected):
    assert Endpoint.parse(url) == expected


@pytest.mark.parametrize("url", ["", "localhost:5800", "ftp://a", "http://", "http://a:x", "http://a:99999",
                                 "http://[::1"])
def test_unusable_endpoints(url):
    with pytest.raises(ConfigFault):
        Endpoint.parse(url)


@pytest.mark.parametrize("base, path, query, expected", [
    ("http://a", "/x%2Fy", "", "/x%2Fy"),
    ("http://a/", "/x", "q=1", "/x?q=1"),
    ("http://a/b", "/x", "", "/b/x"),
    ("http://a/b/", "/x//y", "", "/b/x//y"),
    ("http://a/b?k=v", "/x", "q=1", "/b/x?k=v&q=1"),
    ("http://a?k=v", "/x", "", "/x?k=v"),
])
def test_targets(base, path, query, expected):
    assert Endpoint.parse(base).target(path, query) == expected


def test_authority_names_the_port_when_it_is_unusual():
    assert Endpoint.parse("http://[::1]:81").authority == "[::1]:81"
    assert Endpoint.parse("https://a").authority == "a"


def test_nobody_listens():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    for host in ("127.0.0.1", "localhost"):
        with nothing_leaks():
            with pytest.raises(UpstreamFault) as caught:
                UpstreamPool(Endpoint("http", host, port), Timeouts()).exchange("GET", "/", HOST)
            assert caught.value.status == 502 and caught.value.code == "upstream_unreachable"


def test_an_unknown_name_is_an_upstream_fault():
    with pytest.raises(UpstreamFault):
        UpstreamPool(Endpoint("http", "no-such-host.invalid", 80), Timeouts()).exchange("GET", "/", HOST)


def test_localhost_reaches_a_server_on_ipv6_only():
    try:
        listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("no IPv6 here")
    with listener:
        def serve():
            sock, _ = listener.accept()
            with sock:
                sock.sendall(plain(b"six"))
        server = threading.Thread(target=serve, daemon=True)
        server.start()
        p = UpstreamPool(Endpoint("http", "localhost", listener.getsockname()[1]), Timeouts())
        with p.exchange("GET", "/", HOST) as exchange:
            assert exchange.read_all(9) == b"six"
        p.close()
        server.join(10)
