"""What a person does at the keyboard, as events among the messages that come from the other processes.

They are posted into the terminal's own inbox, so that its work loop meets all in their order, and can wait
for a line and for news at once. None of them crosses a process boundary.
"""

import msgspec

from chatbot.errors import ExitCode
from chatbot.messages import Interrupt, UiInbox


class Typed(msgspec.Struct, frozen=True):
    """A line, or a block of them, was sent off with Enter. `shown`: it stands in the scrollback already; one
    that was typed ahead does not, before it is taken. `is_answer`: it was typed at a question, and is nothing else."""

    text: str
    shown: bool = False
    is_answer: bool = False


class Pressed(Interrupt, frozen=True):
    """Ctrl-C, or Esc, as this process had it itself, while there was something to be stopped."""


class Left(msgspec.Struct, frozen=True):
    """The person leaves: Ctrl-D, a terminal that hung up (0), or Ctrl-C twice at an empty prompt (130)."""

    code: ExitCode = ExitCode.OK


UiEvent = UiInbox | Typed | Left
