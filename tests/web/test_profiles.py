"""Listing and choosing profiles."""
from __future__ import annotations

import logging

import pytest

from llamaswap.core.faults import ClientFault
from llamaswap.runtime.current import Current
from llamaswap.web.profiles import Profiles
from tests.support.asked import asked, loaded, site_of

PROFILES = {"b": {"pins": {"best": "m", "off": None}}, "a": {"description": "x", "pins": {"best": "m"}}}


@pytest.fixture
def site():
    return Current(site_of(models={"m": None}, profiles=PROFILES))


@pytest.fixture
def profiles(site):
    return Profiles(site, lambda name: site.replace(lambda before: before.with_profile(name)).profile != name)


def select(profiles, body):
    return loaded(profiles.select(asked("PUT", "/api/profiles/active", body), ""))


def test_list(profiles):
    assert loaded(profiles.list(asked("GET", "/api/profiles"), "")) == {"active": None, "profiles": [
        {"id": "a", "description": "x", "pins": {"best": "m"}},
        {"id": "b", "description": "", "pins": {"best": "m", "off": ""}}]}


def test_select(profiles, site, caplog):
    caplog.set_level(logging.INFO)
    assert select(profiles, {"name": "b"}) == {"active": "b"} and site().resolve("best").id == "m"
    assert select(profiles, {"name": "b"}) == {"active": "b"}
    assert select(profiles, {"name": ""}) == {"active": None} and not site().resolve("best").is_served
    assert select(profiles, {"name": None}) == {"active": None}
    assert [record.getMessage() for record in caplog.records] == [
        'active profile changed to "b"', 'active profile changed to ""']
    assert caplog.records[0].fields == {"request_id": "id-1"}


@pytest.mark.parametrize("body", [b'{"name": "b"}\n{"name": "a"}', b' \r\n\t{"name": "b"} and so on',
                                  b'\xef\xbb\xbf{"name": "b"}'])
def test_only_the_first_value_counts(profiles, body):
    assert select(profiles, body) == {"active": "b"}


@pytest.mark.parametrize("body, status, message", [
    (b"", 400, "invalid profile request"), (b"[1]", 400, "invalid profile request"),
    (b'{"name": "b"', 400, "invalid profile request"), (b'{"name": "\xff"}', 400, "invalid profile request"),
    (b"[" * 60_000, 400, "invalid profile request"), (b'{"name":' * 8_000, 400, "invalid profile request"),
    ({"Name": "a"}, 400, "profile name is required"), ({"name": 7}, 400, "profile name must be a string or null"),
    ({"name": "c"}, 404, 'profile "c" not found'),
])
def test_refusals(profiles, site, body, status, message):
    select(profiles, {"name": "a"})
    with pytest.raises(ClientFault) as refused:
        select(profiles, body)
    assert (refused.value.status, refused.value.message) == (status, message)
    assert site().profile == "a"
