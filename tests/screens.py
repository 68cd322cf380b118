"""A console without a terminal: what is written into it, and what it would paint."""

import threading
from collections.abc import Iterable

from chatbot.ui.console.columns import width_of, wrapped
from chatbot.ui.lines import Line, line, plain
from chatbot.ui.live import Frame, Live


class FakeScreen:
    """Keeps the scrollback; draws a frame when it is asked to, as the console's other thread would."""

    def __init__(self, columns: int = 80, rows: int = 20) -> None:
        self.columns = columns
        self.rows = rows
        self.lines: list[Line] = []
        self.drawn: list[str] = []
        self.live: Live | None = None
        self.changes = 0
        self._lock = threading.Lock()

    def write(self, lines: Iterable[Line]) -> None:
        self.lines += lines

    def write_drawn(self, lines: Iterable[str]) -> None:
        self.drawn += lines

    def show(self, live: Live | None, finished: Iterable[Line] = ()) -> None:
        with self._lock:
            self.lines += finished
            self.live = live

    def changed(self) -> None:
        self.changes += 1

    def frame(self) -> list[str]:
        """Draw a frame; return its tail as text."""
        with self._lock:
            if self.live is None:
                return []
            finished, tail = self.live.frame(self.columns, self.rows)
            assert all(width_of(each) <= self.columns for each in (*finished, *tail))
            self.lines += finished
        return [plain(each) for each in tail]

    @property
    def text(self) -> list[str]:
        """The scrollback as text."""
        return [plain(each) for each in self.lines]

    def styles(self, text: str) -> set[str]:
        """The styles of a fragment with this text."""
        return {style for each in self.lines for style, part in each if part == text}


class PlainText:
    """Text that is drawn as it is: a line is finished with its newline."""

    def __init__(self, lead: Line = ()) -> None:
        self._text = ""
        self._lead = lead

    def feed(self, text: str) -> None:
        self._text += text

    def frame(self, columns: int) -> Frame:
        whole, newline, self._text = self._text.rpartition("\n")
        finished = self._laid(whole, columns) if newline else ()
        return Frame(finished, self._rows(self._text, columns) if self._text else ())

    def end(self, columns: int) -> tuple[Line, ...]:
        text, self._text = self._text, ""
        return self._laid(text, columns) if text else ()

    def _laid(self, text: str, columns: int) -> tuple[Line, ...]:
        rows = self._rows(text, columns)
        self._lead = ()
        return rows

    def _rows(self, text: str, columns: int) -> tuple[Line, ...]:
        lead = plain(self._lead)
        return tuple(line(row) for row in wrapped(lead + text, columns))


class PlainRendering:
    """Draws answers as plain text."""

    def stream(self, lead: Line = ()) -> PlainText:
        return PlainText(lead)

    def whole(self, text: str, columns: int, lead: Line = ()) -> tuple[Line, ...]:
        stream = PlainText(lead)
        stream.feed(text.removesuffix("\n"))
        return stream.end(columns)
