"""Pages from memory."""
from __future__ import annotations

import pytest

from llamaswap.core.faults import ClientFault
from llamaswap.web import ui
from llamaswap.web.ui import Pages
from tests.support.asked import asked, header


@pytest.fixture
def pages(monkeypatch):
    """Over three files, counting how often they are read."""
    files = {"index.html": b"<html>", "js/app.js": b"1", "favicon.svg": b"<svg/>", "odd.xyz": b"?"}
    reads = []
    monkeypatch.setattr(ui, "read_asset", lambda name: reads.append(name) or files.get(name))
    made = Pages()
    made.reads = reads
    return made


def get(pages, rest, **headers):
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return pages.asset(asked("GET", "/ui/" + rest, headers=fields), rest)


@pytest.mark.parametrize("rest, body, kind", [
    ("", b"<html>", "text/html; charset=utf-8"), ("models", b"<html>", "text/html; charset=utf-8"),
    ("models/a.b/x", b"<html>", "text/html; charset=utf-8"), ("js/app.js", b"1", "text/javascript; charset=utf-8"),
    ("odd.xyz", b"?", "application/octet-stream"),
])
def test_files_and_views(pages, rest, body, kind):
    response = get(pages, rest)
    assert (response.status, response.body, header(response, "Content-Type")) == (200, body, kind)
    assert "default-src 'none'" in header(response, "Content-Security-Policy")
    assert header(response, "X-Content-Type-Options") == "nosniff" and header(response, "Cache-Control") == "no-cache"


def test_a_page_is_read_once_and_validated(pages):
    etag = header(get(pages, ""), "ETag")
    response = get(pages, "", If_None_Match=f'"other", W/{etag}')
    assert (response.status, response.body, header(response, "ETag")) == (304, b"", etag)
    assert get(pages, "", If_None_Match='"other"').status == 200 and pages.reads == ["index.html"]


def test_nothing_there(pages):
    for _ in range(2):
        with pytest.raises(ClientFault) as lost:
            get(pages, "js/none.js")
        assert lost.value.status == 404
    assert pages.reads == ["js/none.js"] * 2


def test_icon_and_redirects(pages):
    assert header(pages.favicon(asked("GET", "/favicon.ico"), ""), "Content-Type") == "image/svg+xml"
    assert [(response.status, header(response, "Location")) for response in (
        pages.root(asked("GET", "/"), ""), pages.redirect(asked("GET", "/ui"), ""),
        pages.redirect_models(asked("GET", "/upstream"), ""))] == [(302, "/ui/"), (307, "/ui/"), (302, "/ui/models")]


def test_the_real_files_are_there():
    for name, start in (("", b"<!doctype html>"), ("favicon.svg", b"<svg")):
        assert Pages().asset(asked("GET", "/ui/"), name).body.startswith(start)
