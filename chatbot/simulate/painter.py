"""Paints a few lines over and over at the end of a terminal's output.

It owns the place of the lines, and nothing else of the terminal: no mode is set and the cursor is not hidden, so
that there is nothing to restore if the process is killed. The cursor waits below the lines, where whatever is printed
next belongs. A frame is one write, each line erased only behind its own text, so that nothing flickers.
"""

import re
from collections.abc import Callable, Sequence
from typing import TextIO

from chatbot.simulate.text import simpler
from chatbot.traces.style import columns_of

_PAINT = re.compile(r"\x1b\[[0-9;]*m")
_UP, _ERASE_LINE, _ERASE_BELOW, _RESET = "\x1b[{}A", "\x1b[K", "\x1b[J", "\x1b[0m"


class Painter:
    """`size` returns the terminal's columns and rows: `shutil.get_terminal_size`."""

    def __init__(self, stream: TextIO, size: Callable[[], tuple[int, int]]) -> None:
        self._stream = stream
        self._size = size
        self._widths: list[int] = []  # of the lines that are on the screen

    @property
    def width(self) -> int:
        """How wide a line may be: the last column stays free, since a full line may or may not wrap."""
        return max(self._size()[0] - 1, 1)

    def paint(self, lines: Sequence[str]) -> None:
        """Show these lines in place of the last ones; those that do not fit into the height are left out."""
        lines = lines[: max(self._size()[1] - 1, 1)]
        frame = [self._back(), *(f"{line}{_ERASE_LINE}\n" for line in lines), _ERASE_BELOW]
        self._widths = [columns_of(_PAINT.sub("", line)) for line in lines]
        self._write("".join(frame))

    def say(self, text: str) -> None:
        """Print a line that stays, above those that are painted: they come back with the next frame."""
        frame = f"{self._back()}{_ERASE_BELOW}{text}\n"
        self._widths = []
        self._write(frame)

    def close(self) -> None:
        """Leave the last frame where it is."""
        if self._widths:
            self._write(_RESET)
        self._widths = []

    def __enter__(self) -> "Painter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _back(self) -> str:
        """Return what brings the cursor to the first of the lines.

        In a terminal that was made narrower since, a line takes several rows.
        """
        columns, height = self._size()
        rows = sum(max(-(-width // max(columns, 1)), 1) for width in self._widths)
        rows = min(rows, max(height - 1, 0))
        return "\r" + (_UP.format(rows) if rows else "")

    def _write(self, frame: str) -> None:
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        try:
            frame.encode(encoding)
        except UnicodeEncodeError:
            frame = simpler(frame)
        self._stream.write(frame)
        self._stream.flush()
