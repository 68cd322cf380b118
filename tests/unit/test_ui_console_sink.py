"""Whatever a model says, the terminal gets no sequence but our own, and shows every word."""

import re

import pyte
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatbot.messages import Answered, Completion, Failed, Session, StoredMessage, Target
from chatbot.ui.console.notices import ConsoleNotices
from chatbot.ui.console.view import ConsoleView
from chatbot.ui.lines import Line, joined
from tests.screens import FakeScreen

EVIL = [
    *("\x1b]0;owned\x07", "\x1b[2J", "\x1b[1;1H", "\x1bc", "\x9b31m", "\x1b[?1049h", "\x1b]52;c;eA==\x07"),
    *("\x1b", "[", "]", "\x9b", "\r", "\x08", "\x7f", "\x00", "\u202e", "\x1bP", "\x1b\\", "\n", "\n\n"),
    *("word ", "**b** ", "`c` ", "```\n", "- ", "# ", "| a | b |\n|---|---|\n", "日本", "[x](http://y) "),
]  # fmt: skip
TARGET = Target("sim", "\x1b[31mmodel")
OURS = re.compile(r"\x1b\[[0-9;]*m")
PIECES = st.lists(st.tuples(st.sampled_from(EVIL), st.booleans()), max_size=25)


class Bell(pyte.Screen):
    """A terminal that notices what it should not be told."""

    told: str = ""

    def set_title(self, param: str) -> None:
        self.told += f"title {param} "

    def bell(self, *args: object) -> None:
        self.told += "bell "

    def reset(self) -> None:
        super().reset()
        self.told += "reset "


def harmless(text: str) -> None:
    """Assert that a text has nothing in it for a terminal but our styles and the ends of its lines."""
    bare = OURS.sub("", text)
    assert not [c for c in bare if (ord(c) < 32 and c != "\n") or 0x7F <= ord(c) < 0xA0], bare
    screen = Bell(200, 50)
    screen.told = ""
    pyte.Stream(screen).feed("fence\r\n" + text.replace("\n", "\r\n"))
    assert screen.told == ""
    assert screen.mode == Bell(200, 50).mode


def talk(pieces: list[tuple[str, bool]], *, columns: int, colour: bool) -> str:
    """Return all that a turn, a fan-out and a replay of this are written as, live parts too."""
    screen = FakeScreen(columns)
    view = ConsoleView(screen, colour=colour)
    painted: list[Line] = []

    def paint() -> None:
        if screen.live is not None:
            finished, tail = screen.live.frame(columns, 20)
            screen.lines += finished
            painted.extend(tail)

    text = "".join(piece for piece, reasoning in pieces if not reasoning)
    view.begin("r", "s", TARGET)
    for piece, reasoning in pieces:
        view.delta("r", piece, reasoning=reasoning)
        paint()
    view.aside(text)
    view.end(Answered("r", 1, Completion(text, "\x1b[2Jm")), text)
    view.begin_fan([("r1", TARGET), ("r2", TARGET)], "s")
    for piece, reasoning in pieces:
        view.delta("r2", piece, reasoning=reasoning)
        paint()
    view.end(Failed("r1", 1, "server_error", text, text=text), "")
    view.end(Answered("r2", 1, Completion(text)), text)
    paint()
    view.end_fan()
    for stored in (
        StoredMessage("user", text, "complete", 0.0),
        StoredMessage("assistant", text, "failed", 0.0, error=text),
    ):
        view.message("s", stored, unanswered=False, sibling=text)
    view.heading(Session(text, text, 0.0, text, text))
    view.thoughts(text)
    ConsoleNotices(screen).block(text)
    assert screen.live is None
    return joined((*screen.lines, *painted), colour=colour)


@settings(deadline=None, max_examples=150)
@given(PIECES, st.sampled_from([20, 80, 130]), st.booleans())
def test_nothing_but_our_own_styles_gets_to_the_terminal(
    pieces: list[tuple[str, bool]], columns: int, colour: bool
) -> None:
    harmless(talk(pieces, columns=columns, colour=colour))


@pytest.mark.parametrize("leak", ["\x1b[2J", "\x07", "\x9b31m"])
def test_a_leak_would_be_noticed(leak: str) -> None:
    with pytest.raises(AssertionError):
        harmless(f"text {leak} text")
