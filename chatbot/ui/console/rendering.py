"""Markdown as the console's answers need it, loaded when the first of them begins and not before."""

import importlib
from typing import Protocol

from chatbot.ui.lines import Line
from chatbot.ui.live import Frame


class Markdown(Protocol):
    """A text that comes piece by piece; what `chatbot.ui.markdown.stream` has."""

    def feed(self, text: str) -> None: ...
    def frame(self, columns: int) -> Frame: ...
    def end(self, columns: int) -> tuple[Line, ...]: ...


class Rendering(Protocol):
    """How answers are drawn."""

    def stream(self, lead: Line = ()) -> Markdown:
        """Return a new text, to be fed; `lead` stands at its beginning."""
        ...

    def whole(self, text: str, columns: int, lead: Line = ()) -> tuple[Line, ...]:
        """Return a text that is whole as lines."""
        ...


class MarkdownRendering:
    """The one that is used."""

    def stream(self, lead: Line = ()) -> Markdown:
        """Return a new text; the first one loads all that draws it, which else the first frame would."""
        from chatbot.ui.markdown.stream import MarkdownStream

        importlib.import_module("chatbot.ui.markdown.render")
        return MarkdownStream(lead=lead)

    def whole(self, text: str, columns: int, lead: Line = ()) -> tuple[Line, ...]:
        """Return the lines of a text."""
        from chatbot.ui.markdown.stream import rendered

        return rendered(text, columns, lead=lead)
