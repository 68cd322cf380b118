"""Time from start to the first prompt, to --help, and to a whole one-shot answer, as whole processes.

    python -m benchmarks.startup [--runs N]

Each figure stands beside `python -c pass` of the same run, taken in turns with it; the medians are
what to quote. The prompt is waited for on a pseudo-terminal, so this needs Linux or macOS.
"""

import argparse
import os
import pty
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RUN = str(ROOT / "run.py")
QUIT = b"/quit\r"


def to_exit(*arguments: str) -> float:
    """Return the seconds from starting a Python program to its end."""
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, *arguments], check=True, capture_output=True, stdin=subprocess.DEVNULL
    )
    return time.perf_counter() - started


def to_prompt(directory: str) -> float:
    """Return the seconds from starting a chat on a terminal to its first prompt."""
    terminal, side = pty.openpty()
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, RUN, "--backend", "sim"],
        cwd=directory,
        stdin=side,
        stdout=side,
        stderr=side,
        start_new_session=True,
    )
    os.close(side)
    seen = b""
    while b"You: " not in seen:
        seen += os.read(terminal, 65536)
    taken = time.perf_counter() - started
    os.write(terminal, QUIT)
    while process.poll() is None:
        try:
            os.read(terminal, 65536)
        except OSError:  # the terminal's other side is closed
            process.wait()
    os.close(terminal)
    return taken


def main() -> None:
    """Print a row per figure: its median, its range, and the baseline's median."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=10)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as directory:
        figures: dict[str, Callable[[], float]] = {
            "first prompt": lambda: to_prompt(directory),
            "--help": lambda: to_exit(RUN, "--help"),
            "one-shot answer, whole program": lambda: to_exit(
                RUN, "--backend", "sim", "--db", f"{directory}/x.db", "--log-dir", directory, "hi"
            ),
        }
        print(f"{'median of ' + str(runs):34}{'ms':>8}{'min':>8}{'max':>8}{'python -c pass':>16}")
        for name, measure in figures.items():
            measure()  # once for the file cache and the compiled files
            taken, baseline = [], []
            for _ in range(runs):
                baseline.append(to_exit("-c", "pass") * 1000)
                taken.append(measure() * 1000)
            middle, base = statistics.median(taken), statistics.median(baseline)
            print(f"{name:34}{middle:8.0f}{min(taken):8.0f}{max(taken):8.0f}{base:16.0f}")


if __name__ == "__main__":
    main()
