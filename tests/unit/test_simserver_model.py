from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from chatbot.distribution import constant
from chatbot.messages import ChatMessage
from chatbot.settings import SimServerSettings
from chatbot.simserver.model import MODELS, Answer, Models, answer
from chatbot.wire.format import ChatRequest


def ask(*said: str, model: str = "sim", **more: Any) -> Answer:
    settings = SimServerSettings(chunks=constant(more.pop("chunks", 32)), seed=more.pop("seed", 0))
    return plan(settings, said, model, **more)


def plan(
    settings: SimServerSettings,
    said: tuple[str, ...] = ("hello",),
    model: str = "sim",
    others: int = 0,
    **more: Any,
) -> Answer:
    profile = Models(settings).find(model)
    assert profile is not None
    roles = ("user", "assistant")
    messages = tuple(ChatMessage(roles[i % 2], text) for i, text in enumerate(said))  # type: ignore[arg-type]
    return answer(profile, ChatRequest(model, messages, stream=True, **more), others)


def test_the_same_seed_and_conversation_give_the_same_text() -> None:
    assert ask("hello", seed=3) == ask("hello", seed=3)


def test_another_seed_another_turn_and_another_system_prompt_give_another_text() -> None:
    made = ask("hello"), ask("hello", seed=1), ask("hello", "Hi", "more"), ask("hello", system="x")
    assert len({a.pieces for a in made}) == 4


def test_a_system_prompt_counts_the_same_wherever_a_format_puts_it() -> None:
    messages = (ChatMessage("system", "be kind"), ChatMessage("user", "hello"))
    profile = Models(SimServerSettings()).find("sim")
    assert profile is not None
    inline = answer(profile, ChatRequest("sim", messages, stream=True))
    assert inline == ask("hello", system="be kind")


@given(st.integers(0, 300), st.integers(0, 400))
def test_a_limit_cuts_the_text_and_changes_nothing_else(chunks: int, limit: int) -> None:
    whole, cut = ask("hello", chunks=chunks), ask("hello", chunks=chunks, max_tokens=limit)
    assert cut.pieces == whole.pieces[:limit]
    assert cut.reason == ("length" if limit < chunks else "stop")
    assert whole.reason == "stop"


@given(st.integers(1, 100), st.lists(st.text(), min_size=1, max_size=3))
def test_counts_are_true(chunks: int, said: list[str]) -> None:
    made = ask(*said, chunks=chunks)
    assert made.count.output_tokens == len(made.pieces) == chunks
    assert made.count.output_tokens == len("".join(made.pieces).split())
    assert made.count.input_tokens == sum(len(text.split()) for text in said)


def test_the_text_reads_like_sentences() -> None:
    text = "".join(ask("hello", chunks=20).pieces)
    first, second, rest = text.split(".")
    assert (first[0].isupper(), second[:2].strip().isupper(), rest) == (True, True, "")


def test_times_do_not_drift() -> None:
    made = plan(
        SimServerSettings(
            first_token=constant(0.5), inter_chunk=constant(0.1), chunks=constant(1001)
        )
    )
    assert (made.due_s(0), made.due_s(10), made.length_s) == (0.5, 1.5, 100.5)


def test_the_models_differ_in_length_and_a_tag_is_no_other_model() -> None:
    assert [len(ask("x", model=name).pieces) for name in MODELS] == [32, 8, 128]
    models = Models(SimServerSettings())
    assert models.find("sim:latest") == models.find("sim")
    assert models.find("llama3") is None
