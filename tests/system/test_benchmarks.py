"""The benchmarks run, at tiny sizes, and leave nothing behind. What they print is nobody's verdict."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.system.program import ROOT, clean_environment

TINY = (
    *("--rounds", "1", "--seconds", "0.02", "--entries", "100"),
    *("--messages", "400", "--gigabytes", "0.002", "--rows", "400"),
)
PARTS = {
    "accept": ["accepted messages per second", "turns saved per second"],
    "cost": ["processor time per message"],
    "cache": ["one question, of 100 cached"],
    "search": ["search over 400 messages"],
    "start": ["start with a database of"],
    "memory": ["rows, no cache", "rows, a cache of 8 MB", "left in the cache"],
}


@pytest.mark.parametrize("part", PARTS)
def test_each_part_of_the_benchmark_prints_its_tables_and_cleans_up(
    part: str, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.store", "--only", part, *TINY, "--directory", tmp_path],
        cwd=ROOT,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    titles = [line for line in done.stdout.splitlines() if line.startswith(tuple(PARTS[part]))]
    assert len(titles) == len(PARTS[part])
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_part_is_named_beside_those_there_are() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.store", "--only", "speed"],
        cwd=ROOT,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 2
    assert "no part speed; choose of accept,cost," in done.stderr


def test_the_benchmark_of_telemetry_prints_its_tables_and_cleans_up(tmp_path: Path) -> None:
    tiny = ("--rounds", "1", "--sessions", "2", "--turns", "6")
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.telemetry", *tiny, "--directory", tmp_path],
        cwd=ROOT,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    titles = ("processor time per span written", "processor time per turn", "every trace")
    assert sum(line.startswith(titles) for line in done.stdout.splitlines()) == len(titles)
    assert "records dropped: 0" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_the_benchmark_of_simulate_prints_its_tables_and_cleans_up(tmp_path: Path) -> None:
    tiny = ("--only", "closed,constant", "--rounds", "1", "--seconds", "0.3")
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.simulate", *tiny, "--directory", tmp_path],
        cwd=ROOT,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    for title in ("closed loop, 64 sessions", "processor time per turn", "constant arrivals"):
        assert title in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_the_benchmark_of_the_terminal_prints_its_tables_and_cleans_up(tmp_path: Path) -> None:
    tiny = ("--rounds", "1", "--turns", "1", "--lines", "60")
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.terminal", *tiny, "--directory", tmp_path],
        cwd=ROOT,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    for title in ("start, median of 1", "Enter to text, median of 1", "60 lines in "):
        assert title in done.stdout
    assert list(tmp_path.iterdir()) == []
