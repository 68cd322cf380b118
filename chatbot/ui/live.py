"""What is drawn above the input line while it changes: the contract between the console and what draws. Pure.

The console asks for a frame at most thirty times a second, in its own thread; what has come since belongs
to the frame, however much it was. Lines that will not change any more are handed over once, and are from
then on the scrollback's; the rest is painted anew with every frame.
"""

from typing import NamedTuple, Protocol

from chatbot.ui.lines import Line


class Frame(NamedTuple):
    """Lines that are finished, oldest first, and those that may still change, as they stand below them."""

    finished: tuple[Line, ...] = ()
    tail: tuple[Line, ...] = ()


class Live(Protocol):
    """Something that changes on the screen. Both threads of the terminal use it: it locks what they share."""

    def frame(self, columns: int, rows: int) -> Frame:
        """Return what is new. No line is wider than `columns`; a tail of more than `rows` lines is cut by
        the console, which keeps its end."""
        ...
