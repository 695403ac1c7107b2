"""Addresses as people write them."""
from __future__ import annotations

import socket

import pytest

from llamaswap.runtime.address import format_address, free_ports, is_loopback, own_names, parse_address


@pytest.mark.parametrize("text, parsed", [
    ("127.0.0.1:80", ("127.0.0.1", 80)), (":8080", ("", 8080)), ("[::1]:0", ("::1", 0)),
    ("host:65535", ("host", 65535)),
])
def test_parse(text, parsed):
    assert parse_address(text) == parsed


@pytest.mark.parametrize("text", ["", "8080", "host", "host:", "host:http", "host:65536", "host:-1", "::1", "a:b:1"])
def test_no_address(text):
    with pytest.raises(ValueError, match="is not an address"):
        parse_address(text)


def test_format():
    assert format_address("::1", 1) == "[::1]:1" and format_address("h", 2) == "h:2"


def test_loopback():
    assert all(map(is_loopback, ("127.0.0.1", "127.1.2.3", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "10.0.0.1", "")))


def test_free_ports_are_different_and_free():
    ports = free_ports(3)
    assert len(set(ports)) == 3
    for port in ports:
        socket.create_server(("127.0.0.1", port)).close()


def test_own_names(monkeypatch):
    monkeypatch.setattr(socket, "gethostname", lambda: "Box.Lan.")
    assert own_names() == {"box.lan"}
