"""A text stream to a file that rotates: `name`, then `name.1.gz` (the newest backup) to `name.3.gz`.

Owns the bytes on the disk: whole lines only, rotation between lines, compression, and what happens
when the disk says no. It never raises after it has been opened: what cannot be written is kept (up
to a bound), tried again at the next flush, and counted. Called by `logs` and `spanfile`, and by the
official OTLP file exporter of metrics as its stream; it is safe to use from several threads.

Two programs may share a log directory: lines are appended whole, before each flush a look at the
name finds a file that the other one has rotated away or was killed while writing to, and one of them
compresses at a time.
"""

import contextlib
import gzip
import os
import shutil
import stat
import threading
import time
from collections import deque
from io import FileIO
from pathlib import Path
from typing import IO

from chatbot import host
from chatbot.errors import ChatbotError

MAX_BYTES = 10 * 1024 * 1024
BACKUPS = 3

_PENDING_BYTES = 8 * 1024 * 1024
_FLUSH_AT_BYTES = 1024 * 1024
_WAIT_S = 0.5
_LEVEL = 3  # half the time of 6, for a sixth more bytes


class RotatingFile:
    """The stream.

    Opening it creates the directory, ends a line that a killed process left unfinished, and
    compresses what a crash left between renaming and compressing. Raises ChatbotError when the
    directory or the file cannot be written.
    """

    def __init__(self, path: Path, max_bytes: int = MAX_BYTES, backups: int = BACKUPS) -> None:
        self.path = path
        self.failures = 0  # how often the disk refused
        self.dropped_lines = 0  # lines given up because it refused for too long
        self.error = ""
        self._max_bytes = max_bytes
        self._backups = backups
        self._lock = threading.Lock()
        self._pending: deque[bytes] = deque()  # whole lines, but for the rest of a torn first one
        self._pending_bytes = 0
        self._mid_line = False  # the last write stopped inside a line; the rest is pending
        self._size = 0
        self._closed = False
        self._refused = False
        self._patient = True  # whoever held the file has always let go of it in time
        self._file: FileIO | None = None
        try:
            self._hold()
            self._release()
        except OSError as error:
            raise ChatbotError(
                f"{path.parent}: cannot write the log files there ({error.strerror or error}), "
                "choose another directory with --log-dir"
            ) from error
        self._compress_rotated()

    @property
    def is_behind(self) -> bool:
        """Whether the disk has not taken all that was to be written."""
        return bool(self._pending)

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def write(self, text: str) -> int:
        """Take whole lines; they reach the file with the next flush, or when there are many."""
        self.write_lines(text.encode("utf-8", "backslashreplace"))
        return len(text)

    def write_lines(self, data: bytes) -> bool:
        """Take whole lines that are encoded already; return whether there was room for them."""
        with self._lock:
            if self._closed or self._pending_bytes + len(data) > _PENDING_BYTES:
                self.dropped_lines += data.count(b"\n")
                return False
            self._pending.append(data)
            self._pending_bytes += len(data)
            # A disk that refuses is left in peace until the next flush.
            if self._pending_bytes > _FLUSH_AT_BYTES and not self._refused:
                self._flush()
            return True

    def flush(self) -> None:
        """Write what is pending to the file; what the disk refuses stays pending."""
        with self._lock:
            if self._pending and not self._closed:
                self._flush()

    def close(self) -> None:
        """Flush and close. What could not be written even now is counted as dropped."""
        with self._lock:
            if self._closed:
                return
            if self._pending:
                self._flush()
            self._closed = True
            self.dropped_lines += sum(data.count(b"\n") for data in self._pending)
            self._pending.clear()
            self._close_file()

    # --- the rest is called with the lock held ----------------------------------------------

    def _flush(self) -> None:
        try:
            self._hold()
            while self._pending:
                if self._is_full():
                    if self._rotate():
                        self._compress_rotated()
                    self._hold()
                self._write_some()
            self._refused = False
        except OSError as error:
            self._refused = True
            self._failed(error)
        finally:
            self._release()

    def _failed(self, error: OSError) -> None:
        self.failures += 1
        self.error = str(error)

    def _is_full(self) -> bool:
        after = self._size + len(self._pending[0])
        return self._size > 0 and after > self._max_bytes and not self._mid_line

    def _write_some(self) -> None:
        """Write as many of the pending lines as the file has room for, but at least one."""
        parts = [self._pending[0]]
        size = self._size + len(parts[0])
        for part in list(self._pending)[1:]:
            size += len(part)
            if size > self._max_bytes:
                break
            parts.append(part)
        data = b"".join(parts)
        file = self._file or self._open()
        written = file.write(data)
        self._size += written
        self._pending_bytes -= written
        # A full disk may take only a part. The rest goes first next time, and so completes the line.
        self._mid_line = data[:written][-1:] not in (b"", b"\n") or (self._mid_line and not written)
        for part in parts:
            if written < len(part):
                self._pending[0] = part[written:]
                break
            self._pending.popleft()
            written -= len(part)

    def _hold(self) -> None:
        """Lock the file that the name stands for: nobody rotates it while we write, nor compresses it.

        Another program that was stopped in the middle of a write is waited for once only.
        """
        until = time.monotonic() + _WAIT_S
        while True:
            if self._file is not None:
                self._wait_for_lock(self._file, until)
            if self._follow():
                return

    def _wait_for_lock(self, file: FileIO, until: float) -> None:
        while not _lock(file):
            if not self._patient or time.monotonic() > until:
                self._patient = False
                return
            time.sleep(0.001)
        self._patient = True

    def _release(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):  # a file system without locks
                host.unlock_range(self._file, 0, 1)

    def _follow(self) -> bool:
        """Reopen when the name stands for another file by now, or for none: someone rotated it.
        Return whether it was still the same."""
        if self._file is not None:
            try:
                now = self.path.stat()
            except FileNotFoundError:
                now = None
            if now is not None and os.path.samestat(now, os.fstat(self._file.fileno())):
                size = now.st_size if stat.S_ISREG(now.st_mode) else 0
                if size != self._size:
                    self._share(size)
                return True
        self._open()
        if self._mid_line:  # its beginning is in the other file
            self._give_up_rest()
        return False

    def _give_up_rest(self) -> None:
        self._pending_bytes -= len(self._pending.popleft())
        self.dropped_lines += 1
        self._mid_line = False

    def _share(self, size: int) -> None:
        """Another program has written since we have: begin our next line where none stands."""
        self._size = size
        if self._mid_line:  # it wrote behind our half line
            self._give_up_rest()
        elif size and self._file is not None and not _ends_with_newline(self._file):
            self._size += self._file.write(b"\n")  # it was killed in the middle of a line

    def _open(self) -> FileIO:
        self._close_file()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = FileIO(self.path, "ab+", opener=open_private)
        self._size = 0  # so far as we know: `_follow` looks, when nobody else is writing
        return self._file

    def _close_file(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _rotate(self) -> bool:
        """Move the file out of the way and begin a new one; False when it could not be moved."""
        if not host.RENAMES_WHAT_IS_OPEN:
            self._close_file()
        rotated = self.path.with_name(f"{self.path.name}.{time.time_ns()}.rotated")
        moved = True
        try:
            self.path.rename(rotated)
        except OSError as error:  # then the file grows on: too long is better than lost
            self._failed(error)
            moved = False
        self._open()
        return moved

    def _compress_rotated(self) -> None:
        """Turn every rotated file, the oldest first, into the newest backup.

        A crash leaves the rotated file, and the next start compresses it, unless it sees by the name
        in the newest backup that this had been done.
        """
        try:
            pattern = f"{self.path.name}.*.rotated"
            while rotated := min(self.path.parent.glob(pattern), default=None):
                if not self._compress(rotated):
                    return
        except OSError as error:  # the rotated file stays, for the next rotation or start
            self._failed(error)

    def _compress(self, rotated: Path) -> bool:
        """Compress one; False when another program is at it.

        Only who has locked the oldest rotated file touches the backups: so there is one at a time.
        """
        try:
            source = rotated.open("r+b")  # only what may be written can be locked
        except FileNotFoundError:
            return False
        with source:
            if not _lock(source) or not rotated.exists():
                return False
            if _packed_name(self._backup(1)) != rotated.name:  # else only its removal is missing
                compressed = rotated.with_suffix(".tmp")
                with (
                    FileIO(compressed, "wb", opener=open_private) as raw,
                    gzip.GzipFile(rotated.name, "wb", _LEVEL, raw) as target,
                ):
                    shutil.copyfileobj(source, target, 256 * 1024)
                self._make_room()
                compressed.replace(self._backup(1))
            if host.RENAMES_WHAT_IS_OPEN:  # while it is locked: nobody may compress it again
                rotated.unlink()
        rotated.unlink(missing_ok=True)
        return True

    def _make_room(self) -> None:
        """Number the backups one higher, as far as they stand without a gap: a crash on the way has
        left one, and nothing is pushed out for it."""
        numbers = range(1, self._backups)
        end = next((n for n in numbers if not self._backup(n).exists()), self._backups)
        for number in range(end - 1, 0, -1):
            self._backup(number).replace(self._backup(number + 1))

    def _backup(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}.gz")


def open_private(path: str, flags: int) -> int:
    """Open a file that only its owner may read: an opener for `open`."""
    return os.open(path, flags, 0o600)


def _lock(file: IO[bytes]) -> bool:
    try:
        return host.lock_range(file, 0, 1)
    except OSError:  # a file system without locks: no two programs are told apart there
        return True


def _packed_name(backup: Path) -> str:
    """Return the name in the header of a file that gzip has made; empty where there is none."""
    try:
        with backup.open("rb") as file:
            head = file.read(512)
    except FileNotFoundError:
        return ""
    has_only_a_name = head[:2] == b"\x1f\x8b" and head[3:4] == b"\x08"
    return head[10:].split(b"\0")[0].decode("latin-1") if has_only_a_name else ""


def _ends_with_newline(file: FileIO) -> bool:
    file.seek(-1, os.SEEK_END)
    return file.read(1) == b"\n"
