"""Turns: a question asked of one model, or of several at once, and seen to its end.

A turn is over with its terminal message; that it gets saved is the dispatcher's care. Ctrl-C during
a turn asks for it to be cancelled, and a second one leaves.
"""

import contextlib
import time
from collections.abc import Iterator, Sequence
from typing import assert_never

import msgspec

from chatbot.errors import ChatbotError, ExitCode, MessageTooLarge
from chatbot.ids import new_request_id
from chatbot.messages import (
    Answered,
    AttributeValue,
    Cancel,
    Cancelled,
    Delta,
    Failed,
    Interrupted,
    Loaded,
    Target,
    Terminal,
    Undo,
)
from chatbot.tracing import Span, trace_id_of
from chatbot.ui.conversation import Conversation, Turn
from chatbot.ui.exchange import Exchange, Leave
from chatbot.ui.view import View

_SECOND_KEY_S = 10.0


class Open(msgspec.Struct):
    """A turn under way: what has come of it, and how it ended."""

    request_id: str
    question: str
    target: Target
    span: Span | None = None
    pieces: list[str] = []
    thoughts: list[str] = []
    terminal: Terminal | None = None

    @property
    def turn(self) -> Turn:
        """The turn as the conversation remembers it, once it has ended."""
        assert self.terminal is not None  # noqa: S101 - it is asked for at the end
        own = self.span.trace_id if self.span is not None else ""
        trace_id = own or trace_id_of(self.terminal.traceparent)
        return Turn(
            self.request_id,
            self.question,
            text_of(self.terminal),
            trace_id,
            _reasoning_of(self.terminal) or "".join(self.thoughts),
            self.target,
        )


class Asking:
    """Asks, shows the answers as they come, and has the conversation remember them."""

    def __init__(self, exchange: Exchange, view: View) -> None:
        self._exchange = exchange
        self._recorder = exchange.recorder
        self._view = view
        self._last_interrupt = float("-inf")
        self._cancelling: set[str] = set()

    def turn(self, chat: Conversation, text: str | None, *, replacing: bool = False) -> Terminal:
        """Ask, show the answer as it comes, and remember it. Without a text, the last question is
        asked again; then, and with `replacing`, the new turn takes the place of the last.

        Raises MessageTooLarge.
        """
        again = replacing or text is None
        with self._reporting():
            opened = self._ask(chat, text, chat.target, again=again)
            if again:
                chat.undo()
            self._see(chat, [opened])
            chat.answered(opened.turn)
            return self._show_end(opened)

    def fan(
        self, chat: Conversation, text: str, targets: Sequence[Target], *, replacing: bool = False
    ) -> list[Terminal]:
        """Ask several the same at once, and show their answers side by side. The conversation goes on with
        the first of them, until another is picked; with `replacing`, they take the place of the last turn.

        Raises MessageTooLarge: then nobody is asked.
        """
        with self._reporting():
            opened: list[Open] = []
            try:
                for number, target in enumerate(targets, 1):
                    fan = opened[0].request_id if opened else ""
                    # The last of them takes the old turn out: if it cannot be sent, nothing has happened.
                    takes_out = replacing and number == len(targets)
                    opened.append(
                        self._ask(chat, text, target, again=replacing, fan=fan, takes_out=takes_out)
                    )
            except MessageTooLarge:
                self._take_back(chat, opened)
                raise
            if replacing:
                chat.undo()
            asked = [(each.request_id, each.target) for each in opened]
            self._see(chat, opened, asked)
            chat.fanned([each.turn for each in opened])
            return [each.terminal for each in opened if each.terminal is not None]

    def follow(self, chat: Conversation, loaded: Loaded) -> Terminal:
        """Go on with the turn that was under way when this process's predecessor was killed: show
        what has come of its answer, and the rest as it comes."""
        question = chat.reopen(loaded.under_way)
        opened = Open(loaded.under_way, question, chat.target)
        self._see(chat, [opened], so_far=loaded.so_far)
        chat.answered(opened.turn)
        return self._show_end(opened)

    def show_ended(self, chat: Conversation, terminal: Terminal) -> None:
        """Show the end of a turn that nobody waited for, with its answer, and remember it."""
        opened = Open(terminal.request_id, chat.reopen(terminal.request_id), chat.target)
        opened.terminal = terminal
        chat.answered(opened.turn)
        self._view.begin(terminal.request_id, chat.session_id, chat.target)
        self._show_end(opened)

    def was_interrupted(self, terminal: Terminal) -> bool:
        """Whether Ctrl-C was pressed in the turn that ended so, even if the answer came whole."""
        return terminal.request_id in self._cancelling

    # --- parts of them ---------------------------------------------------------------------------

    @contextlib.contextmanager
    def _reporting(self) -> Iterator[None]:
        """Report what is recorded in here when it is over: a person may read for an hour then."""
        try:
            yield
        finally:
            self._recorder.flush()

    def _ask(
        self,
        chat: Conversation,
        text: str | None,
        target: Target,
        *,
        again: bool = False,
        fan: str | None = None,
        takes_out: bool = True,
    ) -> Open:
        """Send a question; `fan` is the first request of a fan, empty for that one itself. `takes_out`: the
        turn whose place it takes, with `again`, is taken out by it."""
        request_id = new_request_id()
        about: dict[str, AttributeValue] = {
            "session.id": chat.session_id,
            "backend": target.backend,
            "gen_ai.request.model": target.model,
        }
        # Announced, so that it is known before what comes of it: it goes along with the question.
        span = self._recorder.span("chat_turn", parent=None, attributes=about).announce()
        try:
            with self._recorder.hop("send", "store.asks", request_id, span.traceparent) as hop:
                if again:
                    ask = chat.ask_again(
                        request_id, text, hop=hop.traceparent, turn=span.traceparent
                    )
                else:
                    assert text is not None  # noqa: S101 - only the last question has none of its own
                    ask = chat.ask(request_id, text, hop=hop.traceparent, turn=span.traceparent)
                if not takes_out:
                    ask = msgspec.structs.replace(ask, replaces="")
                if fan is not None:
                    ask = msgspec.structs.replace(ask, target=target, fan=fan or request_id)
                self._exchange.send(ask)
        except BaseException:
            span.fail("was not sent")
            span.end()
            raise
        return Open(request_id, ask.content, ask.target, span)

    def _see(
        self,
        chat: Conversation,
        opened: Sequence[Open],
        fan: Sequence[tuple[str, Target]] = (),
        so_far: str = "",
    ) -> None:
        """Show turns until each has its terminal message; the end of a turn alone is shown by the caller,
        once the conversation knows it."""
        self._exchange.show_activity("waiting")
        try:
            if fan:
                self._view.begin_fan(fan, chat.session_id)
            else:
                self._view.begin(opened[0].request_id, chat.session_id, opened[0].target)
            if so_far:
                opened[0].pieces.append(so_far)
                self._view.delta(opened[0].request_id, so_far, reasoning=False)
            self._await_ends(chat, {each.request_id: each for each in opened}, is_fan=bool(fan))
            if fan:
                self._view.end_fan()
        except Leave:  # nobody sees their ends
            self._give_up(opened, "left before its end")
            self._view.leave()
            raise
        except (BrokenPipeError, ChatbotError):  # nobody sees the rest: do not pay for it
            self._give_up(opened, "nobody reads the answer")
            for each in opened:
                if each.terminal is None:
                    self._exchange.send(Cancel(each.request_id))
            raise
        finally:
            self._exchange.show_activity("")

    def _await_ends(self, chat: Conversation, opened: dict[str, Open], *, is_fan: bool) -> None:
        waiting = set(opened)
        while waiting:
            match message := self._exchange.next():
                case None:
                    pass
                case Delta() if message.request_id in waiting:
                    self._take(opened[message.request_id], message)
                case Answered() | Failed() | Cancelled() | Interrupted() if (
                    message.request_id in waiting
                ):
                    waiting.remove(message.request_id)
                    each = opened[message.request_id]
                    each.terminal = message
                    self._close(chat, each, message)
                    if is_fan:
                        self._show_end(each)
                case _ if self._exchange.is_pressed(message):
                    self._interrupt(waiting)
                case _:
                    self._exchange.notice(message)

    def _take(self, opened: Open, delta: Delta) -> None:
        activity = "thinking" if delta.reasoning else "answering"
        if self._exchange.state.activity not in (activity, "stopping"):
            self._exchange.show_activity(activity)
        self._view.delta(delta.request_id, delta.text, reasoning=delta.reasoning)
        (opened.thoughts if delta.reasoning else opened.pieces).append(delta.text)

    def _show_end(self, opened: Open) -> Terminal:
        terminal = opened.terminal
        assert terminal is not None  # noqa: S101 - it has ended
        self._view.end(terminal, "".join(opened.pieces))
        return terminal

    def _close(self, chat: Conversation, opened: Open, terminal: Terminal) -> None:
        """End the span of a turn as the turn has ended."""
        span = opened.span
        if span is None:  # one that a process before this one has begun
            return
        status = type(terminal).__name__.lower()
        span.set("status", status)
        self._recorder.log(
            "info",
            "turn_ended",
            traceparent=span.traceparent,
            session_id=chat.session_id,
            request_id=opened.request_id,
            backend=opened.target.backend,
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
            case Cancelled():
                pass
            case _:
                assert_never(terminal)
        span.end()

    def _take_back(self, chat: Conversation, opened: Sequence[Open]) -> None:
        """Have nobody answer what was sent, and the session not have it."""
        self._give_up(opened, "another of those asked at once was not sent")
        for each in opened:
            self._exchange.send(Cancel(each.request_id))
        if opened:
            self._exchange.send(Undo(new_request_id(), chat.session_id, opened[0].request_id))

    def _give_up(self, opened: Sequence[Open], why: str) -> None:
        for each in opened:
            if each.terminal is None and each.span is not None:
                each.span.set("status", "interrupted")
                each.span.fail(why)
                each.span.end()

    def _interrupt(self, waiting: set[str]) -> None:
        """Ctrl-C in a turn; a second one leaves without waiting for the socket to be closed."""
        now = time.monotonic()
        since, self._last_interrupt = now - self._last_interrupt, now
        if since < _SECOND_KEY_S and waiting <= self._cancelling:
            raise Leave(ExitCode.INTERRUPTED)
        self._cancelling = set(waiting)
        self._exchange.show_activity("stopping")
        self._exchange.give_back()
        for request_id in waiting:
            self._exchange.send(Cancel(request_id))


def text_of(terminal: Terminal) -> str:
    """Return what came of the answer, whole or not."""
    return terminal.completion.text if isinstance(terminal, Answered) else terminal.text


def _reasoning_of(terminal: Terminal) -> str:
    return terminal.completion.reasoning if isinstance(terminal, Answered) else ""
