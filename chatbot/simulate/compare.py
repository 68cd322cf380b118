"""Two results, side by side: what has changed, and how sure that is. Pure.

`gate.py` says whether it is too much. Shares change by percentage points, everything else by a part of A's value.
"""

import math
from collections.abc import Sequence
from typing import Literal

import msgspec

from chatbot.simulate.batches import latency_s, reach
from chatbot.simulate.change import Change, Z, of_rates, of_shares, of_values
from chatbot.simulate.result import Result, Value, Window

Judgement = Literal["better", "worse", "no clear difference", "not known"]

_METRICS = ("ttft", "ttft_service", "tpot", "latency", "gap")
_PERCENTILES = ("p50", "p95", "p99")
RATES = ("throughput", "goodput")
_FAILURES = "failures"
NAMES = (*RATES, *(f"{m}.{p}" for m in _METRICS for p in _PERCENTILES), _FAILURES)

_LEAST_LATENCIES = (
    5  # medians of the latency that a steady window is long; what is shorter tells no rate
)
_MOST_SHOWN = 60

# Settings that may differ without making two runs different things.
_SAME_THING = frozenset(
    {"out", "run_id", "command", "seed", "profile", "error_ms", "calibration_s", "slos", "database"}
)


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One figure of both runs. `unit`: per second, ms, or a share of the turns."""

    name: str
    unit: Literal["/s", "ms", "share"]
    a: Value
    b: Value
    change: Change
    judgement: Judgement

    @property
    def more_is_better(self) -> bool:
        """Whether a rise is to the good."""
        return self.unit == "/s"


def compare(a: Result, b: Result) -> list[Row]:
    """Return every figure that either has; a change is from A to B."""
    in_a, in_b = _rated(a, b)
    changed = _rates(a, b, in_a, in_b, "answered")
    rows = [_row("throughput", "/s", in_a.answered, in_b.answered, changed)]
    if a.slos or b.slos:
        rows.append(_row("goodput", "/s", in_a.good, in_b.good, _rates(a, b, in_a, in_b, "good")))
    for metric in _METRICS:
        for percentile in _PERCENTILES:
            value_a, interval_a = _percentile(a, metric, percentile)
            value_b, interval_b = _percentile(b, metric, percentile)
            if value_a is not None or value_b is not None:
                change = of_values(value_a, value_b, interval_a, interval_b)
                rows.append(_row(f"{metric}.{percentile}", "ms", value_a, value_b, change))
    failed_a, known_a = _failed(a)
    failed_b, known_b = _failed(b)
    rows.append(
        _row(
            _FAILURES,
            "share",
            failed_a / known_a if known_a else None,
            failed_b / known_b if known_b else None,
            of_shares(failed_a, known_a, failed_b, known_b),
        )
    )
    return rows


def warnings(a: Result, b: Result) -> list[str]:
    """Return why the two may not be comparable."""
    lines: list[str] = []
    for letter, result in (("A", a), ("B", b)):
        if result.verdict.name != "VALID":
            reason = result.verdict.reasons[0] if result.verdict.reasons else "no reason given"
            lines.append(f"{letter} is {result.verdict.name}: {reason}")
        if result.ended_early:
            lines.append(f"{letter} ended early: {result.ended_early}")
    pairs: list[tuple[str, object, object]] = [
        ("program", a.program, b.program),
        ("backend", a.backend, b.backend),
        ("model", a.model, b.model),
        ("cpu", a.machine.cpu, b.machine.cpu),
        ("cores", a.machine.cores, b.machine.cores),
    ]
    settings_a, settings_b = _flat(a.settings), _flat(b.settings)
    pairs += [
        (name, settings_a.get(name, "-"), settings_b.get(name, "-"))
        for name in sorted({*settings_a, *settings_b})
        if not _SAME_THING.intersection(name.split("."))
    ]
    lines += [
        f"{name} differs: {_short(before)} in A, {_short(after)} in B"
        for name, before, after in pairs
        if before != after
    ]
    return lines


def lines(rows: Sequence[Row], notes: Sequence[str] = ()) -> list[str]:
    """Return the comparison as it is shown, of at most 100 columns (warnings may be longer)."""
    head = ("", "A", "B", "change", "95 % interval", "")
    table = [head, *(_cells(row) for row in rows)]
    widths = [max(len(cells[column]) for cells in table) for column in range(len(head))]
    shown = []
    for cells in table:
        right = [cell.rjust(width) for cell, width in zip(cells[1:5], widths[1:5], strict=True)]
        shown.append("  ".join([cells[0].ljust(widths[0]), *right, cells[5]]).rstrip())
    if any(row.name.startswith("gap.") for row in rows):
        shown += [
            "",
            "The gaps within one answer are alike; their intervals count answers, not gaps.",
        ]
    if notes:
        shown += ["", *(f"! {note}" for note in notes)]
    return shown


def _row(name: str, unit: Literal["/s", "ms", "share"], a: Value, b: Value, change: Change) -> Row:
    judgement: Judgement = "no clear difference"
    if change.by is None:
        judgement = "not known"
    elif change.is_clear:
        judgement = "better" if (change.by > 0) == (unit == "/s") else "worse"
    return Row(name=name, unit=unit, a=a, b=b, change=change, judgement=judgement)


def _rated(a: Result, b: Result) -> tuple[Window, Window]:
    """Return the windows that rates are taken from: the steady ones, unless one of them is too short."""
    if all(
        result.steady.to_s - result.steady.from_s > _LEAST_LATENCIES * latency_s(result)
        for result in (a, b)
    ):
        return a.steady, b.steady
    return a.whole, b.whole


def _rates(
    a: Result, b: Result, in_a: Window, in_b: Window, name: Literal["answered", "good"]
) -> Change:
    counted: list[tuple[float, float, float | None]] = []
    for result, window in ((a, in_a), (b, in_b)):
        width_s = window.to_s - window.from_s
        count, of = getattr(window, name) * width_s, window.answered * width_s
        counted.append((count, width_s, _thinned(reach(result, window), count, of)))
    (a_count, a_s, a_reach), (b_count, b_s, b_reach) = counted
    return of_rates(a_count, a_s, b_count, b_s, (a_reach, b_reach))


def _thinned(reached: float | None, count: float, of: float) -> float | None:
    """Return the reach of those that are good, if each of the answers was by chance."""
    if reached is None or count <= 0:
        return None
    return math.hypot(reached, Z * math.sqrt(max(1 - count / of, 0.0) / count))


def _percentile(result: Result, metric: str, percentile: str) -> tuple[Value, tuple[Value, Value]]:
    found = result.metrics.get(metric)
    if found is None:
        return None, (None, None)
    return getattr(found, percentile), found.intervals.get(percentile, (None, None))


def _failed(result: Result) -> tuple[int, int]:
    """Return how many turns failed, of those whose end is known."""
    failed = result.totals.failed
    return failed, failed + result.totals.answered


def _flat(settings: dict[str, object], prefix: str = "") -> dict[str, object]:
    """Return nested settings by their dotted path."""
    flat: dict[str, object] = {}
    for name, value in settings.items():
        if isinstance(value, dict):
            flat.update(_flat(value, f"{prefix}{name}."))
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= _MOST_SHOWN else text[: _MOST_SHOWN - 1] + "…"


def _cells(row: Row) -> tuple[str, str, str, str, str, str]:
    unit = {"/s": " /s", "ms": " ms", "share": ""}[row.unit]
    change = "" if row.change.by is None else percent(row.change.by)
    if change and row.unit == "share":
        change += " points"
    spread = "" if row.change.by is None else interval(row.change)
    return (
        row.name,
        _value(row.a, row.unit, unit),
        _value(row.b, row.unit, unit),
        change,
        spread,
        row.judgement,
    )


def _value(value: Value, kind: str, unit: str) -> str:
    if value is None:
        return "-"
    if value == "inf":
        return "failed"
    if kind == "share":
        return f"{value:.2%}"
    return f"{value:,.3f}{unit}" if value < 10 else f"{value:,.1f}{unit}"


def percent(by: float) -> str:
    """Return a change as it is shown."""
    if math.isinf(by):
        return "+∞" if by > 0 else "-∞"
    return f"{by * 100:+,.1f} %" if abs(by) < 100 else f"×{by + 1:,.0f}"


def interval(change: Change) -> str:
    """Return the interval of a change as it is shown."""
    low = "-100 %" if change.low == -1.0 or math.isinf(change.low) else percent(change.low)
    return f"{low} … {percent(change.high)}"
