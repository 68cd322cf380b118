"""The history, what Tab offers and the text of the input, as prompt_toolkit takes them."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from typing import Protocol

from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.history import History
from prompt_toolkit.layout.processors import Processor, Transformation, TransformationInput

from chatbot.sanitize import one_line, sanitize

_CHUNK = 500  # entries of the history, between which the loop does something else


class Candidate(Protocol):
    """A way to go on with what was typed: `text` replaces all from `start` on, counted from the end."""

    @property
    def text(self) -> str: ...
    @property
    def start(self) -> int: ...
    @property
    def display(self) -> str: ...
    @property
    def meta(self) -> str: ...


class Visible(Processor):
    """Shows what was typed or pasted without what would drive the terminal: each character as one. Control
    characters are shown by prompt_toolkit itself."""

    def apply_transformation(self, transformation_input: TransformationInput) -> Transformation:
        """Return the line as it is shown."""
        fragments = transformation_input.fragments
        return Transformation(
            [(part[0], part[1] if part[1].isascii() else _visible(part[1])) for part in fragments]
        )


class PastHistory(History):
    """What was typed, as prompt_toolkit goes through it: newest first, complete once it was read."""

    def __init__(self, remember: Callable[[str], None]) -> None:
        super().__init__()
        self._remember = remember
        self._read = asyncio.Event()

    def loaded(self, texts: Sequence[str]) -> None:
        """What there is on disk was read, oldest first."""
        self._loaded_strings += reversed(texts)
        self._read.set()

    async def load(self) -> AsyncGenerator[str, None]:
        """Yield all of it, with a pause now and then."""
        await self._read.wait()
        for number, text in enumerate(self._loaded_strings[:]):
            if number % _CHUNK == _CHUNK - 1:
                await asyncio.sleep(0)
            yield text

    def load_history_strings(self) -> Iterable[str]:
        """Not used: `load` has them already."""
        return self._loaded_strings

    def store_string(self, string: str) -> None:
        """Have it written to disk."""
        self._remember(string)


class Offers(Completer):
    """Candidates, as prompt_toolkit takes them."""

    def __init__(self, complete: Callable[[str], Sequence[Candidate]]) -> None:
        self._complete = complete

    def get_completions(
        self, document: Document, complete_event: CompleteEvent
    ) -> Iterable[Completion]:
        """Yield them."""
        del complete_event
        for offered in self._complete(document.text_before_cursor):
            yield Completion(
                offered.text,
                offered.start,
                display=one_line(offered.display),
                display_meta=one_line(offered.meta),
            )


def _visible(text: str) -> str:
    return "".join(char if char < " " else sanitize(char).strip("\n") or "\ufffd" for char in text)
