"""SQLite without anything around it: the baseline of every figure.

The same schema, the same settings, the same rows, written by one `executemany` per table and transaction
and indexed for the search. There is no way to save these rows with this library that does less.
"""

import sqlite3
import time
from collections.abc import Callable, Iterable
from typing import Any

from chatbot.ids import new_request_id
from chatbot.store.database import Database

Row = tuple[Any, ...]
Transaction = list[tuple[str, list[Row]]]

_KEY = "0123456789abcdef" * 4
_PLAIN = (
    "CREATE TABLE plain (id INTEGER PRIMARY KEY, session_id, role, content, timestamp, request_id,"
    " backend, model, status, cache_key)"
)
_QUESTION = (
    "(session_id, role, content, timestamp, request_id, backend, model, status, cache_key)"
    " VALUES (?, 'user', ?, ?, ?, 'sim', 'sim', 'complete', ?)"
)
_ANSWER = (
    "INSERT INTO messages (session_id, role, content, timestamp, request_id, backend, model, status,"
    " finish_reason, response_id, input_tokens, output_tokens, usage, first_token_ms, duration_ms)"
    " VALUES (?, 'assistant', ?, ?, ?, 'sim', 'sim', 'complete', 'stop', ?, 70, 60,"
    ' \'{"completion_tokens":60,"prompt_tokens":70,"total_tokens":130}\', 210.5, 1830.25)'
)
_CACHED = (
    "INSERT INTO cache (key, completion, backend, model, created_at, size)"
    " VALUES (?, ?, 'sim', 'sim', ?, ?)"
)


def create(path: str) -> None:
    """Create a database with the store's schema."""
    Database.open(path).close()


def connect(path: str) -> sqlite3.Connection:
    """Open a database with the store's settings."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL").fetchall()
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA secure_delete = ON")
    connection.execute("PRAGMA fullfsync = 1")
    connection.execute("PRAGMA checkpoint_fullfsync = 1")
    return connection


def index(connection: sqlite3.Connection) -> None:
    """Put the new texts into the full-text index, as must be done before each commit."""
    connection.execute(
        "INSERT INTO messages_fts (rowid, content)"
        " SELECT id, content FROM _unindexed CROSS JOIN messages USING (id)"
    )
    connection.execute("DELETE FROM _unindexed")


class Loop:
    """Writes rows in groups, and does nothing else."""

    def __init__(self, path: str, texts: list[str], sessions: int) -> None:
        create(path)
        self._connection = connect(path)
        self._connection.execute(_PLAIN)
        self._texts = texts
        self._sessions = sessions
        self._number = 0
        self._saved = 0
        self._spent = [0.0, 0.0]  # processor time, by the transaction's place in the work
        with self._connection:
            self._connection.executemany(
                "INSERT INTO sessions (id, title, start_time, backend, model)"
                " VALUES (?, 'title', 0, 'sim', 'sim')",
                ((f"session_{n}",) for n in range(sessions)),
            )

    def close(self) -> None:
        """Close the database."""
        self._connection.close()

    def questions(self, group: int, seconds: float, table: str = "messages") -> float:
        """Return the questions saved per second, in groups of so many."""
        sql = f"INSERT INTO {table} {_QUESTION}"
        return self._rate(group, seconds, lambda: [[(sql, self._questions(group))]])

    def turns(self, group: int, seconds: float) -> float:
        """Return the turns saved per second: so many questions in a transaction, and then their answers,
        each with its entry in the cache, in another."""
        return self._rate(group, seconds, lambda: self._turns(group))

    def cpu_s(self, group: int, seconds: float) -> tuple[float, float]:
        """Return the processor time that a question takes, and an answer."""
        self.turns(group, seconds)
        question, answer = (spent / self._saved for spent in self._spent)
        return question, answer

    def _rate(self, group: int, seconds: float, work: Callable[[], list[Transaction]]) -> float:
        self._saved = 0
        self._spent = [0.0, 0.0]
        started = now = time.perf_counter()
        while now - started < seconds:
            for at, transaction in enumerate(work()):
                before = time.process_time()
                self._connection.execute("BEGIN IMMEDIATE")
                for sql, rows in transaction:
                    self._connection.executemany(sql, rows)
                index(self._connection)
                self._connection.execute("COMMIT")
                self._spent[at] += time.process_time() - before
            self._saved += group
            now = time.perf_counter()
        return self._saved / (now - started)

    def _questions(self, count: int) -> list[Row]:
        return [self._question() for _ in range(count)]

    def _question(self) -> Row:
        self._number += 1
        number = self._number
        text = f"{number} {self._texts[number % len(self._texts)]}"
        session = f"session_{number % self._sessions}"
        return session, text, time.time(), new_request_id(), _key(number)

    def _turns(self, count: int) -> list[Transaction]:
        questions = self._questions(count)
        answers, cached = [], []
        for session_id, text, now, request_id, key in questions:
            answers.append((session_id, text, now, request_id, f"id-{request_id}"))
            completion = f'["{text}","sim","stop","","id-{request_id}",{{}},70,60]'
            cached.append((key, completion, now, len(completion)))
        sql = f"INSERT INTO messages {_QUESTION}"
        return [[(sql, questions)], [(_ANSWER, answers), (_CACHED, cached)]]


def _key(number: int) -> str:
    """Return a key as long as a real one, and as evenly spread."""
    return f"{number * 0x9E3779B97F4A7C15 & (1 << 64) - 1:016x}{_KEY[:48]}"


def fill(path: str, statements: Iterable[tuple[str, Iterable[Row]]]) -> None:
    """Write very much into a database at once, as fast as can be and safe against nothing."""
    create(path)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = OFF").fetchall()
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("BEGIN")
    for sql, rows in statements:
        connection.executemany(sql, rows)
    index(connection)
    connection.execute("COMMIT")
    connection.execute("PRAGMA journal_mode = WAL").fetchall()
    connection.close()
