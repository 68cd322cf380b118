"""What an answer costs: what is unknown is unknown, and never nothing."""

import pytest

from chatbot.messages import Completion, Target
from chatbot.settings import Price
from chatbot.ui import cost
from chatbot.wire.format import count_tokens

PRICE = Price(3.0, 15.0, 0.3)


def completion(usage: dict[str, int]) -> Completion:
    """Return an answer with a server's usage, as the worker reads it."""
    return Completion("hi", usage=usage, input_tokens=count_tokens(usage)[0], output_tokens=100)


def test_both_formats_cost_the_same_for_the_same_tokens() -> None:
    anthropic = {"input_tokens": 400, "cache_read_input_tokens": 600, "output_tokens": 100}
    openai = {
        "prompt_tokens": 1000,
        "prompt_tokens_details.cached_tokens": 600,
        "completion_tokens": 100,
    }
    expected = (400 * 3.0 + 600 * 0.3 + 100 * 15.0) / 1e6
    assert cost.cost(completion(anthropic), PRICE) == pytest.approx(expected)
    assert cost.cost(completion(openai), PRICE) == pytest.approx(expected)


def test_without_a_price_of_its_own_what_was_cached_costs_as_much_as_the_rest() -> None:
    usage = {"prompt_tokens": 1000, "prompt_tokens_details.cached_tokens": 600}
    assert cost.cost(completion(usage), Price(3.0, 15.0)) == pytest.approx(0.0045)


@pytest.mark.parametrize(("read", "written"), [(None, 1), (1, None), (None, None)])
def test_unknown_tokens_have_an_unknown_cost(read: int | None, written: int | None) -> None:
    assert cost.of_tokens(read, written, PRICE) is None
    assert cost.of_tokens(1, 1, None) is None


def test_more_cached_tokens_than_there_are_cost_no_less_than_all_of_them() -> None:
    assert cost.of_tokens(10, 0, PRICE, cached=99) == cost.of_tokens(10, 0, PRICE, cached=10)


def test_a_price_is_that_of_this_model_at_this_backend() -> None:
    prices = {"openai:gpt-4.1": PRICE}
    assert cost.price_of(Target("openai", "gpt-4.1"), prices) is PRICE
    assert cost.price_of(Target("openai", "gpt-4.1-mini"), prices) is None
    assert cost.price_of(Target("sim", "gpt-4.1"), prices) is None


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0.0, "$0"),
        (0.00001, "<$0.0001"),
        (0.00123, "$0.0012"),
        (0.0123, "$0.012"),
        (1.239, "$1.24"),
        (1234.5, "$1,234.50"),
    ],
)
def test_an_amount_is_shown_as_exactly_as_it_matters(amount: float, text: str) -> None:
    assert cost.dollars(amount) == text
