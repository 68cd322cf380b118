"""A search over many messages, for whatever a person may type.

The bare query asks the full-text index for the same words and for the ids of the best twenty; the store
also cuts a snippet out of each message, and names its session.
"""

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks import figures
from benchmarks.store import bare, peer
from benchmarks.store.words import Words
from chatbot.messages import Found, Search

SESSION_MESSAGES = 20
LIMIT = 20
SESSIONS_SQL = (
    "INSERT INTO sessions (id, title, start_time, backend, model)"
    " VALUES (?, 'a title', ?, 'sim', 'sim')"
)
MESSAGES_SQL = (
    "INSERT INTO messages (session_id, role, content, timestamp, request_id, backend, model, status,"
    " finish_reason) VALUES (?, ?, ?, ?, ?, 'sim', 'sim', 'complete', ?)"
)
_BARE_SQL = "SELECT rowid FROM messages_fts WHERE messages_fts MATCH ? ORDER BY rank LIMIT ?"


def run(directory: Path, rounds: int, messages: int) -> None:
    """Print a row per kind of search."""
    path = str(directory / "search.db")
    words = Words()
    figures.progress(f"writing {messages:,} messages")
    bare.fill(path, conversations(words, messages))
    with (
        peer.store(path) as process,
        contextlib.closing(bare.connect(path)) as connection,
    ):
        figures.heading(
            f"search over {messages:,} messages", "median ms", "bare", "found", "matching"
        )
        for name, text, match in searches(connection, words):
            figures.progress(f"searching for {name}")
            found: Found = process.ask(Search("", text, LIMIT), Found)
            if found.error:
                raise SystemExit(f"the store could not search for {text!r}: {found.error}")
            taken = figures.medians(
                {
                    "store": partial(search, process, text),
                    "bare": partial(bare_search, connection, match),
                },
                rounds,
            )
            (matching,) = connection.execute(
                "SELECT count(*) FROM messages_fts WHERE messages_fts MATCH ?", (match,)
            ).fetchone()
            times = (f"{seconds * 1000:.2f}" for seconds in taken.values())
            figures.row(name, *times, len(found.hits), matching)


def conversations(words: Words, messages: int) -> Iterator[tuple[str, Iterator[bare.Row]]]:
    """Yield the statements and rows of so many messages, in sessions of twenty."""
    sessions = range(-(-messages // SESSION_MESSAGES))
    yield SESSIONS_SQL, ((f"session_{n}", n * 3600.0) for n in sessions)
    yield (
        MESSAGES_SQL,
        (
            (
                f"session_{n // SESSION_MESSAGES}",
                "assistant" if n % 2 else "user",
                text,
                n * 180.0,
                f"r{n // 2}",
                "stop" if n % 2 else None,
            )
            for n, text in enumerate(words.texts(messages))
        ),
    )


def searches(connection: sqlite3.Connection, words: Words) -> Iterator[tuple[str, str, str]]:
    """Yield a name, what is typed, and what it is in the language of the index."""
    vocabulary = words.vocabulary
    (text,) = connection.execute("SELECT content FROM messages WHERE id = 7").fetchone()
    first, second, third = text.replace(".", "").split()[2:5]
    common, rare = vocabulary[100], vocabulary[-2]
    yield "a rare word", rare, f'"{rare}"'
    yield "a common word", common, f'"{common}"'
    yield "the most common word", vocabulary[0], f'"{vocabulary[0]}"'
    yield (
        "two words",
        f"{vocabulary[60]} {vocabulary[900]}",
        f'"{vocabulary[60]}" "{vocabulary[900]}"',
    )
    yield (
        "a phrase with punctuation",
        f'"{first}, {second}: {third}?"',
        f'"{first} {second} {third}"',
    )
    yield "only signs, as in code", "C++ (*p)->x;", '"c" "p" "x"'
    yield "a part of a word", vocabulary[-2][1:-1], f'"{vocabulary[-2][1:-1]}"'
    yield "no match", "xylophonically", '"xylophonically"'


def search(process: peer.StoreProcess, text: str) -> float:
    """Return the seconds from the question to what was found."""
    started = time.perf_counter()
    process.ask(Search("", text, LIMIT), Found)
    return time.perf_counter() - started


def bare_search(connection: sqlite3.Connection, match: str) -> float:
    """Return the seconds that the index takes for the best twenty."""
    started = time.perf_counter()
    connection.execute(_BARE_SQL, (match, LIMIT)).fetchall()
    return time.perf_counter() - started
