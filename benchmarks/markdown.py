"""What drawing a long answer while it comes costs, as a share of one core, and how long a frame takes.

    python -m benchmarks.markdown [--lines N] [--rate DELTAS] [--frames N]

The answer is fed as fast as possible and a frame drawn wherever one would be due at that rate, so the
figures are processor time, without what the terminal takes to show it. The lines that come out are
compared with a rendering of the whole.
"""

import argparse
import random
import time

from benchmarks.figures import heading, progress, quantile, row
from chatbot.ui.lines import Line
from chatbot.ui.markdown import render
from chatbot.ui.markdown.stream import MarkdownStream, rendered

COLUMNS = 100
SENTENCE = (
    "The quick **brown** fox jumps over the `lazy` dog, and [then](http://example.org) it *sleeps* "
    "for a while in the warm sun of the afternoon.\n"
)
METHOD = (
    "    def run(self, n: int = 3) -> None:\n        # as often as asked\n        for i in range(n):\n"
    '            print(f"hello {i}", None, True)\n        return self.value + 1\n\n'
)
LIST = "".join(f"{n}. **Item {n}**: {SENTENCE}   - one\n   - `two`\n" for n in range(1, 8)) + "\n"
CODE = "```python\nclass A:\n" + METHOD * 8 + "```\n\n"
ROWS = "".join(f"| row {n} | {n * n} | some *words* in cell {n} |\n" for n in range(20))
TABLE = "| Name | Value | Note |\n|---|--:|---|\n" + ROWS + "\n"
ANSWERS = {
    "mixed": "## A heading\n\n"
    + SENTENCE * 3
    + "\n"
    + LIST
    + CODE
    + TABLE
    + "> quoted\n> words\n\n",
    "prose": SENTENCE * 4 + "\n",
    "one block of code": METHOD,
    "one table": ROWS,
}
BEGINNINGS = {
    "one block of code": "```python\nclass A:\n",
    "one table": "| a | b | c |\n|---|--:|---|\n",
}


def answer(kind: str, lines: int) -> str:
    """Return an answer of about so many lines."""
    part = ANSWERS[kind]
    return BEGINNINGS.get(kind, "") + part * (lines // part.count("\n") + 1)


def cut(text: str) -> list[str]:
    """Return the text in parts of a few characters, as models send it."""
    sizes = random.Random(1)
    deltas = []
    at = 0
    while at < len(text):
        size = sizes.randint(2, 7)
        deltas.append(text[at : at + size])
        at += size
    return deltas


def measure(kind: str, lines: int, rate: float, frames: float) -> None:
    """Print the figures for one kind of answer."""
    text = answer(kind, lines)
    deltas = cut(text)
    stream = MarkdownStream()
    taken: list[float] = []
    finished: list[Line] = []
    due = every = rate / frames
    started = time.process_time()
    for number, delta in enumerate(deltas):
        stream.feed(delta)
        if number >= due:
            due += every
            before = time.process_time()
            finished += stream.frame(COLUMNS).finished
            taken.append(time.process_time() - before)
    finished += stream.end(COLUMNS)
    spent = time.process_time() - started
    before = time.process_time()
    if tuple(finished) != rendered(text, COLUMNS):
        raise AssertionError(f"{kind}: what was streamed is not what a rendering of the whole is")
    whole = time.process_time() - before
    count = text.count("\n")
    row(
        f"{kind}: {count:,} lines, {len(deltas):,} deltas",
        f"{spent / (len(deltas) / rate):.1%}",
        f"{spent / len(deltas) * 1e6:.1f} µs",
        f"{spent / count * 1e6:.0f} µs",
        f"{quantile(taken, 0.5) * 1e3:.1f} ms",
        f"{quantile(taken, 0.95) * 1e3:.1f} ms",
        f"{whole / count * 1e6:.0f} µs",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lines", type=int, default=5000)
    parser.add_argument("--rate", type=float, default=2000, help="deltas per second")
    parser.add_argument("--frames", type=float, default=30, help="frames per second")
    asked = parser.parse_args()
    started = time.perf_counter()
    render.warm()
    heading(
        "an answer as it comes", "of a core", "per delta", "per line", "frame", "p95", "whole, line"
    )
    row("loading, in all", f"{(time.perf_counter() - started) * 1e3:.0f} ms")
    for kind in ANSWERS:
        progress(kind)
        measure(kind, asked.lines, asked.rate, asked.frames)


if __name__ == "__main__":
    main()
