"""A table → lines of a certain width: cells wrap, and where even that has no room each row is a list."""

from collections.abc import Iterator

from chatbot.ui.lines import Fragment, Line
from chatbot.ui.markdown.inline import styled
from chatbot.ui.markdown.syntax import cells
from chatbot.ui.markdown.wrap import merged, width, wrap

_BETWEEN = " │ "
_CROSS = "─┼─"
_RULE = "dim"
# A column narrower than this is no help to read
_NARROWEST = 6

Cell = tuple[Fragment, ...]


def table(text: str, columns: int) -> Iterator[Line]:
    """Lay out a table: its first row, the delimiters, the other rows."""
    first, delimiters, *others = text.split("\n")
    head = [styled(cell, "bold") for cell in cells(first)]
    sides = [_side(cell) for cell in cells(delimiters)]
    rows = [_row(row, len(head)) for row in others]
    widths = _widths([head, *rows], columns - len(_BETWEEN) * (len(head) - 1))
    if not widths:
        yield from _listed(head, rows, columns)
        return
    yield from _laid(head, widths, sides)
    yield ((_RULE, _CROSS.join("─" * each for each in widths)),)
    for row in rows:
        yield from _laid(row, widths, sides)


def _row(text: str, count: int) -> list[Cell]:
    found = cells(text)
    # No word is lost where a row has more cells than the first
    if len(found) > count:
        found[count - 1 :] = [" | ".join(found[count - 1 :])]
    return [styled(cell) for cell in found] + [()] * (count - len(found))


def _side(delimiter: str) -> str:
    if delimiter.endswith(":"):
        return "center" if delimiter.startswith(":") else "right"
    return "left"


def _natural(cell: Cell) -> int:
    return max((sum(width(text) for _, text in line) for line in _lines(cell)), default=0)


def _lines(cell: Cell) -> Iterator[list[Fragment]]:
    line: list[Fragment] = []
    for style, text in cell:
        if text == "\n":
            yield line
            line = []
        else:
            line.append((style, text))
    yield line


def _widths(rows: list[list[Cell]], columns: int) -> list[int]:
    """Return the widths of a table's columns, the widest made narrower until all fit; none if they cannot."""
    natural = [max(1, *map(_natural, column)) for column in zip(*rows, strict=True)]
    if sum(natural) <= columns:
        return natural
    if sum(min(each, _NARROWEST) for each in natural) > columns:
        return []
    # The most that a column may have, so that all together fit
    low, high = 1, columns
    while low < high:
        most = (low + high + 1) // 2
        if sum(min(each, most) for each in natural) <= columns:
            low = most
        else:
            high = most - 1
    widths = [min(each, low) for each in natural]
    spare = columns - sum(widths)
    for number, each in enumerate(natural):
        if spare and each > widths[number]:
            widths[number] += 1
            spare -= 1
    return widths


def _laid(row: list[Cell], widths: list[int], sides: list[str]) -> Iterator[Line]:
    wrapped = [wrap(cell, each) for cell, each in zip(row, widths, strict=True)]
    for number in range(max(map(len, wrapped))):
        line: list[Fragment] = []
        for column, lines in enumerate(wrapped):
            part = lines[number] if number < len(lines) else ()
            spare = max(widths[column] - sum(width(text) for _, text in part), 0)
            before = {"left": 0, "center": spare // 2, "right": spare}[sides[column]]
            after = spare - before
            if column:
                line.append((_RULE, _BETWEEN))
            line += [("", " " * before), *part, ("", " " * after)]
        yield trimmed(merged(line))


def trimmed(line: Line) -> Line:
    """Return a line without spaces at its end."""
    while line:
        style, text = line[-1]
        line = line[:-1]
        if text := text.rstrip(" "):
            return (*line, (style, text))
    return line


def _listed(head: list[Cell], rows: list[list[Cell]], columns: int) -> Iterator[Line]:
    if not rows:
        for cell in head:
            yield from wrap(cell, columns)
    for number, row in enumerate(rows):
        if number:
            yield ((_RULE, "─" * min(columns, _NARROWEST)),)
        for name, cell in zip(head, row, strict=True):
            yield from wrap((*name, ("bold", ": "), *cell) if name else cell, columns)
