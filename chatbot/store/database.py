"""The connection's life: open the file or refuse it, run statements, begin and commit.

Owns the `sqlite3` connection; no error of its library leaves this module (faults.py translates
them). Of the tables it knows only those of the search index, which it feeds before each commit, and
it never writes to a file that it cannot read. `process.py` opens one; `queries.py` runs its statements through it.
"""

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from chatbot.store import files, migrations, text
from chatbot.store.faults import foreign, is_locked, newer, not_migrated, translated, unusable
from chatbot.store.files import APPLICATION_ID
from chatbot.store.migrations import VERSION, Beat, Tell

BUSY_TIMEOUT_S = 5.0

Value = str | int | float | bytes | None

_INT64_MAX = 2**63 - 1
_SETTINGS = (
    "PRAGMA synchronous = FULL",  # in WAL, anything less loses commits with the power
    "PRAGMA foreign_keys = ON",
    "PRAGMA secure_delete = ON",  # what was deleted is overwritten; measured: it costs nothing
    "PRAGMA fullfsync = 1",  # macOS: fsync alone leaves the data in the drive's own cache
    "PRAGMA checkpoint_fullfsync = 1",
    "PRAGMA wal_autocheckpoint = 4000",  # a log of 16 MB: a page that changes often is moved once
)
_INDEX_NEW = (
    "INSERT INTO messages_fts (rowid, content)"
    " SELECT id, content FROM _unindexed CROSS JOIN messages USING (id)",  # in this order
    "DELETE FROM _unindexed",
)


class Database:
    """An open database. One thread uses it; every method raises StoreUnavailable.

    `was_left_open` says that it was not closed in order the last time, or is in use elsewhere.
    """

    def __init__(
        self, path: str, connection: sqlite3.Connection, watch: files.Watch, was_left_open: bool
    ) -> None:
        self.path = path
        self.was_left_open = was_left_open
        self._connection = connection
        self._data_version = 0
        self._watch = watch

    @classmethod
    def open(
        cls,
        path: str,
        *,
        must_exist: bool = False,
        beat: Beat | None = None,
        tell: Tell | None = None,
    ) -> "Database":
        """Open the database, or create it where there is no file; its directory must exist.

        Refuses symbolic links, directories, files that are not ours and newer versions, and leaves
        them as they are; `must_exist` refuses to create one. Blocks up to 5 s while another process
        holds the lock, and while an older version is brought up to date: then `beat` is called about
        once a second, and `tell` once with a line that says so.
        """
        try:
            ours = files.prepare(path, must_exist)
        except OSError as error:
            raise unusable(path, error) from error
        watch = files.Watch(path)
        was_left_open = files.size_of(f"{path}-wal") > 0
        with translated(path, ours):
            connection = _connect(path)
        try:
            with translated(path, ours):
                _set_up(path, connection, beat, tell)
            watch.opened()
            files.remove_stale(path)
        except OSError as error:
            connection.close()
            raise unusable(path, error) from error
        except BaseException:
            if was_left_open:
                _close_untouched(path, connection)
            connection.close()
            raise
        return cls(path, connection, watch, was_left_open)

    def begin(self) -> bool:
        """Begin to write; False when another process held the lock for all of the 5 s.

        Always IMMEDIATE: a transaction that begins by reading and then wants to write fails at
        once, without any waiting, when someone else has written in between. Raises
        StoreUnavailable when somebody has deleted or replaced the file.
        """
        self._watch.look()
        return self._unless_locked("BEGIN IMMEDIATE")

    def commit(self) -> bool:
        """Commit; False when it was locked out, and then it may be tried again."""
        with translated(self.path):
            self._index_new()
        return self._unless_locked("COMMIT")

    def write(self, sql: str, **values: Value) -> int:
        """Run a statement that changes rows; return how many, without those that triggers change."""
        return self._write(sql, _bindable(values))

    def write_row(self, sql: str, values: tuple[Value, ...]) -> int:
        """Do as `write`, with the values in order: for what is done for every message, since SQLite finds
        a number sooner than a name."""
        return self._write(sql, [value if value is None else _fitting(value) for value in values])

    def _write(self, sql: str, values: "dict[str, Value] | list[Value]") -> int:
        try:
            cursor = self._connection.execute(sql, values)
            if not self._connection.in_transaction:  # then it was a transaction of its own
                self._index_new()
        except sqlite3.Error as error:
            raise unusable(self.path, error) from error
        return max(cursor.rowcount, 0)

    def one(self, sql: str, **values: Value) -> tuple[Any, ...] | None:
        """Return the first row of a query."""
        try:
            row: tuple[Any, ...] | None = self._connection.execute(
                sql, _bindable(values)
            ).fetchone()
        except sqlite3.Error as error:
            raise unusable(self.path, error) from error
        return row

    def rows(self, sql: str, **values: Value) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a query as they are read."""
        with translated(self.path):
            yield from self._connection.execute(sql, _bindable(values))

    def changed_elsewhere(self) -> bool:
        """Whether another process has written since the last time this was asked."""
        row = self.one("PRAGMA data_version")
        before, self._data_version = self._data_version, row[0] if row else 0
        return before != self._data_version

    def close(self) -> None:
        """Close the database; what was begun is undone.

        The last connection to close moves the write-ahead log into the database and removes it,
        unless the database was deleted or replaced.
        """
        self._connection.close()

    def close_untouched(self) -> None:
        """Close a damaged database: what was begun is undone, and nothing is moved into it."""
        _close_untouched(self.path, self._connection)

    def _index_new(self) -> None:
        for statement in _INDEX_NEW:
            self._connection.execute(statement)

    def _unless_locked(self, sql: str) -> bool:
        with translated(self.path):
            try:
                self._connection.execute(sql)
            except sqlite3.OperationalError as error:
                if not is_locked(error):
                    raise
                return False
        return True


def _connect(path: str) -> sqlite3.Connection:
    # `mode=rw` keeps SQLite from creating a file with permissions and through links of its own.
    address = Path(path).absolute().as_uri() + "?mode=rw"
    return sqlite3.connect(address, uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None)


def _close_untouched(path: str, connection: sqlite3.Connection) -> None:
    """Close without moving the write-ahead log into the file, as the last one to close it does.

    Another connection, which may only read, stays until this one is closed, and cannot move it.
    """
    address = Path(path).absolute().as_uri() + "?mode=ro"
    with contextlib.suppress(sqlite3.Error), closing(sqlite3.connect(address, uri=True)) as reader:
        with contextlib.suppress(sqlite3.Error):  # it is there, even if it cannot read
            reader.execute("SELECT count(*) FROM sqlite_master")
        connection.close()


def _set_up(
    path: str, connection: sqlite3.Connection, beat: Beat | None, tell: Tell | None
) -> None:
    """Check whose database it is, switch its modes, and create or migrate its tables.

    Going over to WAL fails at once while another instance does the same, so it is tried again.
    """
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            version = _identify(path, connection)
            connection.execute("PRAGMA journal_mode = WAL").fetchall()
            for setting in _SETTINGS:
                connection.execute(setting)
            if version == 0:
                migrations.create(connection)
            elif version < VERSION:
                _migrate(path, connection, beat, tell)
        except sqlite3.OperationalError as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            if not is_locked(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _migrate(
    path: str, connection: sqlite3.Connection, beat: Beat | None, tell: Tell | None
) -> None:
    try:
        migrations.migrate(connection, text.shown(path), beat, tell)
    except sqlite3.Error as error:
        if is_locked(error):
            raise
        raise not_migrated(path, error) from error
    _identify(path, connection)  # a newer program may have been quicker


def _identify(path: str, connection: sqlite3.Connection) -> int:
    """Return the version of the database, 0 of a new one. Raises StoreUnavailable unless it is ours."""
    connection.execute("BEGIN")  # the three answers must be of one moment
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (objects,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    connection.execute("COMMIT")
    if (application_id, version, objects) == (0, 0, 0):
        return 0
    if application_id != APPLICATION_ID or version < 1:
        raise foreign(path)
    if version > VERSION:
        raise newer(path, version, VERSION)
    return int(version)


def _bindable(values: dict[str, Value]) -> dict[str, Value]:
    return {name: _fitting(value) for name, value in values.items()}


def _fitting(value: Value) -> Value:
    """Return the value as SQLite can hold it: clean text, and integers of 64 bits with a sign."""
    if isinstance(value, str):
        if "\0" in value or not value.isascii():
            return text.clean(value)
    elif isinstance(value, int) and not -_INT64_MAX <= value <= _INT64_MAX:
        return max(-_INT64_MAX - 1, min(value, _INT64_MAX))  # a server may report it
    return value
