"""The keyboard as the exchange knows it: what it can be told, and who tells one Ctrl-C from two.

`terminal` reads lines from a pipe or a plain terminal; in a console they come as events.
"""

from collections.abc import Sequence
from typing import Protocol

from chatbot.messages import Interrupt


class Keyboard(Protocol):
    """Where interrupts come from."""

    def is_echo(self, interrupt: Interrupt) -> bool:
        """Whether this interrupt only repeats one that this process had itself."""
        ...


class Console(Keyboard, Protocol):
    """A person who can type at any time: what they type comes as events."""

    def ask(self, prompt: str) -> None:
        """Wait for the person, with this prompt; nothing blocks here."""

    def busy(self) -> None:
        """Nobody is waited for."""

    def show_typed(self, text: str) -> None:
        """Show a line that was typed ahead, now that it is taken."""

    def give_back(self, texts: Sequence[str]) -> None:
        """Put texts into the input."""

    def state_changed(self) -> None:
        """What stands in the state has changed."""
