"""The memory of a store over very many rows: it must not grow with them.

Turns in a thousand sessions: first without the cache, then with one whose two levels are so small that
they evict all the time.
"""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from benchmarks import figures
from benchmarks.store import peer
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
        _table("rows, no cache", process, Script(said, cache="off"), rows, path)
    path = str(directory / "memory-cache.db")
    with peer.store(
        path, memory_cache_bytes=MEMORY_CACHE_BYTES, cache_bytes=CACHE_BYTES
    ) as process:
        answers = [words.text(100) for _ in range(1000)]
        name = f"rows, a cache of {CACHE_BYTES // _MEGABYTE} MB, {MEMORY_CACHE_BYTES // _MEGABYTE} in memory"
        _table(name, process, Script(answers), rows // 5, path)
    with closing(sqlite3.connect(path)) as connection:
        entries, size = connection.execute("SELECT count(*), total(size) FROM cache").fetchone()
    figures.row("left in the cache: entries, MB", entries, f"{size / _MEGABYTE:.1f}")


def _table(name: str, process: peer.StoreProcess, script: Script, rows: int, path: str) -> None:
    figures.heading(name, "RSS MB", "per second", "database MB", "log MB")
    figures.row("0", f"{process.rss_bytes / _MEGABYTE:.1f}")
    turns = max(1, rows // 2 // STEPS)
    for step in range(1, STEPS + 1):
        figures.progress(f"up to {turns * 2 * step:,} {name}")
        load = Load(process, script.ask, SESSIONS, count=turns, answer=script.answered)
        sizes = (os.path.getsize(file) / _MEGABYTE for file in (path, f"{path}-wal"))
        rss = f"{process.rss_bytes / _MEGABYTE:.1f}"
        figures.row(f"{turns * 2 * step:,}", rss, load.rate * 2, *sizes)
