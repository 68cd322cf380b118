"""An answer from the cache: from memory, and from SQLite.

Before a hit is told, the question and its answer are committed: that is nearly all of its time. So the
bare loop stands here twice: looking up the same key, and doing so and saving the two rows.
"""

import contextlib
import shutil
import sqlite3
import time
from pathlib import Path

from benchmarks import figures
from benchmarks.store import bare, peer
from benchmarks.store.accept import texts
from benchmarks.store.load import Load, Script
from chatbot.messages import Accepted, Answered, Saved

HITS = 100  # in a round


def run(directory: Path, rounds: int, entries: int) -> None:
    """Print a row per level."""
    place = directory / "cache"
    place.mkdir()
    said = texts()
    figures.progress(f"a cache of {entries:,} answers")
    paths = [str(place / f"{name}.db") for name in ("memory", "sqlite", "bare")]
    with peer.store(paths[0]) as process:
        script = Script(said)
        Load(process, script.ask, 100, count=entries, answer=script.answered)
    for path in paths[1:]:
        shutil.copy(paths[0], path)
    with (
        peer.store(paths[0]) as memory,
        peer.store(paths[1], memory_cache_bytes=0) as sqlite,
        contextlib.closing(bare.connect(paths[2])) as connection,
    ):
        questions = Questions(said, entries)
        for number in range(1, HITS + 1):  # from now on in memory
            questions.hit(memory, number)
        keys = [key for (key,) in connection.execute("SELECT key FROM cache LIMIT ?", (HITS,))]
        taken = figures.medians(
            {
                "hit, from memory": lambda: questions.hits(memory),
                "hit, from SQLite": lambda: questions.hits(sqlite),
                "miss": lambda: questions.misses(memory),
                "bare: look up": lambda: look_up(connection, keys),
                "bare: look up and save two rows": lambda: look_up_and_save(
                    connection, keys, said[0]
                ),
            },
            rounds,
        )
    figures.heading(f"one question, of {entries:,} cached", "median µs")
    for name, seconds in taken.items():
        figures.row(name, seconds * 1e6)


class Questions:
    """Asks again what was asked when the cache was filled, or something new."""

    def __init__(self, said: list[str], entries: int) -> None:
        self._said = said
        self._entries = entries
        self._number = entries

    def hits(self, process: peer.StoreProcess) -> float:
        """Return the seconds from asking to a hit, in the mean of a hundred."""
        return sum(self.hit(process, number) for number in range(1, HITS + 1)) / HITS

    def hit(self, process: peer.StoreProcess, number: int) -> float:
        """Ask the same question as number so-and-so did; return the seconds to the answer."""
        seconds, accepted = self._ask(process, number)
        if accepted.hit is None:
            raise SystemExit("a question that was answered before was not found in the cache")
        process.expect(Saved | Answered)
        return seconds

    def misses(self, process: peer.StoreProcess) -> float:
        """Return the seconds from asking something new to its being accepted."""
        return sum(self._ask(process, self._number + 1)[0] for _ in range(HITS)) / HITS

    def _ask(self, process: peer.StoreProcess, number: int) -> tuple[float, Accepted]:
        self._number += 1
        text = f"{number} {self._said[number % len(self._said)]}"
        ask = peer.question(f"again-{self._number}", "session_0", text)
        started = time.perf_counter()
        accepted: Accepted = process.ask(ask, Accepted)
        return time.perf_counter() - started, accepted


def look_up(connection: sqlite3.Connection, keys: list[str]) -> float:
    """Return the seconds that a lookup takes, in the mean."""
    started = time.perf_counter()
    for key in keys:
        connection.execute(
            "SELECT completion, created_at FROM cache WHERE key = ?", (key,)
        ).fetchone()
    return (time.perf_counter() - started) / len(keys)


def look_up_and_save(connection: sqlite3.Connection, keys: list[str], text: str) -> float:
    """Return the seconds that a lookup and a commit of two rows take, in the mean."""
    started = time.perf_counter()
    for key in keys:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(
            "SELECT completion, created_at FROM cache WHERE key = ?", (key,)
        ).fetchone()
        for role in ("user", "assistant"):
            connection.execute(
                "INSERT INTO messages (session_id, role, content, timestamp, request_id, backend, model,"
                " status) VALUES ('session_0', ?, ?, 0, hex(randomblob(8)), 'sim', 'sim', 'complete')",
                (role, text),
            )
        bare.index(connection)
        connection.execute("COMMIT")
    return (time.perf_counter() - started) / len(keys)
