"""Lines of Markdown → pieces, each final as soon as it is there: pure.

A piece is a heading, a paragraph, a part of a block of code, some rows of a table …, with the path of
lists and quotes it stands in. The scanner takes text in any cut and looks at each line once. Whether a
piece ends depends on the text alone, so the pieces are the same however it was cut; and no piece grows
with the text: what is long is cut at a place that its beginning decides.

It follows CommonMark (https://spec.commonmark.org/0.31.2/), except where models write otherwise: a list in
a list may be indented too much or too little, a fence in a list ends with its closing fence only, dashes
below a long paragraph are a rule, and definitions of link references are not resolved, so that nothing
changes what was there before it.
"""

import copy
from typing import Literal, NamedTuple

from chatbot.ui.markdown.syntax import (
    DELIMITERS,
    FENCE,
    FORMULAS,
    HEADING,
    HTML,
    ITEM,
    RULE,
    UNDECIDED,
    UNDERLINE,
    cells,
    closes,
    indented,
    is_first_row,
    is_prefix_of_fence,
    without,
)

# Where a piece is cut at the latest, in characters; a line that is longer is taken in parts.
LIMIT = 4096
# A block of code is cut from here on before a line that begins at its margin, in lines …
CODE_SOON = 48
# … and here before any.
CODE_LATEST = 96
# Rows of a table in a piece.
ROWS = 32
# Lists and quotes in one another; what is deeper is text.
DEEPEST = 24

Kind = Literal["paragraph", "heading", "code", "table", "rule", "verbatim"]


class Step(NamedTuple):
    """A list item or a quote around a piece.

    `marker` is `>`, `-`, or a number with what follows it. `new`: the piece is the first in it.
    """

    marker: str
    new: bool


class Piece(NamedTuple):
    """What is laid out as one. `gap`: an empty line stands before it.

    The text of code is whole lines, each with its newline, unless a line was cut; `fence` is empty for code
    that is only indented. `opens` and `closes`: the fence stands before it, and after it. The text of a table has its first row
    and the delimiters first.
    """

    kind: Kind
    text: str
    gap: bool
    path: tuple[Step, ...] = ()
    level: int = 0
    fence: str = ""
    info: str = ""
    opens: bool = False
    closes: bool = False


class _Container(NamedTuple):
    """An open list item or quote: where it began, and where what belongs to it begins, in columns."""

    marker: str
    at: int = 0
    offset: int = 0
    shown: bool = False


class Scanner:
    """Cuts text into pieces. `feed` and `end` return what became final; `rest` what would, were this the end."""

    def __init__(self) -> None:
        self._partial = ""
        self._containers: list[_Container] = []
        self._lists: list[
            tuple[str, int]
        ] = []  # by depth: the delimiter and number of its last item
        self._leaf: Literal["", "paragraph", "code", "table", "verbatim"] = ""
        self._lines: list[str] = []
        self._size = 0
        self._fence, self._info, self._margin = "", "", 0
        self._opens = False  # the open fence was not in a piece yet
        # What stands between the last line, if that was a part of one only, and the next part
        self._cut: str | None = None
        self._blank = False  # an empty line came since the last piece
        self._last: Kind | None = None
        self._pieces: list[Piece] = []

    def feed(self, text: str) -> list[Piece]:
        """Take some text."""
        lines = (self._partial + text).split("\n")
        self._partial = lines.pop()
        for line in lines:
            self._whole(line)
        while len(self._partial) > LIMIT:
            self._partial = self._part(self._partial)
        return self._taken()

    def end(self) -> list[Piece]:
        """Take the end of the text. The scanner is not used again."""
        if self._partial:
            self._whole(self._partial)
        self._close()
        self._leave(0)
        return self._taken()

    def rest(self) -> list[Piece]:
        """Return the pieces there would be if the text ended here, without what may become another
        thing with its next character."""
        other = copy.copy(self)
        other._containers, other._lists = self._containers.copy(), self._lists.copy()
        other._lines, other._pieces = self._lines.copy(), []
        if self._leaf == "code" and self._fence:
            if is_prefix_of_fence(self._partial, self._fence):
                other._partial = ""
        elif UNDECIDED.match(self._partial):
            other._partial = ""
            # A table's first row alone: shown as what it is going to be
            if self._leaf == "paragraph" and is_first_row(self._lines):
                other._whole("|-" * len(cells(self._lines[-1])) + "|")
        elif self._leaf in ("", "paragraph") and is_first_row([self._partial]):
            row = self._partial.strip()
            other._whole(row if row.endswith("|") else row + "|")
            other._whole("|-" * len(cells(row)) + "|")
            other._partial = ""
        return other.end()

    def _taken(self) -> list[Piece]:
        pieces, self._pieces = self._pieces, []
        return pieces

    def _whole(self, line: str) -> None:
        while len(line) > LIMIT:
            line = self._part(line)
        line = line.removesuffix("\r")
        if self._cut is None:
            self._line(line)
        else:
            self._go_on(line, self._cut, "\n")
            self._cut = None

    def _part(self, line: str) -> str:
        """Take the first part of a line that is too long, and return the others."""
        end = line.rfind(" ", 1, LIMIT) + 1 or LIMIT
        part, rest = line[:end], line[end:]
        if self._cut is not None:
            self._go_on(part, self._cut, "")
        else:
            self._line(part)
            if self._leaf == "code" and self._lines:
                self._lines[-1] = self._lines[-1].removesuffix("\n")
        self._cut = " " if part.endswith(" ") else ""
        return rest

    def _go_on(self, part: str, between: str, ending: str) -> None:
        if self._leaf == "code":
            if self._lines:
                self._flush_code()
            self._add(part + ending)
            return
        if self._leaf != "paragraph":
            self._close()
            self._open("paragraph")
        elif self._lines:
            part = self._lines.pop() + between + part
        self._add(part.strip())
        self._cut_paragraph()

    def _line(self, line: str) -> None:
        matched, rest = self._match(line)
        lost = self._containers[matched:]
        if self._leaf == "code" and self._fence and all(each.marker != ">" for each in lost):
            self._code_line(rest)
            return
        if not rest.strip():
            self._empty(matched if any(each.marker == ">" for each in lost) else None, rest)
            return
        if lost and (self._leaf != "paragraph" or self._starts(rest, within=False)):
            self._leave(matched)
        self._starts_of_containers(rest)

    def _match(self, rest: str) -> tuple[int, str]:
        """Return how many of the open containers a line belongs to, and what is left of it."""
        for number, container in enumerate(self._containers):
            if container.marker == ">":
                indent, body = indented(rest)
                if not body.startswith(">") or indent > 3:
                    return number, rest
                rest = body[1:].removeprefix(" ")
                continue
            indent, body = indented(rest)
            if not body:
                continue
            if indent >= container.offset:
                rest = without(rest, container.offset)
            elif (
                self._leaf != "code"
                and indent >= container.at + 2
                and (ITEM.match(body) or FENCE.match(body))
            ):
                rest = body
            else:
                return number, rest
        return len(self._containers), rest

    def _empty(self, matched: int | None, rest: str) -> None:
        if matched is not None:
            self._leave(matched)
        if self._leaf == "code":
            self._add(without(rest, 4) + "\n")
            return
        self._close()
        self._blank = True

    def _starts(self, rest: str, *, within: bool) -> bool:
        """Whether a line ends the paragraph before it by being something else."""
        indent, body = indented(rest)
        if indent > 3 and not self._containers:
            return False
        item = ITEM.match(body)
        return bool(
            body.startswith((">", *FORMULAS))
            or FENCE.match(body)
            or HEADING.match(body)
            or RULE.match(body)
            or HTML.match(body)
            or (
                item
                and item[2]
                and (
                    not within
                    or self._containers
                    or not item[1][0].isdigit()
                    or item[1][:-1] == "1"
                )
            )
        )

    def _starts_of_containers(self, rest: str) -> None:
        while True:
            indent, body = indented(rest)
            if (indent > 3 and not self._containers) or len(self._containers) >= DEEPEST:
                break
            if self._leaf == "verbatim" and (self._fence or not FENCE.match(body)):
                break
            if self._leaf == "paragraph" and not self._starts(rest, within=True):
                break
            if self._leaf == "paragraph" and self._underlines(body):
                break
            if body.startswith(">"):
                self._close()
                del self._lists[len(self._containers) :]
                self._containers.append(_Container(">"))
                rest = body[1:].removeprefix(" ")
                if not rest.strip():
                    self._blank = self._blank or self._last is not None
                    return
                continue
            item = ITEM.match(body)
            if item is None or RULE.match(body):
                break
            self._close()
            spaces = len(item[2] or "")
            self._containers.append(
                _Container(
                    self._marker(item[1]),
                    indent,
                    indent + len(item[1]) + (spaces if 1 <= spaces <= 4 else 1),
                )
            )
            rest = body[item.end() :] if spaces <= 4 else body[len(item[1]) + 1 :]
            if not rest:
                return
        self._leaf_line(rest)

    def _marker(self, text: str) -> str:
        """Return the marker of a new item: numbers go on where they are not written so."""
        depth = len(self._containers)
        delimiter, number = text[-1], 0
        if text[0].isdigit():
            number = int(text[:-1])
            if depth < len(self._lists) and self._lists[depth][0] == delimiter:
                number = max(number, self._lists[depth][1] + 1)
            text = f"{number}{delimiter}"
        else:
            text = "-"
        del self._lists[depth:]
        while len(self._lists) < depth:
            self._lists.append(("", 0))
        self._lists.append((delimiter, number))
        return text

    def _underlines(self, body: str) -> bool:
        found = UNDERLINE.match(body)
        if not found or not self._lines:
            return False
        return body[0] == "=" or (len(self._lines) == 1 and len(self._lines[0]) <= 80)

    def _leaf_line(self, rest: str) -> None:
        body = rest.strip(" \t")
        indent, _ = indented(rest)
        if self._leaf == "table":
            if "|" in body and not self._starts(rest, within=False):
                self._row(body)
                return
            self._close()
        if self._leaf == "verbatim" and (self._fence or not FENCE.match(body)):
            self._verbatim(rest)
            return
        if self._leaf == "code":
            if indent > 3:
                self._code_line(rest)
                return
            self._close()
        if self._leaf == "paragraph":
            if self._underlines(body):
                self._heading("\n".join(self._lines), 1 if body[0] == "=" else 2)
                return
            if (
                DELIMITERS.match(body)
                and "|" in self._lines[-1]
                and len(cells(body)) == len(cells(self._lines[-1]))
            ):
                first = self._lines.pop()
                self._close()
                self._open("table")
                self._lines = [first, body]
                return
        elif indent > 3 and not self._containers:
            self._open("code")
            self._fence, self._info, self._margin, self._opens = "", "", 4, True
            self._code_line(rest)
            return
        if fence := FENCE.match(body):
            self._close()
            self._open("code")
            self._fence, self._info = fence[1] or fence[3], (fence[2] or fence[4] or "").strip()
            self._margin, self._opens = indent, True
        elif heading := HEADING.match(body):
            self._close()
            self._heading(heading[2] or "", len(heading[1]))
        elif RULE.match(body):
            self._close()
            self._open("")
            self._emit("rule", "")
        elif HTML.match(body) or body.startswith(FORMULAS):
            self._close()
            self._open("verbatim")
            self._fence = "\\]" if body[0] == "\\" else "$$" if body[0] == "$" else ""
            self._verbatim(rest)
        else:
            if self._leaf != "paragraph":
                self._open("paragraph")
            self._add(body)
            self._cut_paragraph()

    def _open(self, leaf: Literal["", "paragraph", "code", "table", "verbatim"]) -> None:
        self._leaf = leaf
        self._lines, self._size = [], 0
        del self._lists[len(self._containers) :]

    def _add(self, line: str) -> None:
        self._lines.append(line)
        self._size += len(line) + 1

    def _heading(self, text: str, level: int) -> None:
        self._open("")
        self._emit("heading", text, level=level)

    def _verbatim(self, rest: str) -> None:
        # Each of its lines is a piece: nothing that follows changes how it looks.
        first = not self._size
        self._size += 1
        self._emit("verbatim", rest.rstrip(), opens=first)
        body = rest.strip()
        if self._fence and self._fence in (body[2:] if first else body):
            self._open("")

    def _row(self, body: str) -> None:
        if len(self._lines) >= ROWS + 2 or self._size > LIMIT:
            self._emit("table", "\n".join(self._lines))
            self._lines, self._size = self._lines[:2], 0
        self._add(body)

    def _cut_paragraph(self) -> None:
        if self._size <= LIMIT:
            return
        text = "\n".join(self._lines)
        while len(text) >= LIMIT:
            end = text.rfind("\n", 1, LIMIT)
            if end < 0:
                end = text.rfind(" ", 1, LIMIT)
            end = end if end > 0 else LIMIT
            self._emit("paragraph", text[:end])
            text = text[end:].lstrip("\n ")
        self._lines = text.split("\n") if text else []
        self._size = len(text)

    def _code_line(self, rest: str) -> None:
        indent, body = indented(rest)
        if self._fence and indent <= self._margin + 3 and closes(body, self._fence):
            self._flush_code(closes=True)
            self._open("")
            return
        if body and (
            len(self._lines) >= CODE_LATEST
            or self._size >= 2 * LIMIT
            or (len(self._lines) >= CODE_SOON and indent <= self._margin)
        ):
            self._flush_code()
        self._add(without(rest, self._margin) + "\n")

    def _flush_code(self, *, closes: bool = False) -> None:
        self._emit(
            "code",
            "".join(self._lines),
            fence=self._fence,
            info=self._info,
            opens=self._opens,
            closes=closes,
        )
        self._opens = False
        self._lines, self._size = [], 0

    def _close(self) -> None:
        """End the open leaf."""
        leaf = self._leaf
        if leaf == "code":
            blank = False
            # Empty lines at the end of indented code do not belong to it
            while not self._fence and self._lines and not self._lines[-1].strip():
                self._lines.pop()
                blank = True
            if self._lines or self._opens:
                self._flush_code()
            self._blank = blank
        elif leaf == "paragraph" and self._lines:
            self._emit("paragraph", "\n".join(self._lines))
        elif leaf == "table":
            self._emit("table", "\n".join(self._lines))
        self._open_nothing()

    def _open_nothing(self) -> None:
        self._leaf = ""
        self._lines, self._size = [], 0

    def _leave(self, depth: int) -> None:
        """End the containers from a depth on. An item with nothing in it is shown all the same."""
        self._close()
        if any(not each.shown and each.marker != ">" for each in self._containers[depth:]):
            self._emit("paragraph", "")
        del self._containers[depth:]

    def _emit(
        self,
        kind: Kind,
        text: str,
        *,
        level: int = 0,
        fence: str = "",
        info: str = "",
        opens: bool = False,
        closes: bool = False,
    ) -> None:
        inner = kind in ("code", "verbatim") and not opens
        gap = self._last is not None and not inner and self._last != "heading"
        if kind not in ("heading", "table") and self._last != "table":
            gap = gap and self._blank
        path = tuple(Step(each.marker, not each.shown) for each in self._containers)
        self._pieces.append(Piece(kind, text, gap, path, level, fence, info, opens, closes))
        self._containers = [each._replace(shown=True) for each in self._containers]
        self._last, self._blank = kind, False
