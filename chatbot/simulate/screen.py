"""The result of a run on one screen: at most 40 lines, the verdict first. Pure.

Every part comes in more and in less detail; the first detail that fits is shown. Nothing is left out of the page
(`html.py`) and of result.json.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence

import msgspec

from chatbot.simulate.measures import NAMES, SHOWN, accuracy_line, is_told_apart
from chatbot.simulate.result import ByTurn, Metric, Process, Result, Value
from chatbot.simulate.text import (
    NONE,
    clipped,
    clock,
    finite,
    number,
    rate,
    safe,
    share,
    table,
    wrapped,
)

LINES = 40
_MESSAGE_LINES = 4  # of a failure: the remedy stands at its end
_LEAST = 20  # columns; what is narrower is cut
_COLUMNS = (("p50", "p50"), ("p90", "p90"), ("p95", "p95"), ("p99", "p99"), ("p99_9", "p99.9"))
_FIRST_TO_GO = ("p90", "max", "mean", "p99.9", "count", "p99")


class Detail(msgspec.Struct, frozen=True):
    """How much is told: which metrics, which with their intervals, and how many lines of each other part."""

    metrics: tuple[str, ...]
    intervals: tuple[str, ...]
    turns: int
    failures: int
    processes: int
    reasons: int
    warnings: int


_CORE = ("ttft", "ttft_service", "tpot", "latency", "latency_service", "server_total")
_MOST = tuple(name for name in SHOWN if name not in ("session", "commit", "gap"))
_TWO = ("ttft", "latency")
_DETAILS = (
    Detail(SHOWN, _TWO, 8, 4, 9, 4, 3),
    Detail(SHOWN, _TWO, 4, 3, 9, 3, 3),
    Detail(_MOST, _TWO, 3, 3, 9, 3, 2),
    Detail(_CORE, _TWO, 3, 2, 9, 3, 2),
    Detail(_CORE, _TWO, 3, 2, 0, 3, 2),
    Detail(_CORE, (), 2, 2, 0, 2, 1),
)


def screen(result: Result, width: int) -> list[str]:
    """Return the result as at most LINES lines, none wider than the width."""
    lines: list[str] = []
    for detail in _DETAILS:
        lines = _told(result, width, detail)
        if len(lines) <= LINES:
            break
    return [clipped(line, width) for line in lines[:LINES]]


def _told(result: Result, width: int, detail: Detail) -> list[str]:
    parts = (
        [*_verdict(result, width, detail), *_about(result)],
        _throughput(result, width),
        [*_metrics(result, width, detail), *_accuracy(result, width)],
        _by_turn(result.by_turn, detail.turns),
        _failures(result, width, detail.failures),
        _warnings(result, width, detail),
        _processes(result.processes, detail.processes),
    )
    lines: list[str] = []
    for part in map(list, parts):
        if lines and part:
            lines.append("")
        lines += part
    return lines


def _verdict(result: Result, width: int, detail: Detail) -> Iterator[str]:
    yield f"{result.verdict.name}: {meaning(result)}"
    reasons = result.verdict.reasons
    for reason in reasons[: detail.reasons]:
        yield from wrapped(safe(reason), max(width, _LEAST), lead="  - ")
    if len(reasons) > detail.reasons:
        yield f"  - … and {len(reasons) - detail.reasons} more"


MEANING = {
    "VALID": "the client was not the limit; its own part in the times stands below",
    "CLIENT-LIMITED": "the measuring side was the limit, the server may be faster",
    "SERVER-LIMITED": "the server could not keep up with what was asked",
    "NO-VERDICT": "there is nothing to judge",
}


def meaning(result: Result) -> str:
    """Return what the verdict says, in words."""
    if result.verdict.name == "SERVER-LIMITED" and not result.totals.answered:
        return "every turn failed, there are no times to report"
    return MEANING[result.verdict.name]


def _about(result: Result) -> Iterator[str]:
    took = f"{clock(result.wall_s)} long"
    if result.ended_early:
        took += f", ended early: {safe(result.ended_early)}"
    yield f"{safe(result.backend, 20)}/{safe(result.model, 40)}, seed {result.seed}, {took}"


def _throughput(result: Result, width: int) -> Iterator[str]:
    whole, steady, totals = result.whole, result.steady, result.totals
    heads = ("a second", "asked", "answered", "failed", "good", "tokens in", "tokens out")
    rows = [heads]
    for name, window in (("whole run", whole), ("steady", steady)):
        rows.append(
            (
                f"{name}, {window.from_s:.4g}–{window.to_s:.4g} s",
                *(rate(window.asked), rate(window.answered), rate(window.failed)),
                rate(window.good) if result.slos else NONE,
                *(rate(window.input_tokens), rate(window.output_tokens)),
            )
        )
    yield from table(rows)
    ended = [
        f"{totals.asked:,} turns: {totals.answered:,} answered",
        f"{totals.failed:,} failed",
        *(
            f"{count:,} {name}"
            for name, count in (
                ("cancelled", totals.cancelled),
                ("interrupted", totals.interrupted),
                ("lost", totals.lost),
                ("asked late", totals.late),
                ("never asked", totals.dropped),
                ("retries", totals.retries),
            )
            if count
        ),
        f"{totals.saved:,} saved",
    ]
    yield from wrapped(", ".join(ended), max(width, _LEAST))
    if result.requested_rate is not None:
        reached = share(result.achieved_rate, result.requested_rate)
        yield (
            f"requested {rate(result.requested_rate)} turns/s,"
            f" achieved {rate(result.achieved_rate)} ({reached})"
        )
    met = [
        f"{safe(slo.metric, 20)} ≤ {number(slo.limit_ms)} ms met by {share(slo.met, slo.asked)}"
        for slo in result.slos
    ]
    if met:
        yield from wrapped(", ".join(met), max(width, _LEAST), lead="SLO: ")


def _metrics(result: Result, width: int, detail: Detail) -> list[str]:
    heads = ["ms", "count", "mean", *(name for _, name in _COLUMNS), "max"]
    rows = [heads]
    for name in detail.metrics:
        metric = result.metrics.get(name)
        if metric is None or not is_told_apart(name, result.metrics):
            continue
        rows.append(_metric(NAMES.get(name, name), metric))
        if name in detail.intervals and metric.intervals:
            rows.append(_interval(metric))
    if len(rows) == 1:
        return []
    return _narrowed(rows, width)


def _narrowed(rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """Return the rows as a table, without the columns that matter least where there is no room."""
    heads = list(rows[0])
    lines = table(rows)
    for column in _FIRST_TO_GO:
        if max(map(len, lines)) <= width:
            break
        place = heads.index(column)
        del heads[place]
        rows = [[*row[:place], *row[place + 1 :]] for row in rows]
        lines = table(rows)
    return lines


def _metric(name: str, metric: Metric) -> list[str]:
    percentiles: list[Value] = [getattr(metric, field) for field, _ in _COLUMNS]
    return [
        name,
        f"{metric.count:,}",
        number(metric.mean),
        *map(number, percentiles),
        number(metric.max),
    ]


def _interval(metric: Metric) -> list[str]:
    cells = [within(metric, field) for field, _ in _COLUMNS]
    return ["  95 % within", "", "", *cells, ""]


def within(metric: Metric, field: str) -> str:
    """Return how far a percentile may be off, as ±: the farther end of its interval."""
    ends, at = metric.intervals.get(field), finite(getattr(metric, field, None))
    if ends is None or at is None:
        return ""
    low, high = finite(ends[0]), finite(ends[1])
    if ends[1] == "inf":
        return "±∞"
    return "" if low is None or high is None else f"±{number(max(at - low, high - at, 0.0))}"


def _by_turn(turns: Sequence[ByTurn], most: int) -> list[str]:
    if len(turns) < 2:
        return []
    shown = turns if len(turns) <= most else (*turns[: most - 1], turns[-1])
    heads = ("by turn", "asked", "answered", "tokens in", "TTFT p50", "p95", "latency p50", "p95")
    lines = table([heads, *map(_turn, shown)])
    if len(shown) < len(turns):
        lines.insert(len(lines) - 1, f"… {len(turns) - len(shown)} more")
    return lines


def _turn(each: ByTurn) -> tuple[str, ...]:
    return (
        f"turn {each.index + 1}",
        *(f"{each.asked:,}", f"{each.answered:,}", number(each.input_tokens)),
        *(number(each.ttft.p50), number(each.ttft.p95)),
        *(number(each.latency.p50), number(each.latency.p95)),
    )


def _failures(result: Result, width: int, most: int) -> Iterator[str]:
    if not result.failures:
        return
    yield f"failures, of {result.totals.asked:,} turns"
    counts = [f"{failure.count:,}" for failure in result.failures]
    for failure, count in list(zip(result.failures, counts, strict=True))[:most]:
        status = f" (HTTP {failure.http_status})" if failure.http_status else ""
        example = f": {safe(failure.example)}" if failure.example.strip() else ""
        lead = f"  {count:>{max(map(len, counts))}} "
        said = f"{safe(failure.kind, 40)}{status}{example}"
        yield from wrapped(said, max(width, _LEAST), lead=lead, most=_MESSAGE_LINES)
    if len(result.failures) > most:
        rest = sum(failure.count for failure in result.failures[most:])
        yield f"  … {rest:,} in {len(result.failures) - most} more kinds"


def _accuracy(result: Result, width: int) -> Iterator[str]:
    for accuracy in result.accuracy[:3]:
        yield from wrapped(accuracy_line(accuracy), max(width, _LEAST))


def _warnings(result: Result, width: int, detail: Detail) -> Iterator[str]:
    said = list(result.warnings)
    if result.not_saving:
        said.insert(0, f"not saving: {result.not_saving}")
    if result.telemetry_dropped:
        said.append(f"telemetry dropped {result.telemetry_dropped:,} records")
    if result.restarts:
        again = ", ".join(f"{safe(role, 20)} {count}" for role, count in result.restarts.items())
        said.append(f"processes that were started again: {again}")
    for text in said[: detail.warnings]:
        yield from wrapped(safe(text), max(width, _LEAST), lead="warning: ")
    if len(said) > detail.warnings:
        yield f"… and {len(said) - detail.warnings} more warnings"


def _processes(processes: Sequence[Process], most: int) -> list[str]:
    used = by_role(processes)
    if not used:
        return []
    if len(used) > most:
        each = (f"{role} {number(us)}" for role, _, us, _, _ in used if us is not None)
        return ["CPU µs per turn: " + ", ".join(each)]
    rows: list[tuple[str, ...]] = [("processes", "count", "CPU µs/turn", "CPU s", "memory MB")]
    for role, count, us, cpu_s, rss_mb in used:
        rows.append((role, f"{count}", number(us), number(cpu_s), number(rss_mb)))
    return table(rows)


def by_role(
    processes: Sequence[Process],
) -> list[tuple[str, int, float | None, float, float]]:
    """Return (role, count, CPU µs per turn, CPU s, memory MB): those of one role added up, the dearest first."""
    roles: dict[str, list[Process]] = defaultdict(list)
    for process in processes:
        roles[process.role].append(process)
    used: list[tuple[str, int, float | None, float, float]] = []
    for role, each in roles.items():
        known = [process.cpu_us_per_turn for process in each if process.cpu_us_per_turn is not None]
        cpu_s, rss_mb = (
            sum(process.cpu_s for process in each),
            sum(process.rss_mb for process in each),
        )
        used.append((safe(role, 20), len(each), sum(known) if known else None, cpu_s, rss_mb))
    return sorted(used, key=lambda row: (-row[3], row[0]))
