"""Addresses are readable where Go's net/url reads them, and a warning says when they still lead nowhere."""
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamaswap.core.urls import path_fault, proxy_warning, url_fault


@pytest.mark.parametrize("url", [
    "", "http://h", "http://h:8080/p/q?r=%zz#s", "https://u:p%20w@h:1", "localhost:8080", "mailto:a@b", "//h/p", "///p",
    "/p q",
    "http://[::1]", "http://[::1]:80", "http://[fe80::1%25eth0]:80", "http://h:", "h", "h/p:q", "http://ü.de", "http:",
    "a+b.c-d://h",
    "http://h/%41", "?q", "#f", "http://*", "/x"])
def test_readable(url):
    assert url_fault(url) is None


@pytest.mark.parametrize(("url", "why"), [
    ("http://a b", 'contain " "'), ("http://h\n", "control"), ("http://h\x7f", "control"),
    (":80", "before the first colon"),
    ("127.0.0.1:80", "not a scheme"), ("1h:80/x", "not a scheme"), ("a_b:80", "not a scheme"),
    ("http://[::1", "] in the host"),
    ("http://h:x", '":x" is not a port'), ("http://h:-1", "not a port"), ("http://[::1]x", "not a port"),
    ("http://h%41", "escape"),
    ("http://h/%zz", '"%zz" is not a valid escape'), ("/%", '"%" is not'), ("http://h#%zz", "escape"),
    ("http://a\\b", "cannot contain"),
    ("http://u p@h", "user name or password"), ("http://u%zz@h", "escape"), ("http://a|b", 'contain "|"')])
def test_unreadable(url, why):
    assert why in url_fault(url)


def test_paths():
    assert path_fault("/a b/%20") is None
    assert path_fault("/%2") == '"%2" is not a valid escape'


@pytest.mark.parametrize(("url", "why"), [
    ("", "is empty"), ("localhost:80", "does not begin with"), ("unix:///x", "does not begin with"),
    ("http://", "names no host"),
    ("http://u@:80", "names no host"), ("http://h:0", "port 0"), ("http://h:65536/x", "port 65536")])
def test_leads_nowhere(url, why):
    assert why in proxy_warning(url)


@pytest.mark.parametrize("url", ["http://h", "HTTPS://h:65535/x", "http://[::1]:1", "http://[::1]", "http://u:p@h",
                                 "http://h:"])
def test_leads_somewhere(url):
    assert proxy_warning(url) is None


@given(st.text(alphabet="ahtp:/@[]%?#4 1.\0é", max_size=14))
def test_any_text_has_an_answer(url):
    assert url_fault(url) is None or url_fault(url)
    if url_fault(url) is None:
        assert proxy_warning(url) is None or proxy_warning(url)
