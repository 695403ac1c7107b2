"""Every path of the specification's table is in the JSON, whatever was loaded."""
from __future__ import annotations

import json

from tests.support.vectors import load, lookup, shown

FULL = """
macros: {port: 5}
store: {path: /tmp/x.db}
models:
  m: {cmd: "x '${PORT}'", filters: {strip_params: "b, a", setParams: {model: q, c: 1}, setParamsByID: {v: {d: 1}}}}
  n: {proxy: "http://h:1"}
groups: {g: {swap: false, members: [m]}}
peers: {p: {proxy: "http://h", models: [far], apiKey: k}}
selectors: {s: {strategy: pin, targets: [m], settings: {spillover: 2}, metadata: {a: 1}}}
profiles: {w: {description: d, pins: {x: m, y: ~}}, old: [m]}
"""
PATHS = """
healthCheckTimeout startPort globalTTL unloadTimeout metricsMaxInMemory captureBuffer logLevel logTimeFormat logToStdout
sendLoadingState includeAliasesInList apiKeys session_id ignorePaths preload performance.disabled performance.every
store router scheduler priority sets aliases modelCount
groups.(default).members groups.g.swap groups.g.exclusive groups.g.persistent
selectors.s.strategy selectors.s.targets selectors.s.settings.spillover selectors.s.name selectors.s.description
selectors.s.unlisted selectors.s.metadata profiles.w.description profiles.w.pins
peers.p.proxy peers.p.apiKey peers.p.models peers.p.stripParams peers.p.setParams
"""
MODEL_PATHS = """
cmd cmdStop proxy checkEndpoint aliases env ttl unloadTimeout unlisted useModelName name description concurrencyLimit
metadata sendLoadingState ignoreWebsockets healthCheckTimeout argv stripParams stripList setParams setKeys setParamsByID
timeouts.connect timeouts.keepalive timeouts.responseHeader timeouts.tlsHandshake timeouts.expectContinue
timeouts.idleConn capabilities.in capabilities.out capabilities.tools capabilities.reranker capabilities.context
capabilities.empty
"""


def test_every_path_resolves():
    result = shown(load(FULL))
    for path in PATHS.split():
        lookup(result, path)
    for model_id in ("m", "n"):
        for path in MODEL_PATHS.split():
            lookup(result, f"models.{model_id}.{path}")
    for path in ("connect", "idleConn"):
        lookup(result, f"peers.p.timeouts.{path}")


def test_values():
    result = shown(load(FULL))
    assert result["models"]["m"]["argv"] == ["x", "5800"]
    assert "argvErr" not in result["models"]["m"]
    assert result["models"]["n"]["argvErr"] == "empty command"
    assert result["models"]["m"]["setKeys"] == ["c"]
    assert result["models"]["m"]["stripList"] == ["a", "b"]
    assert result["profiles"] == {"w": {"description": "d", "pins": {"x": "m", "y": ""}},
                                  "old": {"description": "", "pins": {}, "members": ["m"]}}
    assert result["store"] == "/tmp/x.db"


def test_an_empty_file_is_a_whole_object():
    result = shown(load(""))
    assert (result["modelCount"], result["sets"], result["store"]) == (0, [], None)
    assert json.dumps(result)


def test_sets_in_the_order_they_are_tried():
    text = 'models: {a: {cmd: x, proxy: "http://h"}}\nmatrix: {sets: {z: +y, y: a}}'
    assert shown(load(text))["sets"] == ["y", "z"]
