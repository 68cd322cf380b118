"""The start with a large database, beside the start with an empty one, taken in turns with it.

The large one has what makes a database large in use: very many messages and their index, a full cache,
long texts. It is read from the file cache, as both are: this shows what the start does, not the disk.
"""

import shutil
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from benchmarks import figures
from benchmarks.store import bare, peer
from benchmarks.store.load import Load, Script
from benchmarks.store.search import conversations
from benchmarks.store.words import MEAN_WORDS, Words

GIGABYTE = 10**9
CACHE_SHARE = 0.2
ENTRY_BYTES = 1_800  # two to a page
LONG_BYTES = 100_000
MESSAGES_A_GIGABYTE = 100_000
_CACHED = (
    "INSERT INTO cache (key, completion, backend, model, created_at, size)"
    " VALUES (printf('%064x', ?), ?, 'sim', 'sim', 1e9 + ?, ?)"
)
_LONG = (
    "INSERT INTO messages (session_id, role, content, timestamp, request_id, backend, model, status,"
    " finish_reason, reasoning)"
    " VALUES ('session_0', 'assistant', ?, 0, ?, 'sim', 'sim', 'complete', 'stop', ?)"
)


def run(directory: Path, rounds: int, gigabytes: float) -> None:
    """Print a row per start; one line instead where the disk has no room."""
    size = int(gigabytes * GIGABYTE)
    free = shutil.disk_usage(directory).free
    if free < 2 * size + GIGABYTE:
        print(f"\nstart: left out, {2 * size + GIGABYTE:,} bytes are needed and {free:,} are free")
        return
    figures.progress(f"writing a database of {gigabytes:g} GB")
    places = {name: directory / f"start-{name}" for name in ("empty", "large")}
    for place in places.values():
        place.mkdir()
    paths = {name: str(place / "chatbot.db") for name, place in places.items()}
    bare.fill(paths["large"], large(Words(), size))
    bare.create(paths["empty"])
    written = Path(paths["large"]).stat().st_size / GIGABYTE
    figures.heading(
        f"start with a database of {written:.2f} GB, median ms", "large", "empty", "ratio"
    )
    figures.progress("starting stores")
    _compare("store, spawned to Ready", rounds, {n: partial(ready, p) for n, p in paths.items()})
    _compare(
        "store, after one that was killed",
        rounds,
        {n: partial(ready_after_a_kill, p) for n, p in paths.items()},
    )
    if sys.platform == "win32":
        return
    from benchmarks.startup import RUN, to_exit, to_prompt  # needs a pseudo-terminal

    figures.progress("starting whole programs")
    _compare(
        "whole program, to the first prompt",
        rounds,
        {n: partial(to_prompt, str(p)) for n, p in places.items()},
    )
    _compare(
        "whole program, a one-shot answer",
        rounds,
        {
            n: partial(
                to_exit, RUN, "--backend", "sim", "--db", p, "--log-dir", str(directory), "hi"
            )
            for n, p in paths.items()
        },
    )


def ready(path: str) -> float:
    """Return the seconds from starting a store to its Ready."""
    with peer.store(path) as process:
        return process.ready_s


def ready_after_a_kill(path: str) -> float:
    """Return the seconds to Ready of a store whose predecessor was killed after a commit."""
    with peer.store(path) as process:
        Load(process, Script(["a question"]).ask, 10, count=100)
        process.kill()
    return ready(path)


def large(words: Words, size: int) -> Iterator[tuple[str, Iterator[bare.Row]]]:
    """Yield the statements and rows of a database of about so many bytes."""
    messages = max(20, size * MESSAGES_A_GIGABYTE // GIGABYTE)
    yield from conversations(words, messages)
    answer = words.text(ENTRY_BYTES // 7)
    entries = int(size * CACHE_SHARE) // (ENTRY_BYTES + 250)
    yield _CACHED, ((n, f'["{answer}"]', n, len(answer) + 4) for n in range(entries))
    said = words.text(MEAN_WORDS)
    thought = words.text(LONG_BYTES // 7)
    left = int(size * (1 - CACHE_SHARE)) - messages * 1_200
    yield _LONG, ((said, f"long-{n}", thought) for n in range(left // len(thought)))


def _compare(name: str, rounds: int, measures: dict[str, Callable[[], float]]) -> None:
    taken = figures.medians(measures, rounds)
    large, empty = taken["large"] * 1000, taken["empty"] * 1000
    figures.row(name, large, empty, f"{large / empty:.2f}")
