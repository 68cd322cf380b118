import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from chatbot.distribution import constant, parse
from chatbot.errors import UsageError
from chatbot.messages import ChatMessage
from chatbot.settings import SimServerSettings
from chatbot.simserver.model import MODELS, MOST_TOKENS, Answer, Models, answer
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


VARIED = SimServerSettings(
    first_token=parse("lognormal:50ms,0.5"),
    inter_chunk=parse("exp:10ms"),
    chunks=parse("40+-10", unit=""),
    tokens_per_chunk=parse("uniform:1,4", unit=""),
    reasoning=parse("uniform:2,9", unit=""),
)


def test_all_that_varies_follows_from_the_seed_and_the_conversation() -> None:
    again, other_seed = plan(VARIED), plan(replace(VARIED, seed=1))
    assert plan(VARIED) == again
    assert again.first_s != other_seed.first_s
    assert again.offsets_s != other_seed.offsets_s
    assert len({plan(VARIED, (f"question {n}",)).length_s for n in range(50)}) == 50


@pytest.mark.parametrize(
    "text", ["30", "uniform:10,50", "30+-6", "lognormal:25,0.5", "exp:30", "pareto:12,2.5"]
)
def test_the_mean_of_many_answers_is_that_of_their_distribution(text: str) -> None:
    wanted = parse(text, unit="")
    times = SimServerSettings(chunks=wanted, first_token=wanted, inter_chunk=wanted)
    made = [plan(times, (f"question {n}",)) for n in range(1500)]
    chunks = sum(len(answer.pieces) for answer in made)
    gaps_s = sum(answer.length_s - answer.first_s for answer in made)
    assert chunks / 1500 == pytest.approx(wanted.mean, rel=0.1, abs=0.5)
    assert sum(a.first_s for a in made) / 1500 == pytest.approx(wanted.mean, rel=0.1)
    assert gaps_s / (chunks - 1500) == pytest.approx(wanted.mean, rel=0.1)


def test_the_values_of_a_file_are_all_that_is_drawn() -> None:
    settings = SimServerSettings(chunks=parse("file:x", unit="", read=lambda _: "3\n5\n8\n"))
    drawn = {len(plan(settings, (f"question {n}",)).pieces) for n in range(60)}
    assert drawn == {3, 5, 8}


@given(st.integers(0, 200), st.integers(0, 1000))
def test_the_tokens_are_counted_and_not_the_chunks(limit: int, number: int) -> None:
    said = (f"question {number}",)
    whole, made = plan(VARIED, said), plan(VARIED, said, max_tokens=limit)
    thought, told = "".join(made.reasoning).split(), "".join(made.pieces).split()
    assert made.count.reasoning_tokens == len(thought)
    assert made.count.output_tokens == len(thought) + len(told)
    assert made.count.output_tokens == min(limit, whole.count.output_tokens)
    assert "".join(whole.pieces).startswith("".join(made.pieces))
    assert "".join(whole.reasoning).startswith("".join(made.reasoning))
    assert (made.reason == "stop") == (made.count == whole.count)


def test_a_chunk_can_hold_several_tokens() -> None:
    made = plan(SimServerSettings(chunks=constant(5), tokens_per_chunk=constant(3)))
    assert [len(piece.split()) for piece in made.pieces] == [3] * 5
    assert made.count.output_tokens == 15
    assert "".join(made.pieces) == "".join(plan(SimServerSettings(chunks=constant(15))).pieces)


def test_an_answer_has_an_end_whatever_is_drawn() -> None:
    huge = SimServerSettings(
        chunks=parse("pareto:50000,0.1", unit=""), tokens_per_chunk=constant(1000)
    )
    assert plan(huge).count.output_tokens == MOST_TOKENS


def test_reasoning_comes_first_and_its_pieces_take_their_time() -> None:
    settings = SimServerSettings(
        first_token=constant(1),
        inter_chunk=constant(0.5),
        reasoning=constant(3),
        chunks=constant(2),
    )
    made = plan(settings)
    assert (len(made.reasoning), len(made.pieces), made.length_s) == (3, 2, 3.0)
    assert "".join(made.reasoning) != "".join(plan(settings, ("other",)).reasoning)


def test_the_prompt_and_the_others_make_an_answer_slower() -> None:
    settings = SimServerSettings(
        first_token=constant(0.5),
        inter_chunk=constant(0.1),
        chunks=constant(11),
        prefill_s=0.25,
        slowdown=0.5,
    )
    alone, loaded = plan(settings, ("one two",)), plan(settings, ("one two",), others=4)
    assert (alone.first_s, alone.length_s) == (1.0, 2.0)
    assert (loaded.first_s, loaded.length_s) == (3.0, 6.0)


def test_a_models_name_can_ask_for_other_times_and_lengths() -> None:
    settings = SimServerSettings(chunks=constant(7), seed=5)
    asked = plan(
        settings, model="sim-small?first_token=200ms&inter_chunk=20ms&chunks=40&reasoning=8"
    )
    assert (asked.first_s, asked.gap_s) == (0.2, 0.02)
    assert (len(asked.reasoning), len(asked.pieces)) == (2, 10)
    assert plan(settings, model="sim?chunks=uniform:1,5").pieces[0] == plan(settings).pieces[0]


@pytest.mark.parametrize(
    ("wishes", "told"),
    [
        (
            "speed=9",
            "nothing called 'speed' to be set, there are: first_token, inter_chunk, chunks",
        ),
        ("chunks", "'' is not a number; give a number or a distribution, from 1 to 100000"),
        ("chunks=0", "from 1 to 100000"),
        ("chunks=file:/etc/passwd", "there is no distribution 'file'"),
        ("first_token=2h", "from 0 to 3600 s"),
        ("first_token=soon", "'soon' is not a duration"),
        ("", None),
    ],
)
def test_a_wish_that_cannot_be_met_is_told_with_what_can(wishes: str, told: str | None) -> None:
    models = Models(SimServerSettings())
    if told is None:
        assert models.find(f"sim?{wishes}") == models.find("sim")
        return
    with pytest.raises(UsageError, match=re.escape(told)):
        models.find(f"sim?{wishes}")


def test_the_names_that_are_remembered_are_bounded() -> None:
    models = Models(SimServerSettings())
    for n in range(1, 2000):
        models.find(f"sim?chunks={n}")
    assert len(models._known) <= 256
