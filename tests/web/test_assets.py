"""Assets are found in a checkout and as package data, and nothing outside them is."""
from __future__ import annotations

import os

import pytest

from llamaswap.web import assets


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A static/ of our own, with something worth stealing beside it."""
    static = tmp_path / "static"
    (static / "js").mkdir(parents=True)
    (static / "page.html").write_bytes(b"<p>page")
    (static / "js" / "app-2.min.js").write_bytes(b"app()")
    (static / ".hidden").write_bytes(b"secret")
    (tmp_path / "setup.py").touch()
    (tmp_path / "secret.txt").write_bytes(b"secret")
    monkeypatch.setattr(assets, "CHECKOUT", str(static))
    return static


def test_the_real_index_page_is_there():
    page = assets.read_asset("index.html")
    assert page is not None
    assert page.startswith(b"<!doctype html>")


def test_reads_names_and_names_in_directories(checkout):
    assert assets.read_asset("page.html") == b"<p>page"
    assert assets.read_asset("js/app-2.min.js") == b"app()"


@pytest.mark.parametrize("name", [
    "", "/", ".", "..", "../secret.txt", "js/../../secret.txt", "/etc/passwd", "js//app-2.min.js", "js/", "./page.html",
    "..\\secret.txt", "C:\\secret.txt", "page.html\0", "page.html\n", ".hidden", "js/.hidden", "%2e%2e/secret.txt",
    "pagé.html", "js", "absent.html", "page.html/x",
])
def test_what_is_no_asset_is_none(checkout, name):
    assert assets.read_asset(name) is None


def test_a_symlink_that_leads_out_is_refused(checkout):
    os.symlink(checkout.parent / "secret.txt", checkout / "link.txt")
    assert assets.read_asset("link.txt") is None


def test_a_static_directory_beside_an_installed_package_is_not_ours(checkout):
    (checkout.parent / "setup.py").unlink()
    assert assets.read_asset("page.html") is None


def test_package_data_wins_over_the_checkout(checkout, monkeypatch):
    monkeypatch.setattr(assets.pkgutil, "get_data", lambda package, name: f"{package}:{name}".encode())
    assert assets.read_asset("page.html") == b"llamaswap:static/page.html"
