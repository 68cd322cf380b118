"""The official clients of the three formats, against the simulated server."""

from collections.abc import Iterator
from typing import Any

import anthropic
import ollama
import openai
import pytest

from chatbot.distribution import constant
from chatbot.settings import SimServerSettings
from tests.actors.test_simserver import serving

QUESTION: Any = [{"role": "user", "content": "hello there"}]
CHUNKS = 16


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with serving(
        SimServerSettings(
            first_token=constant(0.001), inter_chunk=constant(0), chunks=constant(CHUNKS)
        )
    ) as (_, at):
        yield at


@pytest.fixture
def openai_client(address: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{address}/v1", api_key="k", max_retries=0) as client:
        yield client


@pytest.fixture
def anthropic_client(address: str) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=address, api_key="k", max_retries=0) as client:
        yield client


@pytest.fixture
def ollama_client(address: str) -> Iterator[ollama.Client]:
    client = ollama.Client(host=address)
    yield client
    client._client.close()


def test_openai_streams_with_usage(openai_client: openai.OpenAI) -> None:
    stream = openai_client.chat.completions.create(
        model="sim", messages=QUESTION, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    pieces = [
        c.choices[0].delta.content for c in chunks if c.choices and c.choices[0].delta.content
    ]
    usage = chunks[-1].usage
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens) == (2, len(pieces)) == (2, CHUNKS)
    assert chunks[-2].choices[0].finish_reason == "stop"


def test_openai_streams_without_usage_unless_asked(openai_client: openai.OpenAI) -> None:
    stream = openai_client.chat.completions.create(model="sim", messages=QUESTION, stream=True)
    assert all(chunk.usage is None for chunk in stream)


def test_openai_answers_whole_and_is_cut_by_the_limit(openai_client: openai.OpenAI) -> None:
    whole = openai_client.chat.completions.create(model="sim", messages=QUESTION)
    cut = openai_client.chat.completions.create(model="sim", messages=QUESTION, max_tokens=3)
    text, start = whole.choices[0].message.content, cut.choices[0].message.content
    assert text is not None
    assert start is not None
    assert text.startswith(start)
    assert (cut.choices[0].finish_reason, len(start.split())) == ("length", 3)


def test_openai_lists_models_and_raises_its_own_errors(
    address: str, openai_client: openai.OpenAI
) -> None:
    assert [m.id for m in openai_client.models.list()] == ["sim", "sim-small", "sim-large"]
    with pytest.raises(openai.NotFoundError, match="'nope' not found"):
        openai_client.chat.completions.create(model="nope", messages=QUESTION)
    with (
        openai.OpenAI(base_url=f"{address}/v1", api_key="wrong-key", max_retries=0) as wrong,
        pytest.raises(openai.AuthenticationError),
    ):
        wrong.models.list()


def test_anthropic_streams_with_usage(anthropic_client: anthropic.Anthropic) -> None:
    with anthropic_client.messages.stream(
        model="sim", max_tokens=100, messages=QUESTION, system="be kind"
    ) as stream:
        pieces = list(stream.text_stream)
        message = stream.get_final_message()
    assert (message.usage.input_tokens, message.usage.output_tokens) == (4, CHUNKS)
    assert (len(pieces), message.stop_reason) == (CHUNKS, "end_turn")


def test_anthropic_answers_whole_and_is_cut_by_the_limit(
    anthropic_client: anthropic.Anthropic,
) -> None:
    message = anthropic_client.messages.create(model="sim", max_tokens=3, messages=QUESTION)
    assert (message.stop_reason, message.usage.output_tokens) == ("max_tokens", 3)
    assert message.content[0].type == "text"


def test_anthropic_lists_models_and_raises_its_own_errors(
    address: str, anthropic_client: anthropic.Anthropic
) -> None:
    assert [m.id for m in anthropic_client.models.list()] == ["sim", "sim-small", "sim-large"]
    with pytest.raises(anthropic.NotFoundError, match="'nope' not found"):
        anthropic_client.messages.create(model="nope", max_tokens=3, messages=QUESTION)
    with (
        anthropic.Anthropic(base_url=address, api_key="wrong-key", max_retries=0) as wrong,
        pytest.raises(anthropic.AuthenticationError),
    ):
        wrong.models.list()


def test_ollama_streams_with_usage(ollama_client: ollama.Client) -> None:
    chunks = list(ollama_client.chat("sim", QUESTION, stream=True))
    last = chunks[-1]
    assert (last.done, last.done_reason) == (True, "stop")
    assert (last.prompt_eval_count, last.eval_count) == (2, CHUNKS) == (2, len(chunks) - 1)
    assert last.eval_duration


def test_ollama_answers_whole_and_is_cut_by_the_limit(ollama_client: ollama.Client) -> None:
    response = ollama_client.chat("sim:latest", QUESTION, options={"num_predict": 3})
    assert (response.done_reason, response.eval_count) == ("length", 3)


def test_ollama_lists_models_and_raises_its_own_errors(ollama_client: ollama.Client) -> None:
    listed = ollama_client.list().models
    assert [m.model for m in listed] == ["sim:latest", "sim-small:latest", "sim-large:latest"]
    assert list(ollama_client.ps().models) == []
    with pytest.raises(ollama.ResponseError, match="'nope' not found") as caught:
        ollama_client.chat("nope", QUESTION)
    assert caught.value.status_code == 404


def test_every_format_is_given_the_same_text(
    openai_client: openai.OpenAI,
    anthropic_client: anthropic.Anthropic,
    ollama_client: ollama.Client,
) -> None:
    first = openai_client.chat.completions.create(model="sim", messages=QUESTION)
    second = anthropic_client.messages.create(model="sim", max_tokens=99, messages=QUESTION)
    block = second.content[0]
    third = ollama_client.chat("sim", QUESTION)
    assert block.type == "text"
    assert first.choices[0].message.content == block.text == third.message.content
