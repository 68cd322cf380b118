"""Several answers while they come: side by side where each has room, one above the other elsewhere.

None of their lines is finished before all of them are: only then do they go into the scrollback, whole.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from chatbot.messages import Target, Terminal
from chatbot.sanitize import one_line
from chatbot.ui.console import columns as layout
from chatbot.ui.console.answer import Thinking
from chatbot.ui.console.rendering import Markdown, Rendering
from chatbot.ui.lines import Line, line
from chatbot.ui.live import Frame

_SHORT = 2  # rows that even the least of them needs: its heading and a row of text
_WAITING = line("…", "dim")


class _Branch:
    """One of the answers. `lines` are those that the stream has finished, at the width they were drawn for."""

    def __init__(self, number: int, target: Target) -> None:
        self.target = target
        name = one_line(f"{target.backend} {target.model}")
        self.heading = line(f"[{number}] {name}", "bold")
        self.pieces: list[str] = []
        self.thinking = Thinking()
        self._ending: tuple[Line, ...] = ()
        self.is_over = False
        self._drawn_pieces = 0
        self._columns = 0
        self._lines: list[Line] = []
        self._stream: Markdown | None = None

    def end(self, ending: tuple[Line, ...]) -> None:
        """It is over; these lines stand below it."""
        self._ending = ending
        self.is_over = True

    def ending(self, columns: int) -> list[Line]:
        """Return the lines below it. None of them is cut: they may say what is to be done."""
        return [row for each in self._ending for row in layout.reflowed(each, columns)]

    def replace(self, text: str) -> None:
        """It is another text than what came of it: nothing of that is in the scrollback yet."""
        self.pieces = [text]
        self._columns = 0

    def draw(self, rendering: Rendering, columns: int) -> tuple[Line, ...]:
        """Return all that there is of it, below its heading."""
        if (
            self._stream is None or self._columns != columns
        ):  # what is finished is finished for one width only
            self._columns = columns
            self._drawn_pieces = 0
            self._lines = []
            self._stream = rendering.stream()
        if not self.pieces and not self.is_over:
            return self.thinking.rows(columns) if self.thinking.characters else (_WAITING,)
        for piece in self.pieces[self._drawn_pieces :]:
            self._stream.feed(piece)
        self._drawn_pieces = len(self.pieces)
        finished, tail = self._stream.frame(columns)
        self._lines += finished
        return (*self._lines, *tail, *self.ending(columns))


class Several:
    """The answers of a fan-out as something that changes on the screen."""

    def __init__(
        self,
        asked: Sequence[tuple[str, Target]],
        rendering: Rendering,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._lock = threading.Lock()
        self._rendering = rendering
        self._is_over = False
        self._clock = clock
        self._came: deque[tuple[str, str, bool, float]] = deque()
        self._branches = {
            request_id: _Branch(number, target)
            for number, (request_id, target) in enumerate(asked, 1)
        }

    def load(self) -> None:
        """Load what draws them, while they are waited for."""
        self._rendering.stream()

    def target(self, request_id: str) -> Target:
        """Return whom this request asks."""
        return self._branches[request_id].target

    def feed(self, request_id: str, text: str, *, reasoning: bool) -> None:
        """A piece of one of them came. Never waits for a frame that is being drawn."""
        self._came.append((request_id, text, reasoning, self._clock()))

    def _take(self) -> None:
        """Take what came since the last time."""
        for _ in range(len(self._came)):
            request_id, text, reasoning, now = self._came.popleft()
            branch = self._branches[request_id]
            if reasoning:
                branch.thinking.feed(text, now)
            elif text:
                branch.pieces.append(text)

    def ended(self, terminal: Terminal, text: str, ending: tuple[Line, ...]) -> None:
        """One of them is over: its whole text, and the lines that stand below it."""
        with self._lock:
            self._take()
            branch = self._branches[terminal.request_id]
            streamed = "".join(branch.pieces)
            if text.startswith(streamed):
                branch.pieces.append(text[len(streamed) :])
            elif text:
                branch.replace(text)
            branch.end(ending)

    def frame(self, columns: int, rows: int) -> Frame:
        """Return the answers, each with its last rows."""
        with self._lock:
            if self._is_over:
                return Frame()
            self._take()
            branches = list(self._branches.values())
            widths = layout.widths(len(branches), columns)
            bodies = [
                branch.draw(self._rendering, width)
                for branch, width in zip(branches, widths, strict=True)
            ]
            if layout.is_side_by_side(len(branches), columns):
                room = [max(0, rows - 1)] * len(branches)
            else:
                wants = [1 + len(body) for body in bodies]
                room = [given - 1 for given in layout.shares(wants, max(rows, _SHORT))]
            parts = [
                [layout.cut(branch.heading, width), *(body[-left:] if left > 0 else ())]
                for branch, body, left, width in zip(branches, bodies, room, widths, strict=True)
                if left >= 0
            ]
            if layout.is_side_by_side(len(branches), columns):
                return Frame((), tuple(layout.beside(parts, widths)))
            return Frame((), tuple(each for part in parts for each in part))

    def end(self, columns: int) -> tuple[Line, ...]:
        """Return all of them, whole; there is nothing more to be drawn then."""
        with self._lock:
            self._is_over = True
            self._take()
            branches = list(self._branches.values())
            widths = layout.widths(len(branches), columns)
            parts: list[list[Line]] = []
            for branch, width in zip(branches, widths, strict=True):
                text = "".join(branch.pieces)
                body = self._rendering.whole(text, width) if text else ()
                thought = branch.thinking
                folded = layout.reflowed(thought.folded(), width) if thought.characters else ()
                parts.append(
                    [layout.cut(branch.heading, width), *folded, *body, *branch.ending(width)]
                )
            if layout.is_side_by_side(len(branches), columns):
                return tuple(layout.beside(parts, widths))
            return tuple(each for part in parts for each in (*part, ()))
