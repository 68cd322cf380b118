"""One recovery at a time, and nobody else at the database meanwhile.

Owns X.recovery-lock, which is there while a recovery is under way, and the lock on X itself.
`recovery.py` works inside both.
"""

import contextlib
import errno
import os
from collections.abc import Iterator
from typing import IO

from chatbot import host
from chatbot.errors import StoreUnavailable
from chatbot.store import text
from chatbot.store.faults import locked

_TURN = ".recovery-lock"  # an empty file
_LOCK_AT, _LOCK_BYTES = 0x4000_0002, 510  # what every program holds that has the database open


@contextlib.contextmanager
def turn(path: str) -> Iterator[None]:
    """Keep other recoveries of the database out. Raises StoreUnavailable where one is under way."""
    name = path + _TURN
    try:
        number = os.open(name, os.O_CREAT | os.O_RDWR | getattr(os, "O_NOFOLLOW", 0), 0o600)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EMLINK, errno.EISDIR):
            raise in_the_way(name) from error
        raise
    with open(number, "r+b", buffering=0) as file:
        if os.fstat(number).st_size:
            raise in_the_way(name)
        if not host.lock_range(file, 0, 1) or not _is_still(name, number):
            raise StoreUnavailable(
                f"{text.shown(path)} is being recovered by another program; wait until it has ended"
            )
        try:
            yield
        finally:
            if host.RENAMES_WHAT_IS_OPEN:  # while it is locked: nobody may lock what is gone
                os.unlink(name)
    if not host.RENAMES_WHAT_IS_OPEN:
        with contextlib.suppress(OSError):  # another one has it open, and will remove it
            os.unlink(name)


def _is_still(path: str, number: int) -> bool:
    """Whether an open file is the one that stands at the path."""
    try:
        return os.path.samestat(os.fstat(number), os.lstat(path))
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def locked_original(path: str) -> Iterator[IO[bytes]]:
    """Open the original for reading while no other program can open it. Raises StoreUnavailable.

    Where a program can rename only what nobody has open, that is the lock. Where only the log is
    left, an empty file takes the original's place; it goes again if the recovery fails.
    """
    made: os.stat_result | None = None
    with contextlib.suppress(FileExistsError), open(path, "xb") as empty:
        made = os.fstat(empty.fileno())
    try:
        with open(path, "r+b") as original:  # only who may write can lock
            _lock(path, original)
            yield original
    except BaseException:
        if made is not None and os.path.lexists(path) and os.path.samestat(made, os.lstat(path)):
            os.unlink(path)
        raise


def _lock(path: str, original: IO[bytes]) -> None:
    if not host.lock_range(original, _LOCK_AT, _LOCK_BYTES):
        raise locked(path)
    if not _is_still(path, original.fileno()):
        raise StoreUnavailable(
            f"{text.shown(path)} has just been replaced by another program; look whether it is "
            "still damaged"
        )


def in_the_way(path: str) -> StoreUnavailable:
    """Return the error for what stands under a name that a recovery needs, and is not of it."""
    return StoreUnavailable(
        f"{text.shown(path)} is in the way, and no recovery has made it; move it elsewhere, then "
        "try again"
    )
