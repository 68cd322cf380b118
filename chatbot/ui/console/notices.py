"""Lines for the person, above the input line of the console."""

from collections.abc import Iterable
from typing import Protocol

from chatbot.sanitize import one_line
from chatbot.ui.console.columns import wrapped
from chatbot.ui.lines import Line, styled
from chatbot.ui.live import Live


class Screen(Protocol):
    """What the views need of the console; all of it may be called by the chat's thread."""

    @property
    def columns(self) -> int: ...
    @property
    def rows(self) -> int: ...
    def write(self, lines: Iterable[Line]) -> None: ...
    def write_drawn(self, lines: Iterable[str]) -> None: ...
    def show(self, live: Live | None, finished: Iterable[Line] = ()) -> None: ...
    def changed(self) -> None: ...


class ConsoleNotices:
    """`Notices` for a person who sees them at once, whatever is going on below them."""

    is_terminal = True

    def __init__(self, screen: Screen) -> None:
        self._screen = screen

    @property
    def columns(self) -> int:
        """How wide the terminal is now."""
        return self._screen.columns

    def say(self, text: str) -> None:
        """Show one line."""
        self.block(one_line(text))

    def block(self, text: str) -> None:
        """Show several lines, broken between words where they are too long."""
        self._screen.write(styled(wrapped(text, self._screen.columns)))

    def drawn(self, lines: Iterable[str]) -> None:
        """Show lines as they are: whoever drew them has made safe what is from elsewhere."""
        self._screen.write_drawn(lines)

    def prompt(self, text: str) -> None:
        """Show it as lines: what is to stay on its line here is the console's own prompt. The end of a line
        alone, as a plain terminal needs it behind what stands there, is nothing."""
        if text.strip():
            self.block(text.rstrip("\n"))
