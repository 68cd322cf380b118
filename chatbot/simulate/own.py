"""How much of the times is the client's own: what is too much of it, and how much there is at all. Pure.

The error is strictly judged: it is that of a time from the sending, against the server's own clock. In a time from when
a turn was due there is besides what the whole pipeline took, a commit to the disk among it: that is judged by what it
makes of the whole. Each function returns lines for the verdict.
"""

from collections.abc import Sequence

import msgspec

from chatbot.simulate.result import Accuracy, Metric, Value

_MOST_LOOP_LAG_MS = 50.0
_OWN_MS = {"p50": 10.0, "p99": 50.0, "p99_9": 50.0, "max": 50.0}
_OWN_PART = {"p50": 0.1, "p99": 0.2, "p99_9": 0.2, "max": 0.2}
_TAIL_PART = 0.1  # what the error may be of the time that it is in
AT = {"p50": "at the median", "p99": "at p99", "p99_9": "at p99.9", "max": "at most"}


class Known(msgspec.Struct, frozen=True):
    """What there is to judge it by; `error_ms` may be the error at the median."""

    accuracy: tuple[Accuracy, ...]
    metrics: dict[str, Metric]
    error_ms: float


def errors(known: Known) -> list[str]:
    """The client's own error. That of the run counts; without it, each calibration's."""
    reasons: list[str] = []
    error_ms = known.error_ms
    for each in _decisive(known.accuracy):
        where = _where(each)
        for field, limit in (("p50", error_ms), ("p99", _error_limit(known, each, "p99"))):
            value = getattr(each.ttft_error, field)
            if above(value, limit):
                reasons.append(
                    f"TTFT from the sending is {ms(value)} too long {AT[field]}{where}: more than {ms(limit)}"
                )
        limit = max(5 * error_ms, _TAIL_PART * finite(known.metrics.get("gap"), "p99"))
        if above(each.chunk_lag.p99, limit):
            reasons.append(
                f"chunks were read {ms(each.chunk_lag.p99)} after they were sent at p99{where}: more than {ms(limit)}"
            )
    return reasons


def _error_limit(known: Known, accuracy: Accuracy, field: str) -> float:
    """How much the error may be in the tail; at its very end twice that is let pass."""
    twice = 1 if field == "p99" else 2
    return twice * max(5 * known.error_ms, _TAIL_PART * finite(accuracy.ttft_true, field))


def shares(known: Known) -> list[str]:
    """What the client added to a TTFT from when the turn was due."""
    reasons: list[str] = []
    for each in _shared(known.accuracy):
        for field in ("p50", "p99"):
            value, limit = getattr(each.own_share, field), _own_limit(known, field)
            if above(value, limit):
                reasons.append(
                    f"TTFT from when a turn was due has {ms(value)} of the client's own in it {AT[field]}"
                    f"{_where(each)}: more than {ms(limit)}"
                )
    return reasons


def _own_limit(known: Known, field: str) -> float:
    return max(_OWN_MS[field], _OWN_PART[field] * finite(known.metrics.get("ttft"), field))


def tail(known: Known) -> list[str]:
    """What is reported beyond p99, and is not the server's: too few turns to make the whole doubtful."""
    lines: list[str] = []
    for field, what in (("p99_9", "p99.9 and the maximum"), ("max", "the maximum")):
        wrong: list[str] = []
        for each in _decisive(known.accuracy):
            value = getattr(each.ttft_error, field)
            if above(value, _error_limit(known, each, field)):
                wrong.append(f"{ms(value)} from the sending{_where(each)}")
        for each in _shared(known.accuracy):
            value = getattr(each.own_share, field)
            if above(value, _own_limit(known, field)):
                wrong.append(f"{ms(value)} from when it was due{_where(each)}")
        if wrong:
            lines.append(
                f"{what} of the times are not the server's alone: the client's own part in TTFT is {', '.join(wrong)} "
                f"{AT[field]}"
            )
            break
    return lines


def loops(accuracy: Sequence[Accuracy]) -> list[str]:
    """The lateness of the workers' event loops, in every part of the run."""
    reasons: list[str] = []
    for each in accuracy:
        lag = each.loop_lag.p99 if each.loop_lag.p99 is not None else each.loop_lag.max
        if above(lag, _MOST_LOOP_LAG_MS):
            at = "at p99" if each.loop_lag.p99 is not None else "at most"
            reasons.append(
                f"a worker's event loop was {ms(lag)} late {at}{_where(each)}: more than {ms(_MOST_LOOP_LAG_MS)}"
            )
    return reasons


def measured(accuracy: Sequence[Accuracy]) -> list[str]:
    """How good the figures are; or that it could not be checked."""
    decisive = _decisive(accuracy)
    if not decisive:
        return ["the client's own error could not be checked: no server told its true times"]
    lines: list[str] = []
    for each in decisive:
        line = f"TTFT from the sending is at most {ms(each.ttft_error.p50)} too long at the median"
        if each.ttft_error.p99 is not None:
            line += f", {ms(each.ttft_error.p99)} at p99"
        lines.append(f"{line}{_where(each)} ({each.turns:,} turns)")
    for each in _shared(accuracy):
        line = f"TTFT from when it was due has {ms(each.own_share.p50)} of the client's own in it at the median"
        if each.own_share.p99 is not None:
            line += f", {ms(each.own_share.p99)} at p99"
        lines.append(f"{line}{_where(each)}")
    return lines


def _decisive(accuracy: Sequence[Accuracy]) -> list[Accuracy]:
    told = [each for each in accuracy if each.turns]
    return [each for each in told if each.where == "run"] or told


def _shared(accuracy: Sequence[Accuracy]) -> list[Accuracy]:
    """Those whose own share counts: that of the run is known even where the server does not tell."""
    decisive = _decisive(accuracy)
    return [
        each
        for each in accuracy
        if each.own_share.count and (each in decisive or each.where == "run")
    ]


def finite(metric: Metric | None, field: str) -> float:
    """Return a value of a distribution; where it lies among the failures, the next that does not."""
    if metric is None:
        return 0.0
    fields = ("max", "p99_9", "p99", "p50")
    values = [getattr(metric, each) for each in fields[fields.index(field) :]]
    return next((float(value) for value in values if isinstance(value, int | float)), 0.0)


def above(value: Value, limit: float) -> bool:
    """Whether a value is more than a limit; one among the failures is."""
    return value == "inf" or (isinstance(value, int | float) and value > limit)


def _where(accuracy: Accuracy) -> str:
    return "" if accuracy.where == "run" else f" in the calibration {accuracy.where} the run"


def ms(value: Value) -> str:
    """Return a time as it stands in a line."""
    if not isinstance(value, int | float):
        return "more than was measured"
    return (
        f"{value:.0f} ms"
        if value >= 100
        else f"{value:.1f} ms"
        if value >= 1
        else f"{value:.2g} ms"
    )
