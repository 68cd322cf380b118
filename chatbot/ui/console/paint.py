"""How the console's area is put on the terminal: the tail above, the input, the line of state below.

prompt_toolkit keeps what it has painted as a grid of cells and sends what differs. Two things are done in
another way here. A line that is only shown is painted with one cell for each of its fragments, not one for
each character, and kept as long as it is the same: so a tail of many lines costs little. And what goes into
the scrollback is written over the top of the area, the rest of which stands from then on that much higher:
nothing is erased that is to be seen again, and all goes out in one write, between the marks of a
synchronized update (https://gist.github.com/christianparpart/d8a62cc1ab659194337d73e399004036).
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO

from prompt_toolkit.application import Application
from prompt_toolkit.data_structures import Point, Size
from prompt_toolkit.keys import Keys
from prompt_toolkit.layout import Container, Dimension
from prompt_toolkit.layout.mouse_handlers import MouseHandlers
from prompt_toolkit.layout.screen import Char, Screen, Transparent, WritePosition
from prompt_toolkit.output.vt100 import Vt100_Output
from prompt_toolkit.utils import get_cwidth

from chatbot import host
from chatbot.ui import lines
from chatbot.ui.console.keys import CHORD_S
from chatbot.ui.lines import Line

_BEGIN, _END = "\x1b[?2026h", "\x1b[?2026l"
_ERASE_LINE = "\x1b[2K"
# From the beginning of a line. The second part begins one column further: what is erased from the window's first
# cell on (ED) tmux takes for all of it, and keeps in its scrollback.
ERASE_DOWN = "\x1b[K\x1b[C\x1b[J\r"
_UNUSED = Char(" ", Transparent)
_COVERED = Char("", "")  # a column that belongs to the fragment before it
_MENU_ROWS = 8

Row = defaultdict[int, Char]


class Text:
    """What goes into the scrollback: bytes for the terminal, and how many rows they take; None: unknown."""

    __slots__ = ("ansi", "width")

    def __init__(self, ansi: str, width: int | None) -> None:
        self.ansi = ansi
        self.width = width

    @classmethod
    def of_line(cls, line: Line, *, colour: bool) -> "Text":
        """Return a styled line as text."""
        return cls(lines.ansi(line, colour=colour), get_cwidth(lines.plain(lines.safe(line))))


class Output(Vt100_Output):
    """Sends all that belongs together in one write."""

    def __init__(self, stdout: TextIO, get_size: Callable[[], Size]) -> None:
        super().__init__(stdout, get_size, enable_cpr=False)
        self._depth = 0

    @contextmanager
    def together(self) -> Iterator[None]:
        """Hold back what is written until the end of the outermost of these."""
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            if not self._depth and self._buffer:
                self._buffer = [_BEGIN, *self._buffer, _END]
                self.flush()

    def erase_down(self) -> None:
        """Erase the line at whose beginning the cursor is, and all below it, for good."""
        self.write_raw(ERASE_DOWN)

    def flush(self) -> None:
        """Write what has gathered, unless more is to come. In a terminal that is another's by now, as it is
        when the supervisor was killed, nothing may stand over what that one shows."""
        if self._depth:
            return
        if host.terminal_is_anothers():
            self._buffer = []
        super().flush()


class Strip(Container):
    """Lines that are only shown; where there is not room for all, the last ones."""

    def __init__(self, content: Callable[[int], Sequence[Line]], *, colour: bool) -> None:
        self._content = content
        self._colour = colour
        self._columns = 0
        self._rows: dict[Line, Row] = {}

    def reset(self) -> None:
        """There is nothing to begin anew."""

    def preferred_width(self, max_available_width: int) -> Dimension:
        """All there is."""
        return Dimension.exact(max_available_width)

    def preferred_height(self, width: int, max_available_height: int) -> Dimension:
        """One row for each line."""
        return Dimension.exact(min(len(self._content(width)), max_available_height))

    def get_children(self) -> list[Container]:
        """None."""
        return []

    def write_to_screen(
        self,
        screen: Screen,
        mouse_handlers: MouseHandlers,
        write_position: WritePosition,
        parent_style: str,
        erase_bg: bool,
        z_index: int | None,
    ) -> None:
        """Put the rows, most of them kept from the frame before, into the grid."""
        del mouse_handlers, parent_style, erase_bg, z_index
        top, columns, height = write_position.ypos, write_position.width, write_position.height
        kept = self._rows if columns == self._columns else {}
        shown = self._content(columns)[-height:] if height else ()
        self._rows, self._columns = {}, columns
        for y, line in enumerate(shown, top):
            row = kept.get(line)
            if row is None:
                row = row_of(line, columns, colour=self._colour)
            self._rows[line] = screen.data_buffer[y] = row
        screen.height = max(screen.height, top + height)


def row_of(line: Line, columns: int, *, colour: bool) -> Row:
    """Return a line as cells, one for each fragment; it is cut at the window's edge."""
    row: Row = defaultdict(lambda: _UNUSED)
    x = 0
    for style, text in lines.safe(line):
        room = columns - x
        width = get_cwidth(text)
        if width > room:
            text = _cut(text, room)
            width = get_cwidth(text)
        if not width:
            continue
        row[x] = Char(text, style if colour else lines.without_colour(style))
        for covered in range(x + 1, x + width):
            row[covered] = _COVERED
        x += width
    return row


class Area(Container):
    """The tail, the input, the search, the menu and the line of state, from above to below, no higher than
    they are: the input at most half of the window, the tail what is left, which is `room`."""

    def __init__(
        self, tail: Strip, field: Container, search: Container, menu: Container, toolbar: Strip
    ) -> None:
        self._tail, self._field, self._search = tail, field, search
        self._menu, self._toolbar = menu, toolbar
        self._window = 0
        self.room: int | None = None

    def reset(self) -> None:
        """Reset all parts."""
        for part in self.get_children():
            part.reset()

    def get_children(self) -> list[Container]:
        """The parts, from above to below."""
        return [self._tail, self._field, self._search, self._menu, self._toolbar]

    def preferred_width(self, max_available_width: int) -> Dimension:
        """All there is."""
        return Dimension.exact(max_available_width)

    def preferred_height(self, width: int, max_available_height: int) -> Dimension:
        """What the parts take; asked first, with the whole window."""
        self._window = max_available_height
        self.room = max_available_height - sum(self._below(width, max_available_height))
        return Dimension.exact(sum(self._heights(width, max_available_height)))

    def write_to_screen(
        self,
        screen: Screen,
        mouse_handlers: MouseHandlers,
        write_position: WritePosition,
        parent_style: str,
        erase_bg: bool,
        z_index: int | None,
    ) -> None:
        """Put the parts one below the other; what is below them is left empty."""
        columns, y = write_position.width, write_position.ypos
        heights = self._heights(columns, write_position.height)
        for part, height in zip(self.get_children(), heights, strict=True):
            width = columns
            if part is self._menu and height:
                width = min(part.preferred_width(columns).preferred, columns)
            if height:
                place = WritePosition(0, y, width, height)
                part.write_to_screen(screen, mouse_handlers, place, parent_style, erase_bg, z_index)
            y += height

    def _heights(self, columns: int, rows: int) -> list[int]:
        below = self._below(columns, rows)
        room = rows - sum(below)
        return [self._tail.preferred_height(columns, room).preferred, *below]

    def _below(self, columns: int, rows: int) -> list[int]:
        toolbar = min(self._toolbar.preferred_height(columns, 1).preferred, max(rows - 1, 0))
        room = max(rows - toolbar, 1)
        most = max(min(room, self._window // 2), 1)
        field = min(self._field.preferred_height(columns, most).preferred, most)
        room -= field
        search = min(self._search.preferred_height(columns, 1).preferred, room)
        room -= search
        menu = min(self._menu.preferred_height(columns, _MENU_ROWS).preferred, room, _MENU_ROWS)
        return [field, search, menu, toolbar]


class Painter(Application[None]):
    """prompt_toolkit's application with frames that go out whole, and a scrollback above it."""

    output: Output
    reflows = True  # the terminal breaks lines anew when it becomes narrower
    resized: Callable[[], None]

    @property
    def timeoutlen(self) -> float:
        """How long the next key of a sequence is waited for. Esc alone is known to be alone already: the
        parser has waited for the rest."""
        pressed = [press.key for press in self.key_processor.key_buffer]
        return 0.0 if pressed == [Keys.Escape] else CHORD_S

    @timeoutlen.setter
    def timeoutlen(self, value: float | None) -> None:
        del value

    def write_above(self, texts: Sequence[Text]) -> None:
        """Write texts, each a line, where the area begins; it follows below them with the next frame."""
        renderer, size = self.renderer, self.output.get_size()
        painted = renderer.last_rendered_screen
        self.output.hide_cursor()
        fits = all(text.width is not None and text.width <= size.columns for text in texts)
        self._to_the_top(renderer._cursor_pos.y)
        if stands := fits and renderer._last_size == size:
            self.output.write_raw("".join(f"{_ERASE_LINE}{text.ansi}\r\n" for text in texts))
        else:
            self.output.erase_down()
            self.output.write_raw("".join(f"{text.ansi}\r\n" for text in texts))
        self._begins_here(painted if stands else None, len(texts))

    def clear(self) -> None:
        """Empty the window; the area is painted at its top with the next frame."""
        self._to_the_top(self.renderer._cursor_pos.y)
        self.output.erase_down()  # no part of what tmux keeps of the window
        self.output.erase_screen()
        self.output.cursor_goto(0, 0)
        self._begins_here(None, 0)

    def _begins_here(self, painted: Screen | None, above: int) -> None:
        """Have the area begin where the cursor is. What was painted stands `above` rows higher in it."""
        renderer = self.renderer
        renderer._cursor_pos = Point(0, 0)
        renderer._last_style = None
        renderer._last_screen = painted and _raised(painted, above)

    def _to_the_top(self, rows: int) -> None:
        self.output.write_raw("\r")
        self.output.cursor_up(rows)
        self.output.reset_attributes()

    def _redraw(self, render_as_done: bool = False) -> None:
        with self.output.together():
            super()._redraw(render_as_done)

    def _on_resize(self) -> None:
        """Paint anew from where the area begins now: a terminal that became narrower has perhaps broken
        its lines, and so moved the cursor down from there."""
        if self._running_in_terminal:  # another has it; what comes after begins anew
            return
        renderer, new = self.renderer, self.output.get_size()
        with self.output.together():
            above = renderer._cursor_pos.y
            if (painted := renderer.last_rendered_screen) and self.reflows:
                above = rows_above(painted, renderer._cursor_pos, new.columns)
            self._to_the_top(min(above, new.rows - 1))
            self.output.erase_down()
            self._begins_here(None, 0)
            self.resized()
            self._redraw()


def _raised(painted: Screen, rows: int) -> Screen:
    """Return the grid without its first rows."""
    raised = Screen()
    for y, row in painted.data_buffer.items():
        if y >= rows:
            raised.data_buffer[y - rows] = row
    raised.height = max(painted.height - rows, 0)
    return raised


def rows_above(painted: Screen, cursor: Point, columns: int) -> int:
    """Return how many rows of a window of `columns` stand between the area's first one and the cursor."""
    rows = cursor.x // columns
    for y in range(cursor.y):
        used = [x for x, cell in painted.data_buffer[y].items() if cell.char != " "]
        rows += max(-(-(max(used, default=0) + 1) // columns), 1)
    return rows


def _cut(text: str, columns: int) -> str:
    """Return as much of a text as has room."""
    width = 0
    for index, char in enumerate(text):
        width += get_cwidth(char)
        if width > columns:
            return text[:index]
    return text
