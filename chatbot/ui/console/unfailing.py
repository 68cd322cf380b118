"""Drawing that cannot fail: what cannot be drawn as markdown is shown as it came, after a line that says so.

An answer is the model's, and may be anything. No mistake in how it is drawn is to end the chat.
"""

from chatbot.sanitize import one_line
from chatbot.ui.console.columns import wrapped
from chatbot.ui.console.rendering import Markdown, Rendering
from chatbot.ui.lines import Line, plain, styled
from chatbot.ui.live import Frame

_LONGEST = 200  # characters of an error, which may hold all of a text


class Unfailing:
    """A rendering that shows the plain text where another one fails."""

    def __init__(self, rendering: Rendering) -> None:
        self._rendering = rendering

    def stream(self, lead: Line = ()) -> Markdown:
        """Return a new text, to be fed."""
        return _Text(self._rendering.stream(lead), lead)

    def whole(self, text: str, columns: int, lead: Line = ()) -> tuple[Line, ...]:
        """Return a text that is whole as lines."""
        try:
            return self._rendering.whole(text, columns, lead)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told
            return (*_told(error, columns), *_plain(plain(lead) + text, columns))


class _Text:
    """A text that comes piece by piece, drawn by another until that fails."""

    def __init__(self, drawn: Markdown, lead: Line) -> None:
        self._drawn = drawn
        self._came = [plain(lead)]
        self._error: Exception | None = None
        self._is_told = False
        self._rest = ""  # of the plain text, from the first line that is not finished

    def feed(self, text: str) -> None:
        """A piece came."""
        if self._error is not None:
            self._rest += text
            return
        self._came.append(text)
        try:
            self._drawn.feed(text)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told
            self._fail(error)

    def frame(self, columns: int) -> Frame:
        """Return what is new."""
        if self._error is None:
            try:
                return self._drawn.frame(columns)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is told
                self._fail(error)
        whole, newline, self._rest = self._rest.rpartition("\n")
        finished = _plain(whole, columns) if newline else ()
        return Frame((*self._told(columns), *finished), _plain(self._rest, columns))

    def end(self, columns: int) -> tuple[Line, ...]:
        """Return the rest of it."""
        if self._error is None:
            try:
                return self._drawn.end(columns)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is told
                self._fail(error)
        rest, self._rest = self._rest, ""
        return (*self._told(columns), *(_plain(rest, columns) if rest else ()))

    def _fail(self, error: Exception) -> None:
        """Show all of it as it came from now on: how much of it stands there already is not known."""
        self._error = error
        self._rest = "".join(self._came)
        self._came.clear()

    def _told(self, columns: int) -> tuple[Line, ...]:
        if self._error is None or self._is_told:
            return ()
        self._is_told = True
        return _told(self._error, columns)


def _told(error: Exception, columns: int) -> tuple[Line, ...]:
    said = f"(it cannot be drawn: {one_line(repr(error))[:_LONGEST]}; as it came, it is:)"
    return styled(wrapped(said, columns), "dim")


def _plain(text: str, columns: int) -> tuple[Line, ...]:
    return styled(wrapped(text, columns))
