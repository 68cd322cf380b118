"""How a run went over time: the rates, the durations, what was under way. Pure."""

import math
from collections.abc import Callable, Sequence

from chatbot.simulate.plots import Figure, rate_text
from chatbot.simulate.result import Moment, Value, Window
from chatbot.simulate.svg import Plot, Scale, spanning, upto
from chatbot.simulate.text import clock, duration, finite, rate, tick

_MOST_MOMENTS = 150  # more than that cannot be told apart in the width of a plot
_TITLES = ("Throughput, turns a second", "Time to first token", "Latency", "Under way")


def timeline(
    moments: Sequence[Moment], steady: Window, latency_s: float = 0.0
) -> tuple[Figure, ...]:
    """Draw how it went: the rates, the durations, and how much was under way.

    Rates are drawn over no less than an answer's median latency: sessions in step are answered all at once.
    """
    moments = _merged([moment for moment in moments if moment.width_s > 0])
    if not moments:
        empty = "The run ended before the first interval did."
        return tuple(Figure(title=title, empty=empty) for title in _TITLES)
    x = Scale(moments[0].at_s, max(moment.at_s + moment.width_s for moment in moments), "time")
    return (
        _throughput(_widened(moments, latency_s), x, steady),
        _durations("ttft", _TITLES[1], moments, x, steady),
        _durations("latency", _TITLES[2], moments, x, steady),
        _under_way(moments, x, steady),
    )


def _throughput(moments: Sequence[Moment], x: Scale, steady: Window) -> Figure:
    lines = (("asked", "c3 dashed"), ("answered", "c1"), ("failed", "c2"))
    rates = {
        name: [getattr(moment, name) / moment.width_s for moment in moments] for name, _ in lines
    }
    plot = Plot(x, upto(value for values in rates.values() for value in values))
    _shade(plot, steady)
    for name, look in lines:
        plot.line(list(zip(map(_middle, moments), rates[name], strict=True)), look)
    rows = [("time", "asked/s", "answered/s", "failed/s", "tokens/s")]
    for moment, *each in zip(moments, *rates.values(), strict=True):
        asked, answered, failed = map(rate, each)
        tokens = rate(moment.output_tokens / moment.width_s)
        rows.append((clock(moment.at_s), asked, answered, failed, tokens))
        _tell(plot, moment, f"{asked} asked/s, {answered} answered/s, {failed} failed/s")
    keys = tuple((look, name) for name, look in lines)
    return _over_time("throughput", _TITLES[0], plot, keys, rows)


def _durations(
    field: str, title: str, moments: Sequence[Moment], x: Scale, steady: Window
) -> Figure:
    each: list[tuple[Moment, Value, Value]] = [
        (moment, getattr(moment, f"{field}_p50"), getattr(moment, f"{field}_p95"))
        for moment in moments
    ]
    known = [value for _, *both in each for value in map(finite, both) if value is not None]
    rows = [("time", "p50", "p95")]
    rows += [(clock(moment.at_s), duration(p50), duration(p95)) for moment, p50, p95 in each]
    if not known:
        return Figure(title=title, empty="No turn was answered.", rows=tuple(rows))
    plot = Plot(x, spanning(min(known), max(known)))
    _shade(plot, steady)
    ends = [(_middle(moment), finite(p50), finite(p95)) for moment, p50, p95 in each]
    plot.band(
        [None if a is None or b is None else (at, min(a, b), max(a, b)) for at, a, b in ends], "c1"
    )
    plot.line([None if p95 is None else (at, p95) for at, _, p95 in ends], "c4 dashed")
    plot.line([None if p50 is None else (at, p50) for at, p50, _ in ends], "c1")
    keys = [("c1", "p50"), ("c4 dashed", "p95")]
    if any("inf" in both for _, *both in each):
        keys.append(("c2 solid", "p95 among the failed"))
    for (moment, p50, p95), row in zip(each, rows[1:], strict=True):
        if "inf" in (p50, p95):
            plot.ceiling(moment.at_s, moment.at_s + moment.width_s, "c2")
        _tell(plot, moment, f"p50 {row[1]}, p95 {row[2]}")
    return _over_time(field, title, plot, tuple(keys), rows, text=tick)


def _under_way(moments: Sequence[Moment], x: Scale, steady: Window) -> Figure:
    plot = Plot(x, upto(max(moment.in_flight, moment.sessions) for moment in moments))
    _shade(plot, steady)
    plot.line([(_middle(moment), moment.sessions) for moment in moments], "c3 dashed")
    plot.line([(_middle(moment), moment.in_flight) for moment in moments], "c1")
    rows = [("time", "sessions", "turns in flight")]
    for moment in moments:
        rows.append((clock(moment.at_s), f"{moment.sessions:,}", f"{moment.in_flight:,}"))
        _tell(plot, moment, f"{rows[-1][1]} sessions, {rows[-1][2]} turns in flight")
    keys = (("c3 dashed", "sessions"), ("c1", "turns in flight"))
    return _over_time("underway", _TITLES[3], plot, keys, rows)


def _over_time(
    name: str,
    title: str,
    plot: Plot,
    keys: tuple[tuple[str, str], ...],
    rows: Sequence[tuple[str, ...]],
    text: Callable[[float], str] = rate_text,
) -> Figure:
    return Figure(
        title=title,
        svg=plot.svg(
            name=f"time-{name}",
            title=f"{title} over time",
            described=f"{len(rows) - 1} intervals; the shaded part is the steady window",
            x_label="time since the start",
            x_text=lambda at: clock(at) if at == round(at) else f"{at:.3g} s",
            y_text=text,
        ),
        keys=keys,
        rows=tuple(rows),
    )


def _middle(moment: Moment) -> float:
    return moment.at_s + moment.width_s / 2


def _shade(plot: Plot, steady: Window) -> None:
    if steady.to_s > steady.from_s:
        plot.shade(steady.from_s, steady.to_s)


def _tell(plot: Plot, moment: Moment, text: str) -> None:
    end = moment.at_s + moment.width_s
    plot.points_at(moment.at_s, end, f"{clock(moment.at_s)} to {clock(end)}: {text}")


def _merged(moments: Sequence[Moment]) -> list[Moment]:
    """Return at most _MOST_MOMENTS, each of as many of those given.

    Counts add up. Percentiles cannot be put together: the highest of them is shown, so that no stall is hidden.
    """
    by = -(-len(moments) // _MOST_MOMENTS)
    if by <= 1:
        return list(moments)
    return [_joined(moments[start : start + by]) for start in range(0, len(moments), by)]


def _widened(moments: Sequence[Moment], least_s: float) -> list[Moment]:
    """Return moments that are at least so wide, all of as many of those given; the last may hold more."""
    wide = least_s / max(moment.width_s for moment in moments)
    by = max(math.ceil(min(wide, len(moments)) - 1e-9), 1)
    ends = [*range(by, len(moments) - by + 1, by), len(moments)]
    return [_joined(moments[start:end]) for start, end in zip([0, *ends], ends, strict=False)]


def _joined(group: Sequence[Moment]) -> Moment:
    last = group[-1]
    return Moment(
        at_s=group[0].at_s,
        width_s=last.at_s + last.width_s - group[0].at_s,
        asked=sum(moment.asked for moment in group),
        answered=sum(moment.answered for moment in group),
        failed=sum(moment.failed for moment in group),
        in_flight=max(moment.in_flight for moment in group),
        sessions=max(moment.sessions for moment in group),
        output_tokens=sum(moment.output_tokens for moment in group),
        ttft_p50=_highest([moment.ttft_p50 for moment in group]),
        ttft_p95=_highest([moment.ttft_p95 for moment in group]),
        latency_p50=_highest([moment.latency_p50 for moment in group]),
        latency_p95=_highest([moment.latency_p95 for moment in group]),
    )


def _highest(values: Sequence[Value]) -> Value:
    if "inf" in values:
        return "inf"
    return max((value for value in map(finite, values) if value is not None), default=None)
