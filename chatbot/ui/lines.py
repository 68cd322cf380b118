"""Styled lines of text: what every part of the chat draws with, before it becomes a terminal's. Pure.

A line is a tuple of fragments, a fragment a style and its text. A style is words of prompt_toolkit's
own style language (https://python-prompt-toolkit.readthedocs.io/en/stable/pages/advanced_topics/styling.html):
`bold`, `dim`, `italic`, `underline`, `strike`, `reverse`, and the sixteen colours that a terminal's owner has
chosen (`ansired`, `ansibrightblue` …; `bg:ansi…` behind the text). So the same line can be painted by
prompt_toolkit while it changes, and be written into the scrollback once it does not.

Whatever is written comes through `ansi`, which makes the text of each fragment safe: no sequence but our
own can get to the terminal.
"""

import re
from collections.abc import Iterable, Sequence
from functools import cache

from chatbot.sanitize import sanitize

Fragment = tuple[str, str]
Line = tuple[Fragment, ...]

_TAB = "    "
_ATTRIBUTES = {"bold": 1, "dim": 2, "italic": 3, "underline": 4, "reverse": 7, "strike": 9}
_COLOURS = ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "gray")
_BRIGHT = (
    "brightblack",
    "brightred",
    "brightgreen",
    "brightyellow",
    "brightblue",
    "brightmagenta",
    "brightcyan",
    "white",
)
_COLOUR = re.compile(r"(?:fg:|(bg:))?ansi(\w+)")


def line(text: str, style: str = "") -> Line:
    """Return a line in one style."""
    return ((style, text),)


def plain(styled: Line) -> str:
    """Return the text of a line alone."""
    return "".join(text for _, text in styled)


def safe(styled: Line) -> Line:
    """Return a line whose text can neither drive a terminal nor end the line, and is as wide wherever it stands."""
    return tuple((style, _flat(sanitize(text))) for style, text in styled if text)


def ansi(styled: Line, *, colour: bool) -> str:
    """Return a line as what a terminal is sent: safe text between SGR sequences (ECMA-48, 8.3.117).

    Without `colour` what is left are attributes such as bold. There is no newline at its end.
    """
    parts: list[str] = []
    for style, text in safe(styled):
        codes = sgr(style, colour=colour)
        parts.append(f"\x1b[{codes}m{text}\x1b[0m" if codes else text)
    return "".join(parts)


@cache
def sgr(style: str, *, colour: bool) -> str:
    """Return the parameters of the SGR sequence for a style; empty for none. Raises ValueError for a
    word that is none of ours."""
    codes: list[int] = []
    for word in style.split():
        if word in _ATTRIBUTES:
            codes.append(_ATTRIBUTES[word])
            continue
        match = _COLOUR.fullmatch(word)
        if match is None:
            raise ValueError(f"not a word of a style: {word!r}")
        if colour:
            codes.append(_colour(match[2]) + (10 if match[1] else 0))
    return ";".join(map(str, codes))


def without_colour(style: str) -> str:
    """Return a style with nothing but its attributes."""
    return " ".join(word for word in style.split() if word in _ATTRIBUTES)


def joined(lines: Iterable[Line], *, colour: bool, end: str = "\n") -> str:
    """Return lines as one text for the terminal, each with its end."""
    return "".join(ansi(each, colour=colour) + end for each in lines)


def styled(lines: Sequence[str], style: str = "") -> tuple[Line, ...]:
    """Return texts as lines in one style."""
    return tuple(((style, text),) for text in lines)


def _colour(name: str) -> int:
    if name in _COLOURS:
        return 30 + _COLOURS.index(name)
    if name in _BRIGHT:
        return 90 + _BRIGHT.index(name)
    raise ValueError(f"not a colour: {name!r}")


def _flat(text: str) -> str:
    return text.replace("\n", " ").replace("\t", _TAB)
