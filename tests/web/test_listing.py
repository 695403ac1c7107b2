"""Rows of /v1/models."""
from __future__ import annotations

import json

import pytest

from llamaswap.web.listing import find_row, list_models
from tests.support.asked import config_of


def rows(states=None, pins=None, **keys):
    return {row["id"]: row for row in list_models(config_of(**keys), states or {}, created=7, pins=pins)}


def test_a_plain_model():
    assert rows(models={"m": None}) == {"m": {
        "id": "m", "object": "model", "created": 7, "owned_by": "llama-swap",
        "meta": {"llamaswap": {"type": "model"}}, "status": {"value": "unloaded", "state": "stopped"}}}


def test_sorted_by_bytes_and_without_the_unlisted():
    found = rows(models={"b": None, "é": None, "Z": None, "a": {"unlisted": True}})
    assert list(found) == ["Z", "b", "é"]


@pytest.mark.parametrize("state, value", [
    ("starting", "loaded"), ("ready", "loaded"), ("stopping", "loaded"), ("stopped", "unloaded")])
def test_status(state, value):
    assert rows({"m": state}, models={"m": None})["m"]["status"] == {"value": value, "state": state}


def test_aliases():
    models = {"m": {"name": " M ", "description": "d\n", "aliases": ["z", "k"], "metadata": {"x": 1, "type": "mine"},
                    "filters": {"setParamsByID": {"m:hot": {"a": 1}}}}}
    plain = rows(models=models)
    assert list(plain) == ["m"] and plain["m"]["name"] == "M" and plain["m"]["description"] == "d"
    assert plain["m"]["meta"]["llamaswap"] == {"x": 1, "type": "model", "aliases": ["k", "m:hot", "z"]}
    found = rows({"m": "ready"}, models=models, includeAliasesInList=True)
    assert list(found) == ["k", "m", "m:hot", "z"] and found["k"]["status"]["value"] == "loaded"
    assert found["k"]["meta"]["llamaswap"] == {"x": 1, "type": "alias", "modelID": "m"} and found["k"]["name"] == "M"


def test_capabilities():
    models = {"m": {"capabilities": {"in": ["text", "image", "audio"], "out": ["text", "image"], "tools": True,
                                     "reranker": True, "context": 4096},
                    "metadata": {"architecture": 1, "capabilities": 1, "context_length": 1, "kept": 1}},
              "n": {"capabilities": {"in": ["text"], "out": ["audio"]}}, "o": {"metadata": {"architecture": 1}}}
    found = rows(models=models)
    assert found["m"]["architecture"] == {"input_modalities": ["text", "image", "audio"],
                                          "output_modalities": ["text", "image"],
                                          "modality": "text+image+audio->text+image"}
    assert found["m"]["capabilities"] == dict.fromkeys(
        ("vision", "audio_transcriptions", "image_generation", "image_to_image", "function_calling", "reranker"), True)
    assert found["m"]["supported_parameters"] == ["tools", "tool_choice"] and found["m"]["context_length"] == 4096
    assert found["m"]["meta"] == {"llamaswap": {"kept": 1, "type": "model"}, "n_ctx": 4096}
    assert found["n"]["capabilities"] == {"audio_speech": True} and "supported_parameters" not in found["n"]
    assert found["o"]["meta"]["llamaswap"] == {"architecture": 1, "type": "model"}


def test_peers():
    peers = {"p": {"proxy": "http://p", "models": ["x", "y", "x"]}, "q": {"proxy": "http://q", "models": ["y", "m"]}}
    found = rows(models={"m": None}, peers=peers)
    assert list(found) == ["m", "p/x", "p/y", "q/m", "q/y"]
    assert found["p/x"]["meta"] == {"llamaswap": {"type": "peer", "peerID": "p", "aliases": ["x"]}}
    assert found["p/x"]["name"] == "p: x" and found["p/x"]["status"] == {"value": "unloaded"}
    assert "aliases" not in found["p/y"]["meta"]["llamaswap"] and "aliases" not in found["q/m"]["meta"]["llamaswap"]
    assert "x" in rows(models={"m": None}, peers=peers, includeAliasesInList=True)


@pytest.mark.parametrize("strategy, states, value", [
    ("pin", {"b": "ready"}, "unloaded"), ("pin", {"a": "starting"}, "loaded"), ("warm", {"b": "ready"}, "loaded"),
    ("warm", {"b": "stopping"}, "unloaded"), ("spillover", {}, "unloaded")])
def test_selectors(strategy, states, value):
    selectors = {"s": {"strategy": strategy, "targets": ["alias", "b"], "name": "S", "metadata": {"x": 1}},
                 "t": {"strategy": "pin", "targets": ["b"], "unlisted": True}}
    groups = {"g": {"swap": False, "members": ["a", "b"]}}
    found = rows(states, models={"a": {"aliases": ["alias"]}, "b": None}, selectors=selectors, groups=groups)
    assert list(found) == ["a", "b", "s"] and found["s"]["status"]["value"] == value
    meta = {"x": 1, "type": "selector", "strategy": strategy, "targets": ["alias", "b"]}
    assert found["s"]["meta"]["llamaswap"] == (meta if strategy != "spillover" else {**meta, "spillover": 1})


def test_pins_that_are_names_of_their_own():
    pins = {"best": "m", "off": "", "hidden": "m", "n": "m"}
    found = rows(models={"m": {"aliases": ["n"]}, "hidden": {"unlisted": True}}, pins=pins)
    assert list(found) == ["best", "m"] and found["best"]["meta"]["llamaswap"] == {"type": "profile"}


def test_rows_are_json_and_can_be_found():
    found = list_models(config_of(models={"m": {"metadata": {"deep": {"list": [1, None, "x"]}}}}), {}, created=1)
    assert find_row(found, "m") is found[0] and find_row(found, "x") is None
    assert json.loads(json.dumps(found))[0]["meta"]["llamaswap"]["deep"] == {"list": [1, None, "x"]}
