"""Processor time per message: what a store adds to the work of SQLite itself.

Measured from outside, over groups of 128: all threads of the process, those of its pipes too. In each
round questions are asked, and then all of them are answered.
"""

import contextlib
import statistics
from pathlib import Path

from benchmarks import figures
from benchmarks.store import bare, peer
from benchmarks.store.accept import texts
from benchmarks.store.load import Load, Script
from chatbot.store.process import GROUP_MESSAGES

SESSIONS = 1000


def run(directory: Path, rounds: int, seconds: float) -> None:
    """Print a row per kind of message."""
    place = directory / "cost"
    place.mkdir()
    said = texts()
    figures.progress("processor time per message")
    with (
        peer.store(str(place / "store.db")) as plain,
        peer.store(str(place / "traced.db")) as traced,
        contextlib.closing(bare.Loop(str(place / "bare.db"), said, SESSIONS)) as loop,
    ):
        plain_script, traced_script = Script(said), Script(said, traced=True)
        taken = [
            (
                *cost(plain, plain_script, seconds),
                *cost(traced, traced_script, seconds),
                *loop.cpu_s(GROUP_MESSAGES, seconds * 2),
            )
            for _ in range(rounds + 1)
        ]
    figures.heading("processor time per message, µs", "store", "traced", "bare", "of bare")
    ask, answered, traced_ask, traced_answered, bare_ask, bare_answered = (
        statistics.median(values) * 1e6
        for values in zip(*taken[1:], strict=True)  # the first is for the caches
    )
    figures.row("Ask", ask, traced_ask, bare_ask, f"{bare_ask / ask:.2f}")
    figures.row(
        "Answered", answered, traced_answered, bare_answered, f"{bare_answered / answered:.2f}"
    )


def cost(process: peer.StoreProcess, script: Script, seconds: float) -> tuple[float, float]:
    """Return the processor time that the store needs for a question, and for an answer."""
    asked = Load(process, script.ask, SESSIONS, seconds=seconds)
    waiting = iter(asked.done)
    answered = Load(
        process, lambda _: script.answered(next(waiting)), SESSIONS, count=len(asked.done)
    )
    return asked.cpu_s, answered.cpu_s
