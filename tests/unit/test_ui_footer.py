"""The line below an answer: all that is known, and nothing that is not."""

import msgspec
import pytest

from chatbot.messages import Answered, Completion, Target
from chatbot.settings import Price
from chatbot.ui.footer import footer
from chatbot.ui.lines import plain

TARGET = Target("sim", "sim-1")
WHOLE = Answered(
    "r", 1, Completion("hi", "sim-1-big", "stop", input_tokens=9, output_tokens=80), 1234.0, 4000.0
)


def shown(answered: Answered, price: Price | None = None) -> str:
    return plain(footer(answered, TARGET, price))


def test_it_says_who_how_much_how_fast_and_for_how_much() -> None:
    line = "sim-1-big · 80 tokens · 20.0 tokens/s · first token 1.2 s"
    assert shown(WHOLE) == line
    assert shown(WHOLE, Price(1.0, 100.0)) == f"{line} · $0.0080"


def test_what_the_server_did_not_say_is_left_out() -> None:
    nothing = msgspec.structs.replace(WHOLE, completion=Completion("hi"), first_token_ms=None)
    assert shown(nothing, Price(1.0, 1.0)) == "sim-1"


@pytest.mark.parametrize(
    ("age_s", "age"), [(0.5, "just now"), (59.0, "59 s ago"), (60.0, "1 min ago"), (3 * 3600.0, "3 h ago"),
                       (2 * 86400.0, "2 d ago")]
)  # fmt: skip
def test_an_answer_from_the_cache_has_its_age_and_cost_nothing_now(age_s: float, age: str) -> None:
    cached = msgspec.structs.replace(WHOLE, cached_age_s=age_s)
    line = f"sim-1-big · 80 tokens · cached {age} · /regenerate asks anew"
    assert shown(cached, Price(1.0, 1.0)) == line


@pytest.mark.parametrize("reason", ["length", "max_tokens"])
def test_an_answer_that_was_cut_off_says_so(reason: str) -> None:
    completion = msgspec.structs.replace(WHOLE.completion, finish_reason=reason)
    assert shown(msgspec.structs.replace(WHOLE, completion=completion)).endswith(
        " · cut off by the limit of tokens"
    )


def test_a_model_with_a_name_of_two_lines_stays_on_one() -> None:
    completion = msgspec.structs.replace(WHOLE.completion, model="a\nb\x1b[1m")
    assert shown(msgspec.structs.replace(WHOLE, completion=completion)).startswith("a b␛[1m ·")
