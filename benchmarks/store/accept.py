"""Messages accepted, and turns saved, per second; and how long accepting one takes.

Accepted means committed. The bare loop writes the same rows in groups as large as the store's can be:
the sessions that wait at the same time, at most 128.
"""

import contextlib
import statistics
from collections.abc import Callable
from itertools import chain
from pathlib import Path

from benchmarks import figures
from benchmarks.figures import in_turns, quantile
from benchmarks.store import bare, peer
from benchmarks.store.load import Load, Script
from benchmarks.store.words import MEAN_WORDS, Words
from chatbot.store.process import GROUP_MESSAGES

LOADS = (1, 32, 1000)
HISTORY = 10


def texts() -> list[str]:
    """Return a few hundred texts of about 300 bytes."""
    words = Words()
    return [words.text(MEAN_WORDS) for _ in range(500)]


def run(directory: Path, rounds: int, seconds: float) -> None:
    """Print a row per load."""
    said = texts()
    figures.heading(
        "accepted messages per second",
        "store",
        "bare",
        "of bare",
        "plain table",
        "p50 ms",
        "p99 ms",
    )
    for sessions in LOADS:
        figures.progress(f"accepting in {sessions} sessions")
        _accept(directory / f"accept-{sessions}", said, sessions, 0, rounds, seconds)
    _accept(directory / "accept-history", said, LOADS[-1], HISTORY, rounds, seconds)
    figures.heading("turns saved per second", "store", "bare", "of bare")
    for sessions in LOADS:
        figures.progress(f"turns in {sessions} sessions")
        _turns(directory / f"turns-{sessions}", said, sessions, rounds, seconds)


def _accept(
    place: Path, said: list[str], sessions: int, history: int, rounds: int, seconds: float
) -> None:
    place.mkdir()
    group = min(sessions, GROUP_MESSAGES)
    waits: list[list[float]] = []
    script = Script(said, history)
    with (
        peer.store(str(place / "store.db")) as process,
        contextlib.closing(bare.Loop(str(place / "bare.db"), said, sessions)) as loop,
    ):

        def accept() -> float:
            load = Load(process, script.ask, sessions, seconds=seconds)
            waits.append(load.accept_s)
            return load.rate

        taken = in_turns(
            {
                "store": accept,
                "bare": lambda: loop.questions(group, seconds),
                "plain": lambda: loop.questions(group, seconds, "plain"),
            },
            rounds,
        )
    name = f"{sessions:,} session{'s' * (sessions > 1)}"
    if history:
        name += f", {history} messages of history each"
    store, base, plain = (statistics.median(values) for values in taken.values())
    counted = list(chain.from_iterable(waits[1:]))  # without those of the first round
    p50, p99 = (f"{quantile(counted, share) * 1000:.2f}" for share in (0.5, 0.99))
    figures.row(name, store, base, f"{store / base:.2f}", plain, p50, p99)


def _turns(place: Path, said: list[str], sessions: int, rounds: int, seconds: float) -> None:
    place.mkdir()
    group = min(sessions, GROUP_MESSAGES)
    script = Script(said)
    with (
        peer.store(str(place / "store.db")) as process,
        contextlib.closing(bare.Loop(str(place / "bare.db"), said, sessions)) as loop,
    ):
        measures: dict[str, Callable[[], float]] = {
            "store": lambda: (
                Load(process, script.ask, sessions, seconds=seconds, answer=script.answered).rate
            ),
            "bare": lambda: loop.turns(group, seconds),
        }
        store, base = figures.medians(measures, rounds).values()
    figures.row(f"{sessions:,} session{'s' * (sessions > 1)}", store, base, f"{store / base:.2f}")
