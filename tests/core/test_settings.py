"""The values are frozen, comparable and have llama-swap's defaults."""
from __future__ import annotations

import dataclasses

import pytest

from llamaswap.core import config, settings
from llamaswap.core.settings import Capabilities, Filters, Group, Model, Peer, Performance, Profile, Selector, Timeouts


def test_defaults():
    assert Timeouts() == Timeouts(30, 30, 0, 10, 1, 90)
    assert Peer("p").timeouts.response_header == 60
    assert Group("g") == Group("g", True, True, False, ())
    assert Model("m").check_endpoint == "/health"
    assert Performance() == Performance(False, 5.0)
    assert Selector("s").spillover == 1
    assert Filters() == Filters("", (), {}, {})
    assert Profile("p").pins == {}


def test_nothing_configured_is_empty():
    assert Capabilities().is_empty()
    assert not Capabilities(reranker=True).is_empty()


def test_values_cannot_be_changed_but_replaced():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Model("m").ttl = 5
    assert dataclasses.replace(Model("m"), ttl=5).ttl == 5


def test_two_rows_never_share_a_mutable_default():
    assert Model("a").metadata is not Model("b").metadata
    assert Profile("a").pins is not Profile("b").pins


def test_core_config_offers_what_the_rest_of_the_program_imports():
    for name in config.__all__:
        assert hasattr(config, name)
    assert config.Model is settings.Model
