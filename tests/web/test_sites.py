"""One configuration, made ready."""
from __future__ import annotations

import pytest

from llamaswap.core.routing import Where
from llamaswap.web.sites import make_site
from tests.support.asked import FakePool, config_of, site_of


def test_names_keys_plans_and_ignored_paths():
    site = site_of(models={"m": {"aliases": ["n"], "useModelName": "real"}}, apiKeys=["k"],
                   upstream={"ignorePaths": [r"\.ico$"]})
    assert site.resolve("n").id == "m" and site.resolve("x").where is Where.NONE
    assert bool(site.keyring) and site.plans["m"].use_model_name == "real"
    assert site.is_ignored("/a/favicon.ico") and not site.is_ignored("/favicon.ico/x")


def test_lists_from_before_groups():
    site = site_of(models={"a": None, "b": None}, profiles={"coding": ["a"]})
    assert site.resolve("coding/a").id == site.resolve("coding:a").id == "a"
    assert site.resolve("coding/b").where is site.resolve("other/a").where is Where.NONE


def test_profiles():
    site = site_of(models={"m": None}, profiles={"day": {"pins": {"best": "m"}}})
    active = site.with_profile("day")
    assert active.profile == "day" and active.pins == {"best": "m"} and active.resolve("best").id == "m"
    assert site.profile is None and site.pins == {} and site.resolve("best").where is Where.NONE
    assert active.with_profile(None).resolve("best").where is Where.NONE
    with pytest.raises(KeyError):
        site.with_profile("night")
    assert site.continuing(active).profile == "day"
    assert site_of(models={"m": None}).continuing(active).profile is None
    assert active.continuing(site).profile == "day"


def test_peers_have_a_pool_or_a_reason():
    pools = []

    def make_pool(endpoint, timeouts):
        pools.append(FakePool())
        assert endpoint.host == "far" and timeouts.response_header == 60
        return pools[-1]

    config = config_of(peers={"p": {"proxy": "http://far:1/base", "models": ["x"]}})
    site = make_site(config, make_pool)
    assert site.peers["p"].pool is pools[0] and site.peers["p"].fault is None
    site.close()
    assert pools[0].is_closed


def test_a_peer_whose_address_cannot_be_used():
    link = site_of(peers={"p": {"proxy": "ftp://far", "models": ["x"]}}).peers["p"]
    assert link.pool is None and "ftp://far" in link.fault.message
