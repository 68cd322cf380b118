"""What an answer costs, in dollars: pure.

A price is what the person's settings say; without one, or without knowing the tokens, the cost is unknown,
which is never shown as $0. `input_tokens` are those of a `Completion`: with Anthropic's as with OpenAI's they
count what the server had in its prompt cache in. What the cache costs to be written is not told apart.
"""

from collections.abc import Mapping

from chatbot.messages import Completion, Target
from chatbot.settings import Price

_MILLION = 1_000_000
# Where the formats tell the input that was read from the server's prompt cache
_CACHED = (
    "cache_read_input_tokens",  # Anthropic
    "prompt_tokens_details.cached_tokens",  # OpenAI, Grok: chat completions
    "input_tokens_details.cached_tokens",  # OpenAI: responses
)
_SMALLEST = 0.0001


def price_of(target: Target, prices: Mapping[str, Price]) -> Price | None:
    """Return the price of a model; None where none is known."""
    return prices.get(f"{target.backend}:{target.model}")


def cost(completion: Completion, price: Price | None) -> float | None:
    """Return what a generated answer costs; None where that is not known."""
    cached = next((completion.usage[path] for path in _CACHED if path in completion.usage), 0)
    return of_tokens(completion.input_tokens, completion.output_tokens, price, cached=cached)


def of_tokens(
    input_tokens: int | None, output_tokens: int | None, price: Price | None, *, cached: int = 0
) -> float | None:
    """Return what so many tokens cost, `cached` of the input among them; None where that is not known."""
    if price is None or input_tokens is None or output_tokens is None:
        return None
    cached = min(cached, input_tokens)
    of_cached = price.input if price.cached_input is None else price.cached_input
    dollars = (
        (input_tokens - cached) * price.input + cached * of_cached + output_tokens * price.output
    )
    return dollars / _MILLION


def dollars(amount: float) -> str:
    """Return an amount as it is shown: two significant digits of what is small, and cents of the rest."""
    if not amount:
        return "$0"
    if amount < _SMALLEST:
        return f"<${_SMALLEST:.4f}"
    if amount < 0.01:
        return f"${amount:.4f}"
    return f"${amount:.3f}" if amount < 1 else f"${amount:,.2f}"
