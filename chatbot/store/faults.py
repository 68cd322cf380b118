"""What can be wrong with a database, each as one line: what, where, and the remedy.

Every `OSError` and `sqlite3.Error` that `database.py` and `recovery.py` meet becomes one of these;
`files.py`, `salvage.py`, `checker.py` and `process.py` raise and tell some by themselves. It never
opens the file it speaks of; of its disk it asks how much room is left.
"""

import contextlib
import errno
import os
import shutil
import sqlite3
from collections.abc import Iterator

from chatbot.errors import DatabaseDamaged, StoreUnavailable
from chatbot.store import text

_ELSEWHERE = "choose another place with --db PATH"
_FULL_BYTES = 64 * 1024  # with less than this left, an error of the disk means that it is full
_OF_THE_STATEMENT = (  # nothing is wrong with the file or its disk: a statement could not be run
    sqlite3.SQLITE_ERROR,
    sqlite3.SQLITE_CONSTRAINT,
    sqlite3.SQLITE_MISMATCH,
    sqlite3.SQLITE_TOOBIG,
)
_SHOWN_CHARACTERS = 200  # of SQLite's own words, which may quote what is in the database


@contextlib.contextmanager
def translated(path: str, ours: bool = True) -> Iterator[None]:
    """Raise StoreUnavailable in place of any error of SQLite. `ours`: the database was made by us."""
    try:
        yield
    except sqlite3.Error as error:
        raise unusable(path, error, ours) from error


def unusable(path: str, error: OSError | sqlite3.Error, ours: bool = True) -> StoreUnavailable:
    """Return the error that tells a person what is wrong with the database, and what to do."""
    if isinstance(error, OSError):
        return _forbidden(path, error)
    name = text.shown(path)
    match _code_of(error):
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return locked(path)
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM:
            return StoreUnavailable(f"cannot write {name}: permission denied; {_ELSEWHERE}")
        case sqlite3.SQLITE_CANTOPEN:
            return StoreUnavailable(
                f"cannot open {name} and the files beside it (their names begin like its own); "
                f"look at their permissions or {_ELSEWHERE}"
            )
        case sqlite3.SQLITE_FULL:
            return _full(path)
        case sqlite3.SQLITE_IOERR:
            if _is_disk_full(path):  # SQLite says so only of some of its writes
                return _full(path)
            return StoreUnavailable(
                f"cannot read or write {name}: the disk reports an error ({_words_of(error)}); "
                f"look after the disk or {_ELSEWHERE}"
            )
        case sqlite3.SQLITE_NOTADB | sqlite3.SQLITE_CORRUPT:
            return damaged(path) if ours else foreign(path)
        case 0 if "decode" in str(error):  # the Python module itself says so of broken UTF-8
            return damaged(path)
        case _:
            return StoreUnavailable(f"cannot use {name}: {_words_of(error)}; {_ELSEWHERE}")


def foreign(path: str) -> StoreUnavailable:
    """Return the error for a file that is not a database of ours."""
    return StoreUnavailable(
        f"{text.shown(path)} is not a chatbot database; it was left untouched; choose another with "
        f"--db PATH, or if it was one, `chatbot sessions recover --db {text.shown(path)}` saves what "
        "can be read"
    )


def damaged(path: str) -> DatabaseDamaged:
    """Return the error for a database of ours that cannot be read, or not all of it."""
    return DatabaseDamaged(f"{text.shown(path)} is damaged; {_recovery_of(path)}")


def newer(path: str, version: int, known: int) -> StoreUnavailable:
    """Return the error for a database of ours whose version is above the highest one known."""
    return StoreUnavailable(
        f"{text.shown(path)} was written by a newer chatbot (its version is {version}, this one "
        f"knows up to {known}); update chatbot or choose another with --db PATH"
    )


def not_migrated(path: str, error: sqlite3.Error) -> StoreUnavailable:
    """Return the error for a database of an older version that could not be brought up to date."""
    if _code_of(error) not in _OF_THE_STATEMENT:
        return unusable(path, error)
    return StoreUnavailable(
        f"cannot bring {text.shown(path)} up to date: {_words_of(error)}; {_recovery_of(path)}"
    )


def locked(path: str) -> StoreUnavailable:
    """Return the error for a lock that another process will not give up."""
    return StoreUnavailable(
        f"database is locked: another program is writing to {text.shown(path)}; "
        f"close it or {_ELSEWHERE}"
    )


def is_locked(error: sqlite3.Error) -> bool:
    """Whether another process holds the lock that was needed."""
    return _code_of(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def is_damage(error: sqlite3.Error) -> bool:
    """Whether the error says that what stands in the file is wrong."""
    return _code_of(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def directory_of(path: str) -> str:
    """Return the directory that a file at this path stands in."""
    return os.path.dirname(path) or "."


def _forbidden(path: str, error: OSError) -> StoreUnavailable:
    match error.errno:
        case errno.ENOENT:
            directory = text.shown(directory_of(path))
            reason = f"there is no directory {directory}; create it or {_ELSEWHERE}"
        case errno.ENOSPC | errno.EDQUOT:
            return _full(path)
        case _:
            reason = f"{os.strerror(error.errno or 0).lower()}; {_ELSEWHERE}"
    return StoreUnavailable(f"cannot write {text.shown(path)}: {reason}")


def _full(path: str) -> StoreUnavailable:
    return StoreUnavailable(
        f"cannot write {text.shown(path)}: the disk is full; make room or {_ELSEWHERE}"
    )


def _recovery_of(path: str) -> str:
    return (
        f"`chatbot sessions recover --db {text.shown(path)}` puts it aside and saves what can be "
        "read, or choose another with --db PATH"
    )


def _is_disk_full(path: str) -> bool:
    try:
        return shutil.disk_usage(directory_of(path)).free < _FULL_BYTES
    except OSError:
        return False  # what is wrong with it is told in SQLite's words


def _words_of(error: sqlite3.Error) -> str:
    return text.shown(str(error))[:_SHOWN_CHARACTERS]


def _code_of(error: sqlite3.Error) -> int:
    """Return SQLite's primary result code; 0 for an error of the Python module itself."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
