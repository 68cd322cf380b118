"""A new file: whole, or not there at all, and never in the place of another one."""

import contextlib
import os
import tempfile
from collections.abc import Iterable

from chatbot.errors import ChatbotError


def write_new(path: str, pieces: Iterable[str]) -> None:
    """Write pieces of text to a file that must not exist yet, readable by its owner alone.

    It appears under its name when all is written and on the disk: they are written beside it first.
    Raises ChatbotError; what `pieces` raises passes through. Neither leaves anything behind.
    """
    try:
        if os.path.lexists(path):
            raise FileExistsError
        directory, name = os.path.split(path)
        number, beside = tempfile.mkstemp(prefix=f".{name[:80]}.", dir=directory or os.curdir)
    except OSError as error:
        raise _cannot(path, error) from error
    try:
        with os.fdopen(number, "w", encoding="utf-8", errors="replace", newline="\n") as file:
            for piece in pieces:
                file.write(piece)
            file.flush()
            os.fsync(number)
        _publish(beside, path)
    except OSError as error:
        raise _cannot(path, error) from error
    finally:
        with contextlib.suppress(OSError):  # it is gone where it was renamed
            os.unlink(beside)


def _publish(beside: str, path: str) -> None:
    """Give a file its name. A link is refused where there is something; a rename would replace it."""
    try:
        os.link(beside, path)
    except FileExistsError:
        raise
    except (
        OSError
    ):  # a file system without links: take the name first, then what is ours is replaced
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        os.replace(beside, path)


def _cannot(path: str, error: OSError) -> ChatbotError:
    if isinstance(error, FileExistsError):
        return ChatbotError(f"{path} exists already: give the name of a new file")
    return ChatbotError(f"cannot write {path}: {error.strerror or error}")
