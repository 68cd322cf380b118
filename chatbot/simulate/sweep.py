"""Several runs at growing load: as a table on the screen, and as a page that leads to the report of each. Pure."""

from collections.abc import Sequence
from urllib.parse import quote

from chatbot.simulate import page as html
from chatbot.simulate.plots import against_rate
from chatbot.simulate.result import Metric, Result, Value
from chatbot.simulate.text import clipped, duration, number, rate, safe, share, table

_MOST_LABEL = 32
_NONE = Metric(count=0)
Points = Sequence[tuple[str, Result]]


def sweep_screen(points: Points, width: int = 100) -> list[str]:
    """Return a table of the points, none of its lines wider than the width."""
    heads = ("load", "turns/s", "TTFT p50", "p95 ms", "latency p95 ms", "tokens/s", "failed")
    rows: list[tuple[str, ...]] = [(*heads, "verdict")]
    for label, result in points:
        rows.append((safe(label, _MOST_LABEL), *_figures(result), _judged(result)))
    lines = [clipped(line, width) for line in table(rows)]
    limited = [
        (label, result.verdict) for label, result in points if result.verdict.name != "VALID"
    ]
    lines += [
        clipped(f"  {safe(label, _MOST_LABEL)}: {safe(verdict.reasons[0])}", width)
        for label, verdict in limited
        if verdict.reasons
    ]
    return lines


def _figures(result: Result) -> tuple[str, ...]:
    ttft, latency = _of(result, "ttft"), _of(result, "latency")
    return (
        rate(result.whole.answered),
        number(ttft.p50),
        number(ttft.p95),
        number(latency.p95),
        rate(result.whole.output_tokens),
        _failed(result),
    )


def _failed(result: Result) -> str:
    """Return the share of the turns that failed, of those whose end is known: what was cut off did not fail."""
    failed = result.totals.failed
    return share(failed, failed + result.totals.answered)


def _judged(result: Result) -> str:
    return f"{result.verdict.name}{', ended early' if result.ended_early else ''}"


def _of(result: Result, name: str) -> Metric:
    return result.metrics.get(name, _NONE)


def sweep_page(points: Points, links: Sequence[str] = ()) -> str:
    """Return the page; `links` are the paths of the points' reports, relative to it, in the same order."""
    names = [safe(label, _MOST_LABEL) for label, _ in points]
    rates = [result.whole.answered for _, result in points]

    def of(name: str, field: str) -> list[Value]:
        return [getattr(_of(result, name), field) for _, result in points]

    drawn = (
        against_rate(
            "sweep-ttft",
            "Time to first token against throughput",
            (("c1", "p50", of("ttft", "p50")), ("c4 dashed", "p95", of("ttft", "p95"))),
            rates,
            names,
        ),
        against_rate(
            "sweep-latency",
            "Latency against throughput",
            (("c1", "p50", of("latency", "p50")), ("c4 dashed", "p95", of("latency", "p95"))),
            rates,
            names,
        ),
    )
    subjects = dict.fromkeys(f"{result.backend}/{result.model}" for _, result in points)
    title = ", ".join(subjects) or "nothing"
    body = (
        f"<header><h1>{html.text(title)}</h1>",
        f'<p class="about">A sweep over {len(points)} loads</p></header>',
        html.section("curve", "Durations against throughput", html.figures(drawn)),
        html.section("points", "The points", _table(points, links)),
    )
    return html.document(f"Sweep of {title}", body)


def _table(points: Points, links: Sequence[str]) -> str:
    heads = ("Load", "Turns/s", "Requested", "TTFT p50", "p95", "Latency p50", "p95", "Tokens/s")
    rows: list[tuple[str, ...]] = [(*heads, "Failed", "Verdict")]
    for place, (label, result) in enumerate(points):
        ttft, latency = _of(result, "ttft"), _of(result, "latency")
        name = html.text(label) or "–"
        if place < len(links):
            name = f'<a href="./{quote(links[place])}">{name}</a>'
        asked = result.requested_rate
        rows.append(
            (
                name,
                *(rate(result.whole.answered), rate(asked) if asked is not None else "–"),
                *map(duration, (ttft.p50, ttft.p95, latency.p50, latency.p95)),
                rate(result.whole.output_tokens),
                _failed(result),
                _verdict(result),
            )
        )
    return html.table(rows, words=(9,))


def _verdict(result: Result) -> str:
    reasons = "".join(f"<small>{html.text(reason)}</small>" for reason in result.verdict.reasons)
    early = (
        f"<small>ended early: {html.text(result.ended_early)}</small>" if result.ended_early else ""
    )
    return f'<b class="mark {result.verdict.name}">{result.verdict.name}</b>{early}{reasons}'
