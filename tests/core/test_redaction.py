"""What is masked in a command line, and what only looks like a secret."""
from __future__ import annotations

import pytest

from llamaswap.core.redaction import redact, redact_values


@pytest.mark.parametrize("command, shown", [
    ("server --api-key abc --port 1", "server --api-key *** --port 1"),
    ("server --api-key=abc -m x", "server --api-key=*** -m x"),
    ("server -hf-token abc", "server -hf-token ***"),
    ("server --apikey 'a b' x", "server --apikey *** x"),
    ("server \\\n  --password\n  x", "server \\\n  --password\n  ***"),
    ("docker run -e HF_TOKEN=hf_x -e A=1 img", "docker run -e HF_TOKEN=*** -e A=1 img"),
    ('docker run -e "OPENAI_API_KEY=sk" img', 'docker run -e "OPENAI_API_KEY=***" img'),
    ("curl -H 'Authorization: Bearer zzz'", "curl -H 'Authorization: Bearer ***'"),
    ("server --url http://user:pw@host/x", "server --url http://user:***@host/x"),
    ("server --max-token 50 --n-key=7", "server --max-token 50 --n-key=7"),
    ("server --tokenizer /a --max-tokens 5", "server --tokenizer /a --max-tokens 5"),
    ("server --keyframe x --monkey b", "server --keyframe x --monkey b"),
    ("", ""),
])
def test_redact(command, shown):
    assert redact(command) == shown


def test_it_stays_fast():
    redact("-" * 100_000 + " key" * 10_000 + "a_" * 50_000)


def test_values_of_a_configuration():
    shown = redact_values({
        "apiKeys": ["a", "b"], "apiKey": "x", "authToken": "t", "password": "", "cmd": "srv --api-key foo",
        "argv": ["srv", "--api-key", "foo", "--max-tokens", "5", "--port", "1"], "env": ["HF_TOKEN=abc", "A=b"],
        "max_tokens": 5, "setKeys": ["temperature"], "token": {"deep": {"secret": "x", "n": 1}}, "none": None})
    assert shown == {
        "apiKeys": ["***", "***"], "apiKey": "***", "authToken": "***", "password": "", "cmd": "srv --api-key ***",
        "argv": ["srv", "--api-key", "***", "--max-tokens", "5", "--port", "1"], "env": ["HF_TOKEN=***", "A=b"],
        "max_tokens": 5, "setKeys": ["temperature"], "token": {"deep": {"secret": "***", "n": 1}}, "none": None}
