"""A real inference engine behind llamaswap: llama.cpp's server, on models of a few kilobytes made here.

Name the program in LLAMA_SERVER, put it on PATH, or let `make engine` build it into .engine/.
"""
from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from tests.support.program import ROOT, chat, run_program
from tests.support.tiny_gguf import write_tiny_model

ENGINE = os.environ.get("LLAMA_SERVER") or shutil.which("llama-server") or str(ROOT / ".engine" / "llama-server")
LOAD_PATIENCE = 120      # seconds; a busy machine loads even a tiny model slowly
CALLS = 640              # what a proxy that trusts the engine's keep-alive loses some of

pytestmark = [pytest.mark.engine,
              pytest.mark.skipif(not os.path.exists(ENGINE), reason="llama-server is not installed; see make engine")]


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    folder = Path(tmp_path_factory.mktemp("models"))
    models = {}
    for seed, name in enumerate(("tiny-a", "tiny-b")):
        write_tiny_model(folder / f"{name}.gguf", name=name, seed=seed)
        models[name] = {"cmd": f"{ENGINE} --host 127.0.0.1 --port ${{PORT}} -m {folder / name}.gguf "
                               "-c 256 -np 1 -t 1 --no-warmup"}
    with run_program({"models": models}) as running:
        yield running


def streamed(program, model, tokens=4):
    """The pieces of a streamed answer, and how it ended."""
    body = chat(model, "hello world", stream=True, max_tokens=tokens, temperature=0)
    with program.stream("POST", "/v1/chat/completions", body) as answer:
        assert answer.status == 200, answer.read()
        events = [line[6:] for line in answer.read().decode().splitlines() if line.startswith("data: ")]
    assert events[-1] == "[DONE]"
    return [json.loads(event) for event in events[:-1]]


def test_two_real_models_swap_and_stream(program):
    for model in ("tiny-a", "tiny-b", "tiny-a"):
        answer = program.ask("POST", "/v1/chat/completions", chat(model, "hello", max_tokens=4), timeout=LOAD_PATIENCE)
        assert answer.status == 200, answer
        assert answer.json()["usage"]["completion_tokens"] <= 4
        assert program.running() == {model: "ready"}
        assert streamed(program, model)


def test_other_endpoints_reach_the_engine(program):
    props = program.ask("GET", "/props?model=tiny-a", timeout=LOAD_PATIENCE)
    assert props.status == 200 and "default_generation_settings" in props.json()
    tokens = program.ask("POST", "/upstream/tiny-a/tokenize", {"content": "hello world"})
    assert tokens.status == 200 and tokens.json()["tokens"]


def test_no_call_is_lost_although_the_engine_closes_its_connections(program):
    program.ask("POST", "/v1/chat/completions", chat("tiny-b", max_tokens=1), timeout=LOAD_PATIENCE)
    body = chat("tiny-b", "hello", max_tokens=2, temperature=0)
    connection = program.connect(timeout=LOAD_PATIENCE)
    try:
        statuses = []
        for number in range(CALLS):
            sent = json.dumps({**body, "stream": number % 2 == 0})
            connection.request("POST", "/v1/chat/completions", sent, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            assert answer.read()
            statuses.append(answer.status)
    finally:
        connection.close()
    assert statuses == [200] * CALLS
