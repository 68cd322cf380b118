"""How a run goes, as the few lines that are painted again and again, or as one where there is no terminal. Pure.

It is drawn by the process that keeps the schedule, so it must cost next to nothing: no table is laid out,
and the widths are fixed, so that no number moves when another grows.
"""

from collections.abc import Sequence

from chatbot.simulate.live_state import Live
from chatbot.simulate.result import Value
from chatbot.simulate.text import Part, clock, drawn, duration, finite, rate, safe

LINES = 7  # always as many, so that nothing below them moves
_BARS = "▁▂▃▄▅▆▇█"
_FULL, _EMPTY, _GAP = "█", "░", " "
_LABEL, _NUMBER = 10, 9
_MOST_KIND = 40  # columns of the name of a kind of failure


def lines(live: Live, width: int, *, colour: bool) -> list[str]:
    """Return the state as LINES lines, none wider than the width; `colour` adds escape sequences."""
    spark = max(min(width - _LABEL - 10, 60), 8)
    shown: tuple[list[Part], ...] = (
        _progress(live, width),
        [
            _label("turns/s"),
            *_figure(rate(live.asked_per_s), "asked", ""),
            *_figure(rate(live.answered_per_s), "answered", "good"),
            *_figure(rate(live.failed_per_s), "failed", "bad" if live.failed_per_s else ""),
            *_figure(rate(live.output_tokens_per_s), "tokens/s", ""),
        ],
        [
            _label("sessions"),
            *_figure(f"{live.sessions:,}", "active", ""),
            *_figure(f"{live.in_flight:,}", "in flight", ""),
            *_figure(f"{live.sessions_completed:,}", "completed", ""),
            *_figure(f"{live.answered:,}", "answered", ""),
        ],
        [_label("TTFT"), *_pair(live.ttft_p50, live.ttft_p95), *_latency(live)],
        [
            _label("rate"),
            (f"{sparkline(live.rates, spark):>{spark}}  ", "data"),
            (rate(live.answered_per_s), ""),
        ],
        [
            _label("TTFT p50"),
            (f"{sparkline(live.ttfts, spark):>{spark}}  ", "data"),
            (duration(live.ttft_p50), ""),
        ],
        [_label("errors"), *_errors(live)],
    )
    return [drawn(parts, width, colour=colour) for parts in shown]


def plain(live: Live) -> str:
    """Return the state as one line, for a log or a pipe."""
    done = f" {min(max(live.progress, 0), 1):.0%}" if live.progress is not None else ""
    said = [
        f"{live.stage}{done} {clock(live.elapsed_s)}",
        f"{rate(live.answered_per_s)} turns/s",
        f"{live.answered:,} answered",
        f"{live.failed:,} failed",
        f"{live.in_flight:,} in flight",
        f"TTFT {_both(live.ttft_p50, live.ttft_p95)}",
        f"latency {_both(live.latency_p50, live.latency_p95)}",
    ]
    if live.failures:
        said.append(", ".join(_kinds(live)[:3]))
    return " · ".join(said)


def sparkline(values: Sequence[Value], width: int) -> str:
    """Return the last values as bars from 0 to the largest; a gap where there is none, and the largest for "inf"."""
    recent = values[-width:] if width > 0 else ()
    top = max((finite(value) or 0.0 for value in recent), default=0.0)
    return "".join(_bar(value, top) for value in recent)


def _bar(value: Value, top: float) -> str:
    if value == "inf":
        return _BARS[-1]
    known = finite(value)
    if known is None:
        return _GAP
    return _BARS[max(min(int(known / top * 8), 7), 0)] if top > 0 else _BARS[0]


def _progress(live: Live, width: int) -> list[Part]:
    elapsed = f"{clock(live.elapsed_s)} elapsed"
    if live.progress is None:
        return [_label(live.stage), (elapsed, "bold")]
    progress = min(max(live.progress, 0.0), 1.0)
    if progress > 0:
        elapsed += f", {clock(live.elapsed_s * (1 - progress) / progress)} left"
    room = max(min(width - _LABEL - len(elapsed) - 9, 40), 4)
    full = int(progress * room)
    return [
        _label(live.stage),
        (_FULL * full, "data"),
        (_EMPTY * (room - full), "dim"),
        (f" {progress:4.0%}  ", "bold"),
        (elapsed, ""),
    ]


def _label(text: str) -> Part:
    return f"{text:<{_LABEL}}", "dim"


def _figure(value: str, name: str, look: str) -> tuple[Part, Part]:
    return (f" {value:>6} ", look), (f"{name:<{_NUMBER}}", "dim")


def _pair(p50: Value, p95: Value) -> list[Part]:
    return [
        (f"{duration(p50):>7}", ""),
        (" p50  ", "dim"),
        (f"{duration(p95):>8}", ""),
        (" p95", "dim"),
    ]


def _latency(live: Live) -> list[Part]:
    return [("    latency ", "dim"), *_pair(live.latency_p50, live.latency_p95)]


def _both(p50: Value, p95: Value) -> str:
    return f"p50 {duration(p50)} p95 {duration(p95)}"


def _errors(live: Live) -> list[Part]:
    return [(" · ".join(_kinds(live)), "bad")] if live.failures else [("none", "dim")]


def _kinds(live: Live) -> list[str]:
    return [f"{count:,} {safe(kind, _MOST_KIND)}" for kind, count in live.failures.items()]
