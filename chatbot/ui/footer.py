"""The line below an answer: who gave it, how much it is, how long it took, what it cost. Pure.

What is not known is left out. Tokens per second are those of the whole call, as in the database's view
`model_usage`.
"""

from chatbot.messages import Answered, Target
from chatbot.sanitize import one_line
from chatbot.settings import Price
from chatbot.ui import cost, listing
from chatbot.ui.lines import Line, line

_LIMITED = ("length", "max_tokens")


def footer(answered: Answered, target: Target, price: Price | None) -> Line:
    """Return the line for a whole answer."""
    return line(" · ".join(_parts(answered, target, price)), "dim")


def _parts(answered: Answered, target: Target, price: Price | None) -> list[str]:
    completion = answered.completion
    parts = [one_line(completion.model or target.model)]
    if (tokens := completion.output_tokens) is not None:
        parts.append(listing.counted(tokens, "token"))
    if answered.cached_age_s is not None:
        parts += [f"cached {listing.short_age(answered.cached_age_s)}", "/regenerate asks anew"]
    else:
        if tokens and answered.duration_ms > 0:
            parts.append(f"{tokens * 1000 / answered.duration_ms:.1f} tokens/s")
        if answered.first_token_ms is not None:
            parts.append(f"first token {listing.seconds(answered.first_token_ms)}")
        if (dollars := cost.cost(completion, price)) is not None:
            parts.append(cost.dollars(dollars))
    if completion.finish_reason in _LIMITED:
        parts.append("cut off by the limit of tokens")
    return [part for part in parts if part]
