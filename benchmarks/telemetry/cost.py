"""Processor time of a turn with tracing on over tracing off, each in a program of its own, in turns."""

import os
import statistics
import subprocess
import sys
from pathlib import Path

import msgspec

from benchmarks import figures
from benchmarks.telemetry.seat import LOAD, Load, Times

# What is measured is the way to the files, and no collector of this machine wants made-up turns.
FILES = {f"OTEL_{signal}_EXPORTER": "none" for signal in ("TRACES", "METRICS", "LOGS")}
KINDS = {
    "telemetry off": {"OTEL_SDK_DISABLED": "true"},
    "metrics, no traces": {**FILES, "OTEL_TRACES_SAMPLER": "always_off"},
    "1 trace in 100": {
        **FILES,
        "OTEL_TRACES_SAMPLER": "traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": "0.01",
    },
    "every trace": FILES,
}
ROLES = ("ui", "supervisor", "store", "worker", "telemetry")


def run(directory: Path, rounds: int, sessions: int, turns: int) -> None:
    """Print a row for each kind, and the ratios of the medians."""
    taken: dict[str, list[Times]] = {kind: [] for kind in KINDS}
    for round_ in range(rounds):
        for kind, variables in KINDS.items():
            figures.progress(f"round {round_ + 1} of {rounds}: {kind}")
            place = directory / f"{round_}-{kind.replace(' ', '-')}"
            taken[kind].append(times(place, variables, sessions, turns))
    figures.heading(
        f"processor time per turn, µs, {sessions} sessions", *ROLES, "all", "of off", "of no traces"
    )
    all_us = {
        kind: statistics.median(sum(_us(each).values()) for each in runs)
        for kind, runs in taken.items()
    }
    for kind, runs in taken.items():
        by_role = [statistics.median(_us(each)[role] for each in runs) for role in ROLES]
        ratios = (_ratio(all_us[kind], all_us[base]) for base in list(KINDS)[:2])
        figures.row(kind, *by_role, all_us[kind], *ratios)
    dropped = sum(each.dropped for runs in taken.values() for each in runs)
    print(f"records dropped: {dropped}")


def times(place: Path, variables: dict[str, str], sessions: int, turns: int) -> Times:
    """Run the program once, in a new directory. The simulated server's own time is not counted."""
    place.mkdir()
    result = place / "times.json"
    load = Load(sessions, max(sessions * 2, turns // 5), turns, str(result))
    variables = {**variables, LOAD: msgspec.json.encode(load).decode()}
    command = [sys.executable, "-m", "benchmarks.telemetry.program"]
    subprocess.run(
        command, cwd=place, env=environment(variables), check=True, stdin=subprocess.DEVNULL
    )
    return msgspec.json.decode(result.read_bytes(), type=Times)


def environment(variables: dict[str, str]) -> dict[str, str]:
    """Return this environment with these variables of OpenTelemetry, and none besides."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    return {**kept, **variables, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}


def _ratio(over: float, base: float) -> str:
    return f"{over / base:.2f}" if base else "-"  # a few turns are below what the clock can tell


def _us(taken: Times) -> dict[str, float]:
    return {role: taken.cpu_s.get(role, 0.0) / taken.turns * 1e6 for role in ROLES}
