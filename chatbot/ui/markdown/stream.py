"""Markdown as it comes: lines that are finished, each handed over once, and a tail that is drawn anew.

`feed` is for the thread that hears the answer, `frame` for the one that draws. A frame costs as much as its
tail and what came since the last, however long the answer is.
"""

import threading
from collections import deque
from collections.abc import Iterable

from chatbot.sanitize import sanitize
from chatbot.ui.lines import Line
from chatbot.ui.live import Frame
from chatbot.ui.markdown.blocks import Piece, Scanner


class MarkdownStream:
    """One answer on its way to the screen. `lead` stands before its first words."""

    def __init__(self, *, lead: Line = ()) -> None:
        self._lead = lead
        self._scanner = Scanner()
        self._came: deque[str] = deque()
        self._lock = threading.Lock()
        self._drawn: tuple[int, tuple[Line, ...]] | None = None  # the tail, and its width

    def feed(self, text: str) -> None:
        """Take some of the answer. Never blocks."""
        self._came.append(text)

    def frame(self, columns: int) -> Frame:
        """Return the lines that were finished since the last frame, and the tail as if it ended here."""
        with self._lock:
            finished: tuple[Line, ...] = ()
            if self._came:
                finished = self._laid(self._scanner.feed(self._taken()), columns)
                self._drawn = None
            if self._drawn is None or self._drawn[0] != columns:
                self._drawn = (columns, self._tail(columns))
            return Frame(finished, self._drawn[1])

    def end(self, columns: int) -> tuple[Line, ...]:
        """Return the lines that no frame had yet. Nothing is fed after it."""
        with self._lock:
            pieces = (*self._scanner.feed(self._taken()), *self._scanner.end())
            self._scanner, self._drawn = Scanner(), None
            return self._laid(pieces, columns)

    def _taken(self) -> str:
        taken = [self._came.popleft() for _ in range(len(self._came))]
        return sanitize("".join(taken))

    def _laid(self, pieces: Iterable[Piece], columns: int) -> tuple[Line, ...]:
        laid = _lines(pieces, columns, self._lead)
        if laid:
            self._lead = ()
        return laid

    def _tail(self, columns: int) -> tuple[Line, ...]:
        pieces = self._scanner.rest()
        if not pieces:
            return ()
        from chatbot.ui.markdown.inline import closed

        if pieces[-1].kind in ("paragraph", "heading", "table"):
            pieces[-1] = pieces[-1]._replace(text=closed(pieces[-1].text))
        return _lines(pieces, columns, self._lead)


def rendered(text: str, columns: int, lead: Line = ()) -> tuple[Line, ...]:
    """Return a whole answer as lines."""
    stream = MarkdownStream(lead=lead)
    stream.feed(text)
    return stream.end(columns)


def _lines(pieces: Iterable[Piece], columns: int, lead: Line) -> tuple[Line, ...]:
    # What lays out takes long to load: not before there is something to lay out
    from chatbot.ui.markdown import render

    laid: list[Line] = []
    for piece in pieces:
        laid += render.lines(piece, columns, lead)
        lead = ()
    return tuple(laid)
