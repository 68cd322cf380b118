"""The official clients of the three formats, against the simulated server."""

from collections.abc import Iterator
from typing import Any

import anthropic
import ollama
import openai
import pytest

from chatbot.distribution import constant
from chatbot.settings import SimServerSettings
from chatbot.simserver.server import CONTEXT_TOKENS
from tests.actors.test_simserver import serving

QUESTION: Any = [{"role": "user", "content": "hello there"}]
CHUNKS = 16


@pytest.fixture(scope="module", params=[False, True], ids=["", "truth"])
def address(request: pytest.FixtureRequest) -> Iterator[str]:
    with serving(
        SimServerSettings(
            first_token=constant(0.001),
            inter_chunk=constant(0.001),
            chunks=constant(CHUNKS),
            truth=request.param,
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
    contexts = {model.name: model.context_length for model in ollama_client.ps().models}
    assert contexts == {model.model: CONTEXT_TOKENS for model in listed}
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


def test_every_format_tells_the_reasoning_and_counts_it(
    openai_client: openai.OpenAI,
    anthropic_client: anthropic.Anthropic,
    ollama_client: ollama.Client,
) -> None:
    model = "sim?reasoning=5&tokens_per_chunk=2"
    chunks = list(
        openai_client.chat.completions.create(
            model=model, messages=QUESTION, stream=True, stream_options={"include_usage": True}
        )
    )
    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    thoughts = [d.reasoning_content for d in deltas if hasattr(d, "reasoning_content")]
    usage = chunks[-1].usage
    assert usage is not None
    assert usage.completion_tokens_details is not None
    counted = usage.completion_tokens, usage.completion_tokens_details.reasoning_tokens
    assert (len(thoughts), counted) == (5, (2 * (5 + CHUNKS), 10))

    with anthropic_client.messages.stream(model=model, max_tokens=99, messages=QUESTION) as stream:
        message = stream.get_final_message()
    thinking, text = message.content
    assert (thinking.type, text.type) == ("thinking", "text")
    assert getattr(thinking, "thinking", "") == "".join(thoughts)
    assert message.usage.output_tokens == 2 * (5 + CHUNKS)
    whole = anthropic_client.messages.create(model=model, max_tokens=99, messages=QUESTION)
    assert [block.type for block in whole.content] == ["thinking", "text"]
    assert whole.usage.output_tokens == message.usage.output_tokens

    lines = list(ollama_client.chat(model, QUESTION, stream=True))
    assert "".join(line.message.thinking or "" for line in lines) == "".join(thoughts)
    assert lines[-1].eval_count == 2 * (5 + CHUNKS)


def test_the_clients_raise_their_own_errors_for_what_goes_wrong_under_way() -> None:
    settings = SimServerSettings(first_token=constant(0), faults={"error": 1.0})
    with (
        serving(settings) as (_, at),
        openai.OpenAI(base_url=f"{at}/v1", api_key="k", max_retries=0) as first,
        anthropic.Anthropic(base_url=at, api_key="k", max_retries=0) as second,
    ):
        with pytest.raises(openai.APIError, match="has failed"):
            list(first.chat.completions.create(model="sim", messages=QUESTION, stream=True))
        stream = second.messages.create(model="sim", max_tokens=99, messages=QUESTION, stream=True)
        with pytest.raises(anthropic.APIStatusError, match="has failed"):
            list(stream)
        third = ollama.Client(host=at)
        with pytest.raises(ollama.ResponseError, match="has failed"):
            list(third.chat("sim", QUESTION, stream=True))
        third._client.close()


def test_the_clients_ask_again_after_429() -> None:
    settings = SimServerSettings(
        first_token=constant(0), inter_chunk=constant(0), faults={"429": 0.6}, retry_after_s=0.01
    )
    with (
        serving(settings) as (server, at),
        openai.OpenAI(base_url=f"{at}/v1", api_key="k", max_retries=40) as client,
    ):
        for n in range(5):
            question: Any = [{"role": "user", "content": f"question {n}"}]
            client.chat.completions.create(model="sim", messages=question)
        assert server.served == 5
