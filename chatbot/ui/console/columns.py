"""Lines in a given room: cut, wrapped, side by side, one above the other. Pure.

A width is a number of a terminal's cells, character by character, as the painter of the live part counts them:
wide ones have two, combining ones none.
"""

from collections.abc import Sequence
from functools import lru_cache

from chatbot.sanitize import sanitize
from chatbot.ui.lines import Fragment, Line, plain

LEAST = 36  # cells: an answer in less cannot be read
BETWEEN = " │ "
_TAB = "    "


@lru_cache(4096)
def _cells(character: str) -> int:
    from wcwidth import wcwidth  # 10 ms, which the first prompt is not to wait for

    return max(0, wcwidth(character))


def width(text: str) -> int:
    """Return how many cells a text takes."""
    return len(text) if text.isascii() else sum(map(_cells, text))


def width_of(line: Line) -> int:
    """Return how many cells a line takes."""
    return sum(width(text) for _, text in line)


def shown(text: str) -> str:
    """Return text as it will be shown, so that it can be measured: safe, with spaces for tabs."""
    return sanitize(text).replace("\t", _TAB)


def cut(line: Line, columns: int, mark: str = "…") -> Line:
    """Return a line that fits, with a mark at its end where something is missing."""
    if width_of(line) <= columns:
        return line
    left = columns - width(mark)
    kept: list[Fragment] = []
    for style, text in line:
        part, rest = _split(text, left)
        kept.append((style, part))
        left -= width(part)
        if rest:
            return (*kept, (style, mark[:columns]))
    return tuple(kept)


def padded(line: Line, columns: int) -> Line:
    """Return a line of exactly this width."""
    fitting = cut(line, columns)
    missing = columns - width_of(fitting)
    return (*fitting, ("", " " * missing)) if missing else fitting


def wrapped(text: str, columns: int) -> list[str]:
    """Return text in rows of at most so many cells, cut behind a space where there is one."""
    rows: list[str] = []
    for each in shown(text).split("\n"):
        rest = each
        while width(rest) > columns:
            row, after = _split(rest, max(columns, 2))
            space = row.rfind(" ") + 1
            if space > 1 and not after.startswith(" "):
                row, after = rest[:space], rest[space:]
            rows.append(row.rstrip())
            rest = after.lstrip(" ")
        rows.append(rest)
    return rows


def reflowed(line: Line, columns: int) -> list[Line]:
    """Return a line in rows that fit, all in the style of its beginning."""
    style = line[0][0] if line else ""
    return [((style, row),) for row in wrapped(plain(line), columns)]


def is_side_by_side(count: int, columns: int) -> bool:
    """Whether so many texts have room beside each other."""
    return _each(count, columns) >= LEAST


def widths(count: int, columns: int) -> list[int]:
    """Return how wide each of so many texts is: beside each other where there is room for it, and else
    all of the width."""
    if not is_side_by_side(count, columns):
        return [columns] * count
    each = _each(count, columns)
    spare = columns - count * each - width(BETWEEN) * (count - 1)
    return [each + (place < spare) for place in range(count)]


def beside(parts: Sequence[Sequence[Line]], each: Sequence[int]) -> list[Line]:
    """Return texts beside each other, the shorter ones with nothing at their end."""
    rows: list[Line] = []
    for place in range(max(map(len, parts), default=0)):
        row: list[Fragment] = []
        for number, (part, columns) in enumerate(zip(parts, each, strict=True)):
            if number:
                row.append(("dim", BETWEEN))
            row += padded(part[place] if place < len(part) else (), columns)
        rows.append(_stripped(row))
    return rows


def shares(wants: Sequence[int], rows: int) -> list[int]:
    """Return how many of the rows each gets: what it wants where all have room, and else nobody more than
    another who wants more too."""
    given = [0] * len(wants)
    left = max(0, rows)
    open_ = [place for place, want in enumerate(wants) if want > 0]
    while left and open_:
        each = max(1, left // len(open_))
        for place in list(open_):
            more = min(each, wants[place] - given[place], left)
            given[place] += more
            left -= more
            if given[place] == wants[place]:
                open_.remove(place)
    return given


def _each(count: int, columns: int) -> int:
    return (columns - width(BETWEEN) * (count - 1)) // max(1, count)


def _split(text: str, columns: int) -> tuple[str, str]:
    """Return the part of a text that fits, and the rest."""
    if text.isascii():
        return text[: max(0, columns)], text[max(0, columns) :]
    taken = 0
    for place, character in enumerate(text):
        taken += _cells(character)
        if taken > columns:
            return text[:place], text[place:]
    return text, ""


def _stripped(row: list[Fragment]) -> Line:
    """Return a row without spaces at its end: a terminal that gets narrower would wrap them."""
    while row and not row[-1][0] and not row[-1][1].strip(" "):
        row.pop()
    if row and row[-1][1] == BETWEEN:
        row[-1] = (row[-1][0], BETWEEN.rstrip())
    return tuple(row)
