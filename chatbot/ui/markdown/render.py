"""A piece of Markdown → styled lines of a certain width. What it stands on is loaded with it: `warm` in time.

No line has spaces at its end, a frame or a colour behind it: what is selected with a mouse is the text.
Code stands at the margin, between its dim fences.
"""

from collections.abc import Iterator

from chatbot.ui.lines import Fragment, Line
from chatbot.ui.markdown.blocks import Piece
from chatbot.ui.markdown.code import language
from chatbot.ui.markdown.highlight import highlighted
from chatbot.ui.markdown.inline import styled
from chatbot.ui.markdown.table import table, trimmed
from chatbot.ui.markdown.wrap import cut, merged, width, wrap

MARKS = "dim"
_HEADINGS = {1: "bold underline ansimagenta", 2: "bold ansimagenta", 3: "bold"}
_LOWEST = "bold italic"
_BULLETS = "•◦▪"
_QUOTE = "│ "
_RULE = "─"
_RULE_COLUMNS = 40
_TASKS = {"[ ] ": "☐ ", "[x] ": "☑ ", "[X] ": "☑ "}
# Text is not squeezed into less than this by what stands left of it
_NARROWEST = 12
_NARROWEST_TERMINAL = 4
_CODE_INDENT = 2


def lines(piece: Piece, columns: int, lead: Line = ()) -> tuple[Line, ...]:
    """Lay out a piece, with the empty line before it if it has one.

    `lead` stands before its first word if it is a paragraph or heading, else on a line of its own.
    """
    columns = max(columns, _NARROWEST_TERMINAL)
    first, others = _margins(piece, columns)
    left = columns - width(others)
    laid: list[Line] = []
    if piece.gap:
        laid.append(trimmed(_margin(_quotes(piece))))
    taken = sum(width(text) for _, text in lead)
    if lead and (piece.path or piece.kind not in ("paragraph", "heading") or taken > left - 4):
        laid += (trimmed(each) for each in wrap(lead, columns))
        lead = ()
    for number, line in enumerate(_laid(piece, left, lead)):
        laid.append(trimmed(merged((*_margin(others if number else first), *line))))
    return tuple(laid)


def _laid(piece: Piece, columns: int, lead: Line) -> Iterator[Line]:
    match piece.kind:
        case "paragraph":
            task = _TASKS.get(piece.text[:4], "") if piece.path and piece.path[-1].new else ""
            text = piece.text[4:] if task else piece.text
            yield from _words((*((("", task),) if task else ()), *styled(text)), columns, lead)
        case "heading":
            style = _HEADINGS.get(piece.level, _LOWEST)
            yield from _words(styled(piece.text, style), columns, lead)
        case "code":
            yield from _code(piece, columns)
        case "table":
            yield from table(piece.text, columns)
        case "rule":
            yield ((MARKS, _RULE * min(columns, _RULE_COLUMNS)),)
        case "verbatim":
            yield from cut((("", piece.text.expandtabs(4)),), columns)


def _words(fragments: tuple[Fragment, ...], columns: int, lead: Line) -> Iterator[Line]:
    laid = wrap(fragments, columns, columns - sum(width(text) for _, text in lead))
    yield (*lead, *laid[0])
    yield from laid[1:]


def _code(piece: Piece, columns: int) -> Iterator[Line]:
    if piece.opens and piece.fence:
        info = piece.info.expandtabs(1)
        yield from cut(((MARKS, piece.fence + info),), columns)
    if piece.text:
        for line in highlighted(piece.text, language(piece.info)):
            yield from cut(line, columns)
    if piece.closes:
        yield from cut(((MARKS, piece.fence),), columns)


def _margins(piece: Piece, columns: int) -> tuple[str, str]:
    """Return what stands left of the first line of a piece, and of its others."""
    first, others, depth = "", "", 0
    for step in piece.path:
        if step.marker == ">":
            mark = after = _QUOTE
        else:
            mark = (
                _BULLETS[depth % len(_BULLETS)] + " " if step.marker == "-" else step.marker + " "
            )
            after = " " * len(mark)
            depth += 1
        first += mark if step.new else after
        others += after
    if piece.kind in ("code", "table") and first == others and not first.strip():
        first = others = others[:_CODE_INDENT]
    room = max(columns - _NARROWEST, columns // 3)
    if len(others) > room:
        # The innermost marker is what tells most
        first, others = first[-room:], others[-room:]
    return first, others


def _quotes(piece: Piece) -> str:
    """Return what stands left of the empty line before a piece: the quotes that went on there."""
    text = ""
    for step in piece.path:
        if step.new:
            break
        text += _QUOTE if step.marker == ">" else " " * (len(step.marker) + 1)
    return text.rstrip()


def _margin(text: str) -> Line:
    return (("" if text.isspace() else MARKS, text),) if text else ()


def warm() -> None:
    """Load what a first answer needs, so that its first frame need not wait."""
    styled("**bold** and `code`")
    for _ in highlighted("print()\n", "python"):
        pass
