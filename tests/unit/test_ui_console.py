"""The console between its two threads, without a terminal."""

import asyncio
import contextvars
from typing import Any

import pytest

from chatbot.ui.console.console import Console
from chatbot.ui.console.stage import Stage
from chatbot.ui.events import Left, Pressed, Typed
from chatbot.ui.lines import line
from chatbot.ui.live import Frame


class FakeStage:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.failures: list[BaseException] = []

    def fail(self, error: BaseException) -> None:
        self.failures.append(error)

    def wake(self) -> None:
        """There is nothing to be drawn."""

    wake_later = wake


class Broken:
    """Something live that cannot be drawn."""

    def frame(self, columns: int, rows: int) -> Frame:
        raise ZeroDivisionError


@pytest.fixture
def posted() -> list[Typed | Pressed | Left]:
    return []


@pytest.fixture
def console(posted: list[Typed | Pressed | Left]) -> Console:
    return Console(
        posted.append,
        colour=False,
        history_file="",
        toolbar=lambda columns: line("state"[:columns]),
        complete=lambda before: (),
    )


def test_only_presses_that_nobody_heard_in_one_wait_end_the_program(console: Console) -> None:
    stage: Any = FakeStage()
    console._stage = stage
    for _ in range(5):  # late ones: what they were to stop was over
        console.pressed()
        console.pressed()
        console.ask("You: ")
        console.busy()
    assert not stage.failures
    for _ in range(3):
        console.pressed()
    assert [type(error) for error in stage.failures] == [KeyboardInterrupt]


def test_enter_alone_ends_what_is_watched_and_is_no_history(
    console: Console, posted: list[Typed | Pressed | Left]
) -> None:
    console.busy()
    assert not console.typed("")
    assert posted == [Typed("")]


def test_nothing_that_waits_is_lost_with_a_frame_that_fails(
    console: Console, capsys: pytest.CaptureFixture[str]
) -> None:
    console.write([line("one")])
    console.show(Broken())
    with pytest.raises(ZeroDivisionError):
        console.take(80, 24)
    console.write([line("two")])
    console._end()
    assert capsys.readouterr().out == "one\ntwo\n"


def test_what_is_written_when_the_terminal_has_hung_up_is_kept_for_the_end(
    console: Console, capsys: pytest.CaptureFixture[str]
) -> None:
    stage = Stage(console, colour=False, complete=lambda before: ())
    loop = asyncio.new_event_loop()
    loop.close()
    stage._loop, stage.app.context = loop, contextvars.copy_context()
    console._stage = stage
    capsys.readouterr()
    console.write([line("written")])
    console.show(None, [line("finished")])
    console.ask("You: ")
    console.give_back(["text"])
    assert console.edit("text") is None
    console._end()
    assert capsys.readouterr().out == "written\nfinished\n"
