"""What can be read from a damaged database: whole rows only, around whatever is unreadable.

Reads a copy, which it alters, and writes to a new database. It knows the tables of every version;
it never sees the original, which is `recovery.py`'s, its only caller.
"""

import contextlib
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import NoneType
from typing import Any

from chatbot.store import text
from chatbot.store.database import Database, Value
from chatbot.store.faults import locked
from chatbot.store.migrations import Beat

_TABLES = ("prices", "sessions", "messages")  # the cache only repeats what can be asked again
_GROUP_ROWS = 1000
_ROWS_PER_PAGE = 128  # more than any page has, for a table whose last row cannot be told
_MAX_FAILURES = 20_000  # reads of one table: a fraction of a second; what is left is read by pages
_PAGE_COUNT_AT = 28  # https://www.sqlite.org/fileformat.html#the_database_header
_FREE_PAGES_AT = 32
_LEAF = b"\x0d"  # the first byte of a page that holds rows

Row = dict[str, Value]
Columns = dict[str, tuple[type, ...]]

_TYPES: Columns = {"TEXT": (str,), "INTEGER": (int,), "REAL": (float, int)}


def settle(copy: str) -> None:
    """Move what is in the copy's write-ahead log into it, as far as that can be done."""
    with contextlib.suppress(sqlite3.DatabaseError), closing(_open(copy)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def is_sound(copy: str) -> bool:
    """Whether there is nothing wrong with the copy, which must have been settled: neither with its
    pages, nor with the index for searching, nor with any of its texts."""
    try:
        with closing(_open(copy)) as connection:
            connection.text_factory = str
            if connection.execute("PRAGMA quick_check(1)").fetchall() != [("ok",)]:
                return False
            connection.execute("INSERT INTO messages_fts (messages_fts) VALUES ('integrity-check')")
            for table in ("sessions", "messages", "cache"):
                for _ in connection.execute(f"SELECT * FROM {table}"):  # noqa: S608 - our own names
                    pass  # texts are decoded as they are read
    except sqlite3.Error:
        return False
    return True


def salvage(copy: str, target: Database, beat: Beat) -> None:
    """Write every row that can be read from the copy to the target.

    The copy must have been settled. Raises StoreUnavailable when the target cannot be written. A session that cannot be read is made
    anew from its first message. Calls `beat` after every thousand rows or failures.
    """
    is_mended = not _has_tables(copy)
    if is_mended:
        _mend(copy)
    known = set[Value]()
    with closing(_open(copy)) as source:
        for table in _TABLES:
            columns = _columns(source, target, table)
            if not columns:
                continue
            insert = (
                f"INSERT OR IGNORE INTO {table} ({', '.join(columns)})"  # noqa: S608 - our own names
                f" VALUES ({', '.join(f':{column}' for column in columns)})"
            )
            with _groups(target, beat) as written:
                for row in _rows(copy, source, table, columns, is_mended, beat):
                    if table == "sessions":
                        known.add(row["id"])
                    elif table == "messages" and row["session_id"] not in known:
                        known.add(row["session_id"])
                        _make_session(target, row)
                    target.write(insert, **row)
                    written()


@contextlib.contextmanager
def _groups(target: Database, beat: Beat) -> Iterator[Any]:
    """Commit after every thousand rows, and at the end; yields what to call after each row."""
    rows = 0

    def written() -> None:
        nonlocal rows
        rows += 1
        if rows % _GROUP_ROWS == 0:
            finish()
            begin()
            beat()

    def begin() -> None:
        if not target.begin():
            raise locked(target.path)

    def finish() -> None:
        if not target.commit():
            raise locked(target.path)

    begin()
    yield written
    finish()


def _make_session(target: Database, message: Row) -> None:
    target.write(
        "INSERT OR IGNORE INTO sessions (id, title, start_time, backend, model)"
        " VALUES (:id, :title, :start_time, :backend, :model)",
        id=message["session_id"],
        title=text.title_of(str(message["content"])),
        start_time=message["timestamp"],
        backend=message["backend"],
        model=message["model"],
    )


def _rows(
    copy: str,
    source: sqlite3.Connection,
    table: str,
    columns: Columns,
    is_mended: bool,
    beat: Beat,
) -> Iterator[Row]:
    """Yield the whole rows of a table; where some could not be read, some of them come twice."""
    failures = 0

    def failed() -> None:
        nonlocal failures
        failures += 1
        if failures % _GROUP_ROWS == 0:
            beat()

    yield from _whole_rows(source, table, columns, failed)
    if failures or is_mended:  # which may have found the first page of something else
        yield from _scattered_rows(copy, table, columns, beat)


def _scattered_rows(copy: str, table: str, columns: Columns, beat: Beat) -> Iterator[Row]:
    """Yield the whole rows of each page by itself: of those too that no other page leads to.

    Every page that holds rows is put in place of the table's first one, and read as the whole table;
    those of other tables have no row with the right types. Takes a millisecond a page.
    """
    with closing(_open(copy)) as source:
        first = source.execute(
            "SELECT rootpage FROM sqlite_master WHERE type = 'table' AND name = ?", (table,)
        ).fetchone()[0]
        (page_size,) = source.execute("PRAGMA page_size").fetchone()
    with open(copy, "r+b", buffering=0) as file:
        pages = file.seek(0, 2) // page_size

        def page(number: int) -> bytes:
            file.seek((number - 1) * page_size)
            return file.read(page_size)

        def put(data: bytes) -> None:
            file.seek((first - 1) * page_size)
            file.write(data)

        before = page(first)
        for number in range(2, pages + 1):
            data = page(number)
            if data[:1] == _LEAF and number != first:
                put(data)
                with closing(_open(copy, immutable=True)) as source:
                    yield from _whole_rows(source, table, columns, beat)
                beat()
        put(before)


def _whole_rows(
    source: sqlite3.Connection, table: str, columns: Columns, failed: Beat
) -> Iterator[Row]:
    """Yield the rows that are whole: each value of its column's type, each text readable."""
    for values in _readable_rows(source, table, tuple(columns), failed):
        try:
            row = {
                column: value.decode() if isinstance(value, bytes) else value
                for column, value in zip(columns, values, strict=True)
            }
        except UnicodeDecodeError:
            continue
        if all(isinstance(row[column], types) for column, types in columns.items()):
            yield row


def _readable_rows(
    source: sqlite3.Connection, table: str, columns: tuple[str, ...], failed: Beat
) -> Iterator[tuple[Any, ...]]:
    """Yield the rows in their order; where a range cannot be read, each of its halves is tried."""
    select = (
        f"SELECT rowid, {', '.join(columns)} FROM {table} NOT INDEXED"  # noqa: S608 - our own names
        " WHERE rowid BETWEEN ? AND ? ORDER BY rowid"
    )
    ranges = [(1, _last_rowid(source, table))]
    failures = 0
    while ranges:
        low, high = ranges.pop()
        try:
            for rowid, *values in source.execute(select, (low, high)):
                low = max(low, rowid + 1)
                yield tuple(values)
        except sqlite3.DatabaseError:  # damaged, or the disk cannot read it
            failures += 1
            failed()
            if low < high and failures < _MAX_FAILURES:
                middle = (low + high) // 2
                ranges += [(middle + 1, high), (low, middle)]


def _last_rowid(source: sqlite3.Connection, table: str) -> int:
    """Return the highest row id that any part of the database speaks of."""
    found = []
    for sql in (
        f"SELECT seq FROM sqlite_sequence WHERE name = '{table}'",  # noqa: S608 - our own name
        f"SELECT max(rowid) FROM {table}",  # noqa: S608 - as above
        f"SELECT max(rowid) FROM {table} INDEXED BY {table}_by_session",  # noqa: S608 - as above
        f"SELECT max(rowid) FROM {table} INDEXED BY {table}_by_time",  # noqa: S608 - as above
    ):
        with contextlib.suppress(sqlite3.DatabaseError):  # there may be no such index, too
            found += [row[0] for row in source.execute(sql) if isinstance(row[0], int)]
    if found:
        return max(found)
    (pages,) = source.execute("PRAGMA page_count").fetchone()
    return int(pages) * _ROWS_PER_PAGE


def _columns(source: sqlite3.Connection, target: Database, table: str) -> Columns:
    """Return the columns that both databases have; none where the table's own page is lost."""
    info = f"""SELECT name, type, "notnull" FROM pragma_table_info('{table}')"""  # noqa: S608 - our own name
    try:
        there = {bytes(name).decode() for name, _, _ in source.execute(info)}
    except sqlite3.DatabaseError:
        return {}
    return {
        name: _TYPES[kind] + (() if required else (NoneType,))
        for name, kind, required in target.rows(info)
        if name in there
    }


def _has_tables(copy: str) -> bool:
    try:
        with closing(_open(copy)) as connection:
            row = connection.execute(
                "SELECT 1 FROM sqlite_master WHERE name = 'messages'"
            ).fetchone()
    except sqlite3.DatabaseError:
        return False
    return row is not None


def _mend(copy: str) -> None:
    """Put a new database's own description of its tables in place of the copy's.

    Any database that was made by the same schema.sql has it on the same pages, and its tables begin on
    the same ones. In another there may be rows on those pages: they are kept at the end of the file,
    where `_scattered_rows` finds them.
    """
    with tempfile.TemporaryDirectory(dir=Path(copy).parent) as directory:
        model = Path(directory) / "model.db"
        with closing(Database.open(str(model))) as database:
            roots = {root for (root,) in database.rows("SELECT rootpage FROM sqlite_master")}
        data = model.read_bytes()
    size = int.from_bytes(data[16:18], "big")
    with open(copy, "r+b", buffering=0) as file:
        pages = file.seek(0, 2) // size
        # All the pages where no table and no index begins are part of that description.
        for number in set(range(1, len(data) // size + 1)) - roots:
            at = (number - 1) * size
            file.seek(at)
            before = file.read(size)
            file.seek(at)
            file.write(data[at : at + size])
            if before[:1] == _LEAF:
                file.seek(pages * size)
                file.write(before)
                pages += 1
        file.seek(_PAGE_COUNT_AT)
        file.write(pages.to_bytes(4, "big"))
        file.seek(_FREE_PAGES_AT)
        file.write(bytes(8))


def _open(copy: str, immutable: bool = False) -> sqlite3.Connection:
    address = Path(copy).absolute().as_uri() + ("?immutable=1" if immutable else "?mode=rw")
    connection = sqlite3.connect(address, uri=True, isolation_level=None)
    connection.text_factory = bytes  # a text that is no text must not end the reading
    connection.execute("PRAGMA cell_size_check = ON")
    return connection
