"""What the terminal exchanges with the other processes: asks, listens, and tells what it hears.

A turn is over with its terminal message; that it gets saved is the dispatcher's care. Ctrl-C during
a turn asks for it to be cancelled, and a second one leaves.
"""

import os
import time
from collections import deque

from chatbot.errors import ChatbotError, ExitCode
from chatbot.mailbox import Inbox, Outbox
from chatbot.messages import (
    Answered,
    BackendName,
    Cancel,
    Cancelled,
    Delta,
    Failed,
    Interrupt,
    Interrupted,
    ListModels,
    Load,
    Loaded,
    ModelsListed,
    Notice,
    NotSaving,
    ProcessRestarted,
    Retrying,
    Saved,
    Stop,
    Terminal,
    UiInbox,
)
from chatbot.tracing import Recorder
from chatbot.ui.conversation import Conversation
from chatbot.ui.terminal import Terminal as Keyboard
from chatbot.ui.view import View

_WAIT_S = 1.0
_LOAD_WITHIN_S = 45.0
_REJOIN_WITHIN_S = 2.0  # silence after which a turn that was under way is not waited for
_SECOND_KEY_S = 10.0


class Leave(Exception):
    """Raised to leave the program with an exit code."""

    def __init__(self, code: ExitCode) -> None:
        super().__init__(code)
        self.code = code


class Exchange:
    """One end of the way between a person and the other processes.

    Everything that waits here shows meanwhile what else comes, and raises Leave when the program is
    to end. `chatting`: Ctrl-C gives up what is waited for and not the whole program.
    """

    def __init__(
        self,
        inbox: Inbox[UiInbox],
        outbox: Outbox,
        recorder: Recorder,
        keyboard: Keyboard,
        view: View,
        *,
        chatting: bool,
    ) -> None:
        self._inbox = inbox
        self._outbox = outbox
        self._recorder = recorder
        self._keyboard = keyboard
        self._view = view
        self._chatting = chatting
        self._unread: deque[UiInbox] = deque()
        self._last_interrupt = float("-inf")
        self._cancelling = ""
        self._late: Terminal | None = None

    def turn(self, chat: Conversation, text: str) -> Terminal:
        """Ask, show the answer as it comes, and remember it. Raises MessageTooLarge."""
        request_id = new_request_id()
        with self._recorder.span(
            "chat_turn",
            parent=None,
            session__id=chat.session_id,
            backend=chat.target.backend,
            gen_ai__request__model=chat.target.model,
        ) as span:
            with self._recorder.hop("send", "store.asks", request_id, span.traceparent) as hop:
                self._outbox.send(
                    chat.ask(request_id, text, hop=hop.traceparent, turn=span.traceparent)
                )
            try:
                self._view.begin(request_id, chat.session_id, chat.target)
                terminal, streamed = self._await_terminal(request_id)
            except Leave:
                self._view.leave()
                raise
            except (BrokenPipeError, ChatbotError):  # nobody sees the rest: do not pay for it
                self._outbox.send(Cancel(request_id))
                raise
            span.set("status", type(terminal).__name__.lower())
            if isinstance(terminal, Failed):
                span.fail(terminal.kind)
            elif isinstance(terminal, Interrupted):
                span.fail("interrupted")
            chat.answered(text, text_of(terminal))
            self._view.end(terminal, streamed)
        return terminal

    def was_interrupted(self, terminal: Terminal) -> bool:
        """Whether Ctrl-C was pressed in the turn that ended so, even if the answer came whole."""
        return self._cancelling == terminal.request_id

    def models(self, backend: BackendName) -> ModelsListed:
        """Ask for the models of a backend and show them; Ctrl-C in a chat gives an empty list."""
        request_id = new_request_id()
        self._outbox.send(ListModels(request_id, backend))
        while True:
            match message := self._next():
                case None:
                    pass
                case ModelsListed() if message.request_id == request_id:
                    self._view.models(message)
                    return message
                case Interrupt() if not self._keyboard.is_echo(message):
                    if self._chatting:
                        return ModelsListed(request_id, backend)
                    raise Leave(ExitCode.INTERRUPTED)
                case _:
                    self._notice(message)

    def load(self, session_id: str | None) -> Loaded:
        """Ask for a session, or for the latest one, and wait for it, with a deadline."""
        request_id = new_request_id()
        self._outbox.send(Load(request_id, session_id))
        deadline = time.monotonic() + _LOAD_WITHIN_S
        while time.monotonic() < deadline:
            match message := self._next():
                case None:
                    pass
                case Loaded() if message.request_id == request_id:
                    return message
                case NotSaving():
                    pass  # the answer to the Load says the same
                case Interrupt() if not self._keyboard.is_echo(message):
                    raise Leave(ExitCode.INTERRUPTED)
                case _:
                    self._notice(message)
        return Loaded(request_id, error=f"the store did not answer within {_LOAD_WITHIN_S:g} s")

    def rejoin(self, chat: Conversation) -> None:
        """Wait for the answer that was under way when this process's predecessor was killed, as
        long as there are signs of it; one that comes later is shown after the next line."""
        deadline = time.monotonic() + _REJOIN_WITHIN_S
        while self._late is None and time.monotonic() < deadline:
            match message := self._next():
                case None:
                    pass
                case Delta():
                    deadline = time.monotonic() + _LOAD_WITHIN_S
                case Interrupt() if not self._keyboard.is_echo(message):
                    return
                case _:
                    self._notice(message)
        self._show_late(chat)

    def catch_up(self, chat: Conversation) -> None:
        """Show what came while the person was typing. A Ctrl-C from then has had its effect."""
        while (message := self._next(0)) is not None:
            if isinstance(message, Interrupt):
                self._keyboard.is_echo(message)
            self._notice(message)
        self._show_late(chat)

    def _await_terminal(self, request_id: str) -> tuple[Terminal, str]:
        """Show what comes until the turn's terminal message; return it and the text shown so far."""
        streamed: list[str] = []
        while True:
            match message := self._next():
                case None:
                    pass
                case Delta() if message.request_id == request_id:
                    self._view.delta(request_id, message.text, reasoning=message.reasoning)
                    if not message.reasoning:
                        streamed.append(message.text)
                case Answered() | Failed() | Cancelled() | Interrupted() if (
                    message.request_id == request_id
                ):
                    return message, "".join(streamed)
                case Interrupt() if not self._keyboard.is_echo(message):
                    self._interrupt(request_id)
                case _:
                    self._notice(message)

    def _interrupt(self, request_id: str) -> None:
        """Ctrl-C in a turn; a second one leaves without waiting for the socket to be closed."""
        now = time.monotonic()
        since, self._last_interrupt = now - self._last_interrupt, now
        if since < _SECOND_KEY_S and self._cancelling == request_id:
            raise Leave(ExitCode.INTERRUPTED)
        self._cancelling = request_id
        self._outbox.send(Cancel(request_id))

    def _show_late(self, chat: Conversation) -> None:
        terminal, self._late = self._late, None
        if terminal is not None and chat.rejoin(text_of(terminal)):
            self._view.begin(terminal.request_id, chat.session_id, chat.target)
            self._view.end(terminal, "")

    def _next(self, timeout_s: float = _WAIT_S) -> UiInbox | None:
        """Return the next message; None after so much silence. The rest of its batch is kept."""
        if not self._unread:
            self._recorder.flush()
            self._unread += self._inbox.take(timeout_s)
        return self._unread.popleft() if self._unread else None

    def _notice(self, message: UiInbox) -> None:
        """Take a message that nothing is waiting for."""
        match message:
            case Retrying(delay_s=delay_s, reason=reason):
                self._view.aside(f"[{reason}: trying again in {delay_s:.1f} s, Ctrl-C stops]")
            case ProcessRestarted(role=role, reason=reason):
                self._view.aside(f"[{role} process restarted: {reason}]")
            case NotSaving(reason=reason):
                self._view.aside(f"not saving: {reason}")
            case Notice(text=text):
                self._view.aside(text)
            case Stop():
                raise Leave(ExitCode.INTERRUPTED)
            case Answered() | Failed() | Cancelled() | Interrupted():
                self._late = message  # of a turn in which the terminal was killed
            case Interrupt():
                pass  # one that has had its effect: an echo, or a key at the prompt
            case Delta() | Saved() | ModelsListed():
                pass
            case _:
                pass  # the replies to what nobody asks yet


def text_of(terminal: Terminal) -> str:
    """Return what came of the answer, whole or not."""
    return terminal.completion.text if isinstance(terminal, Answered) else terminal.text


def new_request_id() -> str:
    """Return an id that no other request has."""
    return f"req_{os.urandom(8).hex()}"
