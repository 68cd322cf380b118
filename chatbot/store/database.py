"""The connection's life: open the file or refuse it, run statements, begin and commit.

Owns the `sqlite3` connection; no error of its library leaves this module (faults.py translates
them). It knows no table, only the schema that it runs, and it never writes to a file that it cannot
read. `process.py` opens one; `queries.py` runs its statements through it.
"""

import errno
import os
import sqlite3
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from chatbot.errors import StoreUnavailable
from chatbot.store import text
from chatbot.store.faults import directory_of, is_locked, translated, unusable

VERSION = 2  # `user_version`, as schema.sql sets it
APPLICATION_ID = int.from_bytes(b"chat", "big")
BUSY_TIMEOUT_S = 5.0

Value = str | int | float | bytes | None

_MAGIC = b"SQLite format 3\0"
_INT64_MAX = 2**63 - 1
_SETTINGS = (
    "PRAGMA synchronous = FULL",  # in WAL, anything less loses commits with the power
    "PRAGMA foreign_keys = ON",
    "PRAGMA fullfsync = 1",  # macOS: fsync alone leaves the data in the drive's own cache
    "PRAGMA checkpoint_fullfsync = 1",
)


class Database:
    """An open database. One thread uses it; every method raises StoreUnavailable."""

    def __init__(self, path: str, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection
        self._data_version = 0

    @classmethod
    def open(cls, path: str) -> "Database":
        """Open the database, or create it where there is no file; its directory must exist.

        Refuses symbolic links, directories, files that are not ours and newer versions, and leaves
        them as they are. Blocks up to 5 s while another process holds the lock.
        """
        try:
            _prepare_file(path)
        except OSError as error:
            raise unusable(path, error) from error
        # `mode=rw` keeps SQLite from creating a file with permissions and through links of its own.
        address = Path(path).absolute().as_uri() + "?mode=rw"
        with translated(path):
            connection = sqlite3.connect(
                address, uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None
            )
        try:
            with translated(path):
                _set_up(path, connection)
        except BaseException:
            connection.close()
            raise
        return cls(path, connection)

    def begin(self) -> bool:
        """Begin to write; False when another process held the lock for all of the 5 s.

        Always IMMEDIATE: a transaction that begins by reading and then wants to write fails at
        once, without any waiting, when someone else has written in between.
        """
        return self._unless_locked("BEGIN IMMEDIATE")

    def commit(self) -> bool:
        """Commit; False when it was locked out, and then it may be tried again."""
        return self._unless_locked("COMMIT")

    def write(self, sql: str, **values: Value) -> None:
        """Run a statement that changes rows."""
        with translated(self.path):
            self._connection.execute(sql, _bindable(values))

    def one(self, sql: str, **values: Value) -> tuple[Any, ...] | None:
        """Return the first row of a query."""
        with translated(self.path):
            row = self._connection.execute(sql, _bindable(values)).fetchone()
        return tuple(row) if row is not None else None

    def rows(self, sql: str, **values: Value) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a query as they are read."""
        with translated(self.path):
            yield from self._connection.execute(sql, _bindable(values))

    @property
    def total_changes(self) -> int:
        """How many rows this connection has changed so far."""
        return self._connection.total_changes

    def changed_elsewhere(self) -> bool:
        """Whether another process has written since the last time this was asked."""
        row = self.one("PRAGMA data_version")
        before, self._data_version = self._data_version, row[0] if row else 0
        return before != self._data_version

    def close(self) -> None:
        """Close the database; what was begun is undone.

        The last connection to close moves the write-ahead log into the database and removes it.
        """
        self._connection.close()

    def _unless_locked(self, sql: str) -> bool:
        with translated(self.path):
            try:
                self._connection.execute(sql)
            except sqlite3.OperationalError as error:
                if not is_locked(error):
                    raise
                return False
        return True


def _prepare_file(path: str) -> None:
    """Make sure that there is a file we may use, without ever following a link."""
    name = text.shown(path)
    elsewhere = "choose another with --db PATH"
    if "\0" in path:
        raise StoreUnavailable(f"{name} is not a path; {elsewhere}")
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | getattr(os, "O_NOFOLLOW", 0)
        try:
            os.close(os.open(path, flags, 0o600))
        except FileExistsError:  # another instance was quicker
            _prepare_file(path)
        return
    if stat.S_ISLNK(mode):
        raise StoreUnavailable(f"{name} is a symbolic link; name the file itself with --db PATH")
    if stat.S_ISDIR(mode):
        raise StoreUnavailable(f"{name} is a directory; name a file with --db PATH")
    if not stat.S_ISREG(mode):
        raise StoreUnavailable(f"{name} is not a regular file; {elsewhere}")
    for place in (path, directory_of(path)):  # the write-ahead log stands beside the database
        if not os.access(place, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
    with open(path, "rb") as file:
        start = file.read(len(_MAGIC))
    if start not in (b"", _MAGIC):
        raise StoreUnavailable(
            f"{name} is not a chatbot database; it was left untouched; {elsewhere}"
        )


def _set_up(path: str, connection: sqlite3.Connection) -> None:
    """Check whose database it is, switch its modes, and create the tables of a new one.

    Going over to WAL fails at once while another instance does the same, so it is tried again.
    """
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            is_new = _identify(path, connection)
            connection.execute("PRAGMA journal_mode = WAL").fetchall()
            for setting in _SETTINGS:
                connection.execute(setting)
            if is_new:
                schema = Path(__file__).with_name("schema.sql").read_text(encoding="utf-8")
                connection.executescript(f"BEGIN IMMEDIATE;\n{schema}\nCOMMIT;")
        except sqlite3.OperationalError as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            if not is_locked(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _identify(path: str, connection: sqlite3.Connection) -> bool:
    """Return whether the database is new and empty. Raises StoreUnavailable unless it is ours."""
    connection.execute("BEGIN")  # the three answers must be of one moment
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (objects,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    connection.execute("COMMIT")
    name = text.shown(path)
    if (application_id, version, objects) == (0, 0, 0):
        return True
    if application_id != APPLICATION_ID:
        raise StoreUnavailable(
            f"{name} is not a chatbot database; it was left untouched; choose another with --db PATH"
        )
    if version > VERSION:
        raise StoreUnavailable(
            f"{name} was written by a newer chatbot (its version is {version}, this one knows up to "
            f"{VERSION}); update chatbot or choose another with --db PATH"
        )
    return False  # an older version would be migrated here, in one exclusive transaction


def _bindable(values: dict[str, Value]) -> dict[str, Value]:
    """Return the values as SQLite can hold them: clean text, and integers of 64 bits with a sign."""
    for name, value in values.items():
        if isinstance(value, str):
            values[name] = text.clean(value)
        elif isinstance(value, int):  # a server may report any number
            values[name] = max(-_INT64_MAX - 1, min(value, _INT64_MAX))
    return values
