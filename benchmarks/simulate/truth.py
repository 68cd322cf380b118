"""What is reported as time to first token, beside what the server's own clock says."""

from pathlib import Path

from benchmarks import figures
from benchmarks.simulate.program import simulate
from chatbot.simulate.result import Metric, Result

_COLUMNS = ("turns/s", "true p50", "told p50", "error p50", "error p99", "verdict")


def slow(directory: Path, rounds: int, seconds: float) -> None:
    """256 sessions whose server takes 5 ms to the first token, and 2 ms to each next chunk: with so many at once
    it asks more of two cores than they have; with think time it does not."""
    server = ("--first-token", "5ms", "--inter-chunk", "2ms", "--chunks", "32")
    load = ("--sessions", "256", "--turns", "4", "--warmup", "2s", "--duration", f"{seconds:g}s")
    kinds = {
        "256 sessions, no think time": ("--think", "0"),
        "256 sessions, thinking 0.5 s": ("--think", "exp:500ms"),
        "256 sessions, thinking 2 s": ("--think", "exp:2s"),
    }
    _print("first token 5 ms, chunks 2 ms apart", directory, rounds, kinds, (*server, *load))


def constant(directory: Path, rounds: int, seconds: float) -> None:
    """200 turns a second, evenly."""
    server = ("--first-token", "20ms", "--inter-chunk", "2ms", "--chunks", "32")
    lasts = ("--warmup", "2s", "--duration", f"{seconds:g}s")
    load = ("--turns", "3", *lasts, "--arrival", "constant")
    kinds = {"constant arrivals, 200 turns/s": ("--rate", "200")}
    _print("first token 20 ms, chunks 2 ms apart", directory, rounds, kinds, (*server, *load))


def _print(
    title: str,
    directory: Path,
    rounds: int,
    kinds: dict[str, tuple[str, ...]],
    common: tuple[str, ...],
) -> None:
    figures.heading(f"{title}; ms", *_COLUMNS)
    for number, (name, more) in enumerate(kinds.items()):
        for round_ in range(rounds):
            result = simulate(directory / f"{number}-{round_}", *common, *more)
            figures.row(
                name, f"{result.whole.answered:,.0f}", *_told(result), f" {result.verdict.name}"
            )


def _told(result: Result) -> list[str]:
    accuracy = result.accuracy[0]
    told = result.metrics["ttft_service"]
    return [
        _ms(accuracy.ttft_true, "p50"),
        _ms(told, "p50"),
        _ms(accuracy.ttft_error, "p50"),
        _ms(accuracy.ttft_error, "p99"),
    ]


def _ms(metric: Metric, name: str) -> str:
    value = getattr(metric, name)
    return f"{value:.2f}" if isinstance(value, float) else "-"
