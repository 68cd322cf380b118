"""The record of a run: one file, a line for each event, in the order in which they happened.

Every process appends to it by single writes of its own, so that a line is there before whatever it
tells of goes on, and stays there when its writer is killed. A write that was cut in two by a kill
is a line of its own that cannot be read, since each line also begins with a line break.
"""

import os
import time
import zlib
from pathlib import Path
from typing import Literal

import msgspec

What = Literal[
    "began",  # the test: a life of the program begins
    "ended",  # the test: it has ended; `outcome` is its exit code
    "born",  # the supervisor: this process was started
    "killed",  # the test, or an armed room: this process is about to get a SIGKILL
    "driving",  # the driver: it asks from now on
    "drained",  # the test: nothing more is killed, nothing more is to be asked
    "asked",  # the driver: about to ask
    "terminal",  # the driver: was told how a request ended
    "told",  # the driver: was told that the end is saved
    "got",  # the dispatcher: has the question
    "accepted",  # the dispatcher: the store has acknowledged the question
    "saved",  # the dispatcher: the store has acknowledged the end
    "received",  # the server: has a whole request, and has not answered it yet
]


class Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """An event. `at` is monotonic, in seconds, and the same clock in all processes. `text` is the
    first word of what was asked; `digest` stands for a whole text."""

    what: What
    at: float
    pid: int
    life: int = 0
    request_id: str = ""
    session_id: str = ""
    text: str = ""
    cache: str = ""
    outcome: str = ""
    digest: int = 0
    role: str = ""
    slot: int = 0


class Journal:
    """The writing end."""

    def __init__(self, directory: Path, life: int) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        self._fd = os.open(directory / "journal", flags, 0o600)
        self._life = life

    def write(
        self, what: What, *, pid: int = 0, life: int | None = None, **fields: str | int
    ) -> None:
        """Append an event; when this returns, it is written."""
        of_life = self._life if life is None else life
        line = Line(what, time.monotonic(), pid or os.getpid(), of_life, **fields)  # type: ignore[arg-type] # msgspec checks them when the line is read
        os.write(self._fd, b"\n" + msgspec.json.encode(line) + b"\n")

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)


class Tail:
    """The reading end: what was appended since it was asked last."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "journal"
        self._offset = 0
        self._decoder = msgspec.json.Decoder(Line)

    def read(self) -> list[Line]:
        """Return the new events."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._offset)
            data = file.read()
        end = data.rfind(b"\n") + 1
        self._offset += end
        lines: list[Line] = []
        for part in data[:end].split(b"\n"):
            if part:
                try:
                    lines.append(self._decoder.decode(part))
                except msgspec.DecodeError:  # its writer was killed over it
                    continue
        return lines


def digest(text: str) -> int:
    """Return a number that stands for a text."""
    return zlib.crc32(text.encode())
