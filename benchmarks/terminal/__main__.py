"""The interactive chat in a pseudo-terminal, as a person waits for it; nothing here asserts a time.

    python -m benchmarks.terminal [--only start,turn,flood] [--peers DIR]

Other chats are measured in the same run, in turns with ours, where `llm` and `oterm` are in DIR or on
the PATH. Needs Linux or macOS, takes about two minutes, asks nobody but a server of its own on loopback.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable

from benchmarks.terminal import flood, start, turn
from benchmarks.terminal.tty import ROOT

_PARTS = ("start", "turn", "flood")


def main() -> None:
    """Run the parts that were asked for, each with its own table."""
    options = _parser().parse_args()
    peers = os.pathsep.join(filter(None, (options.peers, os.environ.get("PATH", ""))))
    server = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.terminal.server"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdin
    assert server.stdout
    try:
        url = f"http://127.0.0.1:{int(server.stdout.readline())}"
        with tempfile.TemporaryDirectory(
            dir=options.directory, prefix="chatbot-benchmark-"
        ) as made:
            parts: dict[str, Callable[[str], None]] = {
                "start": lambda place: start.run(place, url, options.rounds, peers),
                "turn": lambda place: turn.run(place, url, options.turns),
                "flood": lambda place: flood.run(place, url, options.lines, options.rate),
            }
            for name, part in parts.items():
                if name in options.only:
                    place = os.path.join(made, name)
                    os.mkdir(place)
                    part(place)
    finally:
        server.stdin.close()
        server.wait()
        server.stdout.close()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.terminal", description=(__doc__ or "").splitlines()[0]
    )

    def chosen(text: str) -> list[str]:
        found = text.split(",")
        if unknown := set(found).difference(_PARTS):
            raise argparse.ArgumentTypeError(
                f"no part {unknown.pop()}; choose of {','.join(_PARTS)}"
            )
        return found

    add = parser.add_argument
    add(
        "--only", type=chosen, default=list(_PARTS), metavar="PART,…", help=f"of {','.join(_PARTS)}"
    )
    add("--peers", help="the directory with the programs `llm` and `oterm` (default: the PATH)")
    add("--directory", help="where to put the databases (default: the temporary directory)")
    add("--rounds", type=int, default=10, help="starts of each kind; the medians are printed")
    add("--turns", type=int, default=30, help="questions of each kind; the medians are printed")
    add("--lines", type=int, default=5_000, help="lines of the long answer")
    add("--rate", type=int, default=2_000, help="pieces of it in a second")
    return parser


if __name__ == "__main__":
    main()
