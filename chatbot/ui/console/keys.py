"""Which key does what at the input line. What it then does is the stage's.

The keys that move and edit are prompt_toolkit's own, which are those of Emacs and of readline.
"""

from typing import Protocol

from prompt_toolkit.buffer import Buffer
from prompt_toolkit.filters import (
    Condition,
    completion_is_selected,
    has_completions,
    has_focus,
    is_searching,
)
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

Event = KeyPressEvent

ESCAPE_S = 0.05  # so long is waited for the rest of a sequence that begins with Esc
CHORD_S = 1.0  # and so long for the second key of, say, Ctrl-X Ctrl-E
AGAIN_S = 2.0


class Actions(Protocol):
    """What keys can do."""

    def enter(self) -> None: ...
    def interrupt(self) -> None: ...
    def escape(self) -> None: ...
    def end_of_file(self) -> None: ...
    def suspend(self) -> None: ...
    def clear_screen(self) -> None: ...
    def edit_input(self) -> None: ...


class Twice:
    """Tells one press from two within two seconds. Pure."""

    def __init__(self) -> None:
        self._last = float("-inf")

    def pressed(self, now: float) -> bool:
        """Return whether it was pressed shortly before; the third counts as a first again."""
        again = now - self._last < AGAIN_S
        self._last = float("-inf") if again else now
        return again

    def forget(self) -> None:
        """Something else was done in between."""
        self._last = float("-inf")


def bindings(actions: Actions, buffer: Buffer) -> KeyBindings:
    """Return the keys of the input line, of which `buffer` is the text."""
    keys = KeyBindings()
    at_input = has_focus(buffer)
    is_empty = Condition(lambda: not buffer.text)

    @keys.add("enter", filter=at_input)
    def _enter(event: Event) -> None:
        actions.enter()

    @keys.add("c-j", filter=at_input)
    @keys.add("escape", "enter", filter=at_input)
    @keys.add("escape", "c-j", filter=at_input)
    def _newline(event: Event) -> None:
        buffer.insert_text("\n")

    @keys.add("tab", filter=at_input)
    def _complete(event: Event) -> None:
        if buffer.complete_state:
            buffer.complete_next()
        else:
            buffer.start_completion(insert_common_part=True)

    @keys.add("s-tab", filter=at_input & has_completions)
    def _complete_back(event: Event) -> None:
        buffer.complete_previous()

    @keys.add("escape", filter=at_input & has_completions)
    def _close_menu(event: Event) -> None:
        if completion_is_selected():
            buffer.cancel_completion()
        else:
            buffer.complete_state = None

    @keys.add("escape", filter=at_input & ~has_completions)
    def _escape(event: Event) -> None:
        actions.escape()

    @keys.add("c-c", filter=~is_searching)
    def _interrupt(event: Event) -> None:
        actions.interrupt()

    @keys.add("c-d", filter=at_input & is_empty)
    def _end_of_file(event: Event) -> None:
        actions.end_of_file()

    @keys.add("c-z")
    def _suspend(event: Event) -> None:
        actions.suspend()

    @keys.add("c-l")
    def _clear_screen(event: Event) -> None:
        actions.clear_screen()

    @keys.add("c-x", "c-e", filter=at_input)
    def _edit(event: Event) -> None:
        actions.edit_input()

    return keys
