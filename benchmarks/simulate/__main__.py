"""Throughput and truth of `simulate`, beside a bare HTTP loop and the server's own clock.

    python -m benchmarks.simulate [--only closed,truth,constant,many] [--rounds N] [--seconds S] [--directory DIRECTORY]

Nothing here asserts a time. The simulated server is a process of its own in both; its answers have 32 chunks.
"""

import argparse
import tempfile
from pathlib import Path

from benchmarks.simulate import closed, many, truth

PARTS = {
    "closed": closed.run,
    "truth": truth.slow,
    "constant": truth.constant,
    "many": many.run,
}


def main() -> None:
    """Run the parts that are asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.simulate", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--only", default=",".join(PARTS), help="parts, separated by commas")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each; the medians are shown")
    parser.add_argument("--seconds", type=float, default=8.0, help="how long each run measures")
    parser.add_argument(
        "--directory", help="where to put the runs (default: a temporary directory)"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.directory, prefix="chatbot-benchmark-") as made:
        for name in options.only.split(","):
            place = Path(made) / name
            place.mkdir()
            PARTS[name](place, options.rounds, options.seconds)


if __name__ == "__main__":
    main()
