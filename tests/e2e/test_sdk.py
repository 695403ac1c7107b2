"""The official clients, unchanged, against a running llamaswap with demo models."""
from __future__ import annotations

import asyncio
import io
import json
import struct

import pytest

from tests.support.program import await_true, demo, run_program

openai = pytest.importorskip("openai")
anthropic = pytest.importorskip("anthropic")

MODELS = {"chat": demo("--token-delay", "0.005", concurrencyLimit=60), "narrow": demo(concurrencyLimit=1),
          "failing": demo("--exit-at-start", "3"), "broken": demo("--status", "500"),
          "slow": demo("--startup-delay", "0.5", sendLoadingState=True)}
CONFIG = {"models": MODELS, "apiKeys": ["k"],
          "groups": {"all": {"swap": False, "exclusive": False, "members": list(MODELS)}}}
HELLO = [{"role": "user", "content": "hello"}]
PATIENCE = 30.0


@pytest.fixture(scope="module")
def program():
    with run_program(CONFIG) as running:
        yield running


@pytest.fixture(scope="module")
def client(program):
    with openai.OpenAI(base_url=program.url + "/v1", api_key="k", max_retries=0, timeout=PATIENCE) as made:
        yield made


@pytest.fixture(scope="module")
def claude(program):
    with anthropic.Anthropic(base_url=program.url, api_key="k", max_retries=0, timeout=PATIENCE) as made:
        yield made


# --- OpenAI ------------------------------------------------------------------------------------------------------


def test_chat(client):
    answer = client.chat.completions.create(model="chat", messages=HELLO)
    assert answer.choices[0].message.content == "You said: hello" and answer.usage.total_tokens > 0


def test_chat_stream(client):
    stream = client.chat.completions.create(model="chat", messages=HELLO, stream=True,
                                            stream_options={"include_usage": True})
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices) == "You said: hello"


def test_chat_stream_while_loading(program, client):
    program.ask("POST", "/api/models/unload/slow", headers={"X-Api-Key": "k"})
    stream = client.chat.completions.create(model="slow", messages=HELLO, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices) == "You said: hello"


def test_completions_embeddings_and_models(client):
    assert client.completions.create(model="chat", prompt="hello").choices[0].text == "You said: hello"
    assert len(client.embeddings.create(model="chat", input=["a", "b"]).data) == 2
    assert {row.id for row in client.models.list()} == set(MODELS)
    assert client.models.retrieve("chat").id == "chat"


def test_responses(client):
    assert client.responses.create(model="chat", input="hello").output_text == "You said: hello"
    with client.responses.stream(model="chat", input="hello") as stream:
        assert stream.get_final_response().output_text == "You said: hello"


def wav() -> io.BytesIO:
    samples = b"\0\0" * 800
    head = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + len(samples), b"WAVE", b"fmt ", 16, 1, 1, 8000, 16000, 2, 16,
                       b"data", len(samples))
    file = io.BytesIO(head + samples)
    file.name = "hello.wav"
    return file


def test_images_and_audio(client):
    assert client.images.generate(model="chat", prompt="x", response_format="b64_json").data[0].b64_json
    assert client.images.edit(model="chat", prompt="x", image=("a.png", b"\x89PNG", "image/png")).data
    assert client.audio.speech.create(model="chat", voice="alloy", input="hello").read()[:4] == b"RIFF"
    assert client.audio.transcriptions.create(model="chat", file=wav()).text


def test_errors_are_the_classes_of_the_sdk(program, client):
    with pytest.raises(openai.NotFoundError) as unknown:
        client.chat.completions.create(model="nobody", messages=HELLO)
    assert unknown.value.code == "model_not_found" and unknown.value.type == "invalid_request_error"
    with pytest.raises(openai.AuthenticationError), \
            openai.OpenAI(base_url=program.url + "/v1", api_key="wrong") as other:
        other.models.list()
    with pytest.raises(openai.InternalServerError) as failed:
        client.chat.completions.create(model="failing", messages=HELLO)
    assert failed.value.status_code == 503 and failed.value.response.headers["retry-after"]
    with pytest.raises(openai.InternalServerError):
        client.chat.completions.create(model="broken", messages=HELLO)
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model="chat", messages=HELLO, extra_body={"demo": {"status": 400}})


def test_too_many_is_a_rate_limit(client):
    busy = client.chat.completions.create(model="narrow", messages=HELLO, stream=True,
                                          extra_body={"demo": {"hang_mid_stream": 1}})
    try:
        next(iter(busy))
        with pytest.raises(openai.RateLimitError) as full:
            client.chat.completions.create(model="narrow", messages=HELLO)
        assert full.value.code == "concurrency_limit"
    finally:
        busy.close()

    def has_room() -> bool:
        try:
            return bool(client.chat.completions.create(model="narrow", messages=HELLO))
        except openai.RateLimitError:
            return False
    await_true(has_room, "a cancelled stream frees its slot")


def test_a_broken_stream_raises(client):
    with pytest.raises((openai.APIError, openai.APIConnectionError)):
        for _ in client.chat.completions.create(model="chat", messages=HELLO, stream=True,
                                                extra_body={"demo": {"close_mid_stream": 2}}):
            pass


def test_fifty_at_once(program):
    async def ask_all() -> list:
        async with openai.AsyncOpenAI(base_url=program.url + "/v1", api_key="k", max_retries=0,
                                      timeout=PATIENCE) as many:
            return await asyncio.gather(*(
                many.chat.completions.create(model="chat", messages=[{"role": "user", "content": f"number {n}"}])
                for n in range(50)))

    answers = asyncio.run(ask_all())
    assert [answer.choices[0].message.content for answer in answers] == [f"You said: number {n}" for n in range(50)]


# --- Anthropic ---------------------------------------------------------------------------------------------------


def test_messages(claude):
    answer = claude.messages.create(model="chat", max_tokens=50, messages=HELLO)
    assert answer.content[0].text == "You said: hello"
    assert claude.messages.count_tokens(model="chat", messages=HELLO).input_tokens > 0


def test_messages_stream(claude):
    with claude.messages.stream(model="chat", max_tokens=50, messages=HELLO) as stream:
        assert "".join(stream.text_stream) == "You said: hello"


def test_messages_stream_while_loading(program, claude):
    program.ask("POST", "/api/models/unload/slow", headers={"X-Api-Key": "k"})
    with claude.messages.stream(model="slow", max_tokens=50, messages=HELLO) as stream:
        assert "".join(stream.text_stream) == "You said: hello"


def test_anthropic_errors(program, claude):
    with pytest.raises(anthropic.NotFoundError) as unknown:
        claude.messages.create(model="nobody", max_tokens=5, messages=HELLO)
    assert unknown.value.body["error"]["type"] == "not_found_error"
    with pytest.raises(anthropic.AuthenticationError), \
            anthropic.Anthropic(base_url=program.url, api_key="wrong", max_retries=0) as other:
        other.messages.create(model="chat", max_tokens=5, messages=HELLO)
    with pytest.raises(anthropic.InternalServerError):
        claude.messages.create(model="failing", max_tokens=5, messages=HELLO)
    with pytest.raises(anthropic.APIStatusError):
        claude.messages.create(model="broken", max_tokens=5, messages=HELLO)


def test_a_start_that_fails_in_a_loading_stream_raises():
    config = {"models": {"failing": demo("--startup-delay", "0.1", "--exit-at-start", "3", sendLoadingState=True)}}
    with run_program(config) as other:
        with anthropic.Anthropic(base_url=other.url, api_key="k", max_retries=0) as made, \
                pytest.raises(anthropic.APIError), \
                made.messages.stream(model="failing", max_tokens=5, messages=HELLO) as stream:
            list(stream.text_stream)
        with openai.OpenAI(base_url=other.url + "/v1", api_key="k", max_retries=0) as made, \
                pytest.raises(openai.APIError):
            list(made.chat.completions.create(model="failing", messages=HELLO, stream=True))
        assert json.loads(other.ask("GET", "/running").body) == {"running": []}
