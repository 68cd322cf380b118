"""Waiting, at a console: lines that are typed ahead, questions, keys that stop a turn, and what is said to others."""

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from chatbot.errors import ChatbotError, ExitCode
from chatbot.messages import (
    Ask,
    Cancel,
    Cancelled,
    Delta,
    FromAny,
    FromUi,
    Interrupt,
    Message,
    NotSaving,
    ReadStatus,
    Saving,
    StatusRead,
    Target,
    UiInbox,
)
from chatbot.tracing import Recorder
from chatbot.ui.asking import Asking
from chatbot.ui.conversation import Conversation
from chatbot.ui.events import Pressed, Typed
from chatbot.ui.exchange import Exchange, Leave
from tests.fakes import Peer

TARGET = Target("sim", "sim")
OTHER = Target("ollama", "llama3:latest")


class Console:
    """A person's console: what it was told, and on what prompt `on_ask` was called."""

    def __init__(self) -> None:
        self.shown: list[str] = []
        self.given_back: list[str] = []
        self.prompts: list[str] = []
        self.on_ask: Callable[[], None] = lambda: None

    def is_echo(self, interrupt: Interrupt) -> bool:
        return False

    def ask(self, prompt: str) -> None:
        self.prompts.append(prompt)
        self.on_ask()

    def busy(self) -> None:
        """Nobody is waited for."""

    def show_typed(self, text: str) -> None:
        self.shown.append(text)

    def give_back(self, texts: Sequence[str]) -> None:
        self.given_back += texts

    def state_changed(self) -> None:
        """What stands in the state has changed."""


_THE_END = ReadStatus("the end of the test")


class View:
    """Has nothing to show; a piece of an answer may fail to be shown, as at a pipe nobody reads."""

    fails_with: BaseException | None = None

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *arguments, **more: None

    def delta(self, request_id: str, text: str, *, reasoning: bool) -> None:
        if self.fails_with is not None:
            raise self.fails_with


class Room:
    """A conversation in this process, with a console and the supervisor's side."""

    def __init__(self) -> None:
        self.peer = Peer(UiInbox, FromUi | FromAny)
        self.console, self.view = Console(), View()
        any_view: Any = self.view
        self.exchange = Exchange(
            self.peer.inbox,
            self.peer.outbox,
            Recorder("ui", 0, lambda report: True),
            self.console,
            any_view,
            chatting=True,
            read_line=lambda prompt: None,
            console=self.console,
        )
        self.asking = Asking(self.exchange, any_view)
        self.chat = Conversation("session_1_a", TARGET, {"sim": "sim"}, "use")
        self.post = self.peer.inbox.post
        self._serving = threading.Thread()

    def says(self, answers: Callable[[Any], list[Any] | None]) -> None:
        """Answer what is asked, in a thread, as the supervisor would; None ends it. What is a person's doing
        is posted."""

        def serve() -> None:
            while (asked := self.peer.next((Ask, Cancel, ReadStatus))) != _THE_END:
                if (messages := answers(asked)) is None:
                    return
                for message in messages:
                    self.post(message)

        self._serving = threading.Thread(target=serve, daemon=True)
        self._serving.start()

    def end(self) -> None:
        """End the thread that answers."""
        self.peer.outbox.send(_THE_END)
        if self._serving.is_alive():
            self._serving.join(20)


@pytest.fixture
def room() -> Iterator[Room]:
    room = Room()
    yield room
    room.end()


# --- lines ------------------------------------------------------------------------------------------


def test_a_line_that_was_typed_ahead_is_shown_once_when_it_is_taken(room: Room) -> None:
    room.exchange.notice(Typed("queued"))
    room.post(Typed("on its way"))
    room.post(Typed("at the prompt", shown=True))
    assert [room.exchange.read_line("You: ") for _ in range(3)] == [
        "queued",
        "on its way",
        "at the prompt",
    ]
    assert room.console.shown == ["queued", "on its way"]


def test_an_empty_line_is_never_queued(room: Room) -> None:
    room.exchange.notice(Typed(" "))
    room.post(Typed(""))
    room.post(Typed("something"))
    assert room.exchange.read_line("You: ") == "something"
    assert room.console.shown == ["something"]


def test_only_what_is_typed_at_a_question_answers_it(room: Room) -> None:
    room.exchange.notice(Typed("typed long before"))
    room.post(Typed("yes, I think"))  # was on its way when the question was put
    room.post(Typed("y", shown=True, is_answer=True))
    assert room.exchange.read_line("Do it? ", consent=True) == "y"
    assert room.exchange.state.queued == ("typed long before", "yes, I think")
    assert room.console.shown == []


def test_an_answer_to_a_question_that_was_given_up_is_no_line(room: Room) -> None:
    room.post(Pressed())
    room.post(Typed("y", shown=True, is_answer=True))
    with pytest.raises(KeyboardInterrupt):
        room.exchange.read_line("Do it? ", consent=True)
    room.post(Typed("hello", shown=True))
    assert room.exchange.read_line("You: ") == "hello"
    assert room.exchange.state.queued == ()


# --- keys in a turn -----------------------------------------------------------------------------------


def until_cancelled(message: Any) -> list[Any]:
    """Be asked, stopped at once by a key, and cancelled when that was told."""
    if isinstance(message, Ask):
        return [Pressed()]
    return [Delta(message.request_id, 1, 1, "late"), Cancelled(message.request_id, 1, "half")]


def test_a_key_in_the_next_turn_stops_that_turn_and_leaves_nothing(room: Room) -> None:
    room.says(until_cancelled)
    for question in ("one", "two", "three"):
        assert isinstance(room.asking.turn(room.chat, question), Cancelled)


def test_a_second_key_in_one_turn_leaves(room: Room) -> None:
    room.says(lambda message: [Pressed(), Pressed()] if isinstance(message, Ask) else [])
    with pytest.raises(Leave) as left:
        room.asking.turn(room.chat, "one")
    assert left.value.code == ExitCode.INTERRUPTED


def test_a_key_in_a_fan_cancels_all_that_are_asked(room: Room) -> None:
    asked: list[str] = []
    cancelled: list[str] = []

    def answers(message: Any) -> list[Any]:
        if isinstance(message, Ask):
            asked.append(message.request_id)
            return [Pressed()] if len(asked) == 2 else []
        cancelled.append(message.request_id)
        return [Cancelled(message.request_id, 1, "")]

    room.says(answers)
    ended = room.asking.fan(room.chat, "why?", [TARGET, OTHER])
    assert [type(each) for each in ended] == [Cancelled, Cancelled]
    assert sorted(cancelled) == sorted(asked)


def test_what_still_comes_does_not_hide_that_a_turn_is_being_stopped(room: Room) -> None:
    seen: list[str] = []

    def delta(request_id: str, text: str, *, reasoning: bool) -> None:
        seen.append(room.exchange.state.activity)

    room.view.delta = delta  # type: ignore[method-assign] # what it is watched by
    room.says(until_cancelled)
    room.asking.turn(room.chat, "one")
    assert seen == ["stopping"]


def test_what_was_queued_is_given_back_when_a_turn_is_stopped(room: Room) -> None:
    room.exchange.notice(Typed("next"))
    room.says(until_cancelled)
    room.asking.turn(room.chat, "one")
    assert room.console.given_back == ["next"]
    assert room.exchange.state.queued == ()


@pytest.mark.parametrize("error", [BrokenPipeError(), ChatbotError("no room on the disk")])
def test_an_answer_that_nobody_reads_is_cancelled(room: Room, error: Exception) -> None:
    cancelled = threading.Event()

    def answers(message: Any) -> list[Any] | None:
        if isinstance(message, Ask):
            return [Delta(message.request_id, 1, 0, "a piece")]
        cancelled.set()
        return None

    room.view.fails_with = error
    room.says(answers)
    with pytest.raises(type(error)):
        room.asking.turn(room.chat, "one")
    assert cancelled.wait(10)


# --- what is told -------------------------------------------------------------------------------------


def test_that_nothing_is_saved_is_shown_until_it_is_saved_again(room: Room) -> None:
    room.exchange.notice(NotSaving("the disk is full"))
    assert room.exchange.state.not_saving == room.exchange.not_saving == "the disk is full"
    room.exchange.notice(Saving(0))
    assert room.exchange.state.not_saving == room.exchange.not_saving == ""


# --- /top ---------------------------------------------------------------------------------------------


def watch(room: Room, *ends: Any, before: Sequence[Message] = ()) -> int:
    """Watch until this ends it, once a status was shown; return how often one was."""
    shown: list[StatusRead] = []
    room.says(lambda message: [*before, StatusRead(message.request_id)])

    def show(status: StatusRead) -> None:
        shown.append(status)
        for event in ends:
            room.post(event)

    room.exchange.watch(show)
    return len(shown)


@pytest.mark.parametrize("end", [Typed(""), Pressed(), Typed("what now?")])
def test_a_key_or_a_line_ends_the_watching(room: Room, end: Any) -> None:
    assert watch(room, end) == 1
    is_line = isinstance(end, Typed) and end.text
    assert room.console.given_back == (["what now?"] if is_line else [])
    assert room.exchange.state.queued == ()
    assert room.exchange.state.activity == ""


def test_a_line_that_was_queued_before_waits_until_the_watching_has_ended(room: Room) -> None:
    room.exchange.notice(Typed("next"))
    posts = iter([(), (Pressed(),)])
    shown = 0
    room.says(lambda message: [StatusRead(message.request_id)])

    def show(status: StatusRead) -> None:
        nonlocal shown
        shown += 1
        for event in next(posts):
            room.post(event)

    room.exchange.watch(show)
    assert shown == 2
    assert room.exchange.read_line("You: ") == "next"


def test_a_line_that_comes_before_the_first_status_ends_the_watching_too(room: Room) -> None:
    room.post(Typed("early"))
    room.exchange.watch(lambda status: None)
    assert room.console.given_back == ["early"]
