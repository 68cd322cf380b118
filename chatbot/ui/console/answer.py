"""One answer while it comes: waiting, thinking, text.

The chat's thread feeds it, the console's thread draws it. Drawing is all in `frame`, so that a piece costs the
chat's thread no more than to be kept.
"""

import threading
import time
from collections import deque
from collections.abc import Callable

from chatbot.ui.console.columns import reflowed, wrapped
from chatbot.ui.console.rendering import Markdown, Rendering
from chatbot.ui.lines import Line, line, styled
from chatbot.ui.live import Frame

WAITING: Line = (("bold", "Bot: "), ("dim", "…"))
LEAD: Line = (("bold", "Bot: "),)

_THINKING_ROWS = 3
_BEGUN = 4096  # characters of thinking that are looked at for its last rows; more than a window shows of them


class Thinking:
    """What is thought before an answer: its end while it goes on, one line when it is over."""

    def __init__(self) -> None:
        self._end = ""
        self._began_s: float | None = None
        self._ended_s = 0.0
        self.characters = 0

    def feed(self, text: str, now: float) -> None:
        """A piece came, at this time of a clock in seconds."""
        self._ended_s = now
        if self._began_s is None:
            self._began_s = self._ended_s
        self.characters += len(text)
        self._end = (self._end + text)[-_BEGUN:]

    def rows(self, columns: int) -> tuple[Line, ...]:
        """Return the last rows."""
        rows = wrapped(self._end.strip("\n"), columns)[-_THINKING_ROWS:]
        return styled(rows, "dim")

    def folded(self) -> Line:
        """Return the line that is left of it."""
        took_s = self._ended_s - (self._began_s or 0.0)
        return line(
            f"▸ thought for {took_s:.1f} s · {self.characters:,} characters · /thinking shows it",
            "dim",
        )


class Answer:
    """An answer as something that changes on the screen."""

    def __init__(self, rendering: Rendering, clock: Callable[[], float] = time.monotonic) -> None:
        self._lock = threading.Lock()
        self._rendering = rendering
        self._clock = clock
        self._came: deque[tuple[str, bool, float]] = deque()
        self._text: Markdown | None = None
        self._has_text = False
        self._thinking: Thinking | None = None
        self._is_folded = False
        self._is_over = False

    def load(self) -> None:
        """Load what draws it, while the answer is waited for. What waits is drawn meanwhile."""
        text = self._rendering.stream(LEAD)
        with self._lock:
            self._text = text

    def feed(self, text: str, *, reasoning: bool) -> None:
        """A piece came, some time after `load`. Never waits for a frame that is being drawn."""
        self._came.append((text, reasoning, self._clock()))

    def frame(self, columns: int, rows: int) -> Frame:
        """Return what is new."""
        del rows  # the console keeps the end of what is too long
        with self._lock:
            if self._is_over:
                return Frame()
            self._take()
            if self._text is None or not self._has_text:
                return Frame((), self._thinking.rows(columns) if self._thinking else (WAITING,))
            folded = () if self._is_folded else self._folded(columns)
            self._is_folded = True  # what is thought behind the first text is told at the end
            finished, tail = self._text.frame(columns)
            return Frame((*folded, *finished), tail)

    def end(self, columns: int) -> tuple[Line, ...]:
        """Return the rest of it; there is nothing more to be drawn then."""
        with self._lock:
            self._is_over = True
            self._take()
            text = self._text.end(columns) if self._text and self._has_text else ()
            return (
                (*text, *self._folded(columns))
                if self._is_folded
                else (*self._folded(columns), *text)
            )

    def _take(self) -> None:
        """Take what came since the last time."""
        for _ in range(len(self._came)):
            text, reasoning, now = self._came.popleft()
            if reasoning:
                if self._thinking is None:
                    self._thinking = Thinking()
                self._thinking.feed(text, now)
            elif text and self._text is not None:
                self._has_text = True
                self._text.feed(text)

    def _folded(self, columns: int) -> tuple[Line, ...]:
        """Return the line of what was thought until now, once."""
        thinking, self._thinking = self._thinking, None
        return tuple(reflowed(thinking.folded(), columns)) if thinking else ()
