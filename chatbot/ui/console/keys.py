"""Which key does what at the input line. What it then does is the stage's.

The keys that move and edit are prompt_toolkit's own, which are those of Emacs and of readline.
"""

from collections.abc import Callable
from typing import Protocol

from prompt_toolkit.buffer import Buffer
from prompt_toolkit.filters import (
    Always,
    Condition,
    Filter,
    completion_is_selected,
    has_completions,
    has_focus,
    is_searching,
)
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

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
    at_input = has_focus(buffer)
    is_empty = Condition(lambda: not buffer.text)

    def newline() -> None:
        buffer.insert_text("\n")

    def complete() -> None:
        if buffer.complete_state:
            buffer.complete_next()
        else:
            buffer.start_completion(insert_common_part=True)

    def close_menu() -> None:
        if completion_is_selected():
            buffer.cancel_completion()
        else:
            buffer.complete_state = None

    table: list[tuple[tuple[str, ...], Filter, Callable[[], None]]] = [
        (("enter",), at_input, actions.enter),  # draws by itself
        (("c-j",), at_input, newline),
        (("escape", "enter"), at_input, newline),
        (("escape", "c-j"), at_input, newline),
        (("tab",), at_input, complete),
        (("s-tab",), at_input & has_completions, buffer.complete_previous),
        (("escape",), at_input & has_completions, close_menu),
        (("escape",), at_input & ~has_completions, actions.escape),
        (("c-c",), ~is_searching, actions.interrupt),
        (("c-d",), at_input & is_empty, actions.end_of_file),
        (("c-z",), Always(), actions.suspend),
        (("c-l",), Always(), actions.clear_screen),
        (("c-x", "c-e"), at_input, actions.edit_input),
    ]
    keys = KeyBindings()
    for sequence, when, does in table:
        keys.add(*sequence, filter=when)(_handler(does, draws=does != actions.enter))
    return keys


def _handler(does: Callable[[], None], *, draws: bool) -> Callable[[KeyPressEvent], object]:
    def handle(event: KeyPressEvent) -> object:
        del event
        does()
        return None if draws else NotImplemented  # with which there is no frame at once

    return handle
