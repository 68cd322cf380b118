"""The terminal's room, run in this process: what the supervisor says to it, and in which order."""

import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from chatbot.errors import ExitCode
from chatbot.messages import (
    Answered,
    Ask,
    Cancel,
    Cancelled,
    Completion,
    Delta,
    FromAny,
    FromUi,
    Interrupt,
    Leaving,
    Load,
    Loaded,
    Message,
    Notice,
    Session,
    Stop,
    StoredMessage,
    Target,
    UiInbox,
)
from chatbot.settings import UiMode, UiSettings
from chatbot.tracing import Recorder
from chatbot.ui import process
from chatbot.ui.streams import TextNotices
from chatbot.ui.terminal import Stopped, Terminal
from tests.fakes import Peer, eventually

SESSION = Session("session_1_a", "title", 1.0, "sim", "sim-large")
QUESTION = StoredMessage("user", "q", "complete", 0.0, request_id="req_before")
PARTIAL = StoredMessage("assistant", "half", "interrupted", 0.0, request_id="req_before")
WHOLE = StoredMessage("assistant", "half and half", "complete", 0.0, request_id="req_before")
ANSWERED = Answered("req_before", 1, Completion("half and half"))


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """The room takes over signals of its process, which is ours."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def settings(mode: UiMode = "chat") -> UiSettings:
    target = Target("ollama", "llama3:latest")
    models = {"sim": "sim", "ollama": "llama3:latest"}
    return UiSettings(
        mode,
        target,
        models,  # type: ignore[arg-type] # names of backends
        backend_is_explicit=True,
        session_id="session_1_a",
        restarted=True,
    )


class Supervisor(threading.Thread):
    """Answers each `Load` and each `Ask` as it is told to, and keeps what was asked."""

    def __init__(self, peer: Peer, on_load: Callable[[str], list[Message]]) -> None:
        super().__init__(daemon=True)
        self._peer = peer
        self._on_load = on_load
        self.asks: list[Ask] = []
        self.late: list[Message] = []
        self.left_with: list[int] = []
        self.start()

    def run(self) -> None:
        while True:
            message = self._peer.next((Load, Ask, Cancel, Leaving), 20)
            if isinstance(message, Load):
                self._peer.send(*self._on_load(message.request_id))
            elif isinstance(message, Ask):
                self.asks.append(message)
                answer = Answered(message.request_id, 1, Completion("next answer"))
                self._peer.send(*self.late, answer)
            elif isinstance(message, Cancel):
                self._peer.send(Cancelled(message.request_id, 1, "half"))
            elif isinstance(message, Leaving):
                self.left_with.append(message.exit_code)
                return


def chat(
    monkeypatch: pytest.MonkeyPatch,
    on_load: Callable[[str], list[Message]],
    typed: str = "next\n/quit\n",
    late: tuple[Message, ...] = (),
) -> Ask:
    """Come back after a restart, say something, and leave; return the question that was sent."""
    monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
    peer = Peer(UiInbox, FromUi | FromAny)
    supervisor = Supervisor(peer, on_load)
    supervisor.late += late
    recorder = Recorder("ui", 0, lambda report: True)
    assert process.main(settings(), peer.inbox, peer.outbox, recorder) == ExitCode.OK
    supervisor.join(20)
    (ask,) = supervisor.asks
    return ask


def test_after_a_restart_the_session_has_what_was_chosen_last(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ask = chat(monkeypatch, lambda request: [Loaded(request, SESSION, (QUESTION, WHOLE))])
    assert (ask.session_id, ask.target) == ("session_1_a", Target("sim", "sim-large"))
    assert [m.content for m in ask.history] == ["q", "half and half"]
    out, err = capsys.readouterr()
    assert out == "next answer\n"
    assert "You: q\nBot: half and half\n" in err


KNOWN = pytest.mark.parametrize("known", [(QUESTION,), (QUESTION, PARTIAL)])


@KNOWN
def test_an_answer_that_is_under_way_goes_on_where_it_was_without_a_piece_lost_or_doubled(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    known: tuple[StoredMessage, ...],
) -> None:
    def on_load(request: str) -> list[Message]:
        early = Delta("req_before", 1, 6, "half")  # a part of what came so far
        loaded = Loaded(request, SESSION, known, under_way="req_before", so_far="half")
        return [early, loaded, Delta("req_before", 1, 7, " and"), ANSWERED]

    ask = chat(monkeypatch, on_load)
    assert [m.content for m in ask.history] == ["q", "half and half"]
    out, err = capsys.readouterr()
    assert out == "half and half\nnext answer\n"
    assert "You: q\nBot: " in err
    assert "[interrupted]" not in err
    assert "[unanswered]" not in err


@KNOWN
def test_an_answer_that_ends_before_the_session_comes_is_shown_and_remembered(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    known: tuple[StoredMessage, ...],
) -> None:
    def on_load(request: str) -> list[Message]:
        return [Delta("req_before", 1, 7, " and"), ANSWERED, Loaded(request, SESSION, known)]

    ask = chat(monkeypatch, on_load)
    assert [m.content for m in ask.history] == ["q", "half and half"]
    assert capsys.readouterr().out == "half and half\nnext answer\n"


def test_the_end_of_a_turn_of_another_session_is_not_shown_in_this_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = Answered("req_other", 1, Completion("what is this?"))
    ask = chat(monkeypatch, lambda request: [other, Loaded(request, SESSION, (QUESTION, PARTIAL))])
    assert [m.content for m in ask.history] == ["q", "half"]
    assert capsys.readouterr().out == "next answer\n"


@pytest.mark.parametrize("under_way", ["req_before", ""])
def test_without_a_store_the_answer_that_is_under_way_is_still_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], under_way: str
) -> None:
    def on_load(request: str) -> list[Message]:
        so_far = "half" if under_way else ""
        loaded = Loaded(request, error="the disk is full", under_way=under_way, so_far=so_far)
        return [loaded, ANSWERED] if under_way else [ANSWERED, loaded]

    ask = chat(monkeypatch, on_load)
    assert ask.history == ()
    assert ask.session_id == "session_1_a"
    out, err = capsys.readouterr()
    assert out == "half and half\nnext answer\n"
    assert "cannot load what was said before: the disk is full\n" in err


def test_ctrl_c_stops_an_answer_that_was_under_way_and_the_chat_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def on_load(request: str) -> list[Message]:
        return [
            Loaded(request, SESSION, (QUESTION,), under_way="req_before", so_far="half"),
            Interrupt(),
        ]

    ask = chat(monkeypatch, on_load)
    assert [m.content for m in ask.history] == ["q", "half"]
    out, err = capsys.readouterr()
    assert out == "half\nnext answer\n"
    assert "(cancelled; what came is kept)\n" in err


def test_what_was_checkpointed_and_what_was_never_answered_are_marked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lost = StoredMessage("user", "lost", "complete", 0.0, request_id="req_lost")
    ask = chat(monkeypatch, lambda request: [Loaded(request, SESSION, (QUESTION, PARTIAL, lost))])
    assert [m.content for m in ask.history] == ["q", "half"]
    err = capsys.readouterr().err
    assert "You: q\nBot: half [interrupted]\nYou: lost [unanswered]\n" in err


def test_an_answer_that_the_session_already_has_is_not_shown_twice(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ask = chat(monkeypatch, lambda request: [ANSWERED, Loaded(request, SESSION, (QUESTION, WHOLE))])
    assert [m.content for m in ask.history] == ["q", "half and half"]
    assert capsys.readouterr().out == "next answer\n"


def test_what_comes_behind_an_answer_in_one_batch_is_not_lost(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    late = (Notice("one"), Notice("two"))

    def on_load(request: str) -> list[Message]:
        return [Loaded(request, SESSION, (QUESTION, WHOLE)), *late]

    chat(monkeypatch, on_load, late=late)
    assert capsys.readouterr().err.count("one\n") == 2


@pytest.mark.parametrize("message", [Stop(), Interrupt()])
def test_what_ends_a_script_reaches_it_while_it_stands_in_a_read(
    message: Stop | Interrupt, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not hasattr(signal, "pthread_kill"):
        pytest.skip("there the supervisor has to end the process")
    read_end, write_end = os.pipe()
    with open(read_end, encoding="utf-8") as stdin, open(write_end, "w", encoding="utf-8"):
        monkeypatch.setattr(sys, "stdin", stdin)
        peer = Peer(UiInbox, FromUi | FromAny)
        terminal = Terminal(peer.inbox, TextNotices(io.StringIO()), chatting=False)
        peer.inbox.take(0)  # starts its reader

        def end() -> None:
            assert eventually(lambda: terminal._at_prompt)
            peer.send(message)

        thread = threading.Thread(target=end)
        thread.start()
        with pytest.raises(Stopped if isinstance(message, Stop) else KeyboardInterrupt):
            terminal.read_line("")
        thread.join()


@pytest.mark.parametrize("reads", [Terminal.read_all, lambda terminal: terminal.read_line("")])
@pytest.mark.parametrize("whose", ["its own", "the supervisor's"])
def test_an_interrupt_just_before_a_script_reads_is_not_lost(
    whose: str, reads: Callable[[Terminal], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("a line\nanother\n"))
    peer = Peer(UiInbox, FromUi | FromAny)
    terminal = Terminal(peer.inbox, TextNotices(io.StringIO()), chatting=False)
    if whose == "its own":
        signal.raise_signal(signal.SIGINT)
    else:
        peer.send(Interrupt())
        (message,) = peer.inbox.take(20)  # it has arrived
        peer.inbox.post(message)
    with pytest.raises(KeyboardInterrupt):
        reads(terminal)


def test_an_interrupt_ends_a_script_even_when_the_answer_still_came_whole(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("one\ntwo\n"))
    peer = Peer(UiInbox, FromUi | FromAny)
    supervisor = Supervisor(peer, lambda request: [Loaded(request, SESSION, (QUESTION, WHOLE))])
    supervisor.late.append(Interrupt())  # just before the answer
    recorder = Recorder("ui", 0, lambda report: True)
    assert process.main(settings("script"), peer.inbox, peer.outbox, recorder) == ExitCode.OK
    supervisor.join(20)
    assert supervisor.left_with == [ExitCode.INTERRUPTED]
    assert len(supervisor.asks) == 1
    assert capsys.readouterr().out == "next answer\n"


def test_an_interrupt_that_came_between_two_lines_of_a_chat_counts_as_one_at_the_prompt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said = io.StringIO()
    monkeypatch.setattr(sys, "stdin", io.StringIO("a line\n"))
    terminal = Terminal(Peer(UiInbox, FromUi | FromAny).inbox, TextNotices(said), chatting=True)
    terminal._line_before = "what was typed when an earlier one came"
    signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        terminal.read_line("")
    assert not terminal.leaves_on_interrupt()
    assert "Ctrl-C again" in said.getvalue()
    assert terminal.leaves_on_interrupt()


def test_an_interrupt_that_a_turn_has_met_does_not_end_the_script_once_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("a line\n"))
    peer = Peer(UiInbox, FromUi | FromAny)
    terminal = Terminal(peer.inbox, TextNotices(io.StringIO()), chatting=False)
    signal.raise_signal(signal.SIGINT)
    peer.send(Interrupt())
    met = peer.inbox.take(20)
    while len(met) < 2:
        met += peer.inbox.take(20)
    assert [terminal.is_echo(message) for message in met if isinstance(message, Interrupt)] == [
        False,
        True,
    ]
    assert terminal.read_line("") == "a line\n"


def test_what_the_supervisor_passes_on_does_not_disturb_a_person_at_the_prompt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("a line\n"))
    peer = Peer(UiInbox, FromUi | FromAny)
    terminal = Terminal(peer.inbox, TextNotices(io.StringIO()), chatting=True)
    peer.send(Interrupt())
    assert peer.inbox.take(20)
    assert terminal.read_line("") == "a line\n"


def test_ctrl_c_at_the_prompt_ends_the_read_and_elsewhere_is_a_message(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Pressing(io.StringIO):
        def readline(self, size: int | None = -1) -> str:  # type: ignore[override] # as TextIOBase has it
            signal.raise_signal(signal.SIGINT)
            return ""

    monkeypatch.setattr(sys, "stdin", Pressing())
    peer = Peer(UiInbox, FromUi | FromAny)
    terminal = Terminal(peer.inbox, TextNotices(io.StringIO()), chatting=True)
    with pytest.raises(KeyboardInterrupt):
        terminal.read_line("")
    signal.raise_signal(signal.SIGINT)
    (message,) = peer.inbox.take(1)
    assert not terminal.is_echo(message)
