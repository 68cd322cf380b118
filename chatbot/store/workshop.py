"""The directory that a recovery works in: the copy of the damaged database, and the new one.

It has a fixed name, so that what a killed recovery has left is found, and a mark in it, so that a
directory of somebody's own is not taken for it. `recovery.py` calls it.
"""

import contextlib
import errno
import os
import shutil
from collections.abc import Callable, Iterator
from typing import IO

from chatbot.store import files, wal
from chatbot.store.alone import in_the_way
from chatbot.store.faults import newer
from chatbot.store.migrations import VERSION
from chatbot.store.salvage import settle

_WORKSHOP = ".recovery"
_MARK = "made-by-chatbot"  # an empty file in it
_CHUNK_BYTES = 4 * 1024 * 1024
_BLOCK_BYTES = 4096  # what a disk fails to read at once


@contextlib.contextmanager
def workshop(path: str) -> Iterator[str]:
    """Make the directory, and remove it at the end; what a killed recovery has left goes first.

    Raises StoreUnavailable where something else stands there, and OSError.
    """
    directory = path + _WORKSHOP
    _clear(directory)
    os.mkdir(directory, 0o700)
    try:
        with open(os.path.join(directory, _MARK), "xb"):
            pass
        yield directory
    finally:
        _clear(directory)


def copy_all(path: str, original: IO[bytes], to: str, beat: Callable[[], None]) -> None:
    """Copy the database and what belongs to it."""
    copy(original, to, beat)
    for ending in ("-wal", "-journal"):
        with contextlib.suppress(FileNotFoundError), open(path + ending, "rb") as sidecar:
            copy(sidecar, to + ending, beat)


def settle_copy(path: str, copied: str) -> bool:
    """Move the copy's log into it; return whether it is ours. Raises StoreUnavailable: it is newer.

    A log whose header is damaged gets it back, and one whose database is empty a first page.
    """
    log = f"{copied}-wal"
    before = files.header_of(copied)
    if files.size_of(log) > wal.HEADER_BYTES:
        with open(log, "r+b") as file:
            start = file.read(wal.START_BYTES)
            header = start if wal.is_whole(start) else wal.mended(start)
            if header and header is not start:
                file.seek(0)
                file.write(header)
        if header and not before:
            with open(copied, "wb") as file:
                file.write(wal.first_page(header))
    settle(copied)
    after = files.header_of(copied)
    is_readable = after.startswith(files.MAGIC) and files.is_ours(after)
    if is_readable and (version := files.version_of(after)) > VERSION:
        raise newer(path, version, VERSION)
    return files.is_ours(before) or files.is_ours(after)


def _clear(directory: str) -> None:
    """Remove what an earlier recovery has left; its mark goes last. Raises StoreUnavailable."""
    if not os.path.lexists(directory):
        return
    if os.path.islink(directory) or not os.path.isdir(directory):
        raise in_the_way(directory)
    names = set(os.listdir(directory))
    if names and _MARK not in names:
        raise in_the_way(directory)
    for name in sorted(names - {_MARK}):
        place = os.path.join(directory, name)
        if os.path.isdir(place) and not os.path.islink(place):
            shutil.rmtree(place)
        else:
            os.unlink(place)
    if names:
        os.unlink(os.path.join(directory, _MARK))
    os.rmdir(directory)


def copy(source: IO[bytes], to: str, beat: Callable[[], None]) -> None:
    """Copy a file; zeros stand where the disk cannot read it."""
    size = os.fstat(source.fileno()).st_size
    with open(to, "xb") as target:
        step = _CHUNK_BYTES
        while (at := source.tell()) < size:
            try:
                data = source.read(step)
            except OSError as error:
                if error.errno != errno.EIO:
                    raise
                if step > _BLOCK_BYTES:
                    step = _BLOCK_BYTES
                    source.seek(at)
                    continue
                data = bytes(min(step, size - at))
                source.seek(at + len(data))
            else:
                if not data:  # it has become shorter
                    break
            target.write(data)
            beat()
