"""What the store can do, beside a bare SQLite loop of the same run; nothing here asserts a time.

    python -m benchmarks.store [--only accept,cost,cache,search,start,memory]

Takes about five minutes with all its parts, and some gigabytes of disk in a temporary directory, which
it removes. Use `--directory` to choose the disk: committing waits for it.
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.store import accept, cache, cost, memory, search, start


def main() -> None:
    """Run the parts that were asked for, each with its own table."""
    options = _parser().parse_args()
    with tempfile.TemporaryDirectory(dir=options.directory, prefix="chatbot-benchmark-") as made:
        directory = Path(made)
        parts: dict[str, Callable[[], None]] = {
            "accept": lambda: accept.run(directory, options.rounds, options.seconds),
            "cost": lambda: cost.run(directory, options.rounds, options.seconds),
            "cache": lambda: cache.run(directory, options.rounds, options.entries),
            "search": lambda: search.run(directory, options.rounds, options.messages),
            "start": lambda: start.run(directory, options.rounds, options.gigabytes),
            "memory": lambda: memory.run(directory, options.rows),
        }
        for name, part in parts.items():
            if name in options.only:
                part()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.store", description=(__doc__ or "").splitlines()[0]
    )
    names = ("accept", "cost", "cache", "search", "start", "memory")

    def chosen(text: str) -> list[str]:
        found = text.split(",")
        if unknown := set(found).difference(names):
            raise argparse.ArgumentTypeError(
                f"no part {unknown.pop()}; choose of {','.join(names)}"
            )
        return found

    add = parser.add_argument
    add("--only", type=chosen, default=list(names), metavar="PART,…", help=f"of {','.join(names)}")
    add("--directory", help="where to put the databases (default: the temporary directory)")
    add("--rounds", type=int, default=5, help="measurements of each kind; the medians are printed")
    add("--seconds", type=float, default=0.5, help="how long a measurement of a rate takes")
    add("--entries", type=int, default=5_000, help="answers in the cache")
    add("--messages", type=int, default=100_000, help="messages to search")
    add("--gigabytes", type=float, default=1.0, help="size of the large database")
    add("--rows", type=int, default=1_000_000, help="messages to watch the memory over")
    return parser


if __name__ == "__main__":
    main()
