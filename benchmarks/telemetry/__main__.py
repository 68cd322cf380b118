"""What tracing costs: processor time per turn of the whole program, with tracing on over off.

    python -m benchmarks.telemetry [--rounds N] [--sessions N] [--turns N] [--directory DIRECTORY]

Nothing here asserts a time. Each run is a program of its own, in a temporary directory that is removed.
"""

import argparse
import tempfile
from pathlib import Path

from benchmarks.telemetry import cost, lines


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.telemetry", description=(__doc__ or "").splitlines()[0]
    )
    add = parser.add_argument
    add("--directory", help="where to put databases and logs (default: the temporary directory)")
    add("--rounds", type=int, default=5, help="programs of each kind; the medians are printed")
    add("--sessions", type=int, default=16, help="turns under way at once")
    add("--turns", type=int, default=2000, help="turns that count, in each program")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.directory, prefix="chatbot-benchmark-") as made:
        lines.run(options.rounds)
        cost.run(Path(made), options.rounds, options.sessions, options.turns)


if __name__ == "__main__":
    main()
