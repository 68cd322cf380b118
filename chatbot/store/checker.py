"""The check of a database that was not closed in order, while the work goes on.

Owns a thread and a connection of its own, which may only read. `process.py` starts it when
`Database.was_left_open`, and stops it before it closes the database.
"""

import contextlib
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

from chatbot.store import files
from chatbot.store.faults import damaged, is_damage

LIMIT_BYTES = 64 * 1024 * 1024

_TABLES = ("messages", "sessions", "cache", "prices")  # what holds data; the search index has none

_STEPS = 10_000  # of SQLite's machine between two looks at whether to stop: about a millisecond


class Checker:
    """A `quick_check` in the background; its result is handed to `tell`, in the thread of the check.

    It looks at the tables and their own indexes. The search index only repeats them; and asked about
    all there is, SQLite 3.44.0 to 3.45.0 takes a whole one for damaged, as it wants to write to it.

    The result is a line for a person, or None: nothing is wrong, or it was stopped. A database above
    64 MB is not checked: while the check reads, the write-ahead log cannot begin anew and would
    grow with all that is written meanwhile (64 MB are read in less than a second), and damage
    there is still told by whatever meets it.
    """

    def __init__(
        self, path: str, tell: Callable[[str | None], None], limit_bytes: int = LIMIT_BYTES
    ) -> None:
        self._path = path
        self._tell = tell
        self._limit = limit_bytes
        self._stopping = threading.Event()
        self._connection: sqlite3.Connection | None = None
        self._thread = threading.Thread(target=self._run, name="check", daemon=True)

    def start(self) -> None:
        """Begin, without waiting for anything."""
        self._thread.start()

    def stop(self, timeout_s: float = 1.0) -> bool:
        """Stop the check; return whether its connection is closed. May be called twice."""
        self._stopping.set()
        if (connection := self._connection) is not None:
            with contextlib.suppress(sqlite3.Error):  # it has just been closed
                connection.interrupt()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        self._tell(self._result())

    def _result(self) -> str | None:
        size = files.size_of(self._path) + files.size_of(f"{self._path}-wal")
        if size > self._limit or self._stopping.is_set():
            return None
        address = Path(self._path).absolute().as_uri() + "?mode=ro"
        try:
            with contextlib.closing(sqlite3.connect(address, uri=True)) as connection:
                # Both: an interrupt that comes before the statement is lost, and SQLite asks the
                # handler only between the steps of its machine, one of which may read a whole table.
                self._connection = connection
                connection.set_progress_handler(self._stopping.is_set, _STEPS)
                results = [
                    connection.execute(f"PRAGMA quick_check({table})").fetchone()
                    for table in _TABLES
                ]
        except sqlite3.Error as error:  # stopped, or locked out: then it just was not checked
            return str(damaged(self._path)) if is_damage(error) else None
        return None if all(row == ("ok",) for row in results) else str(damaged(self._path))
