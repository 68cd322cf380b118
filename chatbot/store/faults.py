"""What can be wrong with a database, each as one line: what, where, and the remedy.

`database.py` hands every `OSError` and `sqlite3.Error` through here, and nobody else does. It
never touches the file it speaks of.
"""

import contextlib
import errno
import os
import sqlite3
from collections.abc import Iterator

from chatbot.errors import StoreUnavailable
from chatbot.store import text


@contextlib.contextmanager
def translated(path: str) -> Iterator[None]:
    """Raise StoreUnavailable in place of any error of SQLite."""
    try:
        yield
    except sqlite3.Error as error:
        raise unusable(path, error) from error


def unusable(path: str, error: OSError | sqlite3.Error) -> StoreUnavailable:
    """Return the error that tells a person what is wrong with the database, and what to do."""
    name = text.shown(path)
    elsewhere = "choose another place with --db PATH"
    if isinstance(error, OSError):
        match error.errno:
            case errno.ENOENT:
                directory = text.shown(directory_of(path))
                reason = f"there is no directory {directory}; create it or {elsewhere}"
            case errno.ENOSPC | errno.EDQUOT:
                reason = f"the disk is full; make room or {elsewhere}"
            case _:
                reason = f"{os.strerror(error.errno or 0).lower()}; {elsewhere}"
        return StoreUnavailable(f"cannot write {name}: {reason}")
    match _code_of(error):
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return locked(path)
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM:
            return StoreUnavailable(f"cannot write {name}: permission denied; {elsewhere}")
        case sqlite3.SQLITE_FULL:
            return StoreUnavailable(
                f"cannot write {name}: the disk is full; make room or {elsewhere}"
            )
        case sqlite3.SQLITE_NOTADB:
            fault = "is not a chatbot database"
        case sqlite3.SQLITE_CORRUPT:
            fault = "is damaged"
        case _:
            return StoreUnavailable(f"cannot use {name}: {error}; {elsewhere}")
    return StoreUnavailable(f"{name} {fault}; it was left untouched; choose another with --db PATH")


def locked(path: str) -> StoreUnavailable:
    """Return the error for a lock that another process will not give up."""
    return StoreUnavailable(
        f"database is locked: another program is writing to {text.shown(path)}; "
        "close it or choose another place with --db PATH"
    )


def is_locked(error: sqlite3.Error) -> bool:
    """Whether another process holds the lock that was needed."""
    return _code_of(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _code_of(error: sqlite3.Error) -> int:
    """Return SQLite's primary result code; 0 for an error of the Python module itself."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def directory_of(path: str) -> str:
    """Return the directory that a file at this path stands in."""
    return os.path.dirname(path) or "."
