"""The memory of a store over very many rows: it must not grow with them.

First questions alone, in a thousand sessions; then whole turns, with a cache whose two levels are so
small that they evict all the time.
"""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from benchmarks.store import figures, peer
from benchmarks.store.load import Load, Script
from benchmarks.store.words import Words

SESSIONS = 1000
STEPS = 10
MEMORY_CACHE_BYTES = 2_000_000
CACHE_BYTES = 8_000_000
_MEGABYTE = 1_000_000


def run(directory: Path, rows: int) -> None:
    """Print a row for each tenth of the work."""
    words = Words()
    said = [words.text(8) for _ in range(1000)]  # short ones, for the sake of many
    path = str(directory / "memory.db")
    with peer.store(path) as process:
        _table("rows of questions", process, Script(said), rows, path)
    path = str(directory / "memory-cache.db")
    with peer.store(
        path, memory_cache_bytes=MEMORY_CACHE_BYTES, cache_bytes=CACHE_BYTES
    ) as process:
        answers = [words.text(100) for _ in range(1000)]
        name = f"rows of turns, cache of {CACHE_BYTES // _MEGABYTE} MB"
        _table(name, process, Script(answers), rows // 5, path, answering=True)
    with closing(sqlite3.connect(path)) as connection:
        entries, size = connection.execute("SELECT count(*), total(size) FROM cache").fetchone()
    figures.row("left in the cache: entries, MB", entries, f"{size / _MEGABYTE:.1f}")


def _table(
    name: str,
    process: peer.StoreProcess,
    script: Script,
    rows: int,
    path: str,
    *,
    answering: bool = False,
) -> None:
    figures.heading(name, "RSS MB", "per second", "database MB", "log MB")
    figures.row("0", f"{process.rss_bytes / _MEGABYTE:.1f}")
    answer = script.answered if answering else None
    questions = rows // 2 if answering else rows
    for step in range(1, STEPS + 1):
        figures.progress(f"{rows * step // STEPS:,} {name}")
        count = max(1, questions // STEPS)
        load = Load(process, script.ask, SESSIONS, count=count, answer=answer)
        sizes = (os.path.getsize(file) / _MEGABYTE for file in (path, f"{path}-wal"))
        figures.row(
            f"{count * step * (2 if answering else 1):,}",
            f"{process.rss_bytes / _MEGABYTE:.1f}",
            load.rate * (2 if answering else 1),
            *sizes,
        )
