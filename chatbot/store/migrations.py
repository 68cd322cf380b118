"""The tables: created in a new database, brought up to date in one of an older version.

Owns `user_version` and the SQL files beside this module. All of it happens in one transaction: a
process that is killed in its middle leaves the version that was there. `database.py` calls it,
with a connection whose database it has found to be ours.
"""

import contextlib
import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

VERSION = 3  # `user_version`, as schema.sql sets it

Tell = Callable[[str], None]
Beat = Callable[[], None]

_VACUUMED_BYTES = 64 * 1024 * 1024
_ADD_COLUMN = re.compile(r"ALTER TABLE (\w+) ADD COLUMN\s+(\w+)")
_BEAT_EVERY_S = 1.0
_NOTICEABLE_S = 0.5
_STEPS = 1000  # of SQLite's machine between two looks at the clock: far less than a millisecond


def create(connection: sqlite3.Connection) -> None:
    """Create the tables; another instance may do the same at once. Raises sqlite3.Error."""
    _in_transaction(connection, "BEGIN IMMEDIATE", lambda: _run_schema(connection))


def migrate(
    connection: sqlite3.Connection, name: str, beat: Beat | None = None, tell: Tell | None = None
) -> None:
    """Bring an older database up to date. Raises sqlite3.Error, and then nothing has changed.

    Meanwhile it calls `beat` about once a second, and `tell` once with a line about the database
    `name`, if it takes long enough to be noticed. All texts are indexed: about two minutes for a gigabyte.

    Version 1 did not ask SQLite to overwrite what was deleted or replaced, and not every SQLite does
    so unasked: a database below 64 MB is written anew once, without those traces. In a larger one
    they stay until `VACUUM` is run on it, as they do when that is prevented (by a full disk, or a kill).
    """

    def steps() -> None:
        # Asked again, inside: another instance may just have done it.
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version == 1:
            _drop_triggers(connection)
        for number in range(version + 1, VERSION + 1):
            _run(connection, f"migration_{number}.sql")
        _run_schema(connection)

    connection.set_progress_handler(_pulse(name, beat, tell), _STEPS)
    try:
        _in_transaction(connection, "BEGIN EXCLUSIVE", steps)
        _vacuum(connection)
    finally:
        connection.set_progress_handler(None, 0)


def script(name: str) -> str:
    """Return the text of an SQL file of this package."""
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _run(connection: sqlite3.Connection, name: str) -> None:
    """Run a script inside the transaction there is; `executescript` would commit it first."""
    for statement in _statements(script(name)):
        column = _ADD_COLUMN.search(statement)
        if column is None or not _has_column(connection, *column.groups()):
            connection.execute(statement)


def _run_schema(connection: sqlite3.Connection) -> None:
    """Make all that is new, and set the version; unless a newer program has just done more."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version <= VERSION:
        _run(connection, "schema.sql")


def _has_column(connection: sqlite3.Connection, table: str, column: str) -> bool:
    sql = "SELECT 1 FROM pragma_table_info(?) WHERE name = ?"
    return connection.execute(sql, (table, column)).fetchone() is not None


def _drop_triggers(connection: sqlite3.Connection) -> None:
    """Drop the triggers of somebody's own search index: they would write into ours as well."""
    rows = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'messages'"
        " AND sql LIKE '%messages_fts%'"
    ).fetchall()
    for (name,) in rows:
        quoted = name.replace('"', '""')
        connection.execute(f'DROP TRIGGER "{quoted}"')


def _vacuum(connection: sqlite3.Connection) -> None:
    """Write a small database anew, without the pages' unused parts. All has been committed before."""
    sql = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"
    (size,) = connection.execute(sql).fetchone()
    if size < _VACUUMED_BYTES:
        # Nothing depends on it: what locks it out, or fills the disk, is told by the next write.
        with contextlib.suppress(sqlite3.OperationalError):
            connection.execute("VACUUM")


def _statements(text: str) -> Iterator[str]:
    """Split a script into its statements; none may end in the middle of a line."""
    statement = ""
    for line in text.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _in_transaction(connection: sqlite3.Connection, begin: str, steps: Callable[[], None]) -> None:
    connection.execute(begin)
    try:
        steps()
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # SQLite itself undoes it after some errors
            connection.execute("ROLLBACK")
        raise


def _pulse(name: str, beat: Beat | None, tell: Tell | None) -> Callable[[], int]:
    """Return what SQLite calls as it works: it lets others know that the work goes on."""
    begun = last_beat = time.monotonic()
    told = tell is None

    def pulse() -> int:
        nonlocal last_beat, told
        now = time.monotonic()
        if tell is not None and not told and now - begun >= _NOTICEABLE_S:
            told = True
            tell(f"bringing {name} up to date; this happens once, with a new version of chatbot")
        if beat is not None and now - last_beat >= _BEAT_EVERY_S:
            last_beat = now
            beat()
        return 0  # anything else would interrupt the statement

    return pulse
