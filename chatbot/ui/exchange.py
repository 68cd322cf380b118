"""What the terminal exchanges with the other processes and with the person: one end of every wait.

Whatever is waited for here, a reply, a line or a moment, all else that comes meanwhile is shown, and a Leave is
raised when the program is to end. `asking` has the turns.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar, assert_never

from chatbot.errors import ChatbotError, ExitCode, MessageTooLarge
from chatbot.ids import new_request_id
from chatbot.mailbox import Inbox, Outbox
from chatbot.messages import (
    Answered,
    BackendName,
    CacheRead,
    Cancelled,
    ContextRead,
    Delta,
    Entered,
    Failed,
    Flush,
    Flushed,
    Found,
    FromUi,
    Interrupt,
    Interrupted,
    Listed,
    ListModels,
    ListSessions,
    Load,
    Loaded,
    ModelsListed,
    Notice,
    NotSaving,
    Picked,
    ProcessRestarted,
    Query,
    ReadContext,
    ReadStatus,
    Recovered,
    Retrying,
    Saved,
    Saving,
    StatusRead,
    Stop,
    StoredMessage,
    Terminal,
    UiInbox,
    Undone,
)
from chatbot.tracing import Recorder
from chatbot.ui import listing
from chatbot.ui.events import Left, Typed, UiEvent
from chatbot.ui.keyboard import Console, Keyboard
from chatbot.ui.state import State
from chatbot.ui.view import View

_WAIT_S = 1.0
_REPLY_WITHIN_S = 45.0
_STATUS_EVERY_S = 1.0

GIVEN_UP = "given up"

R = TypeVar("R", Loaded, Listed, Found, Undone, Picked, CacheRead, Recovered)


class Leave(Exception):
    """Raised to leave the program with an exit code."""

    def __init__(self, code: ExitCode) -> None:
        super().__init__(code)
        self.code = code


class Exchange:
    """One end of the way between a person and the other processes.

    Everything that waits here shows meanwhile what else comes, and raises Leave when the program is
    to end. `chatting`: Ctrl-C gives up what is waited for and not the whole program. `read_line` waits for a line;
    with a `console` nobody reads: the lines of the person come through the inbox like everything else, also while
    nobody waits for one.
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
        read_line: Callable[[str], str | None],
        console: Console | None = None,
    ) -> None:
        self._inbox = inbox
        self._outbox = outbox
        self.recorder = recorder
        self._keyboard = keyboard
        self._view = view
        self._console = console
        self._read_line = read_line
        self.chatting = chatting
        self.state = State()
        self.on_context: Callable[[ContextRead], None] | None = None
        self.on_models: Callable[[ModelsListed], None] | None = None
        self.on_listed: Callable[[Listed], None] | None = None
        self._unread: deque[UiEvent] = deque()
        self._typed: deque[Typed] = deque()
        self._ended: Terminal | None = None
        self.not_saving = ""
        self.is_abandoned = False  # by a supervisor that was killed

    # --- the person ------------------------------------------------------------------------------

    def read_line(self, prompt: str, *, consent: bool = False) -> str | None:
        """Return the next line, or None at the end of the input.

        `consent`: it answers a question, so that nothing counts that was typed before that was put. Raises
        KeyboardInterrupt when Ctrl-C was pressed, Leave, and what the keyboard raises.
        """
        if self._console is None:
            line = self._read_line(prompt)
            if self.chatting:
                self.catch_up()
            return line
        return self._next_typed(self._console, prompt, consent=consent)

    def _next_typed(self, console: Console, prompt: str, *, consent: bool) -> str:
        if self._typed and not consent:
            typed = self._typed.popleft()
            self._show_queue()
            if not typed.shown:
                console.show_typed(typed.text)
            return typed.text
        console.ask(prompt)
        try:
            while True:
                match message := self.next():
                    case None:
                        pass
                    case Typed(shown=True, is_answer=is_answer) if is_answer == consent:
                        return message.text
                    case Typed(text=text, is_answer=False) if not consent and text.strip():
                        console.show_typed(text)
                        return text
                    case Interrupt() if consent and not self._keyboard.is_echo(message):
                        raise KeyboardInterrupt
                    case Left() if consent:
                        return ""
                    case _:
                        self.notice(message)
        finally:
            console.busy()

    def give_back(self) -> None:
        """Put the lines that wait for their turn back before the person: what was stopped was not what
        they had expected when they wrote these."""
        if self._console is not None and self._typed:
            self._console.give_back(tuple(typed.text for typed in self._typed))
            self._typed.clear()
            self._show_queue()

    def show_typed(self, text: str) -> None:
        """Show a text as if it had been typed."""
        if self._console is not None:
            self._console.show_typed(text)
        else:
            self._view.aside(f"You: {text}")

    def show_activity(self, activity: str) -> None:
        """Show what is going on."""
        self.state.activity = activity
        self.show_state()

    def show_state(self) -> None:
        """Have the state drawn that others have changed."""
        if self._console is not None:
            self._console.state_changed()

    def _show_queue(self) -> None:
        self.state.queued = tuple(typed.text for typed in self._typed)
        self.show_state()

    # --- the other processes ---------------------------------------------------------------------

    def send(self, message: FromUi) -> None:
        """Send a message, behind what is recorded so far; from this thread if the supervisor has read all there
        was: it would else wait until the console's thread lets the writer's run. Raises MessageTooLarge."""
        self.recorder.flush(through=self._outbox.gather_offered)
        self._outbox.gather(message)
        self._outbox.flush()

    def models(self, backend: BackendName) -> ModelsListed:
        """Ask for the models of a backend and show them; Ctrl-C in a chat gives an empty list."""
        request_id = new_request_id()
        self._outbox.send(ListModels(request_id, backend))
        while True:
            match message := self.next():
                case None:
                    pass
                case ModelsListed() if message.request_id == request_id:
                    self.notice(message)
                    self._view.models(message)
                    return message
                case Interrupt() if not self._keyboard.is_echo(message):
                    if self.chatting:
                        return ModelsListed(request_id, backend)
                    raise Leave(ExitCode.INTERRUPTED)
                case _:
                    self.notice(message)

    def ask_models(self, backend: BackendName) -> None:
        """Ask for the models of a backend, for `on_models`. From any thread, as the two below."""
        self._outbox.send(ListModels(new_request_id(), backend))

    def ask_sessions(self, at_most: int) -> None:
        """Ask for the sessions that were used last, for `on_listed`."""
        self._outbox.send(ListSessions(new_request_id(), at_most))

    def ask_context(self, backend: BackendName, model: str) -> None:
        """Ask how much context a model has, for `on_context`."""
        self._outbox.send(ReadContext(new_request_id(), backend, model))

    def status(self) -> StatusRead | None:
        """Ask the supervisor how everybody is; None where it was given up."""
        request_id = new_request_id()
        self._outbox.send(ReadStatus(request_id))
        while True:
            match message := self.next():
                case None:
                    pass
                case StatusRead() if message.request_id == request_id:
                    return message
                case Interrupt() if not self._keyboard.is_echo(message):
                    if not self.chatting:
                        raise Leave(ExitCode.INTERRUPTED)
                    return None
                case _:
                    self.notice(message)

    def watch(self, show: Callable[[StatusRead], None]) -> None:
        """Show how everybody is, again each second, until a key is pressed that ends it. A line that ends it
        was meant for nobody yet: it is given back. What was queued before waits for its turn."""
        self.show_activity("watching")
        try:
            while self._watched(show, time.monotonic() + _STATUS_EVERY_S):
                pass
        finally:
            self.show_activity("")

    def _watched(self, show: Callable[[StatusRead], None], deadline: float) -> bool:
        """Ask, and show what is told until then; return whether nobody has ended it."""
        request_id = new_request_id()
        self._outbox.send(ReadStatus(request_id))
        is_shown = False
        while not is_shown or time.monotonic() < deadline:
            match message := self.next(max(deadline - time.monotonic(), 0) or _WAIT_S):
                case None:
                    pass
                case StatusRead() if message.request_id == request_id:
                    show(message)
                    is_shown = True
                case Typed(text=text):
                    if text.strip() and self._console is not None:
                        self._console.give_back((text,))
                    return False
                case Interrupt() if not self._keyboard.is_echo(message):
                    return False
                case _:
                    self.notice(message)
        return True

    def enter(self, session_id: str) -> None:
        """Say which session the terminal is in now, in case it has to be started again."""
        self._outbox.send(Entered(session_id))

    def load(self, session_id: str | None) -> Loaded:
        """Ask for a session, or for the latest one, before there is a chat: Ctrl-C leaves."""
        return self._reply(Load(new_request_id(), session_id), Loaded, leaves=True)

    def reply(self, query: Query, kind: type[R], within_s: float = _REPLY_WITHIN_S) -> R:
        """Ask the store, and wait for its reply, with a deadline; Ctrl-C in a chat gives it up. What
        went wrong is the reply's `error`."""
        return self._reply(query, kind, within_s, leaves=not self.chatting)

    def whole(
        self, session_id: str, *, everything: bool = False
    ) -> tuple[Loaded, Iterator[listing.Told]]:
        """Return a session, and all of its messages; with `everything`, undone and replaced ones among them.
        They are read piece by piece; raises ChatbotError where that fails."""
        load = Load(new_request_id(), session_id, after=0, everything=everything)
        first = self.reply(load, Loaded)
        return first, listing.by_turns(self._pages(first, everything=everything))

    def _pages(self, loaded: Loaded, *, everything: bool) -> Iterator[Sequence[StoredMessage]]:
        yield loaded.messages
        while loaded.truncated and loaded.session is not None and loaded.messages:
            session_id, last = loaded.session.session_id, loaded.messages[-1].id
            load = Load(new_request_id(), session_id, after=last, everything=everything)
            loaded = self.reply(load, Loaded)
            if loaded.error:
                raise ChatbotError(f"cannot read all of the session: {loaded.error}")
            if loaded.session is None:
                raise ChatbotError("cannot read all of the session: it was deleted meanwhile")
            yield loaded.messages

    def _reply(
        self, query: Query, kind: type[R], within_s: float = _REPLY_WITHIN_S, *, leaves: bool
    ) -> R:
        try:
            self._outbox.send(query)
        except MessageTooLarge as error:
            return kind(query.request_id, error=str(error))
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            match message := self.next():
                case None:
                    pass
                case NotSaving(reason=reason) if leaves:
                    self.not_saving = reason  # the reply says the same
                case Interrupt() if not self._keyboard.is_echo(message):
                    if leaves:
                        raise Leave(ExitCode.INTERRUPTED)
                    return kind(query.request_id, error=GIVEN_UP)
                case _ if isinstance(message, kind) and message.request_id == query.request_id:
                    return message
                case _:
                    self.notice(message)
        return kind(query.request_id, error=f"the store did not answer within {within_s:g} s")

    def flush(self, within_s: float) -> str:
        """Have telemetry write down all that was reported; return why it did not, or nothing. Ctrl-C in
        a chat gives it up."""
        request_id = new_request_id()
        self.recorder.flush()
        self._outbox.send(Flush(request_id))
        deadline = time.monotonic() + within_s
        while (left_s := deadline - time.monotonic()) > 0:
            match message := self.next(left_s):
                case None:
                    pass
                case Flushed() if message.request_id == request_id:
                    return ""
                case Interrupt() if not self._keyboard.is_echo(message):
                    if self.chatting:
                        return GIVEN_UP
                    raise Leave(ExitCode.INTERRUPTED)
                case _:
                    self.notice(message)
        return f"telemetry did not answer within {within_s:g} s"

    # --- what comes ------------------------------------------------------------------------------

    def listen(self, for_s: float) -> None:
        """Wait a moment for something to come, and show it."""
        if (message := self.next(for_s)) is not None:
            self.notice(message)

    def was_abandoned(self, within_s: float) -> bool:
        """Whether the supervisor was killed, who may have been heard of by a signal first; what comes else is lost."""
        deadline = time.monotonic() + within_s
        while not self.is_abandoned and (left_s := deadline - time.monotonic()) > 0:
            self.is_abandoned = any(
                each is self._inbox.parting for each in self._inbox.take(left_s)
            )
        return self.is_abandoned

    def catch_up(self) -> None:
        """Show what came while the person was typing. A Ctrl-C from then has had its effect."""
        while (message := self.next(0)) is not None:
            if isinstance(message, Interrupt):
                self._keyboard.is_echo(message)
            self.notice(message)

    def is_pressed(self, message: UiEvent) -> bool:
        """Whether this is a Ctrl-C that was not heard before."""
        return isinstance(message, Interrupt) and not self._keyboard.is_echo(message)

    def ended(self) -> Terminal | None:
        """Return, once, the end of a turn that came while nobody waited for it: that of the turn in
        which this process's predecessor was killed, where it came before the session."""
        terminal, self._ended = self._ended, None
        return terminal

    def next(self, timeout_s: float = _WAIT_S) -> UiEvent | None:
        """Return the next message; None after so much silence. The rest of its batch is kept."""
        if not self._unread:
            self.recorder.flush()
            self._unread += self._inbox.take(timeout_s)
        return self._unread.popleft() if self._unread else None

    def notice(self, message: UiEvent) -> None:
        """Take a message that nothing is waiting for."""
        match message:
            case Typed(is_answer=True):
                pass  # to a question that was given up
            case Typed(text=text):
                if text.strip():
                    self._typed.append(message)
                    self._show_queue()
            case Left(code=code):
                raise Leave(code)
            case Retrying(delay_s=delay_s, reason=reason):
                self._view.aside(f"[{reason}: trying again in {delay_s:.1f} s, Ctrl-C stops]")
            case ProcessRestarted(role=role, reason=reason):
                self.state.restarts += 1
                self._view.aside(f"[{role} process restarted: {reason}]")
            case NotSaving(reason=reason):
                self.not_saving = self.state.not_saving = reason
                self._view.aside(f"not saving: {reason}")
            case Saving(unsaved=unsaved):
                self.not_saving = self.state.not_saving = ""
                were = "was" if unsaved == 1 else "were"
                lost = f"; {listing.counted(unsaved, 'message')} {were} too many to be kept"
                self._view.aside(f"saving again{lost if unsaved else ''}")
            case Notice(text=text):
                self._view.aside(text)
            case Stop():
                self.is_abandoned |= message is self._inbox.parting
                raise Leave(ExitCode.INTERRUPTED)
            case Answered() | Failed() | Cancelled() | Interrupted():
                self._ended = message  # of a turn in which the terminal was killed
            case ContextRead():
                if self.on_context is not None:
                    self.on_context(message)
            case ModelsListed():
                if self.on_models is not None:
                    self.on_models(message)
            case Listed():  # that nobody waits for
                if self.on_listed is not None and not message.error:
                    self.on_listed(message)
            case Interrupt():
                pass  # one that has had its effect: an echo, or a key at the prompt
            case Delta() | Saved():
                pass
            case Loaded() | Found() | Undone() | Picked() | CacheRead() | Recovered():
                pass  # a reply that came after it was given up
            case StatusRead() | Flushed():
                pass  # a reply that came after it was given up
            case _:
                assert_never(message)
