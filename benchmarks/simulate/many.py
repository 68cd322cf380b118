"""10,000 sessions at once with slow streams, beside 100: processor time per turn, and memory."""

from pathlib import Path

from benchmarks import figures
from benchmarks.simulate.program import simulate
from chatbot.simulate.result import Result

_SLOW = ("--first-token", "1s", "--inter-chunk", "100ms", "--chunks", "32")


def run(directory: Path, rounds: int, seconds: float) -> None:
    """Print a row for each number of sessions: each is asked once or more, however long that takes."""
    del seconds
    figures.heading(
        "first token 1 s, 32 chunks 100 ms apart",
        *("asked", "answered", "CPU µs/turn", "of 100", "memory MB", "TTFT err p50", "verdict"),
    )
    for round_ in range(rounds):
        base = 0.0
        for sessions, turns in ((100, 5), (1_000, 2), (10_000, 1)):
            load = ("--sessions", str(sessions), "--turns", str(turns), "--ramp", "4s")
            out = directory / f"{round_}-{sessions}"
            result = simulate(out, *_SLOW, *load, "--trace-ratio", "0.01")
            cpu_us = sum(each.cpu_us_per_turn or 0.0 for each in result.processes)
            base = base or cpu_us
            figures.row(
                f"{sessions:,} sessions",
                result.totals.asked,
                result.totals.answered,
                cpu_us,
                f"{cpu_us / base:.2f}",
                sum(each.rss_mb for each in result.processes),
                _error(result),
                f" {result.verdict.name}",
            )


def _error(result: Result) -> str:
    p50 = result.accuracy[0].ttft_error.p50 if result.accuracy else None
    return f"{p50:.1f}" if isinstance(p50, float) else "-"
