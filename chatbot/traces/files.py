"""The lines of the trace files, oldest first: of the file itself, of what rotation left, and of the backups.

Owns the order of the files and what is broken in them: a torn last line is left out, a backup that breaks off
gives what can be read of it, and the rest is noted as damage. It never decodes a line, and never holds more
than one. Called by `archive` and by the command line.
"""

import gzip
import os
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from fnmatch import fnmatchcase
from pathlib import Path
from typing import BinaryIO, cast

from chatbot.errors import ChatbotError
from chatbot.settings import SPAN_FILE
from chatbot.traces.damage import Damage

_BACKUPS = 9  # more than are kept now: an older version may have kept more
_TRIES = 20
_LONGEST_LINE = 64 * 1024 * 1024


class Files:
    """All the files, opened at once: what is rotated away afterwards is still read to its end.

    A context manager. What could not be read is noted in `damage`: torn lines, files that break off, and the
    lines that a reader finds `spoilt`. Raises ChatbotError where a file is there and cannot be opened.
    """

    def __init__(self, directory: Path, damage: Damage | None = None) -> None:
        self._path = directory / SPAN_FILE
        self._damage = Damage() if damage is None else damage
        self._reading = ""
        self._stack = ExitStack()
        self._files: list[tuple[Path, BinaryIO]] = []

    def __enter__(self) -> "Files":
        try:
            for _ in range(_TRIES):
                if self._open():
                    break
                self._stack.close()  # they moved on while they were being opened
        except OSError as error:
            self._stack.close()
            name = error.filename or self._path
            raise ChatbotError(f"cannot read {name}: {error.strerror or error}") from error
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def lines(self) -> Iterator[bytes]:
        """Return the lines, the oldest first."""
        for path, file in self._files:
            self._reading = path.name
            self._damage.begin(path.name)
            file.seek(0)
            try:
                if path.suffix == ".gz":
                    with gzip.GzipFile(fileobj=file) as unpacked:
                        yield from self._lines_of(cast("BinaryIO", unpacked))
                else:
                    yield from self._lines_of(file, is_written=path == self._path)
            except (EOFError, OSError, zlib.error):  # what came before has been given
                self._damage.add(path.name)

    def spoilt(self) -> None:
        """The line that was given last is none that can be read."""
        self._damage.add(self._reading)

    def _lines_of(self, file: BinaryIO, *, is_written: bool = False) -> Iterator[bytes]:
        while line := file.readline(_LONGEST_LINE):
            if line.endswith(b"\n"):
                yield line
                continue
            begins_as_a_line = line.startswith(b"{")
            while line and not line.endswith(b"\n"):
                line = file.readline(_LONGEST_LINE)
            # Torn. At the end of the newest file that is nothing to tell: the process was killed in its
            # middle, or is just about to write the rest.
            if line or not (is_written and begins_as_a_line):
                self._damage.add(self._reading)

    def _open(self) -> bool:
        """Open all files; False where the names stood for others before the last was open.

        Opened newest first: what moves while they are being opened moves towards the older ones, and
        so is met twice, which shows, rather than missed.
        """
        self._files = []
        opened: list[tuple[Path, os.stat_result]] = []
        for path in self._paths():
            try:
                file = self._stack.enter_context(path.open("rb"))
            except FileNotFoundError:
                return False
            opened.append((path, os.fstat(file.fileno())))
            self._files.insert(0, (path, file))
        return self._paths() == [path for path, _ in opened] and all(map(_is_same, opened))

    def _paths(self) -> list[Path]:
        """Return the files there are, the newest first.

        A file stays beside its backup for the moment between two steps, and longer after a crash: it
        is then one of the two.
        """
        directory, name = self._path.parent, self._path.name
        # Not glob() and not exists(): to them, what may not be looked at is not there.
        names = set(os.listdir(directory))
        rotated = sorted(
            (directory / each for each in names if fnmatchcase(each, f"{name}.*.rotated")),
            reverse=True,
        )
        backups = (f"{name}.{n}.gz" for n in range(1, _BACKUPS + 1))
        there = [directory / each for each in backups if each in names]
        if rotated and there and _is_backup_of(there[0], rotated[-1]):
            rotated.pop()
        return [*([self._path] if name in names else []), *rotated, *there]


def _is_same(opened: tuple[Path, os.stat_result]) -> bool:
    path, status = opened
    try:
        return os.path.samestat(path.stat(), status)
    except FileNotFoundError:
        return False


def _is_backup_of(backup: Path, rotated: Path) -> bool:
    """Whether a backup holds what stands in a rotated file: by its length, and how it begins.

    The last four bytes of a gzip file are the length of what it holds (RFC 1952, ISIZE).
    """
    try:
        with rotated.open("rb") as plain, backup.open("rb") as packed:
            size = os.fstat(plain.fileno()).st_size
            packed.seek(-4, os.SEEK_END)
            if int.from_bytes(packed.read(4), "little") != size % 2**32:
                return False
            packed.seek(0)
            with gzip.GzipFile(fileobj=packed) as unpacked:
                return unpacked.read(4096) == plain.read(4096)
    except (EOFError, OSError, zlib.error):
        return False
