"""The JSON Schema says yes where the loader does, and no to a misspelt key."""
from __future__ import annotations

import json
from pathlib import Path

import pytest

from llamaswap.core.fields import ROOT_FIELDS
from llamaswap.core.schema import json_schema
from llamaswap.core.tree import to_plain
from llamaswap.runtime.files import parse

VECTORS = json.loads(Path(__file__).parent.parent.joinpath("config_vectors.json").read_text(encoding="utf-8"))
# Parity rows that an editor should complain about all the same: keys that nobody knows.
UNKNOWN_KEYS = {"V022": "bogusKey", "V032": "d"}


@pytest.fixture(scope="module")
def validator():
    jsonschema = pytest.importorskip("jsonschema")
    schema = json_schema()
    jsonschema.Draft7Validator.check_schema(schema)
    return jsonschema.Draft7Validator(schema)


def complaints(validator, text):
    return [f"{'.'.join(map(str, error.absolute_path))}: {error.message}" for error in
            validator.iter_errors(to_plain(parse(text, "f")) or {})]


@pytest.mark.parametrize("vector", [vector for vector in VECTORS if vector["kind"] == "parity"],
                         ids=lambda vector: vector["id"])
def test_what_loads_is_valid(validator, vector):
    texts = [vector["yaml"]] if "yaml" in vector else [text for name,
                                                       text in vector["files"] if not name.endswith(".YAML")]
    found = [line for text in texts for line in complaints(validator, text)]
    if vector["id"] in UNKNOWN_KEYS:
        assert f"'{UNKNOWN_KEYS[vector['id']]}'" in found[0]
    else:
        assert found == []


@pytest.mark.parametrize("text", [
    "globalTTL: ${env.N}", 'globalTTL: "${n}"', 'sendLoadingState: "${b}"', "sendLoadingState: yes", "x-y: 1",
    "globalTTL: ~", "models: ~", "models: {m: ~}", "logToStdout: ~", 'logToStdout: "${w}"', "logLevel: loud",
    "apiKeys: [1, true, ~]",
    "performance: {every: 1h30m}", 'performance: {every: "${n}s"}', "performance: {every: ~}",
    'performance: {every: "0"}',
    "routing: {router: {use: ''}, scheduler: {use: ''}}", "profiles: {old: [a, b]}", "store: ~",
    "models: {m: {timeouts: {connect: -1}}}",
    "models: {m: {sendLoadingState: ~, compat: ~, capabilities: {context: 4096.0}}}", "captureBuffer: -1",
    "matrix: {sets: {s: 8}, vars: {v: a}, evict_costs: {v: '${n}'}}", "adminListen: ':9'",
    "macros: {a: 1, b: x, c: true, d: 1.5}",
    "models: {m: {filters: {setParamsByID: {x: ~}}}}", "models: {m: {filters: ~, metadata: {any: [1, {thing: ~}]}}}"])
def test_what_loads_with_macros_words_and_nulls_is_valid(validator, text):
    assert complaints(validator, text) == []


@pytest.mark.parametrize("text", [
    "globalTtl: 5", "models: {m: {cmdstop: x}}", "models: {m: {timeouts: {conect: 1}}}", "groups: {g: {member: [a]}}",
    "store: {file: x}",
    "routing: {router: {mode: group}}", "globalTTL: soon", "globalTTL: -1", "startPort: 0", "models: [a]",
    "models: {m: text}",
    "apiKeys: k", "apiKeys: [[a]]", "sendLoadingState: maybe", "logToStdout: all", "selectors: {s: {strategy: Pin}}",
    "performance: {every: 5}", "performance: {every: soon}", "macros: {PORT: 1}", "macros: {a b: 1}",
    "macros: {a: [1]}",
    "macros: {" + "x" * 64 + ": 1}", "matrix: {sets: [a]}", "routing: {router: {use: lru}}",
    "routing: {scheduler: {use: lifo}}",
    "models: {m: {capabilities: {context: -1}}}", "models: {m: {ttl: -2}}", "profiles: {p: 5}"])
def test_what_does_not_load_or_is_misspelt_is_invalid(validator, text):
    assert complaints(validator, text) != []


def test_every_key_is_described():
    schema = json_schema()
    assert list(schema["properties"]) == list(ROOT_FIELDS)
    assert schema["$schema"] == "http://json-schema.org/draft-07/schema#"
    for key, field in ROOT_FIELDS.items():
        assert schema["properties"][key]["description"] == field.doc
    assert schema["properties"]["logRequests"]["deprecated"] is True
    assert schema["properties"]["globalTTL"]["default"] == 0
    assert schema["properties"]["ui"]["properties"]["activity"]["properties"]["session_id"]["default"] == \
        ["X-Session-ID", "X-Litellm-Session-Id"]
    assert "default" not in schema["properties"]["apiKeys"]
    json.dumps(schema)
