"""Characters, colours and widths of what is drawn: pure.

What comes from a file is made safe here, by `Style.safe`: everything that is drawn goes through it, and only
what this room itself adds may hold an escape sequence.
"""

import unicodedata
from datetime import UTC, datetime

import msgspec

from chatbot.sanitize import one_line

_NARROWEST = 40
_OF_ROLE = {"ui": "36", "supervisor": "35", "store": "33", "worker": "32", "telemetry": "34"}
_DIM, _RED, _BOLD = "2", "31", "1"


class Characters(msgspec.Struct, frozen=True):
    """What a waterfall is drawn with; each one column wide."""

    critical: str
    other: str
    tick: str
    under_way: str
    moment: str
    failed: str
    resent: str
    link: str
    branch: str
    last: str
    trunk: str
    then: str
    dot: str
    more: str
    micro: str


UNICODE = Characters("█", "━", "▏", "╌", "◆", "✗", "↻", "→", "├ ", "└ ", "│ ", "→", "·", "…", "µs")
ASCII = Characters("#", "-", "|", ".", "*", "x", "^", ">", "|-", "`-", "| ", ">", "-", "~", "us")


class Style(msgspec.Struct, frozen=True):
    """How to draw: in so many columns, with colours or without, with what the terminal can show."""

    width: int = 80
    colour: bool = False
    characters: Characters = UNICODE

    @property
    def columns(self) -> int:
        """The width that is drawn in: below the narrowest, lines are longer than the terminal."""
        return max(self.width, _NARROWEST)

    def safe(self, text: str) -> str:
        """Return text from elsewhere on one line, without anything that could drive a terminal."""
        text = one_line(text)
        if self.characters is ASCII and not text.isascii():
            text = text.encode("ascii", "replace").decode()
        return text

    def of_process(self, text: str, role: str) -> str:
        """Return text in the colour of a process."""
        return self._painted(text, _OF_ROLE.get(role, "37"))

    def dim(self, text: str) -> str:
        """Return text that is less important."""
        return self._painted(text, _DIM)

    def alarm(self, text: str) -> str:
        """Return text that is about an error."""
        return self._painted(text, _RED)

    def strong(self, text: str) -> str:
        """Return text that is more important."""
        return self._painted(text, _BOLD)

    def fit(self, text: str, width: int) -> str:
        """Return safe text in exactly so many columns: cut, or filled up with spaces."""
        if columns_of(text) > width:
            kept: list[str] = []
            room = width - 1
            for character in text:
                room -= columns_of(character)
                if room < 0:
                    break
                kept.append(character)
            text = "".join(kept) + self.characters.more
        return text + " " * (width - columns_of(text))

    def wrapped(self, first: str, parts: list[str], between: str, indent: int) -> list[str]:
        """Return parts on as few lines as they need, the later lines indented."""
        lines = [first]
        for place, part in enumerate(parts):
            lead = between if place else ""
            after = between.rstrip() if place + 1 < len(parts) else ""
            if columns_of(lines[-1] + lead + part + after) > self.columns and place:
                lines[-1] += between.rstrip()
                lines.append(" " * indent + part)
            else:
                lines[-1] += lead + part
        return [line if columns_of(line) <= self.columns else self.cut(line) for line in lines]

    def cut(self, text: str) -> str:
        """Return text that is not wider than the drawing."""
        return self.fit(text, self.columns).rstrip() if columns_of(text) > self.columns else text

    def duration(self, ns: float) -> str:
        """Return a duration in the unit that a person would say it in."""
        if ns < 999_500:
            return f"{ns / 1_000:.0f} {self.characters.micro}"
        if ns < 10_000_000:
            return f"{ns / 1_000_000:.1f} ms"
        if ns < 999_500_000:
            return f"{ns / 1_000_000:.0f} ms"
        if ns < 99_995_000_000:
            return f"{ns / 1_000_000_000:.2f} s"
        seconds = round(ns / 1_000_000_000)
        if seconds < 3600:
            return f"{seconds // 60} m {seconds % 60:02} s"
        return f"{seconds // 3600} h {seconds // 60 % 60:02} m"

    def _painted(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour and text else text


def columns_of(text: str) -> int:
    """Return how many columns a terminal needs for safe text."""
    if text.isascii():
        return len(text)
    return sum(
        0
        if unicodedata.combining(c) or unicodedata.category(c) in ("Cf", "Me", "Mn")
        else 2
        if unicodedata.east_asian_width(c) in "WF"
        else 1
        for c in text
    )


def moment(time_ns: int) -> str:
    """Return a time, local, to the millisecond."""
    try:
        at = datetime.fromtimestamp(time_ns / 1e9, UTC).astimezone()
    except (OSError, OverflowError, ValueError):  # a clock that was far off has written it
        return "(no such time)"
    return at.isoformat(" ", "milliseconds")[:23]


def counted(count: int, noun: str) -> str:
    """Return a number with its noun."""
    return f"{count} {noun}{'' if count == 1 else 'es' if noun.endswith('s') else 's'}"


def characters_for(encoding: str | None) -> Characters:
    """Return the characters that an encoding has."""
    try:
        "".join(getattr(UNICODE, name) for name in UNICODE.__struct_fields__).encode(
            encoding or "ascii"
        )
    except (LookupError, UnicodeEncodeError):
        return ASCII
    return UNICODE
