"""What a session has used: `/stats`. Pure.

It counts as the view `model_usage` of the database does: an answer from the cache has used nothing, one that
was generated and whose tokens nobody reported is unknown, one that was refused before it could cost anything
is neither. Undone and replaced turns count like others: they were paid for. The models are those that were asked; what they call themselves in their answers is not looked at.
"""

from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import cast

import msgspec

from chatbot.messages import BackendName, StoredMessage, Target
from chatbot.sanitize import one_line
from chatbot.settings import Price
from chatbot.ui import cost
from chatbot.ui.listing import counted, seconds

_REFUSED = (
    *("auth", "bad_request", "busy", "model_not_found", "not_found", "poison"),
    *("rate_limited", "unreachable"),
)
_HEADS = ("model", "answers", "cached", "failed", "stopped", "in", "out", "tok/s", "first", "cost")
_WIDTH = 80
_LEAST_NAME = 8


class Used(msgspec.Struct, frozen=True):
    """What one model did in this session. `answers` are all that came of a question; `refused` of them, which have
    failed, came before anything was generated. `unknown` ones may have used tokens which nobody reported; `cost`
    is in dollars, of the known ones; None without a price. `seconds` is the generating of `timed_tokens`."""

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
    refused: int = 0


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
    reported: set[tuple[str, str]] = set()
    for answer in messages:
        question = asked.get(answer.request_id)
        if answer.role != "assistant" or question is None:
            continue
        key = (question.backend, question.model)
        used = sums.get(key) or Used(Target(cast(BackendName, question.backend), question.model))
        sums[key] = _with(used, answer)
        if not answer.cached and (answer.input_tokens, answer.output_tokens) != (None, None):
            reported.add(key)
    return Stats(
        session_id,
        tuple(
            _priced(used, prices) if not used.unknown or key in reported else used
            for key, used in sums.items()
        ),
    )


def lines(stats: Stats) -> Iterator[str]:
    """Return the sums as a table that fits 80 columns, with a line for what is not in it."""
    if not stats.used:
        yield "nothing was answered in this session yet"
        return
    rows = [_HEADS, *map(_row, stats.used)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADS))]
    room = max(_LEAST_NAME, _WIDTH - sum(widths[1:]) - len(widths) + 1)
    for name, *others in rows:
        cut = name if len(name) <= room else f"{name[: room - 1]}…"
        cells = map(str.rjust, others, widths[1:])
        yield " ".join((cut.ljust(min(widths[0], room)), *cells)).rstrip()
    if unknown := sum(each.unknown for each in stats.used):
        yield f"{counted(unknown, 'answer')} told no tokens: not in the sums, and of unknown cost"
    known = [each.cost for each in stats.used if each.cost is not None]
    if known and len(stats.used) > 1:
        more = "" if len(known) == len(stats.used) and not unknown else ", and what is unknown"
        yield f"cost: {cost.dollars(sum(known))}{more}"
    elif not known:
        yield "cost unknown: config.toml may give the prices of these models"


def _with(used: Used, answer: StoredMessage) -> Used:
    """Return the sums with one more answer."""
    paid = not answer.cached
    tokens_in = (answer.input_tokens or 0) if paid else 0
    tokens_out = (answer.output_tokens or 0) if paid else 0
    is_untold = paid and (answer.input_tokens is None or answer.output_tokens is None)
    refused = answer.status == "failed" and not answer.content and answer.finish_reason in _REFUSED
    duration_ms = answer.duration_ms if paid and answer.status == "complete" else None
    is_timed = duration_ms is not None and answer.output_tokens is not None
    first_ms = answer.first_token_ms if paid else None
    return Used(
        used.target,
        used.answers + 1,
        used.cached + answer.cached,
        used.failed + (answer.status == "failed"),
        used.interrupted + (answer.status == "interrupted"),
        used.unknown + (is_untold and not refused),
        used.input_tokens + tokens_in,
        used.output_tokens + tokens_out,
        used.timed_tokens + (tokens_out if is_timed else 0),
        used.seconds + ((duration_ms or 0.0) / 1000 if is_timed else 0.0),
        used.first_token_ms if first_ms is None else (*used.first_token_ms, first_ms),
        refused=used.refused + refused,
    )


def _priced(used: Used, prices: Mapping[str, Price]) -> Used:
    price = cost.price_of(used.target, prices)
    dollars = cost.of_tokens(used.input_tokens, used.output_tokens, price)
    return msgspec.structs.replace(used, cost=dollars)


def _row(used: Used) -> tuple[str, ...]:
    is_known = not used.unknown or used.unknown < used.answers - used.refused
    at_least = "≥" if used.unknown else ""
    return (
        one_line(f"{used.target.backend} {used.target.model}"),
        str(used.answers - used.refused),
        str(used.cached),
        str(used.failed),
        str(used.interrupted),
        at_least + _short(used.input_tokens) if is_known else "-",
        at_least + _short(used.output_tokens) if is_known else "-",
        f"{used.timed_tokens / used.seconds:.1f}" if used.seconds else "-",
        seconds(median(used.first_token_ms)) if used.first_token_ms else "-",
        "unknown" if used.cost is None else at_least + cost.dollars(used.cost),
    )


def _short(number: int) -> str:
    """Return a number of tokens in few characters."""
    if number < 10_000:
        return str(number)
    return f"{number / 1000:.1f}k" if number < 1_000_000 else f"{number / 1_000_000:.2f}M"
