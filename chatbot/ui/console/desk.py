"""The console as the desk of an interactive chat: puts together what shows, what is typed, and what is known."""

import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from types import FrameType

from chatbot.aliases import BACKEND_NAMES
from chatbot.errors import ExitCode, UsageError
from chatbot.mailbox import Inbox
from chatbot.messages import BackendName, Listed, ModelsListed, Stop, UiInbox
from chatbot.settings import UiSettings
from chatbot.ui import command_table, listing
from chatbot.ui.command_table import Kind
from chatbot.ui.console.complete import Candidate, Known, candidates
from chatbot.ui.console.console import Console
from chatbot.ui.console.notices import ConsoleNotices
from chatbot.ui.console.toolbar import toolbar
from chatbot.ui.console.view import ConsoleView
from chatbot.ui.events import Pressed
from chatbot.ui.exchange import Exchange
from chatbot.ui.lines import line
from chatbot.ui.state import State
from chatbot.ui.streams import TextNotices
from chatbot.ui.view import Notices, View

_SESSIONS = 50
_FRESH_S = 2.0  # so long what was looked up is not looked up again
_MOMENT_S = 2.0  # a person who presses Tab waits so long; nothing else does
_OPTIONS = (
    "temperature",
    "top_p",
    "top_k",
    "max_tokens",
    "seed",
    "stop",
    "num_ctx",
    "presence_penalty",
    "frequency_penalty",
)


class ConsoleDesk:
    """A person at a terminal that can do what a console needs."""

    def __init__(self, settings: UiSettings, inbox: Inbox[UiInbox]) -> None:
        self._settings = settings
        self._inbox = inbox
        self._exchange: Exchange | None = None
        self._models: dict[str, tuple[str, ...]] = {}
        self._sessions: tuple[tuple[str, str], ...] = ()
        self._looked_up: dict[str, float] = {}
        self._told = threading.Event()
        self.console = Console(
            inbox.post,
            colour=settings.colour,
            history_file=settings.history_file,
            toolbar=lambda columns: toolbar(self._state, columns),
            complete=self._complete,
        )
        self.keyboard = self.console
        self.notices: Notices = (
            ConsoleNotices(self.console) if sys.stderr.isatty() else TextNotices(sys.stderr)
        )
        self.view: View = ConsoleView(self.console, colour=settings.colour, prices=settings.prices)
        self.write_raw = self.console.write_raw
        self.edit = self.console.edit
        inbox.on_arrival = self._on_arrival
        inbox.start()
        signal.signal(signal.SIGINT, self._on_sigint)  # until the console has its own
        signal.signal(signal.SIGTERM, self._on_sigterm)

    @property
    def _state(self) -> State:
        return State() if self._exchange is None else self._exchange.state

    def serve(self, exchange: Exchange) -> None:
        """Take the state and what can be completed from this exchange."""
        self._exchange = exchange
        exchange.on_models = self._know_models
        exchange.on_listed = self._know_sessions

    def open(self, banner: Sequence[str], prompt: str) -> None:
        """Show the first lines and the prompt, at once."""
        restarted = self._settings.restarted
        self.console.open([line(text) for text in banner], prompt, restarted=restarted)

    def run(self, work: Callable[[], ExitCode]) -> ExitCode:
        """Do the work in a thread of its own, while the terminal is the console's."""

        def chat() -> ExitCode:
            threading.Thread(target=_load_markdown, name="markdown", daemon=True).start()
            try:
                return work()
            finally:
                self._told.set()  # nobody is told any more

        return self.console.run(chat)

    def read_line(self, prompt: str) -> str | None:
        """Nobody reads lines from a console: they come as events."""
        raise AssertionError(prompt)

    def read_all(self) -> str:
        """Nobody pipes anything into a console."""
        raise UsageError("the standard input is a terminal: pipe a text into the program")

    def ring(self) -> None:
        """Ring the terminal's bell."""
        self.console.write_raw("\a")

    def leaves_on_interrupt(self) -> bool:
        """The console tells by itself what Ctrl-C means at a prompt."""
        return False

    # --- what Tab offers -------------------------------------------------------------------------

    def _complete(self, before_cursor: str) -> Sequence[Candidate]:
        self._look_up(before_cursor)
        known = Known(
            self._state.backend,
            BACKEND_NAMES,
            self._models,
            self._sessions,
            _OPTIONS,
            {name: ":".join(target) for name, target in self._settings.aliases.items()},
            self._state.answers,
        )
        return candidates(before_cursor, known)

    def _look_up(self, before_cursor: str) -> None:
        """Ask for the models or sessions that are about to be named, and wait a moment: they are mostly there
        at once. What takes longer is known to the next Tab. In a thread of its own: keys go on meanwhile."""
        if (backend := models_wanted(before_cursor, self._state.backend)) is not None:
            self._ask(f"models of {backend}", lambda to: to.ask_models(backend))
        elif _kind(before_cursor) == "session":
            self._ask("sessions", lambda to: to.ask_sessions(_SESSIONS))

    def _ask(self, what: str, ask: Callable[[Exchange], None]) -> None:
        now = time.monotonic()
        if self._exchange is None or now - self._looked_up.get(what, -_FRESH_S) < _FRESH_S:
            return
        self._looked_up[what] = now
        self._told.clear()
        ask(self._exchange)
        self._told.wait(_MOMENT_S)

    def _know_models(self, listed: ModelsListed) -> None:
        if not listed.error:
            self._models[listed.backend] = listed.names
        self._told.set()

    def _know_sessions(self, listed: Listed) -> None:
        names = listing.handles(session.session_id for session in listed.sessions)
        self._sessions = tuple(
            (names[session.session_id], listing.title(session)) for session in listed.sessions
        )
        self._told.set()

    # --- signals ---------------------------------------------------------------------------------

    def _on_sigint(self, number: int, frame: FrameType | None) -> None:
        """Somebody else's SIGINT: Ctrl-C itself is a key here."""
        del number, frame
        self._inbox.post(Pressed())

    def _on_sigterm(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._inbox.post(Stop())
        self.console.stop_editing()

    def _on_arrival(self, batch: list[UiInbox]) -> None:
        """In the reader's thread: the chat's may wait for an editor, and not for messages."""
        if any(isinstance(message, Stop) for message in batch):
            self.console.stop_editing()


def models_wanted(before_cursor: str, backend: BackendName) -> BackendName | None:
    """Return whose models are about to be named, in a conversation with `backend`; None: nobody's."""
    match _kind(before_cursor):
        case "model":
            return "ollama" if _command(before_cursor) == "set-ollama-model" else backend
        case "target" | "targets":
            name, colon, _ = re.split(r"[\s,]", before_cursor)[-1].partition(":")
            return next((each for each in BACKEND_NAMES if colon and each == name), None)
        case _:
            return None


def _kind(before_cursor: str) -> Kind:
    """Return what is being typed behind a command."""
    command = command_table.BY_NAME.get(_command(before_cursor))
    return command.kind if command else ""


def _command(before_cursor: str) -> str:
    typed = re.match(r"\s*/([\w?-]+)\s", before_cursor)
    found = command_table.find(typed[1]) if typed else None
    return found.name if found else ""


def _load_markdown() -> None:
    """Load what draws the first answer, while its question is still being typed."""
    from chatbot.ui.markdown import render

    render.warm()
