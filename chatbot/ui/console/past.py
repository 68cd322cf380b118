"""What was typed before, on disk: one file per person, shared by all chats that run at once.

Each line is one text as a JSON string, oldest first. Who writes holds the lock of a file beside it
(NAME.lock), since the file itself is replaced when it has grown too large. Nothing here ends a chat: what
cannot be kept is told once, by `fault`.
"""

import contextlib
import json
import os
import tempfile
import time
from collections.abc import Iterator

import msgspec

from chatbot import host
from chatbot.sanitize import well_formed

_MOST_TEXTS = 10_000
_MOST_BYTES = 4 * 1024 * 1024
_LONGEST = 256 * 1024  # bytes of one line; longer ones are not kept
_PATIENCE_S = 1.0  # for a lock that is held for a few milliseconds
_AGAIN_S = 0.005

_decode = msgspec.json.Decoder(str).decode


class Past:
    """A person's texts. An empty path keeps them in this object alone."""

    def __init__(
        self, path: str, *, most_texts: int = _MOST_TEXTS, most_bytes: int = _MOST_BYTES
    ) -> None:
        self._path = os.path.expanduser(path)
        self._most_texts = most_texts
        self._most_bytes = most_bytes
        self._kept: list[str] = []  # only without a path
        self._lines = 0  # in the file, as far as this object knows
        self._fault = ""
        self._told = False

    def load(self) -> list[str]:
        """Return the texts, oldest first, no two alike in a row. Lines that cannot be read are left out."""
        if not self._path:
            return list(self._kept)
        try:
            lines = self._read()
        except FileNotFoundError:
            return []
        except OSError as error:
            self._failed("read", error)
            return []
        self._lines = len(lines)
        texts: list[str] = []
        for line in lines:
            try:
                text = _decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError):
                continue
            if not texts or texts[-1] != text:
                texts.append(text)
        return texts[-self._most_texts :]

    def append(self, text: str) -> None:
        """Keep a text, unless it is the same as the one before it, or empty."""
        if not text.strip():
            return
        text = well_formed(text)
        if not self._path:
            if self._kept[-1:] != [text]:
                self._kept = [*self._kept[1 - self._most_texts :], text]
            return
        line = json.dumps(text, ensure_ascii=False).encode() + b"\n"
        if len(line) > min(_LONGEST, self._most_bytes):
            return
        try:
            with self._alone():
                size = self._write(line)
                if size > self._most_bytes or self._lines > self._most_texts:
                    self._shorten()
        except OSError as error:
            self._failed("write", error)

    def take_fault(self) -> str:
        """Return why something could not be kept or read, in one line, the first time; later nothing."""
        fault, self._fault = self._fault, ""
        return fault

    def _failed(self, what: str, error: OSError) -> None:
        if not self._told:
            self._told = True
            reason = error.strerror or str(error)
            self._fault = f"cannot {what} the history of what is typed, {self._path}: {reason}"

    def _read(self) -> list[bytes]:
        """Return the whole lines at the file's end, of as many bytes as there may be."""
        with open(host.open_private(self._path, os.O_RDONLY), "rb") as file:
            size = file.seek(0, os.SEEK_END)
            begin = max(size - self._most_bytes, 0)
            file.seek(max(begin - 1, 0))
            lines = file.read().split(b"\n")
        if begin:
            del lines[0]  # its beginning is missing
        return [line for line in lines if line]

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the lock. Raises OSError, TimeoutError among them."""
        directory = os.path.dirname(self._path)
        if directory and not os.path.isdir(directory):
            os.makedirs(directory, 0o700, exist_ok=True)
        deadline = time.monotonic() + _PATIENCE_S
        flags = os.O_RDWR | os.O_CREAT
        with open(host.open_private(f"{self._path}.lock", flags), "r+b", buffering=0) as file:
            while not host.lock_whole(file):
                if time.monotonic() > deadline:
                    raise TimeoutError(0, "another program keeps it locked")
                time.sleep(_AGAIN_S)
            yield

    def _write(self, line: bytes) -> int:
        """Write a line at the end, where it is not there already; return the file's size."""
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
        with open(host.open_private(self._path, flags), "r+b", buffering=0) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - len(line) - 1, 0))
            last = file.read(len(line) + 1)
            if last in (line, b"\n" + line):
                return size
            if last and not last.endswith(b"\n"):  # a chat ended in the middle of its line
                line = b"\n" + line
            while line:
                written = file.write(line)
                size += written
                line = line[written:]
            self._lines += 1
            return size

    def _shorten(self) -> None:
        """Replace the file by its newest part: nine tenths, or every text would be one too many again."""
        lines = self._read()
        kept = lines[-max(self._most_texts * 9 // 10, 1) :]
        size = sum(map(len, kept)) + len(kept)
        for line in list(kept[:-1]):
            if size <= self._most_bytes * 9 // 10:
                break
            size -= len(line) + 1
            kept.pop(0)
        directory, name = os.path.split(os.path.realpath(self._path))
        number, beside = tempfile.mkstemp(prefix=f".{name[:80]}.", dir=directory)
        try:
            with os.fdopen(number, "wb") as file:
                file.write(b"\n".join((*kept, b"")))
            os.replace(beside, os.path.join(directory, name))
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(beside)
            if (
                not host.RENAMES_WHAT_IS_OPEN
            ):  # somebody may just be reading it: the next one does it
                return
            raise
        self._lines = len(kept)
