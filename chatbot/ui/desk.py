"""What a person, or a script, sits at: what shows, where lines come from, and what else a terminal can do.

Two kinds: `PlainDesk`, for pipes, files and plain terminals, and `console.desk`, with an input line that is
always there, which is loaded only for whoever gets one.
"""

import sys
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from chatbot.errors import ExitCode, UsageError
from chatbot.mailbox import Inbox
from chatbot.messages import UiInbox
from chatbot.settings import UiSettings
from chatbot.ui.codeview import CodeView
from chatbot.ui.exchange import Exchange
from chatbot.ui.jsonview import JsonView
from chatbot.ui.keyboard import Console, Keyboard
from chatbot.ui.streams import TextNotices
from chatbot.ui.terminal import Terminal
from chatbot.ui.textview import TextView
from chatbot.ui.view import Notices, View

T = TypeVar("T")


class Desk(Protocol):
    """What `process` needs of it. `console` None: lines are read one by one, from `keyboard`."""

    @property
    def view(self) -> View:
        """What a turn looks like."""
        ...

    @property
    def notices(self) -> Notices:
        """Where lines for the person go."""
        ...

    @property
    def keyboard(self) -> Keyboard:
        """Where lines and interrupts come from."""
        ...

    @property
    def console(self) -> Console | None:
        """The input line that is always there; None: lines are read one by one, from `keyboard`."""
        ...

    @property
    def write_raw(self) -> Callable[[str], None] | None:
        """What reaches the terminal as it is; None: nothing does."""
        ...

    def serve(self, exchange: Exchange) -> None:
        """Take what it shows besides the view, and what it offers to complete, from this exchange."""

    def open(self, banner: Sequence[str], prompt: str) -> None:
        """Show the first lines of a chat, at once."""

    def run(self, work: Callable[[], ExitCode]) -> ExitCode:
        """Do the work, and leave the terminal as it was."""
        ...

    def read_line(self, prompt: str) -> str | None:
        """Return the next line, or None at the end of the input. Raises KeyboardInterrupt for Ctrl-C."""
        ...

    def read_all(self) -> str:
        """Return all of the standard input."""
        ...

    def edit(self, text: str) -> str | None:
        """Let the person edit a text; None: nothing was changed."""
        ...

    def ring(self) -> None:
        """Ring the terminal's bell, where it has one."""

    def leaves_on_interrupt(self) -> bool:
        """Whether a Ctrl-C that ended the reading of a line means leaving."""
        ...


def for_settings(settings: UiSettings, inbox: Inbox[UiInbox]) -> Desk:
    """Return the desk for a mode, and for what stdin and stdout are."""
    is_plain = settings.json or settings.plain or settings.is_dumb
    if settings.mode != "chat" or is_plain or not (sys.stdin.isatty() and sys.stdout.isatty()):
        return PlainDesk(settings, inbox)
    from chatbot.ui.console.desk import ConsoleDesk

    return ConsoleDesk(settings, inbox)


class PlainDesk:
    """Lines in and text out: no escape sequence reaches the terminal."""

    console = None
    write_raw = None

    def __init__(self, settings: UiSettings, inbox: Inbox[UiInbox]) -> None:
        self._notices = TextNotices(sys.stderr)
        self.notices: Notices = self._notices
        self._terminal = Terminal(inbox, self._notices, chatting=settings.mode == "chat")
        self.keyboard: Keyboard = self._terminal
        self.view = self._view(settings)

    def _view(self, settings: UiSettings) -> View:
        if settings.json:
            return JsonView(sys.stdout, self._notices)
        if settings.extract:
            return CodeView(sys.stdout, self._notices)
        return TextView(
            sys.stdout,
            self._notices,
            chatting=settings.mode == "chat",
            listing=settings.mode in ("models", "manage"),
            colour=settings.colour,
        )

    def serve(self, exchange: Exchange) -> None:
        """It shows nothing by itself."""

    def open(self, banner: Sequence[str], prompt: str) -> None:
        """Show the first lines of a chat; the prompt comes with the reading of a line."""
        del prompt
        for line in banner:
            self._notices.say(line)

    def run(self, work: Callable[[], ExitCode]) -> ExitCode:
        """Do the work."""
        return work()

    def read_line(self, prompt: str) -> str | None:
        """Return the next line, or None at the end of the input."""
        return self._terminal.read_line(prompt)

    def read_all(self) -> str:
        """Return all of the standard input."""
        return self._terminal.read_all()

    def leaves_on_interrupt(self) -> bool:
        """Whether a Ctrl-C that ended the reading of a line means leaving."""
        return self._terminal.leaves_on_interrupt()

    def ring(self) -> None:
        """A plain terminal is not sent anything but text."""

    def edit(self, text: str) -> str | None:
        """Let the person edit a text. Raises UsageError where there is nobody, ChatbotError without an editor."""
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            raise UsageError("/edit needs a terminal: ask the changed question, after /undo")
        from chatbot.ui.editor import Blocking  # asyncio, which nothing else here needs

        editor = Blocking()
        self._terminal.on_stop = editor.stop
        if self._terminal.is_stopped:
            return None
        return editor.edit(text)
