"""What the terminal exchanges with the other processes: asks, listens, and tells what it hears.

A turn is over with its terminal message; that it gets saved is the dispatcher's care. Ctrl-C during
a turn asks for it to be cancelled, and a second one leaves.
"""

import contextlib
import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import TypeVar, assert_never

from chatbot.errors import ChatbotError, ExitCode, MessageTooLarge
from chatbot.ids import new_request_id
from chatbot.mailbox import Inbox, Outbox
from chatbot.messages import (
    Answered,
    AttributeValue,
    BackendName,
    CacheRead,
    Cancel,
    Cancelled,
    Delta,
    Entered,
    Failed,
    Flush,
    Flushed,
    Found,
    Interrupt,
    Interrupted,
    Listed,
    ListModels,
    Load,
    Loaded,
    ModelsListed,
    Notice,
    NotSaving,
    ProcessRestarted,
    Query,
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
from chatbot.tracing import Recorder, trace_id_of
from chatbot.ui import listing
from chatbot.ui.conversation import Conversation
from chatbot.ui.terminal import Terminal as Keyboard
from chatbot.ui.view import View

_WAIT_S = 1.0
_REPLY_WITHIN_S = 45.0
_SECOND_KEY_S = 10.0

GIVEN_UP = "given up"

R = TypeVar("R", Loaded, Listed, Found, Undone, CacheRead, Recovered)


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
        self._ended: Terminal | None = None
        self.not_saving = ""

    def turn(self, chat: Conversation, text: str | None) -> Terminal:
        """Ask, show the answer as it comes, and remember it. Without a text, the last question is
        asked again, and the new turn takes the place of the last. Raises MessageTooLarge."""
        request_id = new_request_id()
        about: dict[str, AttributeValue] = {
            "session.id": chat.session_id,
            "backend": chat.target.backend,
            "gen_ai.request.model": chat.target.model,
        }
        with (
            self._flushing(),
            self._recorder.span("chat_turn", parent=None, attributes=about).announce() as span,
        ):
            self._recorder.flush()  # so that it is known before what comes of it
            with self._recorder.hop("send", "store.asks", request_id, span.traceparent) as hop:
                if text is None:
                    ask = chat.ask_again(request_id, hop=hop.traceparent, turn=span.traceparent)
                else:
                    ask = chat.ask(request_id, text, hop=hop.traceparent, turn=span.traceparent)
                self._outbox.send(ask)
            if text is None:
                chat.undo()
            try:
                terminal, streamed = self._see(chat, request_id)
            except Leave:  # nobody sees its end
                span.set("status", "interrupted")
                span.fail("left before its end")
                span.end()
                raise
            status = type(terminal).__name__.lower()
            span.set("status", status)
            self._recorder.log(
                "info",
                "turn_ended",
                traceparent=span.traceparent,
                session_id=chat.session_id,
                request_id=request_id,
                backend=chat.target.backend,
                status=status,
            )
            match terminal:
                case Failed(kind=kind):
                    span.set("error.type", kind)
                    span.fail(kind)
                case Interrupted():
                    span.fail("interrupted")
                case Answered(cached_age_s=age_s, call_traceparent=call):
                    span.set("cached", age_s is not None)
                    if trace_id_of(call) != span.trace_id:
                        span.link(call)  # another turn's call was paid for
                case _:
                    pass
            chat.answered(request_id, ask.content, text_of(terminal), span.trace_id)
            self._view.end(terminal, streamed)
        return terminal

    @contextlib.contextmanager
    def _flushing(self) -> Iterator[None]:
        """Report what is recorded in here when it is over: a person may read for an hour then."""
        try:
            yield
        finally:
            self._recorder.flush()

    def follow(self, chat: Conversation, loaded: Loaded) -> Terminal:
        """Go on with the turn that was under way when this process's predecessor was killed: show
        what has come of its answer, and the rest as it comes."""
        request_id = loaded.under_way
        question = chat.reopen(request_id)
        terminal, streamed = self._see(chat, request_id, loaded.so_far)
        chat.answered(request_id, question, text_of(terminal), trace_id_of(terminal.traceparent))
        self._view.end(terminal, streamed)
        return terminal

    def ended(self) -> Terminal | None:
        """Return, once, the end of a turn that came while nobody waited for it: that of the turn in
        which this process's predecessor was killed, where it came before the session."""
        terminal, self._ended = self._ended, None
        return terminal

    def show_ended(self, chat: Conversation, terminal: Terminal) -> None:
        """Show the end of such a turn, with its answer, and remember it."""
        question = chat.reopen(terminal.request_id)
        trace_id = trace_id_of(terminal.traceparent)
        chat.answered(terminal.request_id, question, text_of(terminal), trace_id)
        self._view.begin(terminal.request_id, chat.session_id, chat.target)
        self._view.end(terminal, "")

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

    def status(self) -> StatusRead | None:
        """Ask the supervisor how everybody is; None where it was given up."""
        request_id = new_request_id()
        self._outbox.send(ReadStatus(request_id))
        while True:
            match message := self._next():
                case None:
                    pass
                case StatusRead() if message.request_id == request_id:
                    return message
                case Interrupt() if not self._keyboard.is_echo(message):
                    if not self._chatting:
                        raise Leave(ExitCode.INTERRUPTED)
                    return None
                case _:
                    self._notice(message)

    def enter(self, session_id: str) -> None:
        """Say which session the terminal is in now, in case it has to be started again."""
        self._outbox.send(Entered(session_id))

    def load(self, session_id: str | None) -> Loaded:
        """Ask for a session, or for the latest one, before there is a chat: Ctrl-C leaves."""
        return self._reply(Load(new_request_id(), session_id), Loaded, leaves=True)

    def reply(self, query: Query, kind: type[R], within_s: float = _REPLY_WITHIN_S) -> R:
        """Ask the store, and wait for its reply, with a deadline; Ctrl-C in a chat gives it up. What
        went wrong is the reply's `error`."""
        return self._reply(query, kind, within_s, leaves=not self._chatting)

    def whole(self, session_id: str) -> tuple[Loaded, Iterator[listing.Told]]:
        """Return a session, and all of its messages. They are read piece by piece; raises ChatbotError where that fails."""
        first = self.reply(Load(new_request_id(), session_id, after=0), Loaded)
        return first, listing.by_turns(self._pages(first))

    def _pages(self, loaded: Loaded) -> Iterator[Sequence[StoredMessage]]:
        yield loaded.messages
        while loaded.truncated and loaded.session is not None and loaded.messages:
            session_id, last = loaded.session.session_id, loaded.messages[-1].id
            loaded = self.reply(Load(new_request_id(), session_id, after=last), Loaded)
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
            match message := self._next():
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
                    self._notice(message)
        return kind(query.request_id, error=f"the store did not answer within {within_s:g} s")

    def flush(self, within_s: float) -> str:
        """Have telemetry write down all that was reported; return why it did not, or nothing. Ctrl-C in
        a chat gives it up."""
        request_id = new_request_id()
        self._recorder.flush()
        self._outbox.send(Flush(request_id))
        deadline = time.monotonic() + within_s
        while (left_s := deadline - time.monotonic()) > 0:
            match message := self._next(left_s):
                case None:
                    pass
                case Flushed() if message.request_id == request_id:
                    return ""
                case Interrupt() if not self._keyboard.is_echo(message):
                    if self._chatting:
                        return GIVEN_UP
                    raise Leave(ExitCode.INTERRUPTED)
                case _:
                    self._notice(message)
        return f"telemetry did not answer within {within_s:g} s"

    def listen(self, for_s: float) -> None:
        """Wait a moment for something to come, and show it."""
        if (message := self._next(for_s)) is not None:
            self._notice(message)

    def catch_up(self) -> None:
        """Show what came while the person was typing. A Ctrl-C from then has had its effect."""
        while (message := self._next(0)) is not None:
            if isinstance(message, Interrupt):
                self._keyboard.is_echo(message)
            self._notice(message)

    def _see(self, chat: Conversation, request_id: str, so_far: str = "") -> tuple[Terminal, str]:
        """Show a turn until its terminal message; return it and the text shown so far."""
        try:
            self._view.begin(request_id, chat.session_id, chat.target)
            if so_far:
                self._view.delta(request_id, so_far, reasoning=False)
            return self._await_terminal(request_id, so_far)
        except Leave:
            self._view.leave()
            raise
        except (BrokenPipeError, ChatbotError):  # nobody sees the rest: do not pay for it
            self._outbox.send(Cancel(request_id))
            raise

    def _await_terminal(self, request_id: str, so_far: str) -> tuple[Terminal, str]:
        streamed = [so_far]
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
                self.not_saving = reason
                self._view.aside(f"not saving: {reason}")
            case Saving(unsaved=unsaved):
                self.not_saving = ""
                were = "was" if unsaved == 1 else "were"
                lost = f"; {listing.counted(unsaved, 'message')} {were} too many to be kept"
                self._view.aside(f"saving again{lost if unsaved else ''}")
            case Notice(text=text):
                self._view.aside(text)
            case Stop():
                raise Leave(ExitCode.INTERRUPTED)
            case Answered() | Failed() | Cancelled() | Interrupted():
                self._ended = message  # of a turn in which the terminal was killed
            case Interrupt():
                pass  # one that has had its effect: an echo, or a key at the prompt
            case Delta() | Saved() | ModelsListed():
                pass
            case Loaded() | Listed() | Found() | Undone() | CacheRead() | Recovered():
                pass  # a reply that came after it was given up
            case StatusRead() | Flushed():
                pass  # a reply that came after it was given up
            case _:
                assert_never(message)


def text_of(terminal: Terminal) -> str:
    """Return what came of the answer, whole or not."""
    return terminal.completion.text if isinstance(terminal, Answered) else terminal.text
