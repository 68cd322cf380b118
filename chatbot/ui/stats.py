"""What a session has used: `/stats`. Pure.

It counts as the view `model_usage` of the database does: an answer from the cache has used nothing, one that
was generated and whose tokens nobody reported is unknown, one that was refused before it could cost anything
is neither. The models are those that were asked; what they call themselves in their answers is not looked at.
"""

from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import cast

import msgspec

from chatbot.messages import BackendName, StoredMessage, Target
from chatbot.sanitize import one_line
from chatbot.settings import Price
from chatbot.ui import cost

_REFUSED = (
    *("auth", "bad_request", "busy", "model_not_found", "not_found", "poison"),
    *("rate_limited", "unreachable"),
)
_HEADS = ("model", "answers", "cached", "failed", "input", "output", "tok/s", "first", "cost")
_NAME = 24


class Used(msgspec.Struct, frozen=True):
    """What one model did in this session. `unknown` answers may have used tokens which nobody reported; `cost` is
    in dollars, of the known ones; None without a price. `seconds` is the generating of `timed_tokens`."""

    target: Target
    answers: int = 0
    cached: int = 0
    failed: int = 0
    interrupted: int = 0
    unknown: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    timed_tokens: int = 0
    seconds: float = 0.0
    first_token_ms: tuple[float, ...] = ()
    cost: float | None = None


class Stats(msgspec.Struct, frozen=True):
    """A session's sums, by model in the order of their first answer."""

    session_id: str
    used: tuple[Used, ...] = ()


def of_messages(
    session_id: str, messages: Sequence[StoredMessage], prices: Mapping[str, Price]
) -> Stats:
    """Return the sums over a session's messages, those of siblings among them. What the server had in a
    cache of its own is not in the database: it is counted at the price of other input."""
    asked = {each.request_id: each for each in messages if each.role == "user"}
    sums: dict[tuple[str, str], Used] = {}
    for answer in messages:
        question = asked.get(answer.request_id)
        if answer.role != "assistant" or question is None:
            continue
        key = (question.backend, question.model)
        used = sums.get(key) or Used(Target(cast(BackendName, question.backend), question.model))
        sums[key] = _with(used, answer, cost.price_of(used.target, prices))
    return Stats(session_id, tuple(sums.values()))


def lines(stats: Stats) -> Iterator[str]:
    """Return the sums as a table that fits 80 columns, with a line for what is not in it."""
    if not stats.used:
        yield "nothing was answered in this session yet"
        return
    rows = [_HEADS, *map(_row, stats.used)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADS))]
    for name, *others in rows:
        yield "  ".join((name.ljust(widths[0]), *map(str.rjust, others, widths[1:]))).rstrip()
    if unknown := sum(each.unknown for each in stats.used):
        noun = "answer" if unknown == 1 else "answers"
        yield f"{unknown} {noun} told no tokens: not in the sums, and of unknown cost"
    known = [each.cost for each in stats.used if each.cost is not None]
    if known and len(stats.used) > 1:
        more = "" if len(known) == len(stats.used) and not unknown else ", and what is unknown"
        yield f"cost: {cost.dollars(sum(known))}{more}"
    elif not known:
        yield "cost unknown: config.toml may give the prices of these models"


def _with(used: Used, answer: StoredMessage, price: Price | None) -> Used:
    """Return the sums with one more answer."""
    paid = not answer.cached
    tokens_in = (answer.input_tokens or 0) if paid else 0
    tokens_out = (answer.output_tokens or 0) if paid else 0
    refused = answer.status == "failed" and not answer.content and answer.finish_reason in _REFUSED
    unknown = paid and (answer.input_tokens is None or answer.output_tokens is None) and not refused
    timed = paid and answer.status == "complete" and bool(answer.duration_ms)
    timed = timed and answer.output_tokens is not None
    added = cost.of_tokens(tokens_in, tokens_out, price)
    is_known = not unknown or answer.input_tokens is not None or answer.output_tokens is not None
    total = used.cost
    if added is not None and is_known:
        total = (total or 0.0) + added
    first = answer.first_token_ms
    return Used(
        used.target,
        used.answers + 1,
        used.cached + answer.cached,
        used.failed + (answer.status == "failed"),
        used.interrupted + (answer.status == "interrupted"),
        used.unknown + unknown,
        used.input_tokens + tokens_in,
        used.output_tokens + tokens_out,
        used.timed_tokens + (tokens_out if timed else 0),
        used.seconds + ((answer.duration_ms or 0.0) / 1000 if timed else 0.0),
        (*used.first_token_ms, first) if paid and first is not None else used.first_token_ms,
        total,
    )


def _row(used: Used) -> tuple[str, ...]:
    name = one_line(f"{used.target.backend} {used.target.model}")
    is_known = used.unknown < used.answers
    at_least = "≥" if used.unknown else ""
    return (
        name if len(name) <= _NAME else name[: _NAME - 1] + "…",
        str(used.answers),
        str(used.cached),
        str(used.failed + used.interrupted),
        at_least + str(used.input_tokens) if is_known else "-",
        at_least + str(used.output_tokens) if is_known else "-",
        f"{used.timed_tokens / used.seconds:.1f}" if used.seconds else "-",
        f"{median(used.first_token_ms):.0f} ms" if used.first_token_ms else "-",
        "unknown" if used.cost is None else at_least + cost.dollars(used.cost),
    )
