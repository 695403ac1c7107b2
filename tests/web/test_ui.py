"""Pages from memory."""
from __future__ import annotations

import gzip
import threading

import pytest

from llamaswap.core.faults import ClientFault
from llamaswap.web import ui
from llamaswap.web.ui import Pages, assets
from tests.support.asked import asked, header

INDEX = b'<html><link href="css/a.css"><script src="./js/app.js"></script><a href="running"><img src="no.png">'


@pytest.fixture
def files(monkeypatch):
    found = {"index.html": INDEX, "js/app.js": b"import './lib/b.js'; import('../js/lib/c.js');" + b" " * 500,
             "js/lib/b.js": b"new URL('./worker.js', import.meta.url)", "js/lib/c.js": b"3", "js/lib/worker.js": b"4",
             "css/a.css": b"url(../img/i.svg#x)", "img/i.svg": b"<svg/>", "favicon.svg": b"<svg/>", "odd.xyz": b"?"}
    monkeypatch.setattr(ui, "read_asset", found.get)
    return found


def get(pages, rest, **headers):
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return pages.asset(asked("GET", "/ui/" + rest, headers=fields), rest)


def test_the_index_page_leads_below_the_build(files):
    pages = Pages()
    response, build = get(pages, ""), pages.build
    assert header(response, "Cache-Control") == "no-cache" and len(build) == 12
    assert response.body == (f'<html><link href="{build}/css/a.css"><script src="{build}/js/app.js"></script>'
                             '<a href="running"><img src="no.png">').encode()
    below = get(pages, f"{build}/js/app.js")
    assert below.body == files["js/app.js"] and "immutable" in header(below, "Cache-Control")
    assert header(below, "Content-Type") == "text/javascript; charset=utf-8"


def test_the_build_is_a_digest_of_every_file_that_is_used(files):
    assert sorted(assets()) == sorted(set(files) - {"odd.xyz"})
    before = Pages().build
    files["odd.xyz"] = b"!"
    assert Pages().build == before
    files["js/lib/worker.js"] = b"5"
    assert Pages().build != before


def test_many_that_ask_for_the_build_at_once_read_the_files_once(files, monkeypatch):
    reads, read, together = [], ui.read_asset, threading.Barrier(20)
    monkeypatch.setattr(ui, "read_asset", lambda name: reads.append(name) or read(name))
    pages, builds = Pages(), []

    def ask():
        together.wait(10)
        builds.append(pages.build)
    threads = [threading.Thread(target=ask) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(builds) == 20 and len(set(builds)) == 1
    assert reads.count("index.html") == 1


def test_a_page_that_is_older_than_an_upgrade_still_finds_its_files(files):
    response = get(Pages(), "0123456789ab/js/app.js")
    assert response.status == 200 and header(response, "Cache-Control") == "no-store"


@pytest.mark.parametrize("rest, where", [
    ("models", "./#/models"), ("models/a.b/x", "../../#/models/a.b/x"), ("activity", "./#/activity"),
    ("models/a b", "../#/models/a%20b"), ("models/\udcff", "../#/models/%FF")])
def test_views_have_addresses_of_their_own(files, rest, where):
    response = get(Pages(), rest)
    assert (response.status, header(response, "Location")) == (302, where)


def test_policy_and_other_headers(files):
    response = get(Pages(), "js/app.js")
    policy = header(response, "Content-Security-Policy")
    assert "default-src 'none'" in policy and "unsafe" not in policy and "require-trusted-types-for" in policy
    assert header(response, "X-Content-Type-Options") == "nosniff" and header(response, "Cache-Control") == "no-cache"
    assert header(response, "Referrer-Policy") == "no-referrer"
    assert header(response, "Cross-Origin-Opener-Policy") is None
    request = asked("GET", "/ui/")
    request.is_tls = True
    assert header(Pages().asset(request, ""), "Cross-Origin-Opener-Policy") == "same-origin"


def test_validators(files):
    pages = Pages()
    etag = header(get(pages, ""), "ETag")
    for wanted in (f'"other", W/{etag}', etag, "*"):
        response = get(pages, "", If_None_Match=wanted)
        assert (response.status, response.body, header(response, "ETag")) == (304, b"", etag)
    assert get(pages, "", If_None_Match='"other"').status == 200


@pytest.mark.parametrize("accepted, packed", [
    ("gzip, deflate, br", True), ("br, GZIP", True), ("gzip;q=0, br", False), ("*;q=0.1", True), ("", False),
    ("identity", False), ("gzip;q=x", False), ("*, gzip;q=0", False)])
def test_gzip_for_those_who_take_it(files, accepted, packed):
    response = get(Pages(), "js/app.js", Accept_Encoding=accepted)
    assert (header(response, "Content-Encoding") == "gzip") is packed and header(response, "Vary") == "Accept-Encoding"
    content = gzip.decompress(response.body) if packed else response.body
    assert content == files["js/app.js"]
    assert header(get(Pages(), "js/lib/c.js", Accept_Encoding="gzip"), "Content-Encoding") is None, "it would grow"


@pytest.mark.parametrize("rest", ["js/none.js", "0123456789ab/js/none.js", "x.png", "js/../index.html"])
def test_nothing_there(files, rest):
    with pytest.raises(ClientFault) as lost:
        get(Pages(), rest)
    assert lost.value.status == 404


def test_a_proxy_that_says_where_it_has_us():
    for prefix, where in (("/x/y", "/x/y/ui/"), ("/x/y/", "/x/y/ui/"), ("//evil", "/ui/"), ("http://e", "/ui/")):
        request = asked("GET", "/", headers={"X-Forwarded-Prefix": prefix})
        assert header(Pages().root(request, ""), "Location") == where


def test_icon_and_redirects():
    pages = Pages()
    assert header(pages.favicon(asked("GET", "/favicon.ico"), ""), "Content-Type") == "image/svg+xml"
    assert [(response.status, header(response, "Location")) for response in (
        pages.root(asked("GET", "/"), ""), pages.redirect(asked("GET", "/ui"), ""),
        pages.redirect_models(asked("GET", "/upstream"), ""))] == [(302, "/ui/"), (307, "/ui/"), (302, "/ui/models")]


def test_the_real_files_are_there():
    for name, start in (("", b"<!doctype html>"), ("favicon.svg", b"<svg")):
        assert Pages().asset(asked("GET", "/ui/"), name).body.startswith(start)
