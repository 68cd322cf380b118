"""Whatever a model says, a terminal meets nothing but text, ends of lines, tabs and our own colours.

A million pieces of hostile text, cut anywhere, go through every way to the terminal; what comes out of it
is read by pyte, which tells of all that is not text, and once more by a regular expression.

Another sink is one more function in SINKS: it takes the pieces in batches and a terminal to write to, and
yields behind each batch, for what was written to be read.
"""

import io
import random
import re
import unicodedata
from collections.abc import Callable, Iterable
from typing import Any

import pyte
import pytest

from chatbot.messages import Target
from chatbot.ui import lines
from chatbot.ui.view import Notices, TextView

PIECES = 200_000  # for each sink
BATCH = 5_000
SEED = 20_250_731

STYLES = (
    "",
    "bold",
    "dim italic",
    "ansired",
    "bold ansibrightblue bg:ansiwhite",
    "reverse underline strike",
)
SEQUENCES = (
    "\x1b]0;title\x07", "\x1b]52;c;ZXZpbA==\x1b\\", "\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "\x1b[2J\x1b[H",
    "\x1b[?1049h", "\x1b[31m", "\x1b[6n", "\x1b[c", "\x1bc", "\x1b#8", "\x1b(0", "\x1bP+q544e\x1b\\", "\x1b_Gf=100;AA\x1b\\",
    "\x1b%G", "\x9b31m", "\x9b2J", "\x9d0;title\x9c", "\x90q\x9c", "\x85", "\x84", "\x8d", "\x1b[201~", "\x1b[200~", "\x1bD",
    "\x1bM", "\x1b7\x1b8", "\x1b[1;5r", "\x1b[4h", "\x1b[20l", "\x1b[5i", "\x1b]1337;File=:AA==\x07", "\x0e", "\x0f", "\x08\x08",
    "\r", "\r\n", "\x0b", "\x0c", "\x7f", "\x07", "\x05", "\x00", "\x18", "\x1a", "\u202eevil\u202c", "\u2066x\u2069", "\u2028", "\u2029",
    "\U000e0041\U000e007f", "\ud83d", "\udc9b", "\ufeff", "\u200b", "\u061c", "\u200f", "\ufffe", "\U0010ffff", "\u206e",
    "👩\u200d💻", "❤\ufe0f", "e\u0301\u0302\u0303", "日本語", "\n", "\t", "    ", "```\n", "**bold**", "plain words ", "0;", "31m", "[", "]", "m",
)  # fmt: skip


def hostile(pieces: int, seed: int) -> Iterable[list[str]]:
    """Return pieces of hostile text in batches; cut so that sequences begin in one and end in another."""
    chance = random.Random(seed)
    for _ in range(0, pieces, BATCH):
        words = chance.choices(SEQUENCES, k=BATCH)
        for _ in range(BATCH // 3):
            at = chance.randrange(BATCH)
            words[at] += chr(chance.choice((chance.randrange(0x110000), chance.randrange(0x300))))
        text = "".join(words)
        cuts = sorted(chance.sample(range(1, len(text)), BATCH - 1))
        yield [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]


class Told:
    """Stands for pyte's screen: counts what a terminal is told to do, and keeps the colours."""

    def __init__(self) -> None:
        self.events: dict[str, int] = {}
        self.colours: set[tuple[int, ...]] = set()
        self.drawn = 0

    def draw(self, text: str) -> None:
        """Text: some of its characters may still be no text."""
        self.drawn += len(text)
        if any(drives(character) for character in set(text)):
            self.events["draw what is no text"] = 1

    def select_graphic_rendition(self, *codes: int, **_: Any) -> None:
        """A colour or an attribute."""
        self.colours.add(codes)

    def __getattr__(self, name: str) -> Callable[..., None]:
        def tell(*_: object, **__: object) -> None:
            self.events[name] = self.events.get(name, 0) + 1

        return tell


def read_by(told: Any) -> pyte.Stream:
    """Return what reads as a terminal does, and tells of it."""
    return pyte.Stream(told)


def drives(character: str) -> bool:
    """Whether a terminal, or who reads it, would do something else with it than show it."""
    code = ord(character)
    return (
        unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")
        or 0x202A <= code <= 0x202E
        or 0x2066 <= code <= 0x206F
        or 0xE0000 <= code <= 0xE007F
    )


class Tty(io.StringIO):
    """A terminal that keeps what is written to it, surrogates too."""

    def isatty(self) -> bool:
        """It is one."""
        return True


Batches = Iterable[list[str]]
Sink = Callable[[Batches, Tty], Iterable[None]]


def answers(batches: Batches, tty: Tty) -> Iterable[None]:
    """The answer as it streams into TextView."""
    view = TextView(tty, Notices(io.StringIO()), chatting=True)
    for batch in batches:
        view.begin("r", "s", Target("sim", "sim"))
        for piece in batch:
            view.delta("r", piece, reasoning=False)
        view.leave()
        yield


def thoughts(batches: Batches, tty: Tty) -> Iterable[None]:
    """Thinking, which goes to the notices' stream piece by piece."""
    view = TextView(io.StringIO(), Notices(tty), chatting=True)
    for batch in batches:
        view.begin("r", "s", Target("sim", "sim"))
        for piece in batch:
            view.delta("r", piece, reasoning=True)
        view.leave()
        yield


def notices(batches: Batches, tty: Tty) -> Iterable[None]:
    """Lines such as errors, and blocks of them."""
    said = Notices(tty)
    for number, batch in enumerate(batches):
        for piece in batch:
            (said.say if number % 2 else said.block)(piece)
        yield


def plain_lines(batches: Batches, tty: Tty) -> Iterable[None]:
    """Styled lines, without colours."""
    return _lines(batches, tty, colour=False)


def coloured_lines(batches: Batches, tty: Tty) -> Iterable[None]:
    """Styled lines, with our own colours in between."""
    return _lines(batches, tty, colour=True)


def _lines(batches: Batches, tty: Tty, *, colour: bool) -> Iterable[None]:
    for batch in batches:
        for at in range(0, len(batch), 5):
            styled = tuple(zip(STYLES, batch[at : at + 5], strict=False))
            tty.write(lines.joined([styled], colour=colour))
        yield


SINKS: tuple[Sink, ...] = (answers, thoughts, notices, plain_lines, coloured_lines)
COLOURED = (plain_lines, coloured_lines)  # these have styles of their own; the others have none
OWN_CODES = {0, 1, 2, 3, 4, 7, 9, *range(30, 38), *range(40, 48), *range(90, 98), *range(100, 108)}


@pytest.mark.parametrize("sink", SINKS, ids=lambda sink: sink.__name__)
def test_no_piece_of_text_tells_a_terminal_anything(sink: Sink) -> None:
    print(f"seed {SEED}")  # noqa: T201 - shown with a failure
    tty, told = Tty(), Told()
    stream = read_by(told)
    for _ in sink(hostile(PIECES, SEED), tty):
        written = tty.getvalue()
        tty.seek(0)
        tty.truncate()
        stream.feed(written)
        left = re.sub(r"\x1b\[[0-9;]*m", "", written)
        assert not {character for character in set(left) if drives(character)} - {"\n", "\t"}
    assert set(told.events) <= {"linefeed", "tab"}
    codes = {code for colours in told.colours for code in colours}
    assert codes <= OWN_CODES if sink in COLOURED else not told.colours
    assert told.drawn > PIECES


def test_the_terminal_of_these_tests_tells_of_what_gets_through() -> None:
    told = Told()
    read_by(told).feed("\x1b[2J\x9b31m\x1b]0;x\x07\x08\u202e")
    assert {"erase_in_display", "set_title", "backspace", "draw what is no text"} <= set(
        told.events
    )
    assert told.colours == {(31,)}
