"""The keyboard as the exchange knows it: what it reads lines from, and who tells one Ctrl-C from two.

`terminal` reads lines from a pipe or a plain terminal; in a console they come as events.
"""

from typing import Protocol

from chatbot.messages import Interrupt


class Keyboard(Protocol):
    """Where lines and interrupts come from."""

    def read_line(self, prompt: str) -> str | None:
        """Return the next line, or None at the end of the input. Raises KeyboardInterrupt for Ctrl-C."""
        ...

    def is_echo(self, interrupt: Interrupt) -> bool:
        """Whether this interrupt only repeats one that this process had itself."""
        ...
