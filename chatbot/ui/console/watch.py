"""A table that is painted anew whenever it was read anew: `/top`."""

import threading
from collections.abc import Sequence

from chatbot.ui.console.columns import cut
from chatbot.ui.lines import Line, line
from chatbot.ui.live import Frame


class Watch:
    """Lines of which only the latest count. Where the window is too low, their beginning is kept."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lines: tuple[Line, ...] = ()

    @property
    def lines(self) -> tuple[Line, ...]:
        """The latest."""
        with self._lock:
            return self._lines

    def put(self, lines: Sequence[Line]) -> None:
        """These are the latest now."""
        with self._lock:
            self._lines = tuple(lines)

    def frame(self, columns: int, rows: int) -> Frame:
        """Return them as they fit."""
        lines = self.lines
        if len(lines) > rows:
            lines = (*lines[: max(0, rows - 1)], line("…", "dim"))
        return Frame((), tuple(cut(each, columns) for each in lines))
