"""The files of a database: the one that was named, and those that SQLite keeps beside it.

Looks at them, creates an empty one, and tells when they are not what they were. It never follows a
link, never reads one that is open (closing it would let go of SQLite's own locks), and knows
nothing of what is in them but their headers. `database.py` and `recovery.py` call it.
"""

import contextlib
import errno
import os
import stat
import time
from typing import IO

from chatbot.errors import StoreUnavailable
from chatbot.store import text, wal
from chatbot.store.faults import damaged, directory_of, foreign

APPLICATION_ID = int.from_bytes(b"chat", "big")
MAGIC = b"SQLite format 3\0"
SIDECARS = ("-wal", "-shm", "-journal")
_REPLACED = ".replaced-"
RECOVERING = ".recovering"  # what recovery.py makes, and renames to the database as its last step

_HEADER_BYTES = 100  # https://www.sqlite.org/fileformat.html#the_database_header
_VERSION_AT = 60
_APPLICATION_ID_AT = 68
_LOOKS = 10  # at a header that another program may be writing at this moment
_LOOK_EVERY_S = 0.02
_CHUNK_BYTES = 1024 * 1024


def prepare(path: str, must_exist: bool) -> bool:
    """Make sure that there is a file we may use; return whether its header says that it is ours.

    Raises StoreUnavailable, or OSError for what the system forbids.
    """
    name = text.shown(path)
    refuse_links(path)
    log_bytes = size_of(f"{path}-wal")  # before the file: who has a log has had a header
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        _refuse_remains(path, log_bytes)
        if must_exist:
            if not os.path.isdir(directory_of(path)):
                raise
            raise StoreUnavailable(
                f"there is no database {name} yet; the first chat makes it, or name another with "
                "--db PATH"
            ) from None
        flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | getattr(os, "O_NOFOLLOW", 0)
        try:
            os.close(os.open(path, flags, 0o600))
        except FileExistsError:  # another instance was quicker
            return prepare(path, must_exist)
        return False
    if stat.S_ISDIR(found.st_mode):
        raise StoreUnavailable(f"{name} is a directory; name a file with --db PATH")
    if not stat.S_ISREG(found.st_mode):
        raise StoreUnavailable(f"{name} is not a regular file; choose another with --db PATH")
    for place in (path, directory_of(path)):  # the write-ahead log stands beside the database
        if not os.access(place, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
    if found.st_size == 0:
        _refuse_remains(path, log_bytes, "is empty")
    header = header_of(path)
    if header[: len(MAGIC)] not in (b"", MAGIC):
        raise foreign(path)
    if log_bytes and not _is_log_whole(f"{path}-wal"):
        at = _APPLICATION_ID_AT  # a young database has it only in its log
        raise damaged(path) if is_ours(header) or not any(header[at : at + 4]) else foreign(path)
    return is_ours(header)


def header_of(path: str) -> bytes:
    """Return the header of a database; it is shorter where the file is. Raises OSError."""
    with open(path, "rb") as file:
        return file.read(_HEADER_BYTES)


def is_ours(header: bytes) -> bool:
    """Whether the first bytes of a file say that it is a database of this program."""
    at = _APPLICATION_ID_AT
    return header[at : at + 4] == APPLICATION_ID.to_bytes(4, "big")


def version_of(header: bytes) -> int:
    """Return the version that the first bytes of a database of this program speak of."""
    return int.from_bytes(header[_VERSION_AT : _VERSION_AT + 4], "big")


def is_recovering(path: str) -> bool:
    """Whether there is what a recovery has made and not yet put in place. Raises OSError."""
    made = path + RECOVERING
    try:
        is_file = stat.S_ISREG(os.lstat(made).st_mode)
    except FileNotFoundError:
        return False
    return is_file and is_ours(header_of(made))


def remove_stale(path: str) -> None:
    """Remove what a recovery that was killed has left beside a database that can be opened.

    It was never put in place, and may hold what has been deleted since. Raises OSError.
    """
    if is_recovering(path):
        os.unlink(path + RECOVERING)


def refuse_links(path: str) -> None:
    """Raise StoreUnavailable where the path, or a file that SQLite keeps beside it, is a link."""
    name = text.shown(path)
    if "\0" in path:
        raise StoreUnavailable(f"{name} is not a path; choose another with --db PATH")
    if os.path.islink(path):
        raise StoreUnavailable(f"{name} is a symbolic link; name the file itself with --db PATH")
    for ending in SIDECARS:
        if os.path.islink(path + ending):
            raise StoreUnavailable(
                f"{text.shown(path + ending)} is a symbolic link; remove it or choose another "
                "place with --db PATH"
            )


def size_of(path: str) -> int:
    """Return how many bytes a file has; 0 where there is none."""
    try:
        return os.lstat(path).st_size
    except OSError:  # whatever is wrong with it, opening the database will tell
        return 0


class Watch:
    """Whether the files of an open database are still those that were opened.

    Where somebody has deleted or replaced one, SQLite would go on writing to what nobody can open
    again. Made just before the database is opened; a look costs some 4 µs.
    """

    def __init__(self, path: str) -> None:
        self._name = text.shown(path)
        self._file = os.path.abspath(path)
        self._identities = {self._file: _identity(self._file)}

    def opened(self) -> None:
        """Watch the write-ahead log too, which exists as long as the database is open."""
        self.look()
        log = f"{self._file}-wal"
        self._identities[log] = _identity(log)

    def look(self) -> None:
        """Raise StoreUnavailable when one of the files has been deleted or replaced.

        The log of a database that was replaced is put aside: SQLite would take it for the new one's.
        """
        for file, before in self._identities.items():
            if before is None or (now := _identity(file)) == before:
                continue
            name = self._name + file.removeprefix(self._file)
            if now is None:
                raise StoreUnavailable(f"{name} was deleted while it was in use")
            aside = self._put_log_aside() if file == self._file else ""
            where = f"; the log of the old one is now {text.shown(aside)}" if aside else ""
            raise StoreUnavailable(f"{name} was replaced while it was in use{where}")

    def _put_log_aside(self) -> str:
        """Give the log that is still ours another name; return it."""
        log = f"{self._file}-wal"
        if self._identities.get(log) is None or _identity(log) != self._identities[log]:
            return ""
        number = 1
        while os.path.lexists(f"{self._file}{_REPLACED}{number}-wal"):
            number += 1
        aside = f"{self._file}{_REPLACED}{number}"
        for ending in ("-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                os.rename(self._file + ending, aside + ending)
        return f"{aside}-wal"


def _identity(file: str) -> tuple[int, int] | None:
    """Return which file stands there; None if there is none. Some systems know only that."""
    try:
        found = os.stat(file)
    except FileNotFoundError:
        return None
    return (found.st_dev, found.st_ino) if found.st_ino else (0, 0)


def _is_log_whole(log: str) -> bool:
    """Whether SQLite would read a log; one that is too short for a row, or all zeros, holds none."""
    for look in range(_LOOKS):
        if look:
            time.sleep(_LOOK_EVERY_S)
        try:
            with open(log, "rb") as file:
                header = file.read(wal.HEADER_BYTES)
                if len(header) < wal.HEADER_BYTES or wal.is_whole(header):
                    return True
                if not any(header) and _is_zero(file):
                    return True
        except FileNotFoundError:  # another instance has just closed the database
            return True
    return False


def _is_zero(file: IO[bytes]) -> bool:
    """Whether the rest of a file is zeros."""
    return not any(any(chunk) for chunk in iter(lambda: file.read(_CHUNK_BYTES), b""))


def _refuse_remains(path: str, log_bytes: int, what: str = "is gone") -> None:
    """Refuse to begin anew where there is something left of an older database: SQLite deletes it."""
    name = text.shown(path)
    if not os.path.lexists(path) and is_recovering(path):
        raise StoreUnavailable(
            f"the recovery of {name} was cut short; `chatbot sessions recover --db {name}` finishes it"
        )
    if log_bytes > wal.HEADER_BYTES:
        raise StoreUnavailable(
            f"{name} {what}, but its last messages are still in {name}-wal; put it back, "
            f"or `chatbot sessions recover --db {name}` makes a new one of what is there"
        )
