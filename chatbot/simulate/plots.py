"""Which plots a report has, and what is drawn in them. Pure.

A figure has its numbers as a table too, for whoever does not see it. Where there is nothing to draw, it says so.
"""

import math
from collections.abc import Sequence

import msgspec

from chatbot.simulate.result import Metric, Value
from chatbot.simulate.svg import Plot, Scale, spanning, upto
from chatbot.simulate.text import duration, finite, rate, tick

_BINS = 48


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """A plot with its caption. `keys` are (look, name) of what is drawn; `rows` the table, heads first."""

    title: str
    note: str = ""
    svg: str = ""
    empty: str = ""
    keys: tuple[tuple[str, str], ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


Series = tuple[str, str, Metric]  # its look, its name


def percentiles(name: str, title: str, series: Sequence[Series]) -> Figure:
    """Draw the duration below which each share of the turns lies, the failed ones at the end as infinite."""
    series = [each for each in series if each[2].histogram]
    if not series:
        return Figure(title=title, empty="No turn was answered.")
    totals = [sum(metric.histogram.values()) + metric.failed for _, _, metric in series]
    low = min(min(metric.histogram) for _, _, metric in series) / 1000
    high = max(max(metric.histogram) for _, _, metric in series) / 1000
    x = Scale(0.0, 1 - 1 / max(10, *totals), "quantile")
    plot = Plot(x, spanning(low, high))
    for (look, _, metric), total in zip(series, totals, strict=True):
        plot.steps(_quantiles(metric, total, x), look)
    answered = min(
        sum(metric.histogram.values()) / total
        for (_, _, metric), total in zip(series, totals, strict=True)
    )
    keys = [(look, text) for look, text, _ in series]
    if answered < 1:
        plot.ceiling(answered, 1.0, "c2")
        keys.append(("c2 solid", "failed: no end"))
    described = "; ".join(
        f"{text}: p50 {duration(metric.p50)}, p95 {duration(metric.p95)}, p99 {duration(metric.p99)}"
        for _, text, metric in series
    )
    return Figure(
        title=title,
        svg=plot.svg(
            name=name,
            title=f"{title} by percentile",
            described=described,
            x_label="percentile",
            x_text=lambda share: f"{share * 100:.6g}",
            y_text=tick,
        ),
        keys=tuple(keys),
        rows=(
            ("", "p50", "p90", "p95", "p99", "p99.9"),
            *((text, *map(duration, _five(metric))) for _, text, metric in series),
        ),
    )


def _five(metric: Metric) -> tuple[Value, ...]:
    return metric.p50, metric.p90, metric.p95, metric.p99, metric.p99_9


def _quantiles(metric: Metric, total: int, x: Scale) -> list[tuple[float, float]]:
    """Return (share, ms): at each share of all turns the value from there on; thinned to what can be seen."""
    points: list[tuple[float, float]] = []
    below, seen = 0, -1.0
    value = 0.0
    for us, count in sorted(metric.histogram.items()):
        value = us / 1000
        place = x.at(below / total)
        if place - seen > 0.002 or not points:
            points.append((below / total, value))
            seen = place
        below += count
    points.append((below / total, value))
    return points


def histogram(name: str, title: str, series: Sequence[Series]) -> Figure:
    """Draw how many turns took how long, in bins that grow with the duration; the first series as bars."""
    series = [each for each in series if each[2].histogram]
    if not series:
        return Figure(title=title, empty="No turn was answered.")
    low = max(min(min(metric.histogram) for _, _, metric in series) / 1000, 1e-3) * 0.97
    high = max(max(metric.histogram) for _, _, metric in series) / 1000 * 1.03 + 1e-3
    if high / low < 1.6:  # all of them are alike: some room around them
        low, high = low / 1.3, high * 1.3
    edges = [low * (high / low) ** (place / _BINS) for place in range(_BINS + 1)]
    binned = [_binned(metric, low, high) for _, _, metric in series]
    x = Scale(low, high, "log")
    plot = Plot(x, upto([max(map(max, binned))]))
    for place, (counts, (look, _, _)) in enumerate(zip(binned, series, strict=True)):
        if place:
            plot.steps(_outline(edges, counts), look)
        else:
            plot.bars(zip(edges, edges[1:], counts, strict=False), look)
    for place in range(_BINS):
        said = ", ".join(
            f"{text} {counts[place]:,.0f}"
            for counts, (_, text, _) in zip(binned, series, strict=True)
        )
        between = f"{duration(edges[place])} to {duration(edges[place + 1])}"
        plot.points_at(edges[place], edges[place + 1], f"{between}: {said}")
    return Figure(
        title=title,
        svg=plot.svg(
            name=name,
            title=title,
            described=f"from {duration(low)} to {duration(high)}, on a logarithmic axis",
            x_label="duration, logarithmic",
            x_text=tick,
            y_text=lambda value: f"{value:,.0f}" if value == round(value) else "",
        ),
        keys=tuple(
            (look if place else f"{look} solid", text)
            for place, (look, text, _) in enumerate(series)
        ),
    )


def _outline(edges: Sequence[float], counts: Sequence[float]) -> list[tuple[float, float]]:
    """Return the stairs over the bins, from the first that has any to the last."""
    some = [place for place, count in enumerate(counts) if count]
    first, last = some[0], some[-1]
    stairs = [(edges[place], counts[place]) for place in range(first, last + 1)]
    return [(edges[first], 0.0), *stairs, (edges[last + 1], 0.0)]


def _binned(metric: Metric, low: float, high: float) -> list[float]:
    counts = [0.0] * _BINS
    scale = _BINS / math.log(high / low)
    for us, count in metric.histogram.items():
        place = int(math.log(max(us / 1000, low) / low) * scale)
        counts[min(max(place, 0), _BINS - 1)] += count
    return counts


def by_turn(name: str, title: str, metrics: Sequence[tuple[int, Metric]]) -> Figure:
    """Draw the durations of the turns by their place in the session, given from 0."""
    found = [(place + 1, finite(each.p50), finite(each.p95), each) for place, each in metrics]
    known = [value for _, p50, p95, _ in found for value in (p50, p95) if value is not None]
    if not known:
        return Figure(title=title, empty="No turn was answered.")
    first, last = found[0][0], found[-1][0]
    plot = Plot(Scale(first - 0.5, last + 0.5), upto(known))
    plot.bars([(n - 0.3, n + 0.3, p50) for n, p50, _, _ in found if p50 is not None], "c1")
    for n, _, p95, metric in found:
        if p95 is not None:
            plot.line([(n - 0.3, p95), (n + 0.3, p95)], "c4")
        elif metric.p95 == "inf":
            plot.ceiling(n - 0.3, n + 0.3, "c2")
        said = f"turn {n}: p50 {duration(metric.p50)}, p95 {duration(metric.p95)}"
        plot.points_at(n - 0.5, n + 0.5, said)
    keys = [("c1 solid", "p50"), ("c4", "p95")]
    if any(metric.p95 == "inf" for *_, metric in found):
        keys.append(("c2 solid", "p95 among the failed"))
    return Figure(
        title=title,
        svg=plot.svg(
            name=name,
            title=f"{title} by turn of the session",
            described=f"turns {first} to {last} of the sessions",
            x_label="turn of the session",
            x_text=lambda value: f"{value:.0f}" if value == round(value) else "",
            y_text=tick,
        ),
        keys=tuple(keys),
    )


def against_rate(
    name: str,
    title: str,
    metrics: Sequence[tuple[str, str, Sequence[Value]]],
    rates: Sequence[float],
    names: Sequence[str],
) -> Figure:
    """Draw durations against the rate that was reached, a point for each load of a sweep, in their order."""
    known = [
        value for _, _, values in metrics for value in map(finite, values) if value is not None
    ]
    if not known:
        return Figure(title=title, empty="No turn was answered.")
    plot = Plot(upto(rates), spanning(min(known), max(known)))
    for place, (look, _, values) in enumerate(metrics):
        points = [
            None if ms is None else (rate, ms)
            for rate, ms in zip(rates, map(finite, values), strict=True)
        ]
        plot.line(points, look)
        for point, label in zip(points, names, strict=True):
            if point is not None:
                plot.dot(point, look, label if not place else "")
    for place, label in enumerate(names):
        said = ", ".join(f"{text} {duration(values[place])}" for _, text, values in metrics)
        reach = plot.x.high / 100
        at = rates[place]
        plot.points_at(at - reach, at + reach, f"{label}: {rate(at)} turns/s, {said}")
    return Figure(
        title=title,
        svg=plot.svg(
            name=name,
            title=title,
            described="each point is one load of the sweep",
            x_label="answered turns a second",
            x_text=rate_text,
            y_text=tick,
        ),
        keys=tuple((look, text) for look, text, _ in metrics),
    )


def rate_text(value: float) -> str:
    """Return a number on an axis."""
    return f"{value:,.6g}"
