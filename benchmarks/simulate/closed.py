"""A closed loop of 64 sessions, three turns in each, against an instant server: turns a second, and where the processor time goes."""

import statistics
from pathlib import Path

from benchmarks import figures
from benchmarks.simulate import bare
from benchmarks.simulate.program import INSTANT, simulate
from chatbot.simulate.result import Result

SESSIONS = 64
_LOAD = ("--sessions", str(SESSIONS), "--turns", "3", "--warmup", "1s")
_KINDS: dict[str, tuple[str, ...]] = {
    "saving, 1 trace in 100": ("--trace-ratio", "0.01"),
    "saving, every trace": ("--trace-ratio", "1"),
    "not saving, no trace": ("--no-save", "--trace-ratio", "0"),
}
ROLES = ("ui", "supervisor", "store", "worker", "telemetry", "sim-server")


def run(directory: Path, rounds: int, seconds: float) -> None:
    """Print the rates beside the bare loops', and the processor time of each process."""
    bares: dict[str, list[bare.Rate]] = {name: [] for name in bare.CLIENTS}
    results: dict[str, list[Result]] = {kind: [] for kind in _KINDS}
    for round_ in range(rounds):
        for name in bare.CLIENTS:
            figures.progress(f"bare loop: {name}")
            bares[name].append(bare.run(name, SESSIONS, round(seconds * 2000)))
        for kind, more in _KINDS.items():
            out = directory / f"{round_}-{len(results[kind])}-{kind.split(',')[1].strip()}"
            lasts = ("--duration", f"{seconds:g}s")
            results[kind].append(simulate(out, *_LOAD, *INSTANT, *lasts, *more))
    rates = {name: statistics.median(r.per_s for r in taken) for name, taken in bares.items()}
    figures.heading(
        f"closed loop, {SESSIONS} sessions", "turns/s", "of httpx", "of aiohttp", "verdict"
    )
    for name, rate in rates.items():
        figures.row(f"bare {name}, not saved, not traced", rate, *_shares(rate, rates))
    for kind, taken in results.items():
        rate = statistics.median(result.whole.answered for result in taken)
        figures.row(kind, rate, *_shares(rate, rates), f" {taken[-1].verdict.name}")
    figures.heading("processor time per turn, µs", *ROLES, "all")
    for kind, taken in results.items():
        by_role = [statistics.median(_cpu_us(result, role) for result in taken) for role in ROLES]
        figures.row(kind, *by_role, sum(by_role))
    for name, measured in bares.items():
        figures.row(f"bare {name}: client", statistics.median(r.cpu_us for r in measured))


def _shares(rate: float, rates: dict[str, float]) -> list[str]:
    return [f"{rate / base:.2f}" for base in rates.values()]


def _cpu_us(result: Result, role: str) -> float:
    return sum(each.cpu_us_per_turn or 0.0 for each in result.processes if each.role == role)
