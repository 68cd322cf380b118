"""stdout and stderr: answers go to the one, all else to the other.

Whatever goes to a terminal is sanitized; what goes into a pipe or a file is the text as it came.
"""

import errno
import os
from collections.abc import Iterable
from typing import TextIO

from chatbot.errors import ChatbotError
from chatbot.sanitize import one_line, sanitize

_COLUMNS = 80


class TextNotices:
    """Lines for the person, on stderr; each is one line whatever it contains."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._gone = False
        self.is_terminal = stream.isatty()

    @property
    def columns(self) -> int:
        """How wide the terminal is now; 80 where it is none."""
        try:
            return os.get_terminal_size(self._stream.fileno()).columns or _COLUMNS
        except (OSError, ValueError):
            return _COLUMNS

    def say(self, text: str) -> None:
        """Write one line."""
        self._write(one_line(text) + "\n")

    def block(self, text: str) -> None:
        """Write several lines."""
        self._write(sanitize(text) + "\n")

    def drawn(self, lines: Iterable[str]) -> None:
        """Write lines as they are: whoever drew them has made safe what is from elsewhere."""
        self._write("".join(f"{line}\n" for line in lines))

    def prompt(self, text: str) -> None:
        """Write something that is to stay on its line."""
        self._write(sanitize(text))

    def _write(self, text: str) -> None:
        if self._gone:
            return
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):  # a stderr that is gone must not end a chat that is not
            self._gone = True


class Output:
    """stdout: made safe where it is a terminal, as it came where it is not."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.is_terminal = stream.isatty()

    def write(self, text: str) -> None:
        """Write and flush. Raises BrokenPipeError when nobody reads, ChatbotError for the rest."""
        try:
            self._stream.write(sanitize(text) if self.is_terminal else text)
            self._stream.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            if error.errno == errno.EINVAL:  # what a broken pipe is on Windows
                raise BrokenPipeError from error
            raise ChatbotError(f"cannot write to stdout: {error.strerror or error}") from error
